//! Building an index in one pass.

use std::io::Read;

use super::digest::Hasher;
use super::gzip::MAGIC;
use super::index::{Compression, Index, Parts};
use super::spans::{GzipSpans, PlainSpans, Sink};
use super::tar::TocParser;
use crate::config::IndexConfig;
use crate::error::{Error, ErrorKind, Result};

/// Builds the [`Index`] of a `.tar.gz` or `.tar` from its bytes, in one read and one inflate.
///
/// It does no IO: push the blob's bytes, in pieces of any size, while they are downloaded or read
/// for something else. It holds one span's start and the entries so far, never the blob.
///
/// ```
/// use std::io::Write;
///
/// let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
/// gzip.write_all(&[0; 1024])?; // an empty archive
/// let blob = gzip.finish()?;
///
/// let mut builder = lazy_blob::IndexBuilder::new(lazy_blob::IndexConfig::default())?;
/// for piece in blob.chunks(7) {
///     builder.push(piece)?;
/// }
/// let index = builder.finish()?;
/// assert_eq!(index.uncompressed_bytes(), 1024);
/// assert_eq!(index.compressed_bytes(), blob.len() as u64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct IndexBuilder {
    config: IndexConfig,
    spans: Spans,
    archive: Archive,
    blob: Hasher,
    compressed_bytes: u64,
    /// Why an earlier call failed.
    failed: Option<Error>,
}

#[derive(Debug)]
enum Spans {
    /// The first bytes, too few to tell the format.
    Unknown(Vec<u8>),
    Gzip(Box<GzipSpans>),
    Plain(Box<PlainSpans>),
}

/// What is made of the uncompressed bytes.
#[derive(Debug)]
struct Archive {
    toc: TocParser,
    diff_id: Hasher,
    bytes: u64,
}

impl Sink for Archive {
    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.diff_id.update(bytes);
        self.toc.push(bytes)
    }
}

/// Zstandard's magic (RFC 8878), to say what is wrong with such a blob.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

impl IndexBuilder {
    /// A builder at the start of a blob.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a setting out of its range.
    pub fn new(config: IndexConfig) -> Result<Self> {
        config.check()?;
        let archive = Archive { toc: TocParser::new(&config), diff_id: Hasher::new(), bytes: 0 };
        Ok(Self {
            config,
            spans: Spans::Unknown(Vec::new()),
            archive,
            blob: Hasher::new(),
            compressed_bytes: 0,
            failed: None,
        })
    }

    /// Takes the blob's next bytes.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) for what is damaged or no archive,
    /// [`Unsupported`](ErrorKind::Unsupported) for another compression,
    /// [`Exhausted`](ErrorKind::Exhausted) beyond a limit of the configuration. The error stays:
    /// every later call gives it again.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.check_failed()?;
        let pushed = self.push_inner(bytes);
        if let Err(error) = &pushed {
            self.failed = Some(error.clone());
        }
        pushed
    }

    /// The index of the whole blob.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push); [`Corrupt`](ErrorKind::Corrupt) where the blob is not complete.
    pub fn finish(mut self) -> Result<Index> {
        self.check_failed()?;
        self.detect()?;
        let (compression, spans) = match self.spans {
            Spans::Gzip(spans) => (Compression::Gzip, spans.finish()?),
            Spans::Plain(spans) => (Compression::None, spans.finish()),
            Spans::Unknown(_) => return Err(Error::new(ErrorKind::Corrupt, "the blob is empty")),
        };
        Index::from_parts(Parts {
            compression,
            compressed_bytes: self.compressed_bytes,
            uncompressed_bytes: self.archive.bytes,
            blob_digest: self.blob.finish(),
            diff_id: self.archive.diff_id.finish(),
            spans,
            entries: self.archive.toc.finish()?,
        })
    }

    fn check_failed(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn push_inner(&mut self, bytes: &[u8]) -> Result<()> {
        self.compressed_bytes += bytes.len() as u64;
        self.blob.update(bytes);
        let Spans::Unknown(head) = &mut self.spans else {
            return self.forward(bytes);
        };
        let (more, rest) = bytes.split_at(bytes.len().min(ZSTD_MAGIC.len() - head.len()));
        head.extend_from_slice(more);
        if head.len() == ZSTD_MAGIC.len() {
            self.detect()?;
        }
        self.forward(rest)
    }

    /// Tells the format from the first four bytes, or from fewer at the end.
    fn detect(&mut self) -> Result<()> {
        let Spans::Unknown(head) = &mut self.spans else {
            return Ok(());
        };
        if head.is_empty() {
            return Ok(());
        }
        let head = std::mem::take(head);
        self.spans = if head.starts_with(&MAGIC) {
            Spans::Gzip(Box::new(GzipSpans::new(&self.config)?))
        } else if head.starts_with(&ZSTD_MAGIC) {
            let message = "the blob is zstd: only gzip and uncompressed tar are read so far";
            return Err(Error::new(ErrorKind::Unsupported, message));
        } else {
            Spans::Plain(Box::new(PlainSpans::new(&self.config)))
        };
        self.forward(&head)
    }

    fn forward(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.spans {
            Spans::Gzip(spans) => spans.push(bytes, &mut self.archive),
            Spans::Plain(spans) => spans.push(bytes, &mut self.archive),
            Spans::Unknown(_) => Ok(()),
        }
    }
}

impl Index {
    /// Builds the index of the blob that `reader` gives, as [`IndexBuilder`] does.
    ///
    /// It blocks while it reads and inflates: call it outside an async runtime's tasks.
    ///
    /// # Errors
    ///
    /// As [`IndexBuilder::push`], and [`Unavailable`](ErrorKind::Unavailable) where the reader
    /// fails.
    pub fn build(mut reader: impl Read, config: IndexConfig) -> Result<Self> {
        let mut builder = IndexBuilder::new(config)?;
        let mut piece = vec![0; 128 << 10];
        loop {
            let read = match reader.read(&mut piece) {
                Ok(0) => return builder.finish(),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let message = "the blob cannot be read: see the cause and try again";
                    return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
                }
            };
            builder.push(piece.get(..read).unwrap_or_default())?;
        }
    }
}
