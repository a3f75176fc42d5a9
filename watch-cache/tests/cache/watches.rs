use futures_util::StreamExt;
use watch_cache::oracle::{Begin, Oracle, Record};
use watch_cache::{
    Config, ErrorKind, ProgressMode, Source, SourceEvent, Start, WatchEvent, WatchRequest, Write,
};

use super::sinks::into_inbox;
use super::{World, brief, drain, next_error, node_of, world, world_of};

/// Everything the store has done.
async fn history(world: &World) -> Oracle {
    let mut oracle = Oracle::default();
    let mut events = world.store.watch(&bytes::Bytes::new(), 0).await.unwrap();
    let end = world.store.revision();
    while let Some(Ok(event)) = events.next().await {
        match event {
            SourceEvent::Revision(revision) if revision.revision < end => oracle.push(revision),
            SourceEvent::Revision(revision) => {
                oracle.push(revision);
                break;
            }
            SourceEvent::Progress(_) => break,
        }
    }
    oracle
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_its_selector_sees() {
    let world = world().await;
    let mut n1 = world.cache.watch(WatchRequest::new("/pods/").index("node", "n1")).unwrap();
    let mut pods = world.cache.watch(WatchRequest::new("/pods/")).unwrap();
    let mut all = world.cache.watch(WatchRequest::new("")).unwrap();
    world.put("/pods/a", "n1").await; // enters
    world.put("/pods/a", "n1:2").await; // stays
    world.put("/pods/a", "n2").await; // leaves
    world.put("/pods/b", "n2").await; // never there
    world.put("/pods/b", "n1").await; // enters by an update
    world.delete("/pods/b").await;
    world.put("/nodes/n1", "n1").await; // another prefix
    assert_eq!(
        brief(&drain(&mut n1).await),
        ["+/pods/a@2", "~/pods/a@3", "-/pods/a@4", "+/pods/b@6", "-/pods/b@7"]
    );
    let told = ["+/pods/a@2", "~/pods/a@3", "~/pods/a@4", "+/pods/b@5", "~/pods/b@6", "-/pods/b@7"];
    assert_eq!(brief(&drain(&mut pods).await), told);
    assert_eq!(brief(&drain(&mut all).await), [&told[..], &["+/nodes/n1@8"]].concat());
}

#[tokio::test(start_paused = true)]
async fn the_guarantees_hold_for_every_start() {
    let world = world().await;
    world.put("/pods/a", "n1").await;
    world.put("/pods/b", "n2").await;
    let initial = world.cache.revision();
    let request = || WatchRequest::new("/pods/").bookmarks();
    let mut watchers = Vec::new();
    for (begin, from) in [
        (Begin::After(initial), Start::Now),
        (Begin::After(1), Start::After(1)),
        (Begin::After(2), Start::After(2)),
        (Begin::Initial(initial), Start::Initial),
    ] {
        watchers.push((begin, None, world.cache.watch(request().from(from)).unwrap()));
        let n1 = world.cache.watch(request().from(from).index("node", "n1")).unwrap();
        watchers.push((begin, Some("n1"), n1));
    }
    let write = |key: &'static str, value: &'static str| Write::Put(key.into(), value.into());
    world.store.txn([write("/pods/c", "n1"), write("/pods/a", "n2"), write("/pods/b", "n1")]);
    world.store.txn([Write::Delete("/pods/b".into()), write("/pods/d", "n1"), write("/x", "n1")]);
    world.put("/y", "n1").await;
    tokio::time::sleep(Config::BOOKMARK_INTERVAL.default).await;
    world.put("/pods/a", "n1").await;
    let oracle = history(&world).await;
    for (begin, node, watcher) in &mut watchers {
        let events = drain(watcher).await;
        assert!(events.iter().any(|event| event.object().is_none()), "a bookmark");
        let complete_to = world.store.revision();
        let record = Record { begin: *begin, events, complete_to };
        let selects = |object: &watch_cache::Object| {
            let node = node.is_none_or(|node| node_of(object.value()) == Some(node.as_bytes()));
            node && object.key().starts_with(b"/pods/")
        };
        oracle.check(&record, selects).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_bookmark_and_go_on_without_a_gap() {
    let world = world().await;
    for pod in 0..300 {
        world.store.put(format!("/pods/{pod:03}"), "n1");
    }
    let at = world.put("/other", "x").await;
    let request = WatchRequest::new("/pods/").from(Start::Initial);
    let mut watcher = world.cache.watch(request).unwrap();
    let first = watcher.next().await.unwrap().unwrap();
    assert_eq!(brief(&[first]), [format!("+/pods/000@{at}")]);
    world.put("/pods/000", "n2").await;
    world.delete("/pods/299").await;
    let events = drain(&mut watcher).await;
    assert_eq!(events.len(), 299 + 1 + 2);
    assert_eq!(events[299], WatchEvent::Bookmark { revision: at, initial_end: true });
    let after = [format!("~/pods/000@{}", at + 1), format!("-/pods/299@{}", at + 2)];
    assert_eq!(brief(&events[300..]), after);
}

#[tokio::test(start_paused = true)]
async fn an_idle_watcher_gets_bookmarks_to_resume_from() {
    let world = world().await;
    let request = WatchRequest::new("/pods/").bookmarks();
    let mut watcher = world.cache.watch(request).unwrap();
    let mut plain = world.cache.watch(WatchRequest::new("/pods/")).unwrap();
    world.put("/other", "x").await;
    tokio::time::sleep(Config::BOOKMARK_INTERVAL.default).await;
    assert_eq!(brief(&drain(&mut watcher).await), ["mark@2"]);
    // Nothing new: no bookmark says it again.
    tokio::time::sleep(3 * Config::BOOKMARK_INTERVAL.default).await;
    assert_eq!(drain(&mut watcher).await, []);
    assert_eq!(drain(&mut plain).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_event_wakes_only_those_that_it_matches() {
    let world = world().await;
    let mut watchers: Vec<_> = (0..1000)
        .map(|node| {
            let request = WatchRequest::new("/pods/").index("node", format!("n{node}"));
            world.cache.watch(request).unwrap()
        })
        .collect();
    for watcher in &mut watchers {
        assert!(tokio::time::timeout(std::time::Duration::ZERO, watcher.next()).await.is_err());
    }
    let before = world.cache.stats().wakes;
    world.put("/pods/a", "n7").await;
    assert_eq!(world.cache.stats().wakes - before, 1);
    world.put("/pods/a", "n8").await; // leaves one, enters another
    assert_eq!(world.cache.stats().wakes - before, 3);
    world.put("/nodes/a", "n7").await; // the value, but another prefix
    assert_eq!(world.cache.stats().wakes - before, 3);
    assert_eq!(brief(&drain(&mut watchers[7]).await), ["+/pods/a@2", "-/pods/a@3"]);
    assert_eq!(brief(&drain(&mut watchers[8]).await), ["+/pods/a@3"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_expires_alone_and_an_idle_one_never() {
    let mut config = Config::default();
    config.log_revisions = 10;
    let world = world_of(ProgressMode::Pushed, config).await;
    let mut slow = world.cache.watch(WatchRequest::new("").exact()).unwrap();
    let mut fast = world.cache.watch(WatchRequest::new("")).unwrap();
    let mut idle = world.cache.watch(WatchRequest::new("").index("node", "n1")).unwrap();
    let request = WatchRequest::new("").index("node", "n2").exact();
    let mut asleep = world.cache.watch(request).unwrap();
    assert_eq!(drain(&mut idle).await, []);
    assert_eq!(drain(&mut asleep).await, []);
    world.put("/z", "n2").await;
    for _ in 0..30 {
        world.put("/a", "n3").await;
        assert_eq!(drain(&mut fast).await.len(), 1 + usize::from(world.cache.revision() == 3));
    }
    assert_eq!(next_error(&mut slow).await, ErrorKind::Expired { oldest_revision: 22 });
    // What it missed left the log, however few its events are.
    assert_eq!(next_error(&mut asleep).await, ErrorKind::Expired { oldest_revision: 22 });
    world.put("/a", "n1").await;
    assert_eq!(brief(&drain(&mut idle).await), ["+/a@33"]);
    let stats = world.cache.stats();
    assert_eq!((stats.log_revisions, stats.oldest_revision), (10, 23));
    for (after, expected) in [
        (22, ErrorKind::Expired { oldest_revision: 23 }),
        (34, ErrorKind::TooLarge { current_revision: 33 }),
    ] {
        let late = world.cache.watch(WatchRequest::new("").from(Start::After(after)).exact());
        assert_eq!(late.unwrap_err().kind(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_is_bounded_in_bytes() {
    let mut config = Config::default();
    config.log_bytes = 10_000;
    let world = world_of(ProgressMode::Pushed, config).await;
    for round in 0..50 {
        world.store.put("/a", format!("n1:{}", "x".repeat(round * 10)));
    }
    world.cache.wait_for(51).await.unwrap();
    let stats = world.cache.stats();
    assert!(stats.bytes.log <= 10_000 && stats.log_revisions > 1, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn watchers_are_counted_and_limited() {
    let mut config = Config::default();
    config.watchers = 2;
    let world = world_of(ProgressMode::Pushed, config).await;
    let first = world.cache.watch(WatchRequest::new("/a")).unwrap();
    let _second = world.cache.watch(WatchRequest::new("/a")).unwrap();
    let third = world.cache.watch(WatchRequest::new("/a"));
    assert_eq!(third.unwrap_err().kind(), ErrorKind::Exhausted);
    drop(first);
    // The place is free once the driver has heard of it.
    let again = world.cache.watch(WatchRequest::new("/a"));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Exhausted);
    tokio::task::yield_now().await;
    assert_eq!(world.cache.stats().watchers, 1);
    world.cache.watch(WatchRequest::new("/a")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_fell_behind_is_told_what_changed() {
    let mut config = Config::default();
    config.log_revisions = 5;
    let world = world_of(ProgressMode::Pushed, config).await;
    for pod in ["/pods/a", "/pods/b", "/pods/c", "/pods/d"] {
        world.put(pod, "n1").await;
    }
    let from = world.put("/pods/e", "n2").await;
    let pods = || WatchRequest::new("/pods/");
    let mut all = world.cache.watch(pods()).unwrap();
    let mut n1 = world.cache.watch(pods().index("node", "n1")).unwrap();
    let (sink, watch) = into_inbox(&world.cache, pods(), 0).unwrap();
    assert_eq!(drain(&mut n1).await, []);
    for round in 0..10 {
        world.put("/pods/a", if round % 2 == 0 { "n1:1" } else { "n1:2" }).await;
    }
    world.put("/pods/b", "n2").await;
    let deleted = world.delete("/pods/c").await;
    world.put("/pods/f", "n1").await;
    for _ in 0..10 {
        world.put("/other", "n2").await;
    }
    let (last, a) = (world.cache.revision(), deleted - 2);
    let told = |events: &[&String]| -> Vec<String> {
        let end = format!("after {from}@{last}");
        events.iter().map(|event| (*event).clone()).chain([end]).collect()
    };
    let (b, c, f) = (a + 1, deleted, deleted + 1);
    let [at_a, at_b, at_c, at_f] = [("=", "a", a), ("=", "b", b), ("/", "c", c), ("=", "f", f)]
        .map(|(what, pod, at)| format!("{what}/pods/{pod}@{at}"));
    assert_eq!(brief(&drain(&mut all).await), told(&[&at_a, &at_b, &at_c, &at_f]));
    let left = format!("//pods/b@{b}");
    assert_eq!(brief(&drain(&mut n1).await), told(&[&at_a, &left, &at_c, &at_f]));
    sink.make_room();
    watch.resume();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(brief(&sink.take()), told(&[&at_a, &at_b, &at_c, &at_f]));
    // One who was cut in between goes on after what it was told last.
    let mut cut = world.cache.watch(pods().from(Start::After(b))).unwrap();
    assert_eq!(brief(&drain(&mut cut).await), [at_c, at_f, format!("after {b}@{last}")]);
    let next = world.put("/pods/d", "n1").await;
    assert_eq!(brief(&drain(&mut n1).await), [format!("~/pods/d@{next}")]);
    assert_eq!(world.cache.stats().resumed, 4);
}
