//! A store over a directory, and watchers beside writers.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use harness::{everything, open_memory, put};
use kv_journal::{
    Config, ErrorKind, FileConfig, FileJournal, Journal, KeyRange, Result, Store, WatchRequest,
};
use tokio::task::JoinHandle;

async fn open(directory: &Path) -> (Store, JoinHandle<Result<()>>) {
    let journal = FileJournal::open(directory, FileConfig::default()).await.unwrap();
    let (store, driver) = Store::open(Arc::new(journal), Config::default()).await.unwrap();
    (store, tokio::spawn(driver))
}

fn last_segment(directory: &Path) -> std::path::PathBuf {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap()
}

#[tokio::test]
async fn a_reopened_directory_has_the_same_revisions() {
    let directory = tempfile::tempdir().unwrap();
    let (store, driver) = open(directory.path()).await;
    for number in 0..30 {
        put(&store, &format!("k{}", number % 4), &number.to_string()).await;
    }
    store.delete_range(KeyRange::key("k1")).await.unwrap();
    store.compact(12).await.unwrap();
    let before = everything(&store);
    drop(store);
    driver.await.unwrap().unwrap();
    // The driver's end has freed the lock.
    let (store, _driver) = open(directory.path()).await;
    assert_eq!(everything(&store), before);
    assert_eq!((store.revision(), store.compact_revision()), (32, 12));
}

#[tokio::test]
async fn a_store_whose_directory_was_taken_over_reads_no_more_linearizably() {
    let directory = tempfile::tempdir().unwrap();
    let journal = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let (old, driver) = Store::open(Arc::clone(&journal), Config::default()).await.unwrap();
    tokio::spawn(driver);
    put(&old, "a", "1").await;
    assert_eq!(old.read_barrier().await.unwrap(), 2);
    let (new, driver) = Store::open(journal, Config::default()).await.unwrap();
    tokio::spawn(driver);
    assert_eq!(new.read_barrier().await.unwrap(), 2);
    assert_eq!(old.read_barrier().await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn a_driver_that_ended_lets_go_of_the_directory_whoever_holds_a_handle() {
    let directory = tempfile::tempdir().unwrap();
    let (store, driver) = open(directory.path()).await;
    put(&store, "a", "1").await;
    driver.abort();
    store.closed().await;
    let (again, _driver) = open(directory.path()).await;
    assert_eq!(again.revision(), 2);
    assert_eq!(store.read_barrier().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_second_opener_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let first = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
    let refused = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let name = directory.path().display().to_string();
    assert!(refused.to_string().contains(&name), "{refused}");
    assert!(refused.to_string().contains("open elsewhere"), "{refused}");
    drop(first);
    FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("below");
    let error = FileJournal::open(&below, FileConfig::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&below.display().to_string()), "{error}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_torn_tail_is_reported_and_damage_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (store, driver) = open(directory.path()).await;
    for number in 0..5 {
        put(&store, &format!("k{number}"), "some value").await;
    }
    drop(store);
    driver.await.unwrap().unwrap();
    let path = last_segment(directory.path());
    let whole = std::fs::read(&path).unwrap();

    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let journal = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
    let torn = journal.report().torn.clone().unwrap();
    assert_eq!(torn.segment, path.file_name().unwrap().to_str().unwrap());
    assert_eq!(journal.tail().await.unwrap().next_seq, 5);
    drop(journal);

    let mut damaged = whole;
    damaged[80] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let error = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&torn.segment), "{error}");
    assert!(error.to_string().contains("at byte 48"), "{error}");
}

#[tokio::test]
async fn damage_in_an_older_segment_fails_the_store_or_the_verifying_open() {
    let directory = tempfile::tempdir().unwrap();
    let (store, driver) = open(directory.path()).await;
    put(&store, "a", "some value").await;
    drop(store);
    driver.await.unwrap().unwrap();
    let damaged = last_segment(directory.path());
    let (store, driver) = open(directory.path()).await;
    put(&store, "b", "some value").await;
    drop(store);
    driver.await.unwrap().unwrap();
    let mut content = std::fs::read(&damaged).unwrap();
    content[80] ^= 1;
    std::fs::write(&damaged, content).unwrap();

    let journal = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let error = Store::open(journal, Config::default()).await.map(drop).unwrap_err();
    let mut config = FileConfig::default();
    config.verify_on_open = true;
    let verified = FileJournal::open(directory.path(), config).await.map(drop).unwrap_err();
    let place = format!("segment {} at byte 48", damaged.file_name().unwrap().to_str().unwrap());
    for error in [error, verified] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&place), "{error}");
    }
}

#[tokio::test]
async fn settings_of_the_directory_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = FileConfig::default();
    config.segment_bytes = 1;
    let error = FileJournal::open(directory.path().join("new"), config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!directory.path().join("new").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_beside_writers_lose_nothing_and_repeat_nothing() {
    const WRITERS: u64 = 4;
    const PUTS: u64 = 250;
    let (store, _driver) = open_memory().await;
    let last = 1 + WRITERS * PUTS;
    let watchers: Vec<_> = (0..12)
        .map(|watcher| {
            let prefix = format!("{}/", watcher % 6); // some prefixes nobody writes to
            let request = WatchRequest::new(KeyRange::prefix(prefix)).progress_on_advance();
            let mut events = store.watch(request.from_revision(1)).unwrap();
            tokio::spawn(async move {
                let mut seen: Vec<(u64, bytes::Bytes)> = Vec::new();
                let mut synced = 0;
                while synced < last {
                    let batch = events.next().await.unwrap().unwrap();
                    assert!(batch.revision > synced, "{} after {synced}", batch.revision);
                    synced = batch.revision;
                    seen.extend(batch.events.iter().map(|e| (synced, e.kv.key_bytes())));
                }
                (watcher % 6, seen)
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..PUTS {
                    put(&store, &format!("{writer}/{number:05}"), "v").await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for watcher in watchers {
        let (writer, seen) = watcher.await.unwrap();
        let found = store.range(KeyRange::prefix(format!("{writer}/"))).unwrap();
        let expected: Vec<_> =
            found.kvs.iter().map(|kv| (kv.mod_revision(), kv.key_bytes())).collect();
        assert_eq!(seen, expected);
        assert_eq!(seen.len() as u64, if writer < WRITERS { PUTS } else { 0 });
    }
}
