//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Runs a whole control plane in one process and drives it with real input: nodes register, pods
/// are written, planned, bound, started from a lazily read image, and resolve their services.
#[derive(Debug, Clone, Parser)]
#[command(name = "full-stack", version)]
pub(crate) struct Args {
    /// Nodes that exist before the first pod arrives.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) nodes: u32,

    /// Pods as a CSV file in openb's form; without it a built-in mix of shapes is used.
    #[arg(long, value_name = "FILE")]
    pub(crate) pods: Option<PathBuf>,

    /// How many pods of the built-in mix to write.
    #[arg(long, value_name = "N", default_value_t = 5_000, conflicts_with = "pods",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) pods_count: u32,

    /// Instance types as a CSV file; without it the built-in table is used.
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,

    /// The image layer (`.tar.gz`); without it one is built from files of this machine.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,

    /// Where the journal is kept; without it a temporary folder is used and removed.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Writes the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Appends a line `revision key` for each write that was acknowledged.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,

    /// UDP and TCP address of the DNS server; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) dns_listen: SocketAddr,

    /// TCP address of the image registry; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) registry_listen: SocketAddr,

    /// Clients that write nodes and pods at the same time.
    #[arg(long, value_name = "N", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) writers: u32,

    /// The seed of the built-in pods and of every other choice.
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
}

impl Args {
    /// Reads the command line; what clap has to say about a mistake comes back as one line.
    pub(crate) fn read() -> Result<Self, ArgsEnd> {
        Self::try_parse().map_err(|error| {
            if error.use_stderr() {
                let text = error.render().to_string();
                let line = text.lines().next().unwrap_or_default();
                let line = line.strip_prefix("error: ").unwrap_or(line);
                ArgsEnd::Mistake(format!("{line} (--help lists the flags)"))
            } else {
                ArgsEnd::Shown(error.render().to_string())
            }
        })
    }
}

/// Why the command line ends the run.
pub(crate) enum ArgsEnd {
    /// Help or version was asked for.
    Shown(String),
    /// A flag is wrong.
    Mistake(String),
}
