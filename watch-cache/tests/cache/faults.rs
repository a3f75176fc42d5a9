use std::sync::Arc;

use bytes::Bytes;
use watch_cache::{
    At, Cache, Change, Config, Error, ErrorKind, ListRequest, MemorySource, ProgressMode, Revision,
    SourceEvent, SourceObject, Start, WatchRequest,
};

use super::{World, brief, drain, keys, next_error, world};

/// Waits, in virtual time, until the cache has what the store has.
async fn settle(world: &World) {
    let list = world.cache.list(ListRequest::new("")).await.unwrap();
    assert_eq!(list.revision, world.store.revision());
}

#[tokio::test(start_paused = true)]
async fn a_cut_watch_is_resumed_and_watchers_lose_nothing() {
    let world = world().await;
    let mut watcher = world.cache.watch(WatchRequest::new("")).unwrap();
    world.put("/a", "1").await;
    world.faults.fail_watches(3);
    world.faults.cut_watches();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    world.store.put("/a", "2");
    world.store.delete("/a");
    settle(&world).await;
    assert_eq!(brief(&drain(&mut watcher).await), ["+/a@2", "~/a@3", "-/a@4"]);
    let stats = world.cache.stats();
    assert_eq!((stats.lists, stats.watches, stats.source_errors), (1, 2, 4));
}

#[tokio::test(start_paused = true)]
async fn after_a_compaction_watchers_get_what_is_different() {
    let world = world().await;
    world.put("/a", "n1").await;
    world.put("/b", "n1").await;
    world.put("/c", "n1").await;
    let mut all = world.cache.watch(WatchRequest::new("")).unwrap();
    let mut n1 = world.cache.watch(WatchRequest::new("").index("node", "n1")).unwrap();
    world.faults.expire_watches();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    world.store.put("/a", "n2");
    world.store.delete("/b");
    world.store.put("/d", "n1");
    let last = world.store.put("/d", "n1:again");
    world.store.compact(last).unwrap();
    settle(&world).await;
    let told = [format!("~/a@{last}"), format!("-/b@{last}"), format!("+/d@{last}")];
    assert_eq!(brief(&drain(&mut all).await), told);
    let told = [format!("-/a@{last}"), format!("-/b@{last}"), format!("+/d@{last}")];
    assert_eq!(brief(&drain(&mut n1).await), told);
    // Before and after are as they were; between nothing is known.
    let exactly = |at| world.cache.list(ListRequest::new("").at(At::Exactly(at)));
    assert_eq!(keys(&exactly(4).await.unwrap().objects), ["/a", "/b", "/c"]);
    assert_eq!(keys(&exactly(last).await.unwrap().objects), ["/a", "/c", "/d"]);
    let expired = ErrorKind::Expired { oldest_revision: last };
    assert_eq!(exactly(6).await.unwrap_err().kind(), expired);
    let resume = |after| world.cache.watch(WatchRequest::new("").from(Start::After(after)));
    assert_eq!(resume(6).unwrap_err().kind(), expired);
    assert_eq!(drain(&mut resume(4).unwrap()).await.len(), 3);
    assert_eq!(world.cache.stats().lists, 2);
}

fn put(key: &'static str, revision: u64) -> SourceEvent {
    let (key, value) = (Bytes::from(key), Bytes::from("lie"));
    let object = SourceObject { key, value, create_revision: revision, mod_revision: revision };
    SourceEvent::Revision(Revision { revision, changes: vec![Change::Put(object)] })
}

#[tokio::test(start_paused = true)]
async fn progress_of_zero_or_back_and_replayed_or_malformed_events_are_not_believed() {
    let world = world().await;
    let mut watcher = world.cache.watch(WatchRequest::new("")).unwrap();
    world.put("/a", "1").await;
    let malformed = SourceEvent::Revision(Revision { revision: 9, changes: vec![] });
    for lie in [SourceEvent::Progress(0), SourceEvent::Progress(1), put("/a", 2), malformed] {
        world.faults.inject(Ok(lie));
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    world.put("/b", "1").await;
    assert_eq!(brief(&drain(&mut watcher).await), ["+/a@2", "+/b@3"]);
    assert_eq!(world.cache.get(b"/a").unwrap().value(), b"1");
    let stats = world.cache.stats();
    assert_eq!((stats.backward_progress, stats.replayed, stats.malformed), (2, 1, 1));
    assert_eq!((stats.lists, stats.watches), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn an_event_after_its_progress_starts_the_cache_anew() {
    let world = world().await;
    world.put("/a", "1").await;
    let mut watcher = world.cache.watch(WatchRequest::new("")).unwrap();
    world.faults.inject(Ok(SourceEvent::Progress(1000)));
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(world.cache.revision(), 1000, "not yet known to be wrong");
    world.store.put("/b", "1");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(world.cache.revision(), 3);
    assert!(world.cache.get(b"/b").is_some());
    assert_eq!(next_error(&mut watcher).await, ErrorKind::Expired { oldest_revision: 3 });
    assert_eq!((world.cache.stats().early_progress, world.cache.stats().lists), (1, 2));
    let mut watcher = world.cache.watch(WatchRequest::new("").index("node", "1")).unwrap();
    world.put("/c", "1").await;
    assert_eq!(brief(&drain(&mut watcher).await), ["+/c@4"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_retry_helps_ends_the_driver() {
    let world = world().await;
    let mut watcher = world.cache.watch(WatchRequest::new("")).unwrap();
    world.faults.inject(Err(Error::new(ErrorKind::Invalid, "no such prefix: ask for another")));
    let World { cache, driver, .. } = world;
    assert_eq!(driver.await.unwrap().unwrap_err().kind(), ErrorKind::Invalid);
    let error = cache.list(ListRequest::new("").at(At::Any)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "no such prefix: ask for another");
    assert_eq!(next_error(&mut watcher).await, ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn wrong_settings_are_refused_before_anything_is_touched() {
    let source = |mode| Arc::new(MemorySource::with_progress(mode));
    let mut config = Config::default();
    config.log_bytes = 0;
    let open = Cache::open(source(ProgressMode::Pushed), vec![], config.clone());
    assert_eq!(open.unwrap_err().kind(), ErrorKind::Invalid);
    config = Config::default();
    config.prefixes = vec!["/a/".into(), "/b/".into()];
    let open = Cache::open(source(ProgressMode::ListOnly), vec![], config);
    assert_eq!(open.unwrap_err().kind(), ErrorKind::Invalid);
    let twice = vec![super::by_node(), super::by_node()];
    let open = Cache::open(source(ProgressMode::Pushed), twice, Config::default());
    assert_eq!(open.unwrap_err().kind(), ErrorKind::Invalid);
    let many = vec![super::by_node(); 65_536];
    let open = Cache::open(source(ProgressMode::Pushed), many, Config::default());
    assert!(open.unwrap_err().to_string().contains("give at most 65535"));
}
