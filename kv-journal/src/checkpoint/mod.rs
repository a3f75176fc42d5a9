//! The port for checkpoints: where whole states are kept, so that the journal can be trimmed.

mod fault;
mod file;
mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use fault::{CheckpointFault, FaultCheckpoints};
pub use file::{FileCheckpoints, FileCheckpointsConfig};
pub use memory::MemoryCheckpoints;

use crate::error::{Error, ErrorKind, Result};

/// A checkpoint that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// Its number: that of the journal's record that follows it.
    pub id: u64,
    /// Its length.
    pub bytes: u64,
}

/// A place that keeps checkpoints: byte strings with a number, written once, front to back.
///
/// # Contract
///
/// 1. **List.** `list()` has every committed checkpoint once, the highest number first, with its
///    length. It is empty at first.
/// 2. **Atomic.** Before its commit nothing of a checkpoint is listed or read. After it everything
///    is. A writer that is dropped, or whose write or commit failed, leaves nothing behind that is
///    ever listed, except after `Unknown`.
/// 3. **Committed is durable.** A commit that returned `Ok` is as durable as the adapter
///    documents. The checkpoint reads back as its parts one after the other, byte for byte.
/// 4. **Replace.** Committing a number that is there takes its place, whole and at once. Whoever
///    reads the old one meanwhile may get bytes of both.
/// 5. **Reads.** `read(id, offset, len)` returns the `len` bytes from `offset` on: fewer only
///    where the checkpoint ends, none beyond. It allocates no more than is there. A number that is
///    not there is `Invalid`.
/// 6. **Remove.** `remove(id)` removes that checkpoint and no other, and succeeds if there is none.
/// 7. **Side by side.** Several writers and readers may be under way at once, also of the same
///    number, and do not disturb each other; of two commits of a number the last one stays.
/// 8. **Errors are definite.** After any error but `Unknown` nothing has happened. After an
///    `Unknown` commit or removal, `list()` tells.
#[async_trait]
pub trait CheckpointStore: Send + Sync + 'static {
    /// Begins a checkpoint, or the replacement of one.
    ///
    /// # Errors
    /// `Exhausted` if the place is full, and what the adapter fails with.
    async fn begin(&self, id: u64) -> Result<Box<dyn CheckpointWriter>>;

    /// What is there, the highest number first.
    ///
    /// # Errors
    /// If the place cannot be asked.
    async fn list(&self) -> Result<Vec<CheckpointInfo>>;

    /// At most `len` bytes of a checkpoint from `offset` on.
    ///
    /// # Errors
    /// `Invalid` if there is no such checkpoint, and what the adapter fails with.
    async fn read(&self, id: u64, offset: u64, len: usize) -> Result<Bytes>;

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// If the place cannot be reached.
    async fn remove(&self, id: u64) -> Result<()>;
}

/// A checkpoint being written. Dropping it leaves nothing of it.
#[async_trait]
pub trait CheckpointWriter: Send {
    /// Adds `part` at the end. A caller writes parts of some MiB at most and awaits each, so that
    /// no more than that is ever held.
    ///
    /// # Errors
    /// `Exhausted` if the place is full, and what the adapter fails with. The writer is then of no
    /// more use.
    async fn write(&mut self, part: Bytes) -> Result<()>;

    /// Makes the checkpoint durable, then listed.
    ///
    /// # Errors
    /// `Unknown` if it may be there, otherwise as [`write`](Self::write).
    async fn commit(self: Box<Self>) -> Result<()>;
}

#[async_trait]
impl<C: CheckpointStore + ?Sized> CheckpointStore for Arc<C> {
    async fn begin(&self, id: u64) -> Result<Box<dyn CheckpointWriter>> {
        (**self).begin(id).await
    }

    async fn list(&self) -> Result<Vec<CheckpointInfo>> {
        (**self).list().await
    }

    async fn read(&self, id: u64, offset: u64, len: usize) -> Result<Bytes> {
        (**self).read(id, offset, len).await
    }

    async fn remove(&self, id: u64) -> Result<()> {
        (**self).remove(id).await
    }
}

/// The answer to a read of what is not there, the same for every adapter.
fn no_such(id: u64) -> Error {
    Error::new(ErrorKind::Invalid, format!("there is no checkpoint {id}: list what there is"))
}
