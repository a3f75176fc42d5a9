//! What an open blob has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one open blob since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes that the source gave, right or wrong.
    pub bytes_fetched: u64,
    /// Reads of the source.
    pub requests: u64,
    /// Spans that were verified and decoded.
    pub spans_decoded: u64,
    /// Spans that a read found in the cache.
    pub cache_hits: u64,
    /// Spans that a read had to wait for.
    pub cache_misses: u64,
    /// Bytes of decoded spans in the cache now.
    pub cached_bytes: u64,
    /// Answers of the source that did not match: a wrong digest or a wrong length.
    pub digest_failures: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_fetched: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) spans_decoded: AtomicU64,
    pub(super) cache_hits: AtomicU64,
    pub(super) cache_misses: AtomicU64,
    pub(super) digest_failures: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self, cached_bytes: u64) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            bytes_fetched: load(&self.bytes_fetched),
            requests: load(&self.requests),
            spans_decoded: load(&self.spans_decoded),
            cache_hits: load(&self.cache_hits),
            cache_misses: load(&self.cache_misses),
            cached_bytes,
            digest_failures: load(&self.digest_failures),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
