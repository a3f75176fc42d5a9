//! From where a client and a watcher meet the store.

use std::sync::Arc;

use kv_journal::{
    Consistency, DeleteRequest, DeleteResponse, KvStore, PutRequest, PutResponse, RangeRequest,
    RangeResponse, Result, Store, Txn, TxnResponse,
};

#[derive(Clone)]
pub(crate) enum Side {
    /// In the process of the store.
    Embedded(Store),
    /// Over whatever is in between.
    Remote(Arc<dyn KvStore>),
}

impl Side {
    /// What comes next sees everything that was acknowledged. A remote store is told with each
    /// request.
    pub(super) async fn read_barrier(&self) -> Result<()> {
        match self {
            Self::Embedded(store) => store.read_barrier().await.map(drop),
            Self::Remote(_) => Ok(()),
        }
    }

    pub(super) async fn range(
        &self,
        request: RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse> {
        match self {
            Self::Embedded(store) => store.range(request),
            Self::Remote(store) => store.range(request, consistency).await,
        }
    }

    pub(super) async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        match self {
            Self::Embedded(store) => store.put(request).await,
            Self::Remote(store) => store.put(request).await,
        }
    }

    pub(super) async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        match self {
            Self::Embedded(store) => store.txn(txn).await,
            Self::Remote(store) => store.txn(txn).await,
        }
    }

    pub(super) async fn delete_range(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        match self {
            Self::Embedded(store) => store.delete_range(request).await,
            Self::Remote(store) => store.delete_range(request).await,
        }
    }

    pub(super) async fn compact(&self, revision: u64) -> Result<u64> {
        match self {
            Self::Embedded(store) => store.compact(revision).await,
            Self::Remote(store) => store.compact(revision).await,
        }
    }

    /// A revision that was the newest, or 0 if that cannot be found out.
    pub(super) async fn revision(&self) -> u64 {
        match self {
            Self::Embedded(store) => store.revision(),
            Self::Remote(store) => store.status().await.map_or(0, |status| status.revision),
        }
    }
}
