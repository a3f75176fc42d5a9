//! The bar of `watch-cache`: one command for each figure.
//!
//! What is printed to standard output are lines of `name value unit`; the last one is the figure.
//! A rival runs in the same process run, in turns with what it is compared with, and its ratio
//! stands before. What it takes to understand a run goes to standard error.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "what is counted stays far below 2^52")]

mod apply;
mod consistent;
mod fan_out;
mod list;
mod memory;
mod one_of;
mod reflector;
mod restart;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use benches::kv_journal::Outcome;
use benches::settings::Settings;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// Versions are allocated by one thread and freed by others, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures watch-cache against its bar. Every line of output is `name value unit`; the last one is
/// the figure that was asked for.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    figure: Figure,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Figure {
    /// Events applied to 1M objects of 1 KB, with 10,000 watchers, two indexes, and lists meanwhile [bar: 300,000/s]
    Apply,
    /// A list of 1M objects of 1 KB, on one core [bar: 0.25 s]
    #[command(name = "list-1m")]
    List,
    /// Until the first byte of a list of 1M objects of 1 KB can be read [bar: 1 ms]
    FirstByte,
    /// A page of 500 out of 1M objects, at any retained revision [bar: 100 us]
    #[command(name = "page-500")]
    Page,
    /// Resident memory of 1M objects of 1 KB, against their size on a wire [bar: 1.3 x]
    Memory,
    /// One event to 130,000 watchers of the same, until the last has it [bar: 10 ms]
    FanOut,
    /// An event for one of 130,000 watchers, against a bare channel: the 99th percentiles [bar: 2 x]
    OneOf,
    /// Deliveries to 10,000 sinks by one pump, driver and all on one core [bar: 20M/s]
    Deliveries,
    /// Consistent reads by 100 at once: the 99th percentile, less a round trip to the source [bar: 2 ms]
    #[command(name = "consistent-100")]
    ConsistentFew,
    /// Consistent reads by 10,000 at once: the 99th percentile, less two round trips [bar: 10 ms]
    #[command(name = "consistent-10k")]
    ConsistentMany,
    /// What a pod takes in kube-rs's reflector store, against a cache; and what both do with pods
    Reflector,
    /// From a checkpoint of 1M objects of 1 KB and a full log until ready [bar: 1 s]
    Restart,
    /// Writes the checkpoint of `restart`
    #[command(hide = true)]
    RestartSave { file: PathBuf, events: u32 },
    /// Begins from it
    #[command(hide = true)]
    RestartBegin { file: PathBuf, events: u32 },
    /// Every figure, one process after the other
    All,
}

/// The figures of `all`.
const ALL: [&str; 12] = [
    "apply",
    "list-1m",
    "first-byte",
    "page-500",
    "memory",
    "fan-out",
    "one-of",
    "deliveries",
    "consistent-100",
    "consistent-10k",
    "reflector",
    "restart",
];

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watch-bar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let settings = &args.settings;
    match &args.figure {
        Figure::Apply => apply::run(settings),
        Figure::List => list::whole(settings),
        Figure::Page => list::page(settings),
        Figure::FirstByte => list::first(settings),
        Figure::ConsistentFew => consistent::run(settings, "consistent-100", 100, 1.0),
        Figure::ConsistentMany => consistent::run(settings, "consistent-10k", 10_000, 2.0),
        Figure::Reflector => reflector::run(settings),
        Figure::Memory => memory::run(settings),
        Figure::FanOut => fan_out::run(settings),
        Figure::OneOf => one_of::run(settings),
        Figure::Deliveries => fan_out::deliveries(settings),
        Figure::Restart => restart::run(settings),
        Figure::RestartSave { file, events } => restart::save(settings, file, *events),
        Figure::RestartBegin { file, events } => restart::begin(settings, file, *events),
        Figure::All => ALL.iter().try_for_each(|figure| settings.run_apart(figure)),
    }
}
