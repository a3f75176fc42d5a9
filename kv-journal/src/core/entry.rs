//! The newest version of a key as an entry of a tree: one reference count, ordered by its key.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hint::black_box;

use cow_tree::{Key, Tree};

use super::value::{KeyValue, Meta};

/// The newest version of a key, or its delete, ordered by its key.
#[derive(Debug, Clone)]
pub(crate) struct Newest(pub(super) KeyValue);

/// The newest versions of many keys.
pub(crate) type Keys = Tree<Newest, ()>;

/// What a delete leaves of a key: when it was, and what was before.
pub(super) fn tombstone(
    key: &[u8],
    mod_revision: u64,
    sub: u32,
    prev: Option<KeyValue>,
) -> KeyValue {
    let meta = Meta { mod_revision, ..Meta::default() };
    KeyValue::following(prev, key, &[], meta, sub)
}

impl Borrow<[u8]> for Newest {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

impl Key for Newest {
    fn shared(&self, other: &Self) -> usize {
        self.0.key().shared(other.0.key())
    }

    fn head(&self, skip: usize) -> u64 {
        self.0.key().head(skip)
    }

    fn touch(&self) {
        black_box(self.0.is_last());
    }

    /// With memory of its own: the version there may go before it does.
    fn separator(&self) -> Self {
        Self(tombstone(self.0.key(), 0, 0, None))
    }
}

impl Ord for Newest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key().cmp(other.0.key())
    }
}

impl PartialOrd for Newest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Newest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Newest {}
