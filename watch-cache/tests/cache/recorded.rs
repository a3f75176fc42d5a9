//! What a metrics recorder hears.

#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "the numbers of a test are small and whole"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use parking_lot::Mutex;
use watch_cache::{ListRequest, WatchRequest};

use super::sinks::into_inbox;
use super::world;

/// Counters and gauges as last set, and how often a histogram was recorded to.
#[derive(Default)]
struct Recording(Mutex<BTreeMap<String, Arc<Number>>>);

#[derive(Default)]
struct Number(Mutex<f64>);

impl Recording {
    fn number(&self, key: &Key) -> Arc<Number> {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::clone(self.0.lock().entry(name).or_default())
    }

    fn of(&self, name: &str) -> f64 {
        let numbers = self.0.lock();
        *numbers.get(name).unwrap_or_else(|| panic!("{name} was never told")).0.lock()
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        *self.0.lock() += value as f64;
    }

    fn absolute(&self, value: u64) {
        *self.0.lock() = value as f64;
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        *self.0.lock() += value;
    }

    fn decrement(&self, value: f64) {
        *self.0.lock() -= value;
    }

    fn set(&self, value: f64) {
        *self.0.lock() = value;
    }
}

impl HistogramFn for Number {
    fn record(&self, value: f64) {
        assert!(value >= 0.0);
        *self.0.lock() += 1.0;
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.number(key))
    }
}

#[test]
fn a_recorder_hears_what_the_cache_does() {
    let recording = Recording::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recording, || {
        runtime.block_on(async {
            let world = world().await;
            let (_full, _parked) = into_inbox(&world.cache, WatchRequest::new(""), 0).unwrap();
            let (_taken, _follows) = into_inbox(&world.cache, WatchRequest::new(""), 9).unwrap();
            world.put("/pods/a", "n1").await;
            world.put("/pods/a", "n2").await;
            world.cache.list(ListRequest::new("")).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let bytes = world.cache.stats().bytes;
            assert_eq!(recording.of("watch_cache_bytes part=objects"), bytes.objects as f64);
            assert!(bytes.objects > 0 && bytes.total() > bytes.objects);
        });
    });
    for (name, value) in [
        ("watch_cache_revision", 3.0),
        ("watch_cache_revision_lag", 0.0),
        ("watch_cache_objects", 1.0),
        ("watch_cache_revisions_applied_total", 2.0),
        ("watch_cache_source_lists_total", 1.0),
        ("watch_cache_questions_total", 1.0),
        ("watch_cache_watchers state=parked", 1.0),
        ("watch_cache_watchers state=following", 1.0),
        ("watch_cache_freshness_wait_seconds", 1.0),
    ] {
        assert_eq!(recording.of(name), value, "{name}");
    }
    assert!(recording.of("watch_cache_pump_latency_seconds") >= 1.0);
}
