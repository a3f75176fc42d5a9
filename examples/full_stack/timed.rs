//! A journal that remembers how long its appends took.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kv_journal::{Entry, Journal, ReadLimits, Result, Tail};
use tokio::time::Instant;
use trestle_examples::latency::Latency;

/// Any journal, with the latency of its appends; each is one batch and one sync.
pub(crate) struct TimedJournal<J> {
    pub(crate) inner: J,
    pub(crate) appends: Arc<Latency>,
}

#[async_trait]
impl<J: Journal> Journal for TimedJournal<J> {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.inner.fence(epoch).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        let start = Instant::now();
        let appended = self.inner.append(epoch, expected_seq, batch).await;
        self.appends.since(start);
        appended
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.inner.read(from_seq, limits).await
    }

    async fn tail(&self) -> Result<Tail> {
        self.inner.tail().await
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.inner.trim(before).await
    }
}
