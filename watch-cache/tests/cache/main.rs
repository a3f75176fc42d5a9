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
mod memory;
mod model;
#[cfg(feature = "metrics")]
mod recorded;
mod relay;
mod restart;
mod selectors;
mod shutdown;
mod simulated;
mod sinks;
mod validated;
mod verify;
mod watches;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use watch_cache::{
    Cache, Codec, Config, Driver, Encoded, ErrorKind, FaultSource, Index, MemorySource, Object,
    ProgressMode, Schema, Source, WatchEvent, Watcher,
};

/// Values are `node` or `node:rest`; an empty node is no node.
fn node_of(value: &[u8]) -> Option<&[u8]> {
    value.split(|byte| *byte == b':').next().filter(|node| !node.is_empty())
}

/// What comes after the node, if it is a number.
fn rest_of(value: &[u8]) -> Option<u64> {
    let rest = value.split(|byte| *byte == b':').nth(1)?;
    std::str::from_utf8(rest).ok()?.parse().ok()
}

/// The last part of a key.
fn name_of(key: &[u8]) -> &[u8] {
    key.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The node as a label and as a field, whether the rest is odd as a label, and the name as a field.
struct TestCodec;

impl Codec for TestCodec {
    fn field<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
        match name {
            "node" => node_of(object.value).map(Cow::Borrowed),
            "name" => Some(Cow::Borrowed(name_of(object.key))),
            _ => None,
        }
    }

    fn label<'a>(&self, object: Encoded<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
        let odd = |rest| if rest % 2 == 1 { "odd" } else { "even" };
        match name {
            "node" => node_of(object.value).map(Cow::Borrowed),
            "parity" => rest_of(object.value).map(|rest| Cow::Owned(odd(rest).into())),
            _ => None,
        }
    }
}

fn by_node() -> Index {
    Index::new("node", |object| node_of(&object.value).map(Cow::Borrowed))
}

fn schema(indexes: Vec<Index>) -> Schema {
    indexes.into_iter().fold(Schema::new(TestCodec).index(by_node()), Schema::index)
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
    open_with(mode, config, schema(vec![]))
}

fn open_with(
    mode: ProgressMode,
    config: Config,
    schema: Schema,
) -> (Arc<MemorySource>, Arc<FaultSource>, Cache, Driver) {
    let store = Arc::new(MemorySource::with_progress(mode));
    let below: Arc<dyn Source> = store.clone();
    let faults = Arc::new(FaultSource::new(below));
    let (cache, driver) = Cache::open(faults.clone(), schema, config).unwrap();
    (store, faults, cache, driver)
}

#[expect(clippy::disallowed_methods, reason = "a test spawns the driver, as a caller does")]
fn spawn(driver: Driver) -> tokio::task::JoinHandle<watch_cache::Result<()>> {
    tokio::spawn(driver)
}

async fn world_of(mode: ProgressMode, config: Config) -> World {
    world_with(mode, config, schema(vec![])).await
}

async fn world_with(mode: ProgressMode, config: Config, schema: Schema) -> World {
    let (store, faults, cache, driver) = open_with(mode, config, schema);
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
        WatchEvent::Coalesced { key, object, .. } => {
            format!("{}{}", if object.is_some() { "=" } else { "/" }, text(key))
        }
        WatchEvent::Resumed { after, .. } => format!("after {after}"),
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
