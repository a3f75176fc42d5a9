//! Leases: what is attached goes when their time runs out, and not before. All time is paused.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use kv_journal::{
    Compare, CompareResult, Config, ErrorKind, EventKind, Fault, FaultJournal, Journal, KeyRange,
    LeaseGrantRequest, MemoryJournal, Op, PutRequest, Result, Store, Txn,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::{event_keys, open_memory, put, still, text};

/// More than a tick of the store's clock for leases, which rounds deadlines up.
const TICK: Duration = Duration::from_millis(70);

async fn open(config: Config) -> (Store, FaultJournal, JoinHandle<Result<()>>) {
    let journal = FaultJournal::new(MemoryJournal::new());
    let (store, driver) = Store::open(Arc::new(journal.clone()), config).await.unwrap();
    (store, journal, tokio::spawn(driver))
}

async fn grant(store: &Store, id: i64, ttl_secs: i64) {
    let granted = store.lease_grant(LeaseGrantRequest::new(ttl_secs).id(id)).await.unwrap();
    assert_eq!((granted.id, granted.ttl_secs.cast_signed()), (id, ttl_secs));
}

async fn put_leased(store: &Store, key: &str, lease: i64) -> u64 {
    let request = PutRequest::new(key.to_owned(), "v").lease(lease);
    store.put(request).await.unwrap().revision
}

fn keys(store: &Store) -> String {
    store.range(KeyRange::all()).unwrap().kvs.iter().map(|kv| text(kv.key())).collect()
}

fn attached(store: &Store, lease: i64) -> String {
    let lease = store.lease_time_to_live(lease, true).unwrap();
    lease.keys.iter().map(|key| text(key)).collect()
}

fn ttl(store: &Store, lease: i64) -> (i64, u64) {
    let lease = store.lease_time_to_live(lease, false).unwrap();
    assert!(lease.keys.is_empty());
    (lease.ttl_secs, lease.granted_ttl_secs)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// By a millisecond.
fn just_before(secs: u64) -> Duration {
    Duration::from_millis(1000 * secs - 1)
}

#[tokio::test(start_paused = true)]
async fn keys_of_an_expired_lease_go_in_one_revision_that_watchers_see() {
    let (store, _driver) = open_memory().await;
    grant(&store, 7, 10).await;
    for key in ["b", "a", "c"] {
        put_leased(&store, key, 7).await;
    }
    put(&store, "other", "1").await; // 5
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    sleep(just_before(10)).await;
    assert_eq!((ttl(&store, 7), store.revision()), ((0, 10), 5));
    sleep(TICK).await;
    let batch = watcher.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, event_keys(&batch)), (6, "abc".to_owned()));
    assert!(batch.events.iter().all(|event| event.kind == EventKind::Delete));
    assert!(batch.events.iter().all(|event| event.prev_kv.as_ref().unwrap().lease() == 7));
    assert_eq!((keys(&store), ttl(&store, 7)), ("other".to_owned(), (-1, 0)));
    let stats = store.stats();
    assert_eq!((stats.leases, stats.expired_leases, stats.revision), (0, 1, 6));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_kept_alive_lives_and_the_journal_hears_nothing() {
    let (store, journal, _driver) = open(Config::default()).await;
    grant(&store, 7, 5).await;
    put_leased(&store, "a", 7).await;
    let tail = journal.tail().await.unwrap();
    for _ in 0..20 {
        sleep(secs(4)).await;
        let renewed = store.lease_keep_alive(7).unwrap();
        assert_eq!((renewed.ttl_secs, renewed.revision, renewed.id), (5, 2, 7));
        assert_eq!(ttl(&store, 7), (5, 5));
    }
    assert_eq!(journal.tail().await.unwrap(), tail);
    sleep(just_before(5)).await;
    assert_eq!(keys(&store), "a");
    sleep(TICK).await;
    assert_eq!(keys(&store), "");
}

#[tokio::test(start_paused = true)]
async fn what_has_run_out_or_never_was_is_answered_with_zero() {
    let (store, _driver) = open_memory().await;
    grant(&store, 7, 5).await;
    put_leased(&store, "a", 7).await;
    // To the millisecond, before the wheel has noticed.
    sleep(secs(5)).await;
    assert_eq!(keys(&store), "a");
    let renewed = store.lease_keep_alive(7).unwrap();
    assert_eq!((renewed.ttl_secs, renewed.revision), (0, 2));
    sleep(TICK).await;
    assert_eq!((keys(&store), store.lease_keep_alive(7).unwrap().ttl_secs), (String::new(), 0));
    assert_eq!(store.lease_keep_alive(99).unwrap().ttl_secs, 0);
    assert_eq!(ttl(&store, 99), (-1, 0));
    assert_eq!(store.lease_revoke(7).await.unwrap_err().kind(), ErrorKind::LeaseNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_revoke_deletes_its_keys_sorted_and_without_keys_makes_no_revision() {
    let (store, _driver) = open_memory().await;
    grant(&store, 7, 60).await;
    grant(&store, 8, 60).await;
    for key in ["c", "a", "b"] {
        put_leased(&store, key, 7).await;
    }
    put_leased(&store, "kept", 8).await; // 5
    let mut watcher = store.watch(KeyRange::all()).unwrap();
    assert_eq!(store.lease_revoke(7).await.unwrap(), 6);
    assert_eq!(event_keys(&watcher.next().await.unwrap().unwrap()), "abc");
    store.delete_range(KeyRange::key("kept")).await.unwrap(); // 7
    assert_eq!(store.lease_revoke(8).await.unwrap(), 7);
    assert_eq!(store.lease_revoke(8).await.unwrap_err().kind(), ErrorKind::LeaseNotFound);
    assert_eq!((store.leases().unwrap().ids, store.stats().expired_leases), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_belongs_to_the_lease_of_its_last_put() {
    let (store, _driver) = open_memory().await;
    grant(&store, 7, 60).await;
    grant(&store, 8, 60).await;
    for key in ["a", "b", "c", "d"] {
        put_leased(&store, key, 7).await;
    }
    assert_eq!(attached(&store, 7), "abcd");
    put_leased(&store, "a", 8).await;
    put(&store, "b", "without").await;
    let mut keep = PutRequest::new("c", "kept");
    keep.ignore_lease = true;
    store.put(keep).await.unwrap();
    let txn = Txn::new().then(Op::delete(KeyRange::key("d"))).then(Op::get("d"));
    store.txn(txn).await.unwrap();
    assert_eq!((attached(&store, 7), attached(&store, 8)), ("c".into(), "a".into()));
    put(&store, "d", "again").await;
    store.lease_revoke(7).await.unwrap();
    assert_eq!((keys(&store), attached(&store, 8)), ("abd".into(), "a".into()));
    store.lease_revoke(8).await.unwrap();
    assert_eq!(keys(&store), "bd");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_lease_fails_the_whole_transaction() {
    let (store, _driver) = open_memory().await;
    let leased = |key: &'static str| Op::Put(PutRequest::new(key, "v").lease(7));
    let txn = Txn::new().then(Op::put("a", "1")).then(leased("b"));
    let error = store.txn(txn.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
    assert!(error.to_string().contains("requested lease not found"), "{error}");
    assert_eq!((store.revision(), keys(&store)), (1, String::new()));
    // A branch that does not run may name any lease.
    let other = Txn::new()
        .when(Compare::mod_revision("a", CompareResult::Equal, 0))
        .then(Op::put("a", "1"))
        .or_else(leased("b"));
    assert!(store.txn(other).await.unwrap().succeeded);
    // In the order of the queue: the grant is seen before it is durable, and so is the revoke.
    let mut granted = Box::pin(store.lease_grant(LeaseGrantRequest::new(60).id(7)));
    let mut written = Box::pin(store.txn(txn.clone()));
    let mut revoked = Box::pin(store.lease_revoke(7));
    let mut refused = Box::pin(store.txn(txn));
    assert!((&mut granted).now_or_never().is_none());
    assert!((&mut written).now_or_never().is_none());
    assert!((&mut revoked).now_or_never().is_none());
    assert!((&mut refused).now_or_never().is_none());
    assert_eq!(granted.await.unwrap().revision, 2);
    assert_eq!(written.await.unwrap().revision, 3);
    assert_eq!(revoked.await.unwrap(), 4);
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::LeaseNotFound);
    assert_eq!(keys(&store), "a");
}

#[tokio::test(start_paused = true)]
async fn an_id_is_taken_once_and_the_store_picks_another() {
    let (store, _driver) = open_memory().await;
    let taken = async |id| {
        store.lease_grant(LeaseGrantRequest::new(9).id(id)).await.map(|_| ()).unwrap_err().kind()
    };
    grant(&store, -7, 60).await;
    assert_eq!(taken(-7).await, ErrorKind::LeaseExists);
    assert_eq!(ttl(&store, -7), (60, 60));
    let first = store.lease_grant(LeaseGrantRequest::new(60)).await.unwrap().id;
    assert!(first > 0);
    // Somebody chooses the next two ids that the store would pick.
    grant(&store, first + 1, 60).await;
    grant(&store, first + 2, 60).await;
    assert_eq!(store.lease_grant(LeaseGrantRequest::new(60)).await.unwrap().id, first + 3);
    assert_eq!(store.stats().leases, 5);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_is_raised_to_the_least_and_refused_beyond_the_most() {
    let mut config = Config::default();
    config.lease_min_ttl_secs = 5;
    let (store, _journal, _driver) = open(config).await;
    let granted = async |ttl_secs| {
        store.lease_grant(LeaseGrantRequest::new(ttl_secs)).await.map(|granted| granted.ttl_secs)
    };
    assert_eq!(granted(-1).await.unwrap(), 5);
    assert_eq!(granted(4).await.unwrap(), 5);
    assert_eq!(granted(9_000_000_000).await.unwrap(), 9_000_000_000);
    assert_eq!(granted(9_000_000_001).await.unwrap_err().kind(), ErrorKind::Invalid);
    sleep(secs(5) + TICK).await;
    assert_eq!(store.stats().leases, 1);
    sleep(secs(3_000_000_000)).await;
    assert_eq!(store.stats().leases, 1);
}

#[tokio::test(start_paused = true)]
async fn leases_are_listed_by_what_is_left() {
    let (store, _driver) = open_memory().await;
    for (id, ttl_secs) in [(1, 30), (2, 10), (3, 20)] {
        grant(&store, id, ttl_secs).await;
    }
    assert_eq!(store.leases().unwrap().ids, [2, 3, 1]);
    sleep(secs(9)).await;
    store.lease_keep_alive(3).unwrap();
    store.lease_keep_alive(2).unwrap();
    assert_eq!(store.leases().unwrap().ids, [2, 3, 1]);
    sleep(secs(9)).await;
    store.lease_keep_alive(3).unwrap();
    assert_eq!(store.leases().unwrap().ids, [2, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_quota_stops_grants_and_lets_revokes_pass() {
    let mut config = Config::default();
    config.quota_bytes = Config::QUOTA_BYTES.min;
    let (store, _journal, _driver) = open(config).await;
    grant(&store, 7, 60).await;
    put_leased(&store, "a", 7).await;
    let large = PutRequest::new("large", "v".repeat(1 << 20));
    assert_eq!(store.put(large).await.unwrap_err().kind(), ErrorKind::Exhausted);
    let refused = store.lease_grant(LeaseGrantRequest::new(60)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert_eq!(store.lease_revoke(7).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn leases_count_against_the_quota() {
    let (store, _driver) = open_memory().await;
    for id in 1..=10 {
        grant(&store, id, 60).await;
    }
    assert_eq!(store.stats().bytes, 1280);
    store.lease_revoke(3).await.unwrap();
    assert_eq!(store.stats().bytes, 1152);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_opens_gives_every_lease_its_full_time() {
    let journal = MemoryJournal::new();
    let open = async || {
        let (store, driver) =
            Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
        (store, tokio::spawn(driver))
    };
    let (store, driver) = open().await;
    grant(&store, 7, 10).await;
    grant(&store, 8, 10).await;
    grant(&store, 9, 10).await;
    for (key, lease) in [("a", 7), ("b", 7), ("c", 8), ("d", 9)] {
        put_leased(&store, key, lease).await;
    }
    put_leased(&store, "a", 8).await;
    store.lease_revoke(9).await.unwrap();
    let before = store.stats();
    drop(store);
    driver.await.unwrap().unwrap();
    // As long as nobody has the journal open nothing expires.
    sleep(secs(100)).await;
    let (store, driver) = open().await;
    let after = store.stats();
    assert_eq!((after.leases, after.bytes), (before.leases, before.bytes));
    assert_eq!((attached(&store, 7), attached(&store, 8)), ("b".into(), "ac".into()));
    assert_eq!((ttl(&store, 7), ttl(&store, 9)), ((10, 10), (-1, 0)));
    sleep(just_before(10)).await;
    assert_eq!(keys(&store), "abc");
    assert_eq!(store.lease_keep_alive(8).unwrap().ttl_secs, 10);
    sleep(TICK).await;
    assert_eq!(keys(&store), "ac");
    // The ids that this store picks are no other's.
    let picked = store.lease_grant(LeaseGrantRequest::new(10)).await.unwrap().id;
    drop(store);
    driver.await.unwrap().unwrap();
    let (store, _driver) = open().await;
    assert_eq!((keys(&store), store.leases().unwrap().ids), ("ac".into(), vec![8, picked]));
    assert_ne!(store.lease_grant(LeaseGrantRequest::new(10)).await.unwrap().id, picked);
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_takes_its_grants_and_revokes_with_it() {
    let (store, journal, _driver) = open(Config::default()).await;
    grant(&store, 7, 60).await;
    put_leased(&store, "a", 7).await;
    let failing = || journal.script([Fault::Fail(ErrorKind::Unavailable)]);
    failing();
    let lost = store.lease_grant(LeaseGrantRequest::new(60).id(8)).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unavailable);
    assert_eq!((ttl(&store, 8), store.lease_keep_alive(8).unwrap().ttl_secs), ((-1, 0), 0));
    let error = store.put(PutRequest::new("b", "v").lease(8)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
    failing();
    assert_eq!(store.lease_revoke(7).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((keys(&store), attached(&store, 7)), ("a".into(), "a".into()));
    assert_eq!(store.lease_keep_alive(7).unwrap().ttl_secs, 60);
    grant(&store, 8, 60).await;
    assert_eq!(store.lease_revoke(7).await.unwrap(), 3);
    assert_eq!(store.leases().unwrap().ids, [8]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_can_be_renewed_only_when_it_is_durable() {
    let (store, journal, _driver) = open(Config::default()).await;
    journal.script([Fault::Hold]);
    let mut granted = Box::pin(store.lease_grant(LeaseGrantRequest::new(60).id(7)));
    assert!((&mut granted).now_or_never().is_none());
    sleep(secs(1)).await;
    assert_eq!((ttl(&store, 7), store.lease_keep_alive(7).unwrap().ttl_secs), ((-1, 0), 0));
    journal.release();
    granted.await.unwrap();
    // Its time begins when it is durable.
    assert_eq!((ttl(&store, 7), store.lease_keep_alive(7).unwrap().ttl_secs), ((60, 60), 60));
}

#[tokio::test(start_paused = true)]
async fn an_expiry_that_failed_is_tried_again_and_never_taken_back() {
    let (store, journal, _driver) = open(Config::default()).await;
    grant(&store, 7, 5).await;
    put_leased(&store, "a", 7).await;
    journal.script([Fault::Fail(ErrorKind::Exhausted), Fault::Fail(ErrorKind::Unavailable)]);
    sleep(secs(5) + TICK).await;
    assert_eq!((journal.remaining(), keys(&store)), (1, "a".into()));
    assert_eq!(store.lease_keep_alive(7).unwrap().ttl_secs, 0);
    sleep(secs(3) + TICK).await;
    assert_eq!((journal.remaining(), keys(&store)), (0, "a".into()));
    assert_eq!(store.stats().expired_leases, 0);
    sleep(secs(3) + TICK).await;
    let stats = store.stats();
    assert_eq!((keys(&store), stats.expired_leases, stats.leases), (String::new(), 1, 0));
    sleep(secs(100)).await;
    assert_eq!(store.revision(), 3);
}

#[tokio::test(start_paused = true)]
async fn leases_that_expire_together_are_revoked_at_the_configured_rate() {
    let mut config = Config::default();
    config.lease_revokes_per_sec = 20;
    let (store, _journal, _driver) = open(config).await;
    for id in 1..=50 {
        grant(&store, id, 10).await;
    }
    sleep(secs(10) + TICK).await;
    let mut left = vec![store.stats().leases];
    for _ in 0..25 {
        sleep(Duration::from_millis(100)).await;
        left.push(store.stats().leases);
    }
    assert_eq!(left, (0..26).map(|tenth| 48u64.saturating_sub(2 * tenth)).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn more_leases_than_are_looked_at_in_one_go_expire_in_one_tick() {
    let mut config = Config::default();
    config.lease_revokes_per_sec = Config::LEASE_REVOKES_PER_SEC.max;
    let (store, _journal, _driver) = open(config).await;
    let granted = (1..=1500).map(|id| store.lease_grant(LeaseGrantRequest::new(10).id(id)));
    futures_util::future::try_join_all(granted).await.unwrap();
    // Every other one is renewed: it goes back into the wheel in the same look.
    sleep(secs(5)).await;
    for id in (1..=1500).step_by(2) {
        assert_eq!(store.lease_keep_alive(id).unwrap().ttl_secs, 10);
    }
    sleep(secs(5) + TICK).await;
    assert_eq!((store.stats().leases, store.stats().expired_leases), (750, 750));
    sleep(secs(5)).await;
    assert_eq!((store.stats().leases, store.stats().expired_leases), (0, 1500));
}

#[tokio::test(start_paused = true)]
async fn a_lease_granted_anew_is_not_revoked_for_the_one_before() {
    let mut config = Config::default();
    config.lease_revokes_per_sec = 10;
    let (store, journal, _driver) = open(config).await;
    grant(&store, 6, 5).await;
    grant(&store, 7, 5).await;
    put_leased(&store, "a", 7).await;
    journal.script([Fault::Hold]);
    sleep(secs(5) + TICK).await; // 6 is being revoked, 7 waits for its turn
    assert_eq!(journal.remaining(), 0);
    let mut revoked = Box::pin(store.lease_revoke(7));
    let mut granted = Box::pin(store.lease_grant(LeaseGrantRequest::new(60).id(7)));
    assert!((&mut revoked).now_or_never().is_none());
    assert!((&mut granted).now_or_never().is_none());
    sleep(secs(1)).await; // its turn has come
    journal.release();
    assert_eq!(revoked.await.unwrap(), 3);
    assert_eq!(granted.await.unwrap().revision, 3);
    sleep(secs(20)).await;
    assert_eq!(store.lease_keep_alive(7).unwrap().ttl_secs, 60);
    assert_eq!((store.leases().unwrap().ids, store.stats().expired_leases), (vec![7], 1));
}

#[tokio::test(start_paused = true)]
async fn leases_expire_beside_writers_that_never_pause() {
    let (store, driver) = open_memory().await;
    grant(&store, 7, 5).await;
    put_leased(&store, "leased", 7).await;
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        while writer.get(b"leased").unwrap().is_some() {
            put(&writer, "a", "1").await;
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(writer.revision() < 10_000, "the writer starves the lease");
        }
    });
    writing.await.unwrap();
    drop(store);
    driver.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_renews_nothing() {
    let (store, driver) = open_memory().await;
    grant(&store, 7, 60).await;
    driver.abort();
    let _aborted = driver.await;
    let closed = |kind| assert_eq!(kind, ErrorKind::Closed);
    closed(store.lease_keep_alive(7).unwrap_err().kind());
    closed(store.lease_time_to_live(7, true).unwrap_err().kind());
    closed(store.leases().unwrap_err().kind());
    closed(store.lease_revoke(7).await.unwrap_err().kind());
    closed(store.lease_grant(LeaseGrantRequest::new(60)).await.unwrap_err().kind());
}

#[tokio::test(start_paused = true)]
async fn a_fenced_store_expires_nothing() {
    let journal = MemoryJournal::new();
    let (first, driver) = Store::open(Arc::new(journal.clone()), Config::default()).await.unwrap();
    let driver = tokio::spawn(driver);
    grant(&first, 7, 10).await;
    put_leased(&first, "a", 7).await;
    sleep(secs(5)).await;
    let opening = Store::open(Arc::new(journal.clone()), Config::default());
    let (second, second_driver) = still(opening).await.unwrap();
    tokio::spawn(second_driver);
    sleep(secs(5) + TICK).await;
    assert_eq!(driver.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!((keys(&second), ttl(&second, 7)), ("a".into(), (4, 10)));
    sleep(secs(5)).await;
    assert_eq!(keys(&second), "");
}
