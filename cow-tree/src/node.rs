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
//! 5. All keys below a node, its separators included, share at least [`Node::depth`] leading symbols;
//!    its heads are those of its entries' keys or of its separators, in their order.

use std::borrow::Borrow;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::heads::Heads;
use crate::{Key, Summary};

/// Most entries of a leaf. A snapshot makes the next write to a leaf clone all its keys and values,
/// each a reference count somewhere else in memory, so leaves are small.
#[cfg(not(test))]
pub(crate) const LEAF_MAX: usize = 16;
/// Most children of an inner node. Copying one takes a reference count of each child, so it costs
/// what copying a leaf does; fewer children make more levels.
#[cfg(not(test))]
pub(crate) const INNER_MAX: usize = 16;
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

/// An inner node holds one child more for as long as it takes to split it.
const INNER_ROOM: usize = INNER_MAX + 1;

/// As many levels as 2^64 entries need at the lowest occupancy (4 entries in a leaf, 4 children).
pub(crate) const MAX_HEIGHT: usize = 32;

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
    heads: Heads<LEAF_MAX>,
    entries: ArrayVec<(K, V), LEAF_MAX>,
}

pub(crate) struct Inner<K, V, S> {
    heads: Heads<INNER_MAX>,
    /// Shared apart from the children: a copied path then costs one reference count for the
    /// separators of each node, since they change only when a child is split or merged.
    keys: Arc<[K]>,
    children: Children<K, V, S>,
}

type Children<K, V, S> = ArrayVec<Child<K, V, S>, INNER_ROOM>;

/// The way from the root down to a leaf: one child slot for each level.
pub(crate) struct Path {
    slots: [u8; MAX_HEIGHT],
    height: usize,
    /// How many leading symbols the key that was looked for shares with those of the leaf.
    shared: usize,
}

impl Path {
    fn new() -> Self {
        Self { slots: [0; MAX_HEIGHT], height: 0, shared: 0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a slot is less than INNER_MAX")]
    fn push(&mut self, slot: usize) {
        self.slots[self.height] = slot as u8;
        self.height += 1;
    }

    pub(crate) fn slot(&self, level: usize) -> usize {
        usize::from(self.slots[level])
    }

    pub(crate) fn shared(&self) -> usize {
        self.shared
    }
}

impl<K: Key + Clone, V: Clone> Clone for Leaf<K, V> {
    fn clone(&self) -> Self {
        // One after the other each clone would wait for memory; together they wait once.
        self.entries.iter().for_each(|(key, _)| key.touch());
        Self { heads: self.heads.clone(), entries: self.entries.clone() }
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

    pub(crate) fn is_underfull(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.entries.len() < LEAF_MIN,
            Self::Inner(inner) => inner.children.len() < INNER_MIN,
        }
    }

    /// Whether invariant 5 holds for this node, apart from what is below it.
    #[cfg(test)]
    pub(crate) fn heads_fit(&self) -> bool
    where
        K: Key,
    {
        match self {
            Self::Leaf(leaf) => {
                let keys = || leaf.entries.iter().map(|(key, _)| key);
                leaf.heads.are_of(keys())
                    && keys().all(|key| key.shared(&leaf.entries[0].0) >= self.depth())
            }
            Self::Inner(inner) => {
                inner.heads.are_of(inner.keys.iter())
                    && inner.children.iter().all(|child| child.node.depth() >= self.depth())
            }
        }
    }

    /// How many leading symbols all keys below are known to share.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.heads.depth(),
            Self::Inner(inner) => inner.heads.depth(),
        }
    }

    /// One of the keys that share them.
    fn sample(&self) -> Option<&K> {
        match self {
            Self::Leaf(leaf) => leaf.entries.first().map(|(key, _)| key),
            Self::Inner(inner) => match inner.keys.first() {
                Some(key) => Some(key),
                None => inner.children.first()?.node.sample(),
            },
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.entries.len(),
            Self::Inner(inner) => inner.children.iter().map(|child| child.len).sum(),
        }
    }
}

/// The copy that is made when a shared node is written to.
impl<K, V, S: Clone> Clone for Inner<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            heads: self.heads.clone(),
            keys: Arc::clone(&self.keys),
            children: self.children.clone(),
        }
    }
}

impl<K, V> Leaf<K, V> {
    pub(crate) fn entries(&self) -> &[(K, V)] {
        &self.entries
    }

    pub(crate) fn value_mut(&mut self, slot: usize) -> &mut V {
        &mut self.entries[slot].1
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// How many leading symbols `key` shares with a key that is here.
    fn shared<Q: Key + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.entries.first().map_or(0, |(first, _)| first.borrow().shared(key))
    }

    /// Where `key` is, if it is here.
    fn find<Q: Key + ?Sized>(&self, key: &Q) -> Option<&(K, V)>
    where
        K: Borrow<Q>,
    {
        let slot = self.heads.find(key, &self.entries, |(key, _)| key).ok()?;
        self.entries.get(slot)
    }

    /// Where `key` is, or `Err` with where it would be.
    fn search<Q: Key + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.heads.search(key, &self.entries, |(key, _)| key)
    }
}

impl<K: Key, V> Leaf<K, V> {
    pub(crate) fn new(entries: ArrayVec<(K, V), LEAF_MAX>) -> Self {
        let ends = entries.first().zip(entries.last());
        let depth = ends.map_or(0, |(first, last)| first.0.shared(&last.0));
        Self { heads: Heads::new(depth, entries.iter().map(|(key, _)| key)), entries }
    }

    pub(crate) fn insert(&mut self, slot: usize, entry: (K, V)) {
        let shared = self.shared(&entry.0);
        self.heads.admit(shared, self.entries.iter().map(|(key, _)| key));
        self.heads.insert(slot, &entry.0);
        self.entries.insert(slot, entry);
    }

    /// Replaces an entry by one with an equal key.
    pub(crate) fn replace(&mut self, slot: usize, entry: (K, V)) -> (K, V) {
        std::mem::replace(&mut self.entries[slot], entry)
    }

    pub(crate) fn remove(&mut self, slot: usize) -> (K, V) {
        self.heads.remove(slot);
        self.entries.remove(slot)
    }

    /// Keeps the entries before `at`, and returns the others.
    fn split_off(&mut self, at: usize) -> Self {
        let right = Self::new(self.entries.drain(at..).collect());
        *self = Self::new(std::mem::take(&mut self.entries));
        right
    }

    pub(crate) fn into_entries(self) -> ArrayVec<(K, V), LEAF_MAX> {
        self.entries
    }
}

impl<K, V, S> Inner<K, V, S> {
    pub(crate) fn into_parts(self) -> (Arc<[K]>, Children<K, V, S>) {
        (self.keys, self.children)
    }

    pub(crate) fn keys(&self) -> &[K] {
        &self.keys
    }

    pub(crate) fn children(&self) -> &[Child<K, V, S>] {
        &self.children
    }

    pub(crate) fn child_mut(&mut self, slot: usize) -> &mut Child<K, V, S> {
        &mut self.children[slot]
    }

    pub(crate) fn is_overfull(&self) -> bool {
        self.children.len() > INNER_MAX
    }

    /// The child below which `key` would be.
    pub(crate) fn slot_of<Q: Key + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        match self.heads.search(key, &self.keys, |key| key) {
            Ok(separator) => separator + 1,
            Err(slot) => slot,
        }
    }

    /// The child below which `key` is, if it is anywhere.
    fn slot_if_present<Q: Key + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        match self.heads.find(key, &self.keys, |key| key) {
            Ok(separator) => separator + 1,
            Err(slot) => slot,
        }
    }

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

impl<K: Key, V, S> Inner<K, V, S> {
    /// A node of `children` with the separators between them.
    fn new(keys: Arc<[K]>, children: Children<K, V, S>) -> Self {
        let below = children.iter().map(|child| child.node.depth()).min();
        // Separators need not be keys that are still there, but lie between those that are.
        let first = children.first().and_then(|child| child.node.sample());
        let last = children.last().and_then(|child| child.node.sample());
        let ends = first.zip(last);
        let across = ends.map_or(0, |(first, last)| first.shared(last));
        let depth = below.unwrap_or(0).min(across);
        Self { heads: Heads::new(depth, keys.iter()), keys, children }
    }

    /// Makes room below for a key that shares so many leading symbols with one that is there.
    pub(crate) fn admit(&mut self, shared: usize) {
        self.heads.admit(shared, self.keys.iter());
    }

    /// Takes a child out, to be put back by [`put`](Self::put).
    pub(crate) fn take(&mut self, slot: usize) -> Child<K, V, S> {
        self.children.remove(slot)
    }

    /// Puts children where some were taken out, and their separators in place of `replaced` ones.
    pub(crate) fn put(
        &mut self,
        slot: usize,
        replaced: usize,
        keys: impl IntoIterator<Item = K>,
        children: impl IntoIterator<Item = Child<K, V, S>>,
    ) where
        K: Clone,
    {
        let (left, right) = (&self.keys[..slot], &self.keys[slot + replaced..]);
        self.keys = left.iter().cloned().chain(keys).chain(right.iter().cloned()).collect();
        self.heads = Heads::new(self.heads.depth(), self.keys.iter());
        let rest: ArrayVec<_, INNER_ROOM> = self.children.drain(slot..).collect();
        self.children.extend(children);
        self.children.extend(rest);
    }

    fn split_off(&mut self, at: usize) -> (K, Self)
    where
        K: Clone,
    {
        let right: ArrayVec<_, INNER_ROOM> = self.children.drain(at..).collect();
        let separator = self.keys[at - 1].clone();
        let right = Self::new(self.keys[at..].into(), right);
        *self = Self::new(self.keys[..at - 1].into(), std::mem::take(&mut self.children));
        (separator, right)
    }
}

/// Reads, which need no summary.
impl<K, V, S> Child<K, V, S> {
    /// A key that is there shares what the keys of each node on its way share, so nothing but heads
    /// is compared on the way; one that is not may be led astray, to a leaf where it is not.
    pub(crate) fn get<Q: Key + ?Sized>(&self, key: &Q) -> Option<&(K, V)>
    where
        K: Borrow<Q>,
    {
        let mut node = &self.node;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children[inner.slot_if_present(key)].node,
                Node::Leaf(leaf) => return leaf.find(key),
            }
        }
    }

    /// The way to the leaf of `key`, and its place there: `Err` is where it would be inserted.
    ///
    /// The way is looked for as if the key were there. It is the right one if the key shares with
    /// the leaf's keys what those below the node above the leaf share, and thus what those below
    /// each node on the way do. Otherwise, which is rare, each node is asked for any key.
    pub(crate) fn locate<Q: Key + ?Sized>(&self, key: &Q) -> (Path, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let (path, leaf, depth) = self.descend(|inner| inner.slot_if_present(key));
        let shared = leaf.shared(key);
        if shared >= depth {
            return (Path { shared, ..path }, leaf.search(key));
        }
        let (path, leaf, _) = self.descend(|inner| inner.slot_of(key));
        (Path { shared: leaf.shared(key), ..path }, leaf.search(key))
    }

    /// Goes down to a leaf; returns it, the way, and the depth of the node above it.
    fn descend(&self, slot_of: impl Fn(&Inner<K, V, S>) -> usize) -> (Path, &Leaf<K, V>, usize) {
        let (mut node, mut path, mut depth) = (&self.node, Path::new(), 0);
        loop {
            match node {
                Node::Inner(inner) => {
                    let slot = slot_of(inner);
                    path.push(slot);
                    depth = inner.heads.depth();
                    node = &inner.children[slot].node;
                }
                Node::Leaf(leaf) => return (path, leaf, depth),
            }
        }
    }

    /// The number of keys less than `key` or, where it is `inclusive`, at most `key`.
    pub(crate) fn rank<Q: Key + ?Sized>(&self, key: &Q, inclusive: bool) -> usize
    where
        K: Borrow<Q>,
    {
        let (path, place) = self.locate(key);
        let within = match place {
            Ok(slot) => slot + usize::from(inclusive),
            Err(slot) => slot,
        };
        let (mut node, mut before, mut level) = (&self.node, 0, 0);
        while let Node::Inner(inner) = node {
            let slot = path.slot(level);
            before += inner.children[..slot].iter().map(|child| child.len).sum::<usize>();
            node = &inner.children[slot].node;
            level += 1;
        }
        before + within
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

/// Making, measuring and splitting.
impl<K, V, S: Summary<K, V>> Child<K, V, S> {
    pub(crate) fn new(node: Node<K, V, S>) -> Self {
        let (len, sum) = (node.count(), node.sum());
        Self { node, len, sum }
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

impl<K: Key + Clone, V: Clone, S: Summary<K, V>> Child<K, V, S> {
    pub(crate) fn leaf(entries: ArrayVec<(K, V), LEAF_MAX>) -> Self {
        Self::new(Node::Leaf(Arc::new(Leaf::new(entries))))
    }

    pub(crate) fn inner(keys: Arc<[K]>, children: impl IntoIterator<Item = Self>) -> Self {
        let children = children.into_iter().collect();
        Self::new(Node::Inner(Arc::new(Inner::new(keys, children))))
    }

    /// Keeps the first `at` entries or children, and returns the others with their separator.
    pub(crate) fn split_off(&mut self, at: usize) -> (K, Self) {
        let split = match &mut self.node {
            Node::Leaf(leaf) => {
                let right = Arc::make_mut(leaf).split_off(at);
                let separator = right.entries[0].0.separator();
                (separator, Self::new(Node::Leaf(Arc::new(right))))
            }
            Node::Inner(inner) => {
                let (separator, right) = Arc::make_mut(inner).split_off(at);
                (separator, Self::new(Node::Inner(Arc::new(right))))
            }
        };
        self.remeasure();
        split
    }
}
