//! The bar of `binpack`: one command for each figure.
//!
//! What is printed to standard output are lines of `name value unit`; the last one is the figure.
//! Karpenter's rules of packing, re-implemented, run on the same workload beside. What it takes to
//! understand a run goes to standard error. Every plan is validated, and its certificate verified.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "what is counted stays far below 2^52")]

mod consolidate;
mod cost;
mod karpenter;
mod place;
mod planned;

use std::process::ExitCode;

use benches::kv_journal::Outcome;
use benches::settings::Settings;
use clap::Parser;

/// Measures binpack against its bar. Every line of output is `name value unit`; the last one is the
/// figure that was asked for.
///
/// karpenter-1k, -5k, -10k, -20k: Karpenter's scheduling benchmark, a fresh planner [bar of 20k: 0.2 s].
/// preferences-4k: its benchmark of preferences [bar: 0.1 s].
/// cost-WORKLOAD: by how much a plan may be dearer than the cheapest there is, after 1 s, in
/// percent of the proven lower bound; needs the data files. cost: the worst of them [bar: 3 %].
/// place-plain-10k, place-plain-130k: pods without constraints on so many nodes [bars: 1M/s, 300,000/s].
/// place-tied-10k: pods spread over zones and apart by hostname [bar: 100,000/s].
/// gangs-10k: gangs of 8, each within a rack of 32 of 10,000 nodes [bar: 2,000/s].
/// replan-100: 100 pods more on 10,000 nodes that a scheduler knows [bar: 1 ms].
/// consolidate-10k: a sweep over 10,000 nodes with 12 pods each that are 60 % full, until nothing is
/// left to save [bar: 0.2 s]; consolidate-10k-full: 85 % full, so that little is; -spread: half of
/// the shapes are spread over zones.
/// all: every figure, one process after the other.
#[derive(Parser)]
struct Args {
    /// The figure
    figure: String,
    #[command(flatten)]
    settings: Settings,
}

/// The figures of `all`.
const ALL: [&str; 14] = [
    "karpenter-1k",
    "karpenter-5k",
    "karpenter-10k",
    "karpenter-20k",
    "preferences-4k",
    "place-plain-10k",
    "place-plain-130k",
    "place-tied-10k",
    "gangs-10k",
    "replan-100",
    "consolidate-10k-full",
    "consolidate-10k-spread",
    "consolidate-10k",
    "cost",
];

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("binpack-bar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let settings = &args.settings;
    match args.figure.as_str() {
        "karpenter-1k" => karpenter::diverse(settings, "karpenter-1k", 1_000),
        "karpenter-5k" => karpenter::diverse(settings, "karpenter-5k", 5_000),
        "karpenter-10k" => karpenter::diverse(settings, "karpenter-10k", 10_000),
        "karpenter-20k" => karpenter::diverse(settings, "karpenter-20k", 20_000),
        "preferences-4k" => karpenter::preferring(settings, "preferences-4k", 4_000),
        "place-plain-10k" => place::plain(settings, "place-plain-10k", 100_000, 10_000),
        "place-plain-130k" => place::plain(settings, "place-plain-130k", 400_000, 130_000),
        "place-tied-10k" => place::tied(settings, "place-tied-10k", 100_000, 10_000),
        "gangs-10k" => place::gangs(settings, "gangs-10k", 2_500, 10_000),
        "replan-100" => place::replan(settings, "replan-100", 10_000),
        "consolidate-10k" => consolidate::sweep(settings, "consolidate-10k", (10_000, 60, false)),
        "consolidate-10k-full" => {
            consolidate::sweep(settings, "consolidate-10k-full", (10_000, 85, false))
        }
        "consolidate-10k-spread" => {
            consolidate::sweep(settings, "consolidate-10k-spread", (10_000, 60, true))
        }
        "cost" => cost::all(settings),
        "all" => ALL.iter().try_for_each(|figure| settings.run_apart(figure)),
        other => cost::one(settings, other),
    }
}
