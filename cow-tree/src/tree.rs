use std::borrow::Borrow;
use std::fmt;
use std::ops::{Bound, RangeBounds};

use crate::bulk::Builder;
use crate::node::Child;
use crate::{Diff, Key, Range, Summary};

/// A persistent ordered map. The [crate's documentation](crate) has the overview.
///
/// `S` is what each subtree adds up to; `()` adds up nothing and costs nothing.
///
/// Keys are cloned when nodes are copied or split, and values when nodes are copied: both should be
/// cheap to clone, such as `Bytes`, `Arc<T>` or small structs. Removing a key may leave a clone of
/// it behind as a separator, until the nodes next to it merge.
///
/// Keys are compared by [`Key`]; as with `BTreeMap`, they must not change their order while they are in the tree.
///
/// # Examples
///
/// ```
/// use cow_tree::Tree;
///
/// let mut tree = Tree::<&str, u32>::new();
/// tree.insert("a", 1);
/// let snapshot = tree.clone();
/// tree.insert("b", 2);
/// assert_eq!((snapshot.len(), tree.len()), (1, 2));
/// assert_eq!(tree.range("b"..).next(), Some((&"b", &2)));
/// ```
pub struct Tree<K, V, S = ()> {
    root: Option<Child<K, V, S>>,
}

impl<K, V, S> Tree<K, V, S> {
    /// An empty tree; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: None }
    }

    /// The number of entries, in `O(1)`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.len)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Drops all entries. Nodes that other clones hold stay with them.
    pub fn clear(&mut self) {
        self.root = None;
    }

    /// Whether both trees are the same nodes, so that they have the same entries. Trees with the
    /// same entries may well be of different nodes.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(a), Some(b)) => a.node.ptr_eq(&b.node),
            (None, None) => true,
            _ => false,
        }
    }

    #[cfg(test)]
    pub(crate) fn root(&self) -> Option<&Child<K, V, S>> {
        self.root.as_ref()
    }

    /// All entries in key order.
    #[must_use]
    pub fn iter(&self) -> Range<'_, K, V, S> {
        Range::new(self.root.as_ref(), 0, self.len())
    }

    /// All keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.iter().map(|(_, value)| value)
    }

    /// The entry with the lowest key.
    #[must_use]
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.nth(0)
    }

    /// The entry with the highest key.
    #[must_use]
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.nth(self.len().checked_sub(1)?)
    }

    /// The entry at a position in key order, from 0, in `O(log n)`.
    #[must_use]
    pub fn nth(&self, position: usize) -> Option<(&K, &V)> {
        self.root.as_ref()?.nth(position).map(|(key, value)| (key, value))
    }
}

/// Reads.
impl<K: Key, V, S> Tree<K, V, S> {
    /// The value of a key.
    pub fn get<Q: Key + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.root.as_ref()?.get(key).map(|(_, value)| value)
    }

    /// The stored key, and its value.
    pub fn get_key_value<Q: Key + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.root.as_ref()?.get(key).map(|(key, value)| (key, value))
    }

    /// Whether the key is present.
    pub fn contains_key<Q: Key + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The number of keys less than `key`, which need not be present, in `O(log n)`.
    pub fn rank<Q: Key + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.root.as_ref().map_or(0, |root| root.rank(key, false))
    }

    /// The entries between two bounds, in key order. A range whose bounds are inverted is empty.
    ///
    /// Finding the bounds costs `O(log n)`. Bounds of an unsized type go into a pair:
    ///
    /// ```
    /// use std::ops::Bound::{Included, Unbounded};
    ///
    /// let tree: cow_tree::Tree<Vec<u8>, u32> = [(b"a".to_vec(), 1), (b"b".to_vec(), 2)].into();
    /// let from: &[u8] = b"b";
    /// assert_eq!(tree.range::<[u8], _>((Included(from), Unbounded)).len(), 1);
    /// ```
    pub fn range<Q, R>(&self, range: R) -> Range<'_, K, V, S>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
        R: RangeBounds<Q>,
    {
        let (start, end) = self.positions(&range);
        Range::new(self.root.as_ref(), start, end)
    }

    /// The number of entries between two bounds, in `O(log n)`.
    pub fn count_of<Q, R>(&self, range: R) -> usize
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
        R: RangeBounds<Q>,
    {
        let (start, end) = self.positions(&range);
        end.saturating_sub(start)
    }

    /// The positions that a range starts at and ends before; inverted where the range is.
    fn positions<Q, R>(&self, range: &R) -> (usize, usize)
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
        R: RangeBounds<Q>,
    {
        let Some(root) = &self.root else {
            return (0, 0);
        };
        let start = match range.start_bound() {
            Bound::Included(key) => root.rank(key, false),
            Bound::Excluded(key) => root.rank(key, true),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(key) => root.rank(key, true),
            Bound::Excluded(key) => root.rank(key, false),
            Bound::Unbounded => root.len,
        };
        (start, end)
    }

    /// What is different in a newer tree, in key order. See [`diff_by`](Self::diff_by).
    pub fn diff<'a>(&'a self, newer: &'a Self) -> Diff<'a, K, V, S>
    where
        V: PartialEq,
    {
        self.diff_by(newer, |old, new| old == new)
    }

    /// What is different in a newer tree, in key order, where `equal` tells whether two values of
    /// one key are the same.
    ///
    /// Nodes that both trees share are skipped unread, values that they share are not compared, so
    /// the cost between two clones of one tree is that of the changes made since: `O(log n)` for
    /// each. Trees that share nothing, or that were made apart, are compared as a whole.
    ///
    /// ```
    /// use cow_tree::{Change, Tree};
    /// use std::sync::Arc;
    ///
    /// let old: Tree<u32, Arc<str>> = (0..1000).map(|i| (i, "v".into())).collect();
    /// let mut new = old.clone();
    /// new.insert(5, "w".into());
    /// let mut compared = 0;
    /// let changes = old.diff_by(&new, |a, b| {
    ///     compared += 1;
    ///     Arc::ptr_eq(a, b)
    /// });
    /// assert!(matches!(changes.collect::<Vec<_>>()[..], [Change::Updated { key: 5, .. }]));
    /// assert!(compared < 64); // one leaf, not 1000 entries
    /// ```
    pub fn diff_by<'a, E: FnMut(&V, &V) -> bool>(
        &'a self,
        newer: &'a Self,
        equal: E,
    ) -> Diff<'a, K, V, S, E> {
        Diff::new(self.root.as_ref(), newer.root.as_ref(), equal)
    }
}

/// Sums.
impl<K: Key, V, S: Summary<K, V>> Tree<K, V, S> {
    /// What all entries add up to, in `O(1)`.
    #[must_use]
    pub fn summary(&self) -> S {
        self.root.as_ref().map_or_else(S::empty, |root| root.sum.clone())
    }

    /// What the entries between two bounds add up to, in `O(log n)`.
    pub fn summary_of<Q, R>(&self, range: R) -> S
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
        R: RangeBounds<Q>,
    {
        let mut total = S::empty();
        let (start, end) = self.positions(&range);
        if let Some(root) = &self.root {
            root.sum_between(start, end, &mut total);
        }
        total
    }
}

/// Writes.
impl<K: Key + Clone, V: Clone, S: Summary<K, V>> Tree<K, V, S> {
    /// Inserts or replaces; returns the value that was replaced (its key stays).
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(root) = &mut self.root else {
            self.plant(key, value);
            return None;
        };
        match root.locate(&key) {
            (path, Ok(slot)) => Some(
                root.change_at(&path, 0, |leaf| std::mem::replace(leaf.value_mut(slot), value)),
            ),
            (path, Err(slot)) => {
                root.grow_at(&path, slot, (key, value));
                None
            }
        }
    }

    /// Inserts or replaces the key and its value, as made from what is there; returns what was
    /// there, and whatever the closure gives beside the entry.
    ///
    /// The entry must be of the key that was asked for. An entry that holds its own key, such as a
    /// `Tree<Arc<Object>, ()>`, is changed so with one look-up.
    ///
    /// ```
    /// let mut tree: cow_tree::Tree<String, u32> = [("a".to_string(), 1)].into();
    /// let (old, count) = tree.replace_with("a", |old| {
    ///     let count = old.map_or(1, |(_, count)| count + 1);
    ///     (("a".to_string(), count), count)
    /// });
    /// assert_eq!((old, count), (Some(("a".to_string(), 1)), 2));
    /// assert_eq!(tree.get("a"), Some(&2));
    /// ```
    pub fn replace_with<Q, R>(
        &mut self,
        key: &Q,
        make: impl FnOnce(Option<(&K, &V)>) -> ((K, V), R),
    ) -> (Option<(K, V)>, R)
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let Some(root) = &mut self.root else {
            let ((key, value), given) = make(None);
            self.plant(key, value);
            return (None, given);
        };
        match root.locate(key) {
            (path, Ok(slot)) => root.change_at(&path, 0, |leaf| {
                let (key, value) = &leaf.entries()[slot];
                let (entry, given) = make(Some((key, value)));
                (Some(leaf.replace(slot, entry)), given)
            }),
            (path, Err(slot)) => {
                let (entry, given) = make(None);
                root.grow_at(&path, slot, entry);
                (None, given)
            }
        }
    }

    /// The first entry.
    fn plant(&mut self, key: K, value: V) {
        self.root = Some(Child::leaf([(key, value)].into_iter().collect()));
    }

    /// Changes the value of a key in place and returns what the closure returns; `None` if the key
    /// is absent. Sums are kept right, even if the closure panics.
    pub fn update<Q, R>(&mut self, key: &Q, change: impl FnOnce(&mut V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let root = self.root.as_mut()?;
        let (path, slot) = root.locate(key);
        let slot = slot.ok()?;
        Some(root.change_at(&path, 0, |leaf| change(leaf.value_mut(slot))))
    }

    /// Removes a key; returns its value. An absent key costs a look-up and copies nothing.
    pub fn remove<Q: Key + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes a key; returns the stored key and its value.
    pub fn remove_entry<Q: Key + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let root = self.root.as_mut()?;
        let (path, slot) = root.locate(key);
        let removed = root.remove_at(&path, 0, slot.ok()?);
        if root.len == 0 {
            self.root = None;
        } else if let Some(only) = root.only_child() {
            *root = only;
        }
        Some(removed)
    }

    /// Builds a tree from entries in ascending key order, in `O(n)`.
    ///
    /// Entries from the first on that is out of order are inserted one by one, so that any order
    /// gives the same map; of equal keys the last value stays.
    pub fn from_sorted(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut entries = entries.into_iter();
        let mut builder = Builder::new();
        let unsorted = entries.by_ref().find_map(|(key, value)| builder.push(key, value).err());
        let mut tree = Self { root: builder.finish() };
        tree.extend(unsorted.into_iter().chain(entries));
        tree
    }
}

/// `O(1)`: the clone shares all nodes.
impl<K, V, S: Clone> Clone for Tree<K, V, S> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<K, V, S> Default for Tree<K, V, S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Tree<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// Whether both have equal entries. Shared nodes are equal unread, as if values equalled themselves.
impl<K: Key, V: PartialEq, S> PartialEq for Tree<K, V, S> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.diff(other).next().is_none()
    }
}

impl<K: Key, V: Eq, S> Eq for Tree<K, V, S> {}

impl<'a, K, V, S> IntoIterator for &'a Tree<K, V, S> {
    type Item = (&'a K, &'a V);
    type IntoIter = Range<'a, K, V, S>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Key + Clone, V: Clone, S: Summary<K, V>> Extend<(K, V)> for Tree<K, V, S> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

/// Sorts first if need be, which is faster than inserting; of equal keys the last value stays.
impl<K: Key + Clone, V: Clone, S: Summary<K, V>> FromIterator<(K, V)> for Tree<K, V, S> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Self::from_sorted(entries)
    }
}

impl<K: Key + Clone, V: Clone, S: Summary<K, V>, const N: usize> From<[(K, V); N]>
    for Tree<K, V, S>
{
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}
