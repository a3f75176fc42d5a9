use futures_util::{FutureExt, StreamExt};
use watch_cache::{At, Config, ErrorKind, ListRequest, ProgressMode, WatchRequest};

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
