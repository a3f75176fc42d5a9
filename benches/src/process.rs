//! What the system says of a process.

use crate::kv_journal::Outcome;

/// A process's resident memory in MiB, from `/proc`.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// `VmRSS`.
    pub total: f64,
    /// `RssAnon`: without mapped files, which the system may drop and read again.
    pub anonymous: f64,
}

impl Resident {
    /// Of a process that runs.
    ///
    /// # Errors
    /// If there is no such process, or not on Linux.
    pub fn of(pid: u32) -> Outcome<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Outcome<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            Ok(kib.ok_or_else(|| format!("/proc has no {name}"))?.parse::<f64>()? / 1024.0)
        };
        Ok(Self { total: field("VmRSS:")?, anonymous: field("RssAnon:")? })
    }
}

/// The processor time that a process has taken, in seconds.
///
/// On a machine that is shared this says more of a load than its rate.
///
/// # Errors
/// If there is no such process, or not on Linux.
pub fn cpu_secs(pid: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything; after it come the fields from the third on.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>);
    let ticks = ticks.sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SEC)
}

/// Linux tells user space a hundredth of a second, whatever its own tick is.
const TICKS_PER_SEC: f64 = 100.0;
