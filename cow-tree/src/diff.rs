use std::cmp::Ordering;
use std::iter::FusedIterator;

use crate::Key;
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
    #[must_use]
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
    /// Addresses of the nodes that were opened: the tests' proof that shared ones are not.
    #[cfg(test)]
    opened: Vec<usize>,
}

enum Level<'a, K, V, S> {
    /// The tree itself.
    Root { root: &'a Child<K, V, S>, height: usize },
    /// Children of an inner node from `next` on; `bound` is the one to the left of the node.
    Children { inner: &'a Inner<K, V, S>, next: usize, bound: Option<&'a K>, height: usize },
    /// Entries of a leaf.
    Entries(&'a [(K, V)]),
}

/// The first thing that a walk has not yet compared.
enum Head<'a, K, V, S> {
    Tree { node: &'a Node<K, V, S>, bound: Option<&'a K>, height: usize },
    Entry(&'a (K, V)),
}

impl<'a, K: Key, V, S, E: FnMut(&V, &V) -> bool> Diff<'a, K, V, S, E> {
    pub(crate) fn new(
        older: Option<&'a Child<K, V, S>>,
        newer: Option<&'a Child<K, V, S>>,
        equal: E,
    ) -> Self {
        Self { older: Walk::new(older), newer: Walk::new(newer), equal }
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
                    return Some(self.removed(old));
                }
                self.newer.open(node, *bound);
            }
            (Head::Tree { node, bound, .. }, Head::Entry(new)) => {
                if bound.is_some_and(|bound| new.0 < *bound) {
                    return Some(self.added(new));
                }
                self.older.open(node, *bound);
            }
            (
                Head::Tree { node: old, bound: old_bound, height: old_height },
                Head::Tree { node: new, bound: new_bound, height: new_height },
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
            Ordering::Less => Some(self.removed(old)),
            Ordering::Greater => Some(self.added(new)),
            Ordering::Equal => {
                self.older.advance();
                self.newer.advance();
                let same = (self.equal)(&old.1, &new.1);
                (!same).then_some(Change::Updated { key: &new.0, old: &old.1, new: &new.1 })
            }
        }
    }

    fn removed(&mut self, (key, value): &'a (K, V)) -> Change<'a, K, V> {
        self.older.advance();
        Change::Removed { key, value }
    }

    fn added(&mut self, (key, value): &'a (K, V)) -> Change<'a, K, V> {
        self.newer.advance();
        Change::Added { key, value }
    }
}

impl<'a, K: Key, V, S, E: FnMut(&V, &V) -> bool> Iterator for Diff<'a, K, V, S, E> {
    type Item = Change<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let change = match (self.older.head(), self.newer.head()) {
                (Some(old), Some(new)) => self.step(&old, &new),
                (Some(Head::Entry(old)), None) => Some(self.removed(old)),
                (None, Some(Head::Entry(new))) => Some(self.added(new)),
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

impl<K: Key, V, S, E: FnMut(&V, &V) -> bool> FusedIterator for Diff<'_, K, V, S, E> {}

impl<'a, K, V, S> Walk<'a, K, V, S> {
    fn new(root: Option<&'a Child<K, V, S>>) -> Self {
        let level = root.map(|root| Level::Root { root, height: root.node.height() });
        Self {
            stack: level.into_iter().collect(),
            #[cfg(test)]
            opened: Vec::new(),
        }
    }

    /// The first subtree or entry that is left; drops levels that are used up.
    fn head(&mut self) -> Option<Head<'a, K, V, S>> {
        loop {
            match self.stack.last()? {
                Level::Root { root, height } => {
                    return Some(Head::Tree { node: &root.node, bound: None, height: *height });
                }
                Level::Children { inner, next, bound, height } => {
                    if let Some(child) = inner.children().get(*next) {
                        let bound =
                            next.checked_sub(1).map_or(*bound, |left| inner.keys().get(left));
                        return Some(Head::Tree { node: &child.node, bound, height: *height });
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
            Node::Leaf(leaf) => Level::Entries(leaf.entries()),
            Node::Inner(inner) => {
                let height = inner.children()[0].node.height();
                Level::Children { inner, next: 0, bound, height }
            }
        };
        self.advance();
        self.stack.push(level);
        #[cfg(test)]
        self.opened.push(node.address());
    }
}

impl<K, V, S, E> std::fmt::Debug for Diff<'_, K, V, S, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diff").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::Tree;

    type Map = BTreeMap<u16, u8>;

    /// Inserts, or removes where there is no value.
    fn apply(tree: &mut Tree<u16, u8>, map: &mut Map, edits: &[(u16, Option<u8>)]) {
        for &(key, value) in edits {
            match value {
                Some(value) => assert_eq!(tree.insert(key, value), map.insert(key, value)),
                None => assert_eq!(tree.remove(&key), map.remove(&key)),
            }
        }
    }

    fn naive_diff<'a>(old: &'a Map, new: &'a Map) -> Vec<Change<'a, u16, u8>> {
        let keys: BTreeSet<&u16> = old.keys().chain(new.keys()).collect();
        let change = |key| match (old.get(key), new.get(key)) {
            (None, Some(value)) => Some(Change::Added { key, value }),
            (Some(value), None) => Some(Change::Removed { key, value }),
            (Some(old), Some(new)) if old != new => Some(Change::Updated { key, old, new }),
            _ => None,
        };
        keys.into_iter().filter_map(change).collect()
    }

    fn addresses(child: &Child<u16, u8, ()>, into: &mut BTreeSet<usize>) {
        into.insert(child.node.address());
        if let Node::Inner(inner) = &child.node {
            inner.children().iter().for_each(|child| addresses(child, into));
        }
    }

    fn nodes(tree: &Tree<u16, u8>) -> BTreeSet<usize> {
        let mut nodes = BTreeSet::new();
        tree.root().into_iter().for_each(|root| addresses(root, &mut nodes));
        nodes
    }

    /// Runs a diff to its end: the changes, and the nodes that it opened on both sides.
    fn run<'a>(
        old: &'a Tree<u16, u8>,
        new: &'a Tree<u16, u8>,
    ) -> (Vec<Change<'a, u16, u8>>, Vec<usize>) {
        let mut diff = old.diff(new);
        let changes = diff.by_ref().collect();
        (changes, [diff.older.opened, diff.newer.opened].concat())
    }

    fn edits(keys: u16, count: usize) -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
        let value = prop_oneof![any::<u8>().prop_map(Some), Just(None)];
        prop::collection::vec((0..keys, value), 0..count)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn diff_equals_the_naive_one_and_opens_no_shared_node(
            start in edits(600, 500),
            since in edits(600, 60),
            backwards in any::<bool>(),
        ) {
            let (mut tree, mut map) = (Tree::new(), Map::new());
            apply(&mut tree, &mut map, &start);
            let (old, old_map) = (tree.clone(), map.clone());
            apply(&mut tree, &mut map, &since);

            let (a, b) = if backwards { (&tree, &old) } else { (&old, &tree) };
            let (map_a, map_b) = if backwards { (&map, &old_map) } else { (&old_map, &map) };
            let (changes, opened) = run(a, b);
            prop_assert_eq!(changes, naive_diff(map_a, map_b));

            let (nodes_a, nodes_b) = (nodes(a), nodes(b));
            for node in &opened {
                prop_assert!(!(nodes_a.contains(node) && nodes_b.contains(node)));
            }
            prop_assert_eq!(a == b, map_a == map_b);
        }

        #[test]
        fn trees_made_apart_differ_as_their_entries_do(
            old in edits(300, 300),
            new in edits(300, 300),
        ) {
            let (mut old_tree, mut old_map) = (Tree::new(), Map::new());
            apply(&mut old_tree, &mut old_map, &old);
            let (mut inserted, mut new_map) = (Tree::new(), Map::new());
            apply(&mut inserted, &mut new_map, &new);
            let loaded: Tree<u16, u8> = new_map.clone().into_iter().collect();
            prop_assert_eq!(&inserted, &loaded);
            prop_assert_eq!(run(&old_tree, &inserted).0, naive_diff(&old_map, &new_map));
            prop_assert_eq!(run(&old_tree, &loaded).0, naive_diff(&old_map, &new_map));
        }
    }

    #[test]
    fn cost_is_that_of_the_changes() {
        let old: Tree<u16, u8> = (0..40_000).map(|key| (key, 0)).collect();
        let height = old.root().map_or(0, |root| root.node.height());
        assert!(height >= 4, "a deep tree is needed, not one of height {height}");
        let mut new = old.clone();
        for key in (0..40_000).step_by(4_000) {
            new.insert(key, 1);
        }
        let (changes, opened) = run(&old, &new);
        assert_eq!(changes.len(), 10);
        // No more than one path for each change on each side.
        assert!(opened.len() <= 10 * 2 * (height + 1), "opened {} nodes", opened.len());
    }

    #[test]
    fn a_clone_is_not_opened_at_all() {
        let tree: Tree<u16, u8> = (0..1000).map(|key| (key, 0)).collect();
        let clone = tree.clone();
        let (changes, opened) = run(&tree, &clone);
        assert!(changes.is_empty() && opened.is_empty());
    }
}
