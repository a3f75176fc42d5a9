//! Seeded clients and watchers on a store, everything that they are shown, and the judgement.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]
#![allow(clippy::panic, reason = "a broken promise ends the test")]

mod client;
mod side;
mod watcher;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use kv_journal::linearizability::{Recorder, Verdict, check_answers, check_revisions};
use kv_journal::oracle::{Oracle, Told};
use kv_journal::{
    Config, CrashJournal, Driver, FaultJournal, FaultRates, Journal, KeyRange, KeyValue, Result,
    Store, WatchRequest,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use side::Side;

/// Few keys, so that clients meet.
const KEYS: [&str; 5] = ["a", "b", "pair/1", "pair/2", "z"];
/// More than a history of this size takes when it is right.
const STEPS: u64 = 300_000;

/// What the clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) operations: usize,
    /// Ranges, counts and transactions of several keys.
    pub(crate) joined: bool,
    pub(crate) compactions: bool,
    /// Another store may take the journal over, so that what changes nothing asks first.
    pub(crate) takeovers: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { clients: 4, operations: 12, joined: true, compactions: true, takeovers: false }
    }
}

/// What a read showed.
struct Shown {
    range: KeyRange,
    revision: u64,
    kvs: Vec<KeyValue>,
}

/// One history, over any number of lives of the store.
pub(crate) struct Drill {
    plan: Plan,
    recorder: Recorder,
    shown: Mutex<Vec<Shown>>,
    /// For each watcher what it was told: anew after each compaction that passed it.
    told: Mutex<Vec<Vec<Told>>>,
    /// The last compaction that was acknowledged.
    compacted: Mutex<u64>,
    next_client: Mutex<usize>,
    random: Mutex<StdRng>,
}

/// A store with clients and watchers at work.
pub(crate) struct Life {
    pub(crate) store: Store,
    pub(crate) driver: JoinHandle<Result<()>>,
    clients: JoinSet<()>,
    watchers: JoinSet<()>,
    /// Which watchers of the drill are its own.
    watching: Range<usize>,
}

impl Drill {
    pub(crate) fn new(seed: u64, plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            plan,
            recorder: Recorder::default(),
            shown: Mutex::default(),
            told: Mutex::default(),
            compacted: Mutex::default(),
            next_client: Mutex::new(0),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        })
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.random.lock().random_range(0..end)
    }

    /// Lets new clients and the same watchers loose on a store.
    pub(crate) fn start(self: &Arc<Self>, (store, driver): (Store, Driver)) -> Life {
        let side = store.clone();
        self.start_from(|| Side::Embedded(side.clone()), store, tokio::spawn(driver))
    }

    /// The same, with each of them at a side of its own.
    pub(crate) fn start_from(
        self: &Arc<Self>,
        side: impl Fn() -> Side,
        store: Store,
        driver: JoinHandle<Result<()>>,
    ) -> Life {
        let mut clients = JoinSet::new();
        for _ in 0..self.plan.clients {
            let client = client::Client::new(Arc::clone(self), side());
            clients.spawn(client.run(self.plan.operations));
        }
        let mut watchers = JoinSet::new();
        let watching = self.watching();
        for watcher in watching.clone() {
            watchers.spawn(watcher::run(Arc::clone(self), side(), watcher));
        }
        Life { store, driver, clients, watchers, watching }
    }

    /// The watchers of the last life go on, unless that life may go on, too.
    fn watching(&self) -> Range<usize> {
        let mut told = self.told.lock();
        if told.is_empty() || self.plan.takeovers {
            told.extend(watched().into_iter().map(|request| vec![Told::new(request)]));
        }
        told.len() - watched().len()..told.len()
    }

    fn next_client(&self) -> usize {
        let mut next = self.next_client.lock();
        *next += 1;
        *next
    }

    /// Whether all of these watchers were told of everything up to `revision`.
    fn all_told(&self, watching: &Range<usize>, revision: u64) -> bool {
        let told = self.told.lock();
        let mut last = told[watching.clone()].iter().filter_map(|told| told.last());
        // Revision 1 is the empty store: there is nothing to tell.
        revision == 1 || last.all(|last| last.next_revision() > revision)
    }

    fn claim_all_told(&self, watching: &Range<usize>, revision: u64) {
        let mut told = self.told.lock();
        for last in told[watching.clone()].iter_mut().filter_map(|told| told.last_mut()) {
            last.complete_to = revision;
        }
    }

    /// Holds everything that anyone was shown against the journal.
    ///
    /// # Errors
    /// What was shown and cannot be.
    pub(crate) async fn judge(&self, journal: &dyn Journal) -> Result<Verdict, String> {
        let oracle = Oracle::read(journal).await.map_err(|error| error.to_string())?;
        let (kept, last) = (oracle.compact_revision(), *self.compacted.lock());
        if kept < last {
            return Err(format!("the compaction to {last} is lost, the last one is to {kept}"));
        }
        for told in self.told.lock().iter().flatten() {
            oracle.check(told).map_err(|broken| format!("{broken}: {told:?}"))?;
        }
        for Shown { range, revision, kvs } in self.shown.lock().iter() {
            let expected: Vec<_> = oracle.range_at(range, *revision).cloned().collect();
            if *revision > oracle.revision() || *kvs != expected {
                return Err(format!("{range:?} at {revision} was {kvs:?} and is {expected:?}"));
            }
        }
        let history = self.recorder.history();
        check_revisions(&history, &oracle).map_err(|wrong| wrong.to_string())?;
        check_answers(&history, STEPS).map_err(|wrong| wrong.to_string())
    }
}

impl Life {
    /// The process dies in the middle of whatever it does.
    pub(crate) async fn crash(self) {
        let Self { store, driver, mut clients, mut watchers, .. } = self;
        driver.abort();
        clients.shutdown().await;
        watchers.shutdown().await;
        drop(store);
        let _aborted = driver.await;
    }

    /// The clients end by themselves, the watchers hear of everything, and the store is closed.
    pub(crate) async fn end(mut self, drill: &Drill) -> Result<()> {
        self.settle(drill).await;
        drop(self.store);
        self.driver.await.unwrap()
    }

    /// The clients end by themselves, and the watchers hear of everything.
    pub(crate) async fn settle(&mut self, drill: &Drill) {
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        let revision = self.store.revision();
        let told = || drill.all_told(&self.watching, revision);
        for _ in 0..20_000 {
            if self.driver.is_finished() || told() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if !self.driver.is_finished() {
            assert!(told(), "a watcher does not hear of {revision}");
            drill.claim_all_told(&self.watching, revision);
        }
        self.watchers.shutdown().await;
    }
}

/// Ranges, filters and starts of every kind; all of them hear of every revision in the end.
fn watched() -> Vec<WatchRequest> {
    let from = |range, start| WatchRequest::new(range).from_revision(start).progress_on_advance();
    vec![
        from(KeyRange::all(), 1),
        from(KeyRange::all(), 7),
        from(KeyRange::prefix("pair/"), 1),
        from(KeyRange::key("a"), 2),
        from(KeyRange::range("a", "c"), 1).no_put(),
        from(KeyRange::from("b"), 1).no_delete(),
        from(KeyRange::key("nobody writes this"), 1),
    ]
}

/// Several lives of one machine, each cut short, and a last one that ends well.
pub(crate) async fn lives(seed: u64, plan: Plan, rates: FaultRates, lives: u64) -> Verdict {
    let drill = Drill::new(seed, plan);
    let mut machine = CrashJournal::new(seed);
    for life in 1..=lives {
        let faulty = FaultJournal::new(machine.clone());
        faulty.fail_at_random(drill.below(u64::MAX), rates);
        let working = drill.start(open(&(Arc::new(faulty) as Arc<dyn Journal>)).await);
        if life < lives {
            work_for_a_while(&drill).await;
            working.crash().await;
            machine = machine.crash();
        } else {
            let _ended_by_a_fault = working.end(&drill).await;
        }
    }
    let judgement = drill.judge(&machine.crash()).await;
    judgement.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"))
}

/// Some turns of the runtime, or some time.
async fn work_for_a_while(drill: &Drill) {
    for _ in 0..drill.below(15 * drill.plan.operations as u64) {
        if drill.below(8) == 0 {
            tokio::time::sleep(Duration::from_millis(1 + drill.below(20))).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// Runs a world in which the same seed always does the same: one thread, and time that passes when
/// nothing else does.
pub(crate) fn run<T>(world: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(world)
}

/// Opens a store although the journal may fail now and then.
pub(crate) async fn open(journal: &Arc<dyn Journal>) -> (Store, Driver) {
    for _ in 0..100 {
        match Store::open(Arc::clone(journal), Config::default()).await {
            Ok(opened) => return opened,
            Err(error) if error.kind() == kv_journal::ErrorKind::Unavailable => {}
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
    panic!("the journal fails all the time")
}
