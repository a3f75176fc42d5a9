//! Changing the tree: every function goes down a [`Path`], makes each node on it unique (in place
//! where nobody else holds it, otherwise a copy), and adds up again on the way back.

use std::sync::Arc;

use crate::node::{Child, INNER_MAX, INNER_MIN, Inner, LEAF_MAX, LEAF_MIN, Leaf, Node, Path};
use crate::{Key, Summary};

/// What an insert leaves for the parent to take in: a separator and the subtree to its right.
type Split<K, V, S> = Option<(K, Child<K, V, S>)>;

impl<K: Key + Clone, V: Clone, S: Summary<K, V>> Child<K, V, S> {
    /// Inserts an entry below the root, `self`, which gets a new one if it has to split.
    pub(crate) fn grow_at(&mut self, path: &Path, slot: usize, entry: (K, V)) {
        if let Some((separator, right)) = self.insert_at(path, 0, slot, entry) {
            *self = Self::inner([separator].into(), [self.clone(), right]);
        }
    }

    /// Inserts an entry at `slot` of the leaf at the end of the path.
    fn insert_at(
        &mut self,
        path: &Path,
        level: usize,
        slot: usize,
        entry: (K, V),
    ) -> Split<K, V, S> {
        match &mut self.node {
            Node::Leaf(leaf) if !leaf.is_full() => Arc::make_mut(leaf).insert(slot, entry),
            Node::Leaf(_) => return Some(self.split_leaf(path, level, slot, entry)),
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                inner.admit(path.shared());
                let child = path.slot(level);
                let split = inner.child_mut(child).insert_at(path, level + 1, slot, entry);
                if let Some((separator, right)) = split {
                    inner.adopt(child, separator, right);
                    if inner.is_overfull() {
                        let at = split_point(child + 1, INNER_MAX, INNER_MIN);
                        return Some(self.split_off(at));
                    }
                }
            }
        }
        self.len += 1;
        self.sum = self.node.sum();
        None
    }

    fn split_leaf(&mut self, path: &Path, level: usize, slot: usize, entry: (K, V)) -> (K, Self) {
        let at = split_point(slot, LEAF_MAX, LEAF_MIN);
        let (separator, mut right) = self.split_off(at);
        // Both halves have room, so neither splits again.
        if slot <= at {
            self.insert_at(path, level, slot, entry);
        } else {
            right.insert_at(path, level, slot - at, entry);
        }
        (separator, right)
    }

    /// Changes the leaf at the end of the path in a way that leaves its keys as they are.
    pub(crate) fn change_at<R>(
        &mut self,
        path: &Path,
        level: usize,
        change: impl FnOnce(&mut Leaf<K, V>) -> R,
    ) -> R {
        let this = SumOnDrop(self);
        match &mut this.0.node {
            Node::Leaf(leaf) => change(Arc::make_mut(leaf)),
            Node::Inner(inner) => {
                let child = Arc::make_mut(inner).child_mut(path.slot(level));
                child.change_at(path, level + 1, change)
            }
        }
    }

    /// Removes the entry at `slot` of the leaf at the end of the path.
    pub(crate) fn remove_at(&mut self, path: &Path, level: usize, slot: usize) -> (K, V) {
        let removed = match &mut self.node {
            Node::Leaf(leaf) => Arc::make_mut(leaf).remove(slot),
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let child = path.slot(level);
                let removed = inner.child_mut(child).remove_at(path, level + 1, slot);
                if inner.children()[child].node.is_underfull() {
                    inner.refill(child);
                }
                removed
            }
        };
        self.len -= 1;
        self.sum = self.node.sum();
        removed
    }

    /// The child of an inner node that has no other: it takes the place of the root.
    pub(crate) fn only_child(&self) -> Option<Self> {
        match &self.node {
            Node::Inner(inner) => match inner.children() {
                [only] => Some(only.clone()),
                _ => None,
            },
            Node::Leaf(_) => None,
        }
    }
}

/// Where a full node splits when something is inserted at `slot`: in the middle, but ascending and
/// descending inserts leave fuller nodes behind.
fn split_point(slot: usize, max: usize, min: usize) -> usize {
    if slot == max {
        max - min
    } else if slot == 0 {
        min
    } else {
        max / 2
    }
}

impl<K: Key + Clone, V: Clone, S: Summary<K, V>> Inner<K, V, S> {
    /// Takes in what split off to the right of a child.
    fn adopt(&mut self, child: usize, separator: K, right: Child<K, V, S>) {
        let left = self.take(child);
        self.put(child, 0, [separator], [left, right]);
    }

    /// Puts a child that is underfull together with a neighbour, if it has one.
    fn refill(&mut self, child: usize) {
        let left = child.saturating_sub(1);
        let Some(separator) = self.keys().get(left).cloned() else {
            return;
        };
        let (first, second) = (self.take(left), self.take(left));
        let (joined, split) = first.join(separator, second);
        let (separator, right) = split.unzip();
        self.put(left, 1, separator, [joined].into_iter().chain(right));
    }
}

/// Adds up again even if the caller's closure panics.
struct SumOnDrop<'a, K, V, S: Summary<K, V>>(&'a mut Child<K, V, S>);

impl<K, V, S: Summary<K, V>> Drop for SumOnDrop<'_, K, V, S> {
    fn drop(&mut self) {
        self.0.sum = self.0.node.sum();
    }
}
