//! What a store promises, one scenario each.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use harness::{event_keys, kv, open_memory, put};
use kv_journal::{
    Compare, CompareResult, CompareTarget, Config, DeleteRequest, ErrorKind, EventKind, KeyRange,
    MemoryJournal, Op, OpResponse, PutRequest, RangeRequest, SortOrder, SortTarget, Store, Txn,
    WatchRequest,
};

#[tokio::test]
async fn an_empty_store_is_at_revision_one() {
    let (store, _) = open_memory().await;
    assert_eq!(store.revision(), 1);
    assert_eq!(store.range(KeyRange::all()).unwrap().revision, 1);
    assert_eq!(put(&store, "a", "1").await, 2);
    assert_eq!(store.revision(), 2);
}

#[tokio::test]
async fn a_put_counts_versions_and_a_delete_starts_anew() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((found.create_revision, found.mod_revision, found.version), (2, 3, 2));
    let deleted = store.delete_range(DeleteRequest::new(KeyRange::key("a")).prev_kv()).await;
    let deleted = deleted.unwrap();
    assert_eq!((deleted.revision, deleted.deleted), (4, 1));
    assert_eq!(deleted.prev_kvs[0].value, "2");
    assert_eq!(store.get(b"a").unwrap(), None);
    put(&store, "a", "3").await;
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((found.create_revision, found.mod_revision, found.version), (5, 5, 1));
}

#[tokio::test]
async fn a_delete_that_hits_nothing_makes_no_revision() {
    let (store, _) = open_memory().await;
    let deleted = store.delete_range(KeyRange::prefix("a")).await.unwrap();
    assert_eq!((deleted.revision, deleted.deleted), (1, 0));
    assert_eq!(store.revision(), 1);
}

#[tokio::test]
async fn put_keeps_value_or_lease_when_asked() {
    let (store, _) = open_memory().await;
    let mut keep = PutRequest::new("a", "");
    keep.ignore_value = true;
    assert_eq!(store.put(keep.clone()).await.unwrap_err().kind(), ErrorKind::Invalid);
    store.put(PutRequest::new("a", "1").lease(7)).await.unwrap();
    keep.lease = 8;
    let answer = store.put(keep.clone().prev_kv()).await.unwrap();
    assert_eq!(answer.prev_kv.unwrap().lease, 7);
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((&found.value[..], found.lease), (&b"1"[..], 8));
    let mut keep = PutRequest::new("a", "2");
    keep.ignore_lease = true;
    store.put(keep).await.unwrap();
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((&found.value[..], found.lease), (&b"2"[..], 8));
}

#[tokio::test]
async fn a_range_reads_every_retained_revision() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    put(&store, "b", "1").await; // 3
    put(&store, "a", "2").await; // 4
    store.delete_range(KeyRange::key("b")).await.unwrap(); // 5
    let at = |revision| {
        let found = store.range(RangeRequest::new(KeyRange::all()).at(revision)).unwrap();
        assert_eq!((found.revision, found.count), (5, found.kvs.len() as u64));
        found.kvs.iter().map(|kv| harness::pair(kv)).collect::<Vec<_>>()
    };
    assert_eq!(at(1), []);
    assert_eq!(at(2), [kv("a", "1")]);
    assert_eq!(at(3), [kv("a", "1"), kv("b", "1")]);
    assert_eq!(at(4), [kv("a", "2"), kv("b", "1")]);
    assert_eq!(at(5), [kv("a", "2")]);
    let future = store.range(RangeRequest::new(KeyRange::all()).at(6)).unwrap_err();
    assert_eq!(future.kind(), ErrorKind::FutureRevision { current_revision: 5 });
}

#[tokio::test]
async fn limits_sorts_and_filters_work_in_etcds_order() {
    let (store, _) = open_memory().await;
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("d", "0")] {
        put(&store, key, value).await;
    }
    let keys = |request: RangeRequest| {
        let found = store.range(request).unwrap();
        let keys: String = found.kvs.iter().map(|kv| harness::text(&kv.key)).collect();
        (keys, found.more, found.count)
    };
    let all = || RangeRequest::new(KeyRange::all());
    assert_eq!(keys(all().limit(2)), ("ab".into(), true, 4));
    assert_eq!(keys(all().limit(4)), ("abcd".into(), false, 4));
    let sorted = |order| all().limit(2).sort(SortTarget::Value, order);
    assert_eq!(keys(sorted(SortOrder::Ascending)), ("db".into(), true, 4));
    assert_eq!(keys(sorted(SortOrder::Descending)), ("ac".into(), true, 4));
    // Without an order the limit, plus one to see that there is more, comes before the sort.
    assert_eq!(keys(sorted(SortOrder::None)), ("bc".into(), true, 4));
    let mut filtered = all().limit(1);
    filtered.min_mod_revision = 3;
    filtered.max_create_revision = 4;
    assert_eq!(keys(filtered), ("b".into(), true, 4));
    assert_eq!(keys(all().count_only()), (String::new(), false, 4));
    assert_eq!(keys(all().at(3).count_only()), (String::new(), false, 2));
    store.put(PutRequest::new("e", "5").lease(9)).await.unwrap();
    let found = store.range(RangeRequest::new(KeyRange::key("e")).keys_only()).unwrap();
    assert_eq!((found.kvs[0].value.len(), found.kvs[0].lease), (0, 0));
}

#[tokio::test]
async fn a_transaction_runs_one_branch_in_one_revision() {
    let (store, _) = open_memory().await;
    let txn = Txn::new()
        .when(Compare::mod_revision("a", CompareResult::Equal, 0))
        .then(Op::put("a", "1"))
        .then(Op::get("a"))
        .then(Op::put("b", "1"))
        .or_else(Op::get("a"));
    let first = store.txn(txn.clone()).await.unwrap();
    assert!(first.succeeded);
    assert_eq!(first.revision, 2);
    let OpResponse::Range(own) = &first.responses[1] else { panic!("{first:?}") };
    assert_eq!(own.kvs[0].value, "1"); // reads see the transaction's own writes
    let second = store.txn(txn).await.unwrap();
    assert!(!second.succeeded);
    assert_eq!(second.revision, 2); // a branch that only reads makes no revision
    assert_eq!(second.responses.len(), 1);
    let both = store.range(KeyRange::all()).unwrap();
    assert!(both.kvs.iter().all(|kv| kv.mod_revision == 2));
}

#[tokio::test]
async fn compares_follow_etcd_for_absent_keys_and_ranges() {
    let (store, _) = open_memory().await;
    store.put(PutRequest::new("a", "5").lease(3)).await.unwrap();
    let holds =
        async |compare: Compare| store.txn(Txn::new().when(compare)).await.unwrap().succeeded;
    let value = |key: &'static str, result, value: &'static str| Compare::value(key, result, value);
    assert!(holds(value("a", CompareResult::Equal, "5")).await);
    assert!(holds(value("a", CompareResult::Greater, "4")).await);
    assert!(holds(value("a", CompareResult::NotEqual, "4")).await);
    assert!(!holds(value("absent", CompareResult::NotEqual, "4")).await);
    assert!(holds(Compare::version("absent", CompareResult::Less, 1)).await);
    assert!(holds(Compare::create_revision("a", CompareResult::Equal, 2)).await);
    let lease =
        |id| Compare::new(KeyRange::key("a"), CompareResult::Equal, CompareTarget::Lease(id));
    assert!(holds(lease(3)).await);
    put(&store, "b", "5").await;
    let all = |target| Compare::new(KeyRange::all(), CompareResult::Equal, target);
    assert!(holds(all(CompareTarget::Value("5".into()))).await);
    assert!(!holds(all(CompareTarget::ModRevision(2))).await);
    let none =
        Compare::new(KeyRange::prefix("x"), CompareResult::Equal, CompareTarget::ModRevision(0));
    assert!(holds(none).await);
}

#[tokio::test]
async fn a_key_changed_twice_is_refused_whatever_the_state() {
    let (store, _) = open_memory().await;
    let twice = [
        Txn::new().then(Op::put("a", "1")).then(Op::put("a", "2")),
        Txn::new().then(Op::put("a", "1")).then(Op::delete(KeyRange::prefix("a"))),
        Txn::new().then(Op::delete(KeyRange::all())).then(Op::put("a", "1")),
        Txn::new().or_else(Op::put("a", "1")).or_else(Op::put("a", "2")),
    ];
    for txn in twice {
        assert_eq!(store.txn(txn).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let (a, ab) = (KeyRange::key("a"), KeyRange::prefix("a"));
    let overlapping = Txn::new().then(Op::delete(a)).then(Op::delete(ab));
    put(&store, "a", "1").await;
    put(&store, "ab", "1").await;
    let answer = store.txn(overlapping).await.unwrap();
    let deleted: Vec<u64> = answer
        .responses
        .iter()
        .map(|response| match response {
            OpResponse::Delete(delete) => delete.deleted,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((deleted, answer.revision), (vec![1, 1], 4));
}

#[tokio::test]
async fn a_failing_operation_undoes_the_transaction() {
    let (store, _) = open_memory().await;
    let mut keep = PutRequest::new("b", "");
    keep.ignore_value = true;
    let txn = Txn::new().then(Op::put("a", "1")).then(Op::Put(keep));
    assert_eq!(store.txn(txn).await.unwrap_err().kind(), ErrorKind::Invalid);
    let txn = Txn::new()
        .then(Op::put("a", "1"))
        .then(Op::Range(RangeRequest::new(KeyRange::all()).at(9)));
    let error = store.txn(txn).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FutureRevision { current_revision: 1 });
    assert_eq!((store.revision(), store.get(b"a").unwrap()), (1, None));
}

#[tokio::test]
async fn requests_beyond_a_limit_are_refused() {
    let mut config = Config::default();
    config.request_bytes = 2000;
    config.key_bytes = 10;
    config.value_bytes = 1000;
    config.txn_ops = 2;
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    let refused = async |request: PutRequest| {
        assert_eq!(store.put(request).await.unwrap_err().kind(), ErrorKind::Invalid);
    };
    refused(PutRequest::new("", "empty key")).await;
    refused(PutRequest::new("k".repeat(11), "")).await;
    refused(PutRequest::new("k", "v".repeat(1001))).await;
    put(&store, "k", &"v".repeat(1000)).await;
    let large = |key: &'static str| Op::put(key, "v".repeat(999));
    let two = Txn::new().then(large("a")).then(large("b"));
    assert!(store.txn(two.clone()).await.is_ok());
    let three = two.clone().then(Op::get("a"));
    assert_eq!(store.txn(three).await.unwrap_err().kind(), ErrorKind::Invalid);
    let heavy = two.or_else(large("c"));
    assert_eq!(store.txn(heavy).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.range(KeyRange::key("")).unwrap_err().kind(), ErrorKind::Invalid);
}

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
async fn compaction_forgets_the_past_and_keeps_the_present() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    put(&store, "a", "2").await; // 3
    put(&store, "b", "1").await; // 4
    store.delete_range(KeyRange::key("b")).await.unwrap(); // 5
    put(&store, "c", "1").await; // 6
    assert_eq!(store.compact(5).await.unwrap(), 6);
    assert_eq!((store.revision(), store.compact_revision()), (6, 5));
    let at = |revision| store.range(RangeRequest::new(KeyRange::all()).at(revision));
    assert_eq!(at(4).unwrap_err().kind(), ErrorKind::Compacted { compact_revision: 5 });
    assert_eq!(at(5).unwrap().kvs.len(), 1);
    assert_eq!(at(5).unwrap().kvs[0].value, "2");
    let again = store.compact(5).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Compacted { compact_revision: 5 });
    let future = store.compact(7).await.unwrap_err();
    assert_eq!(future.kind(), ErrorKind::FutureRevision { current_revision: 6 });
    assert_eq!(store.stats().versions, 2);
}

#[tokio::test]
async fn the_quota_stops_puts_and_lets_deletes_and_compaction_pass() {
    let mut config = Config::default();
    config.quota_bytes = Config::QUOTA_BYTES.min;
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    let value = "v".repeat(200_000);
    let mut written = 0;
    let full = loop {
        match store.put(PutRequest::new(format!("k{written}"), value.clone())).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((full.kind(), written), (ErrorKind::Exhausted, 6));
    let guarded = Txn::new()
        .when(Compare::version("k0", CompareResult::Equal, 99))
        .then(Op::put("x", ""))
        .or_else(Op::delete(KeyRange::key("k0")));
    assert_eq!(store.txn(guarded).await.unwrap_err().kind(), ErrorKind::Exhausted);
    let deleted = store.delete_range(KeyRange::prefix("k")).await.unwrap();
    assert_eq!(deleted.deleted, 6);
    assert!(store.put(PutRequest::new("x", "")).await.is_err());
    store.compact(deleted.revision).await.unwrap();
    while store.stats().bytes > 0 {
        tokio::task::yield_now().await;
    }
    put(&store, "x", "").await;
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

#[tokio::test]
async fn a_snapshot_never_changes() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await;
    let snapshot = store.snapshot();
    put(&store, "a", "2").await;
    store.delete_range(KeyRange::all()).await.unwrap();
    store.compact(4).await.unwrap();
    assert_eq!(snapshot.get(b"a").unwrap().value, "1");
    assert_eq!(snapshot.count(&KeyRange::all()), 1);
    assert_eq!(snapshot.iter(&KeyRange::all()).count(), 1);
    assert_eq!(snapshot.range(KeyRange::all()).unwrap().revision, 2);
}

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
    assert_eq!((event.kind, &event.kv.value[..]), (EventKind::Put, &b"2"[..]));
    assert_eq!(event.prev_kv.as_ref().unwrap().value, "1");
    assert!(now.next().now_or_never().is_none());
    store.delete_range(KeyRange::key("c")).await.unwrap(); // 5
    let batch = now.next().await.unwrap().unwrap();
    let event = &batch.events[0];
    assert_eq!((batch.revision, event.kind), (5, EventKind::Delete));
    assert_eq!((event.kv.mod_revision, event.kv.version), (5, 0));
    assert_eq!(event.prev_kv.as_ref().unwrap().mod_revision, 4);
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
    assert_eq!((batch.revision, &batch.events[0].kv.value[..]), (3, &b"2"[..]));
    assert_eq!(batch.events[0].prev_kv, None); // it was compacted
    let batch = at.next().await.unwrap().unwrap();
    assert_eq!(batch.events[0].prev_kv.as_ref().unwrap().value, "2");
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
