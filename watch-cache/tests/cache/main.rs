//! The cache over a memory source, with and without faults, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::future_not_send,
    reason = "a test fails by panicking, and runs on one thread"
)]

mod faults;
mod freshness;
mod lists;
mod model;
mod shutdown;
mod sinks;
mod watches;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use watch_cache::{
    Cache, Config, Driver, ErrorKind, FaultSource, Index, MemorySource, Object, ProgressMode,
    Source, WatchEvent, Watcher,
};

/// Values are `node` or `node:rest`; an empty node is no node.
fn node_of(value: &[u8]) -> Option<&[u8]> {
    value.split(|byte| *byte == b':').next().filter(|node| !node.is_empty())
}

fn by_node() -> Vec<Index> {
    vec![Index::new("node", |object| node_of(&object.value).map(Cow::Borrowed))]
}

/// A store, faults over it, and a cache that follows them.
struct World {
    store: Arc<MemorySource>,
    faults: Arc<FaultSource>,
    cache: Cache,
    driver: tokio::task::JoinHandle<watch_cache::Result<()>>,
}

fn open(
    mode: ProgressMode,
    config: Config,
) -> (Arc<MemorySource>, Arc<FaultSource>, Cache, Driver) {
    let store = Arc::new(MemorySource::with_progress(mode));
    let below: Arc<dyn Source> = store.clone();
    let faults = Arc::new(FaultSource::new(below));
    let (cache, driver) = Cache::open(faults.clone(), by_node(), config).unwrap();
    (store, faults, cache, driver)
}

#[expect(clippy::disallowed_methods, reason = "a test spawns the driver, as a caller does")]
fn spawn(driver: Driver) -> tokio::task::JoinHandle<watch_cache::Result<()>> {
    tokio::spawn(driver)
}

async fn world_of(mode: ProgressMode, config: Config) -> World {
    let (store, faults, cache, driver) = open(mode, config);
    let driver = spawn(driver);
    cache.ready().await.unwrap();
    World { store, faults, cache, driver }
}

async fn world() -> World {
    world_of(ProgressMode::Pushed, Config::default()).await
}

impl World {
    async fn put(&self, key: &'static str, value: &'static str) -> u64 {
        let revision = self.store.put(key, value);
        self.cache.wait_for(revision).await.unwrap();
        revision
    }

    async fn delete(&self, key: &'static str) -> u64 {
        let revision = self.store.delete(key);
        self.cache.wait_for(revision).await.unwrap();
        revision
    }
}

/// Everything that the watcher has to say by now, in virtual time.
async fn drain(watcher: &mut Watcher) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    while let Ok(Some(event)) =
        tokio::time::timeout(Duration::from_millis(50), watcher.next()).await
    {
        events.push(event.unwrap());
    }
    events
}

async fn next_error(watcher: &mut Watcher) -> ErrorKind {
    let item = watcher.next().await.expect("an item");
    let kind = item.expect_err("an error").kind();
    assert!(watcher.next().await.is_none(), "an error is the last item");
    kind
}

/// Kind, key and revision of events, short enough to compare with.
fn brief(events: &[WatchEvent]) -> Vec<String> {
    let name = |event: &WatchEvent| match event {
        WatchEvent::Added { object, .. } => format!("+{}", text(object.key())),
        WatchEvent::Modified { object, .. } => format!("~{}", text(object.key())),
        WatchEvent::Deleted { previous, .. } => format!("-{}", text(previous.key())),
        WatchEvent::Bookmark { initial_end: true, .. } => "end".to_owned(),
        WatchEvent::Bookmark { .. } => "mark".to_owned(),
    };
    events.iter().map(|event| format!("{}@{}", name(event), event.revision())).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn keys(objects: &[Object]) -> Vec<String> {
    objects.iter().map(|object| text(object.key())).collect()
}
