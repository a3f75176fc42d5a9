//! Nodes and the invariants that hold between them.
//!
//! 1. All leaves are at the same depth.
//! 2. A leaf holds at most [`LEAF_MAX`] entries and an inner node at most [`INNER_MAX`] children;
//!    but for the root, they hold at least [`LEAF_MIN`] and [`INNER_MIN`]. The root is a leaf of one
//!    entry or more, or an inner node of two children or more.
//! 3. Entries are in strictly ascending key order. An inner node of `n` children has `n - 1`
//!    separators: all keys below child `i` are less than separator `i`, which is at most all keys
//!    below child `i + 1`. A separator is a bound, not necessarily a key that is still present.
//! 4. A child's `len` and `sum` are those of the entries below it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::Summary;

/// Most entries of a leaf. A snapshot makes the next write to a leaf clone all its keys and values,
/// so leaves are small; smaller ones yet make more nodes to look at and slower scans.
#[cfg(not(test))]
pub(crate) const LEAF_MAX: usize = 32;
/// Most children of an inner node. A copy clones a pointer for each child and one for all
/// separators, which is cheaper for each child than a leaf is for each entry; and each level less
/// is two cache misses less for a look-up.
#[cfg(not(test))]
pub(crate) const INNER_MAX: usize = 64;
/// Unit tests use tiny nodes, so that few entries make a deep tree; the tests in `tests/` use the
/// real ones.
#[cfg(test)]
pub(crate) const LEAF_MAX: usize = 8;
#[cfg(test)]
pub(crate) const INNER_MAX: usize = 8;

/// Fewest entries of a leaf that is not the root. A quarter, not a half, lets an append leave three
/// quarters behind when it splits, and keeps a remove after an insert from merging at once.
pub(crate) const LEAF_MIN: usize = LEAF_MAX / 4;
/// Fewest children of an inner node that is not the root.
pub(crate) const INNER_MIN: usize = INNER_MAX / 4;

/// More levels than 2^64 entries need at the lowest occupancy (8 entries in a leaf, 16 children).
pub(crate) const MAX_HEIGHT: usize = 24;

/// Keys that a search passes at once: about the root of a node's size.
const STRIDE: usize = 6;

/// Vectors grow by this many slots, and not by doubling: nodes are many, and most are 70 % full.
const GROWTH: usize = 8;

/// A subtree, with what it adds up to.
pub(crate) struct Child<K, V, S> {
    pub(crate) node: Node<K, V, S>,
    pub(crate) len: usize,
    pub(crate) sum: S,
}

pub(crate) enum Node<K, V, S> {
    Leaf(Arc<Leaf<K, V>>),
    Inner(Arc<Inner<K, V, S>>),
}

pub(crate) struct Leaf<K, V> {
    pub(crate) entries: Vec<(K, V)>,
}

pub(crate) struct Inner<K, V, S> {
    /// Shared apart from the children: a copied path then costs one reference count for the
    /// separators of each node, since they change only when a child is split or merged.
    pub(crate) keys: Arc<[K]>,
    pub(crate) children: Vec<Child<K, V, S>>,
}

/// The way from the root down to a leaf: one child slot for each level.
pub(crate) struct Path {
    slots: [u8; MAX_HEIGHT],
    height: usize,
}

impl Path {
    fn new() -> Self {
        Self { slots: [0; MAX_HEIGHT], height: 0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a slot is less than INNER_MAX")]
    fn push(&mut self, slot: usize) {
        self.slots[self.height] = slot as u8;
        self.height += 1;
    }

    pub(crate) fn slot(&self, level: usize) -> usize {
        usize::from(self.slots[level])
    }
}

impl<K, V, S: Clone> Clone for Child<K, V, S> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), len: self.len, sum: self.sum.clone() }
    }
}

impl<K, V, S> Clone for Node<K, V, S> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(Arc::clone(leaf)),
            Self::Inner(inner) => Self::Inner(Arc::clone(inner)),
        }
    }
}

impl<K, V, S> Node<K, V, S> {
    pub(crate) fn ptr_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => Arc::ptr_eq(a, b),
            (Self::Inner(a), Self::Inner(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    #[cfg(test)]
    pub(crate) fn address(&self) -> usize {
        match self {
            Self::Leaf(leaf) => Arc::as_ptr(leaf).addr(),
            Self::Inner(inner) => Arc::as_ptr(inner).addr(),
        }
    }

    /// Levels below this node.
    pub(crate) fn height(&self) -> usize {
        let (mut node, mut height) = (self, 0);
        while let Self::Inner(inner) = node {
            node = &inner.children[0].node;
            height += 1;
        }
        height
    }

    /// Entries of a leaf, or children of an inner node.
    fn fill(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.entries.len(),
            Self::Inner(inner) => inner.children.len(),
        }
    }

    pub(crate) fn is_underfull(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.entries.len() < LEAF_MIN,
            Self::Inner(inner) => inner.children.len() < INNER_MIN,
        }
    }

    pub(crate) fn is_overfull(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.entries.len() > LEAF_MAX,
            Self::Inner(inner) => inner.children.len() > INNER_MAX,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.entries.len(),
            Self::Inner(inner) => inner.children.iter().map(|child| child.len).sum(),
        }
    }
}

/// The copy that is made when a shared node is written to: with room for one more.
impl<K: Clone, V: Clone> Clone for Leaf<K, V> {
    fn clone(&self) -> Self {
        Self { entries: roomy_copy(&self.entries) }
    }
}

impl<K, V, S: Clone> Clone for Inner<K, V, S> {
    fn clone(&self) -> Self {
        Self { keys: Arc::clone(&self.keys), children: roomy_copy(&self.children) }
    }
}

fn roomy_copy<T: Clone>(items: &[T]) -> Vec<T> {
    let mut copy = Vec::with_capacity((items.len() + 1).next_multiple_of(GROWTH));
    copy.extend_from_slice(items);
    copy
}

/// Inserts, growing by a few slots when full.
pub(crate) fn insert_tight<T>(items: &mut Vec<T>, at: usize, item: T) {
    if items.len() == items.capacity() {
        items.reserve_exact(GROWTH);
    }
    items.insert(at, item);
}

/// Where a key is among ascending ones, or `Err` with where it would be.
///
/// Looks at every `STRIDE`th key and then at those in between, one after the other. A binary search
/// makes fewer comparisons, but each waits for the one before to say where to look, while here the
/// processor fetches the bytes of the next keys ahead: 3.2 µs against 4.1 µs for a look-up among a
/// million `Bytes`.
fn search<'a, T, Q: Ord + ?Sized + 'a>(
    items: &'a [T],
    key: &Q,
    key_of: impl Fn(&'a T) -> &'a Q,
) -> Result<usize, usize> {
    let mut from = 0;
    while let Some(item) = items.get(from + STRIDE - 1) {
        match key_of(item).cmp(key) {
            Ordering::Less => from += STRIDE,
            Ordering::Equal => return Ok(from + STRIDE - 1),
            Ordering::Greater => break,
        }
    }
    for (passed, item) in items[from..].iter().take(STRIDE - 1).enumerate() {
        match key_of(item).cmp(key) {
            Ordering::Less => {}
            Ordering::Equal => return Ok(from + passed),
            Ordering::Greater => return Err(from + passed),
        }
    }
    Err(items.len().min(from + STRIDE - 1))
}

impl<K, V> Leaf<K, V> {
    pub(crate) fn search<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        search(&self.entries, key, |(k, _)| k.borrow())
    }
}

impl<K, V, S> Inner<K, V, S> {
    /// The child below which `key` is, if it is anywhere.
    pub(crate) fn slot_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.keys.partition_point(|separator| separator.borrow() <= key)
    }
}

/// Reads, which need no summary.
impl<K, V, S> Child<K, V, S> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&(K, V)>
    where
        K: Borrow<Q>,
    {
        let mut node = &self.node;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children[inner.slot_of(key)].node,
                Node::Leaf(leaf) => return Some(&leaf.entries[leaf.search(key).ok()?]),
            }
        }
    }

    /// The way to the leaf of `key`, and its place there: `Err` is where it would be inserted.
    pub(crate) fn locate<Q: Ord + ?Sized>(&self, key: &Q) -> (Path, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let (mut node, mut path) = (&self.node, Path::new());
        loop {
            match node {
                Node::Inner(inner) => {
                    let slot = inner.slot_of(key);
                    path.push(slot);
                    node = &inner.children[slot].node;
                }
                Node::Leaf(leaf) => return (path, leaf.search(key)),
            }
        }
    }

    /// The number of keys less than `key` or, where it is `inclusive`, at most `key`.
    pub(crate) fn rank<Q: Ord + ?Sized>(&self, key: &Q, inclusive: bool) -> usize
    where
        K: Borrow<Q>,
    {
        let (mut node, mut before) = (&self.node, 0);
        loop {
            match node {
                Node::Inner(inner) => {
                    let slot = inner.slot_of(key);
                    before += inner.children[..slot].iter().map(|child| child.len).sum::<usize>();
                    node = &inner.children[slot].node;
                }
                Node::Leaf(leaf) => {
                    return before
                        + match leaf.search(key) {
                            Ok(slot) => slot + usize::from(inclusive),
                            Err(slot) => slot,
                        };
                }
            }
        }
    }

    /// The entry at a position in key order.
    pub(crate) fn nth(&self, mut position: usize) -> Option<&(K, V)> {
        let mut node = &self.node;
        loop {
            match node {
                Node::Inner(inner) => {
                    let slot = inner.slot_at(&mut position)?;
                    node = &inner.children[slot].node;
                }
                Node::Leaf(leaf) => return leaf.entries.get(position),
            }
        }
    }
}

impl<K, V, S> Inner<K, V, S> {
    /// The child that holds a position, which becomes one within that child.
    pub(crate) fn slot_at(&self, position: &mut usize) -> Option<usize> {
        self.children.iter().position(|child| {
            let here = *position < child.len;
            if !here {
                *position -= child.len;
            }
            here
        })
    }
}

/// Making, measuring and splitting.
impl<K, V, S: Summary<K, V>> Child<K, V, S> {
    fn new(node: Node<K, V, S>) -> Self {
        let (len, sum) = (node.count(), node.sum());
        Self { node, len, sum }
    }

    pub(crate) fn leaf(entries: Vec<(K, V)>) -> Self {
        Self::new(Node::Leaf(Arc::new(Leaf { entries })))
    }

    pub(crate) fn inner(keys: Arc<[K]>, children: Vec<Self>) -> Self {
        Self::new(Node::Inner(Arc::new(Inner { keys, children })))
    }

    pub(crate) fn remeasure(&mut self) {
        self.len = self.node.count();
        self.sum = self.node.sum();
    }

    /// Adds up the entries at positions `start..end`, whole subtrees at once.
    pub(crate) fn sum_between(&self, start: usize, end: usize, total: &mut S) {
        if start >= end {
            return;
        }
        if start == 0 && end == self.len {
            return total.combine(&self.sum);
        }
        match &self.node {
            Node::Leaf(leaf) => {
                for (key, value) in &leaf.entries[start..end] {
                    total.combine(&S::of(key, value));
                }
            }
            Node::Inner(inner) => {
                let mut before = 0;
                for child in &inner.children {
                    let from = start.saturating_sub(before).min(child.len);
                    let to = end.saturating_sub(before).min(child.len);
                    child.sum_between(from, to, total);
                    before += child.len;
                }
            }
        }
    }
}

impl<K, V, S: Summary<K, V>> Node<K, V, S> {
    pub(crate) fn sum(&self) -> S {
        let mut sum = S::empty();
        match self {
            Self::Leaf(leaf) => {
                for (key, value) in &leaf.entries {
                    sum.combine(&S::of(key, value));
                }
            }
            Self::Inner(inner) => {
                for child in &inner.children {
                    sum.combine(&child.sum);
                }
            }
        }
        sum
    }
}

impl<K: Clone, V: Clone, S: Summary<K, V>> Child<K, V, S> {
    /// Keeps the first `at` entries or children, and returns the others with their separator.
    pub(crate) fn split_off(&mut self, at: usize) -> (K, Self) {
        let split = match &mut self.node {
            Node::Leaf(leaf) => {
                let entries = &mut Arc::make_mut(leaf).entries;
                let right = entries.split_off(at);
                entries.shrink_to((at + 1).next_multiple_of(GROWTH));
                (right[0].0.clone(), Self::leaf(right))
            }
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let right = inner.children.split_off(at);
                let (separator, keys) = (inner.keys[at - 1].clone(), inner.keys[at..].into());
                inner.keys = inner.keys[..at - 1].into();
                (separator, Self::inner(keys, right))
            }
        };
        self.remeasure();
        split
    }

    pub(crate) fn split_half(&mut self) -> (K, Self) {
        self.split_off(self.node.fill() / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_every_key_and_every_gap() {
        for len in 0..70_u32 {
            let keys: Vec<u32> = (0..len).map(|i| i * 2 + 1).collect();
            for key in 0..=len * 2 {
                assert_eq!(search(&keys, &key, |key| key), keys.binary_search(&key));
            }
        }
    }
}
