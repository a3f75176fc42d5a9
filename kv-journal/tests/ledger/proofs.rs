//! What a store says about itself holds, and what it cannot say it refuses.

use bytes::Bytes;
use kv_journal::verify::{Digest, KeyProof, audit, verify_consistency, verify_key};
use kv_journal::{
    Config, ErrorKind, Fault, FaultJournal, FileConfig, FileJournal, Journal, KeyRange,
    MemoryJournal, Op, PutRequest, RangeRequest, Store, Txn,
};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use crate::harness::put;
use crate::{close, config, open, open_with};

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u16),
    DeleteBelow(u8),
    Txn(u8, u8),
    Compact(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..6_u8, any::<u16>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => (0..6_u8).prop_map(Step::DeleteBelow),
        2 => (0..6_u8, 0..6_u8).prop_map(|(put, deleted)| Step::Txn(put, deleted)),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn key(number: u8) -> Bytes {
    vec![b'k', number].into()
}

async fn carry_out(store: &Store, step: &Step) {
    match *step {
        Step::Put(to, value) => {
            let request = PutRequest::new(key(to), value.to_le_bytes().to_vec());
            store.put(request).await.unwrap();
        }
        Step::DeleteBelow(end) => {
            store.delete_range(KeyRange::range(key(0), key(end))).await.unwrap();
        }
        Step::Txn(to, deleted) => {
            let txn = Txn::new().then(Op::delete(KeyRange::key(key(deleted))));
            let txn = if to == deleted { txn } else { txn.then(Op::put(key(to), "txn")) };
            store.txn(txn).await.unwrap();
        }
        Step::Compact(part) => {
            let revision = store.revision() * u64::from(part) / 255;
            let _too_low = store.compact(revision).await;
        }
        Step::Reopen => {}
    }
}

/// Every key at every readable revision, against what a range says.
async fn check_keys(store: &Store, digest: &Digest) {
    for revision in store.compact_revision().max(1)..=store.revision() {
        for key in (0..6).map(key) {
            let range = RangeRequest::new(KeyRange::key(key.clone())).at(revision);
            let found = store.range(range).unwrap().kvs.pop();
            match (store.prove_key(&key, revision, digest).await, found) {
                (Ok(proof), found) => {
                    let proven = verify_key(&proof, digest, &key).unwrap();
                    assert_eq!(proven.value, found.as_ref().map(kv_journal::KeyValue::value_bytes));
                    assert!(found.is_none_or(|kv| kv.mod_revision() == proven.revision));
                    assert!(proven.revision <= revision);
                }
                (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Invalid),
                (Err(error), Some(kv)) => panic!("{kv:?} at {revision}: {error}"),
            }
        }
    }
}

async fn check_history(steps: Vec<Step>) {
    let journal = MemoryJournal::new();
    let (mut store, mut driver) = open(journal.clone()).await;
    let mut digests = vec![store.digest().unwrap()];
    for step in steps {
        if matches!(step, Step::Reopen) {
            close(store, driver).await;
            (store, driver) = open(journal.clone()).await;
            assert_eq!(store.digest().unwrap(), digests[digests.len() - 1]);
        }
        carry_out(&store, &step).await;
        digests.push(store.digest().unwrap());
    }
    let newest = digests[digests.len() - 1];
    check_keys(&store, &newest).await;
    for (at, new) in digests.iter().enumerate() {
        assert_eq!(audit(&journal, new).await.unwrap().records, new.tree_size);
        for old in &digests[..=at] {
            let proof = store.prove_consistency(old, new).unwrap();
            verify_consistency(old, new, &proof).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_readable_version_and_every_pair_of_digests_is_proven(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_history(steps));
    }
}

/// More records than blocks of one level have.
#[tokio::test]
async fn proofs_hold_in_a_larger_journal_for_older_digests_too() {
    let (store, driver) = open(MemoryJournal::new()).await;
    let mut digests = vec![];
    for number in 0..700 {
        put(&store, &format!("k{}", number % 50), &number.to_string()).await;
        if number % 97 == 0 {
            digests.push(store.digest().unwrap());
        }
    }
    for digest in &digests {
        for revision in [2, digest.revision / 2 + 1, digest.revision] {
            let key = format!("k{}", (revision - 2) % 50);
            let proof = store.prove_key(key.as_bytes(), revision, digest).await.unwrap();
            let sent = KeyProof::decode(&proof.encode().unwrap()).unwrap();
            let proven = verify_key(&sent, digest, key.as_bytes()).unwrap();
            assert_eq!(proven.value.unwrap(), (revision - 2).to_string());
        }
        let newest = store.prove_key(b"k0", 0, digest).await.unwrap();
        let proven = verify_key(&newest, digest, b"k0").unwrap();
        assert!(proven.revision <= digest.revision && proven.revision + 50 > digest.revision);
    }
    close(store, driver).await;
}

/// Readers take digests and proofs while batches are published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digests_and_proofs_beside_writers_hold() {
    let journal = MemoryJournal::new();
    let (store, driver) = open(journal.clone()).await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    put(&store, &format!("w{writer}"), &number.to_string()).await;
                }
            })
        })
        .collect();
    let mut old = store.digest().unwrap();
    let mut seen = 0;
    while !writers.iter().all(JoinHandle::is_finished) || seen == 0 {
        let readable = store.revision();
        let new = store.digest().unwrap();
        verify_consistency(&old, &new, &store.prove_consistency(&old, &new).unwrap()).unwrap();
        if let Ok(proof) = store.prove_key(b"w3", 0, &new).await {
            let proven = verify_key(&proof, &new, b"w3").unwrap();
            assert!(proven.revision <= new.revision);
            seen += 1;
        }
        assert!(new.revision + 100 * 8 > readable);
        old = new;
        tokio::task::yield_now().await;
    }
    let last = store.digest().unwrap();
    assert_eq!((last.tree_size, last.revision), (800, 801));
    audit(&journal, &last).await.unwrap();
    close(store, driver).await;
}

/// The tree is over what is in the journal, whatever became of a batch on its way.
#[tokio::test(start_paused = true)]
async fn a_failed_lost_or_torn_batch_is_in_the_ledger_as_it_is_in_the_journal() {
    let journal = FaultJournal::new(MemoryJournal::new());
    let (store, driver) = open(journal.clone()).await;
    put(&store, "before", "1").await;
    let before = store.digest().unwrap();
    journal.script([Fault::Fail(ErrorKind::Exhausted)]);
    assert!(store.put(PutRequest::new("failed", "1")).await.is_err());
    assert_eq!(store.digest().unwrap(), before);
    for fault in [Fault::UnknownStored, Fault::UnknownLost, Fault::Torn(0)] {
        journal.script([fault]);
        put(&store, "kept", "1").await;
        assert_eq!(journal.remaining(), 0);
    }
    journal.script([Fault::Fail(ErrorKind::Unavailable)]);
    assert!(store.put(PutRequest::new("failed", "1")).await.is_err());
    put(&store, "after", "1").await;
    let digest = store.digest().unwrap();
    assert_eq!((digest.tree_size, digest.revision), (5, 6));
    audit(&journal, &digest).await.unwrap();
    verify_consistency(&before, &digest, &store.prove_consistency(&before, &digest).unwrap())
        .unwrap();
    close(store, driver).await;
}

#[tokio::test]
async fn what_cannot_be_proven_is_refused_with_what_to_do() {
    let (off, _driver) = open_with(MemoryJournal::new(), Config::default()).await;
    assert_eq!(off.digest().unwrap_err().kind(), ErrorKind::Invalid);

    let (store, driver) = open(MemoryJournal::new()).await;
    for number in 0..5 {
        put(&store, "k", &number.to_string()).await;
    }
    let old = store.digest().unwrap();
    put(&store, "k", "5").await;
    let new = store.digest().unwrap();
    let kind = async |key: &'static str, revision, digest| {
        store.prove_key(key.as_bytes(), revision, digest).await.unwrap_err().kind()
    };
    // A key that was never written has no record, and a digest commits to no later revision.
    assert_eq!(kind("other", 6, &new).await, ErrorKind::Invalid);
    let later = ErrorKind::FutureRevision { current_revision: 6 };
    assert_eq!(kind("k", 7, &old).await, later);
    // A digest of more records than there are, and ones of other records.
    let newer = Digest { tree_size: 7, ..new };
    let wait = ErrorKind::FutureRevision { current_revision: 7 };
    assert_eq!(kind("k", 6, &newer).await, wait);
    assert_eq!(store.prove_consistency(&old, &newer).unwrap_err().kind(), wait);
    let foreign = [Digest { root: [0; 32], ..new }, Digest { revision: 6, ..new }];
    for foreign in &foreign {
        assert_eq!(kind("k", 6, foreign).await, ErrorKind::Corrupt);
        assert_eq!(store.prove_consistency(&old, foreign).unwrap_err().kind(), ErrorKind::Corrupt);
        let proof = store.prove_consistency(foreign, &new);
        assert_eq!(proof.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert_eq!(store.prove_consistency(&new, &old).unwrap_err().kind(), ErrorKind::Invalid);
    store.compact(5).await.unwrap();
    let compacted = ErrorKind::Compacted { compact_revision: 5 };
    assert_eq!(kind("k", 4, &new).await, compacted);
    driver.abort();
    let _ended = driver.await;
    assert_eq!(store.digest().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(kind("k", 6, &new).await, ErrorKind::Closed);
}

#[tokio::test]
async fn a_trimmed_record_has_no_proof_and_digests_go_on() {
    let journal = MemoryJournal::new();
    let (store, driver) = open(journal.clone()).await;
    put(&store, "old", "1").await;
    let old = store.digest().unwrap();
    for _ in 0..5 {
        put(&store, "new", "1").await;
    }
    journal.trim(4).await.unwrap();
    let new = store.digest().unwrap();
    let error = store.prove_key(b"old", 0, &new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Trimmed { first_seq: 4 });
    assert!(error.to_string().contains("record 1 was trimmed"), "{error}");
    let proof = store.prove_key(b"new", 0, &new).await.unwrap();
    verify_key(&proof, &new, b"new").unwrap();
    verify_consistency(&old, &new, &store.prove_consistency(&old, &new).unwrap()).unwrap();
    let audited = audit(&journal, &new).await.unwrap_err();
    assert_eq!(audited.kind(), ErrorKind::Trimmed { first_seq: 4 });
    close(store, driver).await;
}

#[tokio::test]
async fn the_ledger_keeps_as_many_hashes_as_it_is_told_to() {
    let journal = MemoryJournal::new();
    let mut config = config();
    config.ledger_records = 1024;
    let (store, driver) = open_with(journal.clone(), config).await;
    put(&store, "old", "1").await;
    let old = store.digest().unwrap();
    for number in 0..1200 {
        put(&store, &format!("k{}", number % 10), "1").await;
    }
    let new = store.digest().unwrap();
    let forgotten = ErrorKind::Trimmed { first_seq: 129 };
    let error = store.prove_key(b"old", 0, &new).await.unwrap_err();
    assert_eq!(error.kind(), forgotten);
    assert!(error.to_string().contains("raise `ledger_records`"), "{error}");
    assert_eq!(store.prove_consistency(&old, &new).unwrap_err().kind(), forgotten);
    let proof = store.prove_key(b"k3", 200, &new).await.unwrap();
    verify_key(&proof, &new, b"k3").unwrap();
    audit(&journal, &new).await.unwrap();
    close(store, driver).await;
}

#[tokio::test]
async fn a_handle_with_a_ledger_does_not_hold_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let open_file =
        async || FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
    let (store, driver) = open(open_file().await).await;
    put(&store, "k", "1").await;
    let digest = store.digest().unwrap();
    driver.abort();
    let _ended = driver.await;
    let (again, _driver) = open(open_file().await).await;
    assert_eq!(again.digest().unwrap(), digest);
    assert_eq!(store.prove_key(b"k", 0, &digest).await.unwrap_err().kind(), ErrorKind::Closed);
}
