//! A store on a file system that is really full.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]
#![allow(clippy::panic, reason = "tests panic where they were told to be strict")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kv_journal::{
    Config, ErrorKind, FileConfig, FileJournal, Journal, KeyRange, PutRequest, ReadLimits, Result,
    Store,
};
use tokio::task::JoinHandle;

/// Set in the child: the root of a file system of 1 MiB.
const DISK: &str = "KV_JOURNAL_FULL_DISK";
const CHILD: &str = "child_fills_its_disk";
/// How the script below ends where nothing can be mounted.
const NO_MOUNT: i32 = 77;

/// Runs the child in a mount namespace of its own, which ends with it.
#[test]
fn a_really_full_disk_loses_nothing_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1m none \"${DISK}\" || exit {NO_MOUNT}; \
         exec \"$0\" {CHILD} --exact --nocapture"
    );
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(DISK, folder.path())
        .status();
    match status {
        Ok(status) if status.success() => {}
        // How a test that failed ends.
        Ok(status) if status.code() == Some(101) => panic!("the child failed"),
        other => {
            let strict = std::env::var("TRESTLE_REQUIRE_SERVERS").is_ok_and(|it| it == "1");
            assert!(!strict, "a file system cannot be mounted: {other:?}");
            eprintln!("SKIPPED: a file system cannot be mounted: {other:?}");
        }
    }
}

/// Not a test by itself: the process with a disk of its own.
#[tokio::test]
async fn child_fills_its_disk() {
    let Some(disk) = std::env::var_os(DISK) else { return };
    let (disk, journal) = (Path::new(&disk), Path::new(&disk).join("journal"));
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 300 << 10]).unwrap();

    let (store, driver) = open(&journal).await.unwrap();
    let mut acked = 0;
    let error = loop {
        match put(&store, acked).await {
            Ok(()) => acked += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert!(acked > 50, "{acked}");
    assert_eq!(store.range(KeyRange::all()).unwrap().count, acked);

    fs::remove_file(&ballast).unwrap();
    let mut attempts = 0;
    // The room may first go to a segment that is being prepared, which then gives it up.
    while let Err(error) = put(&store, acked).await {
        attempts += 1;
        assert!(error.kind() == ErrorKind::Exhausted && attempts < 100, "{error}");
    }
    acked += 1;
    drop(store);
    driver.await.unwrap().unwrap();

    fill(&disk.join("filler"));
    assert_eq!(records(&journal).await, acked);
    if let Err(error) = open(&journal).await {
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    }
    assert_eq!(records(&journal).await, acked);

    fs::remove_file(disk.join("filler")).unwrap();
    let (store, _driver) = open(&journal).await.unwrap();
    assert_eq!(store.range(KeyRange::all()).unwrap().count, acked);
    put(&store, acked).await.unwrap();
}

async fn file_journal(directory: &Path) -> Result<FileJournal> {
    let mut config = FileConfig::default();
    config.segment_bytes = 128 << 10;
    FileJournal::open(directory, config).await
}

async fn open(directory: &Path) -> Result<(Store, JoinHandle<Result<()>>)> {
    let journal = Arc::new(file_journal(directory).await?);
    let (store, driver) = Store::open(journal, Config::default()).await?;
    Ok((store, tokio::spawn(driver)))
}

async fn put(store: &Store, number: u64) -> Result<()> {
    let value = vec![number.to_le_bytes()[0]; 4000];
    store.put(PutRequest::new(format!("{number:08}"), value)).await.map(drop)
}

/// Opens the journal, reads all of it, and counts.
async fn records(directory: &Path) -> u64 {
    let journal = file_journal(directory).await.unwrap();
    assert_eq!(journal.report().torn, None);
    let everything = ReadLimits { records: usize::MAX, bytes: usize::MAX };
    journal.read(1, everything).await.unwrap().len() as u64
}

fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [64 << 10, 4096, 1] {
        let error = loop {
            if let Err(error) = file.write_all(&vec![1; size]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
