//! The full stack in one process: a store, a cache, a provisioner, a registry with lazily read
//! images, and DNS, joined as in production and driven with real input.
//!
//! ```sh
//! cargo run --release --example full-stack
//! cargo run --release --example full-stack -- --nodes 1000 --pods openb_pod_list_default.csv
//! ```

mod args;
mod check;
mod fleet;
mod image;
mod inputs;
mod names;
mod progress;
mod registry;
mod report;
mod run;
mod scheduler;
mod summary;
mod tasks;
mod timed;

use std::process::ExitCode;
use std::time::Duration;

use args::{Args, ArgsEnd};
use report::Report;
use trestle_examples::fail::{Context, Fail, Result};

/// The exit code of a command line that is wrong, as clap has it.
const MISTAKE: u8 = 2;
/// The exit code of a run that was interrupted: 128 and SIGINT's number, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(ArgsEnd::Shown(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(ArgsEnd::Mistake(line)) => {
            eprintln!("full-stack: {line}");
            return ExitCode::from(MISTAKE);
        }
    };
    match end(&args) {
        Ok(None) => {
            progress::clear_line();
            eprintln!("full-stack: interrupted; what was acknowledged is in the journal");
            ExitCode::from(INTERRUPTED)
        }
        Ok(Some(report)) => conclude(&report),
        Err(fail) => {
            progress::clear_line();
            eprintln!("full-stack: {fail}");
            ExitCode::FAILURE
        }
    }
}

/// Runs to the end or to Ctrl-C, which gives `None`.
fn end(args: &Args) -> Result<Option<Report>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context(|| "runtime".to_owned())?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = run::run(args) => report.map(Some),
            // Without a handler for the signal it ends the process, as it does by default.
            Ok(()) = tokio::signal::ctrl_c() => Ok(None),
        }
    });
    // Tasks that are still waiting hold nothing that must be written.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let report = report?;
    if let (Some(report), Some(path)) = (&report, &args.json) {
        let name = || format!("--json {}", path.display());
        let json = serde_json::to_string_pretty(report).context(name)?;
        std::fs::write(path, json + "\n").context(name)?;
    }
    Ok(report)
}

fn conclude(report: &Report) -> ExitCode {
    print!("{report}");
    match report.violations {
        0 => ExitCode::SUCCESS,
        n => {
            let fail =
                Fail::new(format!("{n} invariants are broken, the first: {}", report.broken[0]));
            eprintln!("full-stack: {fail}");
            ExitCode::FAILURE
        }
    }
}
