//! Stores that break one promise each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use kv_journal::conformance::{self, stores};
use kv_journal::{
    ChunkLimits, Config, Consistency, DeleteRequest, DeleteResponse, Error, ErrorKind, KvHash,
    KvStatus, KvStore, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse,
    LeaseListResponse, LeaseTimeToLiveResponse, MemoryJournal, Op, OpResponse, PropertyChange,
    PutRequest, PutResponse, RangeChunks, RangeRequest, RangeResponse, Result, SnapshotBytes,
    Store, Txn, TxnResponse, WatchMessage, Watching,
};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    IgnoresLimits,
    MistakesErrors,
    ForgetsPrevious,
    StreamsWithoutEnd,
    WritesWhatItRefuses,
    ReadsOldStates,
    RepeatsRevisions,
    SplitsRevisions,
    LosesEvents,
    RepeatsEvents,
    HidesCompactions,
    TearsTransactions,
}

impl Flaw {
    const ALL: [Self; 12] = [
        Self::IgnoresLimits,
        Self::MistakesErrors,
        Self::ForgetsPrevious,
        Self::StreamsWithoutEnd,
        Self::WritesWhatItRefuses,
        Self::ReadsOldStates,
        Self::RepeatsRevisions,
        Self::SplitsRevisions,
        Self::LosesEvents,
        Self::RepeatsEvents,
        Self::HidesCompactions,
        Self::TearsTransactions,
    ];

    /// The contract item that it breaks.
    fn item(self) -> &'static str {
        match self {
            Self::IgnoresLimits
            | Self::MistakesErrors
            | Self::ForgetsPrevious
            | Self::StreamsWithoutEnd => "1",
            Self::WritesWhatItRefuses => "2",
            Self::ReadsOldStates => "3",
            Self::RepeatsRevisions => "4",
            Self::SplitsRevisions
            | Self::LosesEvents
            | Self::RepeatsEvents
            | Self::HidesCompactions => "5",
            Self::TearsTransactions => "6",
        }
    }
}

#[derive(Debug)]
struct BrokenStore {
    inner: Store,
    flaw: Flaw,
    calls: AtomicU64,
}

impl BrokenStore {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn every(&self, nth: u64) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) % nth == nth - 1
    }
}

#[async_trait]
impl KvStore for BrokenStore {
    async fn range(
        &self,
        mut request: RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse> {
        if self.has(Flaw::IgnoresLimits) {
            request.limit = 0;
        }
        if self.has(Flaw::ReadsOldStates) && request.revision == 0 && self.every(5) {
            request.revision = self.inner.revision() - 1;
        }
        KvStore::range(&self.inner, request, consistency).await
    }

    async fn range_stream(
        &self,
        request: RangeRequest,
        consistency: Consistency,
        limits: ChunkLimits,
    ) -> Result<RangeChunks> {
        let chunks = KvStore::range_stream(&self.inner, request, consistency, limits).await?;
        if self.has(Flaw::StreamsWithoutEnd) {
            return Ok(Box::pin(chunks.map(|chunk| {
                chunk.map(|mut chunk| {
                    chunk.summary = None;
                    chunk
                })
            })));
        }
        Ok(chunks)
    }

    async fn put(&self, mut request: PutRequest) -> Result<PutResponse> {
        if self.has(Flaw::ForgetsPrevious) {
            request.prev_kv = false;
        }
        let put = self.inner.put(request.clone()).await;
        if self.has(Flaw::MistakesErrors) {
            return put.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()));
        }
        if self.has(Flaw::WritesWhatItRefuses) && put.is_err() && !request.key.is_empty() {
            self.inner.put(PutRequest::new(request.key, request.value)).await?;
        }
        let mut put = put?;
        if self.has(Flaw::RepeatsRevisions) && self.every(7) {
            put.revision -= 1;
        }
        Ok(put)
    }

    async fn delete_range(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        self.inner.delete_range(request).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let puts = txn.success.iter().all(|op| matches!(op, Op::Put(_)));
        if !self.has(Flaw::TearsTransactions) || !txn.compares.is_empty() || !puts {
            return self.inner.txn(txn).await;
        }
        let mut torn = self.inner.txn(Txn::new()).await?;
        for op in txn.success.clone() {
            if let Op::Put(put) = op {
                let put = self.inner.put(put).await?;
                torn.revision = put.revision;
                torn.responses.push(OpResponse::Put(put));
            }
        }
        Ok(torn)
    }

    async fn compact(&self, revision: u64) -> Result<u64> {
        self.inner.compact(revision).await
    }

    async fn lease_grant(&self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse> {
        self.inner.lease_grant(request).await
    }

    async fn lease_revoke(&self, id: i64) -> Result<u64> {
        self.inner.lease_revoke(id).await
    }

    async fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse> {
        KvStore::lease_keep_alive(&self.inner, id).await
    }

    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseTimeToLiveResponse> {
        KvStore::lease_time_to_live(&self.inner, id, keys).await
    }

    async fn leases(&self) -> Result<LeaseListResponse> {
        KvStore::leases(&self.inner).await
    }

    async fn watch_stream(&self) -> Result<Watching> {
        let flaw = self.flaw;
        let Watching { messages, desk } = KvStore::watch_stream(&self.inner).await?;
        let broken = messages.flat_map(move |message| stream::iter(broken(flaw, message)));
        Ok(Watching { messages: Box::pin(broken), desk })
    }

    async fn status(&self) -> Result<KvStatus> {
        self.inner.status().await
    }

    async fn hash_kv(&self, revision: u64) -> Result<KvHash> {
        self.inner.hash_kv(revision).await
    }

    async fn properties(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        KvStore::properties(&self.inner, prefix).await
    }

    async fn set_properties(&self, changes: Vec<PropertyChange>) -> Result<()> {
        self.inner.set_properties(changes).await
    }

    async fn disarm(&self) -> Result<bool> {
        KvStore::disarm(&self.inner).await
    }

    async fn snapshot(&self) -> Result<SnapshotBytes> {
        KvStore::snapshot(&self.inner).await
    }
}

/// What a watcher is told instead of a message.
fn broken(flaw: Flaw, message: Result<WatchMessage>) -> Vec<Result<WatchMessage>> {
    let Ok(told) = &message else { return vec![message] };
    match told.clone() {
        WatchMessage::Events { watch_id, mut batch } => {
            let events = batch.events.to_vec();
            match flaw {
                Flaw::LosesEvents if batch.revision == 4 => Vec::new(),
                Flaw::RepeatsEvents if batch.revision == 4 => vec![message.clone(), message],
                Flaw::SplitsRevisions if events.len() > 1 => {
                    let parts = events.into_iter().map(|event| {
                        batch.events = vec![event].into();
                        Ok(WatchMessage::Events { watch_id, batch: batch.clone() })
                    });
                    parts.collect()
                }
                _ => vec![message],
            }
        }
        WatchMessage::Canceled { watch_id, revision, reason: Some(_) }
            if flaw == Flaw::HidesCompactions =>
        {
            vec![Ok(WatchMessage::Canceled { watch_id, revision, reason: None })]
        }
        _ => vec![message],
    }
}

#[test]
fn every_broken_store_fails_the_item_that_it_breaks() {
    for flaw in Flaw::ALL {
        let mut violated = Vec::new();
        for check in stores::CHECKS {
            let found = conformance::run(async {
                let journal = Arc::new(MemoryJournal::new());
                let (inner, driver) = Store::open(journal, Config::default()).await.unwrap();
                tokio::spawn(driver);
                let store = BrokenStore { inner, flaw, calls: AtomicU64::new(0) };
                (check.run)(&store).await
            });
            violated.extend(found.err().map(|violation| violation.item));
        }
        assert!(violated.contains(&flaw.item()), "{flaw:?} violates only {violated:?}");
    }
    for item in ["1", "2", "3", "4", "5", "6"] {
        assert!(Flaw::ALL.iter().any(|flaw| flaw.item() == item), "nothing breaks item {item}");
    }
}
