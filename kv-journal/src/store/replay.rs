//! The end of the journal is applied to a state, while what comes next is being read.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::recovery::Start;
use crate::config::Config;
#[cfg(feature = "ledger")]
use crate::core::Ledger;
use crate::core::{Record, State};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Entry, Journal, ReadLimits, Tail};

/// Reads that wait to be applied, of [`ReadLimits::default`] each.
const AHEAD: usize = 2;

/// More than a record usually adds, so that a replayed compaction is swept soon.
const SWEEP_PER_RECORD: usize = 16;

/// A state and what was replayed to come to it.
pub(super) struct Replayed {
    pub(super) state: State,
    pub(super) records: u64,
    pub(super) bytes: u64,
    #[cfg(feature = "ledger")]
    pub(super) ledger: Option<Ledger>,
}

/// Applies every record that `start` does not hold yet, up to `tail`. Where a ledger is wanted that
/// `start` does not have, the records before are read, too, and hashed.
pub(super) async fn replay(
    journal: &dyn Journal,
    start: Start,
    tail: Tail,
    config: &Config,
) -> Result<Replayed> {
    let mut next_seq = start.next_seq(config);
    let (reads, queue) = mpsc::channel(AHEAD);
    let (reply, replayed) = oneshot::channel();
    let builder = thread::Builder::new().name(config.thread_name.clone());
    let start = Replayed {
        state: start.state,
        records: 0,
        bytes: 0,
        #[cfg(feature = "ledger")]
        ledger: start.ledger.or_else(|| config.ledger.then(|| Ledger::new(config.ledger_records))),
    };
    let run = move || {
        // Whoever gave up opening does not want it.
        let _gone = reply.send(apply_all(start, queue));
    };
    builder.spawn(run).map_err(|cause| {
        Error::new(ErrorKind::Unavailable, "the replaying thread cannot be started")
            .with_source(cause)
    })?;
    while next_seq < tail.next_seq {
        let entries = read_some(journal, next_seq).await?;
        next_seq += entries.len() as u64;
        if reads.send(entries).await.is_err() {
            break; // a record could not be applied
        }
    }
    drop(reads);
    replayed.await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Corrupt, "the journal broke its replay: restore a backup"))
    })
}

async fn read_some(journal: &dyn Journal, from: u64) -> Result<Vec<Entry>> {
    let entries = journal.read(from, ReadLimits::default()).await?;
    if entries.is_empty() {
        return Err(out_of_order(from, from));
    }
    for (entry, expected) in entries.iter().zip(from..) {
        if entry.seq != expected {
            return Err(out_of_order(expected, entry.seq));
        }
    }
    Ok(entries)
}

fn apply_all(mut replayed: Replayed, mut queue: mpsc::Receiver<Vec<Entry>>) -> Result<Replayed> {
    while let Some(entries) = queue.blocking_recv() {
        for entry in entries {
            replayed.apply(entry)?;
        }
    }
    replayed.state.sweep(usize::MAX);
    Ok(replayed)
}

impl Replayed {
    fn apply(&mut self, entry: Entry) -> Result<()> {
        let seq = entry.seq;
        #[cfg(feature = "ledger")]
        if let Some(ledger) = &mut self.ledger {
            ledger.record(&entry.payload);
        }
        if seq < self.state.next_seq() {
            return Ok(());
        }
        self.records += 1;
        self.bytes += entry.payload.len() as u64;
        Record::decode(entry.payload)
            .and_then(|record| self.state.apply(&record))
            .map_err(|cause| not_replayed(seq, cause))?;
        self.state.sweep(SWEEP_PER_RECORD);
        Ok(())
    }
}

fn not_replayed(seq: u64, cause: Error) -> Error {
    match cause.kind() {
        // Not damage: the state before it is elsewhere.
        ErrorKind::Trimmed { .. } => cause,
        _ => cause.behind(
            ErrorKind::Corrupt,
            format!("record {seq} of the journal cannot be replayed: restore a backup"),
        ),
    }
}

fn out_of_order(expected: u64, found: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the journal was read at record {expected} and gave {found}: its adapter is broken"
        ),
    )
}
