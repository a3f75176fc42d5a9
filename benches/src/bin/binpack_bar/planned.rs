//! A plan, how long it took, and that it is right.

use std::time::Instant;

use benches::kv_journal::Outcome;
use benches::process::cpu_secs;
use benches::report;
use binpack::{Config, Input, Plan, validate, verify};

/// The settings of a quick plan, which nothing is optimised in.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.iterations = 0;
    config
}

/// Plans of the same question, each made anew.
pub(crate) struct Measured {
    /// The middle one of the times that they took, in seconds.
    pub(crate) seconds: f64,
    /// The processor time of each, in seconds: what counts on a machine that is shared.
    pub(crate) cpu: f64,
    /// The last one, which keeps every rule.
    pub(crate) plan: Plan,
}

/// Plans so many times anew. Every pod must get a place.
pub(crate) fn measure(
    name: &str,
    input: &Input,
    config: &Config,
    rounds: usize,
) -> Outcome<Measured> {
    let rounds = rounds.max(1);
    let (mut seconds, mut plan) = (Vec::new(), Plan::default());
    let cpu = cpu_secs(std::process::id())?;
    for _ in 0..rounds {
        let start = Instant::now();
        plan = binpack::plan(input, config)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let cpu = (cpu_secs(std::process::id())? - cpu) / rounds as f64;
    let all: Vec<String> = seconds.iter().map(|s| format!("{s:.4}")).collect();
    eprintln!("{name}, s: {}", all.join(" "));
    check(input, &plan).map_err(|error| format!("{name}: {error}"))?;
    if let Some(first) = plan.unplaced.first() {
        return Err(format!("pod {} has no place: {}", first.pod, first.reason).into());
    }
    Ok(Measured { seconds: report::median(&seconds), cpu, plan })
}

/// Whether the plan keeps every rule, and its certificate holds.
pub(crate) fn check(input: &Input, plan: &Plan) -> Outcome<()> {
    validate(input, plan)?;
    verify(input, plan)?;
    Ok(())
}
