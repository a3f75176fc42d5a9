//! Sweeps over nodes that run pods.

use std::time::Instant;

use benches::binpack::cluster;
use benches::kv_journal::Outcome;
use benches::process::cpu_secs;
use benches::report;
use benches::settings::Settings;
use binpack::{Config, Consolidation, consolidate, validate_consolidation};

/// A sweep that ends when nothing is left to save, over nodes that are full to so many percent.
pub(crate) fn sweep(
    settings: &Settings,
    name: &str,
    (nodes, percent, spread): (usize, u64, bool),
) -> Outcome<()> {
    let input = cluster::running(settings.count(nodes), percent, spread);
    let (mut seconds, mut answer) = (Vec::new(), Consolidation::default());
    let rounds = settings.rounds.max(1);
    let cpu = cpu_secs(std::process::id())?;
    for _ in 0..rounds {
        let start = Instant::now();
        answer = consolidate(&input, &Config::default())?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let cpu = (cpu_secs(std::process::id())? - cpu) / rounds as f64;
    let all: Vec<String> = seconds.iter().map(|s| format!("{s:.4}")).collect();
    eprintln!("{name}, s: {}", all.join(" "));
    validate_consolidation(&input, &answer).map_err(|error| format!("{name}: {error}"))?;
    report::line(&format!("{name}-removed"), answer.removed.len() as f64, "nodes");
    report::line(&format!("{name}-launched"), answer.launches.len() as f64, "nodes");
    report::line(&format!("{name}-moved"), answer.moves.len() as f64, "pods");
    let saved = answer.saved_micros() as f64 / answer.cost_before_micros.max(1) as f64;
    report::line(&format!("{name}-saved"), 100.0 * saved, "%");
    report::line(&format!("{name}-cpu"), cpu, "s");
    report::line(name, report::median(&seconds), "s");
    Ok(())
}
