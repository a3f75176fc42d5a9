//! Named values beside the keys: what somebody who serves the store has to remember about it.
//!
//! They are journaled, and checkpoints and exports hold them. They have no revisions and no
//! versions, no reader of keys sees them, and no watcher and no hash of the keys is told of them.

use bytes::Bytes;
use cow_tree::Tree;

/// What a property takes beside its name and value.
const OVERHEAD: u64 = 128;

/// One property, set or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyChange {
    /// Its name.
    pub name: Bytes,
    /// Its value from now on; `None` removes it, if it is there.
    pub value: Option<Bytes>,
}

impl PropertyChange {
    /// Sets the property.
    pub fn set(name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// Removes the property.
    pub fn remove(name: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: None }
    }

    pub(crate) fn byte_len(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// All properties, by name. A copy costs nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties {
    by_name: Tree<Bytes, Bytes>,
    bytes: u64,
}

impl Properties {
    /// What they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn apply(&mut self, change: &PropertyChange) {
        let name = &change.name;
        if let Some(before) = self.by_name.remove(name) {
            self.bytes -= bytes_of(name, &before);
        }
        if let Some(value) = &change.value {
            self.bytes += bytes_of(name, value);
            // Memory of their own: a slice would pin the whole record.
            self.by_name.insert(Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
        }
    }

    /// Those after `name`, in their order.
    pub(crate) fn after(&self, name: Option<&[u8]>) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_name.range::<[u8], _>((name.map_or(Unbounded, Excluded), Unbounded))
    }

    /// Those whose names begin with `prefix`, in their order.
    pub(crate) fn starting_with(&self, prefix: &[u8]) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        use std::ops::Bound::{Included, Unbounded};
        let from = self.by_name.range::<[u8], _>((Included(prefix), Unbounded));
        from.take_while(move |(name, _)| name.starts_with(prefix))
    }
}

fn bytes_of(name: &[u8], value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64 + OVERHEAD
}
