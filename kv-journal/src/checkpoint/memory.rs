//! Checkpoints in memory, for tests and for state that may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{CheckpointInfo, CheckpointStore, CheckpointWriter, no_such};
use crate::error::Result;

/// A [`CheckpointStore`] in memory. Clones share it, so that a store can be opened on it again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use bytes::Bytes;
/// use kv_journal::{CheckpointStore, MemoryCheckpoints};
///
/// let checkpoints = MemoryCheckpoints::new();
/// let mut writer = checkpoints.begin(7).await?;
/// writer.write(Bytes::from("state")).await?;
/// assert!(checkpoints.list().await?.is_empty());
/// writer.commit().await?;
/// assert_eq!(checkpoints.read(7, 2, 100).await?, "ate");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryCheckpoints {
    committed: Arc<Mutex<BTreeMap<u64, Bytes>>>,
}

impl MemoryCheckpoints {
    /// No checkpoints.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

struct Writer {
    committed: Arc<Mutex<BTreeMap<u64, Bytes>>>,
    id: u64,
    content: Vec<u8>,
}

#[async_trait]
impl CheckpointStore for MemoryCheckpoints {
    async fn begin(&self, id: u64) -> Result<Box<dyn CheckpointWriter>> {
        let committed = Arc::clone(&self.committed);
        Ok(Box::new(Writer { committed, id, content: Vec::new() }))
    }

    async fn list(&self) -> Result<Vec<CheckpointInfo>> {
        let committed = self.committed.lock();
        let infos = committed.iter().rev();
        Ok(infos.map(|(id, bytes)| CheckpointInfo { id: *id, bytes: bytes.len() as u64 }).collect())
    }

    async fn read(&self, id: u64, offset: u64, len: usize) -> Result<Bytes> {
        let content = self.committed.lock().get(&id).cloned().ok_or_else(|| no_such(id))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(len).min(content.len());
        Ok(content.slice(start..end))
    }

    async fn remove(&self, id: u64) -> Result<()> {
        self.committed.lock().remove(&id);
        Ok(())
    }
}

#[async_trait]
impl CheckpointWriter for Writer {
    async fn write(&mut self, part: Bytes) -> Result<()> {
        self.content.extend_from_slice(&part);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.committed.lock().insert(self.id, self.content.into());
        Ok(())
    }
}
