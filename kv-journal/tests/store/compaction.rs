//! Compaction.

use std::time::Duration;

use kv_journal::{ErrorKind, KeyRange, Op, RangeRequest, Txn};

use crate::harness::{open_memory, put};

#[tokio::test]
async fn compaction_forgets_the_past_and_keeps_the_present() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    put(&store, "a", "2").await; // 3
    put(&store, "b", "1").await; // 4
    store.delete_range(KeyRange::key("b")).await.unwrap(); // 5
    put(&store, "c", "1").await; // 6
    assert_eq!(store.compact(5).await.unwrap(), 6);
    assert_eq!((store.revision(), store.compact_revision()), (6, 5));
    let at = |revision| store.range(RangeRequest::new(KeyRange::all()).at(revision));
    assert_eq!(at(4).unwrap_err().kind(), ErrorKind::Compacted { compact_revision: 5 });
    assert_eq!(at(5).unwrap().kvs.len(), 1);
    assert_eq!(at(5).unwrap().kvs[0].value(), b"2");
    let again = store.compact(5).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Compacted { compact_revision: 5 });
    let future = store.compact(7).await.unwrap_err();
    assert_eq!(future.kind(), ErrorKind::FutureRevision { current_revision: 6 });
    assert_eq!(store.stats().versions, 2);
}

#[tokio::test]
async fn large_transactions_do_not_outrun_the_freeing_of_what_is_compacted() {
    const WRITERS: u64 = 32;
    const KEYS: u64 = 100;
    const ROUNDS: u64 = 40;
    let (store, _) = open_memory().await;
    let write = || (0..KEYS).fold(Txn::new(), |txn, key| txn.then(Op::put(key.to_string(), "v")));
    // As tasks beside the driver they get as many turns as it does: it is never without work.
    for _ in 0..WRITERS {
        let (store, txn) = (store.clone(), write());
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                store.txn(txn.clone()).await.unwrap();
            }
        });
    }
    let watched = tokio::spawn(async move {
        let mut most = 0;
        while store.revision() < 1 + WRITERS * ROUNDS {
            // Nothing may be new since the last one.
            let _compacted = store.compact(store.revision()).await;
            most = most.max(store.stats().versions);
        }
        most
    });
    let most = watched.await.unwrap();
    assert!(most <= 4 * WRITERS * KEYS, "{most} versions were held");
}

#[tokio::test]
async fn what_a_snapshot_kept_is_freed_when_it_is_gone() {
    let (store, _) = open_memory().await;
    for number in 0..100 {
        put(&store, "a", &number.to_string()).await; // 2 to 101
    }
    let snapshot = store.snapshot();
    store.compact(101).await.unwrap();
    while store.stats().unswept_revisions > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.stats().held_changes, 100);
    assert_eq!(snapshot.at(50).unwrap().get(b"a").unwrap().value(), b"48");
    drop(snapshot);
    let freed = async {
        // Nobody asks the store for anything: it has to notice by itself.
        while store.stats().held_changes > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed).await.unwrap();
}
