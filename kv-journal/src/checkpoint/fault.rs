//! A decorator that makes checkpoints fail as told.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{CheckpointInfo, CheckpointStore, CheckpointWriter};
use crate::error::{Error, ErrorKind, Result};

/// What happens to one step of writing: a begin, a write, a commit or a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// Nothing: it is passed on.
    Pass,
    /// It fails with this kind and nothing happens.
    Fail(ErrorKind),
    /// It succeeds and nothing happens, as on a disk that lies: a part is missing, a commit or a
    /// removal is lost.
    Lost,
    /// A write succeeds and keeps half of its part. Anything else is passed on.
    Torn,
    /// A commit or removal happens and fails with `Unknown`. A begin or write fails so.
    UnknownDone,
    /// It waits for [`FaultCheckpoints::release`] and is then passed on.
    Hold,
}

/// A [`CheckpointStore`] that passes everything on to another one, except where a fault was
/// scripted. Clones share the script. Without faults it keeps the whole contract.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use kv_journal::{CheckpointFault, CheckpointStore, ErrorKind};
/// use kv_journal::{FaultCheckpoints, MemoryCheckpoints};
///
/// let checkpoints = FaultCheckpoints::new(MemoryCheckpoints::new());
/// checkpoints.script([CheckpointFault::Fail(ErrorKind::Exhausted)]);
/// assert!(checkpoints.begin(7).await.is_err());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FaultCheckpoints {
    inner: Arc<dyn CheckpointStore>,
    faults: Arc<Faults>,
}

struct Faults {
    steps: Mutex<VecDeque<CheckpointFault>>,
    reads: Mutex<VecDeque<ErrorKind>>,
    released: Semaphore,
}

impl FaultCheckpoints {
    /// `inner` without faults.
    pub fn new(inner: impl CheckpointStore) -> Self {
        let faults = Faults {
            steps: Mutex::default(),
            reads: Mutex::default(),
            released: Semaphore::new(0),
        };
        Self { inner: Arc::new(inner), faults: Arc::new(faults) }
    }

    /// What happens to the next steps, one each, after those already scripted.
    pub fn script(&self, faults: impl IntoIterator<Item = CheckpointFault>) {
        self.faults.steps.lock().extend(faults);
    }

    /// The next reads and lists fail so, one each.
    pub fn fail_reads(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.faults.reads.lock().extend(kinds);
    }

    /// Lets one held step go on, now or when it comes.
    pub fn release(&self) {
        self.faults.released.add_permits(1);
    }

    /// How many scripted faults have not happened yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.faults.steps.lock().len()
    }
}

impl Faults {
    /// The next step's fault, once it may go on.
    async fn next(&self) -> Result<CheckpointFault> {
        let fault = self.steps.lock().pop_front().unwrap_or(CheckpointFault::Pass);
        match fault {
            CheckpointFault::Fail(kind) => Err(injected(kind)),
            CheckpointFault::Hold => match self.released.acquire().await {
                Ok(permit) => {
                    permit.forget();
                    Ok(CheckpointFault::Pass)
                }
                Err(_) => Err(injected(ErrorKind::Closed)),
            },
            other => Ok(other),
        }
    }

    fn next_read(&self) -> Result<()> {
        let next = self.reads.lock().pop_front();
        next.map_or(Ok(()), |kind| Err(injected(kind)))
    }
}

fn injected(kind: ErrorKind) -> Error {
    Error::new(kind, format!("injected fault: {kind:?}"))
}

#[async_trait]
impl CheckpointStore for FaultCheckpoints {
    async fn begin(&self, id: u64) -> Result<Box<dyn CheckpointWriter>> {
        if self.faults.next().await? == CheckpointFault::UnknownDone {
            return Err(injected(ErrorKind::Unknown));
        }
        let inner = self.inner.begin(id).await?;
        Ok(Box::new(Writer { inner, faults: Arc::clone(&self.faults) }))
    }

    async fn list(&self) -> Result<Vec<CheckpointInfo>> {
        self.faults.next_read()?;
        self.inner.list().await
    }

    async fn read(&self, id: u64, offset: u64, len: usize) -> Result<Bytes> {
        self.faults.next_read()?;
        self.inner.read(id, offset, len).await
    }

    async fn remove(&self, id: u64) -> Result<()> {
        match self.faults.next().await? {
            CheckpointFault::Lost => Ok(()),
            CheckpointFault::UnknownDone => {
                self.inner.remove(id).await.and(Err(injected(ErrorKind::Unknown)))
            }
            _ => self.inner.remove(id).await,
        }
    }
}

struct Writer {
    inner: Box<dyn CheckpointWriter>,
    faults: Arc<Faults>,
}

#[async_trait]
impl CheckpointWriter for Writer {
    async fn write(&mut self, part: Bytes) -> Result<()> {
        match self.faults.next().await? {
            CheckpointFault::Lost => Ok(()),
            CheckpointFault::Torn => self.inner.write(part.slice(..part.len() / 2)).await,
            CheckpointFault::UnknownDone => Err(injected(ErrorKind::Unknown)),
            _ => self.inner.write(part).await,
        }
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        match self.faults.next().await? {
            CheckpointFault::Lost => Ok(()),
            CheckpointFault::UnknownDone => {
                self.inner.commit().await.and(Err(injected(ErrorKind::Unknown)))
            }
            _ => self.inner.commit().await,
        }
    }
}

impl fmt::Debug for FaultCheckpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultCheckpoints")
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
