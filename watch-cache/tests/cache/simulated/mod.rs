//! A cache over a simulated store: delays, cuts, replays, progress out of order, replicas that are
//! behind, and compaction at any moment, by a seed and in virtual time.

mod dice;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{sleep, timeout};
use watch_cache::oracle::{Begin, Oracle, Record};
use watch_cache::{
    Cache, Config, ErrorKind, Events, ListRequest, MemorySource, Object, ProgressMode, Source,
    SourceEvent, Start, Stats, WatchEvent, WatchRequest, Watcher, Write,
};

use self::dice::Dice;
use self::source::{Bug, Reached, Simulated};
use super::{schema, spawn};

const PREFIXES: [&str; 2] = ["/a/", "/b/"];
const ROUNDS: u64 = 150;

/// As many as `SIMULATED_SEEDS` says.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("SIMULATED_SEEDS").ok().and_then(|count| count.parse().ok());
    0..count.unwrap_or(60)
}

/// A watcher, how it began, and what it was told.
struct Told {
    prefix: &'static str,
    after: Option<u64>,
    watcher: Watcher,
    events: Vec<WatchEvent>,
    expired: bool,
}

impl Told {
    async fn hear(&mut self) {
        while let Ok(Some(item)) = timeout(Duration::from_millis(1), self.watcher.next()).await {
            match item {
                Ok(event) => self.events.push(event),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Expired { .. }), "{error}");
                    self.expired = true;
                }
            }
        }
    }
}

struct Simulation {
    source: Arc<Simulated>,
    cache: Cache,
    dice: Dice,
    history: Events,
    oracle: Oracle,
    told: Vec<Told>,
    /// Whether what the cache shows meanwhile is true.
    honest: bool,
}

impl Simulation {
    async fn new(seed: u64, bug: Option<Bug>, heal: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let mode = [ProgressMode::Pushed, ProgressMode::OnRequest][usize::from(seed % 2 == 1)];
        let store = MemorySource::with_progress(mode);
        let history = store.watch(&Bytes::new(), 0).await.unwrap();
        let source = Simulated::new(store, seed, bug);
        let mut config = Config::default();
        if dice.once_in(2) {
            config.prefixes = PREFIXES.map(Bytes::from).to_vec();
        }
        config.backoff_cap = Duration::from_millis(200);
        config.compare_interval = Some(Duration::from_secs(5));
        config.heal = heal;
        config.seed = seed;
        let reached = Arc::new(Reached(Arc::clone(&source)));
        let (cache, driver) = Cache::open(reached, schema(vec![]), config).unwrap();
        drop(spawn(driver));
        let (oracle, told) = (Oracle::default(), Vec::new());
        Self { source, cache, dice, history, oracle, told, honest: bug.is_none() }
    }

    fn write(&mut self) {
        let mut writes = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let prefix = ["/a/", "/b/", "/c/"][usize::try_from(self.dice.below(3)).unwrap()];
            let key = Bytes::from(format!("{prefix}{}", self.dice.below(6)));
            writes.push(match self.dice.below(3) {
                0 => Write::Delete(key),
                _ => Write::Put(key, format!("n{}", self.dice.below(1000)).into()),
            });
        }
        self.source.store.txn(writes);
        self.remember();
    }

    fn remember(&mut self) {
        while let Some(event) = self.history.next().now_or_never() {
            if let SourceEvent::Revision(revision) = event.unwrap().unwrap() {
                self.oracle.push(revision);
            }
        }
    }

    async fn round(&mut self) {
        self.write();
        if self.dice.once_in(4) {
            let revision = self.source.store.revision().saturating_sub(self.dice.below(10)).max(1);
            self.source.store.compact(revision).unwrap();
        }
        sleep(Duration::from_millis(self.dice.below(120))).await;
        let prefix = PREFIXES[usize::try_from(self.dice.below(2)).unwrap()];
        match self.dice.below(6) {
            0 => self.list(prefix).await,
            1 => self.watch(prefix),
            _ => {}
        }
    }

    async fn list(&mut self, prefix: &'static str) {
        let written = self.source.store.revision();
        let Ok(listed) = self.cache.list(ListRequest::new(prefix)).await else { return };
        if self.honest {
            assert!(listed.revision >= written, "{} of {written}", listed.revision);
            self.remember();
            assert_eq!(listed.objects, self.state(prefix, listed.revision));
        }
    }

    fn state(&self, prefix: &'static str, revision: u64) -> Vec<Object> {
        self.oracle.state_at(revision, |object| object.key().starts_with(prefix.as_bytes()))
    }

    fn watch(&mut self, prefix: &'static str) {
        let reached = self.cache.revision();
        if reached == 0 {
            return;
        }
        let after = [None, Some(reached), Some(reached.saturating_sub(self.dice.below(20)))];
        let after = after[usize::try_from(self.dice.below(3)).unwrap()];
        let start = after.map_or(Start::Initial, Start::After);
        match self.cache.watch(WatchRequest::new(prefix).from(start)) {
            Ok(watcher) => {
                let (events, expired) = (Vec::new(), false);
                self.told.push(Told { prefix, after, watcher, events, expired });
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Expired { .. }), "{error}"),
        }
    }

    /// Ends the trouble, and what the cache and each watcher come to.
    async fn run(mut self) -> (Stats, u64, bool) {
        for _ in 0..ROUNDS {
            self.round().await;
        }
        self.source.troubled.store(false, Ordering::Relaxed);
        // A last write under each prefix, so that all hear of it.
        let last = |prefix: &str| Write::Put(format!("{prefix}last").into(), "n".into());
        self.source.store.txn(PREFIXES.map(last));
        self.remember();
        // Compared often enough to begin anew, which not each comparison does that finds a difference.
        sleep(Duration::from_secs(41)).await;
        let newest = self.source.store.revision();
        let mut right = true;
        for prefix in PREFIXES {
            let listed = self.cache.list(ListRequest::new(prefix)).await.unwrap();
            assert_eq!(listed.revision, newest);
            right &= listed.objects == self.state(prefix, newest);
        }
        for mut told in std::mem::take(&mut self.told) {
            told.hear().await;
            if self.honest {
                self.check(told, newest);
            }
        }
        (self.cache.stats(), self.source.shown.load(Ordering::Relaxed), right)
    }

    fn check(&self, heard: Told, newest: u64) {
        let stats = self.cache.stats();
        let selects = |object: &Object| object.key().starts_with(heard.prefix.as_bytes());
        assert!(!heard.expired, "the log keeps all: {stats:?}");
        let is_end =
            |event: &&WatchEvent| matches!(event, WatchEvent::Bookmark { initial_end: true, .. });
        let end = heard.events.iter().find(is_end).map(WatchEvent::revision);
        let begin = heard.after.map_or_else(|| Begin::Initial(end.unwrap()), Begin::After);
        // A difference of listings stands for the steps between.
        if stats.lists == 1 {
            let record = Record { begin, events: heard.events, complete_to: newest };
            return self.oracle.check(&record, selects).unwrap();
        }
        let start = match begin {
            Begin::After(revision) => self.oracle.state_at(revision, selects),
            Begin::Initial(_) => Vec::new(),
        };
        let named = |object: Object| (object.key_bytes(), object);
        let mut objects: BTreeMap<Bytes, Object> = start.into_iter().map(named).collect();
        let mut reached = 0;
        for event in heard.events {
            assert!(event.revision() >= reached, "{event:?} after {reached}");
            reached = event.revision();
            match event {
                WatchEvent::Added { object, .. } | WatchEvent::Modified { object, .. } => {
                    objects.insert(object.key_bytes(), object);
                }
                WatchEvent::Deleted { previous, .. } => {
                    assert!(objects.remove(previous.key()).is_some(), "{previous:?} was not there");
                }
                WatchEvent::Bookmark { .. } => {}
                event => panic!("{event:?}"),
            }
        }
        let objects: Vec<Object> = objects.into_values().collect();
        assert_eq!(objects, self.state(heard.prefix, newest));
    }
}

/// In virtual time, on a runtime of its own.
fn simulate(seed: u64, bug: Option<Bug>, heal: bool) -> (Stats, u64, bool) {
    let told = std::panic::catch_unwind(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async { Simulation::new(seed, bug, heal).await.run().await })
    });
    told.unwrap_or_else(|_| panic!("seed {seed}, {bug:?}, healing: {heal}"))
}

#[test]
fn what_a_network_does_costs_nobody_an_event() {
    let (mut lists, mut replayed, mut backward) = (0, 0, 0);
    for seed in seeds() {
        let (stats, _, right) = simulate(seed, None, true);
        assert!(right, "seed {seed}: {stats:?}");
        assert_eq!((stats.inconsistencies, stats.early_progress), (0, 0), "seed {seed}");
        assert!(stats.comparisons > 0, "seed {seed}");
        lists += stats.lists - 1;
        replayed += stats.replayed;
        backward += stats.backward_progress;
    }
    // All of it happened.
    assert!(lists > 10 && replayed > 10 && backward > 10, "{lists} {replayed} {backward}");
}

#[test]
fn what_stores_have_done_wrong_is_caught() {
    for bug in Bug::ALL {
        let (mut shown, mut caught, mut wrong) = (0, 0, 0);
        for seed in seeds() {
            let (stats, times, right) = simulate(seed, Some(bug), true);
            assert!(right, "{bug:?}, seed {seed}: {stats:?}");
            shown += times;
            caught += match bug {
                Bug::ProgressOvertakes => stats.early_progress + stats.inconsistencies,
                Bug::TravelsBack => stats.replayed,
                _ => stats.inconsistencies,
            };
            wrong += u64::from(!simulate(seed, Some(bug), false).2);
        }
        assert!(shown > 10 && caught > 2, "{bug:?}: shown {shown} times, caught {caught} times");
        match bug {
            Bug::TravelsBack => assert_eq!(wrong, 0, "each event shows it"),
            // A watch that breaks before the event that was overtaken has lost it.
            Bug::ProgressOvertakes => {}
            _ => assert!(wrong > 0, "{bug:?}: without a comparison it stays wrong"),
        }
    }
}
