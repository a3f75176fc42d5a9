//! Renewals of leases, of which there are a million, on one core.

use std::time::Instant;

use benches::kv_journal::{Outcome, Running, runtime};
use benches::settings::Settings;
use futures_util::{StreamExt, TryStreamExt, stream};
use kv_journal::{LeaseGrantRequest, MemoryJournal, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::report;

const NAME: &str = "lease-renewals";
const LEASES: usize = 1_000_000;
const RENEWALS: usize = 1_000_000;
/// A node's lease in Kubernetes has 40 s; these must outlive the run.
const TTL_SECS: i64 = 3600;

pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let runtime = runtime()?;
    let running = runtime.block_on(Running::open(MemoryJournal::new()))?;
    let count = i64::try_from(settings.count(LEASES))?;
    runtime.block_on(grant(&running.store, count))?;
    let mut rng = StdRng::seed_from_u64(benches::SEED);
    let renewed: Vec<i64> =
        (0..settings.count(RENEWALS)).map(|_| rng.random_range(1..=count)).collect();
    let mut rates = Vec::new();
    for _ in 0..settings.rounds {
        let start = Instant::now();
        for id in &renewed {
            assert_ne!(running.store.lease_keep_alive(*id)?.ttl_secs, 0);
        }
        rates.push(renewed.len() as f64 / start.elapsed().as_secs_f64());
    }
    report::rounds(NAME, &rates);
    report::line(NAME, report::median(&rates), "renewals/s");
    Ok(())
}

async fn grant(store: &Store, count: i64) -> kv_journal::Result<()> {
    stream::iter(1..=count)
        .map(|id| store.lease_grant(LeaseGrantRequest::new(TTL_SECS).id(id)))
        .buffer_unordered(4096)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}
