use std::time::Duration;

use futures_util::FutureExt;
use watch_cache::{At, Config, ErrorKind, ListRequest, ProgressMode, WatchRequest};

use super::{World, brief, drain, open, spawn, world, world_of};

const MODES: [ProgressMode; 3] =
    [ProgressMode::Pushed, ProgressMode::OnRequest, ProgressMode::ListOnly];

fn pods() -> Config {
    let mut config = Config::default();
    config.prefixes = vec!["/pods/".into()];
    config
}

async fn consistent(world: &World) -> watch_cache::Result<usize> {
    world.cache.list(ListRequest::new("/pods/")).await.map(|list| list.objects.len())
}

#[tokio::test(start_paused = true)]
async fn a_consistent_list_holds_every_acknowledged_write_in_every_mode() {
    for mode in MODES {
        let world = world_of(mode, pods()).await;
        for round in 0..20 {
            world.store.put(format!("/pods/{round}"), "n1");
            assert_eq!(consistent(&world).await.unwrap(), round + 1, "{mode:?}");
            // A revision that says nothing of the prefix.
            world.store.put("/other", "x");
            assert_eq!(consistent(&world).await.unwrap(), round + 1, "{mode:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_a_source_that_only_lists_costs_watchers_no_step() {
    let world = world_of(ProgressMode::ListOnly, pods()).await;
    let mut watcher = world.cache.watch(WatchRequest::new("/pods/")).unwrap();
    world.store.put("/pods/a", "n1");
    world.store.delete("/pods/a");
    assert_eq!(consistent(&world).await.unwrap(), 0);
    assert_eq!(brief(&drain(&mut watcher).await), ["+/pods/a@2", "-/pods/a@3"]);
    assert_eq!(world.cache.stats().lists, 1, "the question's listing is not applied");
}

/// The waiter that comes while an answer is under way sees a write that the answer does not cover.
#[tokio::test(start_paused = true)]
async fn a_waiter_is_served_only_by_a_question_sent_after_it_arrived() {
    let world = world_of(ProgressMode::Pushed, pods()).await;
    world.faults.hold_answers(true);
    world.store.put("/pods/a", "1");
    let mut first = Box::pin(consistent(&world));
    assert!(first.as_mut().now_or_never().is_none());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.faults.questions_asked(), 1);
    // The first question has its answer, which is held. The watch is cut, so that the cache
    // stays where it is until it is open again.
    world.faults.fail_watches(1);
    world.faults.cut_watches();
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.store.put("/pods/b", "1");
    let mut second = Box::pin(consistent(&world));
    assert!(second.as_mut().now_or_never().is_none());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(world.faults.questions_asked(), 2, "a new question while one is in flight");
    assert_eq!(world.cache.revision(), 2);
    world.faults.hold_answers(false);
    // The first is served at once: the cache has what its question covers.
    assert_eq!(first.await.unwrap(), 1);
    assert_eq!(world.cache.revision(), 2);
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(second.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_question_serves_all_who_wait_and_at_most_one_goes_out_each_millisecond() {
    let world = world_of(ProgressMode::Pushed, pods()).await;
    let reads = (0..20).map(|_| consistent(&world));
    let served = futures_util::future::join_all(reads).await;
    assert!(served.iter().all(Result::is_ok));
    assert_eq!(world.faults.questions_asked(), 1);
    world.faults.hold_answers(true);
    let read = |at: u64| {
        let world = &world;
        async move {
            tokio::time::sleep(Duration::from_micros(at)).await;
            consistent(world).await
        }
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.faults.hold_answers(false);
    };
    let reads = futures_util::future::join_all((0..1000).map(|read_at| read(read_at * 10)));
    let (served, ()) = tokio::join!(reads, release);
    assert!(served.iter().all(Result::is_ok));
    let questions = world.faults.questions_asked() - 1;
    assert!((2..=12).contains(&questions), "{questions} in 10 ms");
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_fails_the_read_and_nothing_else() {
    let world = world().await;
    world.faults.fail_questions(1);
    let list = || world.cache.list(ListRequest::new(""));
    let error = list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(std::error::Error::source(&error).is_some());
    assert!(list().await.is_ok());
    world.faults.hold_answers(true);
    assert_eq!(list().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(world.cache.list(ListRequest::new("").at(At::Any)).await.is_ok());
    world.faults.hold_answers(false);
    assert!(list().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn before_the_first_listing_reads_wait_and_then_say_so() {
    let (store, faults, cache, driver) = open(ProgressMode::Pushed, Config::default());
    store.put("/a", "1");
    faults.fail_lists(u64::MAX);
    let driver = spawn(driver);
    assert_eq!((cache.revision(), cache.get(b"/a")), (0, None));
    for at in [At::Any, At::AtLeast(1), At::Exactly(1), At::Consistent] {
        let error = cache.list(ListRequest::new("").at(at)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{at:?}");
    }
    let early = cache.watch(WatchRequest::new("")).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable);
    faults.fail_lists(0);
    cache.ready().await.unwrap();
    assert_eq!(cache.list(ListRequest::new("")).await.unwrap().objects.len(), 1);
    assert!(cache.stats().source_errors > 3);
    drop(cache);
    driver.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiters_are_limited() {
    let mut config = Config::default();
    config.waiters = 2;
    let world = world_of(ProgressMode::Pushed, config).await;
    let wait = || world.cache.wait_for(100);
    let (first, second, third) = tokio::join!(wait(), wait(), wait());
    assert!(matches!(first.unwrap_err().kind(), ErrorKind::TooLarge { current_revision: 1 }));
    assert!(matches!(second.unwrap_err().kind(), ErrorKind::TooLarge { .. }));
    assert_eq!(third.unwrap_err().kind(), ErrorKind::Exhausted);
    assert_eq!(world.cache.stats().waiters, 0);
}
