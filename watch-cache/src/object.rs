//! The plain types that sources, the core and readers share.

use bytes::Bytes;

/// One object as a source gives it. A cache copies the bytes once, into an
/// [`Object`](crate::Object), and keeps nothing of this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceObject {
    /// The object's key.
    pub key: Bytes,
    /// The object's bytes, never decoded by this crate.
    pub value: Bytes,
    /// The revision that created the key.
    pub create_revision: u64,
    /// The revision of the last write to the key.
    pub mod_revision: u64,
}

/// What a revision did to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was created or overwritten.
    Put(SourceObject),
    /// The key was deleted.
    Delete(Bytes),
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(object) => &object.key,
            Self::Delete(key) => key,
        }
    }
}

/// One whole revision: everything that one transaction of the source changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The source's revision; the first possible one is 1.
    pub revision: u64,
    /// Its changes, each key at most once.
    pub changes: Vec<Change>,
}

/// The least byte string above everything that starts with `prefix`; `None` when there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end: Vec<u8> = prefix.iter().take(last + 1).copied().collect();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_the_least_bound() {
        assert_eq!(prefix_end(b"/a/"), Some(Bytes::from_static(b"/a0")));
        assert_eq!(prefix_end(b"a\xff"), Some(Bytes::from_static(b"b")));
        assert_eq!(prefix_end(b"\xff\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}
