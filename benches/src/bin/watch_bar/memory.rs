//! What a cache takes in memory.

use benches::kv_journal::{Outcome, runtime};
use benches::process::Resident;
use benches::report;
use benches::settings::Settings;
use tokio::time::{Duration, sleep};

use super::stack::Stack;

const OBJECTS: usize = 1_000_000;
/// Fewer than the log keeps.
const EVENTS: usize = 100_000;
/// How long the allocator gets to give memory back.
const SETTLES: Duration = Duration::from_secs(3);
pub(crate) const MIB: f64 = 1_048_576.0;

/// Of the whole process, once the objects are listed, and once the log is full.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let before = resident().await?;
        let stack = Stack::open(settings.count(OBJECTS)).await?;
        let wire = stack.script.wire_bytes() as f64 / MIB;
        let listed = resident().await? - before;
        report::line("memory-wire", wire, "MiB");
        report::line("memory-listed", listed, "MiB");
        report::line("memory", listed / wire, "x");
        Ok(())
    })
}

/// The growth of the process with the revisions in the log, less the versions that they keep.
pub(crate) fn revision(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let objects = settings.count(OBJECTS);
        let stack = Stack::open(objects).await?;
        let listed = resident().await?;
        let events = settings.count(EVENTS);
        let part = u32::try_from(events.div_ceil(10))?;
        for _ in 0..10 {
            let last = stack.script.tell(&stack.script.revisions(part));
            stack.cache.wait_for(last).await?;
        }
        let logged = stack.cache.stats().log_revisions as f64;
        let object = stack.script.wire_bytes() as f64 / objects as f64;
        let grown = (resident().await? - listed) * MIB / logged;
        report::line("revision-bytes-with-object", grown, "B");
        report::line("revision-bytes", grown - object, "B");
        Ok(())
    })
}

pub(crate) async fn resident() -> Outcome<f64> {
    sleep(SETTLES).await;
    Ok(Resident::of(std::process::id())?.total)
}
