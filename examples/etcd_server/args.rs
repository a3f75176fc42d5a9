//! The command line: etcd's flags, and its environment variables (`ETCD_DATA_DIR` for
//! `--data-dir`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};

use super::duration;
use super::foreign;
use super::log::Level;
use super::url::ListenUrl;

/// The etcd v3 API on a store of one node: keys in memory, a journal on disk. The flags mean what
/// they mean to etcd; its flags about peers are taken and ignored.
#[derive(Debug, Clone, Parser)]
#[command(name = "etcd-server", version)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of etcd")]
pub(crate) struct Args {
    /// The member's name.
    #[arg(long, env = "ETCD_NAME", default_value = "default")]
    pub(crate) name: String,

    /// Where journal and checkpoints are kept; without it `<name>.etcd` in the working folder.
    #[arg(long, env = "ETCD_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Where to listen for clients, separated by commas.
    #[arg(
        long,
        env = "ETCD_LISTEN_CLIENT_URLS",
        value_delimiter = ',',
        value_name = "URLS",
        default_value = "http://localhost:2379"
    )]
    pub(crate) listen_client_urls: Vec<ListenUrl>,

    /// Where clients find the member, for the list of members.
    #[arg(long, env = "ETCD_ADVERTISE_CLIENT_URLS", value_delimiter = ',', value_name = "URLS")]
    pub(crate) advertise_client_urls: Vec<String>,

    /// Where to listen for `/metrics`, `/health`, `/livez` and `/readyz` alone.
    #[arg(long, env = "ETCD_LISTEN_METRICS_URLS", value_delimiter = ',', value_name = "URLS")]
    pub(crate) listen_metrics_urls: Vec<ListenUrl>,

    /// What all retained versions may take, in bytes; 0 is 8 GiB, less is no limit.
    #[arg(
        long,
        env = "ETCD_QUOTA_BACKEND_BYTES",
        value_name = "BYTES",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) quota_backend_bytes: i64,

    /// What the retention means: a time or a number of revisions.
    #[arg(long, env = "ETCD_AUTO_COMPACTION_MODE", value_enum, default_value = "periodic")]
    pub(crate) auto_compaction_mode: CompactionMode,

    /// How much history is kept: `5m`, or hours without a unit; or revisions. 0 keeps all of it.
    #[arg(
        long,
        env = "ETCD_AUTO_COMPACTION_RETENTION",
        value_name = "RETENTION",
        default_value = "0"
    )]
    pub(crate) auto_compaction_retention: String,

    /// The largest write.
    #[arg(long, env = "ETCD_MAX_REQUEST_BYTES", value_name = "BYTES", default_value_t = 3 << 19)]
    pub(crate) max_request_bytes: usize,

    /// The most operations in a transaction.
    #[arg(long, env = "ETCD_MAX_TXN_OPS", value_name = "N", default_value_t = 128)]
    pub(crate) max_txn_ops: usize,

    /// Whether `/metrics` tells how long calls of each method take: `basic` or `extensive`.
    #[arg(long, env = "ETCD_METRICS", value_name = "DETAIL", default_value = "basic",
          value_parser = ["basic", "extensive"])]
    pub(crate) metrics: String,

    /// The most calls of one connection at a time.
    #[arg(long, env = "ETCD_MAX_CONCURRENT_STREAMS", value_name = "N",
          default_value_t = u32::MAX)]
    pub(crate) max_concurrent_streams: u32,

    /// A connection that was silent for so long is asked whether it is alive; 0 is never.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_INTERVAL", value_parser = duration::parse,
          default_value = "2h")]
    pub(crate) grpc_keepalive_interval: Duration,

    /// How long the answer to that may take.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_TIMEOUT", value_parser = duration::parse,
          default_value = "20s")]
    pub(crate) grpc_keepalive_timeout: Duration,

    /// How often a client may ask whether the server is alive; 0 is as often as it will.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_MIN_TIME", value_parser = duration::parse,
          default_value = "5s")]
    pub(crate) grpc_keepalive_min_time: Duration,

    /// How often watchers that asked for it are told how far they are.
    #[arg(long, env = "ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL", value_parser = duration::parse,
          default_value = "10m", alias = "experimental-watch-progress-notify-interval")]
    pub(crate) watch_progress_notify_interval: Duration,

    /// The server's certificate and its chain, in PEM.
    #[arg(long, env = "ETCD_CERT_FILE", value_name = "FILE", requires = "key_file")]
    pub(crate) cert_file: Option<PathBuf>,

    /// The certificate's key, in PEM.
    #[arg(long, env = "ETCD_KEY_FILE", value_name = "FILE", requires = "cert_file")]
    pub(crate) key_file: Option<PathBuf>,

    /// Who signs the certificates that clients must show, in PEM.
    #[arg(long, env = "ETCD_TRUSTED_CA_FILE", value_name = "FILE", requires = "cert_file")]
    pub(crate) trusted_ca_file: Option<PathBuf>,

    /// What clients show after they have authenticated: `simple`, or
    /// `jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m`.
    #[arg(long, env = "ETCD_AUTH_TOKEN", value_name = "TOKEN", default_value = "simple")]
    pub(crate) auth_token: String,

    /// How long a simple token lives that is not used, in seconds.
    #[arg(long, env = "ETCD_AUTH_TOKEN_TTL", value_name = "SECONDS", default_value_t = 300)]
    pub(crate) auth_token_ttl: u32,

    /// How much work the hash of a password is, as a power of two: 4 to 31.
    #[arg(long, env = "ETCD_BCRYPT_COST", value_name = "COST", default_value_t = 10)]
    pub(crate) bcrypt_cost: u32,

    /// Clients must show a certificate, whose common name is their user; so they must with a
    /// trusted CA in any case.
    #[arg(long, env = "ETCD_CLIENT_CERT_AUTH", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub(crate) client_cert_auth: bool,

    /// The least that is logged.
    #[arg(long, env = "ETCD_LOG_LEVEL", value_enum, default_value = "info")]
    pub(crate) log_level: Level,

    /// Starts from a snapshot that a client has saved; the data folder must be new. etcd has
    /// `etcdctl snapshot restore` for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) restore: Option<PathBuf>,

    /// Flags of etcd that were given and mean nothing here.
    #[arg(skip)]
    pub(crate) ignored: Vec<String>,
}

/// What `--auto-compaction-retention` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompactionMode {
    Periodic,
    Revision,
}

/// Why there is nothing to run.
pub(crate) enum ArgsEnd {
    /// Help or version was asked for.
    Shown(String),
    /// What is wrong.
    Mistake(String),
}

impl Args {
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsEnd> {
        let (known, experimental) = split_experimental(args);
        let matches = foreign::add_to(Self::command()).try_get_matches_from(known);
        let matches = matches.map_err(|error| shown(&error))?;
        let mut args = Self::from_arg_matches(&matches).map_err(|error| shown(&error))?;
        args.ignored = foreign::given(&matches);
        args.ignored.extend(experimental);
        args.check().map_err(ArgsEnd::Mistake)?;
        Ok(args)
    }

    fn check(&self) -> Result<(), String> {
        let tls = self.listen_client_urls.iter().any(|url| url.tls);
        if tls && self.cert_file.is_none() {
            return Err("an https listener needs --cert-file and --key-file".to_owned());
        }
        if self.client_cert_auth && self.trusted_ca_file.is_none() {
            return Err("--client-cert-auth needs --trusted-ca-file".to_owned());
        }
        if let Some(url) = self.listen_metrics_urls.iter().find(|url| url.tls) {
            return Err(format!("--listen-metrics-urls {url}: metrics are served over http alone"));
        }
        Ok(())
    }
}

/// etcd's experimental flags come and go; none is needed.
fn split_experimental(args: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut known, mut experimental) = (Vec::new(), Vec::new());
    for arg in args {
        match arg.to_str() {
            Some(text)
                if text.starts_with("--experimental-")
                    && !text.starts_with("--experimental-watch-progress-notify-interval") =>
            {
                experimental.push(text.to_owned());
            }
            _ => known.push(arg),
        }
    }
    (known, experimental)
}

fn shown(error: &clap::Error) -> ArgsEnd {
    let text = error.to_string();
    if error.use_stderr() { ArgsEnd::Mistake(text) } else { ArgsEnd::Shown(text) }
}
