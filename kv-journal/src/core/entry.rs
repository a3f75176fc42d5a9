//! Versions as entries of the trees: one reference count each, ordered by what is in them.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use cow_tree::Key;

use super::value::KeyValue;

/// The newest version of a key that exists, ordered by its key.
#[derive(Debug, Clone)]
pub(crate) struct Live(pub(super) Arc<KeyValue>);

/// A version that was replaced or deleted since, or a delete, ordered by key and revision.
#[derive(Debug, Clone)]
pub(crate) struct Past(pub(super) Arc<KeyValue>);

impl Past {
    /// A delete, or what compares as the version of `key` at `revision`.
    pub(super) fn delete(key: Bytes, revision: u64) -> Self {
        Self(tombstone(key, revision))
    }

    pub(super) fn is_delete(&self) -> bool {
        self.0.version == 0
    }

    /// The version, unless this is a delete.
    pub(super) fn version(&self) -> Option<&Arc<KeyValue>> {
        (!self.is_delete()).then_some(&self.0)
    }

    fn place(&self) -> (&Bytes, u64) {
        (&self.0.key, self.0.mod_revision)
    }
}

/// What a delete leaves of a key: when it was.
pub(super) fn tombstone(key: Bytes, mod_revision: u64) -> Arc<KeyValue> {
    Arc::new(KeyValue { key, mod_revision, ..KeyValue::default() })
}

/// A place in a tree, with memory of its own: the version there may go before it does.
fn place_of(kv: &KeyValue) -> Arc<KeyValue> {
    tombstone(Bytes::copy_from_slice(&kv.key), kv.mod_revision)
}

impl Borrow<[u8]> for Live {
    fn borrow(&self) -> &[u8] {
        &self.0.key
    }
}

impl Key for Live {
    fn shared(&self, other: &Self) -> usize {
        self.0.key.shared(&other.0.key)
    }

    fn head(&self, skip: usize) -> u64 {
        self.0.key.head(skip)
    }

    fn separator(&self) -> Self {
        Self(place_of(&self.0))
    }
}

impl Ord for Live {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl Key for Past {
    fn shared(&self, other: &Self) -> usize {
        self.place().shared(&other.place())
    }

    fn head(&self, skip: usize) -> u64 {
        self.place().head(skip)
    }

    fn separator(&self) -> Self {
        Self(place_of(&self.0))
    }
}

impl Ord for Past {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

macro_rules! ordered_by_cmp {
    ($($entry:ty),*) => {$(
        impl PartialOrd for $entry {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $entry {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $entry {}
    )*};
}

ordered_by_cmp!(Live, Past);
