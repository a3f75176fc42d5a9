//! What plans cost on real workloads, and how far from the cheapest they may be.

use std::path::Path;
use std::time::{Duration, Instant};

use benches::binpack::rules;
use benches::binpack::traces::{TRACES, Trace, folder};
use benches::kv_journal::Outcome;
use benches::report;
use benches::settings::Settings;
use binpack::{Config, Input, plan_until};

use crate::planned::check;

/// How long a plan may take, and how that is called. The second is what counts.
const DEADLINES: [(&str, Duration); 3] = [
    ("100ms", Duration::from_millis(100)),
    ("1s", Duration::from_secs(1)),
    ("10s", Duration::from_secs(10)),
];
const COUNTS: &str = "1s";

/// One workload.
pub(crate) fn one(settings: &Settings, name: &str) -> Outcome<()> {
    let trace = TRACES.iter().find(|trace| name.strip_prefix("cost-") == Some(trace.name));
    let trace = trace.ok_or_else(|| format!("there is no figure {name}: see --help"))?;
    let Some(folder) = folder(name) else { return Ok(()) };
    report::line(name, gap(settings, trace, &folder)?, "%");
    Ok(())
}

/// All workloads, the median and the worst. What fails is told at the end.
pub(crate) fn all(settings: &Settings) -> Outcome<()> {
    let Some(folder) = folder("cost") else { return Ok(()) };
    let (mut gaps, mut failures) = (Vec::new(), Vec::new());
    for trace in &TRACES {
        match gap(settings, trace, &folder) {
            Ok(gap) => {
                report::line(&format!("cost-{}", trace.name), gap, "%");
                gaps.push(gap);
            }
            Err(error) => failures.push(format!("{}: {error}", trace.name)),
        }
    }
    if !failures.is_empty() {
        return Err(failures.join("; ").into());
    }
    report::line("cost-median", report::median(&gaps), "%");
    report::line("cost", gaps.into_iter().fold(0.0, f64::max), "%");
    Ok(())
}

/// The gap that counts. Each deadline has lines of its own; where no bound is proved in time, none
/// of its gap.
fn gap(settings: &Settings, trace: &Trace, folder: &Path) -> Outcome<f64> {
    let name = format!("cost-{}", trace.name);
    let input = trace.read(folder)?;
    let rival = rules::pack(&input)?;
    let theirs = rival.cost_micros() as f64 / 1e6;
    eprintln!("{name}: {} pods, of which the rules leave {}", input.pods.len(), rival.unplaced);
    if let Some(dearest) = rival.machines.iter().max_by_key(|machine| machine.price_micros) {
        let it = &input.instance_types[dearest.instance_type].name;
        let (price, pods) = (dearest.price_micros as f64 / 1e6, dearest.pods.len());
        eprintln!("{name}: their dearest machine is {it} at {price:.3} $/h with {pods} pods");
    }
    report::line(&format!("{name}-rules"), theirs, "$/h");
    let mut counts = None;
    for (label, deadline) in DEADLINES {
        let name = format!("{name}-{label}");
        let gap = measure(settings, &name, &input, settings.duration(deadline), theirs)?;
        if label == COUNTS {
            counts = gap;
        }
    }
    counts.ok_or_else(|| format!("{name}: nothing is proved within {COUNTS}").into())
}

fn measure(
    settings: &Settings,
    name: &str,
    input: &Input,
    deadline: Duration,
    theirs: f64,
) -> Outcome<Option<f64>> {
    let mut config = Config::default();
    // The clock decides.
    config.iterations = Config::ITERATIONS.max;
    let (mut gaps, mut costs, mut bounds, mut seconds) = (vec![], vec![], vec![], vec![]);
    for _ in 0..settings.rounds.max(1) {
        let start = Instant::now();
        let plan = plan_until(input, &config, |_| start.elapsed() >= deadline)?;
        seconds.push(start.elapsed().as_secs_f64());
        check(input, &plan)?;
        let bound = plan.certificate.as_ref().map_or(0, |of| of.lower_bound_micros);
        eprintln!(
            "{name}: {:.3} $/h on {} nodes, {} unplaced, {} steps, at least {:.3} $/h",
            plan.cost_per_hour(),
            plan.launches.len(),
            plan.unplaced.len(),
            plan.iterations,
            bound as f64 / 1e6,
        );
        gaps.extend(plan.gap_percent());
        costs.push(plan.cost_per_hour());
        bounds.push(bound as f64 / 1e6);
    }
    report::line(&format!("{name}-took"), report::median(&seconds), "s");
    report::line(&format!("{name}-cost"), report::median(&costs), "$/h");
    report::line(&format!("{name}-bound"), report::median(&bounds), "$/h");
    report::line(&format!("{name}-of-rules"), report::median(&costs) / theirs, "x");
    // A gap counts where every round has proved one.
    let gap = (gaps.len() == costs.len()).then(|| report::median(&gaps));
    if let Some(gap) = gap {
        report::line(&format!("{name}-gap"), gap, "%");
    }
    Ok(gap)
}
