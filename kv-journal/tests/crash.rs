//! A process that is killed under load loses nothing that it acknowledged.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use kv_journal::{Config, FileConfig, FileJournal, KeyRange, Op, Store, Txn};

/// Set in the child: the directory of its journal.
const DIRECTORY: &str = "KV_JOURNAL_CRASH_DIRECTORY";
/// Set in the child: a number that its keys begin with.
const ROUND: &str = "KV_JOURNAL_CRASH_ROUND";
const ROUNDS: u32 = 6;
const WRITERS: usize = 16;

async fn open(directory: &Path) -> (Store, tokio::task::JoinHandle<kv_journal::Result<()>>) {
    let mut config = FileConfig::default();
    config.segment_bytes = 16 << 10;
    let journal = FileJournal::open(directory, config).await.unwrap();
    let (store, driver) = Store::open(Arc::new(journal), Config::default()).await.unwrap();
    (store, tokio::spawn(driver))
}

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let round = std::env::var(ROUND).unwrap();
    let (store, _driver) = open(Path::new(&directory)).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, round) = (store.clone(), round.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let key = format!("{round}/{writer}/{number}");
                    let value = "v".repeat(number % 300);
                    let txn = Txn::new()
                        .then(Op::put(format!("left/{key}"), value.clone()))
                        .then(Op::put(format!("right/{key}"), value));
                    let revision = store.txn(txn).await.unwrap().revision;
                    // One write per line: the parent takes only whole lines.
                    let line = format!("acked {revision} {key}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Starts the child, kills it after `enough` acknowledgements, returns all that it reported.
fn killed_under_load(directory: &Path, round: u32, enough: usize) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut acked = Vec::new();
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some(("acked", rest)) = line.trim_start().split_once(' ')
            && line.ends_with('\n')
        {
            let (revision, key) = rest.trim_end().split_once(' ').unwrap();
            acked.push((revision.parse().unwrap(), key.to_owned()));
        }
        line.clear();
        if acked.len() == enough {
            child.kill().unwrap(); // SIGKILL
        }
    }
    child.wait().unwrap();
    assert!(acked.len() >= enough, "the child ended by itself after {}", acked.len());
    acked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_and_no_transaction_halved() {
    let directory = tempfile::tempdir().unwrap();
    let mut acked = Vec::new();
    let mut last_revision = 1;
    for round in 0..ROUNDS {
        acked.extend(killed_under_load(directory.path(), round, 40 + round as usize * 57));
        let (store, driver) = open(directory.path()).await;
        for (revision, key) in &acked {
            let found = store.get(format!("left/{key}").as_bytes()).unwrap();
            let found = found.unwrap_or_else(|| panic!("{key} of revision {revision} is lost"));
            assert_eq!(found.mod_revision, *revision, "{key}");
        }
        let left = store.range(KeyRange::prefix("left/")).unwrap();
        let right = store.range(KeyRange::prefix("right/")).unwrap();
        assert_eq!(left.count, right.count);
        for (left, right) in left.kvs.iter().zip(&right.kvs) {
            assert_eq!((left.mod_revision, &left.value), (right.mod_revision, &right.value));
        }
        // Each transaction made one revision, and there are no others.
        assert_eq!(store.revision(), left.count + 1);
        assert!(store.revision() > last_revision);
        last_revision = store.revision();
        drop(store);
        driver.await.unwrap().unwrap();
    }
}
