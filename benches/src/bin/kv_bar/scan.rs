//! Reads of many keys: a walk over a snapshot, and counts without one.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use benches::kv_journal::{Outcome, Running, keys, runtime, shuffled, values};
use benches::settings::Settings;
use bytes::Bytes;
use kv_journal::{KeyRange, KeyValue, MemoryJournal, RangeRequest};

use super::report;

const WALKED: usize = 100_000;
const COUNTED: usize = 1_000_000;
const VALUE_LEN: usize = 256;
/// Walks of a round; the first of all are not counted.
const WALKS: usize = 20;
const COUNTS: usize = 10_000;

/// Walks a snapshot and looks at each value; nothing is cloned. Keys that were put in their order
/// lie in memory in that order, so those of the figure were not.
pub(crate) fn iterate(settings: &Settings) -> Outcome<()> {
    let keys = keys(settings.count(WALKED));
    walk("iterate-100k-ordered", &keys, settings)?;
    walk("iterate-100k", &shuffled(keys), settings)
}

fn walk(name: &str, keys: &[Bytes], settings: &Settings) -> Outcome<()> {
    let runtime = runtime()?;
    let values = values(keys.len(), VALUE_LEN);
    let filled = Running::filled(MemoryJournal::new(), keys, &values);
    let snapshot = runtime.block_on(filled)?.store.snapshot();
    let all = KeyRange::all();
    let entries = || snapshot.iter(&all);
    let map: BTreeMap<_, _> = entries().map(|kv| (kv.key_bytes(), kv.clone())).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds * WALKS {
        ours.push(millis(|| touch(entries())));
        theirs.push(millis(|| touch(map.values())));
    }
    let ours = report::median(&ours);
    report::rival(name, "btreemap", report::median(&theirs), "ms", |theirs| theirs / ours);
    report::line(name, ours, "ms");
    Ok(())
}

/// Reads the first byte of every value.
fn touch<'a>(entries: impl Iterator<Item = &'a KeyValue>) -> usize {
    entries.filter_map(|kv| kv.value().first()).map(|byte| usize::from(*byte)).sum()
}

fn millis<T>(walk: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(walk());
    start.elapsed().as_secs_f64() * 1e3
}

/// Counts prefixes that hold from a four-hundredth to all of the keys; the slowest counts.
pub(crate) fn count(settings: &Settings) -> Outcome<()> {
    let runtime = runtime()?;
    let keys = shuffled(keys(settings.count(COUNTED)));
    let values = values(1000, VALUE_LEN);
    let filled = Running::filled(MemoryJournal::new(), &keys, &values);
    let store = runtime.block_on(filled)?.store;
    let snapshot = store.snapshot();
    let counts = settings.count(COUNTS);
    let (mut slowest, mut slowest_request) = (0.0_f64, 0.0_f64);
    for digits in 0..=4 {
        let prefixes = Prefixes { digits };
        let (mut micros, mut of_requests) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            micros.push(prefixes.micros(counts, |range| snapshot.count(&range)));
            of_requests.push(prefixes.micros(counts, |range| {
                store.range(RangeRequest::new(range).count_only()).map_or(0, |answer| answer.count)
            }));
        }
        slowest = slowest.max(report::median(&micros));
        slowest_request = slowest_request.max(report::median(&of_requests));
    }
    report::line("count-prefix-request", slowest_request, "us");
    report::line("count-prefix", slowest, "us");
    Ok(())
}

/// Prefixes of namespaces with so many of their four digits.
struct Prefixes {
    digits: usize,
}

impl Prefixes {
    /// What one count takes on average.
    fn micros(&self, counts: usize, count: impl Fn(KeyRange) -> u64) -> f64 {
        let ranges: Vec<_> = (0..counts).map(|i| self.range(i)).collect();
        let start = Instant::now();
        let found: u64 = ranges.into_iter().map(|range| black_box(count(range))).sum();
        let micros = start.elapsed().as_secs_f64() * 1e6 / counts as f64;
        assert!(found > 0);
        micros
    }

    fn range(&self, i: usize) -> KeyRange {
        let namespace = format!("{:04}", i * 7919 % 400);
        KeyRange::prefix(format!("/registry/pods/team-{}", &namespace[..self.digits]))
    }
}
