//! The sources through which a cache follows a store: the store itself, and the suite's own etcd server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kv_journal::etcd_server::{EtcdServer, ServerConfig};
use kv_journal::{KeyRange, MemoryJournal, Op, PutRequest, Store, Txn};
use tokio::net::TcpListener;
use trestle_examples::glue::StoreSource;
use watch_cache::conformance::{CHECKS, Subject, Writer};
use watch_cache::{
    Cache, Config, EtcdConfig, EtcdProgress, EtcdSource, ListRequest, Source, Write,
};

struct Behind(Store);

#[async_trait]
impl Writer for Behind {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        let op = |write| match write {
            Write::Put(key, value) => Op::put(key, value),
            Write::Delete(key) => Op::delete(KeyRange::key(key)),
        };
        let txn = writes.into_iter().map(op).fold(Txn::new(), Txn::then);
        self.0.txn(txn).await.unwrap().revision
    }

    async fn compact(&self, revision: u64) {
        self.0.compact(revision).await.unwrap();
    }
}

/// A store in memory.
async fn store() -> Store {
    let journal = Arc::new(MemoryJournal::new());
    let (store, driver) = Store::open(journal, kv_journal::Config::default()).await.unwrap();
    tokio::spawn(driver);
    store
}

/// A server of a store in memory, and a source over it.
async fn served(progress: EtcdProgress) -> (Store, EtcdSource) {
    let store = store().await;
    let spawn = |task| drop(tokio::spawn(task));
    let server = EtcdServer::open(Arc::new(store.clone()), ServerConfig::default(), spawn);
    let server = server.await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { server.serve(listener).await });
    let mut config = EtcdConfig::new([url]);
    config.progress = progress;
    (store, EtcdSource::new(config, |task| drop(tokio::spawn(task))).unwrap())
}

#[tokio::test]
async fn the_contract_is_kept_by_the_store_itself() {
    for check in CHECKS {
        let store = store().await;
        let source = Arc::new(StoreSource(store.clone()));
        let subject = Subject { source, writer: Arc::new(Behind(store)) };
        assert_eq!((check.run)(&subject).await, Ok(()), "{}", check.name);
    }
}

#[tokio::test]
async fn the_contract_is_kept_over_the_suites_own_server() {
    for progress in [EtcdProgress::ByVersion, EtcdProgress::AllKeys] {
        for check in CHECKS {
            let (store, source) = served(progress).await;
            let subject = Subject { source: Arc::new(source), writer: Arc::new(Behind(store)) };
            assert_eq!((check.run)(&subject).await, Ok(()), "{} {progress:?}", check.name);
        }
    }
}

#[tokio::test]
async fn prefixes_are_at_one_revision_by_progress_on_request() {
    let (store, source) = served(EtcdProgress::ByVersion).await;
    let mut config = Config::default();
    config.prefixes = vec!["/a/".into(), "/b/".into()];
    let source: Arc<dyn Source> = Arc::new(source);
    let (cache, driver) = Cache::open(source, vec![], config).unwrap();
    tokio::spawn(driver);
    cache.ready().await.unwrap();
    let mut last = 0;
    for round in 0..200 {
        let key = ["/a/1", "/b/1", "/elsewhere"][round % 3];
        let written = store.put(PutRequest::new(key, format!("{round}"))).await.unwrap().revision;
        for prefix in ["/a/", "/b/"] {
            let listing = cache.list(ListRequest::new(prefix));
            let listed = tokio::time::timeout(Duration::from_secs(20), listing).await;
            let listed = listed.unwrap().unwrap();
            assert!(listed.revision >= written);
            let newest = listed.objects.iter().map(watch_cache::Object::mod_revision).max();
            if key.starts_with(prefix) {
                assert_eq!(newest, Some(written));
                last = written;
            }
        }
    }
    assert!(last > 0);
    let stats = cache.stats();
    assert_eq!((stats.early_progress, stats.source_errors, stats.lists), (0, 0, 1));
}
