//! Opening a store that is there, as a process of its own: its time and its memory are then those
//! of a restart.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use benches::kv_journal::{Durability, Outcome, Running, runtime};
use bytes::Bytes;

use super::process::Resident;

/// What a process that opened a store says about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened {
    /// What opening the journal and the store took.
    pub(crate) secs: f64,
    /// The process's resident memory with the store open.
    pub(crate) resident: Resident,
    /// Keys in the store.
    pub(crate) keys: u64,
}

impl Opened {
    /// Everything that was put must be there.
    pub(crate) fn check_keys(&self, put: &[Bytes]) -> Outcome<()> {
        check_keys(self.keys, put)
    }
}

/// Everything that was put must have been found.
pub(crate) fn check_keys(found: u64, put: &[Bytes]) -> Outcome<()> {
    if found == put.len() as u64 {
        return Ok(());
    }
    Err(format!("{} keys were put and {found} are there", put.len()).into())
}

/// Opens the store in `directory` in a process of its own, and ends it.
pub(crate) fn apart(directory: &Path, durability: Durability) -> Outcome<Opened> {
    let checkpoints = (durability == Durability::Checkpoints).then_some("--checkpoints");
    let child = Command::new(std::env::current_exe()?)
        .arg("open")
        .arg(directory)
        .args(checkpoints)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output()?;
    let words = String::from_utf8(output.stdout)?;
    match words.split_whitespace().collect::<Vec<_>>()[..] {
        [secs, total, anonymous, keys] if output.status.success() => Ok(Opened {
            secs: secs.parse()?,
            resident: Resident { total: total.parse()?, anonymous: anonymous.parse()? },
            keys: keys.parse()?,
        }),
        _ => Err(format!("the process that was to open the store ended: {}", output.status).into()),
    }
}

/// The process's own side: opens, and prints what [`apart`] reads.
pub(crate) fn run(directory: &Path, durability: Durability) -> Outcome<()> {
    let runtime = runtime()?;
    let start = Instant::now();
    let running = runtime.block_on(Running::open_file(directory, durability))?;
    let secs = start.elapsed().as_secs_f64();
    let Resident { total, anonymous } = Resident::of(std::process::id())?;
    let keys = running.store.stats().keys;
    println!("{secs} {total} {anonymous} {keys}");
    // The process ends here: taking the state apart is not what is measured.
    std::process::exit(0)
}
