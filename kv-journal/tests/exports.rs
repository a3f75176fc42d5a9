//! Exports and imports, and views of past revisions.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use harness::{everything, open_memory, put};
use kv_journal::{
    CheckpointFault, CheckpointStore, Components, Config, Error, ErrorKind, Fault,
    FaultCheckpoints, FaultJournal, Journal, KeyRange, LeaseGrantRequest, MemoryCheckpoints,
    MemoryJournal, Op, PutRequest, RangeRequest, Record, Result, Store, Txn,
};

#[derive(Clone, Default)]
struct Place {
    journal: MemoryJournal,
    checkpoints: MemoryCheckpoints,
}

impl Place {
    fn components(&self) -> Components {
        let components = Components::new(Arc::new(self.journal.clone()));
        components.checkpoints(Arc::new(self.checkpoints.clone()))
    }

    async fn is_empty(&self) -> bool {
        let tail = self.journal.tail().await.unwrap();
        tail.next_seq == 1 && self.checkpoints.list().await.unwrap().is_empty()
    }

    async fn import(&self, pieces: Vec<Bytes>) -> Result<Store> {
        let export = stream::iter(pieces.into_iter().map(Ok));
        let (store, driver) = Store::import(self.components(), export, config()).await?;
        tokio::spawn(driver);
        Ok(store)
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.checkpoint_frame_bytes = Config::CHECKPOINT_FRAME_BYTES.min;
    config.recovery_threads = 2;
    config
}

async fn source() -> Store {
    let journal = Arc::new(MemoryJournal::new());
    let (store, driver) = Store::open(journal, config()).await.unwrap();
    tokio::spawn(driver);
    for number in 0..20 {
        let txn = Txn::new()
            .then(Op::put("z", number.to_string()))
            .then(Op::put(format!("k{}", number % 4), "v".repeat(number * 9)));
        store.txn(txn).await.unwrap();
    }
    store.lease_grant(LeaseGrantRequest::new(60).id(77)).await.unwrap();
    store.put(PutRequest::new("leased", "1").lease(77)).await.unwrap();
    store.delete_range(KeyRange::prefix("k1")).await.unwrap();
    store.compact(9).await.unwrap();
    store
}

async fn bytes_of(store: &Store) -> Vec<Bytes> {
    store.snapshot().export().try_collect().await.unwrap()
}

#[tokio::test]
async fn an_import_is_the_store_that_was_exported() {
    let source = source().await;
    let whole = bytes_of(&source).await.concat();
    // However the bytes are cut.
    for piece in [1, 7, 100, whole.len()] {
        let place = Place::default();
        let pieces = whole.chunks(piece).map(Bytes::copy_from_slice).collect();
        let store = place.import(pieces).await.unwrap();
        assert_eq!(everything(&store), everything(&source));
        assert_eq!(store.compact_revision(), 9);
        assert_eq!(store.stats().bytes, source.stats().bytes);
        assert_eq!(store.get(b"leased").unwrap().unwrap().lease(), 77);
        let lease = store.lease_time_to_live(77, true).unwrap();
        assert_eq!((lease.granted_ttl_secs, lease.keys), (60, vec!["leased".into()]));
        assert_eq!(put(&store, "more", "1").await, source.revision() + 1);
        let expected = everything(&store);
        drop(store);
        // And so it is opened again.
        let (store, _driver) = Store::open_with(place.components(), config()).await.unwrap();
        assert_eq!(everything(&store), expected);
        assert_eq!(bytes_of(&source).await.concat(), whole);
    }
}

#[tokio::test]
async fn an_export_shows_one_revision_and_holds_one_frame() {
    let store = source().await;
    let mut export = store.snapshot().export();
    let expected = bytes_of(&store).await;
    assert_eq!(export.revision(), store.revision());
    let mut seen = vec![export.next().await.unwrap().unwrap()];
    for number in 0..50 {
        put(&store, "z", &number.to_string()).await;
    }
    store.compact(store.revision()).await.unwrap();
    while let Some(frame) = export.next().await {
        seen.push(frame.unwrap());
    }
    assert_eq!(seen, expected);
    let longest = seen.iter().map(Bytes::len).max().unwrap();
    assert!(seen.len() > 5 && longest < 256 + 400, "{} frames, {longest}", seen.len());
}

#[tokio::test]
async fn a_damaged_or_cut_export_leaves_nothing_behind() {
    let whole = bytes_of(&source().await).await.concat();
    let place = Place::default();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        let error = place.import(vec![damaged.into()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
        if at % 7 == 0 {
            let cut = Bytes::copy_from_slice(&whole[..at]);
            let error = place.import(vec![cut]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {at}: {error}");
        }
        assert!(place.is_empty().await);
    }
    let more = [&whole[..], b"!"].concat();
    let error = place.import(vec![more.into()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let lost = Error::new(ErrorKind::Unavailable, "the line went down");
    let pieces = [Ok(Bytes::copy_from_slice(&whole[..500])), Err(lost)];
    let import = Store::import(place.components(), stream::iter(pieces), config());
    assert_eq!(import.await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(place.is_empty().await);
    // And then it takes the good one.
    place.import(vec![whole.into()]).await.unwrap();
}

#[tokio::test]
async fn only_an_empty_journal_takes_an_import() {
    let pieces = bytes_of(&source().await).await;
    let place = Place::default();
    let store = place.import(pieces.clone()).await.unwrap();
    drop(store);
    let again = place.import(pieces.clone()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Invalid);

    let written = Place::default();
    let (store, driver) = Store::open_with(written.components(), config()).await.unwrap();
    tokio::spawn(driver);
    put(&store, "a", "1").await;
    assert_eq!(written.import(pieces.clone()).await.unwrap_err().kind(), ErrorKind::Invalid);

    let alone = Components::new(Arc::new(MemoryJournal::new()));
    let export = stream::iter(pieces.into_iter().map(Ok));
    let refused = Store::import(alone, export, config()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// The journal says that an import was begun and did not finish, and takes it again.
#[tokio::test]
async fn an_import_cut_short_at_its_commit_is_told_and_repeated() {
    let source = source().await;
    let pieces = bytes_of(&source).await;
    let place = Place::default();
    for round in 0..3 {
        let faulty = FaultCheckpoints::new(place.checkpoints.clone());
        let steps = 1 + pieces.len();
        let passes = std::iter::repeat_n(CheckpointFault::Pass, steps);
        faulty.script(passes.chain([CheckpointFault::Fail(ErrorKind::Exhausted)]));
        let components = place.components().checkpoints(Arc::new(faulty));
        let export = stream::iter(pieces.clone().into_iter().map(Ok));
        let failed = Store::import(components, export, config()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Exhausted);
        let tail = place.journal.tail().await.unwrap();
        assert_eq!(tail.next_seq, round + 2);
        let opened = Store::open_with(place.components(), config()).await.unwrap_err();
        assert_eq!(opened.kind(), ErrorKind::Trimmed { first_seq: 2 });
        assert!(opened.to_string().contains("import"), "{opened}");
    }
    let store = place.import(pieces).await.unwrap();
    assert_eq!(everything(&store), everything(&source));
    drop(store);
    let (store, _driver) = Store::open_with(place.components(), config()).await.unwrap();
    assert_eq!(everything(&store), everything(&source));
}

/// An import that does not know what became of its record or its commit can be asked again.
#[tokio::test]
async fn an_import_of_unknown_outcome_is_found_or_repeated() {
    let source = source().await;
    let pieces = bytes_of(&source).await;
    for fault in [Fault::UnknownLost, Fault::UnknownStored] {
        let place = Place::default();
        let faulty = FaultJournal::new(place.journal.clone());
        faulty.script([fault]);
        let components = Components::new(Arc::new(faulty));
        let components = components.checkpoints(Arc::new(place.checkpoints.clone()));
        let export = stream::iter(pieces.clone().into_iter().map(Ok));
        let failed = Store::import(components, export, config()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unknown);
        let store = place.import(pieces.clone()).await.unwrap();
        assert_eq!(everything(&store), everything(&source));
    }
    let place = Place::default();
    let faulty = FaultCheckpoints::new(place.checkpoints.clone());
    let passes = std::iter::repeat_n(CheckpointFault::Pass, 1 + pieces.len());
    faulty.script(passes.chain([CheckpointFault::UnknownDone]));
    let components = place.components().checkpoints(Arc::new(faulty));
    let export = stream::iter(pieces.into_iter().map(Ok));
    let failed = Store::import(components, export, config()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unknown);
    let (store, _driver) = Store::open_with(place.components(), config()).await.unwrap();
    assert_eq!(everything(&store), everything(&source));
}

#[tokio::test]
async fn a_store_that_opens_meanwhile_ends_an_import() {
    let pieces = bytes_of(&source().await).await;
    let place = Place::default();
    let opened = place.clone();
    let export = stream::iter(pieces.into_iter().map(Ok)).chain(
        async move {
            let open = Store::open_with(opened.components(), config());
            let (store, driver) = open.await.unwrap();
            tokio::spawn(driver);
            put(&store, "mine", "1").await;
            Ok(Bytes::new())
        }
        .into_stream(),
    );
    let fenced = Store::import(place.components(), export, config()).await.unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    let (store, _driver) = Store::open_with(place.components(), config()).await.unwrap();
    assert_eq!(store.get(b"mine").unwrap().unwrap().value(), b"1");
}

#[tokio::test]
async fn the_record_of_an_import_is_no_write() {
    let record = Record::Import { revision: 5 }.encode().unwrap();
    let journal = MemoryJournal::new();
    journal.fence(1).await.unwrap();
    journal.append(1, 1, &[record]).await.unwrap();
    let error = Store::open(Arc::new(journal), config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Trimmed { first_seq: 2 });
}

#[tokio::test]
async fn a_view_of_a_revision_stays_whatever_is_compacted() {
    let (store, _driver) = open_memory().await;
    for number in 0..30 {
        put(&store, &format!("k{}", number % 3), &number.to_string()).await;
    }
    store.delete_range(KeyRange::key("k2")).await.unwrap();
    let expected = everything(&store);
    let views: Vec<_> =
        (1..=store.revision()).map(|at| (at, store.at_revision(at).unwrap())).collect();
    store.compact(store.revision()).await.unwrap();
    for _ in 0..20 {
        put(&store, "k0", "new").await;
    }
    for (revision, view) in &views {
        assert_eq!(view.revision(), *revision);
        let all = view.range(KeyRange::all()).unwrap();
        let kvs: Vec<_> = all.kvs.clone();
        assert_eq!((all.revision, &kvs), (*revision, &expected[revision]));
        assert_eq!(view.count(&KeyRange::all()), kvs.len() as u64);
        let iterated: Vec<_> = view.iter(&KeyRange::all()).collect();
        assert_eq!(iterated, kvs);
        for key in ["k0", "k2", "none"] {
            let found = kvs.iter().find(|kv| kv.key() == key.as_bytes());
            assert_eq!(view.get(key.as_bytes()).as_ref(), found);
        }
    }
}

#[tokio::test]
async fn a_view_shows_nothing_after_its_revision() {
    let (store, _driver) = open_memory().await;
    for number in 0..5 {
        put(&store, "a", &number.to_string()).await;
    }
    store.compact(3).await.unwrap();
    let compacted = store.at_revision(2).unwrap_err().kind();
    assert_eq!(compacted, ErrorKind::Compacted { compact_revision: 3 });
    let future = store.at_revision(7).unwrap_err().kind();
    assert_eq!(future, ErrorKind::FutureRevision { current_revision: 6 });
    let view = store.snapshot().at(4).unwrap();
    let later = view.range(RangeRequest::new(KeyRange::all()).at(5)).unwrap_err().kind();
    assert_eq!(later, ErrorKind::FutureRevision { current_revision: 4 });
    let earlier = view.range(RangeRequest::new(KeyRange::all()).at(3)).unwrap();
    assert_eq!((earlier.revision, earlier.kvs[0].value()), (4, &b"1"[..]));
    let (empty, _driver) = open_memory().await;
    assert_eq!(empty.at_revision(0).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(empty.at_revision(1).unwrap().count(&KeyRange::all()), 0);
}
