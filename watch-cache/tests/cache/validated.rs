//! Watches that are checked while they run.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use watch_cache::oracle::Guarantee;
use watch_cache::{
    Cache, Codec, Config, Encoded, ErrorKind, MemorySource, Schema, Selector, Start, WatchRequest,
};

use super::sinks::into_inbox;
use super::{drain, next_error, spawn, world};

/// A codec that breaks its word: what it says of an object changes.
struct Fickle(Arc<AtomicBool>);

impl Codec for Fickle {
    fn field<'a>(&self, _: Encoded<'a>, _: &str) -> Option<Cow<'a, [u8]>> {
        None
    }

    fn label<'a>(&self, _: Encoded<'a>, _: &str) -> Option<Cow<'a, [u8]>> {
        self.0.load(Ordering::Relaxed).then_some(Cow::Borrowed(b"x"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_a_guarantee_ends_and_says_which() {
    let (store, says) = (Arc::new(MemorySource::new()), Arc::new(AtomicBool::new(true)));
    let schema = Schema::new(Fickle(Arc::clone(&says)));
    let (cache, driver) = Cache::open(store.clone(), schema, Config::default()).unwrap();
    let driver = spawn(driver);
    cache.ready().await.unwrap();
    let labelled =
        || WatchRequest::new("").select(Selector::parse("x", "").unwrap()).from(Start::Initial);
    let mut unchecked = cache.watch(labelled()).unwrap();
    cache.set_oracle(true);
    let mut checked = cache.watch(labelled()).unwrap();
    let (sink, watch) = into_inbox(&cache, labelled(), 10).unwrap();
    store.put("/a", "1");
    for watcher in [&mut unchecked, &mut checked] {
        assert_eq!(drain(watcher).await.len(), 2);
    }
    // Now the object was never in the watch, and leaves it without a word.
    says.store(false, Ordering::Relaxed);
    let revision = store.put("/a", "2");
    cache.wait_for(revision).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(drain(&mut checked).await.len(), 0);
    says.store(true, Ordering::Relaxed);
    let revision = store.put("/a", "3");
    cache.wait_for(revision).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(next_error(&mut checked).await, ErrorKind::Corrupt);
    assert_eq!(sink.ended(), Some(ErrorKind::Corrupt));
    assert_eq!(drain(&mut unchecked).await.len(), 1);
    let violation = cache.violation().unwrap();
    assert_eq!(violation.guarantee, Guarantee::Exact);
    assert!(
        violation.seen.contains("the last events were") && violation.seen.contains("Added"),
        "{violation}"
    );
    assert_eq!(cache.stats().violations, 2);
    drop((cache, checked, unchecked, watch));
    driver.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_right_is_compared_with_the_state_and_goes_on() {
    let world = world().await;
    world.cache.set_oracle(true);
    let mut watcher = world.cache.watch(WatchRequest::new("").index("node", "n1")).unwrap();
    for round in 0..300 {
        let node = ["n1", "n2"][round % 2];
        world.store.put(format!("/pods/{}", round % 7), node);
    }
    let last = world.put("/pods/1", "n1").await;
    let told = drain(&mut watcher).await;
    assert!(told.len() > 100 && told.iter().any(|event| event.revision() == last));
    assert_eq!((world.cache.violation(), world.cache.stats().violations), (None, 0));
}
