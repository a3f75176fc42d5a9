//! A restart of a store with a million keys, in a process of its own. The files are in the
//! system's page cache, as those of a process that was replaced are.

use std::path::Path;

use benches::kv_journal::{Durability, Outcome, Running, keys, runtime, shuffled, values};
use benches::settings::Settings;
use bytes::Bytes;

use super::{open, report};

const NAME: &str = "recovery";
const KEYS: usize = 1_000_000;
const VALUE_LEN: usize = 1024;

/// From the journal alone, from a checkpoint that holds everything, and from what a store that ran
/// with its default settings has left, which is the figure.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let runtime = runtime()?;
    let keys = shuffled(keys(settings.count(KEYS)));
    let values = values(keys.len().min(100_000), VALUE_LEN);
    let fill = |directory: &Path, durability| {
        runtime.block_on(async {
            let running = Running::open_file(directory, durability).await?;
            running.fill(&keys, &values).await?;
            running.close().await
        })
    };
    let journal = settings.temp_dir()?;
    fill(journal.path(), Durability::Journal)?;
    let replayed = Restart::of(journal.path(), Durability::Journal, &keys, settings)?;
    replayed.report("recovery-journal");
    drop(journal);
    let checkpoints = settings.temp_dir()?;
    let (directory, durability) = (checkpoints.path(), Durability::Checkpoints);
    fill(directory, durability)?;
    let left = Restart::of(directory, durability, &keys, settings)?;
    runtime.block_on(async {
        let running = Running::open_file(directory, durability).await?;
        running.store.checkpoint().await?;
        running.close().await
    })?;
    Restart::of(directory, durability, &keys, settings)?.report("recovery-checkpoint");
    left.report(NAME);
    Ok(())
}

/// The medians of some starts on the same data.
struct Restart {
    secs: f64,
    resident: f64,
}

impl Restart {
    fn of(
        directory: &Path,
        durability: Durability,
        keys: &[Bytes],
        settings: &Settings,
    ) -> Outcome<Self> {
        let (mut secs, mut resident) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let opened = open::apart(directory, durability)?;
            opened.check_keys(keys)?;
            secs.push(opened.secs);
            resident.push(opened.resident.total);
        }
        Ok(Self { secs: report::median(&secs), resident: report::median(&resident) })
    }

    fn report(&self, name: &str) {
        report::line(&format!("{name}-memory"), self.resident, "MiB");
        report::line(name, self.secs, "s");
    }
}
