//! Which keys a request is about.

use std::ops::Bound;

use bytes::Bytes;

/// A contiguous set of keys in byte order: one key, a prefix, a half-open range, or everything.
///
/// ```
/// use kv_journal::KeyRange;
///
/// assert!(KeyRange::prefix("pods/").contains(b"pods/a"));
/// assert!(!KeyRange::range("a", "c").contains(b"c"));
/// assert!(KeyRange::from("b").contains(b"zebra"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    start: Bytes,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// The range is its start alone.
    Single,
    /// Every key from the start and before this one.
    Before(Bytes),
    /// Every key from the start.
    Open,
}

impl KeyRange {
    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: End::Single }
    }

    /// Every key that begins with `prefix`; an empty prefix is every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = match after_prefix(&start) {
            Some(end) => End::Before(end),
            None => End::Open,
        };
        Self { start, end }
    }

    /// Every key in `start..end`, without `end`; empty if `end <= start`.
    pub fn range(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: End::Before(end.into()) }
    }

    /// Every key from `start` on.
    pub fn from(start: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: End::Open }
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: End::Open }
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key == self.start,
            End::Before(end) => key >= &self.start[..] && key < &end[..],
            End::Open => key >= &self.start[..],
        }
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if end <= &self.start)
    }

    /// The first key that can lie in the range.
    #[must_use]
    pub fn start(&self) -> &Bytes {
        &self.start
    }

    /// The key, if the range is exactly one.
    #[must_use]
    pub fn as_key(&self) -> Option<&Bytes> {
        matches!(self.end, End::Single).then_some(&self.start)
    }

    /// The least key above the range, if one is given; `None` for one key and without an end.
    #[must_use]
    pub fn end_key(&self) -> Option<&Bytes> {
        match &self.end {
            End::Before(end) => Some(end),
            End::Single | End::Open => None,
        }
    }

    /// Whether every key of `other` lies in the range, for sure.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.is_empty()
            || self.contains(&other.start)
                && match (&self.end, &other.end) {
                    (End::Open, _) | (_, End::Single) => true,
                    (End::Before(end), End::Before(within)) => within <= end,
                    _ => false,
                }
    }

    /// Whether some key may lie in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let reaches = |range: &Self, start| range.contains(start);
        !self.is_empty()
            && !other.is_empty()
            && (reaches(self, &other.start) || reaches(other, &self.start))
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    pub(crate) fn from_parts(start: Bytes, end: End) -> Self {
        Self { start, end }
    }

    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = match &self.end {
            End::Single => Bound::Included(&self.start[..]),
            End::Before(end) => Bound::Excluded(&end[..]),
            End::Open => Bound::Unbounded,
        };
        (Bound::Included(&self.start[..]), end)
    }

    /// The size of the range's own bytes.
    pub(crate) fn byte_len(&self) -> usize {
        let end = match &self.end {
            End::Before(end) => end.len(),
            End::Single | End::Open => 0,
        };
        self.start.len() + end
    }
}

/// The least key above every key with this prefix; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_high_bytes_ends_above_all_its_keys() {
        let range = KeyRange::prefix(&b"a\xff"[..]);
        assert!(range.contains(b"a\xff"));
        assert!(range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b"));
        assert!(KeyRange::prefix(&b"\xff"[..]).contains(b"\xff\xff"));
        assert!(!KeyRange::prefix(&b"\xff"[..]).contains(b"\xfe"));
    }

    #[test]
    fn a_reversed_range_is_empty() {
        assert!(KeyRange::range("b", "a").is_empty());
        assert!(KeyRange::range("b", "b").is_empty());
        assert!(!KeyRange::range("b", "b").contains(b"b"));
        assert!(!KeyRange::all().is_empty());
    }

    #[test]
    fn an_empty_prefix_is_every_key() {
        assert_eq!(KeyRange::prefix(""), KeyRange::all());
        assert!(KeyRange::all().contains(b""));
    }
}
