//! Settings as plain data, each with its default, its range and the reason.

use std::fmt::Display;

use crate::error::{Error, ErrorKind, Result};

/// A setting's default and the least and the most that `open` accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limit<T> {
    /// The value of [`Config::default`].
    pub default: T,
    /// The least value that is accepted.
    pub min: T,
    /// The greatest value that is accepted.
    pub max: T,
}

impl<T: PartialOrd + Display + Copy> Limit<T> {
    pub(crate) fn check(&self, field: &str, value: T) -> Result<()> {
        if value >= self.min && value <= self.max {
            return Ok(());
        }
        let (min, max) = (self.min, self.max);
        Err(Error::new(
            ErrorKind::Invalid,
            format!("config: {field} is {value}: set it to {min}..={max}"),
        ))
    }
}

/// Settings of an open [`Blob`](crate::Blob).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of decoded spans that are kept in memory.
    pub cache_bytes: u64,
    /// Compressed bytes that one fetch of adjacent spans may ask for.
    pub fetch_bytes: u64,
    /// Fetches under way at the same time.
    pub fetches: usize,
    /// Times that a span is fetched again after wrong bytes.
    pub retries: u32,
    /// Bytes that one `read` may return.
    pub read_bytes: u64,
    /// Requests that wait for the driver before callers are held back.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_bytes: Self::CACHE_BYTES.default,
            fetch_bytes: Self::FETCH_BYTES.default,
            fetches: Self::FETCHES.default,
            retries: Self::RETRIES.default,
            read_bytes: Self::READ_BYTES.default,
            queue: Self::QUEUE.default,
        }
    }
}

impl Config {
    /// The default holds 16 spans of the default size, so that 1,000 blobs in one process stay
    /// within 8 GiB; 0 keeps nothing.
    pub const CACHE_BYTES: Limit<u64> = Limit { default: 8 << 20, min: 0, max: 1 << 40 };
    /// A range request over a 20 ms link at 1 Gb/s moves 2.5 MB in one round trip: the default
    /// keeps the link busy without holding much. A span larger than this is fetched alone.
    pub const FETCH_BYTES: Limit<u64> = Limit { default: 2 << 20, min: 1, max: 1 << 30 };
    /// Browsers open six connections to one host (RFC 9112, section 9.4, asks to be
    /// conservative); four leave room for other blobs.
    pub const FETCHES: Limit<usize> = Limit { default: 4, min: 1, max: 256 };
    /// One more try tells a damaged transfer from a damaged blob.
    pub const RETRIES: Limit<u32> = Limit { default: 1, min: 0, max: 16 };
    /// A larger file is read in ranges.
    pub const READ_BYTES: Limit<u64> = Limit { default: 256 << 20, min: 1, max: 1 << 40 };
    /// Enough for the readers of one container's start.
    pub const QUEUE: Limit<usize> = Limit { default: 32, min: 1, max: 1 << 16 };

    pub(crate) fn check(&self) -> Result<()> {
        Self::CACHE_BYTES.check("cache_bytes", self.cache_bytes)?;
        Self::FETCH_BYTES.check("fetch_bytes", self.fetch_bytes)?;
        Self::FETCHES.check("fetches", self.fetches)?;
        Self::RETRIES.check("retries", self.retries)?;
        Self::READ_BYTES.check("read_bytes", self.read_bytes)?;
        Self::QUEUE.check("queue", self.queue)
    }
}

/// Settings of an [`IndexBuilder`](crate::IndexBuilder), and the limits that
/// [`Index::decode_with`](crate::Index::decode_with) puts on an index from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexConfig {
    /// Uncompressed bytes after which a span ends.
    pub span_bytes: u64,
    /// Compressed bytes after which a span ends.
    pub span_compressed_bytes: u64,
    /// Uncompressed bytes that a span may have at most.
    pub max_span_bytes: u64,
    /// Uncompressed bytes of a whole blob.
    pub max_blob_bytes: u64,
    /// Uncompressed bytes for each compressed byte.
    pub max_ratio: u64,
    /// Entries of the archive.
    pub max_entries: u64,
    /// Bytes of one path or link target.
    pub max_path_bytes: u64,
    /// Bytes of one extended header, and of the attributes that all those of one entry set.
    pub max_extension_bytes: u64,
    /// Bytes of memory that all entries together take.
    pub max_toc_bytes: u64,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            span_bytes: Self::SPAN_BYTES.default,
            span_compressed_bytes: Self::SPAN_COMPRESSED_BYTES.default,
            max_span_bytes: Self::MAX_SPAN_BYTES.default,
            max_blob_bytes: Self::MAX_BLOB_BYTES.default,
            max_ratio: Self::MAX_RATIO.default,
            max_entries: Self::MAX_ENTRIES.default,
            max_path_bytes: Self::MAX_PATH_BYTES.default,
            max_extension_bytes: Self::MAX_EXTENSION_BYTES.default,
            max_toc_bytes: Self::MAX_TOC_BYTES.default,
        }
    }
}

impl IndexConfig {
    /// A reader decodes one span to serve a byte of it: 512 KiB take about 1.3 ms of one core.
    /// A span ends at the first deflate block boundary after this.
    pub const SPAN_BYTES: Limit<u64> = Limit { default: 512 << 10, min: 4 << 10, max: 1 << 30 };
    /// A reader fetches one whole span to verify it, so this bounds the cost of a cold read:
    /// with deflate blocks of at most 64 KiB it stays below 256 KiB.
    pub const SPAN_COMPRESSED_BYTES: Limit<u64> =
        Limit { default: 192 << 10, min: 1 << 10, max: 1 << 30 };
    /// A deflate block may be of any length, and a span can't end within one; a span is decoded
    /// in memory, so its size must have an end.
    pub const MAX_SPAN_BYTES: Limit<u64> = Limit { default: 64 << 20, min: 64 << 10, max: 1 << 31 };
    /// Larger than any layer seen; registries refuse layers over 10 to 52 GB.
    pub const MAX_BLOB_BYTES: Limit<u64> = Limit { default: 256 << 30, min: 1 << 10, max: 1 << 50 };
    /// Checked after the first 256 MiB of output. Deflate reaches 1,032 on zeros (zlib's
    /// "Maximum Compression Factor"); image layers lie between 2 and 5.
    pub const MAX_RATIO: Limit<u64> = Limit { default: 200, min: 2, max: 2_000 };
    /// A large layer of a Python or Node image has about 200,000.
    pub const MAX_ENTRIES: Limit<u64> = Limit { default: 4 << 20, min: 1, max: 1 << 31 };
    /// Linux's `PATH_MAX`.
    pub const MAX_PATH_BYTES: Limit<u64> = Limit { default: 4096, min: 256, max: 1 << 20 };
    /// Linux allows 64 KiB for one extended attribute; Go's tar reader allows 1 MiB for one
    /// extended header.
    pub const MAX_EXTENSION_BYTES: Limit<u64> =
        Limit { default: 1 << 20, min: 1 << 10, max: 1 << 26 };
    /// An entry takes some 300 bytes; paths and attributes, which global headers repeat for each
    /// entry, may make it more. The default has room for three million plain ones.
    pub const MAX_TOC_BYTES: Limit<u64> = Limit { default: 1 << 30, min: 1 << 10, max: 1 << 40 };

    pub(crate) fn check(&self) -> Result<()> {
        Self::SPAN_BYTES.check("span_bytes", self.span_bytes)?;
        Self::SPAN_COMPRESSED_BYTES.check("span_compressed_bytes", self.span_compressed_bytes)?;
        Self::MAX_SPAN_BYTES.check("max_span_bytes", self.max_span_bytes)?;
        Self::MAX_BLOB_BYTES.check("max_blob_bytes", self.max_blob_bytes)?;
        Self::MAX_RATIO.check("max_ratio", self.max_ratio)?;
        Self::MAX_ENTRIES.check("max_entries", self.max_entries)?;
        Self::MAX_PATH_BYTES.check("max_path_bytes", self.max_path_bytes)?;
        Self::MAX_EXTENSION_BYTES.check("max_extension_bytes", self.max_extension_bytes)?;
        Self::MAX_TOC_BYTES.check("max_toc_bytes", self.max_toc_bytes)
    }
}
