//! From a journal to the state that it describes.

use crate::config::Config;
#[cfg(feature = "ledger")]
use crate::core::Ledger;
use crate::core::{Record, State};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, ReadLimits, Tail};

/// The state after the last record, and where the journal continues.
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) tail: Tail,
    #[cfg(feature = "ledger")]
    pub(super) ledger: Option<Ledger>,
}

/// Locks older writers out, then replays every record.
#[cfg_attr(not(feature = "ledger"), expect(unused_variables, reason = "a setting of the ledger"))]
pub(super) async fn recover(journal: &dyn Journal, config: &Config) -> Result<Recovered> {
    let found = journal.tail().await?;
    let tail = journal.fence(found.epoch + 1).await?;
    if tail.first_seq != 1 {
        return Err(Error::new(
            ErrorKind::Trimmed { first_seq: tail.first_seq },
            format!(
                "the journal begins at record {}: the start of the state is gone",
                tail.first_seq
            ),
        ));
    }
    let mut recovered = Recovered {
        state: State::new(),
        tail,
        #[cfg(feature = "ledger")]
        ledger: config.ledger.then(|| Ledger::new(config.ledger_records)),
    };
    let mut next_seq = tail.first_seq;
    while next_seq < tail.next_seq {
        next_seq = replay_some(journal, &mut recovered, next_seq).await?;
    }
    recovered.state.sweep(usize::MAX);
    Ok(recovered)
}

/// Replays one read's worth of records and returns the number of the next one.
async fn replay_some(journal: &dyn Journal, recovered: &mut Recovered, from: u64) -> Result<u64> {
    let entries = journal.read(from, ReadLimits::default()).await?;
    let mut next_seq = from;
    for entry in entries {
        if entry.seq != next_seq {
            return Err(out_of_order(next_seq, entry.seq));
        }
        #[cfg(feature = "ledger")]
        if let Some(ledger) = &mut recovered.ledger {
            ledger.record(&entry.payload);
        }
        Record::decode(entry.payload)
            .and_then(|record| recovered.state.apply(&record))
            .map_err(|cause| cause.behind(ErrorKind::Corrupt, at_record(next_seq)))?;
        recovered.state.sweep(SWEEP_PER_RECORD);
        next_seq += 1;
    }
    if next_seq == from { Err(out_of_order(from, from)) } else { Ok(next_seq) }
}

/// More than a record usually adds, so that a replayed compaction is swept soon.
const SWEEP_PER_RECORD: usize = 16;

fn at_record(seq: u64) -> String {
    format!("record {seq} of the journal cannot be replayed: restore a backup")
}

fn out_of_order(expected: u64, found: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the journal was read at record {expected} and gave {found}: its adapter is broken"
        ),
    )
}
