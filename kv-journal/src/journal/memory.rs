//! A journal in memory, for tests and for state that may be lost.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Entry, Journal, ReadLimits, Tail};
use crate::error::{Error, ErrorKind, Result};

/// A [`Journal`] in memory. Clones share it, so that a store can be opened on it again.
///
/// It is durable for as long as a clone lives, and no longer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use bytes::Bytes;
/// use kv_journal::{Journal, MemoryJournal};
///
/// let journal = MemoryJournal::new();
/// let tail = journal.fence(1).await?;
/// journal.append(1, tail.next_seq, &[Bytes::from("record")]).await?;
/// assert_eq!(journal.tail().await?.next_seq, 2);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    records: Arc<Mutex<Records>>,
}

#[derive(Debug)]
pub(super) struct Records {
    epoch: u64,
    first_seq: u64,
    payloads: VecDeque<Bytes>,
}

impl Default for Records {
    fn default() -> Self {
        Self { epoch: 0, first_seq: 1, payloads: VecDeque::new() }
    }
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Records {
    pub(super) fn tail(&self) -> Tail {
        let next_seq = self.first_seq + self.payloads.len() as u64;
        Tail { epoch: self.epoch, first_seq: self.first_seq, next_seq }
    }

    pub(super) fn fence(&mut self, epoch: u64) -> Result<Tail> {
        check_fence(epoch, self.tail())?;
        self.epoch = epoch;
        Ok(self.tail())
    }

    pub(super) fn append(&mut self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        check_append(epoch, expected_seq, self.tail())?;
        self.payloads.extend(batch.iter().cloned());
        Ok(())
    }

    pub(super) fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        check_read(from_seq, self.tail())?;
        let skip = usize::try_from(from_seq - self.first_seq).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for (payload, seq) in self.payloads.iter().skip(skip).zip(from_seq..) {
            bytes += payload.len();
            entries.push(Entry { seq, payload: payload.clone() });
            if entries.len() >= limits.records || bytes >= limits.bytes {
                break;
            }
        }
        Ok(entries)
    }

    pub(super) fn trim(&mut self, before: u64) {
        let before = before.min(self.tail().next_seq);
        while self.first_seq < before && self.payloads.pop_front().is_some() {
            self.first_seq += 1;
        }
    }
}

/// The first rule of an append, the same for every journal.
pub(super) fn check_append(epoch: u64, expected_seq: u64, tail: Tail) -> Result<()> {
    if epoch != tail.epoch {
        return Err(Error::new(
            ErrorKind::Fenced,
            format!("append of epoch {epoch}: the journal is at epoch {}: open again", tail.epoch),
        ));
    }
    if expected_seq != tail.next_seq {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("append at {expected_seq}: the next record is {}", tail.next_seq),
        ));
    }
    Ok(())
}

/// The rule of a fence, the same for every journal.
pub(super) fn check_fence(epoch: u64, tail: Tail) -> Result<()> {
    if epoch > tail.epoch {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Fenced,
        format!(
            "fence with epoch {epoch}: the journal is at epoch {}: use a higher one",
            tail.epoch
        ),
    ))
}

/// The rule of a read, the same for every journal.
pub(super) fn check_read(from_seq: u64, tail: Tail) -> Result<()> {
    if from_seq >= tail.first_seq {
        return Ok(());
    }
    let first_seq = tail.first_seq;
    Err(Error::new(
        ErrorKind::Trimmed { first_seq },
        format!("read from {from_seq}: the journal was trimmed and begins at {first_seq}"),
    ))
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.records.lock().fence(epoch)
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        self.records.lock().append(epoch, expected_seq, batch)
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.records.lock().read(from_seq, limits)
    }

    async fn tail(&self) -> Result<Tail> {
        Ok(self.records.lock().tail())
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.records.lock().trim(before);
        Ok(())
    }
}
