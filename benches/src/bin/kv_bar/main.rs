//! The bar of `kv-journal`: one command for each figure.
//!
//! What is printed to standard output are lines of `name value unit`; the last one is the figure.
//! A rival runs in the same process run, in turns with what it is compared with, and its ratio
//! stands before. What it takes to understand a run goes to standard error.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "what is counted stays far below 2^52")]

mod compaction;
mod disk;
mod durable_puts;
mod get;
mod leases;
mod memory;
mod open;
mod recovery;
mod scan;
mod watch;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use benches::kv_journal::{Durability, Outcome};
use benches::settings::Settings;
use benches::{process, report};
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// Versions are allocated by one thread and freed by others, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures kv-journal against its bar. Every line of output is `name value unit`; the last one is
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
    /// Durable puts of 256 B embedded, thousands in flight, and etcd's over gRPC [bar: 300,000/s, 20 x]
    DurablePuts(durable_puts::Load),
    /// Reads of 10,000 hot keys, on one core [bar: 5,000,000/s]
    GetHot,
    /// Reads drawn evenly from 1M keys, on one core [bar: 1,000,000/s]
    GetUniform,
    /// A walk over a snapshot of 100,000 keys of 256 B [bar: 10 ms]
    #[command(name = "iterate-100k")]
    Iterate,
    /// The count of a prefix among 1M keys [bar: 5 us]
    CountPrefix,
    /// The 99th percentile of writes while 1M revisions are compacted, against without [bar: 1.2 x]
    #[command(name = "compaction-p99")]
    Compaction(compaction::Writes),
    /// A restart with 1M keys of 1 KiB [bar: 2 s]
    Recovery,
    /// Resident memory of 1M keys with values of 256 B, and etcd's [bar: 0.5 x]
    Memory(memory::Wait),
    /// One event to the sinks of 100,000 watchers of one prefix [bar: 10 ms]
    #[command(name = "fanout-100k")]
    Fanout,
    /// The matching of one event with the watchers of 1M keys [bar: 2 us]
    #[command(name = "match-1m")]
    Match,
    /// Durable puts of 256 B with a ledger over the journal, against without
    Ledger(durable_puts::Load),
    /// Renewals of leases, of which there are 1M, on one core
    LeaseRenewals,
    /// Every figure, one process after the other
    All,
    /// Opens the store in a directory and says how long it took and what it holds
    #[command(hide = true)]
    Open {
        /// Where it is.
        directory: PathBuf,
        /// It has checkpoints.
        #[arg(long)]
        checkpoints: bool,
    },
}

/// The figures of `all`.
const ALL: [&str; 12] = [
    "durable-puts",
    "get-hot",
    "get-uniform",
    "iterate-100k",
    "count-prefix",
    "compaction-p99",
    "recovery",
    "memory",
    "fanout-100k",
    "match-1m",
    "ledger",
    "lease-renewals",
];

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv-bar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let settings = &args.settings;
    if settings.huge_pages && std::env::var_os(HUGE_PAGES.0).is_none() {
        return Err(with_huge_pages().into());
    }
    match &args.figure {
        Figure::DurablePuts(load) => durable_puts::run(settings, load),
        Figure::GetHot => get::hot(settings),
        Figure::GetUniform => get::uniform(settings),
        Figure::Iterate => scan::iterate(settings),
        Figure::CountPrefix => scan::count(settings),
        Figure::Compaction(writes) => compaction::run(settings, writes),
        Figure::Recovery => recovery::run(settings),
        Figure::Memory(wait) => memory::run(settings, wait),
        Figure::Ledger(load) => durable_puts::ledger(settings, load),
        Figure::LeaseRenewals => leases::run(settings),
        Figure::All => ALL.iter().try_for_each(|figure| settings.run_apart(figure)),
        Figure::Open { directory, checkpoints } => {
            let durability =
                if *checkpoints { Durability::Checkpoints } else { Durability::Journal };
            open::run(directory, durability)
        }
        Figure::Fanout => watch::fanout(settings),
        Figure::Match => watch::matching(settings),
    }
}

/// Tells the allocator, which reads it at start, to ask for huge pages.
const HUGE_PAGES: (&str, &str) = ("MIMALLOC_ALLOW_LARGE_OS_PAGES", "1");

/// Starts this program anew in this process; returns only if that fails.
fn with_huge_pages() -> std::io::Error {
    match std::env::current_exe() {
        Ok(program) => Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(HUGE_PAGES.0, HUGE_PAGES.1)
            .exec(),
        Err(error) => error,
    }
}
