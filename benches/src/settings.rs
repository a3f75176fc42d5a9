//! What every figure of a bar is run with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;

use crate::kv_journal::Outcome;

/// How large, how often and where.
#[derive(Args, Debug, Clone)]
pub struct Settings {
    /// Multiplies every count and every duration; only 1 measures the bar
    #[arg(long, global = true, default_value_t = 1.0)]
    scale: f64,
    /// How often each side is measured; the medians count
    #[arg(long, global = true, default_value_t = 5)]
    pub rounds: usize,
    /// A folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// Run with the allocator on huge pages
    #[arg(long, global = true)]
    pub huge_pages: bool,
}

impl Settings {
    /// A count at full scale, made smaller with the scale.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "counts are some millions"
    )]
    pub fn count(&self, full: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(1)
    }

    /// A duration at full scale, made shorter with the scale.
    #[must_use]
    pub fn duration(&self, full: Duration) -> Duration {
        full.mul_f64(self.scale)
    }

    /// A new folder on the disk to measure, removed with the value.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn temp_dir(&self) -> Outcome<TempDir> {
        Ok(match &self.dir {
            Some(dir) => TempDir::new_in(dir)?,
            None => TempDir::new()?,
        })
    }

    /// Runs one figure of this program in a process of its own, so that none inherits the memory of
    /// another.
    ///
    /// # Errors
    /// If it cannot be started, or fails.
    pub fn run_apart(&self, figure: &str) -> Outcome<()> {
        eprintln!("== {figure}");
        let status =
            Command::new(std::env::current_exe()?).arg(figure).args(self.to_args()).status()?;
        if status.success() { Ok(()) } else { Err(format!("{figure} ended with {status}").into()) }
    }

    /// The arguments that give another process the same settings.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            "--scale".into(),
            self.scale.to_string().into(),
            "--rounds".into(),
            self.rounds.to_string().into(),
        ];
        if let Some(dir) = &self.dir {
            args.extend(["--dir".into(), dir.into()]);
        }
        if self.huge_pages {
            args.push("--huge-pages".into());
        }
        args
    }
}
