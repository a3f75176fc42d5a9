//! What many concurrent clients are answered can have happened one after the other.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]
#![allow(clippy::panic, reason = "a broken promise ends the test")]

mod drill;

use std::sync::Arc;

use drill::{Drill, Plan, open};
use kv_journal::linearizability::Verdict;
use kv_journal::{FaultJournal, FaultRates, FileConfig, FileJournal, Journal, MemoryJournal};

/// One life on `journal`; `judged` is how to read it afterwards.
async fn one_life(seed: u64, plan: Plan, journal: Arc<dyn Journal>, judged: &dyn Journal) {
    let drill = Drill::new(seed, plan);
    let life = drill.start(open(&journal).await);
    life.end(&drill).await.unwrap();
    assert_eq!(drill.judge(judged).await, Ok(Verdict::Linearizable), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_journal_in_memory() {
    for seed in 0..20 {
        let journal = Arc::new(MemoryJournal::new());
        let plan = Plan { clients: 8, operations: 40, ..Plan::default() };
        one_life(seed, plan, journal.clone(), &journal).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_keys_that_nothing_joins() {
    for seed in 0..10 {
        let journal = Arc::new(MemoryJournal::new());
        let plan = Plan { clients: 16, operations: 100, joined: false, ..Plan::default() };
        one_life(seed, plan, journal.clone(), &journal).await;
    }
}

fn some_faults() -> FaultRates {
    let mut rates = FaultRates::default();
    (rates.appends, rates.fences, rates.reads, rates.tails) = (150, 100, 100, 50);
    rates
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_journal_that_fails_now_and_then() {
    for seed in 0..10 {
        let memory = MemoryJournal::new();
        let journal = FaultJournal::new(memory.clone());
        let drill = Drill::new(seed, Plan { clients: 6, operations: 30, ..Plan::default() });
        let life = drill.start(open(&(Arc::new(journal.clone()) as Arc<dyn Journal>)).await);
        journal.fail_at_random(seed, some_faults());
        // A batch of which a part is stored and the rest refused ends the store.
        let _ended = life.end(&drill).await;
        drill.judge(&memory).await.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_journal_in_files() {
    for seed in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let open = async || {
            let mut config = FileConfig::default();
            config.segment_bytes = FileConfig::SEGMENT_BYTES.min;
            FileJournal::open(directory.path(), config).await.unwrap()
        };
        let plan = Plan { clients: 8, operations: 40, ..Plan::default() };
        let drill = Drill::new(seed, plan);
        let journal: Arc<dyn Journal> = Arc::new(open().await);
        let life = drill.start(drill::open(&journal).await);
        drop(journal);
        life.end(&drill).await.unwrap();
        let verdict = drill.judge(&open().await).await;
        assert_eq!(verdict, Ok(Verdict::Linearizable), "seed {seed}");
    }
}

/// Stores take the journal from one another; the clients of each go on as long as they are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_stores_take_over_from_one_another() {
    for seed in 0..15 {
        let journal = Arc::new(MemoryJournal::new());
        let shared: Arc<dyn Journal> = journal.clone();
        let plan = Plan { clients: 3, operations: 60, takeovers: true, ..Plan::default() };
        let drill = Drill::new(seed, plan);
        let mut lives = Vec::new();
        for _ in 0..3 {
            lives.push(drill.start(open(&shared).await));
            for _ in 0..drill.below(40) {
                tokio::task::yield_now().await;
            }
        }
        for life in lives {
            let _fenced = life.end(&drill).await;
        }
        drill.judge(&*journal).await.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}
