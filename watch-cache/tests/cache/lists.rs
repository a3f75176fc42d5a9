use bytes::Bytes;
use futures_util::StreamExt;
use watch_cache::{
    At, Cache, Config, ContinueToken, ErrorKind, ListRequest, Object, ProgressMode, Write,
};

use super::{keys, text, world, world_of};

async fn kind_of(cache: &Cache, request: ListRequest) -> ErrorKind {
    cache.list(request).await.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn a_list_at_each_retained_revision_shows_that_revision() {
    let world = world().await;
    let first = world.put("/pods/a", "n1").await;
    let second = world.put("/pods/b", "n2").await;
    let third = world.put("/pods/a", "n2").await;
    let fourth = world.delete("/pods/b").await;
    for (at, all, n1, n2) in [
        (1, vec![], vec![], vec![]),
        (first, vec!["/pods/a"], vec!["/pods/a"], vec![]),
        (second, vec!["/pods/a", "/pods/b"], vec!["/pods/a"], vec!["/pods/b"]),
        (third, vec!["/pods/a", "/pods/b"], vec![], vec!["/pods/a", "/pods/b"]),
        (fourth, vec!["/pods/a"], vec![], vec!["/pods/a"]),
    ] {
        let list = ListRequest::new("/pods/").at(At::Exactly(at));
        let response = world.cache.list(list.clone()).await.unwrap();
        assert_eq!((response.revision, keys(&response.objects)), (at, owned(&all)));
        for (node, expected) in [("n1", n1), ("n2", n2)] {
            let response = world.cache.list(list.clone().index("node", node)).await.unwrap();
            assert_eq!((response.revision, keys(&response.objects)), (at, owned(&expected)));
        }
    }
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn pages_show_one_revision_whatever_is_written_between() {
    let world = world().await;
    for pod in 0..10 {
        let node = if pod % 2 == 0 { "even" } else { "odd" };
        world.store.put(format!("/pods/{pod}"), node);
    }
    let revision = world.put("/services/s", "even").await;
    for (selected, expected) in [(None, 10), (Some("even"), 5)] {
        let mut request = ListRequest::new("/pods/").limit(3);
        if let Some(node) = selected {
            request = request.index("node", node);
        }
        let mut next = request.clone();
        let (mut seen, mut at) = (Vec::new(), 0);
        loop {
            let page = world.cache.list(next).await.unwrap();
            at = if at == 0 { page.revision } else { at };
            assert_eq!(page.revision, at);
            seen.extend(keys(&page.objects));
            assert_eq!(page.remaining, Some(expected - seen.len()));
            let Some(token) = page.continue_token else { break };
            // What a client hands back is text.
            let token: ContinueToken = token.to_string().parse().unwrap();
            assert_eq!(token.revision(), at);
            next = request.clone().continue_from(token);
            world.put("/pods/0", "odd").await;
            world.delete("/pods/5").await;
            world.put("/pods/5", "odd").await;
        }
        assert!(at >= revision && seen.is_sorted());
        assert_eq!(seen.len(), expected);
        world.put("/pods/0", "even").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_left_is_expired_and_one_to_come_is_too_large() {
    let mut config = Config::default();
    config.log_revisions = 1;
    let world = world_of(ProgressMode::Pushed, config).await;
    let first = world.put("/a", "1").await;
    let page = world.cache.list(ListRequest::new("/").at(At::Exactly(first))).await.unwrap();
    assert_eq!(page.objects.len(), 1);
    world.put("/b", "1").await;
    let token = world.cache.list(ListRequest::new("").limit(1)).await.unwrap().continue_token;
    let third = world.put("/c", "1").await;
    world.put("/d", "1").await;
    let gone = ListRequest::new("").at(At::Exactly(first));
    assert_eq!(kind_of(&world.cache, gone).await, ErrorKind::Expired { oldest_revision: third });
    let gone = ListRequest::new("").continue_from(token.unwrap());
    assert_eq!(kind_of(&world.cache, gone).await, ErrorKind::Expired { oldest_revision: third });
    for at in [At::AtLeast(third + 9), At::Exactly(third + 9)] {
        let kind = kind_of(&world.cache, ListRequest::new("").at(at)).await;
        assert_eq!(kind, ErrorKind::TooLarge { current_revision: third + 1 });
    }
}

/// One batch: most revisions were never published.
#[tokio::test(start_paused = true)]
async fn a_revision_within_a_batch_lists_and_pages_exactly() {
    let world = world().await;
    for pod in 0..30 {
        world.store.put(format!("/pods/{:02}", pod % 10), format!("n{}", pod % 3));
    }
    world.store.delete("/pods/05");
    world.cache.wait_for(32).await.unwrap();
    assert_eq!(world.cache.stats().published, 2, "the listing and one batch");
    for at in 1..=32 {
        for node in ["n0", "n1", "n2"] {
            let request = ListRequest::new("/pods/").index("node", node).limit(2);
            let mut page = world.cache.list(request.clone().at(At::Exactly(at))).await.unwrap();
            let mut seen = keys(&page.objects);
            while let Some(token) = page.continue_token {
                page = world.cache.list(request.clone().continue_from(token)).await.unwrap();
                seen.extend(keys(&page.objects));
            }
            // The last write to a pod before revision `at` says where it is.
            let last = |pod: u64| (0..(at - 1).min(30)).rev().find(|put| put % 10 == pod);
            let there = (0..10).filter(|pod| at < 32 || *pod != 5);
            let there =
                there.filter(|pod| last(*pod).is_some_and(|put| node == format!("n{}", put % 3)));
            assert_eq!(
                seen,
                there.map(|pod| format!("/pods/{pod:02}")).collect::<Vec<_>>(),
                "{at}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_waits_for_its_revision() {
    let world = world().await;
    let list = world.cache.list(ListRequest::new("").at(At::AtLeast(3)));
    let write = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.store.put("/a", "1");
        world.store.put("/b", "1")
    };
    let (list, revision) = tokio::join!(list, write);
    assert_eq!((list.unwrap().revision, revision), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_answered_is_refused() {
    let mut config = Config::default();
    config.prefixes = vec!["/pods/".into()];
    let world = world_of(ProgressMode::Pushed, config).await;
    world.put("/pods/a", "n1").await;
    world.put("/pods/b", "n1").await;
    let list = || ListRequest::new("/pods/");
    let token = world.cache.list(list().limit(1)).await.unwrap().continue_token.unwrap();
    for wrong in [
        ListRequest::new("/"),
        ListRequest::new("/nodes/"),
        list().index("zone", "z"),
        list().limit(0),
        list().index("node", "n1").continue_from(token.clone()),
        list().continue_from(token.clone()).at(At::Any),
        list().continue_from(token.clone()).at(At::Exactly(2)),
    ] {
        assert_eq!(kind_of(&world.cache, wrong.clone()).await, ErrorKind::Invalid, "{wrong:?}");
    }
    assert_eq!(world.cache.list(list().continue_from(token)).await.unwrap().objects.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn several_prefixes_are_at_one_revision() {
    for mode in [ProgressMode::Pushed, ProgressMode::OnRequest] {
        let mut config = Config::default();
        config.prefixes = vec!["/pods/".into(), "/nodes/".into()];
        let world = world_of(mode, config).await;
        for round in 0..20 {
            let write = |key: &str| Write::Put(key.to_owned().into(), format!("{round}").into());
            world.store.txn([write("/pods/a"), write("/nodes/a"), write("/other")]);
            if round % 3 == 0 {
                world.store.put("/nodes/b", "x");
            }
            let revision = world.cache.list(ListRequest::new("/pods/")).await.unwrap().revision;
            assert_eq!(revision, world.store.revision());
            let snapshot = world.cache.snapshot();
            let value = |key: &[u8]| text(snapshot.get(key).unwrap().value());
            assert_eq!(value(b"/pods/a"), value(b"/nodes/a"));
            assert!(snapshot.get(b"/other").is_none());
        }
        let stats = world.cache.stats();
        assert_eq!((stats.lists, stats.watches, stats.replayed), (1, 2, 0), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_stays_as_it_is() {
    let world = world().await;
    let revision = world.put("/pods/a", "n1").await;
    let snapshot = world.cache.snapshot();
    world.put("/pods/a", "n2").await;
    world.put("/pods/b", "n1").await;
    assert_eq!(snapshot.revision(), revision);
    assert_eq!(snapshot.get(b"/pods/a").unwrap().value(), b"n1");
    assert_eq!((snapshot.count(b"/pods/"), snapshot.count(b"/pods/b")), (1, 0));
    assert_eq!(snapshot.range(b"/").count(), 1);
    assert_eq!(snapshot.by_index("node", b"n1").unwrap().count(), 1);
    assert_eq!(snapshot.by_index("node", b"n").unwrap().count(), 0);
    assert!(snapshot.by_index("zone", b"n1").is_err());
    assert_eq!(world.cache.get(b"/pods/a").unwrap().value(), b"n2");
    assert_eq!(world.cache.snapshot().by_index("node", b"n1").unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_shows_one_revision_whatever_is_written_meanwhile() {
    let mut config = Config::default();
    config.log_revisions = 3;
    let world = world_of(ProgressMode::Pushed, config).await;
    let key = |at: u32| Bytes::from(format!("/pods/{at:05}"));
    world.store.txn((0..2000).map(|at| Write::Put(key(at), format!("n{}", at % 4).into())));
    let all = ListRequest::new("/pods/");
    let mut whole = world.cache.list_stream(all.clone()).await.unwrap();
    let selected = all.clone().index("node", "n1").limit(300);
    let mut some = world.cache.list_stream(selected.clone()).await.unwrap();
    let page = world.cache.list(selected.clone()).await.unwrap();
    let rest = page.continue_token.unwrap();
    assert_eq!((whole.revision(), some.revision()), (2, 2));
    // All is replaced, and leaves the log.
    let (mut listed, mut taken) = (Vec::new(), Vec::new());
    let mut steps = 0;
    while let Some(objects) = whole.next().await {
        listed.extend(objects.unwrap());
        for at in (steps..2000).step_by(40) {
            world.store.delete(key(at));
        }
        world.cache.wait_for(world.store.revision()).await.unwrap();
        steps += 1;
    }
    while let Some(objects) = some.next().await {
        taken.extend(objects.unwrap());
    }
    assert!(steps > 3, "all at once");
    let keys: Vec<Bytes> = listed.iter().map(Object::key_bytes).collect();
    assert_eq!(keys, (0..2000).map(key).collect::<Vec<_>>());
    assert_eq!(taken, page.objects);
    // Its end gives up what it has kept.
    assert!(world.cache.stats().bytes.pinned > 0);
    world.put("/elsewhere", "n1").await;
    assert_eq!(world.cache.stats().bytes.pinned, 0);
    let gone = world.cache.list_stream(selected.continue_from(rest)).await;
    assert!(matches!(gone.unwrap_err().kind(), ErrorKind::Expired { .. }));
    let none = world.cache.list_stream(all.limit(0)).await;
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Invalid);
    let mut nothing = world.cache.list_stream(ListRequest::new("/none/")).await.unwrap();
    assert!(nothing.next().await.is_none());
}

/// Readers on other threads, while everything that they read is replaced and forgotten.
#[test]
fn readers_beside_the_writer_find_each_revision_as_it_was() {
    const KEYS: u64 = 7;
    const LAST: u64 = 30_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut config = Config::default();
        config.log_revisions = 20;
        config.batch_revisions = 3;
        config.wait_timeout = Config::WAIT_TIMEOUT.max;
        let world = world_of(ProgressMode::Pushed, config).await;
        // One key after the other is written.
        let check = |objects: &[Object], at: u64| {
            let found: Vec<u64> = objects.iter().map(Object::mod_revision).collect();
            let last = ((at + 1).saturating_sub(KEYS)..=at).filter(|revision| *revision > 1);
            let mut expected: Vec<u64> = last.collect();
            expected.sort_by_key(|revision| revision % KEYS);
            assert_eq!(found, expected, "at {at}");
        };
        let mut readers = Vec::new();
        for reader in 0..3 {
            let cache = world.cache.clone();
            readers.push(runtime.spawn(async move {
                let mut newest = 0;
                while newest < LAST {
                    let snapshot = cache.snapshot();
                    tokio::task::yield_now().await;
                    check(&snapshot.range(b"/").collect::<Vec<_>>(), snapshot.revision());
                    let at = snapshot.revision().saturating_sub(reader * 9).max(1);
                    match cache.list(ListRequest::new("/").at(At::Exactly(at))).await {
                        Ok(list) => check(&list.objects, at),
                        Err(error) => {
                            assert!(matches!(error.kind(), ErrorKind::Expired { .. }), "{error}");
                        }
                    }
                    let list = cache.list(ListRequest::new("/").at(At::Any)).await.unwrap();
                    check(&list.objects, list.revision);
                    newest = list.revision;
                }
            }));
        }
        for revision in 2..=LAST {
            let key = revision % KEYS;
            assert_eq!(world.store.put(format!("/{key}"), revision.to_string()), revision);
            if revision % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
        world.cache.wait_for(LAST).await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
    });
}
