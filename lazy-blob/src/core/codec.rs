//! The index as bytes.
//!
//! ```text
//! magic "LAZYBLOB" | version u16 LE = 1 | compression u8 | 0 u8
//! compressed bytes, uncompressed bytes          LEB128
//! blob SHA-256 | DiffID                         32 bytes each
//! span count, spans                             see `put_span`
//! packing u8 | length | stored length | entries see `put_entry`; packing 1 is raw deflate
//! SHA-256 of all bytes before it                32 bytes
//! ```

use bytes::Bytes;
use zlib_rs::{Deflate, DeflateFlush, Status, compress_bound};

use super::digest::Digest;
use super::entry::{Entry, EntryKind, Xattr};
use super::index::{Compression, Index, Parts};
use super::path::is_normal;
use super::spans::{Span, Start};
use super::window::{Window, unpack};
use super::wire::{Reader, Writer};
use crate::config::IndexConfig;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: [u8; 8] = *b"LAZYBLOB";
const VERSION: u16 = 1;
const DIGEST_BYTES: usize = 32;
const STORED: u8 = 0;
const DEFLATED: u8 = 1;
/// Entries that deflate better than this are stored, so that a reader can refuse more.
const MAX_TOC_RATIO: u64 = 64;
/// Deflate gives at most 258 bytes for 2 bits, 1,032 for one byte.
const MAX_DEFLATE_RATIO: u64 = 1032;

impl Index {
    /// The index as bytes, the same for equal indexes.
    ///
    /// # Errors
    ///
    /// [`Exhausted`](ErrorKind::Exhausted) where memory is lacking.
    pub fn encode(&self) -> Result<Bytes> {
        let parts = &self.parts;
        let mut writer = Writer::default();
        writer.raw(&MAGIC);
        writer.raw(&VERSION.to_le_bytes());
        writer.raw(&[u8::from(parts.compression == Compression::Gzip), 0]);
        writer.number(parts.compressed_bytes);
        writer.number(parts.uncompressed_bytes);
        writer.raw(&parts.blob_digest.0);
        writer.raw(&parts.diff_id.0);
        writer.number(parts.spans.len() as u64);
        parts.spans.iter().for_each(|span| put_span(&mut writer, span));
        put_toc(&mut writer, &parts.entries)?;
        let digest = Digest::of(&writer.bytes);
        writer.raw(&digest.0);
        Ok(writer.bytes.into())
    }

    /// Reads what [`encode`](Self::encode) wrote, under the default limits.
    ///
    /// # Errors
    ///
    /// As [`decode_with`](Self::decode_with).
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_with(bytes, &IndexConfig::default())
    }

    /// Reads what [`encode`](Self::encode) wrote, under the limits of `config`.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) for another version,
    /// [`Corrupt`](ErrorKind::Corrupt) for damaged bytes or what is no index,
    /// [`Exhausted`](ErrorKind::Exhausted) beyond a limit,
    /// [`Invalid`](ErrorKind::Invalid) for a setting out of its range.
    pub fn decode_with(bytes: &[u8], config: &IndexConfig) -> Result<Self> {
        config.check()?;
        let bytes = verified(bytes)?;
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let parts = read_parts(&mut reader).ok_or_else(damaged)?;
        let entries = read_toc(&mut reader, config, parts.uncompressed_bytes)?;
        if !reader.is_empty() {
            return Err(damaged());
        }
        check_limits(&parts, config)?;
        Self::from_parts(Parts { entries, ..parts })
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "index: damaged: build it again from the blob")
}

/// The bytes before the checksum, if magic, version and checksum are right.
fn verified(bytes: &[u8]) -> Result<&[u8]> {
    if !bytes.starts_with(&MAGIC) {
        return Err(Error::new(ErrorKind::Corrupt, "index: no magic: this is no index"));
    }
    let body = bytes.len().checked_sub(DIGEST_BYTES).and_then(|at| bytes.split_at_checked(at));
    let (body, checksum) = body.ok_or_else(damaged)?;
    if Digest::of(body).0 != checksum {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "index: checksum mismatch: build it again from the blob",
        ));
    }
    match body.get(MAGIC.len()..) {
        Some([low, high, rest @ ..]) if u16::from_le_bytes([*low, *high]) == VERSION => Ok(rest),
        Some([low, high, ..]) => {
            let version = u16::from_le_bytes([*low, *high]);
            let message = format!("index: version {version}: read it with a newer release");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        _ => Err(damaged()),
    }
}

/// All but the entries.
fn read_parts(reader: &mut Reader) -> Option<Parts> {
    let compression = match reader.array()? {
        [0, 0] => Compression::None,
        [1, 0] => Compression::Gzip,
        _ => return None,
    };
    let (compressed_bytes, uncompressed_bytes) = (reader.number()?, reader.number()?);
    let (blob_digest, diff_id) = (Digest(reader.array()?), Digest(reader.array()?));
    let count = reader.number()?;
    let mut spans: Vec<Span> = Vec::new();
    for _ in 0..count {
        let before = spans.last().map_or((0, 0), |span| (span.in_end, span.out_end));
        spans.push(read_span(reader, compression, before)?);
    }
    let end = spans.last().map_or((0, 0), |span| (span.in_end, span.out_end));
    let fits = end.0 <= compressed_bytes && end.1 == uncompressed_bytes;
    fits.then_some(Parts {
        compression,
        compressed_bytes,
        uncompressed_bytes,
        blob_digest,
        diff_id,
        spans,
        entries: Vec::new(),
    })
}

fn check_limits(parts: &Parts, config: &IndexConfig) -> Result<()> {
    let longest = |span: &Span| (span.in_end - span.in_start).max(span.out_end - span.out_start);
    let span = parts.spans.iter().map(longest).max().unwrap_or(0);
    at_most("max_span_bytes", span, config.max_span_bytes)?;
    at_most("max_blob_bytes", parts.uncompressed_bytes, config.max_blob_bytes)
}

fn at_most(field: &str, seen: u64, limit: u64) -> Result<()> {
    if seen <= limit {
        return Ok(());
    }
    let message = format!("index: needs {field} of {seen}, it is {limit}: raise it if trusted");
    Err(Error::new(ErrorKind::Exhausted, message))
}

/// Start (0 plain, 1 member, 8 + bits for a block) | compressed length | uncompressed length |
/// SHA-256 | for a block its window's length and packed bytes. Offsets follow from the span
/// before: a block that starts within a byte shares it.
fn put_span(writer: &mut Writer, span: &Span) {
    match &span.start {
        Start::Plain => writer.byte(0),
        Start::Member => writer.byte(1),
        Start::Block { bits, .. } => writer.byte(8 + bits),
    }
    writer.number(span.in_end - span.in_start);
    writer.number(span.out_end - span.out_start);
    writer.raw(&span.digest.0);
    if let Start::Block { window, .. } = &span.start {
        let (length, packed) = window.parts();
        writer.number(length);
        writer.string(packed);
    }
}

fn read_span(
    reader: &mut Reader,
    compression: Compression,
    (in_before, out_before): (u64, u64),
) -> Option<Span> {
    let tag = reader.byte()?;
    let (in_length, out_length) = (reader.number()?, reader.number()?);
    let digest = Digest(reader.array()?);
    let bits = tag.checked_sub(8);
    let start = match (compression, tag) {
        (Compression::None, 0) if in_length == out_length => Start::Plain,
        (Compression::Gzip, 1) => Start::Member,
        (Compression::Gzip, 8..16) if in_before > 0 => {
            let length = reader.number()?;
            let packed = reader.number().and_then(|length| reader.raw(length))?;
            Start::Block { bits: bits?, window: Window::from_parts(length, packed)? }
        }
        _ => return None,
    };
    let in_start = in_before - u64::from(matches!(bits, Some(1..8)));
    let in_end = in_start.checked_add(in_length).filter(|&end| end > in_before.min(in_start))?;
    let out_end = out_before.checked_add(out_length).filter(|&end| end > out_before)?;
    // What is allocated to decode a span is then bound to the bytes that were fetched for it.
    let plausible = out_length <= in_length.checked_mul(MAX_DEFLATE_RATIO)?;
    plausible.then_some(Span { in_start, in_end, out_start: out_before, out_end, start, digest })
}

fn put_toc(writer: &mut Writer, entries: &[Entry]) -> Result<()> {
    let mut toc = Writer::default();
    let mut before = 0;
    for entry in entries {
        put_entry(&mut toc, entry, before);
        before = entry.content().end;
    }
    let mut packed = vec![0; compress_bound(toc.bytes.len())];
    let mut deflate = Deflate::new(6, false, 15);
    let status = deflate.compress(&toc.bytes, &mut packed, DeflateFlush::Finish);
    if status != Ok(Status::StreamEnd) {
        return Err(Error::new(ErrorKind::Exhausted, "zlib refused the table of contents"));
    }
    packed.truncate(usize::try_from(deflate.total_out()).unwrap_or(usize::MAX));
    let small = (packed.len() as u64).saturating_mul(MAX_TOC_RATIO) >= toc.bytes.len() as u64;
    let (packing, stored) = if small && packed.len() < toc.bytes.len() {
        (DEFLATED, packed)
    } else {
        (STORED, toc.bytes.clone())
    };
    writer.byte(packing);
    writer.number(toc.bytes.len() as u64);
    writer.string(&stored);
    Ok(())
}

fn read_toc(reader: &mut Reader, config: &IndexConfig, archive: u64) -> Result<Vec<Entry>> {
    let (packing, length, stored) = read_packed_toc(reader).ok_or_else(damaged)?;
    at_most("max_toc_bytes", length, config.max_toc_bytes)?;
    let mut toc = Reader::new(unpack_toc(packing, length, stored).ok_or_else(damaged)?);
    let mut entries = Vec::new();
    let (mut before, mut memory) = (0, 0);
    while !toc.is_empty() {
        at_most("max_entries", entries.len() as u64 + 1, config.max_entries)?;
        let mut entry = read_entry(&mut toc, before).ok_or_else(damaged)?;
        entry.xattrs = read_xattrs(&mut toc, memory, config)?;
        let longest = entry.path.len().max(entry.link_target.len());
        at_most("max_path_bytes", longest as u64, config.max_path_bytes)?;
        memory += entry.memory();
        at_most("max_toc_bytes", memory, config.max_toc_bytes)?;
        before = entry.content().end;
        if before > archive {
            return Err(damaged());
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn read_packed_toc(reader: &mut Reader) -> Option<(u8, u64, Bytes)> {
    let (packing, length) = (reader.byte()?, reader.number()?);
    Some((packing, length, reader.number().and_then(|length| reader.raw(length))?))
}

fn unpack_toc(packing: u8, length: u64, stored: Bytes) -> Option<Bytes> {
    match packing {
        STORED if length == stored.len() as u64 => Some(stored),
        DEFLATED if length <= (stored.len() as u64).saturating_mul(MAX_TOC_RATIO) => {
            let mut toc = vec![0; usize::try_from(length).ok()?];
            unpack(&stored, &mut toc).then(|| toc.into())
        }
        _ => None,
    }
}

fn put_entry(writer: &mut Writer, entry: &Entry, before: u64) {
    writer.byte(kind_tag(entry.kind));
    writer.byte(u8::from(entry.global));
    writer.string(&entry.path);
    writer.number(entry.header_offset - before);
    writer.number(entry.offset - entry.header_offset);
    writer.number(entry.size);
    writer.number(u64::from(entry.mode));
    writer.number(entry.uid);
    writer.number(entry.gid);
    writer.string(&entry.user);
    writer.string(&entry.group);
    writer.signed(entry.mtime);
    writer.number(u64::from(entry.mtime_nanos));
    writer.string(&entry.link_target);
    writer.number(u64::from(entry.device.0));
    writer.number(u64::from(entry.device.1));
    writer.number(entry.xattrs.len() as u64);
    for xattr in &entry.xattrs {
        writer.string(&xattr.name);
        writer.string(&xattr.value);
    }
}

fn read_entry(reader: &mut Reader, before: u64) -> Option<Entry> {
    let kind = kind_of(reader.byte()?)?;
    let global = match reader.byte()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let path = reader.string().filter(|path| is_normal(path))?;
    let header_offset = before.checked_add(reader.number()?)?;
    let offset = header_offset.checked_add(reader.number()?)?;
    let size = reader.number().filter(|&size| size == 0 || kind.has_content())?;
    offset.checked_add(size)?;
    Some(Entry {
        path,
        kind,
        size,
        offset,
        header_offset,
        mode: reader.small()?,
        uid: reader.number()?,
        gid: reader.number()?,
        user: reader.string()?,
        group: reader.string()?,
        mtime: reader.signed()?,
        mtime_nanos: reader.small().filter(|&nanos| nanos < 1_000_000_000)?,
        link_target: reader.string()?,
        device: (reader.small()?, reader.small()?),
        xattrs: Vec::new(),
        global,
    })
}

/// The attributes of an entry, where those before it take `memory` bytes.
fn read_xattrs(reader: &mut Reader, memory: u64, config: &IndexConfig) -> Result<Vec<Xattr>> {
    let count = reader.number().ok_or_else(damaged)?;
    let needed = count.saturating_mul(size_of::<Xattr>() as u64).saturating_add(memory);
    at_most("max_toc_bytes", needed, config.max_toc_bytes)?;
    let xattr = |_| Some(Xattr { name: reader.string()?, value: reader.string()? });
    (0..count).map(xattr).collect::<Option<_>>().ok_or_else(damaged)
}

/// The tar type bytes, which are ASCII or nearly always so; others are shifted out of their way.
fn kind_tag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Regular => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
        EntryKind::Sparse => b'S',
        EntryKind::Other(other) => other,
    }
}

fn kind_of(tag: u8) -> Option<EntryKind> {
    Some(match tag {
        b'0' => EntryKind::Regular,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'S' => EntryKind::Sparse,
        // Bytes that the parser takes for one of the kinds above, or that never make an entry.
        0 | b'7' | b'x' | b'X' | b'g' | b'L' | b'K' => return None,
        other => EntryKind::Other(other),
    })
}
