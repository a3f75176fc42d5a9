//! What was counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::http2::Failure;

/// Latencies up to ten minutes, in microseconds, to three digits.
const LONGEST_MICROS: u64 = 600_000_000;

/// The counts of one connection, or of all.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) latencies: Histogram<u32>,
    pub(super) errors: BTreeMap<u8, u64>,
    pub(super) first_error: Option<Failure>,
    pub(super) bytes: u64,
    pub(super) last: Option<Instant>,
    pub(super) found: Found,
}

/// What answers said, in the warm-up as well.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Keys in the answers to reads.
    pub(super) keys: u64,
    /// Reads that found none, and leases that were gone.
    pub(super) misses: u64,
    /// Transactions whose comparison did not hold.
    pub(super) conflicts: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants")]
        let latencies = Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
            .expect("the bounds are in order, and three digits are less than five");
        Self {
            latencies,
            errors: BTreeMap::new(),
            first_error: None,
            bytes: 0,
            last: None,
            found: Found::default(),
        }
    }

    pub(super) fn succeeded(&mut self, latency: Duration, now: Instant) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.max(1));
        self.last = Some(now);
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        *self.errors.entry(failure.status).or_default() += 1;
        self.first_error.get_or_insert(failure);
    }

    /// Takes over what has failed elsewhere.
    pub(super) fn add_errors(&mut self, other: &mut Self) {
        for (status, count) in std::mem::take(&mut other.errors) {
            *self.errors.entry(status).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error.take());
    }

    pub(super) fn add(&mut self, mut other: Self) {
        // Both have the same bounds.
        let _always = self.latencies.add(&other.latencies);
        self.add_errors(&mut other);
        self.bytes += other.bytes;
        self.last = self.last.max(other.last);
        self.found.keys += other.found.keys;
        self.found.misses += other.found.misses;
        self.found.conflicts += other.found.conflicts;
    }
}
