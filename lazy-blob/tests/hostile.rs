//! Archives and indexes that are made to do harm.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and spawns what a caller would"
)]

mod support;

use lazy_blob::{Digest, EntryKind, ErrorKind, Index, IndexConfig, Result};
use support::{Random, files, gzip, index, small_spans, tar};

fn header(kind: tar::EntryType, path: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(path).unwrap();
    header.set_size(size);
    header.set_cksum();
    header
}

fn archive(members: &[(tar::Header, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (header, content) in members {
        builder.append(header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn kind(built: Result<Index>) -> Option<ErrorKind> {
    built.err().map(|error| error.kind())
}

/// A file whose name ends in a slash is a directory by old custom, yet its bytes are skipped: an
/// archive within them adds nothing.
#[test]
fn the_content_of_a_false_directory_is_no_header() {
    let hidden = archive(&[(header(tar::EntryType::Regular, "hidden", 0), b"")]);
    for kind in [tar::EntryType::Regular, tar::EntryType::new(0)] {
        let members = [
            (header(kind, "folder/", hidden.len() as u64), hidden.as_slice()),
            (header(tar::EntryType::Regular, "file", 2), b"ok"),
        ];
        let index = index(&archive(&members), &IndexConfig::default());
        let seen: Vec<_> = index.entries().iter().map(|it| (&*it.path, it.kind, it.size)).collect();
        let folder = (&b"folder"[..], EntryKind::Directory, 0);
        assert_eq!(seen, [folder, (&b"file"[..], EntryKind::Regular, 2)]);
    }
}

/// Each extended header is within its limit, all of one entry are not.
#[test]
fn attributes_of_many_headers_are_bounded() {
    let record = |number: u8| format!("225 SCHILY.xattr.{number:03}={}\n", "v".repeat(203));
    let records: Vec<String> = (0..8).map(record).collect();
    assert!(records.iter().all(|record| record.len() == 225), "{}", records[0].len());
    for kind in [tar::EntryType::XHeader, tar::EntryType::XGlobalHeader] {
        let mut members: Vec<_> = records
            .iter()
            .map(|record| (header(kind, "x", record.len() as u64), record.as_bytes()))
            .collect();
        members.push((header(tar::EntryType::Regular, "file", 0), b""));
        let archive = archive(&members);
        let mut config = IndexConfig::default();
        let built = index(&archive, &config);
        assert_eq!(built.entry("file").unwrap().xattrs.len(), 8);
        config.max_extension_bytes = 1 << 10;
        assert_eq!(build_kind(&archive, &config), Some(ErrorKind::Exhausted), "{kind:?}");
    }
}

fn build_kind(blob: &[u8], config: &IndexConfig) -> Option<ErrorKind> {
    kind(Index::build(blob, config.clone()))
}

/// One global header, whose attributes every entry repeats.
#[test]
fn the_table_of_contents_is_bounded() {
    let value = format!("1023 SCHILY.xattr.user.a={}\n", "v".repeat(997));
    assert_eq!(value.len(), 1023);
    let global = header(tar::EntryType::XGlobalHeader, "g", 1023);
    let mut members = vec![(global, value.as_bytes())];
    members.extend((0..200).map(|_| (header(tar::EntryType::Regular, "file", 0), &b""[..])));
    let archive = archive(&members);
    let encoded = index(&archive, &IndexConfig::default()).encode().unwrap();
    let mut config = IndexConfig::default();
    config.max_toc_bytes = 200 << 10;
    assert_eq!(build_kind(&archive, &config), Some(ErrorKind::Exhausted));
    assert_eq!(kind(Index::decode_with(&encoded, &config)), Some(ErrorKind::Exhausted));
    config.max_toc_bytes = 400 << 10;
    assert_eq!(build_kind(&archive, &config), None);
    assert_eq!(kind(Index::decode_with(&encoded, &config)), None);
}

#[test]
fn a_chain_of_hard_links_has_an_end() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header(tar::EntryType::Regular, "0", 0), &b""[..]).unwrap();
    for number in 1..=60_u32 {
        let mut header = header(tar::EntryType::Link, "link", 0);
        builder.append_link(&mut header, number.to_string(), (number - 1).to_string()).unwrap();
    }
    let index = index(&builder.into_inner().unwrap(), &IndexConfig::default());
    assert_eq!(&*index.resolve("40").unwrap().path, b"0");
    assert!(index.resolve("41").is_none());
}

/// What one release writes, the same release reads.
#[test]
fn spans_of_a_plain_archive_keep_their_limit() {
    let archive = tar(&files(&mut Random::new(1), 20, 30_000));
    let mut config = IndexConfig::default();
    (config.span_bytes, config.span_compressed_bytes) = (1 << 20, 1 << 20);
    config.max_span_bytes = 64 << 10;
    let encoded = index(&archive, &config).encode().unwrap();
    assert_eq!(kind(Index::decode_with(&encoded, &config)), None);
}

#[test]
fn a_decoder_checks_its_settings() {
    let encoded = index(&[0; 1024], &IndexConfig::default()).encode().unwrap();
    let mut config = IndexConfig::default();
    config.max_span_bytes = u64::MAX;
    assert_eq!(kind(Index::decode_with(&encoded, &config)), Some(ErrorKind::Invalid));
}

/// Tag, compressed and uncompressed length, and for a block its window.
type StoredSpan = (u8, u64, u64, Option<(u64, Vec<u8>)>);

/// A stored index, field by field, with its checksum right.
struct Stored {
    compression: u8,
    sizes: (u64, u64),
    span_count: u64,
    spans: Vec<StoredSpan>,
    packing: u8,
    toc_length: Option<u64>,
    toc: Vec<u8>,
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

impl Stored {
    fn plain() -> Self {
        Self {
            compression: 0,
            sizes: (2048, 2048),
            span_count: 1,
            spans: vec![(0, 2048, 2048, None)],
            packing: 0,
            toc_length: None,
            toc: Member::default().encode(),
        }
    }

    fn gzip(spans: Vec<StoredSpan>) -> Self {
        let (span_count, compression) = (spans.len() as u64, 1);
        let archive = spans.iter().map(|span| span.2).fold(0, u64::wrapping_add);
        Self { compression, sizes: (2048, archive), span_count, spans, ..Self::plain() }
    }

    fn decode(&self) -> Result<Index> {
        let mut out = b"LAZYBLOB\x01\0".to_vec();
        out.extend_from_slice(&[self.compression, 0]);
        number(&mut out, self.sizes.0);
        number(&mut out, self.sizes.1);
        out.extend_from_slice(&[7; 64]);
        number(&mut out, self.span_count);
        for (tag, compressed, uncompressed, window) in &self.spans {
            out.push(*tag);
            number(&mut out, *compressed);
            number(&mut out, *uncompressed);
            out.extend_from_slice(&[9; 32]);
            if let Some((length, packed)) = window {
                number(&mut out, *length);
                string(&mut out, packed);
            }
        }
        out.push(self.packing);
        number(&mut out, self.toc_length.unwrap_or(self.toc.len() as u64));
        string(&mut out, &self.toc);
        let checksum = Digest::of(&out);
        out.extend_from_slice(&checksum.0);
        Index::decode(&out)
    }
}

/// One entry as it is stored.
struct Member {
    kind: u8,
    path: Vec<u8>,
    header: u64,
    content: u64,
    size: u64,
    nanos: u64,
    xattrs: u64,
}

impl Default for Member {
    fn default() -> Self {
        let (path, header, content) = (b"file".to_vec(), 0, 512);
        Self { kind: b'0', path, header, content, size: 100, nanos: 0, xattrs: 0 }
    }
}

impl Member {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind, 0];
        string(&mut out, &self.path);
        for value in [self.header, self.content, self.size, 0o644, 0, 0, 0, 0, 0] {
            number(&mut out, value);
        }
        for value in [self.nanos, 0, 0, 0, self.xattrs] {
            number(&mut out, value);
        }
        out
    }

    fn decode(self) -> Option<ErrorKind> {
        kind(Stored { toc: self.encode(), ..Stored::plain() }.decode())
    }
}

const CORRUPT: Option<ErrorKind> = Some(ErrorKind::Corrupt);
const EXHAUSTED: Option<ErrorKind> = Some(ErrorKind::Exhausted);

#[test]
fn every_entry_of_an_index_is_checked() {
    let member = Member::default;
    assert_eq!(member().decode(), None, "the others differ from a good one");
    for path in ["../etc/passwd", "/etc", "a//b", "a/./b", "a/", "."] {
        assert_eq!(Member { path: path.into(), ..member() }.decode(), CORRUPT, "{path}");
    }
    assert_eq!(Member { path: vec![b'x'; 5_000], ..member() }.decode(), EXHAUSTED);
    assert_eq!(Member { kind: b'5', ..member() }.decode(), CORRUPT, "a directory with content");
    assert_eq!(Member { kind: b'5', size: 0, ..member() }.decode(), None);
    assert_eq!(Member { nanos: 1_000_000_000, ..member() }.decode(), CORRUPT);
    assert_eq!(Member { size: 1_537, ..member() }.decode(), CORRUPT, "beyond the archive");
    assert_eq!(Member { size: 1_536, ..member() }.decode(), None);
    for (header, content, size) in
        [(u64::MAX, 1, 0), (1, u64::MAX, 0), (0, 1, u64::MAX), (u64::MAX, 0, 0)]
    {
        assert_eq!(Member { header, content, size, ..member() }.decode(), CORRUPT);
    }
    for xattrs in [1 << 26, u64::MAX] {
        assert_eq!(Member { xattrs, ..member() }.decode(), EXHAUSTED, "before it is allocated");
    }
    assert_eq!(Member { xattrs: 1 << 20, ..member() }.decode(), CORRUPT, "they are not there");
}

#[test]
fn every_span_of_an_index_is_checked() {
    assert_eq!(kind(Stored::plain().decode()), None);
    let plain = |spans, span_count| kind(Stored { span_count, spans, ..Stored::plain() }.decode());
    assert_eq!(plain(vec![(0, 2048, 2048, None)], u64::MAX), CORRUPT, "a count of them");
    assert_eq!(plain(vec![(0, 2048, 2047, None)], 1), CORRUPT, "lengths that differ");
    assert_eq!(plain(vec![(0, 1024, 1024, None)], 1), CORRUPT, "a part of the archive");
    assert_eq!(plain(vec![(0, 2048, 2048, None), (0, 0, 0, None)], 2), CORRUPT, "an empty one");
    assert_eq!(plain(vec![(1, 2048, 2048, None)], 1), CORRUPT, "a member of no gzip");

    let window = || Some((0, Vec::new()));
    let gzip = |spans| kind(Stored::gzip(spans).decode());
    assert_eq!(gzip(vec![(1, 1000, 2000, None), (11, 1049, 48, window())]), None);
    assert_eq!(gzip(vec![(1, 1000, 2000, None), (11, 1050, 48, window())]), CORRUPT, "beyond");
    assert_eq!(gzip(vec![(11, 2048, 2048, window())]), CORRUPT, "a block without a member");
    assert_eq!(gzip(vec![(0, 2048, 2048, None)]), CORRUPT, "a plain one");
    assert_eq!(gzip(vec![(16, 2048, 2048, window())]), CORRUPT, "nine bits");
    assert_eq!(gzip(vec![(1, 1, 1033, None)]), CORRUPT, "more than deflate can do");
    assert_eq!(gzip(vec![(1, u64::MAX, 2048, None)]), CORRUPT);
    assert_eq!(gzip(vec![(1, 2048, u64::MAX, None)]), CORRUPT);
    let twice = || (1, 1000, 1 << 63, None);
    assert_eq!(gzip(vec![twice(), twice()]), CORRUPT);
    for (length, packed) in [(32_769, vec![1]), (5, vec![]), (0, vec![1]), (9, vec![0; 40_000])] {
        let spans = vec![(1, 1000, 2000, None), (11, 1000, 48, Some((length, packed)))];
        assert_eq!(gzip(spans), CORRUPT, "a window of {length}");
    }
}

#[test]
fn the_size_of_a_table_of_contents_is_not_believed() {
    let stored = |packing, length| {
        kind(Stored { packing, toc_length: Some(length), ..Stored::plain() }.decode())
    };
    assert_eq!(stored(0, 1), CORRUPT);
    assert_eq!(stored(1, 64 * 30), CORRUPT);
    assert_eq!(stored(1, 1 << 29), CORRUPT, "more than its bytes can give");
    assert_eq!(stored(1, u64::MAX), EXHAUSTED);
    assert_eq!(stored(2, 30), CORRUPT);
}

/// Bombs of nothing: members and blocks without output.
#[test]
fn endless_empty_members_and_blocks_end() {
    let empty = gzip(b"", 6);
    let mut blob = empty.repeat(20_000);
    blob.extend_from_slice(&gzip(&[0; 1024], 6));
    assert_eq!(index(&blob, &small_spans()).uncompressed_bytes(), 1024);

    // Empty fixed blocks, 10 bits each, four in five bytes; then nothing.
    let (mut bits, mut blocks) = (0_u64, Vec::new());
    (0..4).for_each(|at| bits |= 0b010 << (10 * at));
    blocks.extend_from_slice(&bits.to_le_bytes()[..5]);
    let mut endless = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    endless.extend_from_slice(&blocks.repeat(100_000));
    let mut config = small_spans();
    config.max_span_bytes = 64 << 10;
    assert_eq!(build_kind(&endless, &config), EXHAUSTED);
    assert_eq!(build_kind(&endless, &small_spans()), CORRUPT, "cut");
}
