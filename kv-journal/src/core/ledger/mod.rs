//! A Merkle tree over the journal's records, in the manner of RFC 9162 (RFC 6962 has the same
//! tree): what a [`Digest`](crate::verify::Digest) commits to and what proofs are made from.
//!
//! A leaf is `SHA-256(0x00 || record)`, a node `SHA-256(0x01 || left || right)` (section 2.1.1).
//! Leaf `m` is the record with the sequence number `m + 1`.
//!
//! Hashes are kept in blocks of 64: the leaf hashes of 64 records, the roots of 64 such blocks, and
//! so on up. Complete blocks never change and are shared by all clones, so a clone is a snapshot
//! that costs one reference count for each level, and whoever makes a proof blocks nobody. Forgetting
//! a prefix drops whole blocks, whose roots stay in the blocks above: that is the frontier from which
//! roots and proofs of later leaves are made.

mod hash;
mod proof;
mod state;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use hash::leaf_hash;
pub(crate) use tree::Ledger;

use super::record::Record;

impl Ledger {
    /// Adds the next record.
    pub(crate) fn record(&mut self, payload: &[u8]) {
        self.append(leaf_hash(payload), Record::revision_of(payload));
    }
}
