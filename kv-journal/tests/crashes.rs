//! Crashes without processes: a machine that keeps what was acknowledged, and of the rest whatever
//! a seed says. Thousands of them in a run; `KV_JOURNAL_CRASH_SEEDS` sets how many, and
//! `KV_JOURNAL_CRASH_SEED` the first.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod drill;

use std::sync::Arc;

use drill::{Drill, Plan, lives, open, run};
use kv_journal::linearizability::Verdict;
use kv_journal::{FaultRates, Journal, MemoryJournal, ReadLimits};

const SEEDS: u64 = 300;
const LIVES: u64 = 4;

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("KV_JOURNAL_CRASH_SEED").unwrap_or(0);
    first..first + number("KV_JOURNAL_CRASH_SEEDS").unwrap_or(SEEDS)
}

/// Every acknowledged write survives, no transaction is halved, no revision that anyone was shown
/// by an answer, a read or a watch is ever another one, and all of it can have happened one after
/// the other.
#[test]
fn nothing_that_was_shown_is_lost_or_changed() {
    let mut undecided = 0;
    for seed in seeds() {
        let verdict = run(lives(seed, Plan::default(), FaultRates::default(), LIVES));
        undecided += usize::from(verdict == Verdict::Undecided);
    }
    assert!(undecided <= seeds().count() / 20, "{undecided} searches were not decided");
}

/// The same, with a journal that fails in every way beside the crashes.
#[test]
fn nor_by_a_journal_that_fails_between_the_crashes() {
    let mut rates = FaultRates::default();
    (rates.appends, rates.fences, rates.reads, rates.tails) = (200, 100, 100, 50);
    for seed in seeds() {
        run(lives(seed, Plan::default(), rates, LIVES));
    }
}

/// The judgement itself is judged: a journal that forgets what it acknowledged last is found out.
#[test]
fn a_journal_that_forgets_its_last_record_is_found_out() {
    for seed in 0..20 {
        let judgement = run(async {
            // A second life may compact as far as a compaction that was forgotten.
            let drill = Drill::new(seed, Plan { compactions: false, ..Plan::default() });
            let whole = Arc::new(MemoryJournal::new());
            let life = drill.start(open(&(whole.clone() as Arc<dyn Journal>)).await);
            life.end(&drill).await.unwrap();
            drill.judge(&*whole).await.unwrap();
            let forgetful = MemoryJournal::new();
            forgetful.fence(1).await.unwrap();
            let mut entries = whole.read(1, ReadLimits::default()).await.unwrap();
            entries.pop();
            let payloads: Vec<_> = entries.into_iter().map(|entry| entry.payload).collect();
            forgetful.append(1, 1, &payloads).await.unwrap();
            let life = drill.start(open(&(Arc::new(forgetful.clone()) as Arc<dyn Journal>)).await);
            life.end(&drill).await.unwrap();
            drill.judge(&forgetful).await
        });
        assert!(judgement.is_err(), "seed {seed}");
    }
}
