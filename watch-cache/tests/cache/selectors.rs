//! Selectors by labels and fields, with indexes that cover them and without.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, StreamExt};
use watch_cache::{
    At, Cache, Codec, Config, Encoded, ErrorKind, Index, LabelSelector, ListRequest, MemorySource,
    ProgressMode, Schema, Selector, Start, WatchEvent, WatchRequest,
};

use super::sinks::into_inbox;
use super::{World, brief, drain, keys, schema, world, world_with};

fn select(labels: &str, fields: &str) -> Selector {
    Selector::parse(labels, fields).unwrap()
}

fn covered() -> Schema {
    schema(vec![Index::label("node"), Index::label("parity"), Index::field("name")])
}

async fn worlds() -> [World; 2] {
    let covered = world_with(ProgressMode::Pushed, Config::default(), covered()).await;
    [world().await, covered]
}

#[tokio::test(start_paused = true)]
async fn lists_are_the_same_with_an_index_and_without() {
    for world in worlds().await {
        for pod in 0..20 {
            world.store.put(format!("/pods/{pod:02}"), format!("n{}:{pod}", pod % 3));
        }
        world.store.put("/pods/bare", "");
        let revision = world.put("/nodes/n1", "n1:1").await;
        let before = revision - 2;
        for (labels, fields, expected) in [
            ("node=n1,parity=odd", "", vec!["/pods/01", "/pods/07", "/pods/13", "/pods/19"]),
            ("node=n2,node!=n2", "", vec![]),
            ("!node", "", vec!["/pods/bare"]),
            ("", "name=04", vec!["/pods/04"]),
            ("node!=n1", "name=04", vec![]),
            ("", "name=bare,node=", vec!["/pods/bare"]),
            (
                "node=n1",
                "name!=01,node!=n0",
                vec!["/pods/04", "/pods/07", "/pods/10", "/pods/13", "/pods/16", "/pods/19"],
            ),
        ] {
            let request = ListRequest::new("/pods/").select(select(labels, fields));
            let whole = world.cache.list(request.clone()).await.unwrap();
            assert_eq!(keys(&whole.objects), expected, "{labels} {fields}");
            assert_eq!((whole.remaining, whole.continue_token), (Some(0), None));
            let past = world.cache.list(request.clone().at(At::Exactly(before))).await.unwrap();
            let there: Vec<_> = expected.iter().filter(|key| **key != "/pods/bare").collect();
            assert_eq!(keys(&past.objects), there.into_iter().copied().collect::<Vec<_>>());
            let snapshot = world.cache.snapshot();
            let selected = snapshot.select(b"/pods/", select(labels, fields)).unwrap();
            assert_eq!(keys(&selected.collect::<Vec<_>>()), expected);
            let mut watcher = world
                .cache
                .watch(
                    WatchRequest::new("/pods/").select(select(labels, fields)).from(Start::Initial),
                )
                .unwrap();
            assert_eq!(drain(&mut watcher).await.len(), expected.len() + 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_go_on_with_their_selector_alone() {
    for world in worlds().await {
        for pod in 0..20 {
            world.store.put(format!("/pods/{pod:02}"), format!("n{}:{pod}", pod % 2));
        }
        let request = ListRequest::new("/pods/").select(select("node=n1,parity=odd", "")).limit(4);
        let first = world.cache.list(request.clone()).await.unwrap();
        assert_eq!(keys(&first.objects), ["/pods/01", "/pods/03", "/pods/05", "/pods/07"]);
        assert_eq!(first.remaining, None);
        let token = first.continue_token.unwrap();
        world.put("/pods/09", "n0:9").await;
        let same = ListRequest::new("/pods/").select(select("parity in (odd), node==n1", ""));
        let rest = world.cache.list(same.continue_from(token.clone())).await.unwrap();
        assert_eq!((rest.revision, rest.objects.len()), (first.revision, 6));
        for other in [select("node=n1", ""), select("parity=odd", "node=n1"), Selector::default()] {
            let other = ListRequest::new("/pods/").select(other).continue_from(token.clone());
            let error = world.cache.list(other).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_sees_what_enters_and_leaves_its_selector() {
    for world in worlds().await {
        let request = WatchRequest::new("/pods/").select(select("parity=odd", "node!=n2"));
        let mut watcher = world.cache.watch(request).unwrap();
        world.put("/pods/a", "n1:2").await; // not selected
        world.put("/pods/a", "n1:3").await; // enters by its label
        world.put("/pods/a", "n3:3").await; // stays
        world.put("/pods/a", "n2:3").await; // leaves by its field
        world.put("/pods/a", ":5").await; // enters: no node is none of them
        world.delete("/pods/a").await;
        let events = drain(&mut watcher).await;
        let expected = ["+/pods/a@3", "~/pods/a@4", "-/pods/a@5", "+/pods/a@6", "-/pods/a@7"];
        assert_eq!(brief(&events), expected);
        let WatchEvent::Deleted { previous, .. } = &events[2] else { panic!("{events:?}") };
        assert_eq!(previous.value(), b"n3:3", "as it was when it was selected");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_wakes_only_those_whose_selector_it_meets() {
    for world in worlds().await {
        let mut watchers = Vec::new();
        for labels in ["node=n1", "node=n2", "node=n1,parity=odd", "parity=even", "!node"] {
            for _ in 0..3 {
                let request = WatchRequest::new("/pods/").select(select(labels, ""));
                let mut watcher = world.cache.watch(request).unwrap();
                assert!(watcher.next().now_or_never().is_none());
                watchers.push(watcher);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let mut before = world.cache.stats().wakes;
        for (value, woken) in [
            ("n1:1", 6), // node=n1, and odd
            ("n1:2", 9), // node=n1, odd leaves, even enters
            ("n2:2", 9), // one leaves, one enters, even stays
            (":3", 9),   // node=n2 and even leave, !node enters
            ("n3:5", 3), // !node leaves
            ("n3:7", 0),
        ] {
            world.put("/pods/a", value).await;
            let wakes = world.cache.stats().wakes;
            assert_eq!(wakes - before, woken, "{value}");
            before = wakes;
        }
        drop(watchers);
    }
}

/// Counts what it is asked.
struct Counting(&'static AtomicUsize);

impl Codec for Counting {
    fn field<'a>(&self, object: Encoded<'a>, _: &str) -> Option<std::borrow::Cow<'a, [u8]>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(object.value.into())
    }

    fn label<'a>(&self, object: Encoded<'a>, name: &str) -> Option<std::borrow::Cow<'a, [u8]>> {
        self.field(object, name)
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_index_has_is_not_asked_of_the_codec() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let store = std::sync::Arc::new(MemorySource::new());
    for key in 0..100 {
        store.put(format!("{key:03}"), format!("{}", key % 10));
    }
    let schema = Schema::new(Counting(&ASKED)).index(Index::field("a")).index(Index::label("a"));
    let (cache, driver) = Cache::open(store.clone(), schema, Config::default()).unwrap();
    let _driver = super::spawn(driver);
    cache.ready().await.unwrap();
    assert_eq!(ASKED.swap(0, Ordering::Relaxed), 200, "each index asks once for each version");
    for (labels, fields, found, asked) in [
        ("", "a=3", 10, 0),
        ("a notin (1,2)", "", 80, 0),
        ("a=3", "a!=4", 10, 0),
        ("b=3", "a=3", 10, 10), // the index finds ten, of which each is judged
        ("b=3", "", 10, 100),
    ] {
        let request = ListRequest::new("").select(select(labels, fields));
        assert_eq!(cache.list(request).await.unwrap().objects.len(), found);
        assert_eq!(ASKED.swap(0, Ordering::Relaxed), asked, "{labels} {fields}");
    }
    let request = WatchRequest::new("").select(select("b=3", "a=3"));
    let mut watcher = cache.watch(request).unwrap();
    assert!(watcher.next().now_or_never().is_none());
    let reached = store.put("x", "4");
    cache.wait_for(reached).await.unwrap();
    assert_eq!(ASKED.swap(0, Ordering::Relaxed), 2, "of no interest to the watcher");
}

#[tokio::test(start_paused = true)]
async fn a_long_search_lets_others_have_their_turn() {
    let world = world().await;
    for key in 0..5_000 {
        world.store.put(format!("/pods/{key:04}"), "n1:1");
    }
    let last = world.put("/pods/last", "n2:2").await;
    let selector = || select("parity=even", "");
    let request = ListRequest::new("/pods/").select(selector()).at(At::Any);
    let mut page = Box::pin(world.cache.list(request.clone()));
    assert!(page.as_mut().now_or_never().is_none());
    let page = page.await.unwrap();
    assert_eq!((page.revision, keys(&page.objects)), (last, vec!["/pods/last".to_owned()]));
    let watch = WatchRequest::new("/pods/").select(selector()).from(Start::Initial);
    let mut watcher = world.cache.watch(watch).unwrap();
    assert!(watcher.next().now_or_never().is_none());
    assert_eq!(
        brief(&drain(&mut watcher).await),
        [format!("+/pods/last@{last}"), format!("end@{last}")]
    );
    // A sink is given the same, and nothing while nothing is found.
    let watch = WatchRequest::new("/pods/").select(selector()).from(Start::Initial);
    let (inbox, _watch) = into_inbox(&world.cache, watch, usize::MAX).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(brief(&inbox.take()), [format!("+/pods/last@{last}"), format!("end@{last}")]);
    // It shows one state, whatever is written meanwhile, and however short the log is.
    let mut page = Box::pin(world.cache.list(request.limit(1)));
    assert!(page.as_mut().now_or_never().is_none());
    world.put("/pods/4999", "n1:4").await;
    let page = page.await.unwrap();
    assert_eq!((page.revision, page.objects.len(), page.remaining), (last, 1, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_codec_is_refused_without_one() {
    let store = std::sync::Arc::new(MemorySource::new());
    let error = Cache::open(store.clone(), vec![Index::field("a")], Config::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let (cache, driver) = Cache::open(store, vec![], Config::default()).unwrap();
    let _driver = super::spawn(driver);
    cache.ready().await.unwrap();
    let error = cache.list(ListRequest::new("").select(select("a", ""))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = cache.watch(WatchRequest::new("").select(select("", "a=1"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(cache.snapshot().select(b"", select("a", "")).is_err());
    let all = cache.list(ListRequest::new("").select(select("", ""))).await.unwrap();
    assert!(all.objects.is_empty());
    assert!("a".parse::<LabelSelector>().unwrap() != LabelSelector::default());
}
