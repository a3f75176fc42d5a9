//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Serves a Kubernetes-style API (pods, nodes, config maps, leases) over plain HTTP, from a
/// watch-cache over a kv-journal store. It has no authentication: let only those reach it who may
/// do everything.
#[derive(Debug, Clone, Parser)]
#[command(name = "api-server", version)]
pub(crate) struct Args {
    /// TCP address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where the journal and the checkpoints are kept; without it all is in memory alone.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// How many revisions can be listed and watched from.
    #[arg(long, value_name = "N", default_value_t = watch_cache::Config::LOG_REVISIONS.default)]
    pub(crate) log_revisions: usize,

    /// More watchers are refused.
    #[arg(long, value_name = "N", default_value_t = watch_cache::Config::WATCHERS.default)]
    pub(crate) watchers: usize,

    /// How often watchers that want bookmarks get one, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(crate) bookmark_interval_ms: u64,

    /// How long a read waits for its resource version, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 3_000)]
    pub(crate) wait_timeout_ms: u64,

    /// How often the store's history up to the last time is compacted, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) compaction_interval_secs: u64,
}
