//! The objects and their indexes at one revision.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use cow_tree::Tree;

use super::index::Indexed;
use super::predicate::Predicate;
use super::view::Applied;
use crate::object::{Object, prefix_end};

type ByKey = Tree<Bytes, Arc<Indexed>>;
/// By value in the index, then by key.
type ByValue = Tree<(Bytes, Bytes), Arc<Indexed>>;

/// A persistent version of the state: cloning it is `O(indexes)`.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) revision: u64,
    objects: ByKey,
    indexes: Vec<ByValue>,
}

/// The part of one tree that a predicate selects, from a key on.
pub(crate) enum Part<'a> {
    Key(&'a ByKey, Bound<Bytes>, Bound<Bytes>),
    Value(&'a ByValue, Bound<(Bytes, Bytes)>, Bound<(Bytes, Bytes)>),
}

impl Root {
    pub(crate) fn new(indexes: usize) -> Self {
        let indexes = (0..indexes).map(|_| Tree::new()).collect();
        Self { revision: 0, objects: Tree::new(), indexes }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Indexed>> {
        self.objects.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &Arc<Indexed>> {
        self.objects.values()
    }

    /// Puts a version in; returns the one that it replaces.
    pub(crate) fn insert(&mut self, new: &Arc<Indexed>) -> Option<Arc<Indexed>> {
        let key = &new.object.key;
        let old = self.objects.insert(key.clone(), Arc::clone(new));
        for (position, tree) in self.indexes.iter_mut().enumerate() {
            let before = old.as_ref().and_then(|old| old.value(position));
            let after = new.value(position);
            if let Some(value) = before.filter(|value| Some(*value) != after) {
                tree.remove(&(value.clone(), key.clone()));
            }
            if let Some(value) = after {
                tree.insert((value.clone(), key.clone()), Arc::clone(new));
            }
        }
        old
    }

    pub(crate) fn remove(&mut self, key: &Bytes) -> Option<Arc<Indexed>> {
        let old = self.objects.remove(key)?;
        for (position, tree) in self.indexes.iter_mut().enumerate() {
            if let Some(value) = old.value(position) {
                tree.remove(&(value.clone(), key.clone()));
            }
        }
        Some(old)
    }

    /// Undoes a change, which must be the last one of its key.
    pub(crate) fn take_back(&mut self, change: &Applied) {
        if let Some(old) = &change.old {
            self.insert(old);
        } else if let Some(new) = &change.new {
            self.remove(&new.object.key);
        }
    }

    /// What `predicate` selects, after the key `after` where one is given.
    pub(crate) fn select(&self, predicate: &Predicate, after: Option<&Bytes>) -> Part<'_> {
        let prefix = &predicate.prefix;
        let start = match after {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(prefix.clone()),
        };
        let end = prefix_end(prefix);
        let Some((index, value)) = &predicate.index else {
            return Part::Key(&self.objects, start, end.map_or(Bound::Unbounded, Bound::Excluded));
        };
        let end = match end {
            Some(end) => (value.clone(), end),
            None => (next_value(value), Bytes::new()),
        };
        // A predicate is only made of an index that is there.
        match self.indexes.get(*index) {
            Some(tree) => {
                Part::Value(tree, start.map(|key| (value.clone(), key)), Bound::Excluded(end))
            }
            None => Part::Key(&self.objects, Bound::Unbounded, Bound::Excluded(Bytes::new())),
        }
    }
}

/// The least value above `value`.
fn next_value(value: &Bytes) -> Bytes {
    [value, &b"\0"[..]].concat().into()
}

impl<'a> Part<'a> {
    /// How many objects the part has, in `O(log n)`.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Key(tree, start, end) => {
                tree.count_of::<Bytes, _>((start.as_ref(), end.as_ref()))
            }
            Self::Value(tree, start, end) => {
                tree.count_of::<(Bytes, Bytes), _>((start.as_ref(), end.as_ref()))
            }
        }
    }

    /// The objects in ascending order of their keys; the start costs `O(log n)`.
    pub(crate) fn iter(&self) -> Objects<'a> {
        match self {
            Self::Key(tree, start, end) => {
                Objects::Key(tree.range::<Bytes, _>((start.as_ref(), end.as_ref())))
            }
            Self::Value(tree, start, end) => {
                Objects::Value(tree.range::<(Bytes, Bytes), _>((start.as_ref(), end.as_ref())))
            }
        }
    }
}

/// The objects of a [`Part`].
#[derive(Debug)]
pub(crate) enum Objects<'a> {
    Key(cow_tree::Range<'a, Bytes, Arc<Indexed>>),
    Value(cow_tree::Range<'a, (Bytes, Bytes), Arc<Indexed>>),
}

impl<'a> Iterator for Objects<'a> {
    type Item = &'a Arc<Object>;

    fn next(&mut self) -> Option<Self::Item> {
        let indexed = match self {
            Self::Key(range) => range.next()?.1,
            Self::Value(range) => range.next()?.1,
        };
        Some(&indexed.object)
    }
}
