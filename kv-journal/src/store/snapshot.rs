//! A published state that readers may keep.

use std::fmt;
use std::sync::Arc;

use super::export::Export;
use super::fork::Fork;
use super::range_stream::RangeStream;
use crate::config::ChunkLimits;
use crate::core::{
    KeyRange, KeyValue, KvHash, KvHasher, RangeRequest, RangeResponse, State, check_range,
};
use crate::error::Result;

/// The state of a [`Store`](super::Store) as of one moment, with every revision retained then.
///
/// It never changes, whatever is written or compacted later, and keeps the memory of what it can
/// read alive. Cloning costs one reference count.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) state: Arc<State>,
    /// The size of an export's frames.
    pub(super) frame_bytes: usize,
}

impl Snapshot {
    /// The newest revision that it holds.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.state.revision()
    }

    /// The oldest revision that it can be read at; 0 if nothing was ever compacted.
    #[must_use]
    pub fn compact_revision(&self) -> u64 {
        self.state.compact_revision()
    }

    /// The newest version of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.state.get(key)
    }

    /// Answers a range request.
    ///
    /// # Errors
    /// `FutureRevision` or `Compacted` if it asks for a revision that cannot be read; `Invalid` if
    /// it asks for one empty key.
    pub fn range(&self, request: impl Into<RangeRequest>) -> Result<RangeResponse> {
        let request = request.into();
        check_range(&request.range)?;
        self.state.range(&request)
    }

    /// Reads a range in chunks, as [`Store::range_stream`](super::Store::range_stream) does.
    ///
    /// # Errors
    /// As [`range`](Self::range), and `Invalid` if it asks for an order that is not the keys', or
    /// for filters, or a limit is out of its range.
    pub fn range_stream(
        &self,
        request: impl Into<RangeRequest>,
        limits: ChunkLimits,
    ) -> Result<RangeStream> {
        RangeStream::new(Arc::clone(&self.state), &request.into(), limits)
    }

    /// The keys of `range` at the newest revision, in key order. Nothing is cloned.
    pub fn iter(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = &KeyValue> {
        self.state.iter(range)
    }

    /// The view at `revision`.
    ///
    /// # Errors
    /// `FutureRevision` or `Compacted` if this snapshot does not hold it; `Invalid` for 0.
    pub fn at(&self, revision: u64) -> Result<Fork> {
        Fork::new(Arc::clone(&self.state), revision)
    }

    /// Everything in it as a stream of bytes, for [`Store::import`](super::Store::import).
    pub fn export(&self) -> Export {
        Export::new(Arc::clone(&self.state), self.frame_bytes)
    }

    /// The hash of everything up to `revision`, 0 for the newest: the same as etcd's `HashKV`.
    /// Costs the keys and the revisions since the compaction.
    ///
    /// # Errors
    /// `FutureRevision` or `Compacted` if this snapshot does not hold the revision.
    pub fn hash_kv(&self, revision: u64) -> Result<KvHash> {
        KvHasher::new(Arc::clone(&self.state), revision).map(KvHasher::finish)
    }

    /// How many keys `range` holds at the newest revision, in `O(log n)`.
    #[must_use]
    pub fn count(&self, range: &KeyRange) -> u64 {
        self.state.count(range)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.revision())
            .field("compact_revision", &self.compact_revision())
            .finish_non_exhaustive()
    }
}
