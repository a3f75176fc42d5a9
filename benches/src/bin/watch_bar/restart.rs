//! How long a cache takes to be ready again from its checkpoint.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{Stack, script};
use watch_cache::{CheckpointConfig, Config};

const OBJECTS: usize = 1_000_000;
/// Fewer than the log keeps.
const EVENTS: usize = 100_000;

/// One process writes the checkpoint, and a new one for each round begins from it: first from one with an
/// empty log, then from one with a full log.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let directory = settings.temp_dir()?;
    for (name, events) in [("restart-empty-log", 0), ("restart", settings.count(EVENTS))] {
        let file = directory.path().join(name);
        let written = child(settings, "restart-save", &file, events)?;
        let (mut listed, mut ready) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            ready.push(child(settings, "restart-begin", &file, events)?);
            // Without a file: what a restart is without one.
            listed.push(child(settings, "restart-begin", &directory.path().join("none"), events)?);
        }
        report::rounds(
            &format!("{name}, ms"),
            &ready.iter().map(|secs| secs * 1e3).collect::<Vec<_>>(),
        );
        report::line(&format!("{name}-written"), written, "s");
        report::line(&format!("{name}-by-listing"), report::median(&listed), "s");
        report::line(name, report::median(&ready), "s");
    }
    Ok(())
}

/// Runs one part in a process of its own; returns the seconds that it says.
fn child(settings: &Settings, part: &str, file: &Path, events: usize) -> Outcome<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(part).arg(file).arg(events.to_string()).args(settings.to_args());
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{part} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Fills the log, and says how long it took to save all.
pub(crate) fn save(settings: &Settings, file: &Path, events: u32) -> Outcome<()> {
    runtime()?.block_on(async {
        let stack = Stack::of(script(settings.count(OBJECTS))?, config(file)).await?;
        let last = stack.script.tell(&stack.script.revisions(events));
        stack.cache.wait_for(last).await?;
        let start = Instant::now();
        let saved = stack.cache.save_checkpoint().await?;
        println!("{}", start.elapsed().as_secs_f64());
        if saved == last { Ok(()) } else { Err(format!("{saved} was saved of {last}").into()) }
    })
}

/// Begins from the file, if it is there, and says how long it took to be ready.
pub(crate) fn begin(settings: &Settings, file: &Path, events: u32) -> Outcome<()> {
    runtime()?.block_on(async {
        let script = script(settings.count(OBJECTS))?;
        // The source went on before.
        let last = script.tell(&script.revisions(events));
        let is_there = file.exists();
        let start = Instant::now();
        let stack = Stack::of(script, config(file)).await?;
        println!("{}", start.elapsed().as_secs_f64());
        let stats = stack.cache.stats();
        if is_there && (stats.restored_revision, stats.objects) != (last, settings.count(OBJECTS)) {
            return Err(format!("{stats:?}: {:?}", stack.cache.checkpoint_error()).into());
        }
        // Not by closing it, which would write a checkpoint.
        std::process::exit(0)
    })
}

fn config(file: &Path) -> Config {
    let mut config = Config::default();
    let mut checkpoint = CheckpointConfig::new(file);
    checkpoint.interval = CheckpointConfig::INTERVAL.max;
    config.checkpoint = Some(checkpoint);
    config
}
