//! Whoever changes a journal, with every checksum made right again, is found out.

use std::fs;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use kv_journal::verify::{Digest, audit, verify_key};
use kv_journal::{
    Config, Entry, ErrorKind, FileConfig, FileJournal, Journal, KeyRange, MemoryJournal, Op,
    PutRequest, ReadLimits, Result, Store, Tail, Txn,
};

use crate::harness::put;
use crate::{close, open};

/// Some of everything that a journal can hold.
async fn write(store: &Store) {
    put(store, "a", "one").await;
    put(store, "b", "two").await;
    store.put(PutRequest::new("c", "three")).await.unwrap();
    store
        .txn(Txn::new().then(Op::put("d", "4")).then(Op::delete(KeyRange::key("a"))))
        .await
        .unwrap();
    store.compact(3).await.unwrap();
    store.delete_range(KeyRange::range("b", "c")).await.unwrap();
    put(store, "e", "").await;
}

async fn payloads(journal: &dyn Journal) -> Vec<Bytes> {
    let entries = journal.read(1, ReadLimits::default()).await.unwrap();
    entries.into_iter().map(|entry| entry.payload).collect()
}

/// A journal of these records, in which every checksum is right.
async fn forge(journal: impl Journal, records: &[Bytes]) -> impl Journal {
    let tail = journal.fence(1).await.unwrap();
    journal.append(1, tail.next_seq, records).await.unwrap();
    journal
}

async fn audit_forged(records: &[Bytes], digest: &Digest) -> Result<u64> {
    let journal = forge(MemoryJournal::new(), records).await;
    audit(&journal, digest).await.map(|report| report.records)
}

/// What happens to a store that is opened on them: its digest, if it opens at all.
async fn reopened(records: &[Bytes]) -> Option<Digest> {
    let journal = forge(MemoryJournal::new(), records).await;
    let mut config = Config::default();
    config.ledger = true;
    let (store, _driver) = Store::open(std::sync::Arc::new(journal), config).await.ok()?;
    Some(store.digest().unwrap())
}

async fn original() -> (Vec<Bytes>, Digest) {
    let journal = MemoryJournal::new();
    let (store, driver) = open(journal.clone()).await;
    write(&store).await;
    let digest = store.digest().unwrap();
    close(store, driver).await;
    (payloads(&journal).await, digest)
}

#[tokio::test]
async fn every_flipped_byte_of_every_record_is_found_though_its_checksum_is_right() {
    let (records, digest) = original().await;
    assert_eq!(audit_forged(&records, &digest).await.unwrap(), 7); // the control
    assert_eq!(reopened(&records).await, Some(digest));
    for at in 0..records.len() {
        for byte in 0..records[at].len() {
            let mut flipped = records[at].to_vec();
            flipped[byte] ^= 1 << (byte % 8);
            let mut forged = records.clone();
            forged[at] = flipped.into();
            let error = audit_forged(&forged, &digest).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {byte} of record {at}");
            assert_ne!(reopened(&forged).await, Some(digest), "byte {byte} of record {at}");
        }
    }
}

#[tokio::test]
async fn a_dropped_repeated_inserted_or_moved_record_is_found() {
    let (records, digest) = original().await;
    let mut forgeries = vec![];
    for at in 0..records.len() {
        let mut dropped = records.clone();
        dropped.remove(at);
        let mut padded = dropped.clone();
        padded.push(records[at].clone());
        let mut repeated = records.clone();
        repeated.insert(at, records[at].clone());
        let mut cut = records.clone();
        cut[at] = cut[at].slice(..cut[at].len() - 1);
        forgeries.extend([dropped, cut]);
        // The last one, repeated, is an honest append; dropped and put at the end, it is itself.
        if at + 1 < records.len() {
            forgeries.extend([repeated, padded]);
            let mut swapped = records.clone();
            swapped.swap(at, at + 1);
            forgeries.push(swapped);
        }
    }
    // Two records in one and one in two, so that all bytes are there in their order.
    let mut joined = records.clone();
    joined[0] = [&records[0][..], &records[1][..]].concat().into();
    joined.remove(1);
    forgeries.push(joined);
    let mut split = records.clone();
    split[0] = records[0].slice(..20);
    split.insert(1, records[0].slice(20..));
    forgeries.push(split);
    for (number, forged) in forgeries.iter().enumerate() {
        let error = audit_forged(forged, &digest).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "forgery {number}");
        assert_ne!(reopened(forged).await, Some(digest), "forgery {number}");
    }
    // What was appended since is another matter.
    let more = [&records[..], &records[..1]].concat();
    assert_eq!(audit_forged(&more, &digest).await.unwrap(), 7);
}

/// The files themselves, without the checksums being made right: either the journal refuses, or it
/// gives the same records, or the audit finds out.
#[tokio::test]
async fn every_flipped_byte_of_a_file_is_refused_harmless_or_found() {
    let mut config = FileConfig::default();
    config.segment_bytes = 4 << 10;
    let directory = tempfile::tempdir().unwrap();
    let journal = FileJournal::open(directory.path(), config.clone()).await.unwrap();
    let (store, driver) = open(journal).await;
    write(&store).await;
    let digest = store.digest().unwrap();
    close(store, driver).await;
    let journal = FileJournal::open(directory.path(), config.clone()).await.unwrap();
    let records = payloads(&journal).await;
    drop(journal);
    let (mut files, mut found, mut flips) = (0, 0, 0);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let (path, bytes) =
            (entry.as_ref().unwrap().path(), fs::read(entry.unwrap().path()).unwrap());
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        files += 1;
        for at in 0..used {
            flips += 1;
            let copy = copy_with_a_flip(directory.path(), &path, &bytes, at);
            let Ok(journal) = FileJournal::open(copy.path(), config.clone()).await else {
                continue;
            };
            let entries = journal.read(1, ReadLimits::default()).await.unwrap_or_default();
            let same = entries.iter().map(|entry| &entry.payload).eq(&records);
            let audited = audit(&journal, &digest).await;
            assert_eq!(audited.is_ok(), same, "byte {at} of {}", path.display());
            found += u32::from(!same);
        }
    }
    assert!(files >= 2 && flips > 200 && found > 10, "{files} files, {flips} flips, {found} found");
}

fn copy_with_a_flip(from: &Path, file: &Path, bytes: &[u8], at: usize) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 1 << (at % 8);
    fs::write(copy.path().join(file.file_name().unwrap()), flipped).unwrap();
    copy
}

/// A directory that an attacker wrote anew, with records of their own and every checksum right.
#[tokio::test]
async fn a_rewritten_directory_opens_and_is_found_out() {
    let (records, digest) = original().await;
    let directory = tempfile::tempdir().unwrap();
    let forged: Vec<_> = records
        .iter()
        .map(|record| match record.windows(3).position(|bytes| bytes == b"two") {
            Some(at) => [&record[..at], b"ten", &record[at + 3..]].concat().into(),
            None => record.clone(),
        })
        .collect();
    let journal = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
    drop(forge(journal, &forged).await);
    let journal = FileJournal::open(directory.path(), FileConfig::default()).await.unwrap();
    assert_eq!(audit(&journal, &digest).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let (store, driver) = open(journal).await;
    let now = store.digest().unwrap();
    assert_eq!((now.tree_size, now.revision), (digest.tree_size, digest.revision));
    assert_ne!(now.root, digest.root);
    assert_eq!(store.prove_consistency(&digest, &now).unwrap_err().kind(), ErrorKind::Corrupt);
    let proof = store.prove_key(b"c", 0, &now).await.unwrap();
    assert!(verify_key(&proof, &now, b"c").is_ok());
    assert!(verify_key(&proof, &digest, b"c").is_err());
    close(store, driver).await;
}

/// Gives one record with other bytes than were appended.
struct Lying {
    inner: MemoryJournal,
    seq: u64,
}

#[async_trait]
impl Journal for Lying {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.inner.fence(epoch).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        self.inner.append(epoch, expected_seq, batch).await
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        let mut entries = self.inner.read(from_seq, limits).await?;
        for entry in entries.iter_mut().filter(|entry| entry.seq == self.seq) {
            let mut bytes = entry.payload.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            entry.payload = bytes.into();
        }
        Ok(entries)
    }

    async fn tail(&self) -> Result<Tail> {
        self.inner.tail().await
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.inner.trim(before).await
    }
}

#[tokio::test]
async fn a_record_that_changed_under_a_running_store_is_not_handed_out() {
    let (store, driver) = open(Lying { inner: MemoryJournal::new(), seq: 2 }).await;
    put(&store, "a", "1").await;
    put(&store, "b", "1").await;
    let digest = store.digest().unwrap();
    assert!(store.prove_key(b"a", 0, &digest).await.is_ok());
    let error = store.prove_key(b"b", 0, &digest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    close(store, driver).await;
}
