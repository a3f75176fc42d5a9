//! The verifier's side of RFC 9162.

use ring::digest::{Context, SHA256};

pub(super) type Hash = [u8; 32];

const RECORD: u8 = 0;
const NODE: u8 = 1;

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// 2.1.1: a leaf.
pub(super) fn record_hash(record: &[u8]) -> Hash {
    sha256(&[&[RECORD], record])
}

fn join(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[NODE], left, right])
}

/// 2.1.1: the root over no leaves.
pub(super) fn empty_root() -> Hash {
    sha256(&[])
}

/// 2.1.3.2: the root that `path` leads to; `None` if it has another length than such a path has.
pub(super) fn root_by_inclusion(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let mut position = Position { node: index, last: size - 1 };
    let mut root = leaf;
    for hash in path {
        root = if position.step_up()? { join(hash, &root) } else { join(&root, hash) };
    }
    (position.last == 0).then_some(root)
}

/// 2.1.4.2: the roots of the older and the newer tree that `path` leads to, for `0 < old < new`.
pub(super) fn roots_by_consistency(
    old_root: Hash,
    old: u64,
    new: u64,
    path: &[Hash],
) -> Option<(Hash, Hash)> {
    if old == 0 || old >= new {
        return None;
    }
    // Where the older tree is complete, it is itself the node that the path begins with.
    let (start, rest) = match path.split_first() {
        _ if path.is_empty() => return None,
        Some((first, rest)) if !old.is_power_of_two() => (*first, rest),
        _ => (old_root, path),
    };
    let mut position = Position { node: old - 1, last: new - 1 };
    while position.node & 1 == 1 {
        position.halve();
    }
    let (mut old_side, mut new_side) = (start, start);
    for hash in rest {
        if position.step_up()? {
            old_side = join(hash, &old_side);
            new_side = join(hash, &new_side);
        } else {
            new_side = join(&new_side, hash);
        }
    }
    (position.last == 0).then_some((old_side, new_side))
}

/// `fn` and `sn` of the RFC: a node's number in its level, and that of the level's last.
struct Position {
    node: u64,
    last: u64,
}

impl Position {
    /// Goes to the parent and says whether this node was its right child; `None` at the root.
    fn step_up(&mut self) -> Option<bool> {
        if self.last == 0 {
            return None;
        }
        let right = self.node & 1 == 1 || self.node == self.last;
        if right {
            // A last node without a sibling is its own parent, so it has no hash in the path.
            while self.node & 1 == 0 && self.node != 0 {
                self.halve();
            }
        }
        self.halve();
        Some(right)
    }

    fn halve(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }
}

/// The root over leaves that come one at a time, in memory that grows with the logarithm of their
/// number: a stack of complete subtrees, joined as in binary addition.
#[derive(Default)]
pub(super) struct RunningRoot {
    stack: Vec<Hash>,
    leaves: u64,
}

impl RunningRoot {
    pub(super) fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.stack.pop() {
                node = join(&left, &node);
            }
        }
        self.stack.push(node);
        self.leaves += 1;
    }

    pub(super) fn leaves(&self) -> u64 {
        self.leaves
    }

    pub(super) fn root(&self) -> Hash {
        let parts = self.stack.iter().rev().copied();
        parts.reduce(|right, left| join(&left, &right)).unwrap_or_else(empty_root)
    }
}
