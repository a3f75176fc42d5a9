//! Plans from files: which pod goes where, what to launch for the rest, what it costs, and how
//! little any plan must cost.
//!
//! ```sh
//! cargo run --release --example provision -- --pods workloads/ --pools nodepools.yaml --explain
//! cargo run --release --example provision -- --pods openb_pod_list_default.csv \
//!   --catalog aws_instance_types.csv --deadline-ms 2000 --json plan.json --svg plan.svg
//! ```
//!
//! Every plan is checked by `validate`, and its lower bound by `verify`, before it is shown. Ctrl-C
//! ends the planning, and the best plan so far is shown; a second one ends the program.
//!
//! | exit code | what it says |
//! |---|---|
//! | 0 | every pod has a place |
//! | 1 | some pods have none |
//! | 2 | a flag or a file is wrong, or can't be written |
//! | 3 | the plan breaks a rule, or its lower bound is refuted: a bug of the planner |
//! | 130 | interrupted twice |

mod args;
mod check;
mod default_pool;
mod document;
mod drawing;
mod explanation;
mod inputs;
mod interrupt;
mod machine;
mod palette;
mod planning;
mod report;
mod svg;
mod text;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use trestle_examples::fail::{Context, Result};

use args::Args;
use check::Checked;
use inputs::Inputs;
use interrupt::Interrupt;
use planning::Planned;
use report::Outcome;

/// Plans of many pods allocate small pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of a plan with pods that have no place.
const UNPLACED: u8 = 1;
/// The exit code of a mistake in flags or files, as clap has it.
const MISTAKE: u8 = 2;
/// The exit code of a plan that must not be trusted.
const BROKEN: u8 = 3;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(fail) => {
            eprintln!("provision: {fail}");
            ExitCode::from(MISTAKE)
        }
    }
}

/// Reads, plans, checks and shows.
fn run(args: &Args) -> Result<ExitCode> {
    let inputs = Inputs::read(args)?;
    for note in &inputs.notes {
        eprintln!("provision: {note}");
    }
    let interrupt = Interrupt::listen()?;
    let input = &inputs.input;
    eprintln!(
        "provision: planning {} pods on {} nodes that exist and {} instance types",
        text::thousands(input.pods.len() as u64),
        text::thousands(input.nodes.len() as u64),
        text::thousands(input.instance_types.len() as u64),
    );
    let planned = Planned::of(input, args, &interrupt)?;
    let checked = Checked::of(input, &planned.plan);
    let outcome = Outcome::new(input, &planned, &checked);
    let explained = if args.explain { explanation::of(&outcome) } else { String::new() };
    show(&format!("{outcome}{explained}"))?;
    if let Some(broken) = checked.broken() {
        eprintln!("provision: {broken}");
        return Ok(ExitCode::from(BROKEN));
    }
    if let Some(path) = &args.json {
        let document = document::of(&outcome).context(|| "--json".to_owned())?;
        write("--json", path, &document)?;
    }
    if let Some(path) = &args.svg {
        write("--svg", path, &drawing::of(&outcome))?;
    }
    Ok(match planned.plan.unplaced.len() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(UNPLACED),
    })
}

/// Whoever reads may stop at any time, as `head` does.
fn show(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context(|| "the standard output can't be written".to_owned())
        }
        _ => Ok(()),
    }
}

fn write(flag: &str, path: &Path, content: &str) -> Result<()> {
    let said = || format!("{flag} {} can't be written, name another path", path.display());
    fs::write(path, content).context(said)
}
