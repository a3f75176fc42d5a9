//! An export becomes the beginning of a new journal.
//!
//! What was exported goes into a checkpoint. The journal gets one record, which says that the
//! state before the next record is in that checkpoint, and the commit of the checkpoint is the
//! one step that makes the import: before it the journal opens empty or, once it has the record,
//! not at all and can be imported into again; after it everything is there.

use std::pin::pin;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;

use super::components::Components;
use super::load::Loader;
use super::recovery::{Recovered, Recovery, Start, finish};
use crate::checkpoint::{CheckpointStore, CheckpointWriter};
use crate::config::Config;
use crate::core::Record;
use crate::core::State;
use crate::core::checkpoint::{Checked, Header, Resealer, Splitter};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, ReadLimits, Tail};

/// Imports that may have been cut short in one journal, each of one record.
const LEFTOVERS: usize = 1024;

/// Reads `export` into the empty journal and checkpoints of `components`.
pub(super) async fn import(
    components: &Components,
    export: impl Stream<Item = Result<Bytes>> + Send,
    config: &Config,
) -> Result<Recovered> {
    let Some(checkpoints) = &components.checkpoints else {
        return Err(super::checkpointer::no_place());
    };
    let journal = &*components.journal;
    let epoch = journal.tail().await?.epoch + 1;
    let tail = journal.fence(epoch).await?;
    check_empty(journal, &**checkpoints, tail).await?;

    let next_seq = tail.next_seq + 1;
    let mut copy = Copy { writer: checkpoints.begin(next_seq).await?, resealer: None, next_seq };
    let state = copy.read(export, config).await?;

    let record = Record::Import { revision: state.revision() }.encode()?;
    journal.append(epoch, tail.next_seq, &[record]).await?;
    copy.writer.commit().await?;
    let report = Recovery { checkpoint: Some(next_seq), ..Recovery::default() };
    let start = Start::from_state(state);
    finish(components, start, Tail { next_seq, ..tail }, config, report).await
}

fn of_another_journal() -> Error {
    let message = "a ledger belongs to its journal and cannot be imported: export a snapshot, not \
                   the file of a checkpoint";
    Error::new(ErrorKind::Invalid, message)
}

/// Nothing may be there but what an import left that did not come to its end.
async fn check_empty(
    journal: &dyn Journal,
    checkpoints: &dyn CheckpointStore,
    tail: Tail,
) -> Result<()> {
    let limits = ReadLimits { records: LEFTOVERS, ..ReadLimits::default() };
    let records = if tail.first_seq == 1 { journal.read(1, limits).await? } else { Vec::new() };
    let leftovers = records
        .iter()
        .take_while(|entry| {
            matches!(Record::decode(entry.payload.clone()), Ok(Record::Import { .. }))
        })
        .count();
    if leftovers as u64 + 1 == tail.next_seq && checkpoints.list().await?.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "the journal or its checkpoints are not empty: import into new ones",
    ))
}

/// Verifies an export and writes it as a checkpoint of this journal.
struct Copy {
    writer: Box<dyn CheckpointWriter>,
    resealer: Option<Resealer>,
    next_seq: u64,
}

impl Copy {
    async fn read(
        &mut self,
        export: impl Stream<Item = Result<Bytes>> + Send,
        config: &Config,
    ) -> Result<State> {
        let mut export = pin!(export);
        let mut splitter = Splitter::default();
        let loader = Loader::start(config)?;
        while let Some(bytes) = export.next().await.transpose()? {
            for frame in splitter.push(&bytes)? {
                if frame.is_ledger() {
                    return Err(of_another_journal());
                }
                let copied = self.copy(&frame);
                if !loader.push(frame).await {
                    return loader.finish().await.map(|restored| restored.state);
                }
                self.writer.write(copied).await?;
            }
        }
        splitter.finish()?;
        let mut state = loader.finish().await?.state;
        state.set_next_seq(self.next_seq);
        Ok(state)
    }

    fn copy(&mut self, frame: &Checked) -> Bytes {
        if let Some(resealer) = &mut self.resealer {
            return resealer.frame(frame);
        }
        let resealer = self.resealer.insert(Resealer::default());
        resealer.header(&Header { next_seq: self.next_seq, ..frame.header() })
    }
}
