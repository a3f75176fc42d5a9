use std::cmp::Ordering;
use std::iter::FusedIterator;

use crate::node::{Child, Inner, Node};

/// One difference between an older and a newer tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a, K, V> {
    /// The key is only in the newer tree.
    Added {
        /// The key.
        key: &'a K,
        /// Its value in the newer tree.
        value: &'a V,
    },
    /// The key is only in the older tree.
    Removed {
        /// The key.
        key: &'a K,
        /// Its value in the older tree.
        value: &'a V,
    },
    /// The key is in both, with values that differ.
    Updated {
        /// The key, of the newer tree.
        key: &'a K,
        /// Its value in the older tree.
        old: &'a V,
        /// Its value in the newer tree.
        new: &'a V,
    },
}

impl<'a, K, V> Change<'a, K, V> {
    /// The key that differs.
    pub fn key(&self) -> &'a K {
        match self {
            Self::Added { key, .. } | Self::Removed { key, .. } | Self::Updated { key, .. } => key,
        }
    }
}

/// The differences between two trees, in key order: see [`Tree::diff`](crate::Tree::diff).
///
/// # How it skips what is shared
///
/// Each side is a walk over pending subtrees, left to right. Subtrees that are the same node are
/// dropped from both unread. Otherwise the subtree with the lower bound is opened (the separator to
/// its left; where the bounds are equal, the higher of the two, or both), so that a walk never
/// opens a subtree that the other side could still come to. A shared node has the same separator
/// to its left in both trees, since a separator moves only when a node next to it is rewritten.
pub struct Diff<'a, K, V, S = (), E = fn(&V, &V) -> bool> {
    older: Walk<'a, K, V, S>,
    newer: Walk<'a, K, V, S>,
    equal: E,
}

/// What one side has not yet compared.
struct Walk<'a, K, V, S> {
    stack: Vec<Level<'a, K, V, S>>,
    #[cfg(test)]
    opened: usize,
}

enum Level<'a, K, V, S> {
    /// The tree itself.
    Root {
        root: &'a Child<K, V, S>,
        height: usize,
    },
    /// Children of an inner node from `next` on; `bound` is the one to the left of the node.
    Children {
        inner: &'a Inner<K, V, S>,
        next: usize,
        bound: Option<&'a K>,
        height: usize,
    },
    /// Entries of a leaf.
    Entries(&'a [(K, V)]),
}

/// The first thing that a walk has not yet compared.
enum Head<'a, K, V, S> {
    Tree {
        node: &'a Node<K, V, S>,
        bound: Option<&'a K>,
        height: usize,
    },
    Entry(&'a (K, V)),
}

impl<'a, K: Ord, V, S, E: FnMut(&V, &V) -> bool> Diff<'a, K, V, S, E> {
    pub(crate) fn new(
        older: Option<&'a Child<K, V, S>>,
        newer: Option<&'a Child<K, V, S>>,
        equal: E,
    ) -> Self {
        Self {
            older: Walk::new(older),
            newer: Walk::new(newer),
            equal,
        }
    }

    /// Compares the heads of both walks; returns a change if that shows one.
    fn step(
        &mut self,
        old: &Head<'a, K, V, S>,
        new: &Head<'a, K, V, S>,
    ) -> Option<Change<'a, K, V>> {
        match (old, new) {
            (Head::Entry(old), Head::Entry(new)) => return self.compare(old, new),
            (Head::Entry(old), Head::Tree { node, bound, .. }) => {
                if bound.is_some_and(|bound| old.0 < *bound) {
                    return self.removed(old);
                }
                self.newer.open(node, *bound);
            }
            (Head::Tree { node, bound, .. }, Head::Entry(new)) => {
                if bound.is_some_and(|bound| new.0 < *bound) {
                    return self.added(new);
                }
                self.older.open(node, *bound);
            }
            (
                Head::Tree {
                    node: old,
                    bound: old_bound,
                    height: old_height,
                },
                Head::Tree {
                    node: new,
                    bound: new_bound,
                    height: new_height,
                },
            ) => {
                if old.ptr_eq(new) {
                    self.older.advance();
                    self.newer.advance();
                    return None;
                }
                // The lower bound first, then the higher subtree.
                let order = old_bound.cmp(new_bound).then(new_height.cmp(old_height));
                if order.is_le() {
                    self.older.open(old, *old_bound);
                }
                if order.is_ge() {
                    self.newer.open(new, *new_bound);
                }
            }
        }
        None
    }

    fn compare(&mut self, old: &'a (K, V), new: &'a (K, V)) -> Option<Change<'a, K, V>> {
        match old.0.cmp(&new.0) {
            Ordering::Less => self.removed(old),
            Ordering::Greater => self.added(new),
            Ordering::Equal => {
                self.older.advance();
                self.newer.advance();
                let same = (self.equal)(&old.1, &new.1);
                (!same).then_some(Change::Updated {
                    key: &new.0,
                    old: &old.1,
                    new: &new.1,
                })
            }
        }
    }

    fn removed(&mut self, (key, value): &'a (K, V)) -> Option<Change<'a, K, V>> {
        self.older.advance();
        Some(Change::Removed { key, value })
    }

    fn added(&mut self, (key, value): &'a (K, V)) -> Option<Change<'a, K, V>> {
        self.newer.advance();
        Some(Change::Added { key, value })
    }
}

impl<'a, K: Ord, V, S, E: FnMut(&V, &V) -> bool> Iterator for Diff<'a, K, V, S, E> {
    type Item = Change<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let change = match (self.older.head(), self.newer.head()) {
                (Some(old), Some(new)) => self.step(&old, &new),
                (Some(Head::Entry(old)), None) => self.removed(old),
                (None, Some(Head::Entry(new))) => self.added(new),
                (Some(Head::Tree { node, bound, .. }), None) => {
                    self.older.open(node, bound);
                    None
                }
                (None, Some(Head::Tree { node, bound, .. })) => {
                    self.newer.open(node, bound);
                    None
                }
                (None, None) => return None,
            };
            if change.is_some() {
                return change;
            }
        }
    }
}

impl<K: Ord, V, S, E: FnMut(&V, &V) -> bool> FusedIterator for Diff<'_, K, V, S, E> {}

impl<'a, K, V, S> Walk<'a, K, V, S> {
    fn new(root: Option<&'a Child<K, V, S>>) -> Self {
        let level = root.map(|root| Level::Root {
            root,
            height: root.node.height(),
        });
        Self {
            stack: level.into_iter().collect(),
            #[cfg(test)]
            opened: 0,
        }
    }

    /// The first subtree or entry that is left; drops levels that are used up.
    fn head(&mut self) -> Option<Head<'a, K, V, S>> {
        loop {
            match self.stack.last()? {
                Level::Root { root, height } => {
                    return Some(Head::Tree {
                        node: &root.node,
                        bound: None,
                        height: *height,
                    });
                }
                Level::Children {
                    inner,
                    next,
                    bound,
                    height,
                } => {
                    if let Some(child) = inner.children.get(*next) {
                        let bound = next
                            .checked_sub(1)
                            .map_or(*bound, |left| inner.keys.get(left));
                        return Some(Head::Tree {
                            node: &child.node,
                            bound,
                            height: *height,
                        });
                    }
                }
                Level::Entries(entries) => {
                    if let Some(entry) = entries.first() {
                        return Some(Head::Entry(entry));
                    }
                }
            }
            self.stack.pop();
        }
    }

    /// Leaves the head behind.
    fn advance(&mut self) {
        match self.stack.last_mut() {
            Some(Level::Children { next, .. }) => *next += 1,
            Some(Level::Entries(entries)) => *entries = entries.get(1..).unwrap_or_default(),
            Some(Level::Root { .. }) | None => {
                self.stack.pop();
            }
        }
    }

    /// Replaces the head, a subtree, by what is in it.
    fn open(&mut self, node: &'a Node<K, V, S>, bound: Option<&'a K>) {
        let level = match node {
            Node::Leaf(leaf) => Level::Entries(&leaf.entries),
            Node::Inner(inner) => {
                let height = inner.children[0].node.height();
                Level::Children {
                    inner,
                    next: 0,
                    bound,
                    height,
                }
            }
        };
        self.advance();
        self.stack.push(level);
        #[cfg(test)]
        {
            self.opened += 1;
        }
    }
}

impl<K, V, S, E> std::fmt::Debug for Diff<'_, K, V, S, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diff").finish_non_exhaustive()
    }
}
