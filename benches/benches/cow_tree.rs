//! Benches of `cow-tree` against `BTreeMap` and crossbeam's skip list, at a million keys of 39
//! bytes with shared values.
//!
//! The rivals have no snapshot, count or diff: there it is what a program without them does (copy
//! the map, walk the range, compare both maps).

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::Arc;

use benches::cow_tree::{sample, shuffled_keys, sorted_keys};
use bytes::Bytes;
use cow_tree::Tree;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use crossbeam_skiplist::SkipMap;

const KEYS: u32 = 1_000_000;
/// Few enough keys to stay in the processor's caches.
const HOT: usize = 10_000;
const SAMPLES: usize = 1 << 16;

type Value = Arc<u64>;
type Map = BTreeMap<Bytes, Value>;
type SkipList = SkipMap<Bytes, Value>;

fn filled() -> (Tree<Bytes, Value>, Map, SkipList) {
    let value = Arc::new(1);
    let entries = || shuffled_keys(KEYS).into_iter().map(|key| (key, Arc::clone(&value)));
    let (mut tree, mut map) = (Tree::new(), Map::new());
    tree.extend(entries());
    map.extend(entries());
    (tree, map, entries().collect())
}

/// Gives one key after the other, round and round.
fn turn(keys: &[Bytes]) -> impl FnMut() -> Bytes + '_ {
    let mut keys = keys.iter().cycle();
    move || keys.next().cloned().unwrap_or_default()
}

fn get(c: &mut Criterion, tree: &Tree<Bytes, Value>, map: &Map, list: &SkipList) {
    let all = sorted_keys(KEYS);
    for (name, keys) in
        [("get-1M", sample(&all, SAMPLES)), ("get-hot-10k", sample(&all[..HOT], SAMPLES))]
    {
        let mut group = c.benchmark_group(name);
        let mut keys_tree = keys.iter().cycle();
        group.bench_function("cow-tree", |b| {
            b.iter(|| keys_tree.next().and_then(|key| tree.get(key)));
        });
        let mut keys_map = keys.iter().cycle();
        group.bench_function("BTreeMap", |b| {
            b.iter(|| keys_map.next().and_then(|key| map.get(key)));
        });
        let mut keys_list = keys.iter().cycle();
        group.bench_function("skip list", |b| {
            b.iter(|| {
                keys_list.next().and_then(|key| list.get(key)).map(|entry| *entry.value().as_ref())
            });
        });
        group.finish();
    }
}

fn insert(c: &mut Criterion) {
    for (name, keys) in [
        ("insert-100k-random", shuffled_keys(100_000)),
        ("insert-100k-ascending", sorted_keys(100_000)),
    ] {
        let value = Arc::new(1);
        let entries = || keys.iter().map(|key| (key.clone(), Arc::clone(&value))).collect();
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        group.bench_function("cow-tree", |b| {
            let fill = |entries: Vec<_>| {
                let mut tree = Tree::<Bytes, Value>::new();
                tree.extend(entries);
                tree
            };
            b.iter_batched(entries, fill, BatchSize::LargeInput);
        });
        group.bench_function("BTreeMap", |b| {
            let fill = |entries: Vec<_>| {
                let mut map = Map::new();
                for (key, value) in entries {
                    map.insert(key, value);
                }
                map
            };
            b.iter_batched(entries, fill, BatchSize::LargeInput);
        });
        group.bench_function("skip list", |b| {
            let fill = |entries: Vec<_>| entries.into_iter().collect::<SkipList>();
            b.iter_batched(entries, fill, BatchSize::LargeInput);
        });
        group.finish();
    }
}

fn scan(c: &mut Criterion, tree: &Tree<Bytes, Value>, map: &Map, list: &SkipList) {
    let keys = sample(&sorted_keys(KEYS - 100), SAMPLES);
    let mut group = c.benchmark_group("scan-100");
    let mut from = turn(&keys);
    group.bench_function("cow-tree", |b| {
        b.iter(|| tree.range(from()..).take(100).map(|(key, _)| key.len()).sum::<usize>());
    });
    let mut from = turn(&keys);
    group.bench_function("BTreeMap", |b| {
        b.iter(|| map.range(from()..).take(100).map(|(key, _)| key.len()).sum::<usize>());
    });
    let mut from = turn(&keys);
    group.bench_function("skip list", |b| {
        b.iter(|| list.range(from()..).take(100).map(|entry| entry.key().len()).sum::<usize>());
    });
    group.finish();

    let mut group = c.benchmark_group("scan-all-1M");
    group.sample_size(10);
    group.bench_function("cow-tree", |b| {
        b.iter(|| tree.keys().map(Bytes::len).sum::<usize>());
    });
    group.bench_function("BTreeMap", |b| {
        b.iter(|| map.keys().map(Bytes::len).sum::<usize>());
    });
    group.bench_function("skip list", |b| {
        b.iter(|| list.iter().map(|entry| entry.key().len()).sum::<usize>());
    });
    group.finish();
}

/// A write right after a snapshot copies its whole path; in place it copies nothing.
fn write(c: &mut Criterion, tree: &Tree<Bytes, Value>, map: &Map, list: &SkipList) {
    let (keys, value) = (sample(&sorted_keys(KEYS), SAMPLES), Arc::new(2));
    let mut group = c.benchmark_group("overwrite-1M");
    let (mut own, mut next) = (tree.clone(), turn(&keys));
    group.bench_function("cow-tree, snapshot each", |b| {
        b.iter(|| {
            let snapshot = own.clone();
            own.insert(next(), Arc::clone(&value));
            snapshot
        });
    });
    let (mut own, mut next) = (tree.clone(), turn(&keys));
    group.bench_function("cow-tree, snapshot each 100", |b| {
        b.iter(|| {
            let snapshot = own.clone();
            for _ in 0..100 {
                own.insert(next(), Arc::clone(&value));
            }
            snapshot
        });
    });
    // Loaded anew, so that no node is shared.
    let mut own: Tree<Bytes, Value> =
        tree.iter().map(|(key, value)| (key.clone(), Arc::clone(value))).collect();
    let mut next = turn(&keys);
    group.bench_function("cow-tree, in place", |b| {
        b.iter(|| own.insert(next(), Arc::clone(&value)));
    });
    let (mut own, mut next) = (map.clone(), turn(&keys));
    group.bench_function("BTreeMap, in place", |b| {
        b.iter(|| own.insert(next(), Arc::clone(&value)));
    });
    let mut next = turn(&keys);
    group.bench_function("skip list, in place", |b| {
        b.iter(|| list.insert(next(), Arc::clone(&value)).is_removed());
    });
    group.sample_size(10);
    group.bench_function("BTreeMap, copy of the map", |b| b.iter(|| map.clone()));
    group.finish();
}

/// Counts the entries of 400 namespaces out of 400, 10 at a time.
fn count(c: &mut Criterion, tree: &Tree<Bytes, Value>, map: &Map) {
    let bounds = |i: u32| {
        let bound = |n: u32| Bytes::from(format!("/registry/pods/team-{n:04}/"));
        (Bound::Included(bound(i % 390)), Bound::Excluded(bound(i % 390 + 10)))
    };
    let mut group = c.benchmark_group("count-25k-of-1M");
    let mut i = 0;
    group.bench_function("cow-tree", |b| {
        b.iter(|| {
            i += 1;
            tree.count_of(bounds(i))
        });
    });
    group.bench_function("BTreeMap", |b| {
        b.iter(|| {
            i += 1;
            map.range(bounds(i)).count()
        });
    });
    group.finish();
}

fn diff(c: &mut Criterion, tree: &Tree<Bytes, Value>, map: &Map) {
    let value = Arc::new(3);
    let (mut newer, mut newer_map) = (tree.clone(), map.clone());
    for key in sample(&sorted_keys(KEYS), 100) {
        newer.insert(key.clone(), Arc::clone(&value));
        newer_map.insert(key, Arc::clone(&value));
    }
    let mut group = c.benchmark_group("diff-100-in-1M");
    group.sample_size(10);
    group.bench_function("cow-tree", |b| {
        b.iter(|| black_box(tree).diff_by(&newer, Arc::ptr_eq).count());
    });
    group.bench_function("BTreeMap", |b| {
        let changed = || map.iter().zip(&newer_map).filter(|(a, b)| !Arc::ptr_eq(a.1, b.1)).count();
        b.iter(changed);
    });
    group.finish();
}

fn load(c: &mut Criterion) {
    let (keys, value) = (sorted_keys(KEYS), Arc::new(1));
    let entries =
        || -> Vec<_> { keys.iter().map(|key| (key.clone(), Arc::clone(&value))).collect() };
    let mut group = c.benchmark_group("load-1M-sorted");
    group.sample_size(10);
    group.bench_function("cow-tree", |b| {
        b.iter_batched(entries, Tree::<Bytes, Value>::from_sorted, BatchSize::LargeInput);
    });
    group.bench_function("BTreeMap", |b| {
        b.iter_batched(entries, Map::from_iter, BatchSize::LargeInput);
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    let (tree, map, list) = filled();
    get(c, &tree, &map, &list);
    scan(c, &tree, &map, &list);
    write(c, &tree, &map, &list);
    count(c, &tree, &map);
    diff(c, &tree, &map);
    drop((tree, map, list));
    insert(c);
    load(c);
}

criterion_group!(benches, all);
criterion_main!(benches);
