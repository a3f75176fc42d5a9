//! The ledger of a store that has checkpoints.

use std::sync::Arc;

use futures_util::TryStreamExt;
use kv_journal::{
    CheckpointStore, Components, Config, ErrorKind, Journal, MemoryCheckpoints, MemoryJournal,
    Store, verify,
};

use super::harness::put;
use super::{close, config};

fn components(journal: &MemoryJournal, checkpoints: &MemoryCheckpoints) -> Components {
    Components::new(Arc::new(journal.clone())).checkpoints(Arc::new(checkpoints.clone()))
}

#[tokio::test]
async fn a_ledger_covers_what_is_in_a_checkpoint() {
    let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
    let open = async || {
        let components = components(&journal, &checkpoints);
        let (store, driver) = Store::open_with(components, config()).await.unwrap();
        (store, tokio::spawn(driver))
    };
    let (store, driver) = open().await;
    for key in ["a", "b", "c", "d"] {
        put(&store, key, "1").await;
        store.checkpoint().await.unwrap();
    }
    let digest = store.digest().unwrap();
    assert_eq!(checkpoints.list().await.unwrap().len(), 2);
    assert_eq!(journal.tail().await.unwrap().first_seq, 1);
    close(store, driver).await;

    let (store, driver) = open().await;
    assert_eq!((store.recovery().checkpoint, store.recovery().replayed_records), (Some(5), 0));
    assert_eq!(store.digest().unwrap(), digest);
    put(&store, "e", "1").await;
    let newer = store.digest().unwrap();
    let proof = store.prove_consistency(&digest, &newer).unwrap();
    assert!(verify::verify_consistency(&digest, &newer, &proof).is_ok());
    close(store, driver).await;

    // A journal that was trimmed without the ledger cannot have one again.
    journal.trim(4).await.unwrap();
    let refused = Store::open_with(components(&journal, &checkpoints), config()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Trimmed { first_seq: 4 });
    let plain = Store::open_with(components(&journal, &checkpoints), Config::default()).await;
    assert!(plain.is_ok());
}

#[tokio::test]
async fn a_ledger_of_an_import_begins_with_its_record() {
    let (source, driver) = super::open(MemoryJournal::new()).await;
    put(&source, "a", "1").await;
    let export: Vec<_> = source.snapshot().export().try_collect().await.unwrap();
    close(source, driver).await;
    let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
    let export = futures_util::stream::iter(export.into_iter().map(Ok));
    let imported = Store::import(components(&journal, &checkpoints), export, config());
    let (store, driver) = imported.await.unwrap();
    let driver = tokio::spawn(driver);
    assert_eq!(store.digest().unwrap().tree_size, 1);
    put(&store, "b", "1").await;
    let digest = store.digest().unwrap();
    assert_eq!(digest.tree_size, 2);
    close(store, driver).await;
    let reopened = Store::open_with(components(&journal, &checkpoints), config());
    assert_eq!(reopened.await.unwrap().0.digest().unwrap(), digest);
}
