//! What a cache takes in memory.

use benches::kv_journal::{Outcome, runtime};
use benches::process::Resident;
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::Stack;
use tokio::time::{Duration, sleep};

const OBJECTS: usize = 1_000_000;
/// How long the allocator gets to give memory back.
const SETTLES: Duration = Duration::from_secs(3);
pub(crate) const MIB: f64 = 1_048_576.0;

/// Of the whole process, once the objects are listed.
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

pub(crate) async fn resident() -> Outcome<f64> {
    sleep(SETTLES).await;
    Ok(Resident::of(std::process::id())?.total)
}
