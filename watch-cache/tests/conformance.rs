//! The contract of `Source`: kept by every adapter and decorator, broken item by item by a source
//! made for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use broken::{Break, BrokenSource};
use bytes::Bytes;
use tokio::task::JoinHandle;
use watch_cache::conformance::{CHECKS, Subject, Writer};
use watch_cache::{
    Cache, Config, Events, FaultSource, Freshness, Listing, MemorySource, ProgressMode, Result,
    Source, Write, source_conformance,
};

fn memory(mode: ProgressMode) -> (Subject, ()) {
    let store = Arc::new(MemorySource::with_progress(mode));
    (Subject { source: store.clone(), writer: store }, ())
}

source_conformance!(memory_pushed, async { memory(ProgressMode::Pushed) });
source_conformance!(memory_on_request, async { memory(ProgressMode::OnRequest) });
source_conformance!(memory_list_only, async { memory(ProgressMode::ListOnly) });

source_conformance!(boxed_twice, async {
    let store = Arc::new(MemorySource::new());
    let boxed: Arc<dyn Source> = store.clone();
    (Subject { source: Arc::new(boxed), writer: store }, ())
});

source_conformance!(faults_without_a_fault, async {
    let store = Arc::new(MemorySource::with_progress(ProgressMode::OnRequest));
    (Subject { source: Arc::new(FaultSource::new(store.clone())), writer: store }, ())
});

/// A store behind a cache, which compacts by filling the cache's log up.
struct Behind {
    store: MemorySource,
    cache: OnceLock<Cache>,
}

/// As many revisions as a cache retains.
const LOG: usize = 200;

#[async_trait]
impl Writer for Behind {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        self.store.txn(writes)
    }

    async fn compact(&self, revision: u64) {
        let mut last = self.store.revision();
        while last < revision + LOG as u64 {
            last = self.store.put("/filler", format!("{last}"));
        }
        self.cache.get().unwrap().wait_for(last).await.unwrap();
    }
}

#[async_trait]
impl Source for Behind {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        self.store.list(prefix, at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        self.store.watch(prefix, after).await
    }

    fn freshness(&self) -> Freshness<'_> {
        self.store.freshness()
    }
}

async fn relay(mode: ProgressMode) -> (Subject, JoinHandle<Result<()>>) {
    let store = MemorySource::with_progress(mode);
    let behind = Arc::new(Behind { store, cache: OnceLock::new() });
    let mut config = Config::default();
    config.log_revisions = LOG;
    // A revision to come is not waited for so long.
    config.wait_timeout = Duration::from_millis(100);
    let (cache, driver) = Cache::open(behind.clone(), vec![], config).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test spawns the driver, as a caller does")]
    let driver = tokio::spawn(driver);
    cache.ready().await.unwrap();
    behind.cache.set(cache.clone()).unwrap();
    (Subject { source: Arc::new(cache), writer: behind }, driver)
}

source_conformance!(relay_of_pushed, relay(ProgressMode::Pushed));
source_conformance!(relay_of_on_request, relay(ProgressMode::OnRequest));

/// Each break fails the check of its own item, and says so with the item's number. A check may also
/// stumble over what another item forbids, but then names its own item.
#[tokio::test(start_paused = true)]
async fn each_break_fails_its_item() {
    for (kind, item) in Break::ALL {
        let mut failed = Vec::new();
        for (position, check) in CHECKS.iter().enumerate() {
            let store = Arc::new(MemorySource::with_progress(kind.mode()));
            let source = Arc::new(BrokenSource::new(Arc::clone(&store), *kind));
            let checked = (check.run)(&Subject { source, writer: store }).await;
            if let Err(violation) = checked {
                assert_eq!(violation.item, (position + 1).to_string(), "{violation}");
                failed.push(position + 1);
            }
        }
        assert!(failed.contains(item), "{kind:?} passes the check of item {item}");
    }
}
