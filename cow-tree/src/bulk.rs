//! Building a tree from ascending keys, bottom up.

use arrayvec::ArrayVec;

use crate::node::{Child, INNER_MAX, LEAF_MAX, LEAF_MIN};
use crate::{Key, Summary};

/// Nodes are made this full, so that the first inserts after a load do not split each of them.
const LEAF_FILL: usize = LEAF_MAX - LEAF_MAX / 8;
const INNER_FILL: usize = INNER_MAX - INNER_MAX / 8;

/// Collects ascending entries into leaves.
pub(crate) struct Builder<K, V, S> {
    /// Full leaves; the one that is being filled is `entries`.
    leaves: Vec<(K, Child<K, V, S>)>,
    entries: ArrayVec<(K, V), LEAF_MAX>,
}

impl<K: Key + Clone, V: Clone, S: Summary<K, V>> Builder<K, V, S> {
    pub(crate) fn new() -> Self {
        Self { leaves: Vec::new(), entries: ArrayVec::new() }
    }

    /// Adds an entry; gives it back if its key is less than the last one. An equal key replaces the
    /// value, as inserting it would.
    pub(crate) fn push(&mut self, key: K, value: V) -> Result<(), (K, V)> {
        match self.entries.last_mut() {
            Some(last) if key < last.0 => return Err((key, value)),
            Some(last) if key == last.0 => last.1 = value,
            _ => {
                if self.entries.len() == LEAF_FILL {
                    self.close_leaf();
                }
                self.entries.push((key, value));
            }
        }
        Ok(())
    }

    fn close_leaf(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        if let Some((first, _)) = entries.first() {
            self.leaves.push((first.separator(), Child::leaf(entries)));
        }
    }

    pub(crate) fn finish(mut self) -> Option<Child<K, V, S>> {
        let short = self.entries.len() < LEAF_MIN;
        self.close_leaf();
        if short {
            self.even_out_last_leaves();
        }
        let mut level = self.leaves;
        while level.len() > 1 {
            level = parents(level);
        }
        level.pop().map(|(_, root)| root)
    }

    /// Shares the entries of the last two leaves, since the last has too few.
    fn even_out_last_leaves(&mut self) {
        let Some((separator, last)) = self.leaves.pop() else {
            return;
        };
        let Some((first, left)) = self.leaves.pop() else {
            return self.leaves.push((separator, last));
        };
        let (joined, split) = left.join(separator, last);
        self.leaves.push((first, joined));
        self.leaves.extend(split);
    }
}

/// Puts inner nodes, evenly filled, over the nodes of a level. Each comes with its lowest key.
fn parents<K: Key + Clone, V: Clone, S: Summary<K, V>>(
    level: Vec<(K, Child<K, V, S>)>,
) -> Vec<(K, Child<K, V, S>)> {
    let (nodes, groups) = (level.len(), level.len().div_ceil(INNER_FILL));
    let mut level = level.into_iter();
    let mut next_group = |group: usize| {
        let size = nodes / groups + usize::from(group < nodes % groups);
        let (keys, children): (Vec<K>, Vec<_>) = level.by_ref().take(size).unzip();
        let mut keys = keys.into_iter();
        keys.next().map(|first| (first, Child::inner(keys.collect(), children)))
    };
    (0..groups).filter_map(&mut next_group).collect()
}
