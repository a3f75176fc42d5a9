//! The invariants of `node.rs`, checked on a whole tree.

use std::fmt::Debug;

use crate::node::{Child, INNER_MAX, INNER_MIN, LEAF_MAX, LEAF_MIN, Node};
use crate::{Key, Summary, Tree};

/// Panics if an invariant does not hold.
pub(crate) fn check<K, V, S>(tree: &Tree<K, V, S>)
where
    K: Key + Debug,
    S: Summary<K, V> + PartialEq + Debug,
{
    if let Some(root) = tree.root() {
        assert!(root.len > 0, "an empty tree has no root");
        check_child(root, true, None, None);
        check_depths(&root.node);
    }
}

/// All keys below a node share what it says that they do.
fn check_depths<K: Key, V, S>(node: &Node<K, V, S>) -> Vec<&K> {
    let keys = match node {
        Node::Leaf(leaf) => leaf.entries().iter().map(|(key, _)| key).collect(),
        Node::Inner(inner) => {
            let below = inner.children().iter().flat_map(|child| check_depths(&child.node));
            below.chain(inner.keys()).collect::<Vec<_>>()
        }
    };
    assert!(keys.iter().all(|key| K::shared(key, keys[0]) >= node.depth()));
    keys
}

/// Checks a subtree whose keys are in `low..high`; returns its height.
fn check_child<K, V, S>(
    child: &Child<K, V, S>,
    is_root: bool,
    low: Option<&K>,
    high: Option<&K>,
) -> usize
where
    K: Key + Debug,
    S: Summary<K, V> + PartialEq + Debug,
{
    let (len, height) = match &child.node {
        Node::Leaf(leaf) => {
            let entries = leaf.entries();
            assert!(entries.len() <= LEAF_MAX);
            assert!(entries.len() >= if is_root { 1 } else { LEAF_MIN });
            assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(entries.iter().all(|(key, _)| low.is_none_or(|low| low <= key)));
            assert!(entries.iter().all(|(key, _)| high.is_none_or(|high| key < high)));
            (entries.len(), 0)
        }
        Node::Inner(inner) => {
            let (keys, children) = (inner.keys(), inner.children());
            assert!(children.len() <= INNER_MAX);
            assert!(children.len() >= if is_root { 2 } else { INNER_MIN });
            assert_eq!(keys.len() + 1, children.len());
            let bounds: Vec<Option<&K>> =
                [low].into_iter().chain(keys.iter().map(Some)).chain([high]).collect();
            let heights: Vec<usize> = children
                .iter()
                .zip(bounds.windows(2))
                .map(|(child, bounds)| check_child(child, false, bounds[0], bounds[1]))
                .collect();
            assert!(heights.windows(2).all(|pair| pair[0] == pair[1]), "{heights:?}");
            (children.iter().map(|child| child.len).sum(), heights[0] + 1)
        }
    };
    assert!(child.node.heads_fit());
    assert_eq!(child.len, len);
    assert_eq!(child.sum, child.node.sum());
    height
}
