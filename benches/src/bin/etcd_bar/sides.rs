//! The server and its rival, each on a disk folder of its own.

use std::path::{Path, PathBuf};

use benches::etcd::Etcd;
use benches::kv_journal::Outcome;
use benches::load::{Load, Report};
use benches::process;
use tempfile::TempDir;

use super::Settings;

/// One of the two.
pub(super) struct Side {
    pub(super) name: &'static str,
    program: PathBuf,
    folder: PathBuf,
    server: Etcd,
}

/// Both, and their disk folder.
pub(super) struct Sides {
    pub(super) own: Side,
    pub(super) etcd: Side,
    pub(super) _folder: TempDir,
}

/// What a load did, and what it cost the server.
pub(super) struct Measured {
    pub(super) report: Report,
    /// Processor time of the server for each call, in microseconds.
    pub(super) cpu_us: f64,
}

impl Sides {
    pub(super) async fn start(settings: &Settings) -> Outcome<Self> {
        let folder = match &settings.dir {
            Some(dir) => TempDir::new_in(dir)?,
            None => TempDir::new()?,
        };
        let program = match &settings.server {
            Some(program) => program.clone(),
            None => beside_this_program()?,
        };
        let own = Side::start("own", program, folder.path()).await?;
        let etcd = Side::start("etcd", "etcd".into(), folder.path()).await?;
        Ok(Self { own, etcd, _folder: folder })
    }

    /// Each is measured once, in an order that changes from round to round.
    pub(super) async fn in_turns(&self, round: usize, load: &str) -> Outcome<(Measured, Measured)> {
        if round.is_multiple_of(2) {
            let own = self.own.load(load).await?;
            Ok((own, self.etcd.load(load).await?))
        } else {
            let etcd = self.etcd.load(load).await?;
            Ok((self.own.load(load).await?, etcd))
        }
    }
}

fn beside_this_program() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?;
    let server = program.with_file_name("examples").join("etcd-server");
    if server.exists() {
        return Ok(server);
    }
    Err(format!(
        "there is no {}: run `cargo build --release --example etcd-server`, or name it with --server",
        server.display()
    )
    .into())
}

impl Side {
    async fn start(name: &'static str, program: PathBuf, folder: &Path) -> Outcome<Self> {
        let folder = folder.join(name);
        std::fs::create_dir(&folder)?;
        let server = serve(&program, &folder).await?;
        Ok(Self { name, program, folder, server })
    }

    /// Ends it and starts it anew on its data.
    pub(super) async fn restarted(self) -> Outcome<Self> {
        let Self { name, program, folder, server } = self;
        drop(server);
        let server = serve(&program, &folder).await?;
        Ok(Self { name, program, folder, server })
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Loads it as a line of `etcd-load` says.
    pub(super) async fn load(&self, line: &str) -> Outcome<Measured> {
        let line = format!("{line} --endpoint {}", self.server.address());
        let load = Load::of_line(&line)?;
        let before = process::cpu_secs(self.pid())?;
        let report = load.begin().await?.finish().await?;
        let cpu = process::cpu_secs(self.pid())? - before;
        if !report.is_good() {
            return Err(format!("{}: {line}:\n{report}", self.name).into());
        }
        // A watch counts events, not puts.
        #[expect(clippy::cast_precision_loss, reason = "calls stay far below 2^52")]
        let cpu_us = cpu * 1e6 / report.ops as f64;
        Ok(Measured { report, cpu_us })
    }
}

async fn serve(program: &Path, folder: &Path) -> Outcome<Etcd> {
    let started = Etcd::start_program(program, folder, &[]).await?;
    started.ok_or_else(|| format!("{} is needed: install it", program.display()).into())
}
