//! Karpenter's own benchmark of its scheduler.

use std::time::Instant;

use benches::binpack::{karpenter, rules};
use benches::kv_journal::Outcome;
use benches::report;
use benches::settings::Settings;
use binpack::{Config, Input, Preference};

use crate::planned::{self, quick};

/// Five kinds of pods. The quick plan is the figure: Karpenter's scheduler optimises nothing either.
pub(crate) fn diverse(settings: &Settings, name: &str, pods: usize) -> Outcome<()> {
    let input = karpenter::diverse(settings.count(pods));
    rival(name, &input)?;
    optimised(name, &input)?;
    measure(name, &input, &quick(), settings.rounds)
}

/// Pods with preferences, with Karpenter's two policies.
pub(crate) fn preferring(settings: &Settings, name: &str, pods: usize) -> Outcome<()> {
    let input = karpenter::preferring(settings.count(pods));
    let mut ignoring = quick();
    ignoring.preference = Preference::Ignore;
    measure(&format!("{name}-ignored"), &input, &ignoring, settings.rounds)?;
    optimised(name, &input)?;
    measure(name, &input, &quick(), settings.rounds)
}

/// With the default settings, once: it takes long.
fn optimised(name: &str, input: &Input) -> Outcome<()> {
    measure(&format!("{name}-optimised"), input, &Config::default(), 1)
}

fn measure(name: &str, input: &Input, config: &Config, rounds: usize) -> Outcome<()> {
    let measured = planned::measure(name, input, config, rounds)?;
    let plan = &measured.plan;
    report::line(&format!("{name}-nodes"), plan.launches.len() as f64, "nodes");
    report::line(&format!("{name}-cost"), plan.cost_per_hour(), "$/h");
    if let Some(gap) = plan.gap_percent() {
        report::line(&format!("{name}-gap"), gap, "%");
    }
    report::line(&format!("{name}-pods"), input.pods.len() as f64 / measured.seconds, "pods/s");
    report::line(&format!("{name}-cpu"), measured.cpu, "s");
    report::line(name, measured.seconds, "s");
    Ok(())
}

/// Karpenter's rules on one core, in Rust: what they come to matters, not how long they take here.
fn rival(name: &str, input: &Input) -> Outcome<()> {
    let start = Instant::now();
    let packed = rules::pack(input)?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("Karpenter's rules: {} pods without a place, {seconds:.2} s", packed.unplaced);
    report::line(&format!("{name}-rules-nodes"), packed.machines.len() as f64, "nodes");
    report::line(&format!("{name}-rules-cost"), packed.cost_micros() as f64 / 1e6, "$/h");
    Ok(())
}
