//! A decorator that makes any journal fail as told.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Entry, Journal, ReadLimits, Tail};
use crate::error::{Error, ErrorKind, Result};

/// What happens to one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: it is passed on.
    Pass,
    /// It fails with this kind and nothing is stored.
    Fail(ErrorKind),
    /// Its outcome is `Unknown`, and it was stored.
    UnknownStored,
    /// Its outcome is `Unknown`, and it was lost.
    UnknownLost,
    /// Its outcome is `Unknown`, and only so many records of the batch were stored, as a journal
    /// without whole batches would leave them.
    Torn(usize),
    /// It waits for [`FaultJournal::release`] and is then passed on.
    Hold,
}

/// A [`Journal`] that passes everything on to another one, except where a fault was scripted.
///
/// Clones share the script, so that a test keeps one clone and gives another one to the store.
/// Without faults it keeps the whole contract.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use bytes::Bytes;
/// use kv_journal::{ErrorKind, Fault, FaultJournal, Journal, MemoryJournal};
///
/// let journal = FaultJournal::new(MemoryJournal::new());
/// journal.fence(1).await?;
/// journal.script([Fault::UnknownLost]);
/// let failed = journal.append(1, 1, &[Bytes::from("record")]).await.unwrap_err();
/// assert_eq!(failed.kind(), ErrorKind::Unknown);
/// assert_eq!(journal.tail().await?.next_seq, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FaultJournal {
    inner: Arc<dyn Journal>,
    faults: Arc<Faults>,
}

struct Faults {
    appends: Mutex<VecDeque<Fault>>,
    fences: Mutex<VecDeque<ErrorKind>>,
    reads: Mutex<VecDeque<ErrorKind>>,
    released: Semaphore,
}

impl FaultJournal {
    /// `inner` without faults.
    pub fn new(inner: impl Journal) -> Self {
        let faults = Faults {
            appends: Mutex::default(),
            fences: Mutex::default(),
            reads: Mutex::default(),
            released: Semaphore::new(0),
        };
        Self { inner: Arc::new(inner), faults: Arc::new(faults) }
    }

    /// What happens to the next appends, one each, after those already scripted.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.appends.lock().extend(faults);
    }

    /// The next fences fail so, one each, without effect.
    pub fn fail_fences(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.faults.fences.lock().extend(kinds);
    }

    /// The next reads fail so, one each.
    pub fn fail_reads(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.faults.reads.lock().extend(kinds);
    }

    /// Lets one held append go on, now or when it comes.
    pub fn release(&self) {
        self.faults.released.add_permits(1);
    }

    /// How many scripted faults have not happened yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.faults.appends.lock().len()
    }

    async fn append_torn(&self, epoch: u64, seq: u64, stored: &[Bytes]) -> Result<()> {
        self.inner.append(epoch, seq, stored).await?;
        Err(injected(ErrorKind::Unknown))
    }

    async fn append_held(&self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        match self.faults.released.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(injected(ErrorKind::Closed)),
        }
        self.inner.append(epoch, seq, batch).await
    }
}

fn injected(kind: ErrorKind) -> Error {
    Error::new(kind, format!("injected fault: {kind:?}"))
}

fn next_failure(script: &Mutex<VecDeque<ErrorKind>>) -> Result<()> {
    let next = script.lock().pop_front();
    next.map_or(Ok(()), |kind| Err(injected(kind)))
}

#[async_trait]
impl Journal for FaultJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        next_failure(&self.faults.fences)?;
        self.inner.fence(epoch).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        let fault = self.faults.appends.lock().pop_front().unwrap_or(Fault::Pass);
        match fault {
            Fault::Pass => self.inner.append(epoch, expected_seq, batch).await,
            Fault::Fail(kind) => Err(injected(kind)),
            Fault::UnknownStored => self.append_torn(epoch, expected_seq, batch).await,
            Fault::UnknownLost => Err(injected(ErrorKind::Unknown)),
            Fault::Torn(records) => {
                let stored = batch.get(..records).unwrap_or(batch);
                self.append_torn(epoch, expected_seq, stored).await
            }
            Fault::Hold => self.append_held(epoch, expected_seq, batch).await,
        }
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        next_failure(&self.faults.reads)?;
        self.inner.read(from_seq, limits).await
    }

    async fn tail(&self) -> Result<Tail> {
        self.inner.tail().await
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.inner.trim(before).await
    }
}

impl fmt::Debug for FaultJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultJournal").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}
