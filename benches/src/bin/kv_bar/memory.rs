//! Resident memory of the same keys, in this store and in etcd, both started again on their data.

use std::path::Path;
use std::time::Duration;

use benches::etcd::{Client, Etcd};
use benches::kv_journal::{Durability, Outcome, Running, keys, runtime, shuffled, values};
use benches::settings::Settings;
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::process::Resident;
use super::{open, report};

const NAME: &str = "memory";
const KEYS: usize = 1_000_000;
const VALUE_LEN: usize = 256;
/// Puts in one transaction that fills etcd; it takes at most 128.
const TXN: usize = 100;
/// After so many entries etcd writes a snapshot and forgets its log, which it otherwise holds in
/// memory. The default counts 100,000 entries; these have 100 puts each.
const SNAPSHOT_COUNT: &str = "100";

/// How long etcd gets to give memory back.
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Seconds in which etcd is asked for its memory every second; the least counts
    #[arg(long, default_value_t = 20)]
    wait_secs: u64,
}

pub(crate) fn run(settings: &Settings, wait: &Wait) -> Outcome<()> {
    runtime()?.block_on(compare(settings, wait))
}

async fn compare(settings: &Settings, wait: &Wait) -> Outcome<()> {
    let folder = settings.temp_dir()?;
    let keys = shuffled(keys(settings.count(KEYS)));
    let values = values(keys.len().min(100_000), VALUE_LEN);
    let journal = ours(&folder.path().join("a"), Durability::Journal, &keys, &values).await?;
    report::line("memory-journal", journal.total, "MiB");
    let ours = ours(&folder.path().join("b"), Durability::Checkpoints, &keys, &values).await?;
    if let Some(theirs) = theirs(folder.path(), &keys, &values, wait).await? {
        report::line("memory-anonymous", ours.anonymous, "MiB");
        let share = |theirs| ours.anonymous / theirs;
        report::rival("memory-anonymous", "etcd", theirs.anonymous, "MiB", share);
        report::line("memory-etcd", theirs.total, "MiB");
        report::line("memory-ratio", ours.total / theirs.total, "x");
    }
    report::line(NAME, ours.total, "MiB");
    Ok(())
}

/// A store that was filled and started again, from its journal alone, or with the checkpoints that
/// it made by its default settings, which is the figure.
async fn ours(
    directory: &Path,
    durability: Durability,
    keys: &[Bytes],
    values: &[Bytes],
) -> Outcome<Resident> {
    let running = Running::open_file(directory, durability).await?;
    running.fill(keys, values).await?;
    running.close().await?;
    let opened = open::apart(directory, durability)?;
    opened.check_keys(keys)?;
    Ok(opened.resident)
}

async fn theirs(
    folder: &Path,
    keys: &[Bytes],
    values: &[Bytes],
    wait: &Wait,
) -> Outcome<Option<Resident>> {
    let Some(etcd) = Etcd::start(folder, &["--snapshot-count", SNAPSHOT_COUNT]).await? else {
        return Ok(None);
    };
    fill(&etcd, keys, values).await?;
    drop(etcd);
    let Some(etcd) = Etcd::start(folder, &[]).await? else { return Ok(None) };
    let mut least = Resident::of(etcd.pid())?;
    for _ in 0..wait.wait_secs {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Resident::of(etcd.pid())?;
        eprintln!("etcd: {:.0} MiB, {:.0} of them anonymous", now.total, now.anonymous);
        least.total = least.total.min(now.total);
        least.anonymous = least.anonymous.min(now.anonymous);
    }
    open::check_keys(Client::connect(etcd.address()).await?.count_all().await?, keys)?;
    Ok(Some(least))
}

/// The same keys, in the same order, with the same values.
async fn fill(etcd: &Etcd, keys: &[Bytes], values: &[Bytes]) -> Outcome<()> {
    let client = Client::connect(etcd.address()).await?;
    let entries: Vec<_> =
        keys.iter().zip(values.iter().cycle()).map(|(key, value)| (&key[..], &value[..])).collect();
    let txn = |entries| {
        let mut client = client.clone();
        async move { client.put_all(entries).await }
    };
    stream::iter(entries.chunks(TXN)).map(txn).buffer_unordered(64).try_collect().await
}
