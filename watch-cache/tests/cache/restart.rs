//! Restarts from a checkpoint, in real time: threads of their own read and write it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use watch_cache::{
    At, Cache, CheckpointConfig, Config, ErrorKind, Events, FaultSource, Freshness, ListRequest,
    Listing, MemorySource, ProgressMode, Result, Source, Start, WatchRequest, Write,
};

use super::{brief, drain, keys, schema, spawn, text};

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cache.ckpt")
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.checkpoint = Some(CheckpointConfig::new(self.path()));
        config
    }

    /// A cache that begins from the checkpoint, if it can.
    async fn open(&self, source: Arc<dyn Source>) -> (Cache, JoinHandle<Result<()>>) {
        open(source, self.config()).await
    }
}

async fn open(source: Arc<dyn Source>, config: Config) -> (Cache, JoinHandle<Result<()>>) {
    let (cache, driver) = Cache::open(source, schema(vec![]), config).unwrap();
    let driver = spawn(driver);
    cache.ready().await.unwrap();
    (cache, driver)
}

async fn close(cache: Cache, driver: JoinHandle<Result<()>>) -> Result<()> {
    drop(cache);
    driver.await.unwrap()
}

/// Everything that a cache shows at a revision: objects as text, of the whole and of an index.
async fn shown(cache: &Cache, revision: u64) -> Vec<String> {
    let mut shown = vec![cache.digest(At::Exactly(revision)).await.unwrap().digest.to_string()];
    for list in [ListRequest::new(""), ListRequest::new("").index("node", "n1")] {
        let list = cache.list(list.at(At::Exactly(revision))).await.unwrap();
        shown.extend(list.objects.iter().map(|object| {
            let (key, value) = (text(object.key()), text(object.value()));
            format!("{key}={value} {} {}", object.create_revision(), object.mod_revision())
        }));
    }
    shown
}

async fn events_after(cache: &Cache, revision: u64) -> Vec<String> {
    let request = WatchRequest::new("").from(Start::After(revision));
    brief(&drain(&mut cache.watch(request).unwrap()).await)
}

/// Puts, deletes, transactions and keys that come again.
fn write(store: &MemorySource, rounds: u64) {
    for round in 0..rounds {
        let key = format!("/k/{:03}", round * 7 % 40);
        if round % 5 == 4 {
            store.delete(key);
        } else if round % 11 == 3 {
            let put = |at| {
                let (key, value) = (format!("/k/{at:03}"), format!("n{}:{round}", at % 3));
                Write::Put(key.into(), value.into())
            };
            store.txn((0..5).map(put));
        } else {
            store.put(key, format!("n{}:{round}", round % 3));
        }
    }
}

#[tokio::test]
async fn after_a_restart_all_is_as_it_was_and_nothing_is_listed() {
    let home = Home::new();
    let store = Arc::new(MemorySource::new());
    write(&store, 60);
    let (cache, driver) = home.open(store.clone()).await;
    let begun = cache.revision();
    write(&store, 200);
    cache.wait_for(store.revision()).await.unwrap();
    let last = cache.revision();
    let revisions: Vec<u64> = (begun..=last).collect();
    let (mut before, mut told) = (Vec::new(), Vec::new());
    for revision in &revisions {
        before.push(shown(&cache, *revision).await);
    }
    for revision in revisions.iter().step_by(50) {
        told.push(events_after(&cache, *revision).await);
    }
    close(cache, driver).await.unwrap();

    // While nobody was there.
    store.put("/k/new", "n1:0");
    let faults = Arc::new(FaultSource::new(store.clone()));
    let (cache, driver) = home.open(faults.clone()).await;
    let stats = cache.stats();
    assert_eq!((stats.lists, stats.restored_revision, stats.oldest_revision), (0, last, begun));
    assert!(cache.checkpoint_error().is_none());
    cache.wait_for(last + 1).await.unwrap();
    for (revision, state) in revisions.iter().zip(&before) {
        assert_eq!(&shown(&cache, *revision).await, state, "at {revision}");
    }
    for (revision, mut told) in revisions.iter().step_by(50).zip(told) {
        told.push(format!("+/k/new@{}", last + 1));
        assert_eq!(events_after(&cache, *revision).await, told, "after {revision}");
    }
    // And once more, from a checkpoint of what was restored.
    assert_eq!(cache.save_checkpoint().await.unwrap(), last + 1);
    driver.abort();
    assert!(driver.await.unwrap_err().is_cancelled());
    let (cache, driver) = home.open(store).await;
    assert_eq!(cache.stats().restored_revision, last + 1);
    assert_eq!(shown(&cache, begun).await, before[0]);
    close(cache, driver).await.unwrap();
}

#[tokio::test]
async fn what_the_source_compacted_meanwhile_is_a_gap_and_no_guess() {
    let home = Home::new();
    let store = Arc::new(MemorySource::new());
    store.put("/a", "1");
    let (cache, driver) = home.open(store.clone()).await;
    close(cache, driver).await.unwrap();
    store.put("/b", "2");
    store.put("/b", "3");
    let last = store.delete("/a");
    store.compact(last).unwrap();
    let (cache, driver) = home.open(store.clone()).await;
    cache.wait_for(last).await.unwrap();
    assert_eq!((cache.stats().restored_revision, cache.stats().lists), (2, 1));
    assert_eq!(events_after(&cache, 2).await, [format!("-/a@{last}"), format!("+/b@{last}")]);
    let within = cache.list(ListRequest::new("").at(At::Exactly(3))).await.unwrap_err();
    assert!(matches!(within.kind(), ErrorKind::Expired { .. }), "{within}");
    // The gap is in the checkpoint too.
    close(cache, driver).await.unwrap();
    let (cache, driver) = home.open(store).await;
    assert_eq!((cache.stats().restored_revision, cache.stats().lists), (last, 0));
    let within = cache.watch(WatchRequest::new("").from(Start::After(3))).unwrap_err();
    assert!(matches!(within.kind(), ErrorKind::Expired { .. }), "{within}");
    assert_eq!(keys(&cache.list(ListRequest::new("")).await.unwrap().objects), ["/b"]);
    close(cache, driver).await.unwrap();
}

/// A store that says which it is.
struct Named(Arc<MemorySource>, &'static str);

#[async_trait]
impl Source for Named {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        self.0.list(prefix, at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        self.0.watch(prefix, after).await
    }

    async fn store(&self, _: &Bytes) -> Result<Option<Bytes>> {
        Ok(Some(Bytes::from(self.1)))
    }

    fn freshness(&self) -> Freshness<'_> {
        self.0.freshness()
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_not_of_the_source_is_not_used() {
    let home = Home::new();
    let one = Arc::new(MemorySource::new());
    write(&one, 20);
    let (cache, driver) = home.open(Arc::new(Named(one.clone(), "one"))).await;
    close(cache, driver).await.unwrap();
    let other = Arc::new(MemorySource::new());
    write(&other, 30);
    other.put("/other", "1");
    for (source, says) in [
        // With a higher revision, so that nothing else tells.
        (Arc::new(Named(other.clone(), "other")) as Arc<dyn Source>, "of another store"),
        // It was set back.
        (Arc::new(Named(Arc::new(MemorySource::new()), "one")), "the source is at 1"),
    ] {
        let kept = std::fs::read(home.path()).unwrap();
        let (cache, driver) = home.open(source).await;
        let error = cache.checkpoint_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
        let stats = cache.stats();
        assert_eq!((stats.lists, stats.restored_revision, stats.checkpoint_errors), (1, 0, 1));
        driver.abort();
        let _ = driver.await;
        std::fs::write(home.path(), kept).unwrap();
    }
    let (cache, driver) = home.open(Arc::new(Named(one, "one"))).await;
    assert_eq!(cache.stats().lists, 0);
    close(cache, driver).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_of_other_prefixes_is_not_used() {
    let home = Home::new();
    let store = Arc::new(MemorySource::new());
    write(&store, 20);
    let (cache, driver) = home.open(store.clone()).await;
    close(cache, driver).await.unwrap();
    let mut config = home.config();
    config.prefixes = vec!["/k/".into()];
    let (cache, driver) = open(store, config).await;
    assert!(cache.checkpoint_error().unwrap().to_string().contains("it is of the prefixes"));
    assert_eq!(cache.stats().lists, 1);
    // A damaged or foreign one is replaced by the next.
    close(cache, driver).await.unwrap();
}

/// However a file is cut or changed, the cache either lists or has what was saved.
#[tokio::test]
async fn a_damaged_checkpoint_is_told_and_not_used() {
    let home = Home::new();
    let store = Arc::new(MemorySource::new());
    write(&store, 50);
    let (cache, driver) = home.open(store.clone()).await;
    write(&store, 20);
    cache.wait_for(store.revision()).await.unwrap();
    close(cache, driver).await.unwrap();
    let whole = std::fs::read(home.path()).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..whole.len())
        .step_by(whole.len() / 40)
        .map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        })
        .collect();
    damaged.extend((0..whole.len()).step_by(whole.len() / 40).map(|len| whole[..len].to_vec()));
    damaged.push([&whole[..], b"x"].concat());
    damaged.push(b"not a checkpoint at all".to_vec());
    for bytes in damaged {
        std::fs::write(home.path(), &bytes).unwrap();
        let (cache, driver) = home.open(store.clone()).await;
        let error = cache.checkpoint_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let stats = cache.stats();
        assert_eq!((stats.lists, stats.restored_revision, stats.checkpoint_errors), (1, 0, 1));
        driver.abort();
        let _ = driver.await;
    }
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_written_is_told_and_the_one_before_stays() {
    let home = Home::new();
    let store = Arc::new(MemorySource::new());
    store.put("/a", "1");
    let (cache, driver) = home.open(store.clone()).await;
    assert_eq!(cache.save_checkpoint().await.unwrap(), 2);
    let before = std::fs::read(home.path()).unwrap();
    // A directory is in the way of what is written aside.
    let aside = home.0.path().join("cache.ckpt.new");
    std::fs::create_dir(&aside).unwrap();
    store.put("/a", "2");
    cache.wait_for(3).await.unwrap();
    let error = cache.save_checkpoint().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot be written"), "{error}");
    assert_eq!(std::fs::read(home.path()).unwrap(), before);
    assert_eq!(cache.stats().checkpoint_errors, 1);
    std::fs::remove_dir(&aside).unwrap();
    let lock = std::fs::File::open(home.0.path().join("cache.ckpt.lock")).unwrap();
    lock.lock().unwrap();
    let error = cache.save_checkpoint().await.unwrap_err();
    assert!(error.to_string().contains("another process writes it"), "{error}");
    // The driver says what it could not save.
    let ended = close(cache, driver).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Unavailable);
    drop(lock);
    let (cache, driver) = home.open(store).await;
    assert_eq!(cache.save_checkpoint().await.unwrap(), 3);
    assert!(cache.checkpoint_error().is_none());
    close(cache, driver).await.unwrap();
    assert!(!aside.exists());
}

#[tokio::test]
async fn one_is_written_while_the_cache_serves_and_changes() {
    let home = Home::new();
    let store = Arc::new(MemorySource::with_progress(ProgressMode::OnRequest));
    let value = "n1:".to_owned() + &"x".repeat(20_000);
    for at in 0..200 {
        store.put(format!("/k/{at:03}"), value.clone());
    }
    let mut config = home.config();
    config.log_revisions = 20;
    let (cache, driver) = open(store.clone(), config.clone()).await;
    let done = Arc::new(AtomicBool::new(false));
    let writes = async {
        for round in 0_u64.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            // Everything leaves the log again and again.
            for at in 0..100 {
                store.put(format!("/k/{:03}", (at + round) % 200), format!("n2:{round}"));
            }
            cache.wait_for(store.revision()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let checkpoints = async {
        for _ in 0..20 {
            cache.save_checkpoint().await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(writes, checkpoints);
    assert_eq!(cache.stats().checkpoints, 20);
    let saved = cache.save_checkpoint().await.unwrap();
    let (kept, since) = (shown(&cache, saved).await, shown(&cache, saved - 20).await);
    assert!(shown_is_expired(&cache, saved - 21).await);
    driver.abort();
    let _ = driver.await;
    let (cache, driver) = open(store, config).await;
    assert_eq!(cache.stats().restored_revision, saved);
    assert_eq!((shown(&cache, saved).await, shown(&cache, saved - 20).await), (kept, since));
    close(cache, driver).await.unwrap();
}

async fn shown_is_expired(cache: &Cache, revision: u64) -> bool {
    let list = cache.list(ListRequest::new("").at(At::Exactly(revision))).await;
    list.is_err_and(|error| matches!(error.kind(), ErrorKind::Expired { .. }))
}

#[tokio::test]
async fn it_is_written_from_time_to_time_and_only_if_something_is_new() {
    let home = Home::new();
    let store = Arc::new(MemorySource::new());
    let mut config = home.config();
    if let Some(checkpoint) = &mut config.checkpoint {
        checkpoint.interval = CheckpointConfig::INTERVAL.min;
    }
    let (cache, driver) = open(store.clone(), config.clone()).await;
    for written in 1..=3 {
        store.put("/a", format!("{written}"));
        while cache.stats().checkpoint_revision != written + 1 {
            tokio::time::sleep(CheckpointConfig::INTERVAL.min / 10).await;
        }
    }
    let count = cache.stats().checkpoints;
    assert!(count >= 3);
    tokio::time::sleep(CheckpointConfig::INTERVAL.min * 4).await;
    assert_eq!(cache.stats().checkpoints, count);
    close(cache, driver).await.unwrap();
    // Nor where nothing is new since the file that was begun from, until all that is proves wrong.
    let (cache, driver) = open(store, config).await;
    tokio::time::sleep(CheckpointConfig::INTERVAL.min * 4).await;
    assert_eq!((cache.stats().restored_revision, cache.stats().checkpoints), (4, 0));
    cache.begin_anew().unwrap();
    tokio::time::sleep(CheckpointConfig::INTERVAL.min * 4).await;
    assert_eq!((cache.stats().lists, cache.stats().checkpoints), (1, 1));
    close(cache, driver).await.unwrap();
}

#[tokio::test]
async fn a_source_that_is_away_at_the_start_is_waited_for() {
    let home = Home::new();
    let store = Arc::new(MemorySource::new());
    store.put("/a", "1");
    let (cache, driver) = home.open(store.clone()).await;
    close(cache, driver).await.unwrap();
    let faults = Arc::new(FaultSource::new(store));
    faults.fail_questions(3);
    faults.fail_watches(2);
    let (cache, driver) = home.open(faults).await;
    assert_eq!((cache.stats().restored_revision, cache.stats().lists), (2, 0));
    assert!(cache.stats().source_errors >= 3);
    close(cache, driver).await.unwrap();
}

#[tokio::test]
async fn a_source_that_can_only_list_is_begun_from_a_checkpoint_too() {
    let home = Home::new();
    let store = Arc::new(MemorySource::with_progress(ProgressMode::ListOnly));
    store.put("/a", "1");
    let (cache, driver) = home.open(store.clone()).await;
    close(cache, driver).await.unwrap();
    let (cache, driver) = home.open(store).await;
    assert_eq!((cache.stats().restored_revision, cache.stats().lists), (2, 0));
    close(cache, driver).await.unwrap();
}

#[tokio::test]
async fn what_has_no_checkpoint_cannot_be_saved() {
    let (cache, driver) = open(Arc::new(MemorySource::new()), Config::default()).await;
    assert_eq!(cache.save_checkpoint().await.unwrap_err().kind(), ErrorKind::Invalid);
    close(cache, driver).await.unwrap();
    let mut config = Config::default();
    config.checkpoint = Some(CheckpointConfig::new(Path::new("/")));
    let error = Cache::open(Arc::new(MemorySource::new()), vec![], config).unwrap_err();
    assert!(error.to_string().contains("names no file"), "{error}");
}
