//! Watchers.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use kv_journal::{ErrorKind, EventKind, KeyRange, Op, Txn, WatchRequest};

use crate::harness::{event_keys, open_memory, put};

#[tokio::test]
async fn a_watch_gives_each_revision_whole_and_once_from_any_start() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    put(&store, "b", "1").await; // 3
    let txn = Txn::new()
        .then(Op::put("a", "2"))
        .then(Op::delete(KeyRange::key("b")))
        .then(Op::put("c", "1"));
    store.txn(txn).await.unwrap(); // 4
    let mut all = store.watch(WatchRequest::new(KeyRange::all()).from_revision(1)).unwrap();
    let mut from_three =
        store.watch(WatchRequest::new(KeyRange::key("a")).from_revision(3)).unwrap();
    let mut now = store.watch(KeyRange::all()).unwrap();
    for (revision, keys) in [(2, "a"), (3, "b"), (4, "abc")] {
        let batch = all.next().await.unwrap().unwrap();
        assert_eq!((batch.revision, event_keys(&batch)), (revision, keys.to_owned()));
    }
    let batch = from_three.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, batch.events.len()), (4, 1));
    let event = &batch.events[0];
    assert_eq!((event.kind, event.kv.value()), (EventKind::Put, &b"2"[..]));
    assert_eq!(event.prev_kv.as_ref().unwrap().value(), b"1");
    assert!(now.next().now_or_never().is_none());
    store.delete_range(KeyRange::key("c")).await.unwrap(); // 5
    let batch = now.next().await.unwrap().unwrap();
    let event = &batch.events[0];
    assert_eq!((batch.revision, event.kind), (5, EventKind::Delete));
    assert_eq!((event.kv.mod_revision(), event.kv.version()), (5, 0));
    assert_eq!(event.prev_kv.as_ref().unwrap().mod_revision(), 4);
}

#[tokio::test]
async fn watch_filters_leave_kinds_out() {
    let (store, _) = open_memory().await;
    let watch = |request: WatchRequest| store.watch(request.from_revision(1)).unwrap();
    let mut puts = watch(WatchRequest::new(KeyRange::all()).no_delete());
    let mut deletes = watch(WatchRequest::new(KeyRange::all()).no_put());
    put(&store, "a", "1").await;
    store.delete_range(KeyRange::all()).await.unwrap();
    put(&store, "b", "1").await;
    assert_eq!(puts.next().await.unwrap().unwrap().revision, 2);
    assert_eq!(puts.next().await.unwrap().unwrap().revision, 4);
    assert_eq!(deletes.next().await.unwrap().unwrap().revision, 3);
    assert!(deletes.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_watch_below_the_compact_revision_is_refused_and_at_it_works() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    put(&store, "a", "2").await; // 3
    put(&store, "a", "3").await; // 4
    let mut behind = store.watch(WatchRequest::new(KeyRange::all()).from_revision(2)).unwrap();
    store.compact(3).await.unwrap();
    let compacted = ErrorKind::Compacted { compact_revision: 3 };
    assert_eq!(behind.next().await.unwrap().unwrap_err().kind(), compacted);
    assert!(behind.next().await.is_none());
    let from = |revision| store.watch(WatchRequest::new(KeyRange::all()).from_revision(revision));
    assert_eq!(from(2).unwrap_err().kind(), compacted);
    let mut at = from(3).unwrap();
    let batch = at.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, batch.events[0].kv.value()), (3, &b"2"[..]));
    assert_eq!(batch.events[0].prev_kv, None); // it was compacted
    let batch = at.next().await.unwrap().unwrap();
    assert_eq!(batch.events[0].prev_kv.as_ref().unwrap().value(), b"2");
    assert_eq!(store.watch(KeyRange::range("b", "a")).unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn progress_says_how_far_a_watcher_has_come() {
    let (store, _) = open_memory().await;
    let request = WatchRequest::new(KeyRange::prefix("x"));
    let mut asked = store.watch(request.clone()).unwrap();
    let mut pushed = store.watch(request.clone().progress_on_advance()).unwrap();
    let mut future = store.watch(request.from_revision(4)).unwrap();
    asked.request_progress();
    assert_eq!(asked.next().await.unwrap().unwrap().revision, 1);
    assert!(pushed.next().now_or_never().is_none());
    put(&store, "a", "1").await; // 2
    put(&store, "b", "1").await; // 3
    let notice = pushed.next().await.unwrap().unwrap();
    assert!(notice.is_progress());
    assert_eq!(notice.revision, 3); // two revisions, one notice
    assert!(pushed.next().now_or_never().is_none());
    future.request_progress();
    assert_eq!(future.next().now_or_never().unwrap().unwrap().unwrap().revision, 3);
    put(&store, "x", "1").await; // 4
    put(&store, "c", "1").await; // 5
    let batch = pushed.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, event_keys(&batch)), (4, "x".into()));
    assert_eq!(pushed.next().await.unwrap().unwrap().revision, 5);
    asked.request_progress();
    assert_eq!(asked.next().await.unwrap().unwrap().revision, 4); // events come first
    assert_eq!(asked.next().await.unwrap().unwrap().revision, 5);
}

#[tokio::test]
async fn a_watcher_before_its_start_gives_no_progress() {
    let (store, _) = open_memory().await;
    let mut future = store.watch(WatchRequest::new(KeyRange::all()).from_revision(9)).unwrap();
    future.request_progress();
    assert!(future.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn progress_comes_at_an_interval() {
    let (store, _) = open_memory().await;
    let interval = Duration::from_secs(600);
    let request = WatchRequest::new(KeyRange::all());
    let mut watcher = store.watch(request.clone().progress_interval(interval)).unwrap();
    let before = tokio::time::Instant::now();
    assert_eq!(watcher.next().await.unwrap().unwrap().revision, 1);
    assert!(before.elapsed() >= interval);
    let zero = store.watch(request.progress_interval(Duration::ZERO));
    assert_eq!(zero.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_watcher_that_ended_stays_ended() {
    let (store, driver) = open_memory().await;
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    driver.abort();
    assert_eq!(watcher.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    for _ in 0..3 {
        assert!(watcher.next().await.is_none());
    }
}
