//! Checkpoints, recovery from them, and the journal trimmed behind them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod harness;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use harness::{everything, put};
use kv_journal::{
    CheckpointFault, CheckpointStore, Components, Config, ErrorKind, FaultCheckpoints, Journal,
    KeyRange, MemoryCheckpoints, MemoryJournal, Op, Result, Store, Txn, WatchRequest,
};
use tokio::task::JoinHandle;

#[derive(Clone, Default)]
struct Place {
    journal: MemoryJournal,
    checkpoints: MemoryCheckpoints,
}

fn small_frames() -> Config {
    let mut config = Config::default();
    config.checkpoint_frame_bytes = Config::CHECKPOINT_FRAME_BYTES.min;
    config
}

impl Place {
    fn components(&self) -> Components {
        let components = Components::new(Arc::new(self.journal.clone()));
        components.checkpoints(Arc::new(self.checkpoints.clone()))
    }

    async fn open(&self, config: Config) -> (Store, JoinHandle<Result<()>>) {
        let (store, driver) = Store::open_with(self.components(), config).await.unwrap();
        (store, tokio::spawn(driver))
    }

    async fn ids(&self) -> Vec<u64> {
        self.checkpoints.list().await.unwrap().iter().map(|info| info.id).collect()
    }

    async fn first_seq(&self) -> u64 {
        self.journal.tail().await.unwrap().first_seq
    }

    async fn flip(&self, id: u64, at: usize) {
        let mut bytes = self.checkpoints.read(id, 0, usize::MAX).await.unwrap().to_vec();
        bytes[at] ^= 1;
        self.replace(id, bytes.into()).await;
    }

    async fn replace(&self, id: u64, bytes: Bytes) {
        let mut writer = self.checkpoints.begin(id).await.unwrap();
        writer.write(bytes).await.unwrap();
        writer.commit().await.unwrap();
    }
}

async fn close(store: Store, driver: JoinHandle<Result<()>>) {
    drop(store);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_is_recovered_from_its_checkpoint_and_the_rest_of_the_journal() {
    let place = Place::default();
    let (store, driver) = place.open(small_frames()).await;
    for number in 0..50 {
        put(&store, &format!("k{}", number % 7), &"v".repeat(number)).await;
    }
    store.delete_range(KeyRange::prefix("k3")).await.unwrap();
    store.compact(20).await.unwrap();
    let made = store.checkpoint().await.unwrap();
    assert_eq!((made.id, made.revision), (53, 52));
    put(&store, "k3", "again").await;
    let before = (everything(&store), store.stats());
    close(store, driver).await;

    let (store, driver) = place.open(small_frames()).await;
    let recovery = store.recovery();
    assert_eq!((recovery.checkpoint, recovery.replayed_records), (Some(53), 1));
    assert_eq!(everything(&store), before.0);
    assert_eq!((store.stats().bytes, store.stats().versions), (before.1.bytes, before.1.versions));
    close(store, driver).await;
}

/// What a watcher sees from the first revision on that can be watched.
fn events(store: &Store) -> Vec<String> {
    let from = store.compact_revision().max(1);
    let watch = WatchRequest::new(KeyRange::all()).from_revision(from);
    let mut batches = store.watch(watch).unwrap();
    let mut seen = Vec::new();
    while let Some(batch) = batches.next().now_or_never() {
        let batch = batch.unwrap().unwrap();
        for event in batch.events.iter() {
            let before = event.prev_kv.as_ref().map(|kv| (kv.mod_revision(), kv.value_bytes()));
            seen.push(format!("{} {:?} {:?} {before:?}", batch.revision, event.kind, event.kv));
        }
    }
    seen
}

/// A history with everything in it: transactions out of key order, deletes of ranges in any order,
/// long values, keys made again, and a compaction to a revision that deletes and puts.
async fn write_history(store: &Store) {
    for number in 0..12 {
        let txn = Txn::new()
            .then(Op::put("z", format!("z{number}")))
            .then(Op::put(format!("k{}", number % 5), "v".repeat(number * 40)))
            .then(Op::put("b", "b"));
        store.txn(txn).await.unwrap();
    }
    let overlapping = Txn::new()
        .then(Op::delete(KeyRange::range("k3", "zz")))
        .then(Op::put("m/new", "1"))
        .then(Op::delete(KeyRange::range("a", "k2")));
    // `m/new` lies in the first range, so it is refused; without it the deletes are out of order.
    assert!(store.txn(overlapping).await.is_err());
    let clearing = Txn::new()
        .then(Op::delete(KeyRange::range("k3", "zz")))
        .then(Op::put("0", "1"))
        .then(Op::delete(KeyRange::range("a", "k2")));
    let deleted = store.txn(clearing).await.unwrap().revision;
    for number in 0..9 {
        put(store, &format!("k{}", number % 3), &number.to_string()).await;
    }
    store.compact(deleted).await.unwrap();
    put(store, "z", "again").await;
    store.delete_range(KeyRange::key("k1")).await.unwrap();
    put(store, "last", "").await;
}

#[tokio::test]
async fn a_checkpoint_holds_every_version_and_the_order_of_events() {
    for frame_bytes in [256, 300, 511, 1 << 20] {
        for threads in [1, 3] {
            let place = Place::default();
            let mut config = small_frames();
            config.checkpoint_frame_bytes = frame_bytes;
            config.recovery_threads = threads;
            let (store, driver) = place.open(config.clone()).await;
            write_history(&store).await;
            let expected = (everything(&store), events(&store));
            let made = store.checkpoint().await.unwrap();
            assert_eq!(store.checkpoint().await.unwrap(), made); // nothing is newer
            assert_eq!(store.stats().checkpoints, 2);
            let stats = store.stats();
            close(store, driver).await;
            // Nothing of the journal is read but its end.
            place.journal.trim(u64::MAX).await.unwrap();
            let (store, driver) = place.open(config).await;
            assert_eq!(store.recovery().checkpoint, Some(made.id));
            assert_eq!(store.recovery().replayed_records, 0);
            assert_eq!((everything(&store), events(&store)), expected);
            assert_eq!(store.stats().bytes, stats.bytes);
            assert_eq!(store.stats().versions, stats.versions);
            // Compaction goes on from what was loaded.
            put(&store, "z", "more").await;
            store.compact(store.revision()).await.unwrap();
            assert_eq!(store.stats().versions, harness::reachable_versions(&store));
            close(store, driver).await;
        }
    }
}

#[tokio::test]
async fn the_journal_is_trimmed_behind_the_oldest_checkpoint_that_is_kept() {
    let place = Place::default();
    let (store, driver) = place.open(small_frames()).await;
    let mut made = Vec::new();
    for round in 0..4 {
        for number in 0..10 {
            put(&store, &format!("{round}/{number}"), "v").await;
        }
        made.insert(0, store.checkpoint().await.unwrap().id);
        made.truncate(2);
        assert_eq!(place.ids().await, made);
        // With one checkpoint there is none to fall back to but the whole journal.
        let expected = if round == 0 { 1 } else { made[1] };
        assert_eq!(place.first_seq().await, expected);
    }
    close(store, driver).await;
    let (store, driver) = place.open(small_frames()).await;
    assert_eq!(store.revision(), 41);
    close(store, driver).await;
}

#[tokio::test]
async fn a_damaged_byte_anywhere_falls_back_to_the_checkpoint_before() {
    let place = Place::default();
    let (store, driver) = place.open(small_frames()).await;
    write_history(&store).await;
    let older = store.checkpoint().await.unwrap().id;
    put(&store, "between", "1").await;
    let newer = store.checkpoint().await.unwrap().id;
    put(&store, "after", "1").await;
    let expected = everything(&store);
    close(store, driver).await;
    let len = usize::try_from(place.checkpoints.list().await.unwrap()[0].bytes).unwrap();
    for at in 0..len {
        place.flip(newer, at).await;
        let (store, driver) = place.open(small_frames()).await;
        assert_eq!(store.recovery().checkpoint, Some(older), "byte {at}");
        assert_eq!(store.recovery().damaged[0].id, newer);
        assert_eq!(store.recovery().damaged[0].error.kind(), ErrorKind::Corrupt);
        assert_eq!(store.recovery().replayed_records, 2);
        assert_eq!(everything(&store), expected);
        close(store, driver).await;
        place.flip(newer, at).await;
    }
    // Cut anywhere, too.
    for len in [0, 5, 12, 13, 49, 50, len / 2, len - 1] {
        let whole = place.checkpoints.read(newer, 0, usize::MAX).await.unwrap();
        place.replace(newer, whole.slice(..len)).await;
        let (store, driver) = place.open(small_frames()).await;
        assert_eq!(store.recovery().checkpoint, Some(older), "cut to {len}");
        assert_eq!(everything(&store), expected);
        close(store, driver).await;
        place.replace(newer, whole).await;
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_is_not_counted_and_goes_with_the_next_one() {
    let place = Place::default();
    let (store, driver) = place.open(small_frames()).await;
    put(&store, "a", "1").await;
    let older = store.checkpoint().await.unwrap().id;
    put(&store, "b", "1").await;
    let newer = store.checkpoint().await.unwrap().id;
    put(&store, "c", "1").await;
    close(store, driver).await;
    place.flip(newer, 60).await;

    let (store, driver) = place.open(small_frames()).await;
    let made = store.checkpoint().await.unwrap().id;
    assert_eq!(place.ids().await, [made, older]);
    assert_eq!(place.first_seq().await, older);
    close(store, driver).await;
    // One that is damaged and as new as it gets is made again.
    place.flip(made, 60).await;
    let (store, driver) = place.open(small_frames()).await;
    assert_eq!(store.checkpoint().await.unwrap().id, made);
    close(store, driver).await;
    let (store, driver) = place.open(small_frames()).await;
    assert_eq!((store.recovery().checkpoint, store.revision()), (Some(made), 4));
    close(store, driver).await;
}

#[tokio::test]
async fn without_a_good_checkpoint_a_trimmed_journal_is_refused() {
    let place = Place::default();
    let (store, driver) = place.open(small_frames()).await;
    for key in ["a", "b"] {
        put(&store, key, "1").await;
        store.checkpoint().await.unwrap();
    }
    close(store, driver).await;
    let alone = Store::open(Arc::new(place.journal.clone()), small_frames()).await.unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Trimmed { first_seq: 2 });
    for id in place.ids().await {
        place.flip(id, 60).await;
    }
    let damaged = Store::open_with(place.components(), small_frames()).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corrupt);
    // A journal that is not trimmed needs none.
    let whole = Place { journal: MemoryJournal::new(), ..place.clone() };
    let ahead = Store::open_with(whole.components(), small_frames()).await.unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::Corrupt);
    assert!(ahead.to_string().contains("ahead of the journal"), "{ahead}");
}

#[tokio::test]
async fn damaged_checkpoints_of_a_whole_journal_cost_only_the_replay() {
    let place = Place::default();
    let (store, driver) = place.open(small_frames()).await;
    put(&store, "a", "1").await;
    let made = store.checkpoint().await.unwrap().id;
    close(store, driver).await;
    place.flip(made, 60).await;
    let (store, driver) = place.open(small_frames()).await;
    assert_eq!((store.recovery().checkpoint, store.recovery().replayed_records), (None, 1));
    assert_eq!(store.revision(), 2);
    close(store, driver).await;
}

/// At every step of a checkpoint, whatever happens there, nothing is lost and the next one works.
#[tokio::test]
async fn no_fault_at_any_step_of_a_checkpoint_loses_anything() {
    let each = [
        CheckpointFault::Fail(ErrorKind::Exhausted),
        CheckpointFault::Lost,
        CheckpointFault::Torn,
        CheckpointFault::UnknownDone,
    ];
    for fault in each {
        for step in 0.. {
            let place = Place::default();
            let faulty = FaultCheckpoints::new(place.checkpoints.clone());
            let components = Components::new(Arc::new(place.journal.clone()));
            let components = components.checkpoints(Arc::new(faulty.clone()));
            let (store, driver) = Store::open_with(components, small_frames()).await.unwrap();
            let driver = tokio::spawn(driver);
            for round in 0..2 {
                put(&store, "a", &round.to_string()).await;
                store.checkpoint().await.unwrap();
            }
            write_history(&store).await;
            faulty.script((0..step).map(|_| CheckpointFault::Pass).chain([fault]));
            let made = store.checkpoint().await;
            let came = faulty.remaining() == 0;
            assert_eq!(store.checkpoint_failure().is_some(), made.is_err());
            put(&store, "after", "1").await;
            let expected = everything(&store);
            driver.abort(); // as a crash would
            store.closed().await;
            drop(store);

            let (store, driver) = place.open(small_frames()).await;
            assert_eq!(everything(&store), expected, "{fault:?} at step {step}");
            let next = store.checkpoint().await.unwrap();
            assert_eq!(place.ids().await[0], next.id);
            close(store, driver).await;
            place.journal.trim(next.id).await.unwrap();
            let (store, driver) = place.open(small_frames()).await;
            assert_eq!(everything(&store), expected);
            close(store, driver).await;
            if !came {
                assert!(step > 7, "only {step} steps");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_driver_that_dies_in_a_checkpoint_leaves_the_ones_before() {
    let place = Place::default();
    let faulty = FaultCheckpoints::new(place.checkpoints.clone());
    let components = Components::new(Arc::new(place.journal.clone()));
    let components = components.checkpoints(Arc::new(faulty.clone()));
    let (store, driver) = Store::open_with(components, small_frames()).await.unwrap();
    let driver = tokio::spawn(driver);
    write_history(&store).await;
    let made = store.checkpoint().await.unwrap();
    put(&store, "after", "1").await;
    faulty.script([CheckpointFault::Pass, CheckpointFault::Pass, CheckpointFault::Hold]);
    let asked = tokio::spawn({
        let store = store.clone();
        async move { store.checkpoint().await }
    });
    while faulty.remaining() > 0 {
        tokio::task::yield_now().await;
    }
    // Writes go on while it is being made.
    put(&store, "meanwhile", "1").await;
    let expected = everything(&store);
    driver.abort();
    assert_eq!(asked.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    drop(store);
    let (store, driver) = place.open(small_frames()).await;
    assert_eq!(store.recovery().checkpoint, Some(made.id));
    assert_eq!(everything(&store), expected);
    close(store, driver).await;
}

#[tokio::test]
async fn a_checkpoint_beside_writes_holds_what_was_published_when_it_began() {
    let place = Place::default();
    let faulty = FaultCheckpoints::new(place.checkpoints.clone());
    let components = Components::new(Arc::new(place.journal.clone()));
    let components = components.checkpoints(Arc::new(faulty.clone()));
    let (store, driver) = Store::open_with(components, small_frames()).await.unwrap();
    let driver = tokio::spawn(driver);
    write_history(&store).await;
    let (began, revision) = (store.stats().records + 1, store.revision());
    faulty.script([CheckpointFault::Pass, CheckpointFault::Pass, CheckpointFault::Hold]);
    let asked = tokio::spawn({
        let store = store.clone();
        async move { store.checkpoint().await }
    });
    while faulty.remaining() > 0 {
        tokio::task::yield_now().await;
    }
    for number in 0..40 {
        put(&store, &format!("k{}", number % 5), "new").await;
    }
    store.compact(store.revision() - 3).await.unwrap();
    faulty.release();
    let made = asked.await.unwrap().unwrap();
    assert_eq!((made.id, made.revision), (began, revision));
    let expected = everything(&store);
    close(store, driver).await;
    let (store, driver) = place.open(small_frames()).await;
    assert_eq!(store.recovery().checkpoint, Some(began));
    assert_eq!(store.recovery().replayed_records, 41);
    assert_eq!(everything(&store), expected);
    close(store, driver).await;
}

#[tokio::test]
async fn checkpoints_are_made_as_the_journal_grows() {
    let place = Place::default();
    let mut config = small_frames();
    config.checkpoint_records = 10;
    config.checkpoint_bytes = 0;
    let (store, driver) = place.open(config.clone()).await;
    for _ in 0..9 {
        put(&store, "a", "1").await;
    }
    assert_eq!(place.ids().await, [0; 0]);
    put(&store, "a", "1").await;
    while store.stats().checkpoints == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.ids().await, [11]);
    close(store, driver).await;

    // By bytes; what was replayed at open counts.
    config.checkpoint_records = 0;
    config.checkpoint_bytes = 3000;
    let (store, driver) = place.open(config.clone()).await;
    put(&store, "a", &"v".repeat(2000)).await;
    tokio::task::yield_now().await;
    assert_eq!(store.stats().checkpoints, 0);
    close(store, driver).await;
    let (store, driver) = place.open(config.clone()).await;
    put(&store, "a", &"v".repeat(1000)).await;
    while store.stats().checkpoints == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.ids().await, [13, 11]);
    close(store, driver).await;

    // Not before the journal has grown by a part of the state.
    config.checkpoint_records = 1;
    config.checkpoint_bytes = 0;
    let (store, driver) = place.open(config).await;
    for _ in 0..2 {
        put(&store, "a", "1").await;
        tokio::task::yield_now().await;
    }
    assert_eq!(store.stats().versions, 14);
    assert_eq!(store.stats().checkpoints, 0);
    close(store, driver).await;
}

#[tokio::test]
async fn a_store_without_a_place_makes_no_checkpoint() {
    let (store, _driver) = harness::open_memory().await;
    assert_eq!(store.checkpoint().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.stats().failed_checkpoints, 0);
}

#[tokio::test]
async fn a_checkpoint_of_what_is_being_compacted_holds_only_what_can_be_read() {
    let place = Place::default();
    let (store, driver) = place.open(small_frames()).await;
    for number in 0..2000 {
        put(&store, &format!("k{}", number % 3), "v").await;
    }
    store.delete_range(KeyRange::key("k0")).await.unwrap();
    // The sweep takes several turns of the driver: the checkpoint begins before it ends.
    store.compact(1990).await.unwrap();
    store.checkpoint().await.unwrap();
    let expected = (everything(&store), events(&store));
    close(store, driver).await;
    place.journal.trim(u64::MAX).await.unwrap();
    let (store, driver) = place.open(small_frames()).await;
    assert_eq!((everything(&store), events(&store)), expected);
    assert_eq!(store.stats().versions, harness::reachable_versions(&store));
    close(store, driver).await;
}
