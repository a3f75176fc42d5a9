//! The same worlds for as long as one likes: `KV_JOURNAL_SOAK_SECONDS`, a few by default.
//!
//! A failure names its seed; `KV_JOURNAL_SOAK_SEED` begins with it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests unwrap")]

mod drill;

use std::time::{Duration, Instant};

use drill::{Plan, lives, run};
use kv_journal::FaultRates;

const SECONDS: u64 = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Worlds of all sizes and rates of failure, each from its seed alone.
#[test]
fn worlds_of_every_size() {
    let lasts = Duration::from_secs(number("KV_JOURNAL_SOAK_SECONDS", SECONDS));
    let first = number("KV_JOURNAL_SOAK_SEED", 1_000_000);
    let begun = Instant::now();
    let mut worlds = 0;
    for seed in first.. {
        run(lives(seed, plan(seed), rates(seed), 1 + seed % 9));
        worlds += 1;
        if begun.elapsed() >= lasts {
            break;
        }
    }
    println!("{worlds} worlds, the next is {}", first + worlds);
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder is small")]
fn plan(seed: u64) -> Plan {
    Plan {
        clients: 1 + (seed % 7) as usize,
        operations: [8, 20, 60, 150][(seed % 4) as usize],
        joined: !seed.is_multiple_of(5),
        compactions: !seed.is_multiple_of(3),
        ..Plan::default()
    }
}

fn rates(seed: u64) -> FaultRates {
    let mut rates = FaultRates::default();
    if let Some(rate) = [0, 10, 100, 300].get((seed % 5) as usize) {
        (rates.appends, rates.fences, rates.reads, rates.tails) =
            (*rate, rate / 2, rate / 2, rate / 4);
    }
    rates
}
