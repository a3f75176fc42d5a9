//! From the flags to a server, and its orderly end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kv_journal::etcd_server::{AutoCompaction, EtcdServer, ServerConfig, Tls, open_snapshot};
use kv_journal::{
    Components, Config, Driver, FileCheckpoints, FileCheckpointsConfig, FileConfig, FileJournal,
    Store,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use trestle_examples::fail::{Context, Fail, Result};

use super::args::{Args, CompactionMode};
use super::auth_token;
use super::duration;
use super::log::Log;

/// How often the files of the certificate are looked at again.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);
/// etcd's unit of a retention without one.
const HOUR: Duration = Duration::from_secs(3600);

/// Runs the server until SIGTERM or SIGINT.
pub(crate) fn run(args: &Args, log: Log) -> Result<()> {
    let compaction = auto_compaction(args)?;
    let config = server_config(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context(|| "runtime".to_owned())?;
    let served = runtime.block_on(serve(args, config, compaction, log));
    // Tasks that are still waiting hold nothing that must be written.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(
    args: &Args,
    config: ServerConfig,
    compaction: AutoCompaction,
    log: Log,
) -> Result<()> {
    let mut ends = Ends::new()?;
    let listeners = bind(args).await?;
    let tls = args.cert_file.is_some().then(|| Certificates::load(args)).transpose()?;
    let (store, driver) = open(args, log).await?;
    let driver = tokio::spawn(driver);
    let server = EtcdServer::open(Arc::new(store.clone()), config, |task| {
        tokio::spawn(task);
    });
    let server = server.await.context(|| "server".to_owned())?;

    let mut running = JoinSet::new();
    for (listener, url) in listeners {
        let (server, tls) = (server.clone(), tls.as_ref().map(|files| files.tls.clone()));
        log.info("ready to serve client requests", &[("address", &url)]);
        running.spawn(async move {
            match tls.filter(|_| url.tls) {
                Some(tls) => server.serve_tls(listener, &tls).await,
                None => server.serve(listener).await,
            }
        });
    }
    let compacting = server.clone();
    running.spawn(async move { compacting.auto_compact(compaction).await });
    if let Some(files) = tls {
        tokio::spawn(async move { files.follow(log).await });
    }

    let why = tokio::select! {
        signal = ends.next() => signal,
        () = store.closed() => "the store has failed",
    };
    log.info("stopping", &[("why", &why)]);
    server.shut_down();
    while running.join_next().await.is_some() {}
    drop((server, store));
    let ended = driver.await.context(|| "driver".to_owned())?;
    ended.context(|| "store".to_owned())?;
    log.info("stopped", &[]);
    Ok(())
}

async fn bind(args: &Args) -> Result<Vec<(TcpListener, super::url::ListenUrl)>> {
    let mut listeners = Vec::new();
    for url in args.listen_client_urls.iter().chain(&args.listen_metrics_urls) {
        let listener = TcpListener::bind(&url.authority).await;
        listeners.push((listener.context(|| format!("listen on {url}"))?, url.clone()));
    }
    Ok(listeners)
}

async fn open(args: &Args, log: Log) -> Result<(Store, Driver)> {
    let data_dir = data_dir(args);
    let said = || format!("data folder {}", data_dir.display());
    let journal = FileJournal::open(data_dir.join("journal"), FileConfig::default()).await;
    let journal = journal.context(said)?;
    if let Some(torn) = &journal.report().torn {
        let bytes = torn.bytes;
        log.warn(
            "cut a write that was never acknowledged",
            &[("segment", &torn.segment), ("bytes", &bytes)],
        );
    }
    let checkpoints =
        FileCheckpoints::open(data_dir.join("checkpoints"), FileCheckpointsConfig::default()).await;
    let checkpoints = checkpoints.context(said)?;
    let components = Components::new(Arc::new(journal)).checkpoints(Arc::new(checkpoints));
    let config = store_config(args);
    let opened = match &args.restore {
        None => Store::open_with(components, config).await.context(said)?,
        Some(path) => {
            let said = || format!("--restore {}", path.display());
            let file = std::fs::File::open(path).context(said)?;
            let snapshot = open_snapshot(file).context(said)?;
            Store::import(components, snapshot, config).await.context(said)?
        }
    };
    let recovery = opened.0.recovery();
    log.info(
        "recovered the store",
        &[
            ("data-dir", &data_dir.display()),
            ("revision", &opened.0.revision()),
            ("replayed-records", &recovery.replayed_records),
        ],
    );
    Ok(opened)
}

fn data_dir(args: &Args) -> PathBuf {
    args.data_dir.clone().unwrap_or_else(|| Path::new(&format!("{}.etcd", args.name)).to_owned())
}

fn store_config(args: &Args) -> Config {
    let mut config = Config::default();
    config.quota_bytes = match u64::try_from(args.quota_backend_bytes) {
        Ok(0) => Config::QUOTA_BYTES.default,
        Ok(bytes) => bytes,
        Err(_) => Config::QUOTA_BYTES.max,
    };
    config.request_bytes = args.max_request_bytes;
    config.key_bytes = args.max_request_bytes;
    config.value_bytes = args.max_request_bytes;
    config.txn_ops = args.max_txn_ops;
    let progress = args.watch_progress_notify_interval.as_millis();
    config.watch_progress_ms = u64::try_from(progress).unwrap_or(u64::MAX);
    config
}

fn server_config(args: &Args) -> Result<ServerConfig> {
    let mut config = ServerConfig::default();
    config.name.clone_from(&args.name);
    config.client_urls = if args.advertise_client_urls.is_empty() {
        args.listen_client_urls.iter().map(ToString::to_string).collect()
    } else {
        args.advertise_client_urls.clone()
    };
    config.max_request_bytes = args.max_request_bytes;
    config.max_txn_ops = args.max_txn_ops;
    config.extensive_metrics = args.metrics == "extensive";
    config.max_concurrent_streams = args.max_concurrent_streams;
    config.keep_alive_interval = args.grpc_keepalive_interval;
    config.keep_alive_timeout = args.grpc_keepalive_timeout;
    config.keep_alive_min_time = args.grpc_keepalive_min_time;
    let ttl = Duration::from_secs(args.auth_token_ttl.into());
    config.auth_token = auth_token::parse(&args.auth_token, ttl)
        .map_err(|why| Fail::new(format!("--auth-token: {why}")))?;
    config.bcrypt_cost = args.bcrypt_cost;
    config.common_name_is_user = args.client_cert_auth;
    Ok(config)
}

fn auto_compaction(args: &Args) -> Result<AutoCompaction> {
    let text = &args.auto_compaction_retention;
    let wrong = |why: String| Fail::new(format!("--auto-compaction-retention: {why}"));
    match args.auto_compaction_mode {
        CompactionMode::Revision => match text.parse() {
            Ok(0) => Ok(AutoCompaction::Off),
            Ok(kept) => Ok(AutoCompaction::Revision(kept)),
            Err(_) => Err(wrong(format!("`{text}` is no number of revisions"))),
        },
        CompactionMode::Periodic => {
            let hours = text.parse().ok().and_then(|hours| HOUR.checked_mul(hours));
            let period = hours.map_or_else(|| duration::parse(text).map_err(wrong), Ok)?;
            Ok(if period.is_zero() {
                AutoCompaction::Off
            } else {
                AutoCompaction::Periodic(period)
            })
        }
    }
}

/// The signals that end the server.
struct Ends {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ends {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context(|| "signals".to_owned());
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The files behind the listeners' TLS, which may be renewed while the server runs.
struct Certificates {
    tls: Tls,
    chain: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    loaded: Pem,
}

#[derive(PartialEq)]
struct Pem {
    chain: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Certificates {
    fn load(args: &Args) -> Result<Self> {
        let chain = args.cert_file.clone().unwrap_or_default();
        let key = args.key_file.clone().unwrap_or_default();
        let client_ca = args.trusted_ca_file.clone();
        let loaded = Self::read(&chain, &key, client_ca.as_deref())?;
        let tls = Tls::new(&loaded.chain, &loaded.key, loaded.client_ca.as_deref());
        let tls = tls.context(|| "TLS".to_owned())?;
        Ok(Self { tls, chain, key, client_ca, loaded })
    }

    fn read(chain: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Pem> {
        let read = |flag: &str, path: &Path| {
            std::fs::read(path).context(|| format!("{flag} {}", path.display()))
        };
        Ok(Pem {
            chain: read("--cert-file", chain)?,
            key: read("--key-file", key)?,
            client_ca: client_ca.map(|path| read("--trusted-ca-file", path)).transpose()?,
        })
    }

    /// Takes what the files hold now, whenever that has changed and is good.
    async fn follow(mut self, log: Log) {
        loop {
            tokio::time::sleep(CERTIFICATE_CHECK).await;
            let Ok(now) = Self::read(&self.chain, &self.key, self.client_ca.as_deref()) else {
                continue;
            };
            if now == self.loaded {
                continue;
            }
            match self.tls.replace(&now.chain, &now.key, now.client_ca.as_deref()) {
                Ok(()) => log.info("took the renewed certificate", &[]),
                Err(error) => log.warn("kept the old certificate", &[("error", &error)]),
            }
            self.loaded = now;
        }
    }
}
