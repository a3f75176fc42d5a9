//! The quota and its alarm.

use std::sync::Arc;

use kv_journal::{
    Compare, CompareResult, Config, ErrorKind, KeyRange, MemoryJournal, Op, PutRequest, QuotaAlarm,
    Store, Txn,
};

use crate::harness::put;

async fn open(journal: &MemoryJournal, quota_bytes: u64, alarm: QuotaAlarm) -> Store {
    let mut config = Config::default();
    (config.quota_bytes, config.quota_alarm) = (quota_bytes, alarm);
    let (store, driver) = Store::open(Arc::new(journal.clone()), config).await.unwrap();
    tokio::spawn(driver);
    store
}

async fn refused(store: &Store, txn: Txn) -> bool {
    match store.txn(txn).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Exhausted);
            true
        }
    }
}

/// Writes until a put is refused, and says how many were not.
async fn fill(store: &Store) -> u64 {
    for written in 0.. {
        let large = Op::put(format!("k{written}"), "v".repeat(200_000));
        if refused(store, Txn::new().then(large)).await {
            return written;
        }
    }
    unreachable!()
}

async fn free_all(store: &Store) {
    let deleted = store.delete_range(KeyRange::prefix("k")).await.unwrap();
    store.compact(deleted.revision).await.unwrap();
    while store.stats().unswept_revisions > 0 {
        tokio::task::yield_now().await;
    }
}

fn small() -> Txn {
    Txn::new().then(Op::put("x", ""))
}

#[tokio::test]
async fn the_quotas_alarm_stops_puts_and_lets_deletes_and_compaction_pass() {
    let store = open(&MemoryJournal::new(), Config::QUOTA_BYTES.min, QuotaAlarm::Latched).await;
    assert!(!store.stats().quota_alarm);
    assert_eq!(fill(&store).await, 5);
    assert!(store.stats().quota_alarm);
    // What would fit is refused too, in whichever branch and at whatever depth it is.
    assert!(refused(&store, small()).await);
    let guarded = Txn::new()
        .when(Compare::version("k0", CompareResult::Equal, 99))
        .then(Op::Txn(Txn::new().or_else(Op::put("x", ""))))
        .or_else(Op::delete(KeyRange::key("k0")));
    assert!(refused(&store, guarded).await);
    // A transaction without a put passes, whatever it nests.
    let nested = Txn::new().then(Op::Txn(Txn::new().then(Op::delete(KeyRange::key("k0")))));
    assert!(!refused(&store, nested).await);
    free_all(&store).await;
    // The room is there again, and the alarm is still to be seen.
    assert!(refused(&store, small()).await);
    assert!(store.stats().quota_alarm && store.disarm() && !store.disarm());
    assert!(!refused(&store, small()).await);
}

#[tokio::test]
async fn an_alarm_that_is_disarmed_too_early_is_raised_again() {
    let store = open(&MemoryJournal::new(), Config::QUOTA_BYTES.min, QuotaAlarm::Latched).await;
    fill(&store).await;
    assert!(store.disarm());
    assert!(!refused(&store, small()).await);
    assert_eq!(fill(&store).await, 0);
    assert!(store.stats().quota_alarm);
}

#[tokio::test]
async fn an_alarm_can_follow_the_room_there_is() {
    let store = open(&MemoryJournal::new(), Config::QUOTA_BYTES.min, QuotaAlarm::Following).await;
    assert_eq!(fill(&store).await, 5);
    assert!(store.stats().quota_alarm);
    assert!(!refused(&store, small()).await);
    assert!(!store.stats().quota_alarm);
    assert_eq!(fill(&store).await, 0);
    let deleted = store.delete_range(KeyRange::prefix("k")).await.unwrap();
    store.compact(deleted.revision).await.unwrap();
    while store.stats().unswept_revisions > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fill(&store).await, 5);
}

#[tokio::test]
async fn a_store_that_opens_above_its_quota_opens_with_the_alarm() {
    let journal = MemoryJournal::new();
    let store = open(&journal, 2 * Config::QUOTA_BYTES.min, QuotaAlarm::Latched).await;
    fill(&store).await;
    let store = open(&journal, 4 * Config::QUOTA_BYTES.min, QuotaAlarm::Latched).await;
    assert!(!store.stats().quota_alarm); // it is configured, not stored
    put(&store, "y", "").await;
    let store = open(&journal, Config::QUOTA_BYTES.min, QuotaAlarm::Latched).await;
    assert!(store.stats().quota_alarm);
    assert!(store.put(PutRequest::new("x", "")).await.is_err());
    free_all(&store).await;
}
