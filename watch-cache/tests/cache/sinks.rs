//! Watches that are pushed into sinks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use watch_cache::{
    Cache, Config, Delivery, Error, ErrorKind, Flow, ListRequest, MemorySource, ProgressMode, Sink,
    Start, Subscription, WatchEvent, WatchRequest,
};

use super::{World, brief, by_node, open, spawn, world, world_of};

/// A sink with room for some deliveries, and what came into it.
#[derive(Clone)]
pub(crate) struct Inbox(Arc<Mutex<Inner>>);

struct Inner {
    room: usize,
    deliveries: Vec<Delivery>,
    refused: usize,
    reached: u64,
    initial: bool,
    ended: Option<Error>,
}

impl Inbox {
    pub(crate) fn new(room: usize) -> Self {
        let (deliveries, refused, reached) = (Vec::new(), 0, 0);
        let inner = Inner { room, deliveries, refused, reached, initial: false, ended: None };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Takes all events out.
    pub(crate) fn take(&self) -> Vec<WatchEvent> {
        let deliveries = std::mem::take(&mut self.0.lock().deliveries);
        deliveries.iter().flat_map(Delivery::events).cloned().collect()
    }

    pub(crate) fn ended(&self) -> Option<ErrorKind> {
        self.0.lock().ended.as_ref().map(Error::kind)
    }

    pub(crate) fn make_room(&self) {
        self.0.lock().room = usize::MAX;
    }

    fn refused(&self) -> usize {
        self.0.lock().refused
    }
}

impl Sink for Inbox {
    fn deliver(&mut self, delivery: &Delivery) -> Flow {
        let mut inner = self.0.lock();
        assert!(inner.ended.is_none(), "after the end");
        let events = delivery.events();
        let last = events.last().expect("an event").revision();
        assert!(last <= delivery.revision() && delivery.revision() >= inner.reached);
        // Whole revisions: what comes next is of later ones, or of the same initial state.
        let within = |event: &WatchEvent| event.revision() <= inner.reached;
        assert!(
            inner.initial || !events.iter().any(|event| within(event) && event.object().is_some())
        );
        if inner.deliveries.len() >= inner.room {
            inner.refused += 1;
            return Flow::Full;
        }
        inner.reached = delivery.revision();
        let ends =
            |event: &WatchEvent| matches!(event, WatchEvent::Bookmark { initial_end: true, .. });
        inner.initial &= !events.iter().any(ends);
        inner.deliveries.push(delivery.clone());
        Flow::Taken
    }

    fn end(&mut self, error: Error) {
        assert!(self.0.lock().ended.replace(error).is_none(), "ended twice");
    }
}

pub(crate) fn into_inbox(
    cache: &Cache,
    request: WatchRequest,
    room: usize,
) -> watch_cache::Result<(Inbox, Subscription)> {
    let inbox = Inbox::new(room);
    inbox.0.lock().initial = request.from == Start::Initial;
    let watch = cache.watch_into(request, inbox.clone())?;
    Ok((inbox, watch))
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_told_what_a_watcher_is_told() {
    let world = world().await;
    let n1 = || WatchRequest::new("/pods/").index("node", "n1");
    let (one, _one) = into_inbox(&world.cache, n1(), 100).unwrap();
    let (other, other_watch) = into_inbox(&world.cache, n1(), 100).unwrap();
    let (all, _all) = into_inbox(&world.cache, WatchRequest::new(""), 100).unwrap();
    world.put("/pods/a", "n1").await;
    world.put("/pods/a", "n2").await;
    settle().await;
    assert_eq!(brief(&one.take()), ["+/pods/a@2", "-/pods/a@3"]);
    assert_eq!(brief(&other.take()), ["+/pods/a@2", "-/pods/a@3"]);
    assert_eq!(brief(&all.take()), ["+/pods/a@2", "~/pods/a@3"]);
    drop(other_watch);
    settle().await;
    assert_eq!(Arc::strong_count(&other.0), 1, "the sink is dropped");
    assert_eq!(world.cache.stats().watchers, 2);
    world.put("/pods/b", "n1").await;
    settle().await;
    assert_eq!(brief(&one.take()), ["+/pods/b@4"]);
    let late = n1().from(Start::After(2));
    let (late, _late) = into_inbox(&world.cache, late, 100).unwrap();
    let first = n1().from(Start::Initial).bookmarks();
    let (first, _first) = into_inbox(&world.cache, first, 100).unwrap();
    settle().await;
    assert_eq!(brief(&late.take()), ["-/pods/a@3", "+/pods/b@4"]);
    assert_eq!(brief(&first.take()), ["+/pods/b@4", "end@4"]);
    world.put("/x", "n1").await;
    tokio::time::sleep(Config::BOOKMARK_INTERVAL.default).await;
    assert_eq!(brief(&first.take()), ["mark@5"]);
    assert_eq!(brief(&late.take()), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_full_sink_is_parked_and_catches_up() {
    let world = world().await;
    let request = WatchRequest::new("/pods/");
    let (slow, slow_watch) = into_inbox(&world.cache, request.clone(), 1).unwrap();
    let (fast, _fast) = into_inbox(&world.cache, request, 1000).unwrap();
    settle().await;
    for _ in 0..50 {
        world.put("/pods/a", "n1").await;
        settle().await;
    }
    assert_eq!(fast.take().len(), 50);
    assert_eq!((slow.refused(), world.cache.stats().parked), (1, 1), "it is asked once");
    slow_watch.resume();
    settle().await;
    assert_eq!((slow.refused(), world.cache.stats().parked), (2, 1), "it still is full");
    assert_eq!(slow.take().len(), 1);
    slow_watch.resume();
    settle().await;
    let told: Vec<u64> = slow.take().iter().map(WatchEvent::revision).collect();
    assert_eq!(told, (3..=51).collect::<Vec<_>>());
    assert_eq!(world.cache.stats().parked, 0);
    world.put("/pods/a", "n1").await;
    settle().await;
    assert_eq!(brief(&slow.take()), ["~/pods/a@52"]);
    slow_watch.resume();
    settle().await;
    assert_eq!(slow.refused(), 2);
}

#[tokio::test(start_paused = true)]
async fn initial_events_that_are_refused_come_later() {
    let world = world().await;
    for pod in 0..300 {
        world.store.put(format!("/pods/{pod:03}"), "n1");
    }
    let at = world.put("/other", "x").await;
    let request = WatchRequest::new("/pods/").from(Start::Initial);
    let (inbox, watch) = into_inbox(&world.cache, request, 1).unwrap();
    let mut told = Vec::new();
    for _ in 0..10 {
        settle().await;
        told.extend(inbox.take());
        world.store.delete("/pods/299");
        watch.resume();
    }
    let expected: Vec<String> = (0..300).map(|pod| format!("+/pods/{pod:03}@{at}")).collect();
    let end = [format!("end@{at}"), format!("-/pods/299@{}", at + 1)];
    assert_eq!(brief(&told), [&expected[..], &end].concat());
}

/// However long it is parked, and whatever is written meanwhile.
#[tokio::test(start_paused = true)]
async fn what_a_parked_watch_missed_keeps_nothing_and_comes_later() {
    for selector in ["", "n1"] {
        let mut config = Config::default();
        config.log_revisions = 3;
        let world = world_of(ProgressMode::Pushed, config).await;
        let mut request = WatchRequest::new("/pods/");
        if !selector.is_empty() {
            request = request.index("node", selector);
        }
        let (inbox, watch) = into_inbox(&world.cache, request, 0).unwrap();
        let mut reached = world.cache.revision();
        let mut held = BTreeMap::new();
        for round in 0..8_u64 {
            for pod in 0..800 {
                if (pod + round) % 5 == 0 {
                    world.store.delete(format!("/pods/{pod:03}"));
                } else {
                    world.store.put(format!("/pods/{pod:03}"), format!("n{}", (pod + round) % 3));
                }
            }
            world.cache.wait_for(world.store.revision()).await.unwrap();
            settle().await;
            // It is behind the log, has been asked, and was full.
            assert_eq!(world.cache.stats().bytes.pinned, 0, "round {round}");
            if round < 7 {
                inbox.0.lock().room = 1;
            } else {
                inbox.make_room();
            }
            watch.resume();
            settle().await;
            for event in inbox.take() {
                match event {
                    WatchEvent::Coalesced { key, object: Some(object), .. } => {
                        held.insert(key, object);
                    }
                    WatchEvent::Coalesced { key, object: None, .. } => {
                        held.remove(&key);
                    }
                    WatchEvent::Resumed { after, revision } => {
                        assert_eq!(after, reached);
                        // What is under an index was listed when it was missed.
                        assert!(!selector.is_empty() || round == 7);
                        reached = revision;
                    }
                    event => panic!("{event:?}"),
                }
            }
        }
        assert_eq!(reached, world.cache.revision());
        let mut list = ListRequest::new("/pods/");
        if !selector.is_empty() {
            list = list.index("node", selector);
        }
        let listed = world.cache.list(list).await.unwrap().objects;
        assert!(held.into_values().eq(listed));
        // From there on each step is told.
        let next = world.put("/pods/x", "n1").await;
        settle().await;
        assert_eq!(brief(&inbox.take()), [format!("+/pods/x@{next}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_watch_that_left_the_log_is_told_so_and_a_done_one_nothing() {
    struct Once(Inbox);
    impl Sink for Once {
        fn deliver(&mut self, delivery: &Delivery) -> Flow {
            self.0.deliver(delivery);
            Flow::Done
        }
        fn end(&mut self, error: Error) {
            self.0.end(error);
        }
    }
    let config = {
        let mut config = Config::default();
        config.log_revisions = 3;
        config
    };
    let world = world_of(ProgressMode::Pushed, config).await;
    let (slow, watch) = into_inbox(&world.cache, WatchRequest::new("").exact(), 1).unwrap();
    let once = Inbox::new(10);
    let _once = world.cache.watch_into(WatchRequest::new(""), Once(once.clone())).unwrap();
    for _ in 0..6 {
        world.put("/a", "n1").await;
        settle().await;
    }
    assert_eq!((brief(&once.take()), once.ended()), (vec!["+/a@2".to_owned()], None));
    assert_eq!((slow.take().len(), slow.ended()), (1, None));
    watch.resume();
    settle().await;
    assert!(
        matches!(slow.ended(), Some(ErrorKind::Expired { oldest_revision: 4 })),
        "{:?}",
        slow.ended()
    );
    assert_eq!((world.cache.stats().parked, world.cache.stats().watchers), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn every_sink_hears_of_the_end_whoever_ends_first() {
    for first in ["driver", "pump"] {
        let config = {
            let mut config = Config::default();
            config.pumps = 2;
            config
        };
        let (store, _, cache, mut driver) = open(ProgressMode::Pushed, config);
        let mut pumps = driver.take_pumps();
        assert_eq!((pumps.len(), driver.take_pumps().len()), (2, 0));
        let driver = spawn(driver);
        cache.ready().await.unwrap();
        let watches: Vec<_> =
            (0..4).map(|room| into_inbox(&cache, WatchRequest::new("/a"), room).unwrap()).collect();
        let local = tokio::task::LocalSet::new();
        let one = local.spawn_local(pumps.pop().unwrap());
        let other = local.spawn_local(pumps.pop().unwrap());
        local
            .run_until(async {
                settle().await;
                let revision = store.put("/a", "n1");
                cache.wait_for(revision).await.unwrap();
                settle().await;
                if first == "driver" {
                    driver.abort();
                    settle().await;
                    assert!(one.is_finished() && other.is_finished());
                } else {
                    one.abort();
                    other.abort();
                    settle().await;
                }
            })
            .await;
        for (at, (inbox, _)) in watches.iter().enumerate() {
            assert_eq!((inbox.take().len(), inbox.ended()), (at.min(1), Some(ErrorKind::Closed)));
        }
        let late = into_inbox(&cache, WatchRequest::new("/a"), 1);
        assert_eq!(late.err().map(|error| error.kind()), Some(ErrorKind::Closed));
        assert_eq!((cache.stats().watchers, cache.stats().parked), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_keeps_the_driver_and_its_end_ends_it() {
    let World { cache, driver, store, .. } = world().await;
    let (inbox, watch) = into_inbox(&cache, WatchRequest::new(""), 10).unwrap();
    drop(cache);
    settle().await;
    store.put("/a", "n1");
    settle().await;
    assert_eq!(brief(&inbox.take()), ["+/a@2"]);
    drop(watch);
    driver.await.unwrap().unwrap();
    assert_eq!(inbox.ended(), None);
}

#[test]
fn many_threads_come_write_and_go() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let store = Arc::new(MemorySource::new());
    let config = {
        let mut config = Config::default();
        config.pumps = 2;
        config
    };
    let (cache, mut driver) = Cache::open(store.clone(), vec![by_node()], config).unwrap();
    driver.take_pumps().into_iter().for_each(|pump| drop(runtime.spawn(pump)));
    let driver = runtime.spawn(driver);
    runtime.block_on(cache.ready()).unwrap();
    let writers: Vec<_> = (0..3)
        .map(|writer| runtime.spawn(come_write_and_go(store.clone(), cache.clone(), writer)))
        .collect();
    for writer in writers {
        let patience = async { tokio::time::timeout(Duration::from_secs(20), writer).await };
        runtime.block_on(patience).unwrap().unwrap();
    }
    drop(cache);
    runtime.block_on(driver).unwrap().unwrap();
}

async fn come_write_and_go(store: Arc<MemorySource>, cache: Cache, writer: usize) {
    for round in 0..200 {
        let node = ["n1", "n2"][round % 2];
        let request = WatchRequest::new("/a").index("node", node);
        let from = if round % 3 == 0 { Start::Initial } else { Start::Now };
        let (inbox, watch) = into_inbox(&cache, request.from(from), 1).unwrap();
        let revision = store.put(format!("/a{writer}"), node);
        // Until it has come, whatever comes before it.
        while !inbox.take().iter().any(|event| event.revision() >= revision) {
            watch.resume();
            tokio::task::yield_now().await;
        }
    }
}
