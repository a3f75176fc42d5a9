//! From a journal and its checkpoints to the state that they describe.

use super::components::Components;
use super::load::load;
use super::replay::replay;
use crate::checkpoint::CheckpointStore;
use crate::config::Config;
#[cfg(feature = "ledger")]
use crate::core::Ledger;
use crate::core::State;
use crate::core::checkpoint::Restored;
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

/// What is there before the journal's records are replayed.
pub(super) struct Start {
    pub(super) state: State,
    /// The ledger over the records that are in the state; `None` if it is to be made of them.
    #[cfg(feature = "ledger")]
    pub(super) ledger: Option<Ledger>,
}

impl Start {
    pub(super) fn from_state(state: State) -> Self {
        Self {
            state,
            #[cfg(feature = "ledger")]
            ledger: None,
        }
    }

    #[cfg_attr(
        not(feature = "ledger"),
        expect(clippy::unnecessary_wraps, reason = "a ledger can be damaged")
    )]
    pub(super) fn from_restored(restored: Restored, config: &Config) -> Result<Self> {
        #[cfg(feature = "ledger")]
        if config.ledger && !restored.ledger.is_empty() {
            let ledger = Ledger::decode(&restored.ledger, config.ledger_records)?;
            if ledger.size() + 1 != restored.state.next_seq() {
                return Err(another_ledger());
            }
            return Ok(Self { state: restored.state, ledger: Some(ledger) });
        }
        #[cfg(not(feature = "ledger"))]
        let _ = config;
        Ok(Self::from_state(restored.state))
    }

    /// The first record that it does not have.
    pub(super) fn next_seq(&self, config: &Config) -> u64 {
        #[cfg(feature = "ledger")]
        if config.ledger && self.ledger.is_none() {
            return 1;
        }
        #[cfg(not(feature = "ledger"))]
        let _ = config;
        self.state.next_seq()
    }
}

/// Locks older writers out, loads the newest good checkpoint and replays what comes after it.
pub(super) async fn recover(components: &Components, config: &Config) -> Result<Recovered> {
    let journal = &*components.journal;
    let found = journal.tail().await?;
    let tail = journal.fence(found.epoch + 1).await?;
    let mut report = Recovery::default();
    let loaded = match &components.checkpoints {
        Some(checkpoints) => load_newest(&**checkpoints, tail, config, &mut report).await?,
        None => None,
    };
    let start = match loaded {
        Some(start) => start,
        None if tail.first_seq == 1 => Start::from_state(State::new()),
        None => return Err(beginning_is_gone(tail, &report)),
    };
    if start.next_seq(config) < tail.first_seq {
        return Err(ledger_needs_all(tail));
    }
    finish(components, start, tail, config, report).await
}

/// Replays what comes after `start`.
pub(super) async fn finish(
    components: &Components,
    start: Start,
    tail: Tail,
    config: &Config,
    mut report: Recovery,
) -> Result<Recovered> {
    let replayed = replay(&*components.journal, start, tail, config).await?;
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
) -> Result<Option<Start>> {
    for info in checkpoints.list().await? {
        let id = info.id;
        if id > tail.next_seq {
            return Err(ahead_of_journal(id, tail));
        }
        if id < tail.first_seq {
            break;
        }
        match load(checkpoints, id, config).await {
            Ok(start) => {
                report.checkpoint = Some(id);
                return Ok(Some(start));
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
            "the ledger is over all records, the journal begins at {first_seq}, and the checkpoint \
             has none of those before: open without"
        ),
    )
}

#[cfg(feature = "ledger")]
fn another_ledger() -> Error {
    let message = "the checkpoint has the ledger of another state: use the one before it";
    Error::new(ErrorKind::Corrupt, message)
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

#[cfg(all(test, feature = "ledger"))]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_ends_elsewhere_than_its_state_is_refused() {
        let mut config = Config { ledger: true, ..Config::default() };
        let mut ledger = Ledger::new(config.ledger_records);
        ledger.record(b"a record that the state does not have");
        let restored = || Restored { state: State::new(), ledger: ledger.encode() };
        let refused = Start::from_restored(restored(), &config).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        config.ledger = false;
        assert!(Start::from_restored(restored(), &config).unwrap().ledger.is_none());
    }
}
