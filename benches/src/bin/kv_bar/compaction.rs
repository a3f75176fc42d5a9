//! What a compaction of a million revisions does to writers.
//!
//! Writes are due at a steady rate, whether those before them are answered or not, and a latency
//! counts from when a write was due: one that waits behind a pause is late like all that were due
//! in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use benches::kv_journal::{Durability, Outcome, Running, keys, put_all, runtime, shuffled, values};
use benches::settings::Settings;
use bytes::Bytes;
use clap::Args;
use kv_journal::{PutRequest, Store};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::report;

const NAME: &str = "compaction-p99";
const KEYS: usize = 100_000;
const REVISIONS: usize = 1_000_000;
const VALUE_LEN: usize = 256;
const WITHOUT: Duration = Duration::from_secs(3);
/// Writes fall due in groups, at times that a timer can tell apart.
const TICK: Duration = Duration::from_millis(1);
/// A sweep takes seconds.
const SWEEP: Duration = Duration::from_secs(120);

/// The writes beside the compaction.
#[derive(Args, Debug)]
pub(crate) struct Writes {
    /// Writes that fall due in a millisecond
    #[arg(long, default_value_t = 20)]
    per_ms: usize,
}

pub(crate) fn run(settings: &Settings, writes: &Writes) -> Outcome<()> {
    runtime()?.block_on(compare(settings, writes))
}

async fn compare(settings: &Settings, writes: &Writes) -> Outcome<()> {
    let folder = settings.temp_dir()?;
    let load = Arc::new(Load {
        keys: shuffled(keys(settings.count(KEYS))),
        values: values(1000, VALUE_LEN),
        per_tick: writes.per_ms,
    });
    let running = Running::open_file(folder.path(), Durability::Journal).await?;
    let (mut without, mut during, mut sweeps) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        load.make_revisions(&running.store, settings.count(REVISIONS)).await?;
        let pause = pause(settings.duration(WITHOUT));
        without.push(load.p99_millis(&running.store, pause).await?);
        let start = Instant::now();
        during.push(load.p99_millis(&running.store, compaction(&running.store)).await?);
        sweeps.push(start.elapsed().as_secs_f64());
    }
    running.close().await?;
    report::rounds("p99 without, us", &without.iter().map(|p99| p99 * 1e3).collect::<Vec<_>>());
    report::rounds("p99 during, us", &during.iter().map(|p99| p99 * 1e3).collect::<Vec<_>>());
    let (without, during) = (report::median(&without), report::median(&during));
    report::line("compaction-sweep", report::median(&sweeps), "s");
    report::line("compaction-p99-without", without, "ms");
    report::line("compaction-p99-during", during, "ms");
    report::line(NAME, during / without, "x");
    Ok(())
}

async fn pause(duration: Duration) -> Outcome<()> {
    tokio::time::sleep(duration).await;
    Ok(())
}

/// Compacts everything there is, and returns once all of it is freed.
async fn compaction(store: &Store) -> Outcome<()> {
    let revision = store.revision();
    store.compact(revision).await?;
    let freed = async {
        loop {
            let stats = store.stats();
            // Each write after the compaction keeps the version that it replaced.
            if stats.versions <= stats.keys + (stats.revision - revision) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SWEEP, freed).await?;
    Ok(())
}

struct Load {
    keys: Vec<Bytes>,
    values: Vec<Bytes>,
    per_tick: usize,
}

impl Load {
    async fn make_revisions(&self, store: &Store, count: usize) -> Outcome<()> {
        let mut left = count;
        while left > 0 {
            let some = left.min(self.keys.len());
            put_all(store, &self.keys[..some], &self.values, 4096).await?;
            left -= some;
        }
        Ok(())
    }

    /// The 99th percentile of the latencies of writes that fall due while `what` goes on.
    async fn p99_millis(
        self: &Arc<Self>,
        store: &Store,
        what: impl Future<Output = Outcome<()>>,
    ) -> Outcome<f64> {
        let over = Arc::new(AtomicBool::new(false));
        let writes = tokio::spawn(Arc::clone(self).write(store.clone(), Arc::clone(&over)));
        let ended = what.await;
        over.store(true, Ordering::Relaxed);
        let mut millis = writes.await??;
        ended?;
        millis.sort_by(f64::total_cmp);
        millis.get(millis.len() * 99 / 100).copied().ok_or_else(|| "no write fell due".into())
    }

    async fn write(self: Arc<Self>, store: Store, over: Arc<AtomicBool>) -> Outcome<Vec<f64>> {
        let mut ticks = interval(TICK);
        let mut writes = JoinSet::new();
        let mut entries = self.keys.iter().cycle().zip(self.values.iter().cycle());
        while !over.load(Ordering::Relaxed) {
            let due = ticks.tick().await;
            for (key, value) in entries.by_ref().take(self.per_tick) {
                let put = PutRequest::new(key.clone(), value.clone());
                writes.spawn(latency_millis(store.clone(), put, due));
            }
        }
        let mut millis = Vec::with_capacity(writes.len());
        while let Some(written) = writes.join_next().await {
            millis.push(written??);
        }
        Ok(millis)
    }
}

async fn latency_millis(store: Store, put: PutRequest, due: Instant) -> Outcome<f64> {
    store.put(put).await?;
    Ok(due.elapsed().as_secs_f64() * 1e3)
}
