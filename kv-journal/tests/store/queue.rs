//! What waits for a journal that falls behind.

use std::sync::Arc;

use kv_journal::{
    Config, ErrorKind, Fault, FaultJournal, KeyRange, MemoryJournal, PutRequest, Result, Store,
    WhenFull,
};
use tokio::task::JoinHandle;

use crate::harness::put;

const QUEUE_BYTES: usize = 4096;

/// A store whose journal holds the first append, and a driver that then evaluates one more request.
async fn stalled(queue_len: usize) -> (Store, FaultJournal, JoinHandle<Result<()>>) {
    let journal = FaultJournal::new(MemoryJournal::new());
    let mut config = Config::default();
    (config.queue_len, config.queue_bytes, config.batch_records) = (queue_len, QUEUE_BYTES, 1);
    let (store, driver) = Store::open(Arc::new(journal.clone()), config).await.unwrap();
    let driver = tokio::spawn(driver);
    journal.script([Fault::Hold]);
    for key in ["first", "second"] {
        spawn_put(&store, key.into(), 0);
    }
    while journal.remaining() > 0 || store.stats().queued_bytes > 0 {
        tokio::task::yield_now().await;
    }
    (store, journal, driver)
}

fn spawn_put(store: &Store, key: String, bytes: usize) -> JoinHandle<Result<u64>> {
    let store = store.clone();
    tokio::spawn(async move {
        let request = PutRequest::new(key, "v".repeat(bytes));
        store.put(request).await.map(|put| put.revision)
    })
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes() {
    let (store, journal, _driver) = stalled(Config::QUEUE_LEN.default).await;
    let puts: Vec<_> = (0..50).map(|at| spawn_put(&store, format!("{at:03}"), 1000)).collect();
    settle().await;
    // Each takes 3 + 1000 + 256 bytes; the one whose turn is next takes what is left.
    assert_eq!(store.stats().queued_bytes, QUEUE_BYTES as u64);
    assert!(store.stats().queued <= 3);
    journal.release();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    assert_eq!(store.stats().queued_bytes, 0);
    assert_eq!(store.range(KeyRange::all()).unwrap().count, 52);
}

#[tokio::test]
async fn a_request_that_is_larger_than_the_queue_passes_alone() {
    let (store, journal, _driver) = stalled(Config::QUEUE_LEN.default).await;
    let puts = [spawn_put(&store, "a".into(), 100_000), spawn_put(&store, "b".into(), 0)];
    settle().await;
    assert_eq!(store.stats().queued_bytes, QUEUE_BYTES as u64);
    journal.release();
    for put in puts {
        put.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_fails_those_who_do_not_wait() {
    for queue_len in [1, Config::QUEUE_LEN.default] {
        let (store, journal, _driver) = stalled(queue_len).await;
        let waiting: Vec<_> = (0..8).map(|at| spawn_put(&store, format!("w{at}"), 1000)).collect();
        settle().await;
        let hasty = store.when_full(WhenFull::Fail);
        let error = hasty.put(PutRequest::new("hasty", "v".repeat(1000))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        journal.release();
        for put in waiting {
            put.await.unwrap().unwrap();
        }
        assert_eq!(store.get(b"hasty").unwrap(), None);
        put(&hasty, "hasty", "v").await;
        assert_eq!(store.stats().queued_bytes, 0);
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_gives_its_room_back() {
    let (store, journal, _driver) = stalled(1).await;
    let puts: Vec<_> = (0..8).map(|at| spawn_put(&store, format!("w{at}"), 1000)).collect();
    settle().await;
    for put in puts {
        put.abort();
    }
    settle().await;
    journal.release();
    put(&store, "last", "v").await;
    assert_eq!(store.stats().queued_bytes, 0);
}

#[tokio::test]
async fn a_driver_that_ends_closes_those_who_wait_for_room() {
    let (store, _journal, driver) = stalled(Config::QUEUE_LEN.default).await;
    let puts: Vec<_> = (0..8).map(|at| spawn_put(&store, format!("w{at}"), 1000)).collect();
    settle().await;
    driver.abort();
    for put in puts {
        assert_eq!(put.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
}
