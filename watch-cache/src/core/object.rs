//! One version of an object.

use std::borrow::Cow;
use std::fmt;

use arc_swap::ArcSwapAny;
use bytes::Bytes;
use triomphe::ThinArc;

use super::index::Index;
use super::past::{Lost, Past};
use super::text::Text;
use crate::object::SourceObject;

/// One version of an object as the cache holds it: its source's bytes as they came, which lists,
/// watches and initial events share. Cloning counts a reference.
///
/// ```
/// use watch_cache::{Object, SourceObject};
///
/// let came = SourceObject {
///     key: "/pods/a".into(),
///     value: "running".into(),
///     create_revision: 2,
///     mod_revision: 7,
/// };
/// let object = Object::from(&came);
/// assert_eq!((object.key(), object.value()), (&b"/pods/a"[..], &b"running"[..]));
/// assert_eq!(SourceObject::from(&object), came);
/// ```
#[derive(Clone)]
pub struct Object(ThinArc<Header, u8>);

struct Header {
    /// The revision that did it, or the listing's that brought it.
    revision: u64,
    create_revision: u64,
    mod_revision: u64,
    past: Past,
    /// All versions of an object share it.
    key: Text,
    value_len: u32,
    /// How many indexes have their values at the end of the bytes.
    indexes: u16,
    /// Whether it is the delete that ended the object.
    deleted: bool,
    /// Whether the object was there just before.
    replaces: bool,
}

/// The most that a key and a value may have together, in bytes.
pub(crate) const MAX_LEN: usize = 1 << 31;

/// Where a value of an index is among the bytes.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: u32,
    len: u32,
}

impl Span {
    const LEN: usize = 8;
    /// Of an object that has no value in the index.
    const NONE: Self = Self { begin: u32::MAX, len: 0 };

    fn new(begin: usize, len: usize) -> Self {
        let span = u32::try_from(begin).ok().zip(u32::try_from(len).ok());
        // More than 4 GiB of values are not indexed.
        span.map_or(Self::NONE, |(begin, len)| Self { begin, len })
    }

    fn range(self) -> Option<std::ops::Range<usize>> {
        let begin = self.begin as usize;
        (self.begin != u32::MAX).then_some(begin..begin + self.len as usize)
    }
}

/// Puts the bytes of versions together, in memory that is used again: the value, what indexes found
/// that is no part of it, and where the value of each index is.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Builder {
    /// A put at `revision` after what was there, if anything was at a retained revision.
    pub(crate) fn put(
        &mut self,
        object: &SourceObject,
        indexes: &[Index],
        revision: u64,
        before: Option<&Object>,
    ) -> Object {
        self.bytes.clear();
        self.spans.clear();
        self.bytes.extend_from_slice(&object.value);
        for index in indexes {
            let value = index.value(object);
            self.add(object, value);
        }
        for span in &self.spans {
            self.bytes.extend_from_slice(&span.begin.to_le_bytes());
            self.bytes.extend_from_slice(&span.len.to_le_bytes());
        }
        let key = before.map_or_else(|| Text::new(&object.key), |before| before.key_text().clone());
        key.set_newest(revision);
        let header = Header {
            revision,
            create_revision: object.create_revision,
            mod_revision: object.mod_revision,
            past: Past::after(before),
            key,
            value_len: len_of(&object.value),
            indexes: u16::try_from(indexes.len()).unwrap_or(u16::MAX),
            deleted: false,
            replaces: before.is_some_and(|before| !before.is_delete()),
        };
        Object(ThinArc::from_header_and_slice(header, &self.bytes))
    }

    fn add(&mut self, object: &SourceObject, value: Option<Cow<'_, [u8]>>) {
        let span = match value {
            None => Span::NONE,
            Some(value) => {
                let begin = match &value {
                    Cow::Borrowed(part) => place(object, part),
                    Cow::Owned(_) => None,
                };
                let begin = begin.unwrap_or_else(|| {
                    let end = self.bytes.len();
                    self.bytes.extend_from_slice(&value);
                    end
                });
                Span::new(begin, value.len())
            }
        };
        self.spans.push(span);
    }
}

/// Where a part of an object's value is in it, if it is a part.
fn place(object: &SourceObject, part: &[u8]) -> Option<usize> {
    let begin = part.as_ptr().addr().checked_sub(object.value.as_ptr().addr())?;
    (begin.checked_add(part.len())? <= object.value.len()).then_some(begin)
}

/// The source's bytes are checked before they come here.
fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

impl Object {
    /// The object's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.header().key.bytes()
    }

    /// The object's bytes, never decoded by this crate.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.0.slice.get(..self.header().value_len as usize).unwrap_or_default()
    }

    /// The key, without a copy.
    #[must_use]
    pub fn key_bytes(&self) -> Bytes {
        self.header().key.to_bytes()
    }

    /// The object's bytes, without a copy.
    #[must_use]
    pub fn value_bytes(&self) -> Bytes {
        Bytes::from_owner(Value(self.clone()))
    }

    /// The revision that created the key.
    #[must_use]
    pub fn create_revision(&self) -> u64 {
        self.header().create_revision
    }

    /// The revision of the last write to the key.
    #[must_use]
    pub fn mod_revision(&self) -> u64 {
        self.header().mod_revision
    }

    fn header(&self) -> &Header {
        &self.0.header.header
    }
}

/// What the cache knows of a version.
impl Object {
    /// The delete at `revision` of this object.
    pub(crate) fn delete(&self, revision: u64) -> Self {
        self.key_text().set_newest(revision);
        let header = Header {
            revision,
            create_revision: 0,
            mod_revision: revision,
            past: Past::after(Some(self)),
            key: self.key_text().clone(),
            value_len: 0,
            indexes: 0,
            deleted: true,
            replaces: true,
        };
        Self(ThinArc::from_header_and_slice(header, &[]))
    }

    pub(crate) fn key_text(&self) -> &Text {
        &self.header().key
    }

    /// The revision of the cache's log that has it.
    pub(crate) fn revision(&self) -> u64 {
        self.header().revision
    }

    pub(crate) fn is_delete(&self) -> bool {
        self.header().deleted
    }

    pub(crate) fn past(&self) -> &Past {
        &self.header().past
    }

    /// Whether both are the same piece of memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }

    /// Whether nobody else has it.
    pub(crate) fn is_last(&self) -> bool {
        ThinArc::strong_count(&self.0) == 1
    }

    /// The object's value in the index at a position; none for a delete.
    pub(crate) fn index_value(&self, index: usize) -> Option<&[u8]> {
        let indexes = usize::from(self.header().indexes);
        let spans = self.0.slice.len().checked_sub(indexes * Span::LEN)?;
        let span = self.0.slice.get(spans..)?.chunks_exact(Span::LEN).nth(index)?;
        let (begin, len) = span.split_first_chunk::<4>()?;
        let span = Span {
            begin: u32::from_le_bytes(*begin),
            len: u32::from_le_bytes(*len.first_chunk()?),
        };
        self.0.slice.get(span.range()?)
    }

    /// The version of the object that this replaced or deleted; none if the object was not there.
    pub(crate) fn replaced(&self) -> Result<Option<Self>, Lost> {
        if self.header().replaces { self.past().before().map(Some) } else { Ok(None) }
    }

    /// What the object whose newest version this is was at `revision`; none if it was not there.
    pub(crate) fn at(&self, revision: u64) -> Result<Option<Self>, Lost> {
        let mut at = self.clone();
        while at.revision() > revision {
            at = match at.past().towards(revision)? {
                Some(before) => before,
                None => return Ok(None),
            };
        }
        Ok(Some(at).filter(|at| !at.is_delete()))
    }

    /// The bytes that this version takes.
    pub(crate) fn bytes(&self) -> usize {
        /// With the counts of references, and what an allocator takes.
        const OVERHEAD: usize = size_of::<Header>() + 64;
        self.key().len() + self.0.slice.len() + OVERHEAD
    }
}

/// A version that another refers to, if any, which the one writer changes while others read.
pub(crate) struct Link(ArcSwapAny<Option<ThinArc<Header, u8>>>);

impl Link {
    pub(crate) fn new(object: Option<Object>) -> Self {
        Self(ArcSwapAny::new(object.map(|object| object.0)))
    }

    /// Waits for nobody.
    pub(crate) fn get(&self) -> Option<Object> {
        self.0.load_full().map(Object)
    }

    pub(crate) fn set(&self, object: Option<Object>) {
        drop(self.0.swap(object.map(|object| object.0)));
    }

    pub(crate) fn take(&self) -> Option<Object> {
        self.0.swap(None).map(Object)
    }
}

/// The newest version of an object, which the one writer changes in its place while others read.
pub(crate) struct Newest(ArcSwapAny<ThinArc<Header, u8>>);

impl Newest {
    pub(crate) fn new(object: Object) -> Self {
        Self(ArcSwapAny::new(object.0))
    }

    /// Waits for nobody.
    pub(crate) fn get(&self) -> Object {
        Object(self.0.load_full())
    }

    pub(crate) fn set(&self, object: Object) {
        self.0.store(object.0);
    }
}

/// Stays as it is when the original is changed.
impl Clone for Newest {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A value as an owner of bytes.
struct Value(Object);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.0.value()
    }
}

/// An object that is in no cache.
impl From<&SourceObject> for Object {
    fn from(object: &SourceObject) -> Self {
        Builder::default().put(object, &[], object.mod_revision, None)
    }
}

/// Without a copy of the bytes: they keep the object in memory.
impl From<&Object> for SourceObject {
    fn from(object: &Object) -> Self {
        Self {
            key: object.key_bytes(),
            value: object.value_bytes(),
            create_revision: object.create_revision(),
            mod_revision: object.mod_revision(),
        }
    }
}

impl PartialEq<SourceObject> for Object {
    fn eq(&self, other: &SourceObject) -> bool {
        let SourceObject { key, value, create_revision, mod_revision } = other;
        (self.create_revision(), self.mod_revision()) == (*create_revision, *mod_revision)
            && self.key() == key
            && self.value() == value
    }
}

/// Where it is in a cache is no part of it.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
            || (self.create_revision(), self.mod_revision(), self.key(), self.value())
                == (other.create_revision(), other.mod_revision(), other.key(), other.value())
    }
}

impl Eq for Object {}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(if self.is_delete() { "Delete" } else { "Object" })
            .field("key", &Bytes::copy_from_slice(self.key()))
            .field("value", &Bytes::copy_from_slice(self.value()))
            .field("create_revision", &self.create_revision())
            .field("mod_revision", &self.mod_revision())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(key: Vec<u8>, value: Vec<u8>) -> SourceObject {
        SourceObject { key: key.into(), value: value.into(), create_revision: 3, mod_revision: 9 }
    }

    proptest! {
        #[test]
        fn everything_is_found_again(key: Vec<u8>, value: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(value.len() + 1);
            let indexes = [
                Index::new("part", move |object| Some(Cow::Borrowed(&object.value[at..]))),
                Index::new("none", |_| None),
                Index::new("key", |object| Some(Cow::Borrowed(&object.key[..]))),
                Index::new("made", |object| Some(Cow::Owned([&object.value[..], b"!"].concat()))),
                Index::new("static", |_| Some(Cow::Borrowed(b"constant"))),
            ];
            let source = source(key, value);
            let object = Builder::default().put(&source, &indexes, 12, None);
            prop_assert_eq!(&SourceObject::from(&object), &source);
            let apart = Object::from(&source);
            prop_assert!(object == source && object == apart);
            let made = [&source.value[..], b"!"].concat();
            let expected = [
                Some(&source.value[at..]),
                None,
                Some(&source.key[..]),
                Some(&made[..]),
                Some(&b"constant"[..]),
                None,
            ];
            for (index, expected) in expected.into_iter().enumerate() {
                prop_assert_eq!(object.index_value(index), expected);
            }
            // What is a part of the value is not kept twice.
            let kept = object.bytes() - apart.bytes();
            let beside = source.key.len() + made.len() + b"constant".len();
            prop_assert_eq!(kept, 5 * Span::LEN + beside);
            let delete = object.delete(20);
            prop_assert_eq!((object.revision(), delete.index_value(0)), (12, None));
        }
    }

    #[test]
    fn a_version_fits_its_memory() {
        // With the count of references and the length.
        assert_eq!(size_of::<Header>() + 16, 88);
        assert_eq!(size_of::<crate::core::view::Entry>(), 32);
    }

    #[test]
    fn bytes_outlive_the_object() {
        let object = Object::from(&source(b"k".to_vec(), b"value".to_vec()));
        let (key, value) = (object.key_bytes(), object.value_bytes());
        drop(object);
        assert_eq!((&key[..], &value[1..]), (&b"k"[..], &b"alue"[..]));
    }
}
