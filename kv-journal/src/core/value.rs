//! What is stored and what happened to it.

use std::sync::Arc;

use bytes::Bytes;

/// One key at one revision. Cloning copies no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
