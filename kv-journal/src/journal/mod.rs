//! The port below the store: an ordered, durable, fenced, append-only journal.

mod chance;
mod crash;
mod fault;
pub(crate) mod file;
mod memory;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;

pub use crash::CrashJournal;
pub use fault::{Fault, FaultJournal, FaultRates};
pub use file::{FileConfig, FileJournal, OpenReport, TornTail};
#[doc(hidden)]
pub use file::{fuzz_frames, fuzz_segment};
pub use memory::MemoryJournal;
pub use throttle::{Throttle, ThrottleJournal};

use crate::error::Result;

/// Where a journal begins and ends, and who may write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The epoch of the last fence; 0 before the first.
    pub epoch: u64,
    /// The oldest record that is still there; `next_seq` if there is none.
    pub first_seq: u64,
    /// The sequence number of the next record; 1 in a new journal.
    pub next_seq: u64,
}

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its sequence number.
    pub seq: u64,
    /// Its bytes. They own their memory: no record keeps another one alive.
    pub payload: Bytes,
}

/// How much one [`Journal::read`] may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// At most so many records.
    pub records: usize,
    /// Stop once the payloads reach so many bytes. The record that reaches it is included.
    pub bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { records: 16 * 1024, bytes: 4 << 20 }
    }
}

/// An ordered, durable, append-only sequence of records with one writer at a time.
///
/// # Contract
///
/// 1. **Numbers.** Records are numbered from 1 without gaps. An empty journal has the tail
///    `{epoch: 0, first_seq: 1, next_seq: 1}`.
/// 2. **Fence.** `fence(e)` above the current epoch makes `e` current and returns the tail. At or
///    below the current epoch it fails with `Fenced` and changes nothing.
/// 3. **Fenced writers.** An append whose epoch is not the current one fails with `Fenced` and
///    stores nothing, then or later. Once `fence(e)` has returned, no append of a lower epoch
///    takes effect any more, not even one whose outcome was `Unknown`.
/// 4. **Compare and append.** An append whose `expected_seq` is not the next sequence number fails
///    with `Conflict` and stores nothing. Of two concurrent ones with the same number, one wins.
/// 5. **Acknowledged is durable.** An append that returned `Ok` is as durable as the adapter
///    documents, is read back byte for byte in its order, and counts in the tail.
/// 6. **Whole batches.** A batch gets consecutive numbers and is stored whole or not at all. An
///    empty batch checks epoch and number, and stores nothing.
/// 7. **Errors are definite.** `Fenced`, `Conflict`, `Exhausted`, `Unavailable` and `Invalid` mean
///    that nothing of the batch is stored. `Unknown` means that it may be: the caller fences with
///    a higher epoch and reads back, and never retries blindly. `Closed` and `Corrupt` end the
///    journal.
/// 8. **Bounded reads.** `read(from)` returns records in order from `from` on, within its limits,
///    at least one if there is one, and none at the end. It needs no epoch.
/// 9. **Trim.** `trim(before)` may remove records before `before` and never any other; the tail's
///    numbers go on. It never fails for being repeated or late. A read below `first_seq` fails
///    with `Trimmed`.
/// 10. **Cancelled appends.** Dropping the future of an append stores its batch whole or not at
///     all, and the journal goes on working.
/// 11. **Fresh tail.** `tail()` includes every append and every fence that was acknowledged before
///     the call, even while an answer to an older call is under way.
/// 12. **Local epoch.** `local_epoch()` is `None` unless nobody but this value can fence or append.
///     Then it has the current epoch, that of every fence before the fence returns.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Makes `epoch` current, which locks older writers out, and returns the tail.
    ///
    /// # Errors
    /// `Fenced` if `epoch` is not above the current one.
    async fn fence(&self, epoch: u64) -> Result<Tail>;

    /// Appends `batch` so that its first record gets the number `expected_seq`, and returns once
    /// all of it is durable.
    ///
    /// # Errors
    /// As items 3, 4 and 7 of the contract say.
    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()>;

    /// Records from `from_seq` on, as many as the limits allow.
    ///
    /// # Errors
    /// `Trimmed` if `from_seq` is no longer there; `Corrupt` if a checksum does not match.
    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>>;

    /// Where the journal begins and ends now, as item 11 of the contract says. Many calls may be
    /// under way at once; an adapter over a network bounds how long one lasts.
    ///
    /// # Errors
    /// If the journal cannot be asked.
    async fn tail(&self) -> Result<Tail>;

    /// Allows records before `before` to be removed.
    ///
    /// # Errors
    /// If the journal cannot be reached.
    async fn trim(&self, before: u64) -> Result<()>;

    /// The current epoch, where it is known without asking, as item 12 of the contract says: its
    /// owner then reads linearizably without a question to the journal.
    fn local_epoch(&self) -> Option<Arc<AtomicU64>> {
        None
    }
}

#[async_trait]
impl<J: Journal + ?Sized> Journal for Arc<J> {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        (**self).fence(epoch).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        (**self).append(epoch, expected_seq, batch).await
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        (**self).read(from_seq, limits).await
    }

    async fn tail(&self) -> Result<Tail> {
        (**self).tail().await
    }

    async fn trim(&self, before: u64) -> Result<()> {
        (**self).trim(before).await
    }

    fn local_epoch(&self) -> Option<Arc<AtomicU64>> {
        (**self).local_epoch()
    }
}
