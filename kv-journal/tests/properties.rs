//! Properties: named values beside the keys.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::sync::Arc;

use bytes::Bytes;
use harness::{open_memory, put};
use kv_journal::{
    Components, Config, ErrorKind, KeyRange, MemoryCheckpoints, MemoryJournal, PropertyChange,
    Store,
};

fn set(name: &'static str, value: &'static str) -> PropertyChange {
    PropertyChange::set(name, value)
}

fn expected() -> Vec<(Bytes, Bytes)> {
    [("a/1", "one"), ("a/2", ""), ("b", "three")].map(|(n, v)| (n.into(), v.into())).to_vec()
}

async fn write(store: &Store) {
    put(store, "a/key", "value").await;
    store.set_properties(vec![set("a/1", "zero"), set("gone", "soon")]).await.unwrap();
    let changes = vec![
        set("b", "three"),
        PropertyChange::remove("gone"),
        PropertyChange::remove("never there"),
        set("a/2", ""),
        set("a/1", "one"),
    ];
    store.set_properties(changes).await.unwrap();
}

#[tokio::test]
async fn properties_make_no_revision_and_no_reader_of_keys_sees_them() {
    let (store, _driver) = open_memory().await;
    write(&store).await;
    assert_eq!(store.revision(), 2);
    assert_eq!(store.range(KeyRange::all()).unwrap().count, 1);
    assert_eq!(store.properties(b"").unwrap(), expected());
    assert_eq!(store.properties(b"a/").unwrap(), expected()[..2]);
    assert!(store.properties(b"c").unwrap().is_empty());

    let (other, _driver) = open_memory().await;
    put(&other, "a/key", "value").await;
    assert_eq!(store.hash_kv(0).await.unwrap(), other.hash_kv(0).await.unwrap());
    assert!(store.stats().bytes > other.stats().bytes, "they count for the quota");
    let names = ["a/1", "a/2", "b"].map(PropertyChange::remove).to_vec();
    store.set_properties(names).await.unwrap();
    assert_eq!(store.stats().bytes, other.stats().bytes);
}

#[tokio::test]
async fn properties_outlive_restarts_checkpoints_and_exports() {
    let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
    let reopen = async || {
        let components = Components::new(Arc::new(journal.clone()));
        let components = components.checkpoints(Arc::new(checkpoints.clone()));
        let (store, driver) = Store::open_with(components, Config::default()).await.unwrap();
        tokio::spawn(driver);
        store
    };
    write(&reopen().await).await;
    let replayed = reopen().await;
    assert_eq!(replayed.properties(b"").unwrap(), expected());
    let bytes = replayed.stats().bytes;

    replayed.checkpoint().await.unwrap();
    let loaded = reopen().await;
    assert!(loaded.recovery().checkpoint.is_some());
    assert_eq!(loaded.properties(b"").unwrap(), expected());
    assert_eq!(loaded.stats().bytes, bytes);

    let export = loaded.snapshot().export();
    let elsewhere = Components::new(Arc::new(MemoryJournal::new()))
        .checkpoints(Arc::new(MemoryCheckpoints::new()));
    let (imported, driver) = Store::import(elsewhere, export, Config::default()).await.unwrap();
    tokio::spawn(driver);
    assert_eq!(imported.properties(b"").unwrap(), expected());
}

#[tokio::test]
async fn properties_without_a_name_or_too_long_are_refused() {
    let (store, _driver) = open_memory().await;
    let long = vec![7; Config::REQUEST_BYTES.default];
    for changes in [
        Vec::new(),
        vec![set("good", "v"), PropertyChange::set("", "v")],
        vec![PropertyChange::set("long", long)],
    ] {
        let refused = store.set_properties(changes).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
    assert!(store.properties(b"").unwrap().is_empty());
}
