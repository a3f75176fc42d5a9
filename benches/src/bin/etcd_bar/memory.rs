//! Resident memory of the same keys, in both, after both were started again on their data.

use std::time::Duration;

use benches::kv_journal::Outcome;
use benches::process::Resident;

use super::Settings;
use super::figures::{Both, fill};
use super::sides::{Side, Sides};

/// Of `--keys`.
const TIMES: u64 = 10;
/// How long a server gets to give memory back; the least counts.
const WAIT_SECS: usize = 20;

pub(super) async fn run(settings: &Settings) -> Outcome<()> {
    let Sides { own, etcd, _folder } = Sides::start(settings).await?;
    let fill = fill(settings.keys * TIMES);
    let mut both = Both::default();
    both.add(after(own, &fill).await?, after(etcd, &fill).await?);
    both.tell("memory", "MiB");
    Ok(())
}

async fn after(side: Side, fill: &str) -> Outcome<f64> {
    side.load(fill).await?;
    eprintln!("{}: {:.0} MiB when filled", side.name, Resident::of(side.pid())?.total);
    let side = side.restarted().await?;
    let mut least = f64::MAX;
    for _ in 0..WAIT_SECS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        least = least.min(Resident::of(side.pid())?.total);
    }
    Ok(least)
}
