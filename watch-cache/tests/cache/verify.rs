//! Comparisons of a cache with its source, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use watch_cache::{
    Cache, Change, Config, Error, ErrorKind, Events, Freshness, ListRequest, Listing, MemorySource,
    ProgressMode, Result, Revision, RevisionDigest, Source, SourceEvent, SourceObject, Start,
    WatchRequest, Write,
};

use super::{World, drain, keys, next_error, schema, spawn, world, world_of};

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_right_is_found_so_while_much_is_written() {
    for mode in [ProgressMode::Pushed, ProgressMode::OnRequest] {
        let mut config = Config::default();
        config.prefixes = vec!["/a/".into(), "/b/".into()];
        let world = world_of(mode, config).await;
        let World { store, cache, .. } = &world;
        // More than are compared at once.
        store.txn((0..1500).map(|at| Write::Put(format!("/a/x{at:04}").into(), "n".into())));
        let writes = async {
            for round in 0..500_u64 {
                let prefix = if round % 3 == 0 { "/a/" } else { "/b/" };
                let key = format!("{prefix}{}", round % 50);
                if round % 7 == 0 {
                    store.delete(key);
                } else {
                    store.put(key, format!("n{round}"));
                }
                tokio::task::yield_now().await;
            }
        };
        let verify = async {
            let mut most = 0;
            for _ in 0..20 {
                let found = cache.verify().await.unwrap();
                assert!(found.is_consistent(), "{found:?}");
                most = most.max(found.objects);
            }
            most
        };
        let ((), most) = tokio::join!(writes, verify);
        assert!(most > 1510, "{most}");
        assert_eq!(cache.stats().inconsistencies, 0);
    }
}

/// What the source never had, as a store that lost a write after it told it.
fn untrue(revision: u64) -> SourceEvent {
    let object = |key: &'static str| SourceObject {
        key: key.into(),
        value: "never".into(),
        create_revision: revision,
        mod_revision: revision,
    };
    let changes = vec![
        Change::Put(object("/added")),
        Change::Put(object("/changed")),
        Change::Delete("/deleted".into()),
    ];
    SourceEvent::Revision(Revision { revision, changes })
}

#[tokio::test(start_paused = true)]
async fn what_is_different_is_named_and_mended_by_beginning_anew() {
    let world = world().await;
    for key in ["/changed", "/deleted", "/same"] {
        world.put(key, "n1").await;
    }
    world.faults.inject(Ok(untrue(5)));
    world.cache.wait_for(5).await.unwrap();
    // The source goes on without it, and the cache takes the revision for one that it has.
    world.store.put("/elsewhere", "n1");
    let newest = world.put("/elsewhere", "n2").await;
    let mut watcher = world.cache.watch(WatchRequest::new("").from(Start::After(newest))).unwrap();
    let found = world.cache.verify().await.unwrap();
    assert_eq!((found.is_consistent(), found.different, found.objects), (false, 3, 4));
    assert_eq!(found.keys, ["/added", "/changed", "/deleted"]);
    assert_eq!(world.cache.stats().inconsistencies, 1);

    assert!(drain(&mut watcher).await.is_empty());
    world.cache.begin_anew().unwrap();
    assert!(matches!(next_error(&mut watcher).await, ErrorKind::Expired { .. }));
    assert!(world.cache.verify().await.unwrap().is_consistent());
    let list = world.cache.list(ListRequest::new("")).await.unwrap();
    assert_eq!(keys(&list.objects), ["/changed", "/deleted", "/elsewhere", "/same"]);
}

/// A store whose watches lose deletes while told to, and say nothing: what an etcd before 3.4.31 or
/// 3.5.13 does where it compacts beside a slow watch (etcd-io/etcd#17529), and what older releases do where
/// a watch begins at a compacted delete (etcd-io/etcd#18089).
struct Losing {
    store: MemorySource,
    loses: Arc<AtomicBool>,
}

#[async_trait]
impl Source for Losing {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        self.store.list(prefix, at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        let loses = Arc::clone(&self.loses);
        let told = self.store.watch(prefix, after).await?.filter(move |event| {
            let is_delete = |change: &Change| matches!(change, Change::Delete(_));
            let lost = match event {
                Ok(SourceEvent::Revision(revision)) => revision.changes.iter().all(is_delete),
                _ => false,
            };
            std::future::ready(!(lost && loses.load(Ordering::Relaxed)))
        });
        Ok(told.boxed())
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        self.store.digest(prefixes).await
    }

    fn freshness(&self) -> Freshness<'_> {
        self.store.freshness()
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_no_event_shows_is_found() {
    let loses = Arc::new(AtomicBool::new(false));
    let source = Arc::new(Losing { store: MemorySource::new(), loses: loses.clone() });
    source.store.put("/a", "n1");
    source.store.put("/b", "n1");
    let (cache, driver) = Cache::open(source.clone(), schema(vec![]), Config::default()).unwrap();
    let _driver = spawn(driver);
    cache.ready().await.unwrap();
    source.store.delete("/a");
    source.store.put("/a", "n2");
    let revision = source.store.delete("/a");
    cache.wait_for(revision).await.unwrap();
    assert!(cache.verify().await.unwrap().is_consistent());
    loses.store(true, Ordering::Relaxed);
    source.store.delete("/b");
    let revision = source.store.put("/c", "n1");
    // Nothing that the cache is told is wrong in itself.
    cache.wait_for(revision).await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.source_errors, stats.replayed, stats.early_progress), (0, 0, 0));
    let found = cache.verify().await.unwrap();
    assert_eq!((found.keys, found.different, found.objects), (vec![Bytes::from("/b")], 1, 1));
    cache.begin_anew().unwrap();
    while cache.stats().lists < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(cache.verify().await.unwrap().is_consistent());
}

/// As where a store was set back, and refuses to be watched from what it no longer has.
#[tokio::test(start_paused = true)]
async fn beginning_anew_does_not_wait_for_a_watch_that_fails() {
    let world = world().await;
    world.put("/a", "n1").await;
    world.faults.fail_watches(u64::MAX);
    world.faults.cut_watches();
    world.store.put("/b", "n1");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((world.cache.revision(), world.cache.stats().lists), (2, 1));
    world.cache.begin_anew().unwrap();
    world.cache.wait_for(3).await.or(world.cache.wait_for(3).await).unwrap();
    assert_eq!(world.cache.stats().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_told_and_a_driver_that_is_gone_too() {
    let World { cache, driver, faults, .. } = world().await;
    faults.fail_lists(1);
    assert_eq!(cache.verify().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(cache.verify().await.unwrap().is_consistent());
    driver.abort();
    let _ = driver.await;
    assert_eq!(cache.verify().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.begin_anew().unwrap_err().kind(), ErrorKind::Closed);
}

/// What the driver compares by itself.
fn comparing(heal: bool) -> Config {
    let mut config = Config::default();
    config.compare_interval = Some(Duration::from_secs(10));
    config.heal = heal;
    config
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_right_is_found_so_from_time_to_time() {
    for mode in [ProgressMode::Pushed, ProgressMode::OnRequest] {
        let mut config = comparing(true);
        config.prefixes = vec!["/a/".into(), "/b/".into()];
        let world = world_of(mode, config).await;
        for round in 0..410_u64 {
            let key =
                format!("/{}/{}", ["a", "b", "c"][usize::try_from(round % 3).unwrap()], round % 20);
            if round % 7 == 0 {
                world.store.delete(key);
            } else {
                world.store.put(key, format!("n{round}"));
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let stats = world.cache.stats();
        assert_eq!((stats.comparisons, stats.inconsistencies, stats.lists), (12, 0, 1), "{mode:?}");
        assert!(stats.compared_revision > 300, "{}", stats.compared_revision);
        // Also where nothing moves but what is elsewhere.
        let last = world.store.put("/c/", "n1");
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(world.cache.stats().compared_revision, last, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_no_event_shows_is_mended_or_counted() {
    for heal in [true, false] {
        let loses = Arc::new(AtomicBool::new(false));
        let source = Arc::new(Losing { store: MemorySource::new(), loses: loses.clone() });
        source.store.put("/a", "n1");
        let (cache, driver) = Cache::open(source.clone(), schema(vec![]), comparing(heal)).unwrap();
        let _driver = spawn(driver);
        cache.ready().await.unwrap();
        loses.store(true, Ordering::Relaxed);
        source.store.delete("/a");
        let revision = source.store.put("/b", "n1");
        cache.wait_for(revision).await.unwrap();
        loses.store(false, Ordering::Relaxed);
        let mut watcher = cache.watch(WatchRequest::new("").from(Start::After(revision))).unwrap();
        tokio::time::sleep(Duration::from_secs(35)).await;
        let stats = cache.stats();
        let listed = keys(&cache.list(ListRequest::new("")).await.unwrap().objects);
        if heal {
            assert_eq!((stats.inconsistencies, stats.comparisons, stats.lists), (1, 3, 2));
            assert_eq!((listed, stats.compared_revision), (vec!["/b".to_owned()], revision));
            assert!(matches!(next_error(&mut watcher).await, ErrorKind::Expired { .. }));
        } else {
            assert_eq!((stats.inconsistencies, stats.comparisons, stats.lists), (3, 3, 1));
            assert_eq!((listed.len(), stats.compared_revision), (2, 0));
            assert!(drain(&mut watcher).await.is_empty());
        }
    }
}

/// A source whose digest is for a revision that no watch reaches, or fails.
struct Unreached(MemorySource, AtomicBool);

#[async_trait]
impl Source for Unreached {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        self.0.list(prefix, at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        self.0.watch(prefix, after).await
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        if self.1.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "no"));
        }
        let told = self.0.digest(prefixes).await?;
        Ok(told.map(|told| RevisionDigest { revision: told.revision + 1, ..told }))
    }

    fn freshness(&self) -> Freshness<'_> {
        self.0.freshness()
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_cannot_be_compared_is_no_difference() {
    let source = Arc::new(Unreached(MemorySource::new(), AtomicBool::new(false)));
    let (cache, driver) = Cache::open(source.clone(), schema(vec![]), comparing(true)).unwrap();
    let _driver = spawn(driver);
    tokio::time::sleep(Duration::from_secs(101)).await;
    let stats = cache.stats();
    assert_eq!((stats.comparisons, stats.inconsistencies, stats.source_errors), (0, 0, 0));
    source.1.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(50)).await;
    let stats = cache.stats();
    assert_eq!((stats.comparisons, stats.inconsistencies, stats.source_errors), (0, 0, 5));
}
