//! A map whose clones share all but the buckets that changed since.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use crate::core::hash::KeyedHash;

/// Two levels of this many give 4,096 buckets: 25 of 100,000 services in each. A change after a
/// clone copies two rows of pointers and one bucket.
const FANOUT: usize = 64;

type Bucket<K, V> = HashMap<K, V, KeyedHash>;
type Row<T> = Arc<Vec<Arc<T>>>;

/// A hash map with cheap clones.
pub(super) struct SharedMap<K, V> {
    hash: KeyedHash,
    rows: Row<Vec<Arc<Bucket<K, V>>>>,
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    pub(super) fn new(hash: KeyedHash) -> Self {
        // All places share one empty bucket until something is put there.
        let bucket = Arc::new(HashMap::with_hasher(hash));
        let row = Arc::new(std::iter::repeat_n(bucket, FANOUT).collect::<Vec<_>>());
        Self { hash, rows: Arc::new(std::iter::repeat_n(row, FANOUT).collect()) }
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (row, column) = self.place(key);
        self.rows.get(row)?.get(column)?.get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.place(&key);
        self.bucket(place)?.insert(key, value)
    }

    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key);
        self.bucket(place)?.remove(key)
    }

    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> (usize, usize) {
        // The buckets use the low and the highest bits of the same hash.
        let bits = usize::try_from(self.hash.hash_one(key) >> 32 & 0xFFFF).unwrap_or_default();
        (bits / FANOUT % FANOUT, bits % FANOUT)
    }

    fn bucket(&mut self, (row, column): (usize, usize)) -> Option<&mut Bucket<K, V>> {
        let row = Arc::make_mut(&mut self.rows).get_mut(row)?;
        Some(Arc::make_mut(Arc::make_mut(row).get_mut(column)?))
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { hash: self.hash, rows: Arc::clone(&self.rows) }
    }
}

impl<K, V> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn clones_are_snapshots(ops in prop::collection::vec((0u16..300, any::<Option<u8>>()), 0..200), cut in 0usize..200) {
            let mut map = SharedMap::new(KeyedHash::new(1));
            let mut model = BTreeMap::new();
            let mut snapshot = (map.clone(), model.clone());
            for (at, (key, value)) in ops.into_iter().enumerate() {
                if at == cut {
                    snapshot = (map.clone(), model.clone());
                }
                let (before, expected) = match value {
                    Some(value) => (map.insert(key, value), model.insert(key, value)),
                    None => (map.remove(&key), model.remove(&key)),
                };
                prop_assert_eq!(before, expected);
            }
            for key in 0..300 {
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(snapshot.0.get(&key), snapshot.1.get(&key));
            }
        }
    }
}
