//! Comparisons of a cache with its source, in virtual time.

use watch_cache::{
    Change, Config, ErrorKind, ListRequest, ProgressMode, Revision, SourceEvent, SourceObject,
    Start, WatchRequest, Write,
};

use super::{World, drain, keys, next_error, world, world_of};

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
