//! From the flags to a server, and its orderly end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kv_journal::{
    Components, Driver, FileCheckpoints, FileCheckpointsConfig, FileConfig, FileJournal,
    MemoryJournal, Store,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;
use trestle_examples::fail::{Context, Result};
use trestle_examples::glue::StoreSource;
use watch_cache::Cache;

use super::args::Args;
use super::server::{self, Server};

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn run(args: &Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context(|| "signals".to_owned())?;
    let mut interrupt = signal(SignalKind::interrupt()).context(|| "signals".to_owned())?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.context(|| format!("--listen {}", args.listen))?;
    let address = listener.local_addr().context(|| "listener".to_owned())?;

    let (store, driver) = open(args.data_dir.as_deref()).await?;
    let mut store_driver = tokio::spawn(driver);
    let source = Arc::new(StoreSource(store.clone()));
    let opened = Cache::open(source, server::schema(), cache_config(args));
    let (cache, driver) = opened.context(|| "cache".to_owned())?;
    let mut cache_driver = tokio::spawn(driver);
    cache.ready().await.context(|| "cache".to_owned())?;

    let compacting = compact(store.clone(), Duration::from_secs(args.compaction_interval_secs));
    println!("serving on http://{address}");
    let serving = Server::new(store, cache).serve(listener);
    // Whatever is not awaited is dropped here, and with it all handles.
    let early = tokio::select! {
        () = serving => None,
        () = compacting => None,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        joined = &mut store_driver => Some(ended("store", joined)),
        joined = &mut cache_driver => Some(ended("cache", joined)),
    };
    if let Some(early) = early {
        return early;
    }
    ended("cache", cache_driver.await)?;
    ended("store", store_driver.await)
}

/// How a driver ended.
fn ended<E: std::error::Error>(
    what: &str,
    joined: std::result::Result<std::result::Result<(), E>, JoinError>,
) -> Result<()> {
    joined.context(|| format!("{what}'s driver"))?.context(|| what.to_owned())
}

async fn open(data_dir: Option<&Path>) -> Result<(Store, Driver)> {
    let Some(data_dir) = data_dir else {
        let journal = Arc::new(MemoryJournal::new());
        let opened = Store::open(journal, kv_journal::Config::default()).await;
        return opened.context(|| "store".to_owned());
    };
    let said = || format!("--data-dir {}", data_dir.display());
    let journal = FileJournal::open(data_dir.join("journal"), FileConfig::default()).await;
    let journal = journal.context(said)?;
    let checkpoints =
        FileCheckpoints::open(data_dir.join("checkpoints"), FileCheckpointsConfig::default()).await;
    let checkpoints = checkpoints.context(said)?;
    let components = Components::new(Arc::new(journal)).checkpoints(Arc::new(checkpoints));
    Store::open_with(components, kv_journal::Config::default()).await.context(said)
}

fn cache_config(args: &Args) -> watch_cache::Config {
    let mut config = watch_cache::Config::default();
    config.prefixes = vec!["/registry/".into()];
    config.log_revisions = args.log_revisions;
    config.watchers = args.watchers;
    config.bookmark_interval = Duration::from_millis(args.bookmark_interval_ms);
    config.wait_timeout = Duration::from_millis(args.wait_timeout_ms);
    config
}

/// Compacts what is older than an interval, as the Kubernetes API server does. What readers may
/// still ask for is in the cache.
async fn compact(store: Store, interval: Duration) {
    let mut reached = store.revision();
    loop {
        tokio::time::sleep(interval).await;
        // What is compacted already, or cannot be now, is left for the next time.
        let _again = store.compact(reached).await;
        reached = store.revision();
    }
}
