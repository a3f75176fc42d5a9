//! Checking what a store says, without trusting it.
//!
//! A [`Digest`] commits to every record of a journal up to some size. Who keeps one digest can
//! check three things later, with nothing but bytes that the store hands out:
//!
//! - [`verify_key`]: a transaction wrote this value under this key, at this revision;
//! - [`verify_consistency`]: the journal of a newer digest begins with that of an older one, so
//!   nothing was changed, dropped, inserted or put in another order in between;
//! - [`audit`]: the journal itself, read from its first record, is what the digest commits to.
//!
//! Everything here follows RFC 9162: hashes 2.1.1, inclusion 2.1.3.2, consistency 2.1.4.2. It
//! shares no code with the side that makes proofs: it has its own algorithms, its own reader of
//! records, and another implementation of SHA-256. All but `audit` are pure functions.
//!
//! # What a proof does not show
//!
//! That no later transaction wrote the key: a log can prove what happened, not what did not. Who
//! needs that audits the journal, or asks for the key at the revision of the digest and trusts the
//! store for the answer being the newest. A digest is as good as the way it came: keep it where the
//! store's operator cannot change it, or have it signed.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
//! use std::sync::Arc;
//! use kv_journal::{Config, MemoryJournal, PutRequest, Store};
//! use kv_journal::verify::{verify_consistency, verify_key};
//!
//! let mut config = Config::default();
//! config.ledger = true;
//! let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await?;
//! tokio::spawn(driver);
//!
//! store.put(PutRequest::new("account/7", "100")).await?;
//! let old = store.digest()?; // kept by the client
//! let put = store.put(PutRequest::new("account/7", "80")).await?;
//!
//! let new = store.digest()?;
//! verify_consistency(&old, &new, &store.prove_consistency(&old, &new)?)?;
//! let proof = store.prove_key(b"account/7", put.revision, &new).await?;
//! let proven = verify_key(&proof, &new, b"account/7")?;
//! assert_eq!((proven.revision, proven.value.as_deref()), (3, Some(&b"80"[..])));
//! # Ok(()) }
//! ```
#![deny(clippy::indexing_slicing)]

mod audit;
mod codec;
mod record;
#[cfg(test)]
mod tests;
mod tree;

use bytes::Bytes;

pub use audit::{AuditReport, audit};
#[doc(hidden)]
pub use codec::fuzz_proofs;

use crate::error::{Error, ErrorKind, Result};
use record::Change;
use tree::{Hash, record_hash, root_by_inclusion, roots_by_consistency};

/// What commits to a journal's first records: 50 bytes with [`encode`](Self::encode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    /// How many records.
    pub tree_size: u64,
    /// The Merkle tree hash over them (RFC 9162, 2.1.1).
    pub root: [u8; 32],
    /// The revision after the last of them. The root commits to it, since it is in the records,
    /// but only [`audit`] checks it.
    pub revision: u64,
}

/// That one record is in the journal, with the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProof {
    /// The record's sequence number, from 1.
    pub seq: u64,
    /// The size of the tree that the path leads to the root of.
    pub tree_size: u64,
    /// The inclusion path (RFC 9162, 2.1.3.1), from the leaf up.
    pub path: Vec<[u8; 32]>,
    /// The record as it is in the journal.
    pub record: Bytes,
}

/// That one tree is the beginning of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The size of the older tree.
    pub old_size: u64,
    /// The size of the newer one.
    pub new_size: u64,
    /// The nodes that RFC 9162, 2.1.4.1 names.
    pub path: Vec<[u8; 32]>,
}

/// What a proven record did to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedValue {
    /// The revision of the transaction.
    pub revision: u64,
    /// The value written; `None` if the key was deleted.
    pub value: Option<Bytes>,
    /// The lease that the key was attached to; 0 for none.
    pub lease: i64,
}

/// Checks that the record of `proof` is in the journal of `digest`, and reads what it did to `key`.
///
/// # Errors
/// `Corrupt` if the proof does not lead to the digest's root, or the record is no transaction that
/// wrote or deleted the key.
pub fn verify_key(proof: &KeyProof, digest: &Digest, key: &[u8]) -> Result<VerifiedValue> {
    if proof.tree_size != digest.tree_size {
        return Err(refused("the proof is for a tree of another size than the digest"));
    }
    let index = proof.seq.checked_sub(1).ok_or_else(|| refused("records are numbered from 1"))?;
    let root = root_by_inclusion(record_hash(&proof.record), index, proof.tree_size, &proof.path);
    if root != Some(digest.root) {
        return Err(refused("the record does not lead to the digest's root"));
    }
    let Some((revision, change)) = record::change_of(&proof.record, key)? else {
        return Err(refused("the record neither writes nor deletes the key"));
    };
    if revision > digest.revision {
        return Err(refused("the record's revision is above the digest's"));
    }
    Ok(match change {
        Change::Put { value, lease } => {
            VerifiedValue { revision, value: Some(proof.record.slice_ref(value)), lease }
        }
        Change::Delete => VerifiedValue { revision, value: None, lease: 0 },
    })
}

/// Checks that the journal of `new` begins with the journal of `old`.
///
/// # Errors
/// `Corrupt` if the proof does not show it.
pub fn verify_consistency(old: &Digest, new: &Digest, proof: &ConsistencyProof) -> Result<()> {
    if (proof.old_size, proof.new_size) != (old.tree_size, new.tree_size) {
        return Err(refused("the proof is for trees of other sizes than the digests"));
    }
    if old.revision > new.revision {
        return Err(refused("the older digest has the newer revision"));
    }
    let proven = match (old.tree_size, new.tree_size) {
        (0, _) => proof.path.is_empty() && old.root == tree::empty_root(),
        (same, new_size) if same == new_size => proof.path.is_empty() && old == new,
        (old_size, new_size) => {
            let roots = roots_by_consistency(old.root, old_size, new_size, &proof.path);
            roots == Some((old.root, new.root))
        }
    };
    if proven {
        Ok(())
    } else {
        Err(refused("the newer journal does not begin with the older one"))
    }
}

/// What fails a check is either not from this journal or was tampered with.
fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{why}: do not trust the store that it came from"))
}
