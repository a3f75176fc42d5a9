//! The hash of everything: the same whoever takes it, and whatever became of the store between.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::sync::Arc;

use harness::open_memory;
use kv_journal::{
    Components, Config, DeleteRequest, ErrorKind, KeyRange, KvHash, LeaseGrantRequest,
    MemoryCheckpoints, MemoryJournal, Op, PutRequest, Store, Txn,
};

/// Transactions of several changes in an order that is not the keys', deletes, a lease's end, and
/// compactions with changes before and after.
async fn write(store: &Store) {
    store.lease_grant(LeaseGrantRequest::new(60).id(7)).await.unwrap();
    for round in 0..=30u64 {
        let leased = PutRequest::new(format!("leased{round}"), "v").lease(7);
        let txn = Txn::new()
            .then(Op::put(format!("z{}", round % 3), round.to_string()))
            .then(Op::Put(leased))
            .then(Op::put(format!("a{}", round % 5), vec![7; usize::try_from(round).unwrap()]));
        store.txn(txn).await.unwrap();
        match round {
            10 => {
                let delete = DeleteRequest::new(KeyRange::prefix("a"));
                store.delete_range(delete).await.unwrap();
            }
            20 => drop(store.compact(store.revision() - 3).await.unwrap()),
            30 => drop(store.lease_revoke(7).await.unwrap()),
            _ => {}
        }
    }
}

async fn hashes(store: &Store) -> Vec<KvHash> {
    let revisions = store.compact_revision()..=store.revision();
    let snapshot = store.snapshot();
    let mut all = Vec::new();
    for revision in revisions {
        let hash = store.hash_kv(revision).await.unwrap();
        assert_eq!(hash, snapshot.hash_kv(revision).unwrap());
        assert_eq!(hash.hash_revision, revision);
        all.push(hash);
    }
    all
}

#[tokio::test]
async fn a_hash_outlives_restarts_checkpoints_and_exports() {
    let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
    let components = || {
        let components = Components::new(Arc::new(journal.clone()));
        components.checkpoints(Arc::new(checkpoints.clone()))
    };
    let reopen = async || {
        let (store, driver) = Store::open_with(components(), Config::default()).await.unwrap();
        tokio::spawn(driver);
        store
    };
    let store = reopen().await;
    write(&store).await;
    let expected = hashes(&store).await;
    let mut distinct: Vec<_> = expected.iter().map(|hash| hash.hash).collect();
    distinct.dedup();
    assert_eq!(distinct.len(), expected.len(), "every revision changes it");

    let replayed = reopen().await;
    assert!(hashes(&replayed).await == expected, "after a replay");
    replayed.checkpoint().await.unwrap();
    let loaded = reopen().await;
    assert!(loaded.recovery().checkpoint.is_some());
    assert!(hashes(&loaded).await == expected, "after a checkpoint");

    let export = loaded.snapshot().export();
    let elsewhere = Components::new(Arc::new(MemoryJournal::new()))
        .checkpoints(Arc::new(MemoryCheckpoints::new()));
    let (imported, driver) = Store::import(elsewhere, export, Config::default()).await.unwrap();
    tokio::spawn(driver);
    assert!(hashes(&imported).await == expected, "after an import");
}

#[tokio::test]
async fn a_hash_of_what_cannot_be_read_is_refused() {
    let (store, _driver) = open_memory().await;
    write(&store).await;
    let (oldest, newest) = (store.compact_revision(), store.revision());
    let refused = store.hash_kv(oldest - 1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Compacted { compact_revision: oldest });
    let refused = store.snapshot().hash_kv(newest + 1).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::FutureRevision { current_revision: newest });
    assert_eq!(store.hash_kv(0).await.unwrap().hash_revision, newest);
}
