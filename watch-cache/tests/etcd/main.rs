//! A real etcd as the source.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::future_not_send,
    reason = "a test fails by panicking, and runs on one thread"
)]

mod server;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use server::Etcd;
use tokio::time::timeout;
use watch_cache::conformance::Subject;
use watch_cache::oracle::{Begin, Oracle, Record};
use watch_cache::{
    At, Cache, Config, ErrorKind, EtcdConfig, EtcdSource, Freshness, ListRequest, MemorySource,
    Source, SourceEvent, Start, WatchEvent, WatchRequest, Watcher, Write,
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn subject() -> (Subject, ()) {
    let Some(etcd) = Etcd::start() else {
        let store = Arc::new(MemorySource::new());
        return (Subject { source: store.clone(), writer: store }, ());
    };
    let source = EtcdSource::open(etcd.channel(), EtcdConfig::default()).await.unwrap();
    (Subject { source: Arc::new(source), writer: Arc::new(etcd) }, ())
}

watch_cache::source_conformance!(etcd, async { subject().await });

/// With pages of two objects, so that a listing has several.
async fn paged() -> (Subject, ()) {
    let (subject, ()) = subject().await;
    let Some(etcd) = Etcd::start() else { return (subject, ()) };
    let mut config = EtcdConfig::default();
    config.page = 2;
    let source = EtcdSource::open(etcd.channel(), config).await.unwrap();
    (Subject { source: Arc::new(source), writer: Arc::new(etcd) }, ())
}

mod paged_lists {
    use super::*;

    #[test]
    fn a_listing_of_several_pages_is_exact() {
        watch_cache::conformance::run(async {
            let (subject, ()) = paged().await;
            watch_cache::conformance::listing_is_exact(&subject).await.unwrap();
        });
    }
}

fn put(key: &str, value: &str) -> Write {
    Write::Put(Bytes::from(key.to_owned()), Bytes::from(value.to_owned()))
}

#[expect(clippy::disallowed_methods, reason = "a test spawns the driver, as a caller does")]
async fn cache_of(etcd: &Etcd, prefixes: &[&'static str]) -> watch_cache::Result<Cache> {
    let mut config = EtcdConfig::default();
    config.request_timeout = Duration::from_secs(2);
    let source = EtcdSource::open(etcd.channel(), config).await.unwrap();
    let mut config = Config::default();
    config.prefixes = prefixes.iter().map(|prefix| Bytes::from(*prefix)).collect();
    config.wait_timeout = PATIENCE;
    config.backoff_cap = Duration::from_millis(200);
    let (cache, driver) = Cache::open(Arc::new(source), vec![], config)?;
    tokio::spawn(driver);
    cache.ready().await?;
    Ok(cache)
}

#[tokio::test]
async fn a_consistent_list_sees_the_write_before_it() {
    let Some(etcd) = Etcd::start() else { return };
    let cache = cache_of(&etcd, &["/a/"]).await.unwrap();
    for round in 0..20 {
        etcd.write(&[put("/a/x", &round.to_string())]).unwrap();
        // Elsewhere, so that the watch alone does not tell.
        etcd.write(&[put("/b", &round.to_string())]).unwrap();
        let list = cache.list(ListRequest::new("/a/")).await.unwrap();
        assert_eq!(list.objects[0].value(), round.to_string().as_bytes());
    }
}

#[tokio::test]
async fn several_prefixes_are_at_one_revision() {
    let Some(etcd) = Etcd::start() else { return };
    let cache = match cache_of(&etcd, &["/a/", "/b/"]).await {
        Ok(cache) => cache,
        // A release whose progress is not to be believed.
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Invalid),
    };
    let mut watcher = cache.watch(WatchRequest::new("/a/")).unwrap();
    for round in 0..10 {
        let value = round.to_string();
        let at = etcd.write(&[put("/a/x", &value), put("/b/x", &value)]).unwrap();
        etcd.write(&[put("/b/y", &value)]).unwrap();
        for prefix in ["/a/", "/b/"] {
            let list = cache.list(ListRequest::new(prefix).at(At::AtLeast(at))).await.unwrap();
            assert!(list.objects.iter().any(|object| object.value() == value.as_bytes()));
        }
        let event = timeout(PATIENCE, watcher.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.revision(), at);
    }
}

/// What the watcher is told until it has come to a revision.
async fn told(watcher: &mut Watcher, until: u64) -> Vec<WatchEvent> {
    let mut events: Vec<WatchEvent> = Vec::new();
    while events.last().is_none_or(|last| last.revision() < until) {
        events.push(timeout(PATIENCE, watcher.next()).await.unwrap().unwrap().unwrap());
    }
    // The rest of that revision, and what should not come.
    while let Ok(event) = timeout(Duration::from_millis(200), watcher.next()).await {
        events.push(event.unwrap().unwrap());
    }
    events
}

/// Everything that etcd has done, from its own log.
async fn history(etcd: &Etcd, until: u64) -> Oracle {
    let source = EtcdSource::open(etcd.channel(), EtcdConfig::default()).await.unwrap();
    let mut events = source.watch(&Bytes::from("/a/"), 0).await.unwrap();
    let mut oracle = Oracle::default();
    while let Some(event) = timeout(PATIENCE, events.next()).await.unwrap() {
        if let SourceEvent::Revision(revision) = event.unwrap() {
            let last = revision.revision >= until;
            oracle.push(revision);
            if last {
                break;
            }
        }
    }
    oracle
}

#[tokio::test]
async fn an_etcd_that_is_killed_and_comes_back_costs_no_event() {
    let Some(etcd) = Etcd::start() else { return };
    let etcd = Arc::new(etcd);
    let begin = etcd.write(&[put("/a/0", "first")]).unwrap();
    let cache = cache_of(&etcd, &["/a/"]).await.unwrap();
    let mut watcher = cache.watch(WatchRequest::new("/a/").from(Start::After(begin))).unwrap();
    let writer = {
        let etcd = Arc::clone(&etcd);
        std::thread::spawn(move || {
            let mut last = 0;
            for round in 0..60 {
                if round % 20 == 10 {
                    etcd.kill();
                    etcd.restart();
                }
                let (key, other) = (format!("/a/{}", round % 7), format!("/a/{}", round % 3));
                let write = [put(&key, &round.to_string()), Write::Delete(other.clone().into())];
                let whole = if key == other { &write[..1] } else { &write[..] };
                // One that was cut off may have been done.
                last = etcd.write(whole).unwrap_or(last).max(last);
            }
            etcd.write(&[put("/a/end", "last")]).unwrap()
        })
    };
    while !writer.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let last = writer.join().unwrap();
    let events = told(&mut watcher, last).await;
    let oracle = history(&etcd, last).await;
    let record = Record { begin: Begin::After(begin), events, complete_to: last };
    // The oracle began empty.
    oracle.check(&record, |object| object.key().starts_with(b"/a/")).unwrap();
    let stats = cache.stats();
    assert_eq!((stats.lists, stats.replayed, stats.early_progress), (1, 0, 0), "{stats:?}");
    assert!(stats.source_errors > 0, "it was cut off: {stats:?}");
}

#[tokio::test]
async fn what_was_compacted_while_etcd_was_away_is_told_as_a_difference() {
    let Some(etcd) = Etcd::start() else { return };
    etcd.write(&[put("/a/x", "1"), put("/a/y", "1")]).unwrap();
    let cache = cache_of(&etcd, &["/a/"]).await.unwrap();
    let mut watcher = cache.watch(WatchRequest::new("/a/")).unwrap();
    // The cache tries again meanwhile, and must not see what comes before it is compacted.
    let home = etcd.url();
    etcd.move_to(Etcd::elsewhere());
    for round in 0..5 {
        etcd.write(&[put("/a/x", &round.to_string())]).unwrap();
    }
    let last = etcd.write(&[Write::Delete("/a/y".into()), put("/a/z", "1")]).unwrap();
    etcd.ctl(&["compact", &last.to_string()], "").unwrap();
    etcd.move_to(home);
    let events = told(&mut watcher, last).await;
    let keys: Vec<_> = events.iter().map(|event| event.key().unwrap().to_vec()).collect();
    assert_eq!(keys, [b"/a/x", b"/a/y", b"/a/z"]);
    assert!(events.iter().all(|event| event.revision() == last));
    assert_eq!(cache.stats().lists, 2);
}

#[tokio::test]
async fn wrong_words_are_refused_with_a_reason() {
    let Some(etcd) = Etcd::start() else { return };
    let mut config = EtcdConfig::default();
    config.page = 0;
    let error = EtcdSource::open(etcd.channel(), config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let mut config = EtcdConfig::default();
    config.user = Some("root".to_owned());
    let error = EtcdSource::open(etcd.channel(), config).await.unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");

    for command in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        etcd.ctl(command, "").unwrap();
    }
    let with = |password: &str| {
        let mut config = EtcdConfig::default();
        (config.user, config.password) = (Some("root".into()), Some(password.into()));
        EtcdSource::open(etcd.channel(), config)
    };
    let list = |source: EtcdSource<_>| async move {
        let prefix = Bytes::from("/a/");
        let listed = source.list(&prefix, None).await.map(|listing| listing.revision);
        let watched = source.watch(&prefix, 1).await.map(|_| ());
        (listed, watched)
    };
    let (listed, watched) = list(with("secret").await.unwrap()).await;
    assert!(listed.is_ok() && watched.is_ok(), "{listed:?} {watched:?}");
    let (listed, _) = list(with("wrong").await.unwrap()).await;
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::Invalid);
    let nobody = EtcdSource::open(etcd.channel(), EtcdConfig::default()).await.unwrap();
    assert_eq!(list(nobody).await.0.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_revision_to_come_is_no_silence_and_debians_release_is_not_believed() {
    let Some(etcd) = Etcd::start() else { return };
    let source = EtcdSource::open(etcd.channel(), EtcdConfig::default()).await.unwrap();
    // Debian 12 has 3.4.23, whose answers to requests for progress can come too early.
    let version = etcd.ctl(&["version"], "").unwrap();
    let old = version.contains("3.4.23");
    assert_eq!(matches!(source.freshness(), Freshness::ListOnly), old, "{version}");
    let error = source.watch(&Bytes::from("/a/"), 1_000).await.err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { current_revision: 1 }), "{error}");
    let gone = EtcdSource::open(
        tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy(),
        EtcdConfig::default(),
    );
    assert_eq!(gone.await.unwrap_err().kind(), ErrorKind::Unavailable);
}
