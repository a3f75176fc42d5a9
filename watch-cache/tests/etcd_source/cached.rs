//! A cache over the source over a real etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use watch_cache::conformance::Writer;
use watch_cache::oracle::{Begin, Oracle, Record};
use watch_cache::{
    At, Cache, Change, Config, ErrorKind, EtcdConfig, EtcdSource, ListRequest, Object, Revision,
    SourceObject, WatchEvent, WatchRequest, Watcher, Write,
};

use super::proxy::Proxy;
use super::server::{Etcd, Gateway, source_of};

const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "a test spawns the driver, as a caller does")]
async fn open(source: EtcdSource, prefixes: &[&'static str]) -> Cache {
    let mut config = Config::default();
    config.prefixes = prefixes.iter().map(|prefix| Bytes::from(*prefix)).collect();
    config.backoff_cap = Duration::from_millis(100);
    config.wait_timeout = Duration::from_secs(10);
    config.compare_interval = Some(Duration::from_millis(100));
    let (cache, driver) = Cache::open(Arc::new(source), vec![], config).unwrap();
    tokio::spawn(driver);
    timeout(PATIENCE, cache.ready()).await.unwrap().unwrap();
    cache
}

/// What the watcher is told up to a revision.
async fn told(watcher: &mut Watcher, to: u64) -> Vec<WatchEvent> {
    let mut events: Vec<WatchEvent> = Vec::new();
    while events.last().is_none_or(|event| event.revision() < to) {
        events.push(timeout(PATIENCE, watcher.next()).await.unwrap().unwrap().unwrap());
    }
    events
}

#[tokio::test]
async fn a_consistent_list_holds_what_was_written_just_before() {
    let Some(etcd) = Etcd::start().await else { return };
    let cache = open(etcd.source(), &["/a/"]).await;
    for round in 0..30 {
        // One of two is not under the prefix: only progress tells how far the cache is.
        let key = if round % 2 == 0 { "/a/1" } else { "/b/1" };
        let written = etcd.put(key, &format!("{round}")).await;
        let listed = cache.list(ListRequest::new("/a/")).await.unwrap();
        assert!(listed.revision >= written);
        assert_eq!(listed.objects[0].value(), format!("{}", round / 2 * 2).as_bytes());
    }
    let stats = cache.stats();
    assert_eq!((stats.lists, stats.source_errors, stats.early_progress), (1, 0, 0));
}

#[tokio::test]
async fn several_prefixes_are_at_one_revision() {
    let Some(etcd) = Etcd::start().await else { return };
    let prefixes = ["/a/", "/b/", "/c/"];
    let cache = open(etcd.source(), &prefixes).await;
    for round in 0..10 {
        let value = Bytes::from(format!("{round}"));
        let one = |prefix: &&str| Write::Put(format!("{prefix}1").into(), value.clone());
        let written = etcd.txn(prefixes.iter().map(one).collect()).await;
        etcd.put("/elsewhere", "v").await;
        for prefix in prefixes {
            let listed = cache.list(ListRequest::new(prefix)).await.unwrap();
            assert!(listed.revision > written, "what nobody holds is waited for, too");
            let now = |object: &Object| (object.value() == value, object.mod_revision());
            assert_eq!(listed.objects.iter().map(now).collect::<Vec<_>>(), [(true, written)]);
            let before = ListRequest::new(prefix).at(At::Exactly(written - 1));
            let there = cache.list(before).await.unwrap().objects;
            assert!(there.iter().all(|object| object.mod_revision() < written));
        }
    }
}

/// What was done to etcd, as its clients know it.
#[derive(Default)]
struct History {
    done: BTreeMap<u64, Vec<Write>>,
    /// Transactions that nobody knows of whether they were done, by the key that only they write.
    unknown: Vec<(String, Vec<Write>)>,
}

impl History {
    /// A transaction that puts or deletes in one prefix, and marks that in another.
    async fn write(&mut self, gateway: Gateway, number: u32) {
        let key = Bytes::from(format!("/a/{}", number % 7));
        let marker = format!("/b/{number}");
        let change = match number % 5 {
            4 => Write::Delete(key),
            _ => Write::Put(key, format!("{number}").into()),
        };
        let writes = vec![change, Write::Put(marker.clone().into(), Bytes::new())];
        if let Ok(revision) = gateway.txn(writes.clone()).await {
            self.done.insert(revision, writes);
        } else {
            self.unknown.push((marker, writes));
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Finds out what is not known.
    async fn settle(&mut self, gateway: Gateway) {
        for (marker, writes) in std::mem::take(&mut self.unknown) {
            if let Some(revision) = gateway.written_at(&marker).await {
                self.done.insert(revision, writes);
            }
        }
    }

    /// What it is to whoever watches.
    fn oracle(&self) -> Oracle {
        let mut created: BTreeMap<Bytes, u64> = BTreeMap::new();
        let mut oracle = Oracle::default();
        for (&revision, writes) in &self.done {
            let mut changes = Vec::new();
            for write in writes {
                match write.clone() {
                    Write::Put(key, value) => {
                        let create_revision = *created.entry(key.clone()).or_insert(revision);
                        let mod_revision = revision;
                        let put = SourceObject { key, value, create_revision, mod_revision };
                        changes.push(Change::Put(put));
                    }
                    Write::Delete(key) if created.remove(&key).is_some() => {
                        changes.push(Change::Delete(key));
                    }
                    Write::Delete(_) => {}
                }
            }
            oracle.push(Revision { revision, changes });
        }
        oracle
    }
}

/// Several clients write, whatever happens to the server or the way to it.
async fn write_through(gateway: Gateway, trouble: impl AsyncFnOnce(&AtomicU32)) -> History {
    let written = &AtomicU32::new(0);
    let writers = (0..4).map(|writer| async move {
        let mut history = History::default();
        for number in 0..100 {
            history.write(gateway, 100 * writer + number).await;
            written.fetch_add(1, Ordering::Relaxed);
        }
        history
    });
    let (histories, ()) = tokio::join!(join_all(writers), trouble(written));
    let mut all = History::default();
    for history in histories {
        all.done.extend(history.done);
        all.unknown.extend(history.unknown);
    }
    all.settle(gateway).await;
    all
}

async fn wait_for(written: &AtomicU32, count: u32) {
    while written.load(Ordering::Relaxed) < count {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Whatever the trouble, the cache goes on where it was.
async fn follow_through(
    gateway: Gateway,
    source: EtcdSource,
    trouble: impl AsyncFnOnce(&AtomicU32),
) {
    let cache = open(source, &["/a/", "/b/"]).await;
    let start = cache.revision();
    let mut watchers = Vec::new();
    for prefix in ["/a/", "/b/"] {
        watchers.push((prefix, cache.watch(WatchRequest::new(prefix)).unwrap()));
    }
    let history = write_through(gateway, trouble).await;
    assert!(history.done.len() > 200, "{} of 400 were done", history.done.len());
    let last = *history.done.keys().last().unwrap();
    let oracle = history.oracle();
    for (prefix, watcher) in &mut watchers {
        let selects = |object: &Object| object.key().starts_with(prefix.as_bytes());
        let listed = consistent(&cache, prefix).await;
        assert_eq!(listed, oracle.state_at(last, selects));
        // It holds everything, so all of it was told.
        let mut events = Vec::new();
        while let Ok(Some(event)) = timeout(Duration::from_millis(100), watcher.next()).await {
            events.push(event.unwrap());
        }
        let record = Record { begin: Begin::After(start), events, complete_to: last };
        oracle.check(&record, selects).unwrap();
    }
    while cache.stats().compared_revision < last {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(cache.stats().inconsistencies, 0);
    assert_eq!(cache.stats().lists, 1, "it went on where it was");
    assert!(cache.stats().source_errors > 0, "it was cut off");
}

/// A list as soon as etcd is there to say how new it is to be.
async fn consistent(cache: &Cache, prefix: &'static str) -> Vec<Object> {
    let listing = async {
        loop {
            match cache.list(ListRequest::new(prefix)).await {
                Ok(listed) => return listed.objects,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    };
    timeout(PATIENCE, listing).await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_killed_under_load_loses_and_repeats_no_event() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let (gateway, source) = (etcd.gateway, etcd.source());
    let kills = async |written: &AtomicU32| {
        for count in [100, 200] {
            wait_for(written, count).await;
            etcd.kill();
            etcd.restart().await;
        }
    };
    follow_through(gateway, source, kills).await;
}

#[tokio::test]
async fn connections_that_break_lose_and_repeat_no_event() {
    let Some(etcd) = Etcd::start().await else { return };
    let proxy = Proxy::to(etcd.gateway.port).await;
    let source = source_of(EtcdConfig::new([format!("http://127.0.0.1:{}", proxy.port)]));
    let cuts = async |written: &AtomicU32| {
        for count in 1..40 {
            wait_for(written, 10 * count).await;
            proxy.cut();
            proxy.mend();
        }
    };
    follow_through(etcd.gateway, source, cuts).await;
}

#[tokio::test]
async fn what_is_compacted_while_the_cache_is_cut_off_comes_as_one_difference() {
    let Some(etcd) = Etcd::start().await else { return };
    let proxy = Proxy::to(etcd.gateway.port).await;
    for key in ["/a/1", "/a/2", "/a/3"] {
        etcd.put(key, "before").await;
    }
    let source = source_of(EtcdConfig::new([format!("http://127.0.0.1:{}", proxy.port)]));
    let cache = open(source, &["/a/"]).await;
    let known = cache.revision();
    let mut watcher = cache.watch(WatchRequest::new("/a/")).unwrap();
    proxy.cut();
    etcd.put("/a/1", "between").await;
    etcd.delete("/a/2").await;
    etcd.put("/a/4", "between").await;
    let last = etcd.put("/a/1", "after").await;
    etcd.compact(last).await;
    proxy.mend();
    let mut events = Vec::new();
    while events.len() < 3 {
        events.push(timeout(PATIENCE, watcher.next()).await.unwrap().unwrap().unwrap());
    }
    let brief = |event: &WatchEvent| match event {
        WatchEvent::Added { object, .. } => format!("+{}", String::from_utf8_lossy(object.key())),
        WatchEvent::Modified { object, .. } => {
            format!("~{}", String::from_utf8_lossy(object.value()))
        }
        WatchEvent::Deleted { previous, .. } => {
            format!("-{}", String::from_utf8_lossy(previous.key()))
        }
        WatchEvent::Coalesced { .. } | WatchEvent::Resumed { .. } => panic!("{event:?}"),
        WatchEvent::Bookmark { .. } => "mark".to_owned(),
    };
    assert_eq!(events.iter().map(brief).collect::<Vec<_>>(), ["~after", "-/a/2", "+/a/4"]);
    assert!(events.iter().all(|event| event.revision() == last));
    let exactly = |at| cache.list(ListRequest::new("/a/").at(At::Exactly(at)));
    assert_eq!(exactly(known).await.unwrap().objects.len(), 3);
    let between = exactly(known + 1).await.unwrap_err().kind();
    assert_eq!(between, ErrorKind::Expired { oldest_revision: last });
    // It is no longer behind.
    let next = etcd.put("/a/5", "later").await;
    assert_eq!(told(&mut watcher, next).await.len(), 1);
    assert_eq!(cache.stats().lists, 2);
}
