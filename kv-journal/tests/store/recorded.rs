//! What a metrics recorder hears.
#![allow(clippy::panic, reason = "a metric that is missing fails the test")]
#![allow(clippy::cast_precision_loss, reason = "the numbers of a test are small")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kv_journal::{
    CheckpointFault, Components, Config, ErrorKind, Fault, FaultCheckpoints, FaultJournal,
    KeyRange, LeaseGrantRequest, MemoryCheckpoints, MemoryJournal, Op, PrefixClass, PutRequest,
    Store, Txn,
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use crate::harness::put;

/// Counters summed up, gauges as last set, and how often a histogram was recorded to.
#[derive(Default)]
struct Recording(Mutex<BTreeMap<String, Arc<Number>>>);

#[derive(Default)]
struct Number(Mutex<f64>);

impl Recording {
    fn number(&self, key: &Key) -> Arc<Number> {
        Arc::clone(self.0.lock().unwrap().entry(key.name().to_owned()).or_default())
    }

    fn of(&self, name: &str) -> f64 {
        let numbers = self.0.lock().unwrap();
        *numbers.get(name).unwrap_or_else(|| panic!("{name} was never told")).0.lock().unwrap()
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        *self.0.lock().unwrap() += value as f64;
    }

    fn absolute(&self, value: u64) {
        *self.0.lock().unwrap() = value as f64;
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        *self.0.lock().unwrap() += value;
    }

    fn decrement(&self, value: f64) {
        *self.0.lock().unwrap() -= value;
    }

    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = value;
    }
}

impl HistogramFn for Number {
    fn record(&self, _value: f64) {
        *self.0.lock().unwrap() += 1.0;
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

#[tokio::test]
async fn a_recorder_hears_what_the_stats_say() {
    let recording = Recording::default();
    let _guard = metrics::set_default_local_recorder(&recording);
    let journal = FaultJournal::new(MemoryJournal::new());
    let mut config = Config::default();
    config.quota_bytes = Config::QUOTA_BYTES.min;
    config.durability = vec![PrefixClass::relaxed("events/")];
    let checkpoints = FaultCheckpoints::new(MemoryCheckpoints::new());
    let components = Components::new(Arc::new(journal.clone()));
    let components = components.checkpoints(Arc::new(checkpoints.clone()));
    let (store, driver) = Store::open_with(components, config).await.unwrap();
    tokio::spawn(driver);
    let stream = store.watch_stream().unwrap();
    stream.create(KeyRange::all()).unwrap();
    let watch = store.watch(KeyRange::key("a")).unwrap();
    put(&store, "a", "1").await; // 2
    put(&store, "a", "2").await; // 3
    store.txn(Txn::new().then(Op::get("a"))).await.unwrap();
    store.compact(2).await.unwrap();
    journal.script([Fault::Fail(ErrorKind::Unavailable)]);
    store.put_by_class(PutRequest::new("events/a", "lost")).await.unwrap();
    // It comes in time to fail with the batch, or after it.
    let _either = store.txn(Txn::new()).await;
    let large =
        (0..6).fold(Txn::new(), |txn, at| txn.then(Op::put(at.to_string(), "v".repeat(200_000))));
    assert_eq!(store.txn(large).await.unwrap_err().kind(), ErrorKind::Exhausted);
    store.disarm();
    put(&store, "b", "1").await;
    let lease = store.lease_grant(LeaseGrantRequest::new(60)).await.unwrap().id;
    store.lease_revoke(lease).await.unwrap();
    checkpoints.script([CheckpointFault::Fail(ErrorKind::Unavailable)]);
    assert!(store.checkpoint().await.is_err());
    store.checkpoint().await.unwrap();
    let stats = store.stats();
    assert_eq!((stats.watch_streams, stats.watchers), (2, 2));
    drop(watch);
    assert_eq!((store.stats().watch_streams, store.stats().watchers), (1, 1));
    for (name, value) in [
        ("requests_total", 10),
        ("batches_total", stats.batches),
        ("records_total", stats.records),
        ("record_bytes_total", stats.record_bytes),
        ("failed_batches_total", 1),
        ("quota_refused_total", 1),
        ("relaxed_accepted_total", 1),
        ("relaxed_lost_total", 1),
        ("revision", 4),
        ("compact_revision", 2),
        ("unswept_revisions", 0),
        ("keys", 2),
        ("versions", stats.versions),
        ("leases", 0),
        ("checkpoints_total", 1),
        ("failed_checkpoints_total", 1),
        ("expired_leases_total", 0),
        ("watch_streams", 1),
        ("watchers", 1),
        ("bytes", stats.bytes),
        ("quota_bytes", Config::QUOTA_BYTES.min),
        ("quota_alarm", 0),
        ("queued_requests", 0),
        ("epoch", 1),
        // How often they were recorded to.
        ("batch_records", stats.batches + 1),
        ("batch_bytes", stats.batches + 1),
        ("commit_seconds", stats.batches),
    ] {
        let heard = recording.of(&format!("kv_journal_{name}"));
        assert!((heard - value as f64).abs() < 0.5, "{name}: {heard}, not {value}");
    }
    let heard = recording.0.lock().unwrap().len();
    assert_eq!(heard, 27, "every metric is in the list above");
}
