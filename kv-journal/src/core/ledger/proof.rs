//! Roots and proofs, as RFC 9162 defines them in sections 2.1.1, 2.1.3.1 and 2.1.4.1.

use super::hash::{Hash, empty_root, node_hash};
use super::tree::Ledger;

/// `None` everywhere means that hashes that the answer needs are forgotten, or never were.
impl Ledger {
    /// `MTH(D[0:size])`.
    pub(crate) fn root(&self, size: u64) -> Option<Hash> {
        match size {
            0 => Some(empty_root()),
            _ if size > self.size() => None,
            _ => self.range(0, size),
        }
    }

    /// `PATH(leaf, D[0:size])`: what leads from a leaf to the root, from the leaf up.
    pub(crate) fn inclusion(&self, leaf: u64, size: u64) -> Option<Vec<Hash>> {
        if leaf >= size || size > self.size() {
            return None;
        }
        let (mut start, mut len) = (0, size);
        let mut path = Vec::new();
        while len > 1 {
            let left = split(len);
            if leaf - start < left {
                path.push(self.range(start + left, len - left)?);
                len = left;
            } else {
                path.push(self.range(start, left)?);
                (start, len) = (start + left, len - left);
            }
        }
        path.reverse();
        Some(path)
    }

    /// `PROOF(old, D[0:size])`: what shows that the tree of `old` leaves is the beginning of the
    /// tree of `size`. Empty if they are the same or the old one is empty.
    pub(crate) fn consistency(&self, old: u64, size: u64) -> Option<Vec<Hash>> {
        if old > size || size > self.size() {
            return None;
        }
        let (mut start, mut len) = (0, size);
        let mut path = Vec::new();
        if old == 0 {
            return Some(path);
        }
        while start + len > old {
            let left = split(len);
            if old - start <= left {
                path.push(self.range(start + left, len - left)?);
                len = left;
            } else {
                path.push(self.range(start, left)?);
                (start, len) = (start + left, len - left);
            }
        }
        // The whole old tree needs no hash: the verifier has it.
        if start > 0 {
            path.push(self.range(start, len)?);
        }
        path.reverse();
        Some(path)
    }

    /// `MTH(D[start:start + len])` of a range that is a node of the tree of some size.
    fn range(&self, start: u64, len: u64) -> Option<Hash> {
        if len.is_power_of_two() {
            let height = len.trailing_zeros();
            return self.subtree(height, start >> height);
        }
        let left = split(len);
        Some(node_hash(&self.range(start, left)?, &self.range(start + left, len - left)?))
    }
}

/// The largest power of two below `len`, which is at least 2.
fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}
