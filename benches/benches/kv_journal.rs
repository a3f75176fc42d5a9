//! Benches of `kv-journal`: values of 256 bytes, keys of some 40.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use benches::kv_journal::{keys, put_all, sample, values};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kv_journal::{
    Config, FileConfig, FileJournal, Journal, KeyRange, MemoryJournal, RangeRequest, Store,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Puts per iteration.
const PUTS: usize = 4096;
const KEYS: usize = 100_000;
const HOT: usize = 10_000;
const VALUE_LEN: usize = 256;

fn runtime() -> Outcome<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// A store whose driver runs.
struct Running {
    store: Store,
    driver: JoinHandle<kv_journal::Result<()>>,
}

impl Running {
    /// Ends the driver, which frees the directory.
    fn close(self, runtime: &Runtime) -> Outcome<()> {
        drop(self.store);
        Ok(runtime.block_on(self.driver)??)
    }
}

fn open(runtime: &Runtime, journal: impl Journal) -> Outcome<Running> {
    runtime.block_on(async {
        let (store, driver) = Store::open(Arc::new(journal), Config::default()).await?;
        Ok(Running { store, driver: tokio::spawn(driver) })
    })
}

fn open_file(runtime: &Runtime, directory: &Path) -> Outcome<Running> {
    let journal = runtime.block_on(FileJournal::open(directory, FileConfig::default()))?;
    open(runtime, journal)
}

fn filled(runtime: &Runtime, journal: impl Journal) -> Outcome<Running> {
    let running = open(runtime, journal)?;
    let values = values(1000, VALUE_LEN);
    runtime.block_on(put_all(&running.store, &keys(KEYS), &values, 1024))?;
    Ok(running)
}

/// Overwrites a fixed set of keys, and compacts after each round as a control plane would.
fn put(c: &mut Criterion, name: &str, runtime: &Runtime, store: &Store, in_flight: &[usize]) {
    let values = values(1000, VALUE_LEN);
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    for &in_flight in in_flight {
        let keys = sample(&keys(HOT), if in_flight == 1 { PUTS / 16 } else { PUTS });
        group.throughput(Throughput::Elements(keys.len() as u64));
        group.bench_function(BenchmarkId::new("in-flight", in_flight), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    put_all(store, &keys, &values, in_flight).await?;
                    store.compact(store.revision()).await
                })
            });
        });
    }
    group.finish();
}

fn puts(c: &mut Criterion) -> Outcome<()> {
    let runtime = runtime()?;
    let memory = open(&runtime, MemoryJournal::new())?;
    put(c, "put-memory", &runtime, &memory.store, &[1, 1024]);
    let directory = tempfile::tempdir()?;
    let file = open_file(&runtime, directory.path())?;
    put(c, "put-durable", &runtime, &file.store, &[1, 128, 1024, 4096]);
    Ok(())
}

fn turn(keys: &[Bytes]) -> impl Iterator<Item = &Bytes> {
    keys.iter().cycle()
}

fn reads(c: &mut Criterion) -> Outcome<()> {
    let runtime = runtime()?;
    let store = filled(&runtime, MemoryJournal::new())?.store;
    let all = keys(KEYS);
    let mut group = c.benchmark_group("read");
    for (name, from) in [("get-hot-10k", &all[..HOT]), ("get-100k", &all[..])] {
        let keys = sample(from, 1 << 16);
        let mut keys = turn(&keys);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| {
            b.iter(|| keys.next().map(|key| store.get(black_box(key))));
        });
    }
    let page = |from: &Bytes| RangeRequest::new(KeyRange::from(from.clone())).limit(1000);
    let starts = sample(&all[..KEYS - 1000], 1 << 10);
    let mut starts = turn(&starts);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("range-1000", |b| {
        b.iter(|| starts.next().map(|start| store.range(page(start))));
    });
    group.bench_function("count-prefix", |b| {
        let snapshot = store.snapshot();
        let range = KeyRange::prefix("/registry/pods/team-001");
        b.iter(|| snapshot.count(black_box(&range)));
    });
    group.bench_function("iterate-100k", |b| {
        let snapshot = store.snapshot();
        b.iter(|| snapshot.iter(&KeyRange::all()).map(|kv| kv.value.len()).sum::<usize>());
    });
    group.finish();
    Ok(())
}

fn recovery(c: &mut Criterion) -> Outcome<()> {
    let runtime = runtime()?;
    let directory = tempfile::tempdir()?;
    let journal = FileJournal::open(directory.path(), FileConfig::default());
    filled(&runtime, runtime.block_on(journal)?)?.close(&runtime)?;
    let mut group = c.benchmark_group("recovery");
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("100k-keys-256B", |b| {
        b.iter(|| open_file(&runtime, directory.path()).and_then(|open| open.close(&runtime)));
    });
    group.finish();
    Ok(())
}

#[expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]
fn all(c: &mut Criterion) {
    puts(c).expect("puts");
    reads(c).expect("reads");
    recovery(c).expect("recovery");
}

criterion_group!(benches, all);
criterion_main!(benches);
