//! From a journal and its checkpoints to the state that they describe.

use super::components::Components;
use super::load::load;
use super::replay::replay;
use crate::checkpoint::CheckpointStore;
use crate::config::Config;
#[cfg(feature = "ledger")]
use crate::core::Ledger;
use crate::core::State;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Tail;

/// What a [`Store`](super::Store) found when it was opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// The number of the checkpoint that was loaded, if one was.
    pub checkpoint: Option<u64>,
    /// Newer checkpoints that could not be loaded. They are removed once there is a new one.
    pub damaged: Vec<DamagedCheckpoint>,
    /// Records of the journal that were replayed.
    pub replayed_records: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
}

/// A checkpoint that could not be loaded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DamagedCheckpoint {
    /// Its number.
    pub id: u64,
    /// Why.
    pub error: Error,
}

/// The state after the last record, and where the journal continues.
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) tail: Tail,
    pub(super) report: Recovery,
    #[cfg(feature = "ledger")]
    pub(super) ledger: Option<Ledger>,
}

/// Locks older writers out, loads the newest good checkpoint and replays what comes after it.
pub(super) async fn recover(components: &Components, config: &Config) -> Result<Recovered> {
    let journal = &*components.journal;
    let found = journal.tail().await?;
    let tail = journal.fence(found.epoch + 1).await?;
    if config.keeps_whole_journal() && tail.first_seq != 1 {
        return Err(ledger_needs_all(tail));
    }
    let mut report = Recovery::default();
    let loaded = match &components.checkpoints {
        Some(checkpoints) => load_newest(&**checkpoints, tail, config, &mut report).await?,
        None => None,
    };
    let state = match loaded {
        Some(state) => state,
        None if tail.first_seq == 1 => State::new(),
        None => return Err(beginning_is_gone(tail, &report)),
    };
    finish(components, state, tail, config, report).await
}

/// Replays what comes after `state`.
pub(super) async fn finish(
    components: &Components,
    state: State,
    tail: Tail,
    config: &Config,
    mut report: Recovery,
) -> Result<Recovered> {
    let replayed = replay(&*components.journal, state, tail, config).await?;
    report.replayed_records = replayed.records;
    report.replayed_bytes = replayed.bytes;
    Ok(Recovered {
        state: replayed.state,
        tail,
        report,
        #[cfg(feature = "ledger")]
        ledger: replayed.ledger,
    })
}

/// The state of the newest checkpoint that can be loaded and from which the journal goes on.
async fn load_newest(
    checkpoints: &dyn CheckpointStore,
    tail: Tail,
    config: &Config,
    report: &mut Recovery,
) -> Result<Option<State>> {
    for info in checkpoints.list().await? {
        let id = info.id;
        if id > tail.next_seq {
            return Err(ahead_of_journal(id, tail));
        }
        if id < tail.first_seq {
            break;
        }
        match load(checkpoints, id, config).await {
            Ok(state) => {
                report.checkpoint = Some(id);
                return Ok(Some(state));
            }
            Err(error) => report.damaged.push(DamagedCheckpoint { id, error }),
        }
    }
    Ok(None)
}

/// A store checkpoints only what is durable, so the journal has lost records or is another one.
fn ahead_of_journal(id: u64, tail: Tail) -> Error {
    let next_seq = tail.next_seq;
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "checkpoint {id} is ahead of the journal, whose next record is {next_seq}: open the \
             journal that it belongs to"
        ),
    )
}

fn ledger_needs_all(tail: Tail) -> Error {
    let first_seq = tail.first_seq;
    Error::new(
        ErrorKind::Trimmed { first_seq },
        format!(
            "the ledger is over all records and the journal begins at {first_seq}: open without"
        ),
    )
}

fn beginning_is_gone(tail: Tail, report: &Recovery) -> Error {
    let first_seq = tail.first_seq;
    match report.damaged.last() {
        Some(damaged) => damaged.error.clone().behind(
            damaged.error.kind(),
            format!(
                "the journal begins at record {first_seq} and no checkpoint can be loaded: \
                 restore a backup"
            ),
        ),
        None => Error::new(
            ErrorKind::Trimmed { first_seq },
            format!("the journal begins at record {first_seq}: open it with its checkpoints"),
        ),
    }
}
