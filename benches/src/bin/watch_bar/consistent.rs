//! How long consistent reads take where the source is far away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, Script, open, script};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::time::sleep;
use watch_cache::{
    Cache, Config, CurrentRevision, Events, Freshness, ListRequest, Listing, Result, Source,
};

const OBJECTS: usize = 100_000;
/// To the source and back.
const ROUND_TRIP: Duration = Duration::from_millis(5);
const ROUND: Duration = Duration::from_secs(3);
/// Revisions that come every so often meanwhile.
const EVENTS: u32 = 5;
const EVERY: Duration = Duration::from_millis(1);

/// A script far away, which knows how many microseconds its answers took.
struct Far {
    script: Arc<Script>,
    took: Mutex<Histogram<u64>>,
}

impl Far {
    /// The round trips of a round, which on a busy machine take longer than they should.
    fn take(&self) -> Outcome<Histogram<u64>> {
        let mut took = self.took.lock().map_err(|_| "a question panicked")?;
        Ok(std::mem::replace(&mut *took, histogram()?))
    }
}

#[async_trait]
impl Source for Far {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        self.script.list(prefix, at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        self.script.watch(prefix, after).await
    }

    fn freshness(&self) -> Freshness<'_> {
        Freshness::Pushed(self)
    }
}

#[async_trait]
impl CurrentRevision for Far {
    async fn current_revision(&self) -> Result<u64> {
        let begun = Instant::now();
        sleep(ROUND_TRIP / 2).await;
        let revision = self.script.current_revision().await;
        sleep(ROUND_TRIP / 2).await;
        if let Ok(mut took) = self.took.lock() {
            took.saturating_record(micros(begun));
        }
        revision
    }
}

/// Consistent reads by so many at once, while revisions come: the 99th percentile, less so many times that
/// of the round trips.
pub(crate) fn run(
    settings: &Settings,
    name: &str,
    readers: usize,
    round_trips: f64,
) -> Outcome<()> {
    runtime()?.block_on(async {
        let script = Arc::new(script(settings.count(OBJECTS))?);
        let far = Arc::new(Far { script: Arc::clone(&script), took: Mutex::new(histogram()?) });
        let cache = open(far.clone(), Config::default()).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let telling = tokio::spawn(tell(script, Arc::clone(&stop)));
        let mut beyond = Vec::new();
        for _ in 0..settings.rounds {
            let round = settings.duration(ROUND);
            let readers = (0..readers).map(|_| tokio::spawn(read(cache.clone(), round)));
            let readers: Vec<_> = readers.collect();
            let mut took = histogram()?;
            for reader in readers {
                took.add(reader.await??)?;
            }
            let source = far.take()?;
            for (what, of) in [("reads", &took), ("round trips", &source)] {
                let at = |quantile| of.value_at_quantile(quantile) as f64 / 1e3;
                let (median, p99) = (at(0.5), at(0.99));
                eprintln!("{name}: {} {what}, median {median:.2} ms, p99 {p99:.2} ms", of.len());
            }
            let p99 = |of: &Histogram<u64>| of.value_at_quantile(0.99) as f64 / 1e3;
            beyond.push(p99(&took) - round_trips * p99(&source));
        }
        stop.store(true, Ordering::Relaxed);
        telling.await?;
        let reads = cache.stats().freshness_waits.count as f64;
        report::line(
            &format!("{name}-reads-a-question"),
            reads / (cache.stats().questions as f64),
            "reads",
        );
        report::line(name, report::median(&beyond), "ms");
        Ok(())
    })
}

/// Tells a few revisions, again and again.
async fn tell(script: Arc<Script>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        script.tell(&script.revisions(EVENTS));
        sleep(EVERY).await;
    }
}

/// One read after the other; how many microseconds each took.
async fn read(cache: Cache, round: Duration) -> Outcome<Histogram<u64>> {
    let mut took = histogram()?;
    let end = Instant::now() + round;
    while Instant::now() < end {
        let begun = Instant::now();
        cache.list(ListRequest::new(PODS).limit(1)).await?;
        took.saturating_record(micros(begun));
    }
    Ok(took)
}

fn micros(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
}

fn histogram() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 2)?)
}
