//! The ledger's side of the store: publishing the tree, digests, and proofs.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::Store;
use super::sequencer::yield_once;
use super::shared::Shared;
use crate::core::{Ledger, leaf_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, ReadLimits};
use crate::verify::{ConsistencyProof, Digest, KeyProof};

/// Bytes hashed between two looks at what else there is to do: some 50 microseconds.
const HASH_STEP: usize = 64 << 10;

/// The tree over what is durable, and where the records themselves are.
pub(super) struct PublishedLedger {
    tree: ArcSwap<Ledger>,
    /// Not held, so that a journal is let go of when the driver ends, whoever has a handle.
    journal: Weak<dyn Journal>,
}

impl PublishedLedger {
    pub(super) fn new(tree: Ledger, journal: &Arc<dyn Journal>) -> Self {
        Self { tree: ArcSwap::from_pointee(tree), journal: Arc::downgrade(journal) }
    }
}

impl Shared {
    /// To be called before the state is published, so that what can be read can be proven.
    pub(super) fn publish_ledger(&self, tree: Option<Arc<Ledger>>) {
        if let (Some(ledger), Some(tree)) = (&self.ledger, tree) {
            ledger.tree.store(tree);
        }
    }

    /// The tree over so many records, which are those of the published state; `None` without a
    /// ledger.
    pub(super) fn ledger_at(&self, size: u64) -> Result<Option<Arc<Ledger>>> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let tree = ledger.tree.load_full();
        if tree.size() == size {
            return Ok(Some(tree));
        }
        // Both are published one after the other by the driver, which asks for this.
        let message = "the ledger is ahead of the state: ask for a checkpoint again";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    fn ledger(&self) -> Result<&PublishedLedger> {
        self.check_open()?;
        self.ledger.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "the ledger is off: open with `ledger` set to true")
        })
    }
}

/// The published tree and the records of the batch that comes next. Lets other work go on between
/// large ones.
pub(super) async fn extended(shared: &Shared, records: &[Bytes]) -> Option<Arc<Ledger>> {
    let mut tree = Ledger::clone(&shared.ledger.as_ref()?.tree.load());
    let mut hashed = 0;
    for record in records {
        tree.record(record);
        hashed += record.len();
        if hashed >= HASH_STEP {
            hashed = 0;
            yield_once().await;
        }
    }
    Some(Arc::new(tree))
}

/// Digests and proofs, with [`Config::ledger`](crate::Config::ledger).
impl Store {
    /// What commits to every record that is published: keep it, and later states of the store can
    /// be checked against it with [`verify`](crate::verify).
    ///
    /// It takes at most 63 hashes for each factor of 64 in the number of records.
    ///
    /// # Errors
    /// `Invalid` if the ledger is off; `Closed`.
    pub fn digest(&self) -> Result<Digest> {
        let ledger = self.inner.shared.ledger()?;
        // The tree may be a batch ahead of this, never behind.
        let at = *self.inner.moved.borrow();
        let tree = ledger.tree.load();
        let tree_size = at.next_seq - 1;
        let root = tree.root(tree_size).ok_or_else(|| forgotten(&tree))?;
        Ok(Digest { tree_size, root, revision: at.revision })
    }

    /// Proves the last put or delete of `key` at or below `revision` (0 for the digest's) against a
    /// `digest` that this store has given: the record is read from the journal.
    ///
    /// # Errors
    /// `Compacted` if `revision` cannot be read any more, and `Invalid` if nothing that is retained
    /// wrote the key, or the end of a lease deleted it; `FutureRevision` if the digest is newer than
    /// what is published, or `revision` newer than the digest; `Trimmed` if the record or the hashes
    /// around it are gone; `Corrupt` if the digest is not of this journal, or the record in the
    /// journal is not what was written; `Invalid` if the ledger is off; `Closed`; and what the
    /// journal fails with.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn prove_key(&self, key: &[u8], revision: u64, digest: &Digest) -> Result<KeyProof> {
        let ledger = self.inner.shared.ledger()?;
        let tree = ledger.tree.load_full();
        check_digest(&tree, digest)?;
        let revision = if revision == 0 { digest.revision } else { revision };
        if revision > digest.revision {
            return Err(future(revision, digest.revision));
        }
        let changed = self.inner.shared.with_state(|state| {
            state.check_readable(revision)?;
            state.last_change(key, revision).ok_or_else(|| never_written(revision))
        })?;
        let leaf = tree.leaf_of(changed).ok_or_else(|| forgotten(&tree))?;
        let path = tree.inclusion(leaf, digest.tree_size).ok_or_else(|| forgotten(&tree))?;
        let record = self.fetch(&tree, leaf).await?;
        Ok(KeyProof { seq: leaf + 1, tree_size: digest.tree_size, path, record })
    }

    /// Proves that the journal of `new` begins with that of `old`, both digests of this store.
    ///
    /// # Errors
    /// `FutureRevision` if a digest is newer than what is published; `Invalid` if `old` is the newer
    /// one, or the ledger is off; `Trimmed` if the hashes around the old one's end are gone;
    /// `Corrupt` if one is not of this journal; `Closed`.
    pub fn prove_consistency(&self, old: &Digest, new: &Digest) -> Result<ConsistencyProof> {
        let tree = self.inner.shared.ledger()?.tree.load_full();
        check_digest(&tree, new)?;
        if old.tree_size > new.tree_size {
            return Err(Error::new(ErrorKind::Invalid, "the digests are in the wrong order"));
        }
        check_digest(&tree, old)?;
        let (old_size, new_size) = (old.tree_size, new.tree_size);
        let path = tree.consistency(old_size, new_size).ok_or_else(|| forgotten(&tree))?;
        Ok(ConsistencyProof { old_size, new_size, path })
    }

    async fn fetch(&self, tree: &Ledger, leaf: u64) -> Result<Bytes> {
        let journal = self.inner.shared.ledger()?.journal.upgrade();
        let journal = journal.ok_or_else(|| self.inner.shared.closed_error())?;
        let seq = leaf + 1;
        let read = journal.read(seq, ReadLimits { records: 1, bytes: 1 }).await;
        let entries = read.map_err(|error| match error.kind() {
            kind @ ErrorKind::Trimmed { .. } => error.behind(kind, record_is_gone(seq)),
            _ => error,
        })?;
        let entry = entries.into_iter().next().filter(|entry| entry.seq == seq);
        let record = entry.map(|entry| entry.payload);
        match record {
            Some(record) if tree.leaf(leaf) == Some(leaf_hash(&record)) => Ok(record),
            _ => Err(Error::new(
                ErrorKind::Corrupt,
                format!("record {seq} of the journal is not what was written: audit the journal"),
            )),
        }
    }
}

/// Whether this store's journal has, or had, the records that the digest commits to.
fn check_digest(tree: &Ledger, digest: &Digest) -> Result<()> {
    if digest.tree_size > tree.size() {
        return Err(Error::new(
            ErrorKind::FutureRevision { current_revision: tree.revision() },
            format!(
                "the digest is of {} records, and {} are published: wait, or take a new one",
                digest.tree_size,
                tree.size()
            ),
        ));
    }
    let root = tree.root(digest.tree_size).ok_or_else(|| forgotten(tree))?;
    let revision = tree.revision_at(digest.tree_size).ok_or_else(|| forgotten(tree))?;
    if (root, revision) == (digest.root, digest.revision) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        "the digest is not of this journal: one of them was tampered with, or is another store's",
    ))
}

fn forgotten(tree: &Ledger) -> Error {
    let first_seq = tree.first() + 1;
    Error::new(
        ErrorKind::Trimmed { first_seq },
        format!(
            "the ledger keeps hashes from record {first_seq} on: raise `ledger_records`, and take \
             digests and proofs sooner"
        ),
    )
}

fn record_is_gone(seq: u64) -> String {
    format!("record {seq} was trimmed from the journal: write the key again, or ask an archive")
}

fn never_written(revision: u64) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("no retained record up to revision {revision} wrote the key: that has no proof"),
    )
}

fn future(revision: u64, current_revision: u64) -> Error {
    Error::new(
        ErrorKind::FutureRevision { current_revision },
        format!("revision {revision} is not in the digest: take one that is at it or newer"),
    )
}
