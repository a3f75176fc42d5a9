//! The embedded store as a [`KvStore`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;

use super::{Consistency, KvStatus, KvStore, RangeChunks, SnapshotBytes, WatchDesk, Watching};
use crate::config::ChunkLimits;
use crate::core::{
    DeleteRequest, DeleteResponse, Durations, KvHash, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseListResponse, LeaseTimeToLiveResponse, PropertyChange, PutRequest,
    PutResponse, RangeRequest, RangeResponse, Txn, TxnResponse,
};
use crate::error::Result;
use crate::store::{Store, WatchHandle, WatchRequest};

impl Store {
    async fn ready_to_read(&self, consistency: Consistency) -> Result<()> {
        match consistency {
            Consistency::Linearizable => self.read_barrier().await.map(drop),
            Consistency::Serializable => Ok(()),
        }
    }
}

#[async_trait]
impl KvStore for Store {
    async fn range(
        &self,
        request: RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse> {
        self.ready_to_read(consistency).await?;
        Self::range(self, request)
    }

    async fn range_stream(
        &self,
        request: RangeRequest,
        consistency: Consistency,
        limits: ChunkLimits,
    ) -> Result<RangeChunks> {
        self.ready_to_read(consistency).await?;
        let chunks = Self::range_stream(self, request, limits)?;
        Ok(Box::pin(chunks.map(Ok)))
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        Self::put(self, request).await
    }

    async fn delete_range(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        Self::delete_range(self, request).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        // One that changes nothing does not ask the journal whether this store still has it.
        self.ready_to_read(Consistency::Linearizable).await?;
        Self::txn(self, txn).await
    }

    async fn compact(&self, revision: u64) -> Result<u64> {
        Self::compact(self, revision).await
    }

    async fn lease_grant(&self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse> {
        Self::lease_grant(self, request).await
    }

    async fn lease_revoke(&self, id: i64) -> Result<u64> {
        Self::lease_revoke(self, id).await
    }

    async fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse> {
        self.ready_to_read(Consistency::Linearizable).await?;
        Self::lease_keep_alive(self, id)
    }

    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseTimeToLiveResponse> {
        self.ready_to_read(Consistency::Linearizable).await?;
        Self::lease_time_to_live(self, id, keys)
    }

    async fn leases(&self) -> Result<LeaseListResponse> {
        self.ready_to_read(Consistency::Linearizable).await?;
        Self::leases(self)
    }

    async fn watch_stream(&self) -> Result<Watching> {
        let stream = Self::watch_stream(self)?;
        let desk = Arc::new(stream.handle());
        Ok(Watching { messages: Box::pin(stream), desk })
    }

    async fn status(&self) -> Result<KvStatus> {
        let stats = self.stats();
        Ok(KvStatus {
            revision: stats.revision,
            compact_revision: stats.compact_revision,
            bytes: stats.bytes,
            quota_bytes: stats.quota_bytes,
            quota_alarm: stats.quota_alarm,
            term: stats.epoch,
            index: stats.applied_seq,
            queued: stats.queued,
            failed_batches: stats.failed_batches,
            keys: stats.keys,
            leases: stats.leases,
            watch_streams: stats.watch_streams,
            watchers: stats.watchers,
        })
    }

    fn commit_durations(&self) -> Option<Durations> {
        Some(Self::commit_durations(self))
    }

    async fn hash_kv(&self, revision: u64) -> Result<KvHash> {
        self.ready_to_read(Consistency::Linearizable).await?;
        Self::hash_kv(self, revision).await
    }

    async fn properties(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        self.ready_to_read(Consistency::Linearizable).await?;
        Self::properties(self, prefix)
    }

    async fn set_properties(&self, changes: Vec<PropertyChange>) -> Result<()> {
        Self::set_properties(self, changes).await
    }

    async fn disarm(&self) -> Result<bool> {
        Ok(Self::disarm(self))
    }

    async fn snapshot(&self) -> Result<SnapshotBytes> {
        Ok(Box::pin(Self::snapshot(self).export()))
    }
}

impl WatchDesk for WatchHandle {
    fn create(&self, request: WatchRequest) -> Result<i64> {
        Self::create(self, request)
    }

    fn cancel(&self, watch_id: i64) -> bool {
        Self::cancel(self, watch_id)
    }

    fn request_progress(&self) {
        Self::request_progress(self);
    }

    fn revision(&self) -> u64 {
        Self::revision(self)
    }
}
