//! Benches of `kv-journal`: values of 256 bytes, keys of some 40.

use std::hint::black_box;

use benches::kv_journal::{Durability, Outcome, Running, keys, put_all, runtime, sample, values};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kv_journal::{KeyRange, MemoryJournal, RangeRequest, Store};
use tokio::runtime::Runtime;

/// Puts per iteration.
const PUTS: usize = 4096;
const KEYS: usize = 100_000;
const HOT: usize = 10_000;
const VALUE_LEN: usize = 256;

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
    let memory = runtime.block_on(Running::open(MemoryJournal::new()))?;
    put(c, "put-memory", &runtime, &memory.store, &[1, 1024]);
    let directory = tempfile::tempdir()?;
    let file = runtime.block_on(Running::open_file(directory.path(), Durability::Journal))?;
    put(c, "put-durable", &runtime, &file.store, &[1, 128, 1024, 4096]);
    Ok(())
}

fn turn(keys: &[Bytes]) -> impl Iterator<Item = &Bytes> {
    keys.iter().cycle()
}

fn reads(c: &mut Criterion) -> Outcome<()> {
    let runtime = runtime()?;
    let (all, values) = (keys(KEYS), values(1000, VALUE_LEN));
    let filled = Running::filled(MemoryJournal::new(), &all, &values);
    let store = runtime.block_on(filled)?.store;
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
        b.iter(|| snapshot.iter(&KeyRange::all()).map(|kv| kv.value().len()).sum::<usize>());
    });
    group.finish();
    Ok(())
}

fn recovery(c: &mut Criterion) -> Outcome<()> {
    let runtime = runtime()?;
    let directory = tempfile::tempdir()?;
    let open = || Running::open_file(directory.path(), Durability::Journal);
    runtime.block_on(async {
        let running = open().await?;
        running.fill(&keys(KEYS), &values(1000, VALUE_LEN)).await?;
        running.close().await
    })?;
    let mut group = c.benchmark_group("recovery");
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("100k-keys-256B", |b| {
        b.iter(|| runtime.block_on(async { open().await?.close().await }));
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
