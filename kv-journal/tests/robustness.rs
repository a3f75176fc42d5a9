//! The faults of etcd's robustness record, as tests of this store.
//!
//! The record is the table in `tests/robustness/README.md` of etcd-io/etcd (August 2026, seventeen
//! rows). Each test names its issue and would fail if the fault were here. The rows without a test:
//!
//! | row | why it cannot be here |
//! |---|---|
//! | enabling auth can lead to inconsistency, #14571 | the store has no users; whoever embeds it checks access before it asks |
//! | inconsistent revision caused by crash during defrag, #14685 | there is no defragmentation and no second file that could disagree with the journal; freeing what was compacted touches memory only, and #17780 crashes within it |
//! | panic when two snapshots are received in a short period, #18055 | there are no members that send each other snapshots |
//! | panic from db page expected to be 5, #20271 | there is no page file; damage in a segment is refused by `a_torn_tail_is_reported_and_damage_refused` |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use harness::put;
use kv_journal::oracle::{Oracle, Told};
use kv_journal::{
    Config, ErrorKind, EventKind, Fault, FaultJournal, Journal, KeyRange, MemoryJournal, Op,
    PutRequest, RangeRequest, Result, Store, Txn, WatchRequest, Watcher,
};
use tokio::task::JoinHandle;

async fn open(journal: impl Journal) -> (Store, JoinHandle<Result<()>>) {
    let (store, driver) = Store::open(Arc::new(journal), Config::default()).await.unwrap();
    (store, tokio::spawn(driver))
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// Listens until nothing more comes.
fn hear(watcher: &mut Watcher, told: &mut Told) {
    while let Some(Some(Ok(batch))) = watcher.next().now_or_never() {
        told.batches.push(batch);
    }
}

/// Puts without waiting for them.
fn put_many(store: &Store, keys: std::ops::Range<u64>) -> Vec<JoinHandle<Result<u64>>> {
    let spawn = |key| {
        let store = store.clone();
        tokio::spawn(async move {
            store.put(PutRequest::new(format!("k{key}"), "v")).await.map(|put| put.revision)
        })
    };
    keys.map(spawn).collect()
}

/// #13766: under high load the index of what was applied was saved apart from what was applied, so
/// that after a crash entries were skipped and revisions disagreed.
///
/// A full pipeline is cut off: one batch is under way, the next one gathers. After the crash the
/// revision is what the journal's records make it, whether the batch was stored or not, and the
/// writes after it go on from there.
#[tokio::test]
async fn issue_13766_a_crash_under_load_leaves_revisions_that_follow_from_the_journal() {
    for stored in [false, true] {
        let memory = MemoryJournal::new();
        let journal = FaultJournal::new(memory.clone());
        let (store, driver) = open(journal.clone()).await;
        for acknowledged in put_many(&store, 0..50) {
            acknowledged.await.unwrap().unwrap();
        }
        journal.script([Fault::Hold]);
        let waiting = put_many(&store, 50..100);
        turns(20).await;
        let gathering = put_many(&store, 100..150);
        turns(20).await;
        if stored {
            journal.release();
            turns(1).await;
        }
        driver.abort();
        for cut_off in waiting.into_iter().chain(gathering) {
            let _acknowledged_or_not = cut_off.await.unwrap();
        }
        let records = memory.tail().await.unwrap().next_seq - 1;
        assert!(if stored { records > 50 } else { records == 50 });
        let (again, _driver) = open(memory.clone()).await;
        assert_eq!(again.revision(), 1 + records);
        assert_eq!(again.range(KeyRange::all()).unwrap().count, records);
        assert_eq!(put(&again, "next", "v").await, 2 + records);
    }
}

/// #14370: a single member acknowledged a write before it was in the log, and lost it in a crash.
#[tokio::test]
async fn issue_14370_nothing_is_acknowledged_before_the_journal_has_it() {
    let memory = MemoryJournal::new();
    let journal = FaultJournal::new(memory.clone());
    let (store, driver) = open(journal.clone()).await;
    journal.script([Fault::Hold]);
    let mut write = put_many(&store, 0..1).remove(0);
    turns(50).await;
    assert!((&mut write).now_or_never().is_none());
    assert_eq!(memory.tail().await.unwrap().next_seq, 1);
    journal.release();
    let revision = write.await.unwrap().unwrap();
    driver.abort(); // right after the answer
    let (again, _driver) = open(memory).await;
    assert_eq!(again.get(b"k0").unwrap().unwrap().mod_revision(), revision);
}

/// #15220: a progress notice could overtake events of its revision, since it went another way than
/// they did. A client that resumed after it missed them.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn issue_15220_a_progress_notice_never_overtakes_events() {
    let journal = Arc::new(MemoryJournal::new());
    let (store, _driver) = open(Arc::clone(&journal)).await;
    let request = WatchRequest::new(KeyRange::key("k0")).from_revision(1);
    let mut watcher = store.watch(request.clone()).unwrap();
    let writer = store.clone();
    let writer = tokio::spawn(async move {
        for number in 0..500 {
            put(&writer, &format!("k{}", number % 3), "v").await;
        }
    });
    let mut told = Told::new(request);
    let mut notices = 0;
    while told.next_revision() <= 501 {
        watcher.request_progress();
        let batch = watcher.next().await.unwrap().unwrap();
        notices += usize::from(batch.is_progress());
        told.batches.push(batch);
    }
    writer.await.unwrap();
    assert!(notices > 0);
    Oracle::read(&*journal).await.unwrap().check(&told).unwrap();
}

/// #15271: a watch that was resumed at another member, which was behind, went back in time and
/// delivered again what it had delivered.
///
/// A watch is resumed at a store that is behind the one where it was, and then at one that is not.
#[tokio::test]
async fn issue_15271_a_watch_resumed_at_a_store_that_is_behind_never_goes_back() {
    let journal = MemoryJournal::new();
    let (behind, _driver) = open(journal.clone()).await;
    put(&behind, "a", "1").await; // 2
    let (ahead, _driver) = open(journal.clone()).await;
    put(&ahead, "a", "2").await; // 3
    let request = WatchRequest::new(KeyRange::all()).from_revision(1);
    let mut told = Told::new(request.clone());
    hear(&mut ahead.watch(request.clone()).unwrap(), &mut told);
    assert_eq!(told.next_revision(), 4);
    let resumed = request.clone().from_revision(4).progress_on_advance();
    let mut watcher = behind.watch(resumed.clone()).unwrap();
    watcher.request_progress();
    turns(10).await;
    hear(&mut watcher, &mut told);
    put(&ahead, "a", "3").await; // 4
    hear(&mut watcher, &mut told); // `behind` never hears of it
    assert_eq!(told.next_revision(), 4);
    hear(&mut ahead.watch(resumed).unwrap(), &mut told);
    told.complete_to = 4;
    Oracle::read(&journal).await.unwrap().check(&told).unwrap();
}

/// #17247: a transaction that read its own writes left them in a cache, and its event came twice.
#[tokio::test]
async fn issue_17247_a_transaction_that_reads_its_own_writes_has_each_event_once() {
    let journal = Arc::new(MemoryJournal::new());
    let (store, _driver) = open(Arc::clone(&journal)).await;
    put(&store, "c", "1").await; // 2
    let request = WatchRequest::new(KeyRange::all()).from_revision(1);
    let mut watcher = store.watch(request.clone()).unwrap();
    let txn = Txn::new()
        .then(Op::get("a"))
        .then(Op::put("a", "1"))
        .then(Op::Range(RangeRequest::new(KeyRange::all())))
        .then(Op::delete(KeyRange::from("c")))
        .then(Op::delete(KeyRange::from("c")))
        .then(Op::put("b", "1"))
        .then(Op::get("b"));
    assert_eq!(store.txn(txn).await.unwrap().revision, 3);
    put(&store, "d", "1").await; // 4
    let mut told = Told { complete_to: 4, ..Told::new(request) };
    hear(&mut watcher, &mut told);
    Oracle::read(&*journal).await.unwrap().check(&told).unwrap();
    let events: Vec<_> = told.batches[1].events.iter().map(|event| event.kv.key()).collect();
    assert_eq!(events, [b"a", b"c", b"b"]);
}

/// #17529: a watcher whose stream was starved was moved on by a compaction, and events were lost
/// without a word.
#[tokio::test]
async fn issue_17529_a_starved_watcher_hears_everything_or_is_told_of_the_compaction() {
    let journal = Arc::new(MemoryJournal::new());
    let (store, _driver) = open(Arc::clone(&journal)).await;
    let request = WatchRequest::new(KeyRange::all()).from_revision(2);
    let watch = || store.watch(request.clone()).unwrap();
    let (mut starved, mut passed) = (watch(), watch());
    let (mut told, mut told_passed) = (Told::new(request.clone()), Told::new(request.clone()));
    for number in 0..3000 {
        put(&store, &format!("k{}", number % 10), "v").await; // up to 3001
    }
    while told.next_revision() <= 3001 {
        told.batches.push(starved.next().await.unwrap().unwrap());
    }
    told.complete_to = 3001;
    told_passed.batches.push(passed.next().await.unwrap().unwrap());
    store.compact(1500).await.unwrap();
    let failed = passed.next().await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Compacted { compact_revision: 1500 });
    told_passed.compacted = Some(1500);
    let oracle = Oracle::read(&*journal).await.unwrap();
    oracle.check(&told).unwrap();
    oracle.check(&told_passed).unwrap();
}

/// #17780: the current revision was recovered as the highest one that was still stored. A crash
/// after a compaction had removed it, a tombstone, made the revision go back.
#[tokio::test]
async fn issue_17780_a_crash_during_compaction_does_not_take_the_revision_back() {
    for freed in [0, 1, 100] {
        let journal = MemoryJournal::new();
        let (store, driver) = open(journal.clone()).await;
        for number in 0..600 {
            put(&store, &format!("k{number}"), "v").await;
        }
        let deleted = store.delete_range(KeyRange::all()).await.unwrap();
        assert_eq!((deleted.deleted, deleted.revision), (600, 602));
        store.compact(602).await.unwrap();
        turns(freed).await; // so far has the freeing come
        driver.abort();
        let (again, _driver) = open(journal).await;
        assert_eq!((again.revision(), again.compact_revision()), (602, 602));
        assert_eq!(again.range(KeyRange::all()).unwrap().count, 0);
        assert_eq!(put(&again, "next", "v").await, 603);
    }
}

/// #18089: a compaction to the revision of a delete removed the tombstone, and a watch from that
/// revision missed the delete.
#[tokio::test]
async fn issue_18089_a_compaction_to_a_delete_keeps_it_for_watches_from_there() {
    let journal = MemoryJournal::new();
    let (store, driver) = open(journal.clone()).await;
    put(&store, "a", "1").await; // 2
    store.delete_range(KeyRange::key("a")).await.unwrap(); // 3
    put(&store, "b", "1").await; // 4
    store.compact(3).await.unwrap();
    let request = WatchRequest::new(KeyRange::all()).from_revision(3);
    let mut live = Told { complete_to: 4, ..Told::new(request.clone()) };
    while store.stats().versions > 2 {
        tokio::task::yield_now().await; // until all is freed
    }
    hear(&mut store.watch(request.clone()).unwrap(), &mut live);
    assert_eq!(live.batches[0].events[0].kind, EventKind::Delete);
    driver.abort();
    let (again, _driver) = open(journal.clone()).await;
    let mut recovered = Told { complete_to: 4, ..Told::new(request.clone()) };
    hear(&mut again.watch(request).unwrap(), &mut recovered);
    let oracle = Oracle::read(&journal).await.unwrap();
    oracle.check(&live).unwrap();
    oracle.check(&recovered).unwrap();
}

/// #18667: a transaction that wrote and then read a compacted revision failed after a part of it
/// was applied, and members disagreed.
#[tokio::test]
async fn issue_18667_a_transaction_that_reads_a_compacted_revision_changes_nothing() {
    let journal = MemoryJournal::new();
    let (store, driver) = open(journal.clone()).await;
    for _ in 0..3 {
        put(&store, "a", "1").await; // up to 4
    }
    store.compact(3).await.unwrap();
    let before = (journal.tail().await.unwrap(), store.revision());
    for past in [1, 2] {
        let read = Op::Range(RangeRequest::new(KeyRange::all()).at(past));
        let txn = Txn::new().then(Op::put("b", "1")).then(read).then(Op::put("c", "1"));
        let failed = store.txn(txn).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Compacted { compact_revision: 3 });
    }
    assert_eq!((journal.tail().await.unwrap(), store.revision()), before);
    assert_eq!(store.range(KeyRange::all()).unwrap().count, 1);
    driver.abort();
    let (again, _driver) = open(journal).await;
    assert_eq!((again.revision(), again.range(KeyRange::all()).unwrap().count), (4, 1));
}

/// #19179: a watch that was opened at the revision of a compaction, while that was under way,
/// missed the deletes of that revision.
#[tokio::test]
async fn issue_19179_a_watch_opened_while_its_revision_is_compacted_hears_its_deletes() {
    let journal = MemoryJournal::new();
    let (store, _driver) = open(journal.clone()).await;
    for number in 0..2000 {
        put(&store, &format!("k{number}"), "v").await; // up to 2001
    }
    store.delete_range(KeyRange::prefix("k1")).await.unwrap(); // 2002
    let request = WatchRequest::new(KeyRange::all()).from_revision(2002);
    let mut watches = Vec::new();
    let compaction = store.compact(2002);
    tokio::pin!(compaction);
    loop {
        let done = (&mut compaction).now_or_never().is_some();
        // One is opened at each step of the freeing.
        watches.push((store.watch(request.clone()).unwrap(), Told::new(request.clone())));
        tokio::task::yield_now().await;
        if done {
            break;
        }
    }
    for _ in 0..50 {
        watches.push((store.watch(request.clone()).unwrap(), Told::new(request.clone())));
        tokio::task::yield_now().await;
    }
    let oracle = Oracle::read(&journal).await.unwrap();
    for (mut watcher, mut told) in watches {
        hear(&mut watcher, &mut told);
        told.complete_to = 2002;
        oracle.check(&told).unwrap();
        assert_eq!(told.batches[0].events.len(), 1111);
    }
}

/// #20221, first row: a watch on a future revision got progress notices of revisions before it.
#[tokio::test(start_paused = true)]
async fn issue_20221_a_watch_on_a_future_revision_gets_no_notices() {
    let journal = Arc::new(MemoryJournal::new());
    let (store, _driver) = open(Arc::clone(&journal)).await;
    let request = WatchRequest::new(KeyRange::key("a"))
        .from_revision(5)
        .progress_on_advance()
        .progress_interval(Duration::from_secs(1));
    let mut watcher = store.watch(request.clone()).unwrap();
    let mut told = Told::new(request);
    for _ in 0..2 {
        put(&store, "b", "1").await; // 2 and 3
        watcher.request_progress();
        tokio::time::sleep(Duration::from_secs(3)).await;
        hear(&mut watcher, &mut told);
        assert_eq!(told.batches, []);
    }
    put(&store, "b", "1").await; // 4: everything before its start has happened
    put(&store, "a", "1").await; // 5
    put(&store, "b", "1").await; // 6
    tokio::time::sleep(Duration::from_secs(3)).await;
    hear(&mut watcher, &mut told);
    told.complete_to = 6;
    assert_eq!(told.next_revision(), 7);
    Oracle::read(&*journal).await.unwrap().check(&told).unwrap();
}

/// #20221, second row: a watch on a future revision got events from before it.
#[tokio::test]
async fn issue_20221_a_watch_on_a_future_revision_gets_no_old_events() {
    let journal = MemoryJournal::new();
    let (store, driver) = open(journal.clone()).await;
    put(&store, "a", "1").await; // 2
    let request = WatchRequest::new(KeyRange::all()).from_revision(6);
    let mut told = Told::new(request.clone());
    let mut watcher = store.watch(request.clone()).unwrap();
    put(&store, "a", "2").await; // 3
    hear(&mut watcher, &mut told);
    driver.abort();
    let (again, _driver) = open(journal.clone()).await;
    let mut watcher = again.watch(request).unwrap();
    for value in ["3", "4", "5", "6"] {
        put(&again, "a", value).await; // up to 7
        hear(&mut watcher, &mut told);
    }
    told.complete_to = 7;
    assert_eq!(told.batches.iter().map(|batch| batch.revision).collect::<Vec<_>>(), [6, 7]);
    Oracle::read(&journal).await.unwrap().check(&told).unwrap();
}

/// #20418: a leader that had been paused answered a linearizable read from what it knew, although
/// others had been elected and had written meanwhile.
///
/// A store is paused with a question to the journal under way, so that an answer from before the
/// takeover is there when it goes on. Nobody who asks after the takeover is served by it.
#[tokio::test]
async fn issue_20418_a_store_that_was_paused_serves_no_stale_read() {
    let memory = MemoryJournal::new();
    let journal = FaultJournal::new(memory.clone());
    let (paused, mut driver) =
        Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    journal.hold_tails(1);
    let early = paused.clone();
    let early = tokio::spawn(async move { early.read_barrier().await });
    for _ in 0..10 {
        assert!((&mut driver).now_or_never().is_none()); // it runs, and then it is paused
        tokio::task::yield_now().await;
    }
    let (other, _driver) = open(memory).await;
    put(&other, "a", "1").await;
    let late = paused.clone();
    let late = tokio::spawn(async move { late.read_barrier().await });
    turns(10).await;
    journal.release_tail();
    let driver = tokio::spawn(driver);
    assert_eq!(early.await.unwrap().unwrap(), 1); // it came before the takeover
    assert_eq!(late.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
    drop(paused);
    driver.await.unwrap().unwrap();
}
