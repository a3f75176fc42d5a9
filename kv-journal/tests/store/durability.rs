//! Writes that are acknowledged before they are durable.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use kv_journal::{
    Ack, Config, ErrorKind, Fault, FaultJournal, Journal, KeyRange, MemoryJournal, Op, PrefixClass,
    PutRequest, Result, Store, Txn,
};
use tokio::task::JoinHandle;

use crate::harness::put;

async fn open() -> (Store, FaultJournal, JoinHandle<Result<()>>) {
    let journal = FaultJournal::new(MemoryJournal::new());
    let mut config = Config::default();
    config.durability =
        vec![PrefixClass::relaxed("events/"), PrefixClass::durable("events/audit/")];
    let (store, driver) = Store::open(Arc::new(journal.clone()), config).await.unwrap();
    (store, journal, tokio::spawn(driver))
}

async fn accept(store: &Store, key: &'static str) {
    assert_eq!(store.put_by_class(PutRequest::new(key, "v")).await.unwrap(), Ack::Accepted);
}

#[tokio::test]
async fn a_relaxed_write_is_acknowledged_before_it_is_durable_and_seen_after() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::Hold]);
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    accept(&store, "events/a").await;
    accept(&store, "events/b").await; // while the first one is held
    assert_eq!(journal.remaining(), 0);
    assert_eq!((store.revision(), store.get(b"events/a").unwrap()), (1, None));
    assert!(watcher.next().now_or_never().is_none());
    journal.release();
    assert_eq!(watcher.next().await.unwrap().unwrap().revision, 2);
    assert_eq!(watcher.next().await.unwrap().unwrap().revision, 3);
    assert_eq!(store.range(KeyRange::prefix("events/")).unwrap().count, 2);
    assert_eq!((store.stats().relaxed_accepted, store.stats().relaxed_lost), (2, 0));
}

#[tokio::test]
async fn what_touches_a_durable_key_is_durable_as_a_whole() {
    let (store, journal, _driver) = open().await;
    let relaxed = || Txn::new().then(Op::put("events/a", "v"));
    let durable = [
        relaxed().then(Op::put("pods/a", "v")),
        relaxed().or_else(Op::put("events/audit/a", "v")),
        relaxed().then(Op::Txn(Txn::new().or_else(Op::delete(KeyRange::from("events/b"))))),
        Txn::new().then(Op::get("events/a")),
    ];
    for (at, txn) in durable.into_iter().enumerate() {
        // One that only reads is held by what it reads.
        journal.script([Fault::Hold]);
        accept(&store, "events/held").await;
        let writer = store.clone();
        let written = tokio::spawn(async move { writer.txn_by_class(txn).await });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(!written.is_finished(), "{at}");
        journal.release();
        assert!(matches!(written.await.unwrap().unwrap(), Ack::Durable(_)), "{at}");
    }
    journal.script([Fault::Hold]);
    assert_eq!(store.txn_by_class(relaxed()).await.unwrap(), Ack::Accepted);
    journal.release();
    let put = store.put_by_class(PutRequest::new("pods/b", "v")).await.unwrap();
    assert!(matches!(put, Ack::Durable(put) if put.revision == store.revision()));
}

#[tokio::test]
async fn a_relaxed_write_that_cannot_run_is_refused() {
    let (store, _journal, _driver) = open().await;
    let mut keep = PutRequest::new("events/a", "");
    keep.ignore_value = true;
    assert_eq!(store.put_by_class(keep).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!(store.stats().relaxed_accepted, 0);
}

#[tokio::test]
async fn a_relaxed_write_that_is_lost_is_counted() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::Hold, Fault::Fail(ErrorKind::Exhausted)]);
    accept(&store, "events/kept").await;
    accept(&store, "events/lost").await;
    accept(&store, "events/lost too").await;
    let flushing = store.clone();
    let flush = tokio::spawn(async move { flushing.txn(Txn::new()).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    journal.release();
    assert_eq!(flush.await.unwrap().unwrap_err().kind(), ErrorKind::Exhausted);
    assert_eq!((store.stats().relaxed_accepted, store.stats().relaxed_lost), (3, 2));
    assert!(store.get(b"events/kept").unwrap().is_some());
    assert_eq!(store.get(b"events/lost").unwrap(), None);
    // Its revision went to nobody else before; now another write gets it.
    assert_eq!(put(&store, "pods/a", "v").await, 3);
}

#[tokio::test]
async fn a_store_that_is_fenced_counts_what_it_had_accepted() {
    let (store, journal, driver) = open().await;
    journal.script([Fault::Hold]);
    accept(&store, "events/a").await;
    accept(&store, "events/b").await;
    journal.fence(100).await.unwrap();
    journal.release();
    assert_eq!(driver.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(store.stats().relaxed_lost, 2);
}

#[tokio::test]
async fn a_driver_that_ends_by_itself_has_made_what_was_accepted_durable() {
    let (store, journal, driver) = open().await;
    journal.script([Fault::Hold]);
    accept(&store, "events/a").await;
    accept(&store, "events/b").await;
    drop(store);
    journal.release();
    driver.await.unwrap().unwrap();
    let (store, _driver) = Store::open(Arc::new(journal), Config::default()).await.unwrap();
    assert_eq!(store.range(KeyRange::prefix("events/")).unwrap().count, 2);
}
