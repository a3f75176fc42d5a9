//! A plan, how long it took, and that it is right.

use std::time::Instant;

use benches::kv_journal::Outcome;
use binpack::{Config, Input, Plan, validate, verify};

/// The settings of a quick plan, which nothing is optimised in.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.iterations = 0;
    config
}

/// Plans so many times anew; returns the seconds of each time and the plan, which is checked once.
pub(crate) fn repeated(input: &Input, config: &Config, rounds: usize) -> Outcome<(Vec<f64>, Plan)> {
    let mut seconds = Vec::new();
    let mut last = Plan::default();
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        last = binpack::plan(input, config)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    check(input, &last)?;
    Ok((seconds, last))
}

/// Whether the plan keeps every rule, and its certificate holds.
pub(crate) fn check(input: &Input, plan: &Plan) -> Outcome<()> {
    validate(input, plan)?;
    verify(input, plan)?;
    Ok(())
}

/// The same, for plans of which every pod must have a place.
pub(crate) fn all_placed(plan: &Plan) -> Outcome<()> {
    match plan.unplaced.first() {
        Some(first) => Err(format!("pod {} has no place: {}", first.pod, first.reason).into()),
        None => Ok(()),
    }
}

/// Says on standard error what the rounds gave.
pub(crate) fn spread(name: &str, seconds: &[f64]) {
    let all: Vec<String> = seconds.iter().map(|s| format!("{s:.4}")).collect();
    eprintln!("{name}, s: {}", all.join(" "));
}
