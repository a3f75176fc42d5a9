//! The leases that exist and the keys attached to them.

use std::ops::Bound;

use bytes::Bytes;
use cow_tree::Tree;

/// The leases of a state. It is part of the state, so that a snapshot has its leases and a batch
/// that fails takes its grants and revokes with it.
///
/// Invariant: a live key with a lease other than 0 is attached to it, no other key is, and that
/// lease exists.
#[derive(Clone, Default)]
pub(crate) struct LeaseSet {
    /// The granted time of each lease, in seconds.
    ttls: Tree<i64, u64>,
    attached: Tree<(i64, Bytes), ()>,
}

impl LeaseSet {
    /// Leases in the order of their ids, and the keys attached to them in any order; `None` if one
    /// is attached to a lease that is not there.
    pub(in crate::core) fn from_parts(
        leases: Vec<(i64, u64)>,
        mut attached: Vec<(i64, Bytes)>,
    ) -> Option<Self> {
        attached.sort_unstable();
        let ttls = Tree::from_sorted(leases);
        let found = attached.chunk_by(|(a, _), (b, _)| a == b).filter_map(|keys| keys.first());
        let complete = found.map(|(id, _)| id).all(|id| ttls.contains_key(id));
        let attached = Tree::from_sorted(attached.into_iter().map(|key| (key, ())));
        complete.then_some(Self { ttls, attached })
    }

    pub(crate) fn len(&self) -> usize {
        self.ttls.len()
    }

    pub(crate) fn contains(&self, id: i64) -> bool {
        self.ttls.contains_key(&id)
    }

    /// The granted time of a lease, in seconds.
    pub(crate) fn ttl_secs(&self, id: i64) -> Option<u64> {
        self.ttls.get(&id).copied()
    }

    /// Every lease and its granted time in seconds, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, u64)> {
        self.after(None)
    }

    /// The leases after `id`, or all, in the order of their ids.
    pub(crate) fn after(&self, id: Option<i64>) -> impl Iterator<Item = (i64, u64)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.ttls.range((from, Bound::Unbounded)).map(|(id, ttl_secs)| (*id, *ttl_secs))
    }

    /// The keys attached to a lease, in their order.
    pub(crate) fn keys(&self, id: i64) -> impl Iterator<Item = &Bytes> {
        self.attached.range(bounds(id)).map(|((_, key), ())| key)
    }

    /// How many keys are attached to a lease, in `O(log n)`.
    pub(crate) fn attached(&self, id: i64) -> u64 {
        self.attached.count_of(bounds(id)) as u64
    }

    /// Adds a lease, which the caller has found absent.
    pub(in crate::core) fn insert(&mut self, id: i64, ttl_secs: u64) {
        self.ttls.insert(id, ttl_secs);
    }

    /// Removes a lease, whose keys the caller has detached.
    pub(in crate::core) fn remove(&mut self, id: i64) {
        self.ttls.remove(&id);
    }

    /// Moves a key from one lease to another; 0 is none.
    pub(in crate::core) fn reattach(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        if from != 0 {
            self.attached.remove(&(from, Bytes::copy_from_slice(key)));
        }
        if to != 0 {
            self.attached.insert((to, Bytes::copy_from_slice(key)), ());
        }
    }
}

type AttachedBound = Bound<(i64, Bytes)>;

/// The bounds of one lease's keys: the empty key is below all others.
fn bounds(id: i64) -> (AttachedBound, AttachedBound) {
    let end =
        id.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded((next, Bytes::new())));
    (Bound::Included((id, Bytes::new())), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lease_has_its_own_keys_at_both_ends_of_the_ids() {
        let mut set = LeaseSet::default();
        for id in [i64::MIN, -1, 1, 2, i64::MAX] {
            set.insert(id, 10);
            for key in ["b", "a"] {
                set.reattach(format!("{id}{key}").as_bytes(), 0, id);
            }
        }
        for id in [i64::MIN, -1, 1, 2, i64::MAX] {
            let keys: Vec<_> = set.keys(id).cloned().collect();
            assert_eq!(keys, [format!("{id}a"), format!("{id}b")]);
            assert_eq!(set.attached(id), 2);
        }
        set.reattach(b"1a", 1, 2);
        assert_eq!((set.attached(1), set.attached(2), set.attached(0)), (1, 3, 0));
        set.reattach(b"1a", 2, 0);
        assert_eq!((set.attached(1), set.attached(2), set.attached(0)), (1, 2, 0));
    }
}
