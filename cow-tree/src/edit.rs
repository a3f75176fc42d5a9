//! Changing the tree: every function goes down a [`Path`], makes each node on it unique (in place
//! where nobody else holds it, otherwise a copy), and adds up again on the way back.

use std::sync::Arc;

use crate::Summary;
use crate::node::{
    Child, INNER_MAX, INNER_MIN, Inner, LEAF_MAX, LEAF_MIN, Node, Path, insert_tight,
};

/// What an insert leaves for the parent to take in: a separator and the subtree to its right.
type Split<K, V, S> = Option<(K, Child<K, V, S>)>;

impl<K: Clone, V: Clone, S: Summary<K, V>> Child<K, V, S> {
    /// Inserts an entry at `slot` of the leaf at the end of the path.
    pub(crate) fn insert_at(
        &mut self,
        path: &Path,
        level: usize,
        slot: usize,
        entry: (K, V),
    ) -> Split<K, V, S> {
        match &mut self.node {
            Node::Leaf(leaf) if leaf.entries.len() < LEAF_MAX => {
                insert_tight(&mut Arc::make_mut(leaf).entries, slot, entry);
            }
            Node::Leaf(_) => return Some(self.split_leaf(path, level, slot, entry)),
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let child = path.slot(level);
                let split = inner.children[child].insert_at(path, level + 1, slot, entry);
                if let Some((separator, right)) = split {
                    inner.adopt(child, separator, right);
                    if inner.children.len() > INNER_MAX {
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

    /// Changes the value at `slot` of the leaf at the end of the path.
    pub(crate) fn update_at<R>(
        &mut self,
        path: &Path,
        level: usize,
        slot: usize,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        let this = SumOnDrop(self);
        match &mut this.0.node {
            Node::Leaf(leaf) => change(&mut Arc::make_mut(leaf).entries[slot].1),
            Node::Inner(inner) => {
                let child = &mut Arc::make_mut(inner).children[path.slot(level)];
                child.update_at(path, level + 1, slot, change)
            }
        }
    }

    /// Removes the entry at `slot` of the leaf at the end of the path.
    pub(crate) fn remove_at(&mut self, path: &Path, level: usize, slot: usize) -> (K, V) {
        let removed = match &mut self.node {
            Node::Leaf(leaf) => Arc::make_mut(leaf).entries.remove(slot),
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let child = path.slot(level);
                let removed = inner.children[child].remove_at(path, level + 1, slot);
                if inner.children[child].node.is_underfull() {
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
            Node::Inner(inner) if inner.children.len() == 1 => inner.children.first().cloned(),
            _ => None,
        }
    }

    /// Appends the contents of the right neighbour.
    pub(crate) fn absorb(&mut self, separator: &K, right: Self) {
        match (&mut self.node, right.node) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                Arc::make_mut(left).entries.append(&mut Arc::unwrap_or_clone(right).entries);
            }
            (Node::Inner(left), Node::Inner(right)) => {
                let (left, mut right) = (Arc::make_mut(left), Arc::unwrap_or_clone(right));
                left.keys =
                    [&left.keys, std::slice::from_ref(separator), &right.keys].concat().into();
                left.children.append(&mut right.children);
            }
            // Neighbours are at the same depth (invariant 1).
            _ => {}
        }
        self.remeasure();
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

impl<K: Clone, V: Clone, S: Summary<K, V>> Inner<K, V, S> {
    /// Takes in what split off to the right of a child.
    fn adopt(&mut self, child: usize, separator: K, right: Child<K, V, S>) {
        let (before, after) = self.keys.split_at(child);
        self.keys =
            before.iter().cloned().chain([separator]).chain(after.iter().cloned()).collect();
        insert_tight(&mut self.children, child + 1, right);
    }

    /// Merges a child that is underfull with a neighbour, and shares their contents evenly if they
    /// are too many for one node.
    fn refill(&mut self, child: usize) {
        let left = child.saturating_sub(1);
        let right = self.children.remove(left + 1);
        self.children[left].absorb(&self.keys[left], right);
        if self.children[left].node.is_overfull() {
            let (separator, right) = self.children[left].split_half();
            Arc::make_mut(&mut self.keys)[left] = separator;
            self.children.insert(left + 1, right);
        } else {
            let (before, after) = (&self.keys[..left], &self.keys[left + 1..]);
            self.keys = before.iter().chain(after).cloned().collect();
        }
    }
}

/// Adds up again even if the caller's closure panics.
struct SumOnDrop<'a, K, V, S: Summary<K, V>>(&'a mut Child<K, V, S>);

impl<K, V, S: Summary<K, V>> Drop for SumOnDrop<'_, K, V, S> {
    fn drop(&mut self) {
        self.0.sum = self.0.node.sum();
    }
}
