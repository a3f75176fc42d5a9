//! Latency histograms that many tasks record into.

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

/// An hour; what takes longer is recorded as that.
const MAX_MICROS: u64 = 3_600_000_000;

/// The latencies of one kind of operation, kept in microseconds to three digits.
#[derive(Debug)]
pub struct Latency {
    histogram: Mutex<Option<Histogram<u64>>>,
}

/// What a table shows of a [`Latency`], in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// What 99 of 100 stayed within.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { histogram: Mutex::new(Histogram::new_with_max(MAX_MICROS, 3).ok()) }
    }
}

impl Latency {
    /// Records the time since `start`.
    pub fn since(&self, start: Instant) {
        self.record(start.elapsed());
    }

    /// Records one operation that took `took`.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(histogram) = self.histogram.lock().as_mut() {
            histogram.saturating_record(micros);
        }
    }

    /// What has been recorded so far.
    pub fn quantiles(&self) -> Quantiles {
        let guard = self.histogram.lock();
        let Some(histogram) = guard.as_ref() else {
            return Quantiles::default();
        };
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit 53 bits")]
        let ms = |micros: u64| micros as f64 / 1_000.0;
        Quantiles {
            count: histogram.len(),
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}
