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

    // The ledger is in the checkpoint: the records before it are needed for proofs of them alone.
    journal.trim(5).await.unwrap();
    let (store, driver) = open().await;
    assert_eq!(store.digest().unwrap(), newer);
    let gone = store.prove_key(b"a", 0, &newer).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Trimmed { first_seq: 5 });
    assert!(store.prove_key(b"e", 0, &newer).await.is_ok());
    close(store, driver).await;
}

#[tokio::test]
async fn a_journal_that_was_trimmed_without_a_ledger_cannot_have_one() {
    let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
    let (store, driver) =
        Store::open_with(components(&journal, &checkpoints), Config::default()).await.unwrap();
    let driver = tokio::spawn(driver);
    for key in ["a", "b", "c"] {
        put(&store, key, "1").await;
        store.checkpoint().await.unwrap();
    }
    close(store, driver).await;
    assert!(journal.tail().await.unwrap().first_seq > 1);
    let refused = Store::open_with(components(&journal, &checkpoints), config()).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Trimmed { .. }), "{refused}");
    let plain = Store::open_with(components(&journal, &checkpoints), Config::default()).await;
    assert!(plain.is_ok());
}

#[tokio::test]
async fn a_ledger_may_let_the_journal_be_trimmed() {
    let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
    let mut config = config();
    config.ledger_keeps_journal = false;
    // So small that a ledger has several frames.
    config.checkpoint_frame_bytes = Config::CHECKPOINT_FRAME_BYTES.min;
    let open = async || {
        let components = components(&journal, &checkpoints);
        let (store, driver) = Store::open_with(components, config.clone()).await.unwrap();
        (store, tokio::spawn(driver))
    };
    let (store, driver) = open().await;
    let mut digests = vec![store.digest().unwrap()];
    for number in 0..200 {
        put(&store, "a", &number.to_string()).await;
        if number % 50 == 0 {
            store.checkpoint().await.unwrap();
        }
        digests.push(store.digest().unwrap());
    }
    let first_seq = journal.tail().await.unwrap().first_seq;
    assert!(first_seq > 64, "{first_seq}");
    close(store, driver).await;

    let (store, driver) = open().await;
    put(&store, "a", "last").await;
    let newest = store.digest().unwrap();
    for digest in &digests {
        let proof = store.prove_consistency(digest, &newest).unwrap();
        verify::verify_consistency(digest, &newest, &proof).unwrap();
    }
    let proof = store.prove_key(b"a", 0, &newest).await.unwrap();
    assert_eq!(verify::verify_key(&proof, &newest, b"a").unwrap().value.unwrap(), "last");
    let early = store.prove_key(b"a", 10, &newest).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Trimmed { first_seq });

    // It is no part of an export, and a checkpoint's own bytes are not one.
    let export: Vec<_> = store.snapshot().export().try_collect().await.unwrap();
    store.checkpoint().await.unwrap();
    close(store, driver).await;
    let import = async |bytes: Vec<bytes::Bytes>| {
        let components = components(&MemoryJournal::new(), &MemoryCheckpoints::new());
        let export = futures_util::stream::iter(bytes.into_iter().map(Ok));
        Store::import(components, export, config.clone()).await.map(|_| ())
    };
    import(export).await.unwrap();
    let newest = checkpoints.list().await.unwrap()[0];
    let whole = checkpoints.read(newest.id, 0, 1 << 20).await.unwrap();
    assert_eq!(import(vec![whole]).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_checkpoint_whose_ledger_is_damaged_gives_way_to_the_one_before() {
    let (journal, checkpoints) = (MemoryJournal::new(), MemoryCheckpoints::new());
    let mut small = config();
    small.ledger_keeps_journal = false;
    let open = async || Store::open_with(components(&journal, &checkpoints), small.clone()).await;
    let (store, driver) = open().await.unwrap();
    let driver = tokio::spawn(driver);
    for key in ["a", "b"] {
        put(&store, key, "1").await;
        store.checkpoint().await.unwrap();
    }
    let digest = store.digest().unwrap();
    close(store, driver).await;
    let newest = checkpoints.list().await.unwrap()[0].id;
    // The last byte of the ledger, before the footer's frame.
    let mut bytes = checkpoints.read(newest, 0, 1 << 20).await.unwrap().to_vec();
    let at = bytes.len() - 50;
    bytes[at] ^= 1;
    checkpoints.remove(newest).await.unwrap();
    let mut writer = checkpoints.begin(newest).await.unwrap();
    writer.write(bytes.into()).await.unwrap();
    writer.commit().await.unwrap();
    let (store, _driver) = open().await.unwrap();
    assert_eq!(store.recovery().damaged.len(), 1);
    assert_eq!(store.digest().unwrap(), digest);
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
