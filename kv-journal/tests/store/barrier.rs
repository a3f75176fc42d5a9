//! Linearizable reads over a journal whose answers are late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use kv_journal::{
    Config, Entry, ErrorKind, Journal, KeyRange, MemoryJournal, PutRequest, ReadLimits, Result,
    Store, Tail,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const MILLISECOND: Duration = Duration::from_millis(1);
/// From the moment a tail is read to the moment its reader hears of it.
const DELAY: Duration = Duration::from_millis(50);

/// A journal that answers late, with what was true when it was asked.
#[derive(Clone, Default)]
struct LateJournal {
    inner: MemoryJournal,
    late: Arc<Late>,
}

struct Late {
    questions: AtomicUsize,
    /// An append is stored at once and acknowledged when it gets one of these.
    acknowledged: Semaphore,
}

impl Default for Late {
    fn default() -> Self {
        let acknowledged = Semaphore::new(Semaphore::MAX_PERMITS / 2);
        Self { questions: AtomicUsize::new(0), acknowledged }
    }
}

impl LateJournal {
    fn questions(&self) -> usize {
        self.late.questions.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Journal for LateJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.inner.fence(epoch).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        self.inner.append(epoch, expected_seq, batch).await?;
        self.late.acknowledged.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.inner.read(from_seq, limits).await
    }

    async fn tail(&self) -> Result<Tail> {
        self.late.questions.fetch_add(1, Ordering::Relaxed);
        let tail = self.inner.tail().await;
        sleep(DELAY).await;
        tail
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.inner.trim(before).await
    }
}

/// A store over a late journal; opening it asks one question.
async fn open() -> (Store, LateJournal) {
    let journal = LateJournal::default();
    let (store, driver) = Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    tokio::spawn(driver);
    (store, journal)
}

/// Lets the driver do what it can.
async fn settled() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
}

fn barrier(store: &Store) -> tokio::task::JoinHandle<Result<u64>> {
    let store = store.clone();
    tokio::spawn(async move { store.read_barrier().await })
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_served_only_by_a_question_sent_after_it_arrived() {
    let (store, journal) = open().await;
    let before = barrier(&store);
    sleep(10 * MILLISECOND).await;
    assert_eq!(journal.questions(), 2);
    // From here on the answer under way is old: another store has taken over.
    journal.fence(9).await.unwrap();
    let after = barrier(&store);
    assert_eq!(before.await.unwrap().unwrap(), 1);
    assert_eq!(after.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test(start_paused = true)]
async fn one_question_serves_all_who_wait_and_at_most_one_goes_out_each_millisecond() {
    let (store, journal) = open().await;
    let started = Instant::now();
    let together = join_all((0..100).map(|_| barrier(&store)));
    assert!(together.await.into_iter().all(|reached| reached.unwrap().unwrap() == 1));
    assert_eq!(journal.questions(), 2);
    assert!(started.elapsed() < DELAY + 2 * MILLISECOND);

    // Ten come in each of twenty milliseconds, one after the other, while all answers are late.
    let mut waiters = Vec::new();
    for _ in 0..20 {
        for _ in 0..10 {
            waiters.push(barrier(&store));
            settled().await;
        }
        sleep(MILLISECOND).await;
    }
    let asked = journal.questions() - 2;
    assert!((10..=21).contains(&asked), "{asked} questions in 20 milliseconds");
    let last = Instant::now();
    join_all(waiters).await.into_iter().for_each(|reached| assert!(reached.unwrap().is_ok()));
    assert!(last.elapsed() < DELAY + 3 * MILLISECOND, "{:?}", last.elapsed());
}

#[tokio::test(start_paused = true)]
async fn questions_under_way_are_bounded_and_nobody_is_forgotten() {
    let (store, journal) = open().await;
    let mut waiters = Vec::new();
    for _ in 0..400 {
        waiters.push(barrier(&store));
        sleep(MILLISECOND).await;
    }
    assert!(journal.questions() <= 402, "{}", journal.questions());
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_goes_away_leaves_no_question_behind() {
    let (store, journal) = open().await;
    let first = barrier(&store);
    sleep(MILLISECOND / 2).await;
    let mut gone = Box::pin(store.read_barrier());
    assert!((&mut gone).now_or_never().is_none());
    drop(gone);
    assert_eq!(first.await.unwrap().unwrap(), 1);
    sleep(2 * DELAY).await;
    assert_eq!(journal.questions(), 2);
    assert_eq!(store.read_barrier().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_barrier_waits_for_what_the_journal_has_and_readers_do_not_see_yet() {
    let (store, journal) = open().await;
    journal.late.acknowledged.forget_permits(Semaphore::MAX_PERMITS);
    let writer = store.clone();
    let write = tokio::spawn(async move { writer.put(PutRequest::new("a", "1")).await });
    sleep(MILLISECOND).await;
    assert_eq!(journal.inner.tail().await.unwrap().next_seq, 2);
    let reached = barrier(&store);
    sleep(3 * DELAY).await;
    assert!(!reached.is_finished());
    assert_eq!(store.range(KeyRange::all()).unwrap().count, 0);
    journal.late.acknowledged.add_permits(1);
    assert_eq!(reached.await.unwrap().unwrap(), 2);
    assert_eq!(write.await.unwrap().unwrap().revision, 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_fails_those_who_wait_for_an_answer() {
    let journal = LateJournal::default();
    let (store, driver) = Store::open(Arc::new(journal), Config::default()).await.unwrap();
    let driver = tokio::spawn(driver);
    let waiters: Vec<_> = (0..3).map(|_| barrier(&store)).collect();
    sleep(MILLISECOND).await;
    driver.abort();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
}
