//! A restart of a store with a million keys, in a process of its own. The files are in the
//! system's page cache, as those of a process that was replaced are.

use benches::kv_journal::{Outcome, Running, keys, runtime, shuffled, values};
use kv_journal::{FileConfig, FileJournal};

use super::settings::Settings;
use super::{open, report};

const NAME: &str = "recovery";
const KEYS: usize = 1_000_000;
const VALUE_LEN: usize = 1024;

pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let folder = settings.temp_dir()?;
    let keys = shuffled(keys(settings.count(KEYS)));
    runtime()?.block_on(async {
        let journal = FileJournal::open(folder.path(), FileConfig::default()).await?;
        let values = values(keys.len().min(100_000), VALUE_LEN);
        Running::filled(journal, &keys, &values).await?.close().await
    })?;
    let (mut secs, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let opened = open::apart(folder.path())?;
        opened.check_keys(&keys)?;
        secs.push(opened.secs);
        resident.push(opened.resident.total);
    }
    report::line("recovery-memory", report::median(&resident), "MiB");
    report::line(NAME, report::median(&secs), "s");
    Ok(())
}
