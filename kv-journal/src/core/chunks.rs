//! The answer to a range request in pieces of bounded size, as of etcd's `RangeStream`.

use std::borrow::Borrow;

use super::key_range::{End, KeyRange};
use super::mvcc::State;
use super::query::as_asked;
use super::request::{RangeRequest, SortOrder, SortTarget};
use super::txn_check::check_range;
use super::value::KeyValue;
use crate::config::ChunkLimits;
use crate::error::{Error, ErrorKind, Result};

/// What a key takes in a chunk beside its bytes: its numbers and its frame.
pub(crate) const KEY_OVERHEAD: usize = 64;

/// A part of a range, in key order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RangeChunk {
    /// The next keys of the range.
    pub kvs: Vec<KeyValue>,
    /// What is to be said of the range as a whole: on the last chunk and only there.
    pub summary: Option<RangeSummary>,
}

/// What the last [`RangeChunk`] says of the range as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RangeSummary {
    /// The newest revision when the stream began, whatever revision it reads.
    pub revision: u64,
    /// Whether the limit cut keys off.
    pub more: bool,
    /// How many keys the range holds, whatever the limit.
    pub count: u64,
}

/// How far a range has been read. The state is the caller's, the same one for every chunk.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    rest: KeyRange,
    /// 0 is the newest.
    revision: u64,
    keys_only: bool,
    count_only: bool,
    limit: usize,
    /// Keys given so far.
    given: usize,
}

/// Whether a range can be read in chunks.
pub(crate) fn check_streamable(request: &RangeRequest) -> Result<()> {
    check_range(&request.range)?;
    let descending = request.sort.order == SortOrder::Descending;
    if descending || request.sort.target != SortTarget::Key || request.filters() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a stream is in key order and without filters: read the range at once instead",
        ));
    }
    Ok(())
}

impl Chunks {
    pub(crate) fn new(state: &State, request: &RangeRequest) -> Result<Self> {
        check_streamable(request)?;
        let mut revision = request.revision;
        if revision != 0 {
            state.check_readable(revision)?;
            // The newest revision has counts of its own, see `State`.
            revision = if revision == state.revision() { 0 } else { revision };
        }
        Ok(Self {
            rest: request.range.clone(),
            revision,
            keys_only: request.keys_only,
            count_only: request.count_only,
            limit: if request.limit == 0 { usize::MAX } else { request.limit },
            given: 0,
        })
    }

    /// The next chunk; the one with a summary is the last.
    pub(crate) fn next(&mut self, state: &State, limits: ChunkLimits) -> RangeChunk {
        if self.count_only {
            let count = self.count_rest(state);
            let summary = RangeSummary { revision: state.revision(), more: false, count };
            return RangeChunk { kvs: Vec::new(), summary: Some(summary) };
        }
        let (kvs, further) = if self.revision == 0 {
            self.fill(state.iter(&self.rest), limits)
        } else {
            self.fill(state.iter_at(&self.rest, self.revision), limits)
        };
        self.given += kvs.len();
        if let Some(last) = kvs.last() {
            self.rest = after(&self.rest, last.key());
        }
        let ends = !further || self.given >= self.limit;
        let summary = ends.then(|| self.summary(state, further));
        RangeChunk { kvs, summary }
    }

    /// As many keys as fit, at least one if there is one, and whether there are further ones.
    fn fill<K: Borrow<KeyValue>>(
        &self,
        keys: impl Iterator<Item = K>,
        limits: ChunkLimits,
    ) -> (Vec<KeyValue>, bool) {
        let (mut kvs, mut bytes) = (Vec::new(), 0);
        let most = limits.keys.min(self.limit - self.given);
        for kv in keys {
            let kv = kv.borrow();
            let value = if self.keys_only { 0 } else { kv.value().len() };
            bytes += kv.key().len() + value + KEY_OVERHEAD;
            if kvs.len() >= most || (bytes > limits.bytes && !kvs.is_empty()) {
                return (kvs, true);
            }
            kvs.push(as_asked(kv, self.keys_only));
        }
        (kvs, false)
    }

    fn summary(&self, state: &State, more: bool) -> RangeSummary {
        let rest = if more { self.count_rest(state) } else { 0 };
        RangeSummary { revision: state.revision(), more, count: self.given as u64 + rest }
    }

    fn count_rest(&self, state: &State) -> u64 {
        match self.revision {
            0 => state.count(&self.rest),
            past => state.iter_at(&self.rest, past).count() as u64,
        }
    }
}

/// What of `range` is above `key`, which lies in it.
fn after(range: &KeyRange, key: &[u8]) -> KeyRange {
    let next = [key, &[0]].concat().into();
    match range.end() {
        // Nothing: a range that ends where it begins is empty.
        End::Single => KeyRange::range(range.start().clone(), range.start().clone()),
        end => KeyRange::from_parts(next, end.clone()),
    }
}
