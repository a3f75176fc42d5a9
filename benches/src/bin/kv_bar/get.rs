//! Reads of single keys on one core, and those of the maps that could be an index instead.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use benches::kv_journal::{Outcome, Running, keys, runtime, sample, shuffled, values};
use benches::settings::Settings;
use bytes::Bytes;
use crossbeam_skiplist::SkipMap;
use kv_journal::{KeyRange, KeyValue, MemoryJournal, Snapshot, Store};

use super::report;

const KEYS: usize = 1_000_000;
/// Few enough for the processor's caches.
const HOT: usize = 10_000;
const READS: usize = 1_000_000;
const VALUE_LEN: usize = 256;

/// Hot keys: four namespaces next to each other in a large store, keys drawn from all of it, and a
/// store that has no others.
pub(crate) fn hot(settings: &Settings) -> Outcome<()> {
    let hot = settings.count(HOT);
    let all = keys(settings.count(KEYS));
    let alone = Indexes::filled(&all[..hot])?;
    alone.measure("get-hot-alone", &all[..hot], settings);
    drop(alone);
    let indexes = Indexes::filled(&all)?;
    let spread = shuffled(all.clone());
    indexes.measure("get-hot-spread", &spread[..hot], settings);
    indexes.measure("get-hot", &all[..hot], settings);
    Ok(())
}

/// Keys drawn evenly from a large store.
pub(crate) fn uniform(settings: &Settings) -> Outcome<()> {
    let all = keys(settings.count(KEYS));
    Indexes::filled(&all)?.measure("get-uniform", &all, settings);
    Ok(())
}

/// The store and its rivals, with the same keys and the same values.
struct Indexes {
    store: Store,
    snapshot: Snapshot,
    map: BTreeMap<Bytes, KeyValue>,
    skip_list: SkipMap<Bytes, KeyValue>,
    /// The store's driver lives in it.
    _runtime: tokio::runtime::Runtime,
}

impl Indexes {
    /// Keys come in no order, as those of a store that has run for a while.
    fn filled(keys: &[Bytes]) -> Outcome<Self> {
        let runtime = runtime()?;
        let keys = shuffled(keys.to_vec());
        let values = values(keys.len().min(100_000), VALUE_LEN);
        let filled = Running::filled(MemoryJournal::new(), &keys, &values);
        let store = runtime.block_on(filled)?.store;
        let snapshot = store.snapshot();
        let (mut map, skip_list) = (BTreeMap::new(), SkipMap::new());
        for kv in keys.iter().filter_map(|key| snapshot.get(key)) {
            map.insert(kv.key_bytes(), kv.clone());
            skip_list.insert(kv.key_bytes(), kv.clone());
        }
        assert_eq!(snapshot.iter(&KeyRange::all()).count(), map.len());
        Ok(Self { store, snapshot, map, skip_list, _runtime: runtime })
    }

    /// Each index in turns; what is read is a reference of its own, as the store gives it.
    fn measure(&self, name: &str, from: &[Bytes], settings: &Settings) {
        let reads = Reads::new(from, settings.count(READS));
        let mut rates: [Vec<f64>; 4] = Default::default();
        for round in 0..=settings.rounds {
            let of_round = [
                reads.rate(|key| self.store.get(key).ok().flatten()),
                reads.rate(|key| self.snapshot.get(key).cloned()),
                reads.rate(|key| self.map.get(key).cloned()),
                reads.rate(|key| self.skip_list.get(key).map(|entry| entry.value().clone())),
            ];
            // The first round only warms up.
            if round > 0 {
                rates.iter_mut().zip(of_round).for_each(|(rates, rate)| rates.push(rate));
            }
        }
        let [store, snapshot, map, skip_list] = rates.map(|rates| report::median(&rates));
        report::line(&format!("{name}-snapshot"), snapshot, "reads/s");
        report::rival(name, "btreemap", map, "reads/s", |theirs| store / theirs);
        report::rival(name, "skiplist", skip_list, "reads/s", |theirs| store / theirs);
        report::line(name, store, "reads/s");
    }
}

/// Keys to read, side by side in memory as those of requests that have just come in: what is
/// measured is the index, not the fetching of what to ask.
struct Reads {
    bytes: Vec<u8>,
    key_len: usize,
}

impl Reads {
    fn new(from: &[Bytes], count: usize) -> Self {
        let keys = sample(from, count);
        Self { bytes: keys.concat(), key_len: keys.first().map_or(1, Bytes::len) }
    }

    /// Reads in a second; every key must be there.
    fn rate(&self, mut get: impl FnMut(&[u8]) -> Option<KeyValue>) -> f64 {
        let keys = self.bytes.chunks_exact(self.key_len);
        let count = keys.len();
        let start = Instant::now();
        let found = keys.filter_map(|key| black_box(get(black_box(key)))).count();
        let secs = start.elapsed().as_secs_f64();
        assert_eq!(found, count);
        count as f64 / secs
    }
}
