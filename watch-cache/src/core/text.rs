//! Keys and values of indexes, which many refer to.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use cow_tree::Key;
use triomphe::ThinArc;

/// Bytes behind one word. Cloning counts a reference.
///
/// That of a key knows the newest revision that changed it, wherever it is referred to.
#[derive(Clone)]
pub(crate) struct Text(ThinArc<AtomicU64, u8>);

impl Text {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(ThinArc::from_header_and_slice(AtomicU64::new(0), bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The newest revision that changed the key; the one writer sets it.
    pub(crate) fn newest(&self) -> u64 {
        self.0.header.header.load(Relaxed)
    }

    pub(crate) fn set_newest(&self, revision: u64) {
        self.0.header.header.store(revision, Relaxed);
    }

    /// Without a copy.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes::copy_from_slice(self.bytes()).fmt(f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ptr() == other.0.as_ptr() || self.bytes() == other.bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl Key for Text {
    fn shared(&self, other: &Self) -> usize {
        self.bytes().shared(other.bytes())
    }

    fn head(&self, skip: usize) -> u64 {
        self.bytes().head(skip)
    }

    fn touch(&self) {
        black_box(ThinArc::strong_count(&self.0));
    }
}
