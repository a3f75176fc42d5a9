use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use watch_cache::{
    At, Cache, Config, ErrorKind, Events, Freshness, Index, ListRequest, Listing, MemorySource,
    ProgressMode, Result, Source, WatchRequest, Watcher,
};

use super::{World, brief, next_error, open, spawn, world};

#[tokio::test(start_paused = true)]
async fn the_driver_ends_with_the_last_handle() {
    let World { cache, driver, store, .. } = world().await;
    let other = cache.clone();
    let mut watcher = cache.watch(WatchRequest::new("")).unwrap();
    drop((cache, other));
    // An open watcher still asks for what comes.
    store.put("/a", "1");
    assert_eq!(brief(&[watcher.next().await.unwrap().unwrap()]), ["+/a@2"]);
    drop(watcher);
    driver.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_call_hangs_when_the_driver_is_dropped() {
    let World { cache, driver, faults, store, .. } = world().await;
    let mut parked = cache.watch(WatchRequest::new("").bookmarks()).unwrap();
    assert!(parked.next().now_or_never().is_none());
    faults.hold_answers(true);
    let wait = async {
        let calls = tokio::join!(
            cache.wait_for(100),
            cache.list(ListRequest::new("")),
            cache.list(ListRequest::new("").at(At::AtLeast(100))),
            parked.next(),
        );
        let kinds = [
            calls.0.unwrap_err().kind(),
            calls.1.unwrap_err().kind(),
            calls.2.unwrap_err().kind(),
            calls.3.unwrap().unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::Closed; 4]);
    };
    let abort = async {
        tokio::task::yield_now().await;
        driver.abort();
        assert!(driver.await.unwrap_err().is_cancelled());
    };
    tokio::join!(wait, abort);
    store.put("/a", "1");
    assert_eq!(cache.ready().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.wait_for(1).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.watch(WatchRequest::new("")).unwrap_err().kind(), ErrorKind::Closed);
    let list = cache.list(ListRequest::new("").at(At::Any)).await;
    assert_eq!(list.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.revision(), 1, "what was published can still be read");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_ran_closes_the_cache_too() {
    let (_, _, cache, driver) = open(ProgressMode::Pushed, Config::default());
    let ready = cache.ready();
    let drop_driver = async {
        tokio::task::yield_now().await;
        drop(driver);
    };
    let (ready, ()) = tokio::join!(ready, drop_driver);
    assert_eq!(ready.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_was_published_before_the_end_is_still_delivered() {
    let world = world().await;
    let mut watcher = world.cache.watch(WatchRequest::new("")).unwrap();
    world.put("/a", "1").await;
    world.driver.abort();
    let _ = world.driver.await;
    assert_eq!(brief(&[watcher.next().await.unwrap().unwrap()]), ["+/a@2"]);
    assert_eq!(next_error(&mut watcher).await, ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_driver_ends_while_its_source_is_down() {
    let (_, faults, cache, driver) = open(ProgressMode::Pushed, Config::default());
    faults.fail_lists(u64::MAX);
    let driver = spawn(driver);
    assert!(cache.wait_for(1).await.is_err());
    drop(cache);
    driver.await.unwrap().unwrap();
}

/// A watch that panics when it is told to.
struct Panics {
    inner: MemorySource,
    now: Arc<AtomicBool>,
}

#[async_trait]
impl Source for Panics {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        self.inner.list(prefix, at).await
    }

    async fn watch(&self, _: &Bytes, _: u64) -> Result<Events> {
        let now = Arc::clone(&self.now);
        Ok(stream::poll_fn(move |_| {
            assert!(!now.load(Ordering::SeqCst), "told to panic");
            std::task::Poll::Pending
        })
        .boxed())
    }

    fn freshness(&self) -> Freshness<'_> {
        self.inner.freshness()
    }
}

/// A watcher reaches the driver in the very poll in which the source panics.
#[tokio::test(start_paused = true)]
async fn nobody_hangs_when_the_source_panics() {
    let now = Arc::new(AtomicBool::new(false));
    let source = Panics { inner: MemorySource::new(), now: Arc::clone(&now) };
    let (cache, driver) = Cache::open(Arc::new(source), vec![], Config::default()).unwrap();
    let driver = spawn(driver);
    cache.ready().await.unwrap();
    let mut early = cache.watch(WatchRequest::new("")).unwrap();
    assert!(early.next().now_or_never().is_none());
    tokio::task::yield_now().await;
    now.store(true, Ordering::SeqCst);
    let mut late = cache.watch(WatchRequest::new("")).unwrap();
    // Alone, and the clock first, so that nobody else's end wakes this task.
    let told = tokio::select! {
        biased;
        () = tokio::time::sleep(std::time::Duration::from_secs(1)) => None,
        kind = next_error(&mut late) => Some(kind),
    };
    assert_eq!(told, Some(ErrorKind::Closed), "the watcher was not woken");
    assert_eq!(next_error(&mut early).await, ErrorKind::Closed);
    assert_eq!(cache.wait_for(100).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(driver.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn nobody_hangs_when_an_index_panics() {
    let store = Arc::new(MemorySource::new());
    let index = Index::new("node", |object| {
        assert!(object.value != "panic", "told to panic");
        None
    });
    let (cache, driver) = Cache::open(store.clone(), vec![index], Config::default()).unwrap();
    let driver = spawn(driver);
    cache.ready().await.unwrap();
    let mut watcher = cache.watch(WatchRequest::new("")).unwrap();
    let revision = store.put("/a", "panic");
    let (told, wait) = tokio::join!(next_error(&mut watcher), cache.wait_for(revision));
    assert_eq!((told, wait.unwrap_err().kind()), (ErrorKind::Closed, ErrorKind::Closed));
    assert!(driver.await.unwrap_err().is_panic());
}

/// Calls begin on one thread while the driver ends on another, many times.
#[test]
fn a_call_that_races_with_the_end_is_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..2000 {
        let (_, _, cache, driver) = open(ProgressMode::Pushed, Config::default());
        let ready = || async { tokio::time::timeout(RACE, cache.ready()).await };
        std::thread::scope(|threads| {
            threads.spawn(move || drop(driver));
            let ready = runtime.block_on(ready());
            assert_eq!(ready.expect("an answer").unwrap_err().kind(), ErrorKind::Closed);
        });
    }
}

/// Far longer than a thread can be kept from running.
const RACE: std::time::Duration = std::time::Duration::from_secs(60);

/// A backlog is applied in turns with other tasks of the thread.
#[tokio::test(start_paused = true)]
async fn a_source_that_always_has_more_starves_nobody() {
    let mut config = Config::default();
    config.batch_revisions = 1;
    let world = super::world_of(ProgressMode::Pushed, config).await;
    for _ in 0..1000 {
        world.store.put("/a", "1");
    }
    let mut seen = std::collections::BTreeSet::new();
    while world.cache.revision() < 1001 {
        tokio::task::yield_now().await;
        seen.insert(world.cache.revision());
    }
    // The runtime polls this task once in 61 turns of the driver.
    assert!(seen.len() > 10, "{seen:?}");
}

/// Watchers come, go and come again while batches are applied: each sees all from its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_come_and_go_beside_the_applier_miss_nothing() {
    let mut config = Config::default();
    config.wait_timeout = RACE;
    let (store, _, cache, driver) = open(ProgressMode::Pushed, config);
    let driver = spawn(driver);
    cache.ready().await.unwrap();
    let last = 3001;
    let writer = async {
        for number in 2..=last {
            assert_eq!(store.put("/a", "n1"), number);
            if number % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let watches = (0..8).map(|turn| {
        let cache = &cache;
        async move {
            let mut next = 0;
            while next <= last {
                let request = match turn % 2 {
                    0 => WatchRequest::new(""),
                    _ => WatchRequest::new("").index("node", "n1"),
                };
                let from = if next == 0 { 1 } else { next - 1 };
                let mut watcher =
                    cache.watch(request.from(watch_cache::Start::After(from))).unwrap();
                next = follow(&mut watcher, from + 1, 37 + turn, last).await;
            }
        }
    });
    let all = async { tokio::join!(writer, futures_util::future::join_all(watches)) };
    tokio::time::timeout(RACE, all).await.expect("no wake-up is lost");
    tokio::task::yield_now().await;
    drop(cache);
    driver.await.unwrap().unwrap();
}

/// Reads `count` events from revision `next` on; returns the one after them.
async fn follow(watcher: &mut Watcher, mut next: u64, count: u64, last: u64) -> u64 {
    for _ in 0..count {
        if next > last {
            break;
        }
        assert_eq!(watcher.next().await.unwrap().unwrap().revision(), next);
        next += 1;
    }
    next
}
