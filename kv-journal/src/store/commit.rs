//! One batch on its way into the journal, with the answer to `Unknown`: look, don't guess.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
#[cfg(feature = "ledger")]
use futures_util::future::join;

#[cfg(feature = "ledger")]
use super::ledger::extended;
use super::shared::Shared;
#[cfg(feature = "ledger")]
use crate::core::Ledger;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, ReadLimits};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Commit {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) shared: Arc<Shared>,
    pub(super) epoch: u64,
    /// The number of the batch's first record.
    pub(super) seq: u64,
    /// How often to ask what became of an append.
    pub(super) attempts: u32,
}

/// How a batch ended, and the epoch that the next one is to use.
pub(super) struct Committed {
    pub(super) epoch: u64,
    pub(super) result: Result<()>,
    /// The ledger with the batch.
    #[cfg(feature = "ledger")]
    pub(super) ledger: Option<Arc<Ledger>>,
}

impl Commit {
    pub(super) async fn run(mut self, records: Vec<Bytes>) -> Committed {
        #[cfg(feature = "ledger")]
        let shared = Arc::clone(&self.shared);
        let append = self.append_all(&records);
        // The append comes first, so that records are hashed while the disk is at work.
        #[cfg(feature = "ledger")]
        let (result, ledger) = join(append, extended(&shared, &records)).await;
        #[cfg(not(feature = "ledger"))]
        let result = append.await;
        Committed {
            epoch: self.epoch,
            result,
            #[cfg(feature = "ledger")]
            ledger,
        }
    }

    async fn append_all(&mut self, records: &[Bytes]) -> Result<()> {
        let mut stored = 0;
        for attempt in 0.. {
            let rest = records.get(stored..).unwrap_or_default();
            let appended = self.journal.append(self.epoch, self.seq + stored as u64, rest).await;
            let unknown = match appended {
                Err(error) if error.kind() == ErrorKind::Unknown => error,
                // A part is stored and cannot be taken back, so this failure is not definite.
                Err(error) if stored > 0 => return Err(never_found_out(error)),
                definite => return definite,
            };
            stored = self.find_out(records, &unknown).await?;
            if stored == records.len() {
                break;
            }
            if attempt >= self.attempts {
                return Err(given_up(unknown, stored));
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Ok(())
    }

    /// How many records of the batch are stored, after making sure that no more will be.
    async fn find_out(&mut self, records: &[Bytes], unknown: &Error) -> Result<usize> {
        let mut last = unknown.clone();
        for attempt in 0..self.attempts {
            if attempt > 0 {
                tokio::time::sleep(pause(attempt - 1)).await;
            }
            match self.fence_and_compare(records).await {
                Ok(stored) => return Ok(stored),
                Err(error) if may_pass(error.kind()) => last = error,
                Err(error) => return Err(never_found_out(error)),
            }
        }
        Err(never_found_out(last))
    }

    /// Locks out the append whose outcome is unknown, then reads back what there is.
    ///
    /// Every attempt takes a new epoch: a fence that failed may have worked all the same.
    async fn fence_and_compare(&mut self, records: &[Bytes]) -> Result<usize> {
        self.epoch += 1;
        self.shared.raise_epoch(self.epoch);
        let tail = self.journal.fence(self.epoch).await?;
        let mut stored = 0;
        while self.seq + (stored as u64) < tail.next_seq {
            let found = self.journal.read(self.seq + stored as u64, ReadLimits::default()).await?;
            let ours = records.get(stored..).unwrap_or_default();
            if found.is_empty() || found.len() > ours.len() {
                return Err(not_ours(self.seq));
            }
            if found.iter().zip(ours).any(|(entry, record)| entry.payload != *record) {
                return Err(not_ours(self.seq));
            }
            stored += found.len();
        }
        Ok(stored)
    }
}

fn may_pass(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Exhausted)
}

fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE)
}

/// The batch was looked up and appended again as often as is allowed. If nothing of it is stored
/// then nothing will be: the last look locked the last append out.
fn given_up(cause: Error, stored: usize) -> Error {
    if stored > 0 {
        return never_found_out(cause);
    }
    cause.behind(
        ErrorKind::Unavailable,
        "the journal lost a batch again and again, nothing of it is stored: retry later",
    )
}

fn never_found_out(cause: Error) -> Error {
    cause.behind(
        ErrorKind::Unknown,
        "a batch may or may not be in the journal: open the store again and read",
    )
}

fn not_ours(seq: u64) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("record {seq} of the journal is another writer's: open the store again"),
    )
}
