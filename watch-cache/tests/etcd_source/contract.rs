//! The port's contract, by its conformance suite and where etcd has edges of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use watch_cache::conformance::{CHECKS, Subject, Writer};
use watch_cache::{
    Change, CurrentRevision, ErrorKind, EtcdConfig, EtcdProgress, EtcdSource, Events,
    RequestProgress, Source, SourceEvent, Write,
};

use super::server::{Etcd, source_of};

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Write {
    Write::Put(key.into(), value.into())
}

/// The keys of a whole list, and in how many batches they came.
async fn keys(source: &EtcdSource, prefix: &'static str, at: Option<u64>) -> (Vec<Bytes>, usize) {
    let listing = source.list(&prefix.into(), at).await.unwrap();
    let batches: Vec<_> = listing.objects.try_collect().await.unwrap();
    let count = batches.len();
    (batches.concat().into_iter().map(|object| object.key).collect(), count)
}

async fn kind_of_list(source: &EtcdSource, at: u64) -> ErrorKind {
    source.list(&"/a/".into(), Some(at)).await.unwrap_err().kind()
}

async fn next(events: &mut Events) -> SourceEvent {
    tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap().unwrap()
}

/// The number of the next revision and of its changes.
async fn next_revision(events: &mut Events) -> (u64, usize) {
    loop {
        if let SourceEvent::Revision(revision) = next(events).await {
            return (revision.revision, revision.changes.len());
        }
    }
}

#[tokio::test]
async fn the_contract_is_kept_over_etcd() {
    let Some(etcd) = Etcd::start().await else { return };
    let source = Arc::new(etcd.source());
    let writer: Arc<dyn Writer> = Arc::new(etcd);
    let subject = Subject { source, writer };
    for check in CHECKS {
        assert_eq!((check.run)(&subject).await, Ok(()), "{}", check.name);
    }
}

#[tokio::test]
async fn all_pages_of_a_list_are_at_the_revision_of_the_first() {
    let Some(etcd) = Etcd::start().await else { return };
    for chunk in 0..12 {
        let key = |at| put(format!("/a/{:04}", 100 * chunk + at), "v");
        etcd.txn((0..100).map(key).collect()).await;
    }
    let mut config = EtcdConfig::new([etcd.url()]);
    config.page_objects = 100;
    let source = source_of(config);
    let mut listing = source.list(&"/a/".into(), None).await.unwrap();
    let mut listed = listing.objects.try_next().await.unwrap().unwrap();
    assert_eq!(listed.len(), 100);
    // What happens between two pages is not in them.
    etcd.txn(vec![put("/a/0500+", "new"), put("/a/0600", "new"), Write::Delete("/a/0700".into())])
        .await;
    while let Some(page) = listing.objects.try_next().await.unwrap() {
        assert!(page.len() <= 100);
        listed.extend(page);
    }
    assert!(listed.iter().all(|object| object.value == "v"));
    let expected: Vec<String> = (0..1200).map(|at| format!("/a/{at:04}")).collect();
    let listed: Vec<_> = listed.iter().map(|object| &object.key[..]).collect();
    assert_eq!(listed, expected.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(keys(&source, "/a/", Some(listing.revision)).await.0.len(), 1200);
    assert_eq!(keys(&source, "", None).await, keys(&source, "/", None).await);
}

#[tokio::test]
async fn a_page_that_is_too_large_is_read_in_halves() {
    let Some(etcd) = Etcd::start().await else { return };
    let large = Bytes::from(vec![b'v'; 1 << 20]);
    for at in 0..8 {
        etcd.txn(vec![put(format!("/a/{at}"), large.clone())]).await;
    }
    let mut config = EtcdConfig::new([etcd.url()]);
    config.answer_bytes = EtcdConfig::ANSWER_BYTES.min;
    let (listed, pages) = keys(&source_of(config), "/a/", None).await;
    assert_eq!(listed.len(), 8);
    assert!(pages > 2, "{pages} pages of 4 MiB at most");
    assert_eq!(keys(&etcd.source(), "/a/", None).await, (listed, 1));
}

#[tokio::test]
async fn what_cannot_be_read_names_what_can() {
    let Some(etcd) = Etcd::start().await else { return };
    let source = etcd.source();
    etcd.put("/a/1", "1").await;
    etcd.put("/a/1", "2").await;
    let third = etcd.put("/a/1", "3").await;
    let current = etcd.put("/b/1", "4").await;
    etcd.compact(third).await;
    assert_eq!(
        kind_of_list(&source, third - 1).await,
        ErrorKind::Expired { oldest_revision: third }
    );
    let too_large = ErrorKind::TooLarge { current_revision: current };
    for ahead in [current + 1, u64::MAX] {
        assert_eq!(kind_of_list(&source, ahead).await, too_large);
        // etcd would wait for it without a word.
        let watch = source.watch(&"/a/".into(), ahead).await;
        assert_eq!(watch.err().unwrap().kind(), too_large);
    }
    let watch = source.watch(&"/a/".into(), third - 1).await;
    assert_eq!(watch.err().unwrap().kind(), ErrorKind::Expired { oldest_revision: third });
    assert_eq!(source.current_revision().await.unwrap(), current);
}

/// etcd#18089 and etcd#19179: a watch from the compact revision on is taken, and its deletions are gone.
#[tokio::test]
async fn a_deletion_that_is_compacted_is_not_missed_in_silence() {
    let Some(etcd) = Etcd::start().await else { return };
    let source = etcd.source();
    let created = etcd.put("/a/1", "1").await;
    let deleted = etcd.delete("/a/1").await;
    etcd.compact(deleted).await;
    let watch = source.watch(&"/a/".into(), created).await;
    assert_eq!(watch.err().unwrap().kind(), ErrorKind::Expired { oldest_revision: deleted });
    let mut events = source.watch(&"/a/".into(), deleted).await.unwrap();
    let next = etcd.put("/a/2", "2").await;
    assert_eq!(next_revision(&mut events).await, (next, 1));
}

#[tokio::test]
async fn fragments_are_joined_to_whole_revisions() {
    let Some(etcd) = Etcd::start().await else { return };
    let source = etcd.source();
    let mut written = Vec::new();
    for _ in 0..12 {
        // Two of them are more than a fragment of 1.5 MiB.
        let large = Bytes::from(vec![b'v'; 100 << 10]);
        let writes = (0..9).map(|at| put(format!("/a/{at}"), large.clone())).collect();
        written.push((etcd.txn(writes).await, 9));
    }
    for prefix in ["", "/", "/a/"] {
        let mut events = source.watch(&prefix.into(), 0).await.unwrap();
        for expected in &written {
            assert_eq!(next_revision(&mut events).await, *expected);
        }
    }
}

#[tokio::test]
async fn a_long_history_is_told_in_order() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut written = Vec::new();
    // etcd sends 1000 revisions in a response at most.
    for _ in 0..1100 {
        written.push((etcd.txn(vec![put("/a/1", "v"), put("/b/1", "v")]).await, 1));
    }
    let mut events = etcd.source().watch(&"/a/".into(), written[0].0).await.unwrap();
    for expected in &written[1..] {
        assert_eq!(next_revision(&mut events).await, *expected);
    }
    let last = etcd.delete("/a/1").await;
    let SourceEvent::Revision(deleted) = next(&mut events).await else { panic!("no revision") };
    assert_eq!(deleted.revision, last);
    assert_eq!(deleted.changes, [Change::Delete("/a/1".into())]);
}

#[tokio::test]
async fn a_watch_that_is_dropped_ends_at_the_server() {
    let Some(etcd) = Etcd::start().await else { return };
    let source = etcd.source();
    let current = etcd.put("/b/1", "v").await;
    let watchers = "etcd_debugging_mvcc_watcher_total";
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(source.watch(&"/a/".into(), current).await.unwrap());
    }
    assert_eq!(etcd.gateway.metric(watchers).await, 3);
    drop(open);
    while etcd.gateway.metric(watchers).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn requested_progress_reaches_every_open_watch() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut config = EtcdConfig::new([etcd.url()]);
    config.progress = EtcdProgress::Requested;
    let source = source_of(config);
    let current = etcd.put("/a/1", "v").await;
    let mut watches = Vec::new();
    for prefix in ["/b/", "/c/"] {
        watches.push(source.watch(&prefix.into(), current).await.unwrap());
    }
    let newer = etcd.put("/a/1", "w").await;
    source.request_progress().await.unwrap();
    for events in &mut watches {
        assert_eq!(next(events).await, SourceEvent::Progress(newer));
    }
}

#[tokio::test]
async fn the_next_endpoint_is_used_when_one_is_gone() {
    let Some(etcd) = Etcd::start().await else { return };
    let nobody = "http://127.0.0.1:1".to_owned();
    let source = source_of(EtcdConfig::new([nobody.clone(), etcd.url(), nobody.clone()]));
    let written = etcd.put("/a/1", "v").await;
    assert_eq!(source.current_revision().await.unwrap(), written);
    assert_eq!(keys(&source, "/a/", None).await.0, ["/a/1"]);
    let gone = source_of(EtcdConfig::new([nobody.clone(), nobody]));
    assert_eq!(gone.current_revision().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let watch = gone.watch(&"/a/".into(), 1).await;
    assert_eq!(watch.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_member_that_falls_silent_is_noticed() {
    let Some(etcd) = Etcd::start().await else { return };
    let current = etcd.put("/a/1", "v").await;
    let mut config = EtcdConfig::new([etcd.url()]);
    config.request_timeout = Duration::from_millis(300);
    config.keep_alive_interval = Duration::from_millis(100);
    config.keep_alive_timeout = Duration::from_millis(100);
    let source = source_of(config);
    let mut events = source.watch(&"/a/".into(), current).await.unwrap();
    etcd.signal("-STOP");
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(events.next().await.is_none());
    let error = source.current_revision().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    etcd.signal("-CONT");
    while source.current_revision().await.ok() != Some(current) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let source = etcd.source();
    let current = etcd.put("/a/1", "v").await;
    let mut events = source.watch(&"/a/".into(), current).await.unwrap();
    // As one that was restored from a backup.
    etcd.replace(&["--initial-cluster-token".into(), "another".into()]).await;
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error = source.current_revision().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("members of one cluster"), "{error}");
    assert_eq!(etcd.source().current_revision().await.unwrap(), 1);
}
