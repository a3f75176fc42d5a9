//! Many watchers in one stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use kv_journal::{
    Config, ErrorKind, KeyRange, MemoryJournal, Op, Store, Txn, WatchBatch, WatchMessage,
    WatchRequest, WatchStream,
};

use crate::harness::{event_keys, open_memory, put};

/// What a message says, short.
fn text(message: &WatchMessage) -> String {
    match message {
        WatchMessage::Created { watch_id, revision } => format!("created {watch_id} at {revision}"),
        WatchMessage::Canceled { watch_id, revision, reason } => {
            let reason = reason.as_ref().map(kv_journal::Error::kind);
            format!("canceled {watch_id} at {revision}: {reason:?}")
        }
        WatchMessage::Events { watch_id, batch } => {
            let more = if batch.more { " more" } else { "" };
            format!("{watch_id}: {} {}{more}", batch.revision, event_keys(batch))
        }
        WatchMessage::Progress { watch_id, revision } => format!("{watch_id:?} at {revision}"),
        _ => unreachable!(),
    }
}

/// Everything that is there now.
fn drain(stream: &mut WatchStream) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(message) = stream.next().now_or_never() {
        told.push(text(&message.unwrap().unwrap()));
    }
    told
}

async fn open_with(change: impl FnOnce(&mut Config)) -> Store {
    let mut config = Config::default();
    change(&mut config);
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    store
}

#[tokio::test]
async fn created_comes_first_and_events_to_those_who_want_them() {
    let (store, _) = open_memory().await;
    put(&store, "a1", "1").await; // 2
    let mut stream = store.watch_stream().unwrap();
    let all = stream.create(WatchRequest::new(KeyRange::prefix("a")).from_revision(2)).unwrap();
    put(&store, "a2", "1").await; // 3
    let one = stream.create(KeyRange::key("a2")).unwrap();
    assert_eq!((all, one), (0, 1)); // the stream counts from 0
    put(&store, "b", "1").await; // 4
    put(&store, "a2", "2").await; // 5
    let told = drain(&mut stream);
    assert_eq!(told[..2], ["created 0 at 2", "created 1 at 3"]);
    let of = |id: &str| -> Vec<_> { told.iter().filter(|it| it.starts_with(id)).collect() };
    assert_eq!(of("0:"), ["0: 2 a1", "0: 3 a2", "0: 5 a2"]);
    assert_eq!(of("1:"), ["1: 5 a2"]);
    assert_eq!(told.len(), 6);
}

#[tokio::test]
async fn a_number_is_the_clients_or_the_next_free_one() {
    let (store, _) = open_memory().await;
    let mut stream = store.watch_stream().unwrap();
    let with = |id| WatchRequest::new(KeyRange::all()).watch_id(id);
    assert_eq!(stream.create(with(1)).unwrap(), 1);
    assert_eq!(stream.create(with(0)).unwrap(), 0);
    assert_eq!(stream.create(with(0)).unwrap(), 2); // 1 is taken
    let taken = stream.create(with(1)).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Invalid);
    assert!(taken.to_string().contains("watcher 1"), "{taken}");
    assert_eq!(stream.create(with(-1)).unwrap_err().kind(), ErrorKind::Invalid);
    let empty = stream.create(KeyRange::range("b", "a"));
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(drain(&mut stream), ["created 1 at 1", "created 0 at 1", "created 2 at 1"]);
    assert!(stream.cancel(1));
    assert!(!stream.cancel(1) && !stream.cancel(7));
    // Until its end is told a number belongs to the watcher that had it.
    assert_eq!(stream.create(with(1)).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(drain(&mut stream), ["canceled 1 at 1: None"]);
    assert_eq!(stream.create(with(1)).unwrap(), 1);
}

#[tokio::test]
async fn nothing_of_a_watcher_comes_after_its_cancellation() {
    let (store, _) = open_memory().await;
    let mut stream = store.watch_stream().unwrap();
    let other = stream.handle();
    let id = stream.create(KeyRange::all()).unwrap();
    put(&store, "a", "1").await;
    assert!(other.cancel(id)); // the event was not read
    put(&store, "a", "2").await;
    assert_eq!(drain(&mut stream), ["created 0 at 1", "canceled 0 at 2: None"]);
}

#[tokio::test]
async fn a_compacted_start_is_created_then_canceled() {
    let (store, _) = open_memory().await;
    for value in ["1", "2", "3"] {
        put(&store, "a", value).await; // 2, 3, 4
    }
    let mut stream = store.watch_stream().unwrap();
    let from = |revision| WatchRequest::new(KeyRange::all()).from_revision(revision);
    let behind = stream.create(from(2)).unwrap();
    store.compact(4).await.unwrap();
    let late = stream.create(from(3)).unwrap();
    let at = stream.create(from(4)).unwrap();
    assert_eq!((behind, late, at), (0, 1, 2));
    let reason = "Some(Compacted { compact_revision: 4 })";
    let told = drain(&mut stream);
    let of = |id: &str| -> Vec<_> { told.iter().filter(|it| it.contains(id)).collect() };
    assert_eq!(of("created 1"), ["created 1 at 4"]);
    assert_eq!(of("canceled 1"), [&format!("canceled 1 at 4: {reason}")]);
    // It was created in time and not read until it was too late.
    assert_eq!(of("canceled 0"), [&format!("canceled 0 at 4: {reason}")]);
    assert_eq!(of("2:"), ["2: 4 a"]);
    assert_eq!(told.len(), 6);
}

#[tokio::test]
async fn an_idle_watcher_outlives_compactions_and_a_slow_one_is_told() {
    let (store, _) = open_memory().await;
    let mut stream = store.watch_stream().unwrap();
    stream.create(KeyRange::key("idle")).unwrap();
    stream.create(KeyRange::key("busy")).unwrap();
    assert_eq!(drain(&mut stream).len(), 2);
    for number in 0..100 {
        put(&store, "busy", &number.to_string()).await; // 2 to 101
    }
    store.compact(90).await.unwrap();
    put(&store, "idle", "1").await; // 102
    // Nothing before 102 concerned the idle one, so nothing that it wanted was compacted.
    let told = drain(&mut stream);
    let reason = "Some(Compacted { compact_revision: 90 })";
    assert_eq!(told.len(), 2);
    assert!(told.contains(&format!("canceled 1 at 102: {reason}")), "{told:?}");
    assert!(told.contains(&"0: 102 idle".into()), "{told:?}");
}

#[tokio::test]
async fn filters_leave_kinds_out_and_wake_nobody() {
    let (store, _) = open_memory().await;
    let mut stream = store.watch_stream().unwrap();
    stream.create(WatchRequest::new(KeyRange::all()).no_put()).unwrap();
    drain(&mut stream);
    let (woken, waker) = counting();
    assert!(stream.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    put(&store, "a", "1").await; // 2
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    store.delete_range(KeyRange::all()).await.unwrap(); // 3
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(drain(&mut stream), ["0: 3 a"]);
}

#[tokio::test]
async fn what_was_before_comes_if_asked_for() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    let mut with = store.watch(KeyRange::all()).unwrap();
    let mut without = store.watch(WatchRequest::new(KeyRange::all()).without_prev_kv()).unwrap();
    let past = WatchRequest::new(KeyRange::all()).from_revision(2).without_prev_kv();
    let mut past = store.watch(past).unwrap();
    put(&store, "a", "2").await; // 3
    let batch = with.next().await.unwrap().unwrap();
    assert_eq!(batch.events[0].prev_kv.as_ref().unwrap().value(), b"1");
    let batch = without.next().await.unwrap().unwrap();
    assert_eq!((batch.events[0].kv.value(), &batch.events[0].prev_kv), (&b"2"[..], &None));
    past.next().await.unwrap().unwrap();
    assert_eq!(past.next().await.unwrap().unwrap().events[0].prev_kv, None);
    // Told before the compaction and read after it.
    put(&store, "a", "3").await; // 4
    store.compact(4).await.unwrap();
    let batch = with.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, &batch.events[0].prev_kv), (4, &None));
}

#[tokio::test]
async fn watchers_of_one_prefix_share_their_events() {
    let (store, _) = open_memory().await;
    let mut stream = store.watch_stream().unwrap();
    for _ in 0..3 {
        stream.create(WatchRequest::new(KeyRange::prefix("a")).without_prev_kv()).unwrap();
    }
    drain(&mut stream);
    let txn = Txn::new().then(Op::put("a1", "1")).then(Op::put("b", "1"));
    store.txn(txn.clone()).await.unwrap();
    drain(&mut stream);
    store.txn(txn).await.unwrap();
    let mut batches: Vec<WatchBatch> = Vec::new();
    while let Some(Some(Ok(WatchMessage::Events { batch, .. }))) = stream.next().now_or_never() {
        batches.push(batch);
    }
    assert_eq!(batches.len(), 3);
    assert_eq!(event_keys(&batches[0]), "a1");
    assert!(batches.iter().all(|batch| Arc::ptr_eq(&batch.events, &batches[0].events)));
}

#[tokio::test]
async fn only_a_watch_that_asks_gets_a_revision_in_fragments() {
    let store = open_with(|config| config.watch_fragment_bytes = 1 << 10).await;
    let mut stream = store.watch_stream().unwrap();
    stream.create(WatchRequest::new(KeyRange::all()).fragment()).unwrap();
    stream.create(KeyRange::all()).unwrap();
    drain(&mut stream);
    let value = "x".repeat(300);
    let txn = ["a", "b", "c", "d", "e", "f"].iter();
    let txn = txn.fold(Txn::new(), |txn, key| txn.then(Op::put(*key, value.clone())));
    store.txn(txn).await.unwrap(); // 2
    put(&store, "g", "1").await; // 3
    let told = drain(&mut stream);
    let of = |id: &str| -> Vec<_> { told.iter().filter(|it| it.starts_with(id)).collect() };
    assert_eq!(of("0:"), ["0: 2 ab more", "0: 2 cd more", "0: 2 ef", "0: 3 g"]);
    assert_eq!(of("1:"), ["1: 2 abcdef", "1: 3 g"]);
    // One event that is larger than a fragment comes by itself.
    let large = Txn::new().then(Op::put("h", "y".repeat(2000))).then(Op::put("i", "1"));
    store.txn(large).await.unwrap(); // 4
    let told = drain(&mut stream);
    assert!(told.contains(&"0: 4 h more".into()) && told.contains(&"0: 4 i".into()), "{told:?}");
    assert!(told.contains(&"1: 4 hi".into()), "{told:?}");
}

#[tokio::test]
async fn a_cancellation_between_fragments_ends_them() {
    let store = open_with(|config| config.watch_fragment_bytes = 1 << 10).await;
    let mut stream = store.watch_stream().unwrap();
    stream.create(WatchRequest::new(KeyRange::all()).fragment()).unwrap();
    drain(&mut stream);
    let value = "x".repeat(900);
    store
        .txn(Txn::new().then(Op::put("a", value.clone())).then(Op::put("b", value)))
        .await
        .unwrap();
    assert_eq!(text(&stream.next().await.unwrap().unwrap()), "0: 2 a more");
    stream.cancel(0);
    assert_eq!(drain(&mut stream), ["canceled 0 at 2: None"]);
}

#[tokio::test]
async fn progress_of_a_stream_comes_after_what_it_covers() {
    let (store, _) = open_memory().await;
    let mut stream = store.watch_stream().unwrap();
    stream.create(KeyRange::prefix("a")).unwrap();
    stream.create(WatchRequest::new(KeyRange::prefix("b")).from_revision(1)).unwrap();
    stream.request_progress();
    assert_eq!(drain(&mut stream), ["created 0 at 1", "created 1 at 1", "None at 1"]);
    put(&store, "a", "1").await; // 2
    put(&store, "c", "1").await; // 3
    stream.request_progress();
    stream.request_progress();
    assert_eq!(drain(&mut stream), ["0: 2 a", "None at 3"]); // one answer for two
    let future = stream.create(WatchRequest::new(KeyRange::all()).from_revision(6)).unwrap();
    stream.request_progress();
    assert_eq!(drain(&mut stream), ["created 2 at 3"]); // it is not past its start
    put(&store, "c", "2").await; // 4
    assert_eq!(drain(&mut stream), [""; 0]);
    stream.cancel(future);
    stream.request_progress();
    assert_eq!(drain(&mut stream), ["canceled 2 at 4: None", "None at 4"]);
    stream.create(WatchRequest::new(KeyRange::key("z")).from_revision(6)).unwrap();
    put(&store, "c", "3").await; // 5
    stream.request_progress();
    assert_eq!(drain(&mut stream), ["created 3 at 4", "None at 5"]); // 6 is the next revision
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watcher_gets_progress_now_and_then() {
    let store = open_with(|config| config.watch_progress_ms = 1000).await;
    let mut stream = store.watch_stream().unwrap();
    let request = WatchRequest::new(KeyRange::key("quiet"));
    let mut due = std::collections::BTreeSet::new();
    let started = tokio::time::Instant::now();
    for _ in 0..20 {
        stream.create(request.clone().progress_notify()).unwrap();
    }
    stream.create(request.clone()).unwrap();
    stream.create(request.clone().from_revision(9).progress_notify()).unwrap(); // not yet
    assert_eq!(drain(&mut stream).len(), 22);
    for _ in 0..20 {
        let message = stream.next().await.unwrap().unwrap();
        assert!(matches!(message, WatchMessage::Progress { watch_id: Some(..20), revision: 1 }));
        due.insert(started.elapsed());
    }
    assert!(*due.first().unwrap() >= Duration::from_secs(1));
    assert!(*due.last().unwrap() <= Duration::from_millis(1102));
    assert!(due.len() > 1, "the notices are not spread");
    let short = request.progress_interval(Duration::from_millis(99));
    assert_eq!(stream.create(short).unwrap_err().kind(), ErrorKind::Invalid);
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counting() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    (Arc::clone(&wakes), Waker::from(wakes))
}

#[tokio::test]
async fn an_event_wakes_only_those_whom_it_concerns() {
    let (store, _) = open_memory().await;
    let mut parked = Vec::new();
    for number in 0..100 {
        let range = match number % 4 {
            0 => KeyRange::key(format!("k{number}")),
            1 => KeyRange::prefix(format!("k{number}")),
            2 => KeyRange::range(format!("k{number}"), format!("k{number}~")),
            _ => KeyRange::from("l"),
        };
        let mut watcher = store.watch(range).unwrap();
        let (woken, waker) = counting();
        assert!(watcher.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        parked.push((watcher, woken));
    }
    let woken = |parked: &[(_, Arc<Wakes>)]| -> Vec<usize> {
        let wakes = parked.iter().map(|(_, wakes)| wakes.0.load(Ordering::Relaxed));
        wakes.enumerate().filter(|(_, wakes)| *wakes > 0).map(|(at, _)| at).collect()
    };
    put(&store, "j", "1").await;
    assert_eq!(woken(&parked), [0; 0]);
    put(&store, "k40", "1").await;
    assert_eq!(woken(&parked), [40]);
    put(&store, "k57/x", "1").await;
    put(&store, "k57/y", "1").await;
    assert_eq!(woken(&parked), [5, 40, 57]);
    // Who has not looked yet is not woken again.
    assert!(parked.iter().all(|(_, wakes)| wakes.0.load(Ordering::Relaxed) <= 1));
    put(&store, "m", "1").await;
    assert_eq!(woken(&parked).len(), 3 + 25);
}

#[tokio::test]
async fn an_unread_stream_stalls_nobody_and_loses_nothing() {
    let (store, _) = open_memory().await;
    let mut slow = store.watch_stream().unwrap();
    let mut quick = store.watch_stream().unwrap();
    for stream in [&slow, &quick] {
        stream.create(KeyRange::prefix("a")).unwrap();
        stream.create(KeyRange::key("a7")).unwrap();
    }
    drain(&mut quick);
    for number in 0..500 {
        put(&store, &format!("a{}", number % 10), "v").await; // 2 to 501
        let expected = if number % 10 == 7 { 2 } else { 1 };
        assert_eq!(drain(&mut quick).len(), expected);
    }
    let mut told = Vec::new();
    while told.len() < 2 + 500 + 50 {
        told.push(text(&slow.next().await.unwrap().unwrap()));
    }
    let of = |id: &str| -> Vec<u64> {
        let events = told.iter().filter_map(|text| text.strip_prefix(id));
        events.map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(of("0: "), (2..=501).collect::<Vec<_>>());
    assert_eq!(of("1: "), (0..50).map(|round| 9 + 10 * round).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_takes_so_many_watchers_and_no_more() {
    let store = open_with(|config| config.watch_stream_len = 2).await;
    let mut stream = store.watch_stream().unwrap();
    for _ in 0..2 {
        stream.create(KeyRange::all()).unwrap();
    }
    let full = || stream.create(KeyRange::all()).unwrap_err().kind();
    assert_eq!(full(), ErrorKind::Exhausted);
    stream.cancel(0);
    assert_eq!(full(), ErrorKind::Exhausted); // the cancellation takes its place until it is read
    drain(&mut stream);
    stream.create(KeyRange::all()).unwrap();
}

#[tokio::test]
async fn what_was_published_is_told_before_the_end() {
    let (store, driver) = open_memory().await;
    let mut stream = store.watch_stream().unwrap();
    let handle = stream.handle();
    for key in ["a", "b"] {
        stream.create(KeyRange::key(key)).unwrap();
    }
    let (woken, waker) = counting();
    drain(&mut stream);
    assert!(stream.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    put(&store, "b", "1").await; // 2
    put(&store, "c", "1").await; // 3
    drop(store);
    driver.await.unwrap().unwrap();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(text(&stream.next().await.unwrap().unwrap()), "1: 2 b");
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(stream.next().await.is_none());
    assert_eq!(handle.create(KeyRange::all()).unwrap_err().kind(), ErrorKind::Closed);
    assert!(!handle.cancel(0));
}

#[tokio::test]
async fn a_handle_without_its_stream_is_closed() {
    let (store, _) = open_memory().await;
    let stream = store.watch_stream().unwrap();
    let handle = stream.handle();
    handle.create(KeyRange::all()).unwrap();
    drop(stream);
    assert_eq!(handle.create(KeyRange::all()).unwrap_err().kind(), ErrorKind::Closed);
    put(&store, "a", "1").await;
}

#[tokio::test]
async fn the_driver_can_be_split_and_watchers_end_with_their_part() {
    let (store, mut driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    let telling = tokio::spawn(driver.split().unwrap());
    assert!(driver.split().is_none());
    let driver = tokio::spawn(driver);
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    for revision in 2..200 {
        put(&store, "a", "1").await;
        assert_eq!(watcher.next().await.unwrap().unwrap().revision, revision);
    }
    telling.abort();
    assert_eq!(watcher.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.watch(KeyRange::all()).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(put(&store, "a", "2").await, 200); // writes go on
    drop(store);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_part_for_watchers_ends_with_the_store() {
    let (store, mut driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    let telling = driver.split().unwrap();
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    let (wrote, ()) = tokio::join!(
        async {
            put(&store, "a", "1").await;
            drop(store);
        },
        async { driver.await.unwrap() }
    );
    let () = wrote;
    telling.await;
    assert_eq!(watcher.next().await.unwrap().unwrap().revision, 2);
    assert_eq!(watcher.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn revisions_compacted_before_they_were_told_cancel_those_who_may_miss_them() {
    let (store, mut driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    let telling = driver.split().unwrap(); // nobody runs it yet
    tokio::spawn(driver);
    let mut stream = store.watch_stream().unwrap();
    stream.create(KeyRange::key("a")).unwrap();
    stream.create(WatchRequest::new(KeyRange::key("a")).from_revision(9)).unwrap();
    for value in 2..=8 {
        put(&store, "a", &value.to_string()).await;
    }
    assert_eq!(drain(&mut stream), ["created 0 at 1", "created 1 at 1"]);
    store.compact(8).await.unwrap();
    stream.create(KeyRange::key("a")).unwrap();
    put(&store, "a", "9").await; // 9
    tokio::spawn(telling);
    while stream.next().now_or_never().is_none_or(|message| {
        let canceled = text(&message.unwrap().unwrap());
        canceled != "canceled 0 at 9: Some(Compacted { compact_revision: 8 })"
    }) {
        tokio::task::yield_now().await;
    }
    put(&store, "a", "10").await; // 10
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &String| !last.ends_with("10 a")) {
        told.push(text(&stream.next().await.unwrap().unwrap()));
    }
    assert!(told.iter().all(|text| !text.contains("canceled")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_created_beside_writers_miss_and_repeat_nothing() {
    const PUTS: u64 = 400;
    const WATCHERS: usize = 200;
    let (store, mut driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    tokio::spawn(driver.split().unwrap());
    tokio::spawn(driver);
    let mut stream = store.watch_stream().unwrap();
    let handle = stream.handle();
    let mut work = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let store = store.clone();
        work.spawn(async move {
            for number in 0..PUTS {
                put(&store, "a", &number.to_string()).await;
            }
        });
    }
    work.spawn(async move {
        for number in 0..WATCHERS {
            // Of a group that is there or of a new one.
            handle.create(KeyRange::range("a", format!("b{}", number % 7))).unwrap();
            tokio::task::yield_now().await;
        }
    });
    tokio::spawn(async move {
        work.join_all().await;
        put(&store, "a", "last").await;
        store.closed().await;
    });
    let last = 2 * PUTS + 2;
    let mut next = std::collections::BTreeMap::new();
    let mut done = 0;
    while done < WATCHERS {
        match stream.next().await.unwrap().unwrap() {
            WatchMessage::Created { watch_id, revision } => {
                assert_eq!(next.insert(watch_id, revision + 1), None);
            }
            WatchMessage::Events { watch_id, batch } => {
                assert_eq!(next.insert(watch_id, batch.revision + 1), Some(batch.revision));
                done += usize::from(batch.revision == last);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(next.len(), WATCHERS);
}
