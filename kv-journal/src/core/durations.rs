//! How long things took, by buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many durations of something were how long.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Durations {
    /// Upper bounds in ascending order, and how many durations were no longer than each.
    pub buckets: Vec<(Duration, u64)>,
    /// How many durations there were.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
}

/// Counts durations, from any thread.
#[derive(Debug)]
pub(crate) struct DurationRecorder {
    bounds: &'static [Duration],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

impl DurationRecorder {
    pub(crate) fn new(bounds: &'static [Duration]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_nanos: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, duration: Duration) {
        let bucket = self.bounds.partition_point(|bound| *bound < duration);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn durations(&self) -> Durations {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        let mut bounds = self.bounds.iter();
        for in_bucket in &self.counts {
            count += in_bucket.load(Ordering::Relaxed);
            buckets.extend(bounds.next().map(|bound| (*bound, count)));
        }
        let sum = Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed));
        Durations { buckets, count, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        const BOUNDS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];
        let recorder = DurationRecorder::new(&BOUNDS);
        for micros in [0, 1_000, 1_001, 10_000, 10_001, 5_000_000] {
            recorder.record(Duration::from_micros(micros));
        }
        let told = recorder.durations();
        assert_eq!(told.buckets, [(BOUNDS[0], 2), (BOUNDS[1], 4)]);
        assert_eq!(told.count, 6);
        assert_eq!(told.sum, Duration::from_micros(5_022_002));
    }
}
