//! The store against a plain map of histories.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]
#![allow(clippy::expect_used, clippy::panic, reason = "a model panics where the store differs")]
#![allow(clippy::needless_pass_by_value, reason = "a step is consumed")]

mod harness;
#[path = "model/leases.rs"]
mod leases;
#[path = "harness/requests.rs"]
mod requests;
#[path = "model/txns.rs"]
mod txns;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use kv_journal::{
    Components, Config, ErrorKind, EventKind, KeyRange, KeyValue, MemoryCheckpoints, MemoryJournal,
    Meta, PutRequest, RangeRequest, Store, Txn, WatchRequest, Watcher,
};
use leases::LeaseStep;
use proptest::prelude::*;
use requests::{key, range, value};
use tokio::task::JoinHandle;
use txns::txn;

type State = BTreeMap<Bytes, KeyValue>;

/// What must be true: the whole state at every revision.
struct Model {
    states: Vec<State>,
    leases: BTreeMap<i64, leases::Lease>,
    compact_revision: u64,
}

impl Model {
    fn new() -> Self {
        // Revisions 0 and 1.
        let states = vec![State::new(), State::new()];
        Self { states, leases: BTreeMap::new(), compact_revision: 0 }
    }

    fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    fn at(&self, revision: u64) -> &State {
        &self.states[usize::try_from(revision).unwrap()]
    }

    fn put(&self, state: &mut State, key: &Bytes, value: &Bytes, lease: i64) {
        let revision = self.revision() + 1;
        let before = self.now().get(key);
        let meta = Meta {
            create_revision: before.map_or(revision, KeyValue::create_revision),
            mod_revision: revision,
            version: before.map_or(1, |kv| kv.version() + 1),
            lease,
        };
        let kv = KeyValue::new(key, value, meta);
        state.insert(key.clone(), kv);
    }

    fn readable(&self, revision: u64) -> Result<(), ErrorKind> {
        let (compact_revision, current_revision) = (self.compact_revision, self.revision());
        match revision {
            past if past < compact_revision => Err(ErrorKind::Compacted { compact_revision }),
            next if next > current_revision => Err(ErrorKind::FutureRevision { current_revision }),
            _ => Ok(()),
        }
    }

    /// What changed in a revision, in key order.
    fn changes(&self, revision: u64) -> BTreeMap<Bytes, (EventKind, Option<KeyValue>)> {
        let (before, after) = (self.at(revision - 1), self.at(revision));
        let deleted = before.iter().filter(|(key, _)| !after.contains_key(*key));
        let deleted = deleted.map(|(key, kv)| (key.clone(), (EventKind::Delete, Some(kv.clone()))));
        let written = after.iter().filter(|(_, kv)| kv.mod_revision() == revision);
        let written =
            written.map(|(key, _)| (key.clone(), (EventKind::Put, before.get(key).cloned())));
        deleted.chain(written).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(Bytes, Bytes),
    Delete(KeyRange),
    Txn(Txn),
    Range {
        range: KeyRange,
        back: u64,
        limit: usize,
    },
    Compact {
        back: u64,
    },
    Watch {
        range: KeyRange,
        back: u64,
    },
    Fork {
        range: KeyRange,
        back: u64,
    },
    Lease(LeaseStep),
    Reopen,
    Checkpoint,
    /// To a new journal, by way of an export.
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (key(), value()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => range().prop_map(Step::Delete),
        5 => txn().prop_map(Step::Txn),
        6 => (range(), 0..12u64, 0..4usize)
            .prop_map(|(range, back, limit)| Step::Range { range, back, limit }),
        1 => (0..8u64).prop_map(|back| Step::Compact { back }),
        2 => (range(), 0..10u64).prop_map(|(range, back)| Step::Watch { range, back }),
        6 => leases::step().prop_map(Step::Lease),
        2 => (range(), 0..12u64).prop_map(|(range, back)| Step::Fork { range, back }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Move),
    ]
}

/// A store with everything that is known about it.
struct World {
    journal: MemoryJournal,
    checkpoints: MemoryCheckpoints,
    store: Store,
    driver: JoinHandle<kv_journal::Result<()>>,
    model: Model,
    watchers: Vec<Watched>,
}

struct Watched {
    watcher: Watcher,
    range: KeyRange,
    next: u64,
}

impl World {
    async fn new() -> Self {
        let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
        let (store, driver) = open(&journal, &checkpoints).await;
        let (model, watchers) = (Model::new(), Vec::new());
        Self { journal, checkpoints, store, driver, model, watchers }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put(key, value) => {
                let mut state = self.model.now().clone();
                self.model.put(&mut state, &key, &value, 0);
                let answer = self.store.put(PutRequest::new(key, value).prev_kv()).await.unwrap();
                self.model.states.push(state);
                assert_eq!(answer.revision, self.model.revision());
            }
            Step::Delete(range) => self.delete(range).await,
            Step::Txn(txn) => self.txn(txn).await,
            Step::Range { range, back, limit } => self.range(range, back, limit),
            Step::Compact { back } => self.compact(back).await,
            Step::Watch { range, back } => self.watch(range, back),
            Step::Lease(step) => self.lease_step(step).await,
            Step::Fork { range, back } => self.fork(&range, back),
            Step::Reopen => self.reopen().await,
            Step::Checkpoint => {
                let made = self.store.checkpoint().await.unwrap();
                assert_eq!(made.revision, self.model.revision());
            }
            Step::Move => self.move_to_a_new_journal().await,
        }
        self.drain_watchers().await;
        assert_eq!(self.store.revision(), self.model.revision());
        assert_eq!(self.store.stats().keys, self.model.now().len() as u64);
        self.compare_leases();
    }

    async fn delete(&mut self, range: KeyRange) {
        let mut state = self.model.now().clone();
        state.retain(|key, _| !range.contains(key));
        let deleted = (self.model.now().len() - state.len()) as u64;
        let answer = self.store.delete_range(range).await.unwrap();
        if deleted > 0 {
            self.model.states.push(state);
        }
        assert_eq!((answer.deleted, answer.revision), (deleted, self.model.revision()));
    }

    async fn txn(&mut self, txn: Txn) {
        let answer = self.store.txn(txn.clone()).await;
        match txns::expect(&self.model, &txn) {
            Ok((response, state)) => {
                assert_eq!(answer.unwrap(), response);
                self.model.states.extend(state);
            }
            Err(kind) => assert_eq!(answer.unwrap_err().kind(), kind),
        }
    }

    fn range(&self, range: KeyRange, back: u64, limit: usize) {
        let revision = (self.model.revision() + 1).saturating_sub(back).max(1);
        let request = RangeRequest::new(range.clone()).at(revision).limit(limit);
        let answer = self.store.range(request);
        if let Err(kind) = self.model.readable(revision) {
            assert_eq!(answer.unwrap_err().kind(), kind);
            return;
        }
        let answer = answer.unwrap();
        let all = self.model.at(revision).values().filter(|kv| range.contains(kv.key()));
        let all: Vec<_> = all.cloned().collect();
        assert_eq!(answer.count, all.len() as u64);
        assert_eq!(answer.more, limit > 0 && all.len() > limit);
        let limit = if limit == 0 { all.len() } else { limit.min(all.len()) };
        assert_eq!(plain(&answer.kvs), all[..limit]);
    }

    async fn compact(&mut self, back: u64) {
        let revision = (self.model.revision() + 1).saturating_sub(back).max(1);
        let answer = self.store.compact(revision).await;
        let compact_revision = self.model.compact_revision;
        if revision <= compact_revision {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Compacted { compact_revision });
        } else if let Err(kind) = self.model.readable(revision) {
            assert_eq!(answer.unwrap_err().kind(), kind);
        } else {
            assert_eq!(answer.unwrap(), self.model.revision());
            self.model.compact_revision = revision;
        }
        assert_eq!(self.store.compact_revision(), self.model.compact_revision);
    }

    fn watch(&mut self, range: KeyRange, back: u64) {
        let start = (self.model.revision() + 2).saturating_sub(back).max(1);
        let watcher = self.store.watch(WatchRequest::new(range.clone()).from_revision(start));
        let kind = watcher.as_ref().err().map(kv_journal::Error::kind);
        if range.is_empty() {
            assert_eq!(kind, Some(ErrorKind::Invalid));
        } else if start < self.model.compact_revision {
            let compact_revision = self.model.compact_revision;
            assert_eq!(kind, Some(ErrorKind::Compacted { compact_revision }));
        } else {
            self.watchers.push(Watched { watcher: watcher.unwrap(), range, next: start });
        }
    }

    async fn drain_watchers(&mut self) {
        // Lets the driver run until there is nothing left to do.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        let mut watchers = std::mem::take(&mut self.watchers);
        watchers.retain_mut(|watched| watched.drain(&self.model));
        self.watchers = watchers;
    }

    async fn reopen(&mut self) {
        // Watchers belong to the store that is closed; they saw everything.
        self.watchers.clear();
        let (store, driver) = open(&self.journal, &self.checkpoints).await;
        self.replace(store, driver).await;
    }

    async fn replace(&mut self, store: Store, driver: JoinHandle<kv_journal::Result<()>>) {
        let old = std::mem::replace(&mut self.store, store);
        drop(old);
        std::mem::replace(&mut self.driver, driver).await.unwrap().unwrap();
        self.model.extend_leases();
        assert_eq!(self.store.compact_revision(), self.model.compact_revision);
    }

    async fn move_to_a_new_journal(&mut self) {
        self.watchers.clear();
        (self.journal, self.checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
        let components = components(&self.journal, &self.checkpoints);
        let export = self.store.snapshot().export();
        let (store, driver) = Store::import(components, export, config()).await.unwrap();
        self.replace(store, tokio::spawn(driver)).await;
    }

    fn fork(&self, range: &KeyRange, back: u64) {
        let revision = self.model.revision().saturating_sub(back).max(1);
        match self.store.at_revision(revision) {
            Ok(fork) => {
                let keys = self.model.at(revision).values().filter(|kv| range.contains(kv.key()));
                let expected: Vec<_> = keys.cloned().collect();
                let seen: Vec<_> = fork.iter(range).map(|kv| KeyValue::clone(&kv)).collect();
                assert_eq!(seen, expected);
                assert_eq!(fork.count(range), expected.len() as u64);
                assert_eq!(
                    plain(&fork.range(RangeRequest::new(range.clone())).unwrap().kvs),
                    expected
                );
                for kv in self.model.now().values() {
                    let expected = self.model.at(revision).get(kv.key());
                    assert_eq!(fork.get(kv.key()).as_ref(), expected);
                }
            }
            Err(error) => assert_eq!(Err(error.kind()), self.model.readable(revision)),
        }
    }
}

impl Watched {
    /// Compares everything that has come with the model; false when the watcher has ended.
    fn drain(&mut self, model: &Model) -> bool {
        while let Some(batch) = self.watcher.next().now_or_never() {
            let batch = match batch.expect("a watcher does not end by itself") {
                Ok(batch) => batch,
                Err(error) => {
                    let compact_revision = model.compact_revision;
                    assert_eq!(error.kind(), ErrorKind::Compacted { compact_revision });
                    assert!(self.next < compact_revision);
                    return false;
                }
            };
            self.expect_nothing_before(batch.revision, model);
            self.compare(&batch, model);
            self.next = batch.revision + 1;
        }
        // A start that lies in the future has nothing to miss yet.
        self.expect_nothing_before((model.revision() + 1).max(self.next), model);
        true
    }

    fn expect_nothing_before(&self, revision: u64, model: &Model) {
        assert!(revision >= self.next, "revision {revision} again, after {}", self.next);
        for missed in self.next..revision {
            let changes = model.changes(missed);
            assert!(
                !changes.keys().any(|key| self.range.contains(key)),
                "revision {missed} of {:?} is missing",
                self.range
            );
        }
    }

    fn compare(&self, batch: &kv_journal::WatchBatch, model: &Model) {
        let mut expected = model.changes(batch.revision);
        expected.retain(|key, _| self.range.contains(key));
        let events = batch.events.iter().map(|event| {
            let prev = event.prev_kv.clone();
            (event.kv.key_bytes(), (event.kind, prev))
        });
        assert_eq!(batch.events.len(), expected.len());
        let seen: BTreeMap<_, _> = events.collect();
        if batch.revision <= model.compact_revision {
            // What was before the compact revision is gone, unless it was seen in time.
            for (key, (_, prev)) in &mut expected {
                let seen = seen.get(key).and_then(|(_, prev)| prev.clone());
                *prev = seen.filter(|seen| Some(seen) == prev.as_ref());
            }
        }
        assert_eq!(seen, expected);
        for event in batch.events.iter().filter(|event| event.kind == EventKind::Put) {
            assert_eq!(event.kv, model.at(batch.revision)[event.kv.key()]);
        }
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.checkpoint_frame_bytes = Config::CHECKPOINT_FRAME_BYTES.min;
    config.checkpoints_kept = 1;
    config.recovery_threads = 1;
    config
}

fn components(journal: &MemoryJournal, checkpoints: &MemoryCheckpoints) -> Components {
    Components::new(Arc::new(journal.clone())).checkpoints(Arc::new(checkpoints.clone()))
}

async fn open(
    journal: &MemoryJournal,
    checkpoints: &MemoryCheckpoints,
) -> (Store, JoinHandle<kv_journal::Result<()>>) {
    let components = components(journal, checkpoints);
    let (store, driver) = Store::open_with(components, config()).await.unwrap();
    (store, tokio::spawn(driver))
}

fn plain(kvs: &[KeyValue]) -> Vec<KeyValue> {
    kvs.iter().map(KeyValue::clone).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_store_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                if let Step::Lease(LeaseStep::Wait { tenths }) = step {
                    world.wait(tenths).await;
                }
                harness::still(world.step(step)).await;
            }
            let first = world.model.compact_revision.max(1);
            for (revision, kvs) in harness::everything(&world.store) {
                assert!(revision >= first);
                assert_eq!(kvs, world.model.at(revision).values().cloned().collect::<Vec<_>>());
            }
        });
    }
}
