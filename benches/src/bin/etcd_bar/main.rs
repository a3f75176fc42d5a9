//! The bar of the etcd server: one command for each figure.
//!
//! The example `etcd-server` and the etcd of `PATH` run on the same disk and are loaded in turns by
//! the generator of `etcd-load`. What is printed to standard output are lines of `name value unit`;
//! the last one is the figure, the ratio of the medians. Each round goes to standard error.
#![forbid(unsafe_code)]

mod figures;
mod memory;
mod offered;
mod sides;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use benches::kv_journal::Outcome;
use clap::{Args, Parser, Subcommand};
use figures::{Figure, Gauge};

/// Measures the etcd server against its bar. Every line of output is `name value unit`; the last one
/// is the figure that was asked for.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Asked,
    #[command(flatten)]
    settings: Settings,
}

/// How long, how often and where.
#[derive(Args, Debug, Clone)]
struct Settings {
    /// How often each side is measured; the medians count
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// How long a round is, in seconds
    #[arg(long, global = true, default_value_t = 3.0)]
    seconds: f64,
    /// How many keys there are; of `memory` ten times as many
    #[arg(long, global = true, default_value_t = 100_000)]
    keys: u64,
    /// A folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// The server [default: `examples/etcd-server` beside this program]
    #[arg(long, global = true)]
    server: Option<PathBuf>,
}

#[derive(Subcommand, Clone, Copy)]
enum Asked {
    /// Durable puts of one client [bar: 1 x]
    #[command(name = "put-1")]
    Put1,
    /// Durable puts of 100 clients on 10 connections [bar: 3 x]
    #[command(name = "put-100")]
    Put100,
    /// Durable puts of 1,000 clients on 50 connections [bar: 3 x]
    #[command(name = "put-1000")]
    Put1000,
    /// Linearizable reads of one key, 100 clients on 10 connections [bar: 3 x]
    Range,
    /// Lists of all keys, one client [bar: 5 x]
    List,
    /// Events of one writer to 1,000 watchers in 10 streams [bar: 3 x]
    Watch,
    /// The 99th percentile of puts that are offered at 70 % of what etcd can do [bar: 0.5 x]
    P99,
    /// Resident memory of a million keys of 256 B, after a restart [bar: 0.5 x]
    Memory,
    /// The server's processor time for a put, 100 clients [bar: 0.33 x]
    CpuPut,
    /// The server's processor time for a linearizable read, 100 clients [bar: 0.25 x]
    CpuRange,
    /// Every figure, one process after the other
    All,
}

/// The figures of `all`.
const ALL: [&str; 10] = [
    "put-1",
    "put-100",
    "put-1000",
    "range",
    "list",
    "watch",
    "p99",
    "memory",
    "cpu-put",
    "cpu-range",
];

const PUT_100: &str = "put --clients 100 --connections 10";
const RANGE_100: &str = "range --clients 100 --connections 10";

fn main() -> ExitCode {
    let line = Line::parse();
    match run(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("etcd-bar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: &Line) -> Outcome<()> {
    let settings = &line.settings;
    if matches!(line.command, Asked::All) {
        return ALL.iter().try_for_each(|figure| run_apart(figure));
    }
    benches::load::runtime(1)?.block_on(measure(line.command, settings))
}

async fn measure(asked: Asked, settings: &Settings) -> Outcome<()> {
    let figure = |name, load, gauge| Figure { name, load, gauge };
    let figure = match asked {
        Asked::Put1 => figure("put-1", "put --clients 1", Gauge::Rate),
        Asked::Put100 => figure("put-100", PUT_100, Gauge::Rate),
        Asked::Put1000 => figure("put-1000", "put --clients 1000 --connections 50", Gauge::Rate),
        Asked::Range => figure("range", RANGE_100, Gauge::Rate),
        Asked::List => figure("list", "list --clients 1", Gauge::Rate),
        Asked::Watch => {
            figure("watch", "watch --clients 1 --watchers 1000 --streams 10", Gauge::Rate)
        }
        Asked::CpuPut => figure("cpu-put", PUT_100, Gauge::Processor),
        Asked::CpuRange => figure("cpu-range", RANGE_100, Gauge::Processor),
        Asked::P99 => return offered::run(settings).await,
        Asked::Memory => return memory::run(settings).await,
        Asked::All => return Ok(()),
    };
    figure.run(settings).await
}

/// Runs one figure in a process of its own, with the arguments of this one.
fn run_apart(figure: &str) -> Outcome<()> {
    eprintln!("== {figure}");
    let own = std::env::args_os().skip(1).map(|arg| if arg == "all" { figure.into() } else { arg });
    let status = Command::new(std::env::current_exe()?).args(own).status()?;
    if status.success() { Ok(()) } else { Err(format!("{figure} ended with {status}").into()) }
}
