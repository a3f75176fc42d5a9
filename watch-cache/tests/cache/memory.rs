//! What gives way when there is not enough memory.

use std::time::Duration;

use watch_cache::{Config, ErrorKind, Footprint, ListRequest, ProgressMode, Start, WatchRequest};

use super::sinks::into_inbox;
use super::{World, open, spawn, world_of};

/// Room for so many bytes, and for a log and traces as the default has it.
async fn world(memory_bytes: usize) -> World {
    let mut config = Config::default();
    config.memory_bytes = memory_bytes;
    world_of(ProgressMode::Pushed, config).await
}

impl World {
    /// Writes objects of 1 KB to so many keys, and what that takes.
    async fn fill(&self, keys: u32, times: u32) -> Footprint {
        for time in 0..times {
            for key in 0..keys {
                let value = format!("n{}:{time:01000}", key % 3);
                self.store.put(format!("/pods/{key:04}"), value);
            }
        }
        self.cache.wait_for(self.store.revision()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.cache.stats().bytes
    }
}

#[tokio::test(start_paused = true)]
async fn traces_give_way_first_then_the_log_then_new_watchers() {
    let roomy = world(1 << 30).await;
    let all = roomy.fill(50, 40).await;
    assert!(all.objects > 50_000 && all.log > 1_000_000, "{all:?}");
    assert_eq!(roomy.cache.stats().log_revisions, 2_000);

    // The log is short of what it would have, and no traces are left.
    let tight = world(500_000).await;
    let bytes = tight.fill(50, 40).await;
    assert!(bytes.total() <= 500_000 && bytes.log > 300_000, "{bytes:?}");
    assert!(bytes.traces < 1_000, "{bytes:?}");
    let (watcher, _watch) = into_inbox(&tight.cache, WatchRequest::new(""), 1).unwrap();
    drop(watcher);

    // Objects take almost all.
    let full = world(all.objects + all.indexes + 1_000).await;
    let mut held = Vec::new();
    let bytes = full.fill(50, 2).await;
    assert!(bytes.total() <= all.objects + all.indexes + 1_000, "{bytes:?}");
    assert!(full.cache.stats().log_revisions < 3, "{:?}", full.cache.stats());
    let refused = loop {
        match full.cache.watch(WatchRequest::new("/none/")) {
            Ok(watcher) => held.push(watcher),
            Err(error) => break error,
        }
        full.fill(1, 1).await;
        assert!(held.len() < 10);
    };
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert!(refused.retry_after().is_some_and(|pause| !pause.is_zero()));
    // Reads are served, and so are those who were there.
    assert_eq!(full.cache.list(ListRequest::new("/pods/")).await.unwrap().objects.len(), 50);
    held.clear();
    full.fill(1, 1).await;
    full.fill(1, 1).await;
    full.cache.watch(WatchRequest::new("")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_snapshot_holds_back_is_counted() {
    let world = world(1 << 30).await;
    world.fill(50, 1).await;
    let mut config = Config::default();
    config.log_revisions = 10;
    let short = world_of(ProgressMode::Pushed, config).await;
    short.fill(50, 1).await;
    let snapshot = short.cache.snapshot();
    let initial = short.cache.watch(WatchRequest::new("").from(Start::Initial)).unwrap();
    let held = short.fill(50, 3).await;
    assert!(held.pinned > 50_000, "{held:?}");
    drop((snapshot, initial));
    let free = short.fill(50, 1).await;
    assert_eq!(free.pinned, 0);
}

#[tokio::test(start_paused = true)]
async fn objects_without_room_end_the_driver() {
    let mut config = Config::default();
    config.memory_bytes = 20_000;
    // Those that are there, and those that come.
    for listed in [true, false] {
        let (store, _, cache, driver) = open(ProgressMode::Pushed, config.clone());
        let write = || {
            for key in 0..50 {
                store.put(format!("/pods/{key}"), format!("n1:{:01000}", 1));
            }
        };
        if listed {
            write();
        }
        let driver = spawn(driver);
        if !listed {
            cache.ready().await.unwrap();
            write();
        }
        let error = driver.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(error.to_string().contains("memory_bytes"), "{error}");
        assert_eq!(cache.ready().await.unwrap_err().kind(), ErrorKind::Closed);
    }
}
