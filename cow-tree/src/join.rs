//! Putting neighbours together, when one of them has too little left.

use std::sync::Arc;

use crate::node::{Child, INNER_MAX, Inner, LEAF_MAX, Leaf, Node};
use crate::{Key, Summary};

/// A node, and another one to its right with the separator between them.
type Joined<K, V, S> = (Child<K, V, S>, Option<(K, Child<K, V, S>)>);

impl<K: Key + Clone, V: Clone, S: Summary<K, V>> Child<K, V, S> {
    /// Puts two neighbours together, as one node or, if that would be too full, as two even ones
    /// with their separator.
    pub(crate) fn join(self, separator: K, right: Self) -> (Self, Option<(K, Self)>) {
        match (self.node, right.node) {
            (Node::Leaf(left), Node::Leaf(right)) => join_leaves(left, right),
            (Node::Inner(left), Node::Inner(right)) => join_inner(left, separator, right),
            // Neighbours are at the same depth (invariant 1).
            (left, right) => (Self::new(left), Some((separator, Self::new(right)))),
        }
    }
}

fn join_leaves<K: Key + Clone, V: Clone, S: Summary<K, V>>(
    left: Arc<Leaf<K, V>>,
    right: Arc<Leaf<K, V>>,
) -> Joined<K, V, S> {
    let left = Arc::unwrap_or_clone(left).into_entries();
    let right = Arc::unwrap_or_clone(right).into_entries();
    let total = left.len() + right.len();
    let mut entries = left.into_iter().chain(right);
    if total <= LEAF_MAX {
        return (Child::leaf(entries.collect()), None);
    }
    let left = Child::leaf(entries.by_ref().take(total / 2).collect());
    let right = Leaf::new(entries.collect());
    let separator = right.entries()[0].0.separator();
    (left, Some((separator, Child::new(Node::Leaf(Arc::new(right))))))
}

fn join_inner<K: Key + Clone, V: Clone, S: Summary<K, V>>(
    left: Arc<Inner<K, V, S>>,
    separator: K,
    right: Arc<Inner<K, V, S>>,
) -> Joined<K, V, S> {
    let (left_keys, left) = Arc::unwrap_or_clone(left).into_parts();
    let (right_keys, right) = Arc::unwrap_or_clone(right).into_parts();
    let keys = [&left_keys, &[separator][..], &right_keys].concat();
    let total = left.len() + right.len();
    let mut children = left.into_iter().chain(right);
    if total <= INNER_MAX {
        return (Child::inner(keys.into(), children), None);
    }
    let half = total / 2;
    let left = Child::inner(keys[..half - 1].into(), children.by_ref().take(half));
    (left, Some((keys[half - 1].clone(), Child::inner(keys[half..].into(), children))))
}
