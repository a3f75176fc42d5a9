//! The port of a key-value store with etcd v3 semantics, wherever its keys are.

mod embedded;
#[cfg(feature = "etcd-store")]
mod etcd;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;

use crate::config::ChunkLimits;
use crate::core::{
    DeleteRequest, DeleteResponse, Durations, KvHash, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseListResponse, LeaseTimeToLiveResponse, PropertyChange, PutRequest,
    PutResponse, RangeChunk, RangeRequest, RangeResponse, Txn, TxnResponse,
};
use crate::error::Result;
use crate::store::{WatchMessage, WatchRequest};

#[cfg(feature = "etcd-store")]
pub use etcd::{EtcdStore, EtcdStoreConfig};

/// How sure a read must be that no newer state exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// It sees everything that was acknowledged before it began, by whomever.
    #[default]
    Linearizable,
    /// It sees some published state, at once.
    Serializable,
}

/// A key-value store with etcd v3 semantics: the embedded [`Store`](crate::Store), or a client of a
/// remote one. What is written against this port runs on either.
///
/// # Contract
///
/// 1. Requests and answers mean what the [`Store`](crate::Store)'s methods of the same name say.
/// 2. A write that was answered with a success is durable. One that failed with
///    [`Unknown`](crate::ErrorKind::Unknown) may have happened; with any other error it did not.
/// 3. A linearizable read that begins after an answer was given sees what the answer tells of.
/// 4. Revisions never go back, within one answer's meaning or between two answers one after the
///    other.
/// 5. A watcher gets every event of its range from its start on, once and in order, whole
///    revisions, until it is told that it is canceled.
/// 6. Dropping the future of a write leaves the write undone or done whole.
#[async_trait]
pub trait KvStore: fmt::Debug + Send + Sync + 'static {
    /// Reads a range, now or at any retained revision.
    async fn range(&self, request: RangeRequest, consistency: Consistency)
    -> Result<RangeResponse>;

    /// Reads a range in chunks, all of it as of one moment.
    async fn range_stream(
        &self,
        request: RangeRequest,
        consistency: Consistency,
        limits: ChunkLimits,
    ) -> Result<RangeChunks>;

    /// Writes one key.
    async fn put(&self, request: PutRequest) -> Result<PutResponse>;

    /// Deletes every key of a range, in one revision.
    async fn delete_range(&self, request: DeleteRequest) -> Result<DeleteResponse>;

    /// Runs one branch of a transaction, in one revision if it changes anything. One that only
    /// reads is linearizable.
    async fn txn(&self, txn: Txn) -> Result<TxnResponse>;

    /// Makes revisions below `revision` unreadable. Returns the newest revision.
    async fn compact(&self, revision: u64) -> Result<u64>;

    /// Grants a lease.
    async fn lease_grant(&self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse>;

    /// Ends a lease and deletes the keys attached to it. Returns the newest revision.
    async fn lease_revoke(&self, id: i64) -> Result<u64>;

    /// Gives a lease its full time again; a time of 0 says that there is none.
    async fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse>;

    /// What is known of a lease, and with `keys` which keys are attached to it; a time of -1 says
    /// that there is none.
    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseTimeToLiveResponse>;

    /// The leases that exist.
    async fn leases(&self) -> Result<LeaseListResponse>;

    /// A stream of many watchers.
    async fn watch_stream(&self) -> Result<Watching>;

    /// How the store is.
    async fn status(&self) -> Result<KvStatus>;

    /// How long what was written took to become durable; `None` if the store does not see that.
    fn commit_durations(&self) -> Option<Durations> {
        None
    }

    /// The hash of everything up to `revision`, 0 for the newest: equal for stores that hold the
    /// same and were compacted to the same revision.
    async fn hash_kv(&self, revision: u64) -> Result<KvHash>;

    /// The properties whose names begin with `prefix`, by name: what somebody who serves the store
    /// has to remember about it. A remote store has none that can be seen from here.
    async fn properties(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>>;

    /// Sets and removes properties, all or none.
    async fn set_properties(&self, changes: Vec<PropertyChange>) -> Result<()>;

    /// Takes the quota's alarm back and says whether there was one.
    async fn disarm(&self) -> Result<bool>;

    /// Everything in the store as bytes from which it can be restored.
    async fn snapshot(&self) -> Result<SnapshotBytes>;
}

/// The chunks of a range.
pub type RangeChunks = Pin<Box<dyn Stream<Item = Result<RangeChunk>> + Send>>;

/// The bytes of a snapshot.
pub type SnapshotBytes = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// What watchers see, one message after the other.
pub type WatchMessages = Pin<Box<dyn Stream<Item = Result<WatchMessage>> + Send>>;

/// A stream of many watchers: what they see, and the desk where they are created and canceled.
pub struct Watching {
    /// What they see. Dropping it drops the watchers.
    pub messages: WatchMessages,
    /// Where they are created and canceled.
    pub desk: Arc<dyn WatchDesk>,
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").field("desk", &self.desk).finish_non_exhaustive()
    }
}

/// Creates and cancels the watchers of one stream, without waiting.
pub trait WatchDesk: fmt::Debug + Send + Sync {
    /// Adds a watcher and returns its number, as
    /// [`WatchHandle::create`](crate::WatchHandle::create) does.
    ///
    /// # Errors
    /// The same.
    fn create(&self, request: WatchRequest) -> Result<i64>;

    /// Removes a watcher, if it is there, and says whether it was.
    fn cancel(&self, watch_id: i64) -> bool;

    /// Asks for a progress notice of the whole stream.
    fn request_progress(&self);

    /// The newest revision that is known.
    fn revision(&self) -> u64;
}

/// How a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct KvStatus {
    /// The newest revision.
    pub revision: u64,
    /// The oldest revision that can be read; 0 if nothing was ever compacted.
    pub compact_revision: u64,
    /// What everything retained takes, in bytes.
    pub bytes: u64,
    /// What it may take, in bytes.
    pub quota_bytes: u64,
    /// Whether the quota was reached and stops every write that adds something.
    pub quota_alarm: bool,
    /// Which writer it is, by the number of takeovers before it: etcd's term.
    pub term: u64,
    /// The number of the newest record of the journal: etcd's index.
    pub index: u64,
    /// Requests that wait to be evaluated.
    pub queued: u64,
    /// Batches of writes that the journal refused whole.
    pub failed_batches: u64,
    /// Keys that exist.
    pub keys: u64,
    /// Leases that exist.
    pub leases: u64,
    /// Streams of watchers that are open.
    pub watch_streams: u64,
    /// Watchers in them.
    pub watchers: u64,
}
