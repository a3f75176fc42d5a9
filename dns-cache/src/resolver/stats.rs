//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::cache::Totals;

/// What a resolver has done since it was opened, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Queries answered from the cache.
    pub hits: u64,
    /// Queries that the cache could not answer.
    pub misses: u64,
    /// Queries answered from the cluster's records alone.
    pub zone_answers: u64,
    /// Queries answered by a rule: malformed, forbidden, or of a kind that is not served.
    pub refused: u64,
    /// Messages that deserved no response.
    pub dropped: u64,
    /// Questions sent upstream.
    pub upstream_queries: u64,
    /// Questions that the upstream did not answer, or answered wrongly.
    pub upstream_failures: u64,
    /// Misses that joined a question already on its way.
    pub coalesced: u64,
    /// Misses answered with SERVFAIL because a limit was reached.
    pub overloads: u64,
    /// Streams of records that broke and were opened again.
    pub records_restarts: u64,
    /// Answers put into the cache.
    pub insertions: u64,
    /// Answers pushed out to make room.
    pub evictions: u64,
    /// Answers in the cache, with those that have expired and not been met since.
    pub entries: u64,
    /// Bytes in the cache, as counted against its bound.
    pub bytes: u64,
}

macro_rules! counters {
    ($($name:ident)*) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $($name: Count,)*
        }

        impl Counters {
            $(pub(super) fn $name(&self) {
                self.$name.0.fetch_add(1, Ordering::Relaxed);
            })*

            pub(super) fn with(&self, cache: Totals) -> Stats {
                Stats {
                    $($name: self.$name.0.load(Ordering::Relaxed),)*
                    hits: cache.hits,
                    misses: cache.misses,
                    insertions: cache.insertions,
                    evictions: cache.evictions,
                    entries: cache.entries,
                    bytes: cache.bytes,
                }
            }
        }
    };
}

counters! {
    zone_answers refused dropped upstream_queries upstream_failures coalesced overloads
    records_restarts
}

#[derive(Debug, Default)]
struct Count(AtomicU64);
