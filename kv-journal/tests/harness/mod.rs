//! What the store's tests share.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

use std::collections::BTreeMap;
use std::sync::Arc;

use kv_journal::{
    Config, KeyRange, KeyValue, MemoryJournal, PutRequest, RangeRequest, Result, Store, WatchBatch,
};
use tokio::task::JoinHandle;

pub(crate) async fn open_memory() -> (Store, JoinHandle<Result<()>>) {
    let (store, driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    (store, tokio::spawn(driver))
}

/// Runs `work` while paused time stands still, even if `work` waits for a thread: a runtime that has
/// nothing to do lets time pass.
pub(crate) async fn still<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::task::yield_now() => {}
        }
    }
}

pub(crate) async fn put(store: &Store, key: &str, value: &str) -> u64 {
    let request = PutRequest::new(key.to_owned(), value.to_owned());
    store.put(request).await.unwrap().revision
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn kv(key: &str, value: &str) -> (String, String) {
    (key.into(), value.into())
}

pub(crate) fn pair(kv: &KeyValue) -> (String, String) {
    (text(kv.key()), text(kv.value()))
}

pub(crate) fn event_keys(batch: &WatchBatch) -> String {
    batch.events.iter().map(|event| text(event.kv.key())).collect()
}

/// All keys at every readable revision.
pub(crate) fn everything(store: &Store) -> BTreeMap<u64, Vec<KeyValue>> {
    let first = store.compact_revision().max(1);
    (first..=store.revision())
        .map(|revision| {
            let found = store.range(RangeRequest::new(KeyRange::all()).at(revision)).unwrap();
            (revision, found.kvs.iter().map(KeyValue::clone).collect())
        })
        .collect()
}

/// The versions that some readable revision sees, and the deletes after the compaction.
pub(crate) fn reachable_versions(store: &Store) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    let mut deletes = 0;
    let mut before: Vec<bytes::Bytes> = Vec::new();
    for kvs in everything(store).into_values() {
        let keys: Vec<_> = kvs.iter().map(KeyValue::key_bytes).collect();
        deletes += before.iter().filter(|key| !keys.contains(key)).count() as u64;
        before = keys;
        seen.extend(kvs.into_iter().map(|kv| (kv.key_bytes(), kv.mod_revision())));
    }
    seen.len() as u64 + deletes
}
