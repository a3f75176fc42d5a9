//! A store over a journal that fails.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::error::Error as _;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use harness::put;
use kv_journal::{
    Config, ErrorKind, Fault, FaultJournal, Journal, KeyRange, MemoryJournal, PutRequest, Result,
    Store,
};
use proptest::prelude::*;
use tokio::task::JoinHandle;

async fn open() -> (Store, FaultJournal, JoinHandle<Result<()>>) {
    let journal = FaultJournal::new(MemoryJournal::new());
    let (store, driver) = Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    (store, journal, tokio::spawn(driver))
}

async fn put_kind(store: &Store, key: &str) -> ErrorKind {
    store.put(PutRequest::new(key.to_owned(), "v")).await.unwrap_err().kind()
}

#[tokio::test]
async fn an_unknown_append_that_was_stored_is_acknowledged_once() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::UnknownStored]);
    assert_eq!(put(&store, "a", "1").await, 2);
    assert_eq!(put(&store, "b", "1").await, 3);
    assert_eq!(journal.tail().await.unwrap().next_seq, 3);
    assert_eq!(store.read_barrier().await.unwrap(), 3); // its own new epoch is no other writer
}

#[tokio::test]
async fn an_unknown_append_that_was_lost_is_appended_again() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::UnknownLost, Fault::UnknownLost]);
    assert_eq!(put(&store, "a", "1").await, 2);
    assert_eq!(journal.tail().await.unwrap().next_seq, 2);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_lost_again_and_again_is_given_up() {
    let (store, journal, _driver) = open().await;
    journal.script(vec![Fault::UnknownLost; 1000]);
    assert_eq!(put_kind(&store, "a").await, ErrorKind::Unavailable);
    assert_eq!(journal.remaining(), 1000 - 11);
    // Nothing of it is stored, and the store goes on.
    assert_eq!((journal.tail().await.unwrap().next_seq, store.get(b"a").unwrap()), (1, None));
    for _ in 0..(1000 / 11) - 1 {
        assert_eq!(put_kind(&store, "a").await, ErrorKind::Unavailable);
    }
    assert_eq!(put(&store, "a", "1").await, 2);
}

#[tokio::test]
async fn a_torn_append_is_completed() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::Hold, Fault::Torn(2)]);
    let mut puts: Vec<_> = (0..4)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &format!("k{number}"), "v").await })
        })
        .collect();
    while store.stats().queued > 0 || journal.remaining() > 1 {
        tokio::task::yield_now().await;
    }
    journal.release();
    for (number, put) in puts.drain(..).enumerate() {
        assert_eq!(put.await.unwrap(), number as u64 + 2);
    }
    assert_eq!(journal.tail().await.unwrap().next_seq, 5);
    assert_eq!(store.range(KeyRange::all()).unwrap().count, 4);
}

#[tokio::test]
async fn a_definite_failure_is_answered_and_the_store_goes_on() {
    let (store, journal, _driver) = open().await;
    for kind in [ErrorKind::Exhausted, ErrorKind::Unavailable] {
        let revision = store.revision();
        journal.script([Fault::Fail(kind)]);
        assert_eq!(put_kind(&store, "lost").await, kind);
        assert_eq!(store.get(b"lost").unwrap(), None);
        assert_eq!(put(&store, "kept", "v").await, revision + 1);
    }
    assert_eq!(store.stats().failed_batches, 2);
}

#[tokio::test]
async fn what_was_evaluated_on_a_failed_batch_fails_with_it() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::Hold]);
    let spawn = |key: &'static str| {
        let store = store.clone();
        tokio::spawn(async move { store.put(PutRequest::new(key, "v")).await })
    };
    let first = spawn("a");
    while journal.remaining() > 0 {
        tokio::task::yield_now().await;
    }
    let second = spawn("b");
    tokio::task::yield_now().await;
    assert_eq!(store.revision(), 1); // nothing is visible before it is durable
    // Another writer takes over, so the held append will fail.
    journal.fence(100).await.unwrap();
    journal.release();
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(journal.tail().await.unwrap().next_seq, 1);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_found_out_ends_the_store() {
    let (store, journal, driver) = open().await;
    journal.script([Fault::UnknownStored]);
    journal.fail_fences(vec![ErrorKind::Unavailable; 100]);
    let error = store.put(PutRequest::new("a", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    assert!(error.source().is_some());
    assert_eq!(driver.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(put_kind(&store, "b").await, ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn finding_out_survives_a_journal_that_is_away_for_a_while() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::UnknownStored]);
    journal.fail_fences([ErrorKind::Unavailable, ErrorKind::Unknown]);
    journal.fail_reads([ErrorKind::Unavailable]);
    assert_eq!(put(&store, "a", "1").await, 2);
    assert_eq!(journal.tail().await.unwrap().next_seq, 2);
}

#[tokio::test(start_paused = true)]
async fn another_writers_record_is_not_taken_for_ours() {
    let (store, journal, driver) = open().await;
    journal.script([Fault::Hold]);
    let writer = store.clone();
    let first = tokio::spawn(async move { writer.put(PutRequest::new("a", "1")).await });
    while journal.remaining() > 0 {
        tokio::task::yield_now().await;
    }
    journal.fence(2).await.unwrap();
    journal.append(2, 1, &["another".into()]).await.unwrap();
    journal.release();
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
    assert!(driver.await.unwrap().is_err());
}

#[tokio::test]
async fn readers_and_watchers_see_only_what_is_durable() {
    let (store, journal, _driver) = open().await;
    journal.script([Fault::Hold]);
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    let writer = store.clone();
    let first = tokio::spawn(async move { put(&writer, "a", "1").await });
    while journal.remaining() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((store.revision(), store.get(b"a").unwrap()), (1, None));
    assert!(watcher.next().now_or_never().is_none());
    // A transaction that reads waits for what it has read to be durable.
    let reader = store.clone();
    let read = kv_journal::Txn::new().then(kv_journal::Op::get("a"));
    let read = tokio::spawn(async move { reader.txn(read).await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!read.is_finished());
    journal.release();
    assert_eq!(first.await.unwrap(), 2);
    assert_eq!(read.await.unwrap().unwrap().revision, 2);
    assert_eq!(watcher.next().await.unwrap().unwrap().revision, 2);
    assert_eq!(store.get(b"a").unwrap().unwrap().value(), b"1");
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait() {
    let journal = FaultJournal::new(MemoryJournal::new());
    let mut config = Config::default();
    config.queue_len = 2;
    config.batch_records = 2;
    let (store, driver) = Store::open(Arc::new(journal.clone()), config).await.unwrap();
    tokio::spawn(driver);
    journal.script([Fault::Hold]);
    let puts: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &format!("k{number}"), "v").await })
        })
        .collect();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.stats().queued, 2);
    journal.release();
    for put in puts {
        put.await.unwrap();
    }
    assert_eq!(store.range(KeyRange::all()).unwrap().count, 200);
}

#[tokio::test]
async fn a_full_batch_of_reads_makes_room_for_the_next() {
    let journal = FaultJournal::new(MemoryJournal::new());
    let mut config = Config::default();
    config.batch_records = 2;
    let (store, driver) = Store::open(Arc::new(journal.clone()), config).await.unwrap();
    tokio::spawn(driver);
    journal.script([Fault::Hold]);
    let writer = store.clone();
    let write = tokio::spawn(async move { put(&writer, "a", "1").await });
    while journal.remaining() > 0 {
        tokio::task::yield_now().await;
    }
    let read = || kv_journal::Txn::new().then(kv_journal::Op::get("a"));
    let reads: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.txn(read()).await })
        })
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    journal.release();
    assert_eq!(write.await.unwrap(), 2);
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap().revision, 2);
    }
}

#[tokio::test]
async fn a_journal_that_lost_its_beginning_is_refused() {
    let journal = MemoryJournal::new();
    let (store, driver) = Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    tokio::spawn(driver);
    put(&store, "a", "1").await;
    journal.trim(2).await.unwrap();
    let error = Store::open(Arc::new(journal), Config::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Trimmed { first_seq: 2 });
}

#[tokio::test]
async fn a_foreign_record_is_refused() {
    let journal = MemoryJournal::new();
    journal.fence(1).await.unwrap();
    journal.append(1, 1, &["not a record".into()]).await.unwrap();
    let error = Store::open(Arc::new(journal), Config::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("record 1"), "{error}");
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::Pass),
        1 => Just(Fault::Fail(ErrorKind::Exhausted)),
        1 => Just(Fault::Fail(ErrorKind::Unavailable)),
        1 => Just(Fault::UnknownStored),
        1 => Just(Fault::UnknownLost),
        1 => (0..4usize).prop_map(Fault::Torn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever the journal does: an acknowledged write is there after a reopen, at its revision; a
    /// refused one is not.
    #[test]
    fn acknowledged_is_kept_and_refused_is_not(
        faults in prop::collection::vec(fault(), 0..30),
        writers in 1..8usize,
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let (store, journal, driver) = open().await;
            journal.script(faults);
            let tasks: Vec<_> = (0..writers).map(|writer| {
                let store = store.clone();
                tokio::spawn(async move { write_some(&store, writer).await })
            }).collect();
            let mut expected = Vec::new();
            for task in tasks {
                expected.extend(task.await.unwrap());
            }
            drop(store);
            // A torn batch whose rest was refused ends the store; that is an outcome, too.
            let ended = driver.await.unwrap();
            let (store, driver) =
                Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
            let spawned = tokio::spawn(driver);
            for (key, outcome) in expected {
                let found = store.get(key.as_bytes()).unwrap().map(|kv| kv.mod_revision());
                match outcome {
                    Ok(revision) => assert_eq!(found, Some(revision)),
                    Err(ErrorKind::Unknown | ErrorKind::Closed) => assert!(ended.is_err()),
                    Err(_) => assert_eq!(found, None),
                }
            }
            spawned.abort();
        });
    }
}

async fn write_some(store: &Store, writer: usize) -> Vec<(String, Result<u64, ErrorKind>)> {
    let mut outcomes = Vec::new();
    for number in 0..8 {
        let key = format!("{writer}/{number}");
        let put = store.put(PutRequest::new(key.clone(), "v")).await;
        outcomes.push((key, put.map(|put| put.revision).map_err(|error| error.kind())));
    }
    outcomes
}
