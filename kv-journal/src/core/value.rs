//! What is stored and what happened to it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::past::Past;

/// One key at one revision. Cloning copies no bytes.
#[derive(Clone, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty in an answer that asked for keys only.
    pub value: Bytes,
    /// The revision at which the key was last created.
    pub create_revision: u64,
    /// The revision of its last change.
    pub mod_revision: u64,
    /// How many puts since it was created; 1 for the first.
    pub version: u64,
    /// The lease that it is attached to; 0 for none.
    pub lease: i64,
    /// What the key was before. No part of what a reader is told.
    pub(super) past: Past,
}

impl KeyValue {
    /// A key and its value; every number is zero.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), ..Self::default() }
    }

    /// Whether this stands for a delete.
    pub(super) fn is_delete(&self) -> bool {
        self.version == 0
    }
}

impl PartialEq for KeyValue {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |kv: &Self| (kv.create_revision, kv.mod_revision, kv.version, kv.lease);
        numbers(self) == numbers(other) && self.key == other.key && self.value == other.value
    }
}

impl Eq for KeyValue {}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue")
            .field("key", &self.key)
            .field("value", &self.value)
            .field("create_revision", &self.create_revision)
            .field("mod_revision", &self.mod_revision)
            .field("version", &self.version)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Whether an event wrote a key or deleted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was written.
    Put,
    /// The key was deleted.
    Delete,
}

/// One change of one key. Cloning copies no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as written. For a delete: the key and, as `mod_revision`, the revision of the
    /// delete; everything else is zero.
    pub kv: Arc<KeyValue>,
    /// The key as it was before, unless it did not exist or that was compacted.
    pub prev_kv: Option<Arc<KeyValue>>,
}
