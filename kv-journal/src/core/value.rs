//! What is stored and what happened to it.

use std::fmt;

use bytes::Bytes;
use triomphe::ThinArc;

use super::past::Past;

/// One key at one revision, in one piece of memory. Cloning counts a reference.
///
/// Whoever holds one keeps it in memory, and with it, until a compaction passes it, what its key was
/// before.
#[derive(Clone)]
pub struct KeyValue(ThinArc<Header, u8>);

/// The numbers of a [`KeyValue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Meta {
    /// The revision at which the key was last created.
    pub create_revision: u64,
    /// The revision of its last change.
    pub mod_revision: u64,
    /// How many puts since it was created; 1 for the first.
    pub version: u64,
    /// The lease that it is attached to; 0 for none.
    pub lease: i64,
}

struct Header {
    meta: Meta,
    past: Past,
    /// Grows from each version of a key to the next; begins again after 2^31. The lowest bit says
    /// whether the bytes end with a sub-revision: most versions are the first change of theirs.
    depth_and_sub: u32,
    key_len: u32,
}

const SUB_LEN: usize = size_of::<u32>();

impl KeyValue {
    /// A version with these bytes, which are copied, and numbers.
    ///
    /// # Panics
    /// If the key has 4 GiB or more.
    #[must_use]
    pub fn new(key: &[u8], value: &[u8], meta: Meta) -> Self {
        Self::following(None, key, value, meta, 0)
    }

    /// A version, what was before it, and how many changes its revision made before it.
    pub(super) fn following(
        prev: Option<Self>,
        key: &[u8],
        value: &[u8],
        meta: Meta,
        sub: u32,
    ) -> Self {
        #[expect(clippy::expect_used, reason = "a record has 32 bits for a key's length")]
        let key_len = u32::try_from(key.len()).expect("a key is shorter than 4 GiB");
        let depth = prev.as_ref().map_or(0, |prev| (prev.depth() + 1) & (u32::MAX >> 1));
        let depth_and_sub = (depth << 1) | u32::from(sub != 0);
        let header = Header { meta, past: Past::after(prev, depth), depth_and_sub, key_len };
        let sub = sub.to_le_bytes();
        let tail = if sub == [0; SUB_LEN] { &[][..] } else { &sub };
        Self(ThinArc::from_header_and_slice(header, &[key, value, tail].concat()))
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.halves().0
    }

    /// The value; empty in an answer that asked for keys only.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.halves().1
    }

    /// The key, without a copy: it keeps the value in memory, too.
    #[must_use]
    pub fn key_bytes(&self) -> Bytes {
        Bytes::from_owner(Half { kv: self.clone(), of: Self::key })
    }

    /// The value, without a copy: it keeps the key in memory, too.
    #[must_use]
    pub fn value_bytes(&self) -> Bytes {
        Bytes::from_owner(Half { kv: self.clone(), of: Self::value })
    }

    /// The revision at which the key was last created.
    #[must_use]
    pub fn create_revision(&self) -> u64 {
        self.meta().create_revision
    }

    /// The revision of its last change.
    #[must_use]
    pub fn mod_revision(&self) -> u64 {
        self.meta().mod_revision
    }

    /// How many puts since it was created; 1 for the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.meta().version
    }

    /// The lease that it is attached to; 0 for none.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.meta().lease
    }

    /// All numbers at once.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.0.header.header.meta
    }

    /// Whether this stands for a delete.
    pub(super) fn is_delete(&self) -> bool {
        self.version() == 0
    }

    pub(super) fn past(&self) -> &Past {
        &self.0.header.header.past
    }

    /// The place in the chain of the key's versions.
    pub(super) fn depth(&self) -> u32 {
        self.0.header.header.depth_and_sub >> 1
    }

    /// How many changes its revision made before it: etcd's sub-revision.
    pub(super) fn sub_revision(&self) -> u32 {
        if !self.has_sub() {
            return 0;
        }
        self.0.slice.last_chunk().map_or(0, |sub| u32::from_le_bytes(*sub))
    }

    fn has_sub(&self) -> bool {
        self.0.header.header.depth_and_sub & 1 != 0
    }

    /// What the change that made this version did.
    pub(crate) fn kind(&self) -> EventKind {
        if self.is_delete() { EventKind::Delete } else { EventKind::Put }
    }

    /// Whether both are the same piece of memory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }

    /// Whether nobody else has it.
    pub(super) fn is_last(&self) -> bool {
        ThinArc::strong_count(&self.0) == 1
    }

    fn halves(&self) -> (&[u8], &[u8]) {
        let end = if self.has_sub() { self.0.slice.len() - SUB_LEN } else { self.0.slice.len() };
        // The key's length is that of its bytes, which come first.
        self.0.slice.split_at(end).0.split_at(self.0.header.header.key_len as usize)
    }
}

/// A key or a value as an owner of bytes.
struct Half {
    kv: KeyValue,
    of: fn(&KeyValue) -> &[u8],
}

impl AsRef<[u8]> for Half {
    fn as_ref(&self) -> &[u8] {
        (self.of)(&self.kv)
    }
}

/// An absent key.
impl Default for KeyValue {
    fn default() -> Self {
        Self::new(&[], &[], Meta::default())
    }
}

/// What was before a version is no part of it, nor its place in its revision.
impl PartialEq for KeyValue {
    fn eq(&self, other: &Self) -> bool {
        self.meta() == other.meta() && self.halves() == other.halves()
    }
}

impl Eq for KeyValue {}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue")
            .field("key", &Bytes::copy_from_slice(self.key()))
            .field("value", &Bytes::copy_from_slice(self.value()))
            .field("meta", &self.meta())
            .finish()
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
    pub kv: KeyValue,
    /// The key as it was before, unless it did not exist or that was compacted.
    pub prev_kv: Option<KeyValue>,
}
