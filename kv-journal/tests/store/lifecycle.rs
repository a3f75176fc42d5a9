//! Opening, taking over and closing.

use std::error::Error as _;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use kv_journal::{Config, ErrorKind, KeyRange, MemoryJournal, PutRequest, Store, Txn};

use crate::harness::{self, put};

#[tokio::test]
async fn a_setting_out_of_range_is_refused_before_anything_is_touched() {
    let journal = MemoryJournal::new();
    let mut config = Config::default();
    config.queue_len = 0;
    let error = Store::open(Arc::new(journal.clone()), config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("queue_len"), "{error}");
    let tail = kv_journal::Journal::tail(&journal).await.unwrap();
    assert_eq!(tail.epoch, 0);
}

#[tokio::test]
async fn a_restart_recovers_exactly() {
    let journal = MemoryJournal::new();
    let open = async || {
        let (store, driver) =
            Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
        (store, tokio::spawn(driver))
    };
    let (store, driver) = open().await;
    for round in 0..50 {
        put(&store, &format!("k{}", round % 7), &round.to_string()).await;
        if round % 5 == 0 {
            store.delete_range(KeyRange::key(format!("k{}", round % 3))).await.unwrap();
        }
    }
    store.compact(20).await.unwrap();
    while store.stats().versions > harness::reachable_versions(&store) {
        tokio::task::yield_now().await;
    }
    let before = harness::everything(&store);
    let stats = store.stats();
    drop(store);
    driver.await.unwrap().unwrap();
    let (store, _driver) = open().await;
    assert_eq!(harness::everything(&store), before);
    let after = store.stats();
    assert_eq!((after.revision, after.compact_revision), (stats.revision, 20));
    assert_eq!((after.bytes, after.versions), (stats.bytes, stats.versions));
    assert_eq!(put(&store, "new", "1").await, stats.revision + 1);
}

#[tokio::test]
async fn a_second_store_fences_the_first() {
    let journal = MemoryJournal::new();
    let (first, driver) = Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    let driver = tokio::spawn(driver);
    put(&first, "a", "1").await;
    let (second, second_driver) =
        Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    tokio::spawn(second_driver);
    assert_eq!(first.read_barrier().await.unwrap_err().kind(), ErrorKind::Fenced);
    let refused = first.put(PutRequest::new("a", "2")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    assert_eq!(driver.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
    let later = first.put(PutRequest::new("a", "2")).await.unwrap_err();
    assert_eq!(later.kind(), ErrorKind::Closed);
    let cause = later.source().unwrap().downcast_ref::<kv_journal::Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Fenced);
    assert_eq!(put(&second, "a", "3").await, 3);
    assert_eq!(second.read_barrier().await.unwrap(), 3);
}

#[tokio::test]
async fn dropped_handles_end_the_driver_with_their_work_done() {
    let journal = MemoryJournal::new();
    let (store, driver) = Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    let asked = store.clone();
    let mut put = Box::pin(async move { asked.put(PutRequest::new("a", "1")).await });
    assert!((&mut put).now_or_never().is_none()); // queued
    drop(store);
    let (put, ended) = tokio::join!(put, driver);
    assert_eq!(put.unwrap().revision, 2);
    ended.unwrap();
    assert_eq!(kv_journal::Journal::tail(&journal).await.unwrap().next_seq, 2);
}

#[tokio::test]
async fn a_dropped_driver_closes_every_call() {
    let (store, driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    let waiting = store.clone();
    let mut queued = Box::pin(async move { waiting.put(PutRequest::new("a", "1")).await });
    assert!((&mut queued).now_or_never().is_none());
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    let mut next = Box::pin(watcher.next());
    assert!((&mut next).now_or_never().is_none());
    drop(driver);
    assert_eq!(queued.await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(next.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(watcher.next().await.is_none());
    let closed = |kind| assert_eq!(kind, ErrorKind::Closed);
    closed(store.put(PutRequest::new("a", "1")).await.unwrap_err().kind());
    closed(store.delete_range(KeyRange::all()).await.unwrap_err().kind());
    closed(store.txn(Txn::new()).await.unwrap_err().kind());
    closed(store.compact(1).await.unwrap_err().kind());
    closed(store.read_barrier().await.unwrap_err().kind());
    closed(store.get(b"a").unwrap_err().kind());
    closed(store.range(KeyRange::all()).unwrap_err().kind());
    closed(store.watch(KeyRange::all()).unwrap_err().kind());
    store.closed().await;
    assert_eq!(store.snapshot().revision(), 1);
}
