//! A process that is killed under load loses nothing that it acknowledged or showed.
//!
//! `KV_JOURNAL_CRASH_ROUNDS` sets how often a process is killed, some dozens by default; with a
//! thousand the kills find most places, the open of the journal too.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kv_journal::oracle::Oracle;
use kv_journal::{
    Config, Event, FileConfig, FileJournal, Journal, KeyRange, LeaseGrantRequest, Op, PutRequest,
    Result, Store, Txn, WatchRequest,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinHandle, JoinSet};

/// Set in the child: the directory of its journal.
const DIRECTORY: &str = "KV_JOURNAL_CRASH_DIRECTORY";
/// Set in the child: a number that its values begin with.
const ROUND: &str = "KV_JOURNAL_CRASH_ROUND";
const ROUNDS: u64 = 40;
/// A directory is left after so many, so that no round has long to recover.
const ROUNDS_PER_DIRECTORY: u64 = 20;
const WRITERS: usize = 16;
/// Each writer's keys; it writes them again and again.
const KEYS: usize = 12;

async fn open_journal(directory: &Path) -> FileJournal {
    let mut config = FileConfig::default();
    config.segment_bytes = 16 << 10;
    FileJournal::open(directory, config).await.unwrap()
}

async fn open(directory: &Path) -> (Store, JoinHandle<Result<()>>) {
    let journal = Arc::new(open_journal(directory).await);
    let (store, driver) = Store::open(journal, Config::default()).await.unwrap();
    (store, tokio::spawn(driver))
}

/// One write per line: the parent takes only whole lines.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_works_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let round = std::env::var(ROUND).unwrap();
    let (store, _driver) = open(Path::new(&directory)).await;
    say(&format!("\nopened {}", store.revision()));
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        tasks.spawn(write(store.clone(), round.clone(), writer));
    }
    tasks.spawn(lease(store.clone(), round));
    tasks.spawn(watch(store.clone()));
    tasks.spawn(compact(store));
    tasks.join_all().await;
}

/// Pairs of keys that have the same value at every revision, and now and then none of the two.
async fn write(store: Store, round: String, writer: usize) {
    for number in 0.. {
        let key = format!("{writer}/{}", number % KEYS);
        let value = format!("{round}.{writer}.{number}.{}", "v".repeat(number % 300));
        let keys = ["left", "right"].map(|side| format!("{side}/{key}"));
        let txn = keys.into_iter().fold(Txn::new(), |txn, key| {
            let deletes = number % 7 == 6;
            txn.then(if deletes {
                Op::delete(KeyRange::key(key))
            } else {
                Op::put(key, value.clone())
            })
        });
        let revision = store.txn(txn).await.unwrap().revision;
        say(&format!("acked {revision} left/{key} {}", if number % 7 == 6 { "" } else { &value }));
    }
}

/// A pair of keys that live under a lease, and go together when it ends.
async fn lease(store: Store, round: String) {
    for number in 0.. {
        let lease = store.lease_grant(LeaseGrantRequest::new(3600)).await.unwrap().id;
        let value = format!("{round}.lease.{number}");
        let put =
            |side| Op::Put(PutRequest::new(format!("{side}/lease"), value.clone()).lease(lease));
        let revision =
            store.txn(Txn::new().then(put("left")).then(put("right"))).await.unwrap().revision;
        say(&format!("acked {revision} left/lease {value}"));
        let revision = store.lease_revoke(lease).await.unwrap();
        say(&format!("acked {revision} left/lease "));
    }
}

async fn watch(store: Store) {
    let from = store.revision().saturating_sub(20).max(store.compact_revision()).max(1);
    let request = WatchRequest::new(KeyRange::all()).from_revision(from);
    let mut batches = store.watch(request).unwrap();
    // A compaction may pass it; then it has seen enough.
    while let Some(Ok(batch)) = batches.next().await {
        say(&format!("seen {} {}", batch.revision, digest(&batch.events)));
    }
}

async fn compact(store: Store) {
    loop {
        let revision = store.revision().saturating_sub(100);
        if revision > store.compact_revision() {
            store.compact(revision).await.unwrap();
            say(&format!("compacted {revision}"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Everything of the events but what was before, which a compaction takes away.
fn digest(events: &[Event]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Event { kind, kv, .. } in events {
        let revisions = (kv.create_revision(), kv.mod_revision(), kv.version(), kv.lease());
        (kind, kv.key(), kv.value(), revisions).hash(&mut hasher);
    }
    hasher.finish()
}

/// What processes have said, all on one directory.
#[derive(Default)]
struct Said {
    acked: Vec<(u64, String, String)>,
    seen: Vec<(u64, u64)>,
    compacted: u64,
    newest: u64,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().unwrap();
        match words[..] {
            ["acked", revision, key, value] => {
                self.acked.push((number(revision), key.to_owned(), value.to_owned()));
                self.newest = self.newest.max(number(revision));
            }
            ["seen", revision, digest] => {
                self.seen.push((number(revision), number(digest)));
                self.newest = self.newest.max(number(revision));
            }
            ["compacted", revision] => self.compacted = self.compacted.max(number(revision)),
            ["opened", revision] => {
                assert!(number(revision) >= self.newest, "{revision} after {}", self.newest);
            }
            _ => {} // of the test runner
        }
    }

    /// Everything that was said is still so.
    fn check(&self, oracle: &Oracle) {
        for (revision, key, value) in &self.acked {
            let found = oracle.get_at(key.as_bytes(), *revision);
            let found = found.map(kv_journal::KeyValue::value).unwrap_or_default();
            assert_eq!(found, value.as_bytes(), "{key}, acknowledged at {revision}");
            let event =
                oracle.events(*revision).iter().find(|event| event.kv.key() == key.as_bytes());
            assert!(event.is_some() || value.is_empty(), "{key} was not written at {revision}");
        }
        for (revision, seen) in &self.seen {
            assert_eq!(digest(oracle.events(*revision)), *seen, "revision {revision} has changed");
        }
        assert!(oracle.revision() >= self.newest, "{} is lost", self.newest);
        assert!(oracle.compact_revision() >= self.compacted);
    }
}

/// Starts the child and kills it after `enough` lines, or a moment after its start.
fn kill_under_load(directory: &Path, round: u64, random: &mut StdRng, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_works_until_it_is_killed", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let enough = if random.random_ratio(1, 4) { 0 } else { random.random_range(8..400) };
    if enough == 0 {
        std::thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
        child.kill().unwrap();
    }
    let mut line = String::new();
    let mut heard = 0;
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some(whole) = line.strip_suffix('\n') {
            said.hear(whole);
        }
        line.clear();
        heard += 1;
        if heard == enough {
            child.kill().unwrap(); // SIGKILL
        }
    }
    child.wait().unwrap();
    assert!(heard >= enough, "the child ended by itself after {heard} lines");
}

/// No transaction is halved, at any revision.
fn check_pairs(oracle: &Oracle) {
    for revision in 2..=oracle.revision() {
        let keys = |side: &str| {
            let of_side = oracle.events(revision).iter().filter_map(|event| {
                let key = std::str::from_utf8(event.kv.key()).unwrap().strip_prefix(side)?;
                Some((event.kind, key.to_owned(), event.kv.value_bytes()))
            });
            of_side.collect::<Vec<_>>()
        };
        assert_eq!(keys("left/"), keys("right/"), "{revision}");
        assert_eq!(oracle.events(revision).len(), 2, "{revision}");
    }
}

async fn check(directory: &Path, said: &Said) {
    let journal = Arc::new(open_journal(directory).await);
    let oracle = Oracle::read(&*journal).await.unwrap();
    said.check(&oracle);
    check_pairs(&oracle);
    let journal: Arc<dyn Journal> = journal;
    let (store, driver) = Store::open(journal, Config::default()).await.unwrap();
    assert_eq!(store.revision(), oracle.revision());
    assert_eq!(store.compact_revision(), oracle.compact_revision());
    let found = store.range(KeyRange::all()).unwrap().kvs;
    let expected: Vec<_> = oracle.range_at(&KeyRange::all(), oracle.revision()).cloned().collect();
    assert_eq!(found, expected);
    drop((store, driver));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_or_seen_is_lost_and_no_transaction_halved() {
    let rounds = std::env::var("KV_JOURNAL_CRASH_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |text| text.parse().unwrap());
    let mut random = StdRng::seed_from_u64(rounds);
    let mut world = (tempfile::tempdir().unwrap(), Said::default());
    let (mut acked, mut seen) = (0, 0);
    for round in 0..rounds {
        if round % ROUNDS_PER_DIRECTORY == 0 {
            world = (tempfile::tempdir().unwrap(), Said::default());
        }
        let (directory, said) = &mut world;
        let before = (said.acked.len(), said.seen.len());
        kill_under_load(directory.path(), round, &mut random, said);
        check(directory.path(), said).await;
        acked += said.acked.len() - before.0;
        seen += said.seen.len() - before.1;
    }
    println!("{rounds} rounds, {acked} acknowledged and {seen} seen revisions");
    assert!(acked > 0 && seen > 0);
}
