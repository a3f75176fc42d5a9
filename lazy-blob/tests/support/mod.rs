//! Archives for the tests, written by other crates.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod layer;

use std::io::Write;

use flate2::{Compression, GzBuilder, write::GzEncoder};
use lazy_blob::{Index, IndexConfig};

/// A small generator of bytes that compress about as well as programs do.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    pub(crate) fn range(&mut self, size: u64) -> std::ops::Range<u64> {
        let (a, b) = (self.below(size + 1), self.below(size + 1));
        a.min(b)..a.max(b)
    }

    /// Words from a small vocabulary with noise between, or plain noise.
    pub(crate) fn content(&mut self, length: usize) -> Vec<u8> {
        let noise = self.below(4) == 0;
        let mut out = Vec::with_capacity(length + 16);
        while out.len() < length {
            if noise || self.below(8) == 0 {
                out.extend_from_slice(&self.next().to_le_bytes());
            } else {
                let word = self.below(200);
                write!(out, "symbol_{word}::{} ", word * 7).unwrap();
            }
        }
        out.truncate(length);
        out
    }
}

pub(crate) fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// With every optional header field.
pub(crate) fn gzip_with_header(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .extra(&b"xy\x02\0ab"[..])
        .filename("layer.tar")
        .comment("a comment")
        .mtime(1)
        .write(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive of these files.
pub(crate) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// `count` files of up to `largest` bytes.
pub(crate) fn files(random: &mut Random, count: usize, largest: u64) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|number| {
            let length = usize::try_from(random.below(largest + 1)).unwrap();
            (format!("dir{}/file{number}", number % 7), random.content(length))
        })
        .collect()
}

/// Spans as small as they come, so that a small archive has many.
pub(crate) fn small_spans() -> IndexConfig {
    let mut config = IndexConfig::default();
    config.span_bytes = 16 << 10;
    config.span_compressed_bytes = 8 << 10;
    config
}

pub(crate) fn index(blob: &[u8], config: &IndexConfig) -> Index {
    Index::build(blob, config.clone()).unwrap()
}
