//! What is known of a blob without its bytes.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::digest::Digest;
use super::entry::{Entry, EntryKind};
use super::path::normalise;
use super::resume::{self, From};
use super::spans::{Span, Start};
use crate::error::{Error, ErrorKind, Result};

/// Hard links in a chain. Writers link to the file itself; Linux follows 40 symbolic links.
const MAX_LINKS: usize = 40;

/// How the blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// It is a plain tar.
    None,
    /// It is one gzip member or several.
    Gzip,
}

/// The index of one blob: its table of contents, and spans that can be read by themselves, each
/// with the digest of its compressed bytes.
///
/// Built by [`IndexBuilder`](crate::IndexBuilder), stored with [`encode`](Self::encode), shared
/// by all readers of the blob in an `Arc`. An index is trusted: whoever chooses it chooses what the
/// blob's bytes must be. Its own integrity is the caller's to keep, like that of an image manifest.
///
/// ```
/// use lazy_blob::{Index, IndexConfig};
///
/// let empty_tar = [0_u8; 1024];
/// let index = Index::build(empty_tar.as_slice(), IndexConfig::default())?;
/// let stored = index.encode()?;
/// assert_eq!(Index::decode(&stored)?, index);
/// # Ok::<(), lazy_blob::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Index {
    pub(super) parts: Parts,
    /// Numbers of the entries, sorted by path and then by number.
    by_path: Box<[u32]>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) compression: Compression,
    pub(super) compressed_bytes: u64,
    pub(super) uncompressed_bytes: u64,
    pub(super) blob_digest: Digest,
    pub(super) diff_id: Digest,
    pub(super) spans: Vec<Span>,
    pub(super) entries: Vec<Entry>,
}

/// Where a span lies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanInfo {
    /// Its bytes in the blob; adjacent spans may share one byte.
    pub compressed: Range<u64>,
    /// Its bytes in the uncompressed archive.
    pub uncompressed: Range<u64>,
    /// SHA-256 of its compressed bytes.
    pub digest: Digest,
}

impl Index {
    pub(super) fn from_parts(parts: Parts) -> Result<Self> {
        let count = u32::try_from(parts.entries.len())
            .map_err(|_| Error::new(ErrorKind::Exhausted, "index: more than 2^32 entries"))?;
        let mut by_path: Vec<u32> = (0..count).collect();
        let path = |number: u32| parts.entries.get(number as usize).map(|entry| &entry.path);
        by_path.sort_by(|&a, &b| path(a).cmp(&path(b)).then(a.cmp(&b)));
        Ok(Self { parts, by_path: by_path.into() })
    }

    /// How the blob is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.parts.compression
    }

    /// The blob's size in bytes.
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        self.parts.compressed_bytes
    }

    /// The uncompressed archive's size in bytes.
    #[must_use]
    pub fn uncompressed_bytes(&self) -> u64 {
        self.parts.uncompressed_bytes
    }

    /// SHA-256 of the whole blob: the layer's digest in an image manifest.
    #[must_use]
    pub fn blob_digest(&self) -> Digest {
        self.parts.blob_digest
    }

    /// SHA-256 of the uncompressed archive: the layer's `DiffID` in an image configuration.
    #[must_use]
    pub fn diff_id(&self) -> Digest {
        self.parts.diff_id
    }

    /// All entries in the order of the archive. Where a path occurs twice, the last one counts.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.parts.entries
    }

    /// The entry at `path`, in any spelling: `usr/bin/env`, `/usr/bin/env` and `./usr//bin/env`
    /// are the same. Symbolic links are not followed; a hard link is given as it is, see
    /// [`resolve`](Self::resolve).
    #[must_use]
    pub fn entry(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        let path = normalise(path.as_ref());
        self.number_before(&path, u32::MAX).and_then(|number| self.numbered(number))
    }

    /// The entry whose content `path` names: as [`entry`](Self::entry), with hard links followed,
    /// at most 40 in a chain.
    #[must_use]
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        let mut number = self.number_before(&normalise(path.as_ref()), u32::MAX)?;
        for _ in 0..=MAX_LINKS {
            let entry = self.numbered(number)?;
            if entry.kind != EntryKind::HardLink {
                return Some(entry);
            }
            // A hard link names an entry before it, so there are no circles.
            number = self.number_before(&normalise(&entry.link_target), number)?;
        }
        None
    }

    /// The number of spans.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.parts.spans.len()
    }

    /// Where span `number` lies.
    #[must_use]
    pub fn span(&self, number: usize) -> Option<SpanInfo> {
        self.parts.spans.get(number).map(|span| SpanInfo {
            compressed: span.in_start..span.in_end,
            uncompressed: span.out_start..span.out_end,
            digest: span.digest,
        })
    }

    /// The numbers of the spans that hold `range` of the uncompressed archive; empty for an empty
    /// range. What lies beyond the archive is ignored.
    #[must_use]
    pub fn spans_of(&self, range: Range<u64>) -> Range<usize> {
        if range.start >= range.end {
            return 0..0;
        }
        let spans = &self.parts.spans;
        let first = spans.partition_point(|span| span.out_end <= range.start);
        let end = spans.partition_point(|span| span.out_start < range.end);
        first..end.max(first)
    }

    /// Decodes span `number` from its compressed bytes, after they match its digest.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) for other bytes than the index was made from,
    /// [`Invalid`](ErrorKind::Invalid) for a span that does not exist.
    pub fn decode_span(&self, number: usize, compressed: &Bytes) -> Result<Bytes> {
        let span = self.parts.spans.get(number).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("span {number} does not exist: ask for fewer"))
        })?;
        if Digest::of(compressed) != span.digest {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("span {number}: digest mismatch: the source gives wrong bytes"),
            ));
        }
        span.decode(compressed)
    }

    fn numbered(&self, number: u32) -> Option<&Entry> {
        self.parts.entries.get(number as usize)
    }

    /// The last entry of this path among those before `limit`.
    fn number_before(&self, path: &[u8], limit: u32) -> Option<u32> {
        let after = self.by_path.partition_point(|&number| {
            let entry = self.numbered(number).map_or(&[][..], |entry| &entry.path);
            entry.cmp(path).then(number.cmp(&limit)).is_lt()
        });
        let number = *self.by_path.get(after.checked_sub(1)?)?;
        (&*self.numbered(number)?.path == path).then_some(number)
    }
}

impl Span {
    /// Inflates `compressed`, whose digest was checked, so that its length is what was hashed.
    fn decode(&self, compressed: &Bytes) -> Result<Bytes> {
        let window;
        let from = match &self.start {
            // A copy, since what is shared is a part of a larger fetch, which a cache would hold.
            Start::Plain => return Ok(Bytes::copy_from_slice(compressed)),
            Start::Member => From::Member,
            Start::Block { bits, window: packed } => {
                window = packed.unpack()?;
                From::Block { bits: *bits, window: &window }
            }
        };
        let length = usize::try_from(self.out_end - self.out_start)
            .map_err(|_| Error::new(ErrorKind::Exhausted, "a span is beyond the address space"))?;
        let mut out = vec![0; length];
        resume::inflate(compressed, from, &mut out, false)?;
        Ok(out.into())
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("compression", &self.parts.compression)
            .field("compressed_bytes", &self.parts.compressed_bytes)
            .field("uncompressed_bytes", &self.parts.uncompressed_bytes)
            .field("blob_digest", &self.parts.blob_digest)
            .field("spans", &self.parts.spans.len())
            .field("entries", &self.parts.entries.len())
            .finish_non_exhaustive()
    }
}
