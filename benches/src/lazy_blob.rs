//! Seeded workloads for `lazy-blob`.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::SEED;

/// A layer, compressed as image builders do it, and its archive.
#[derive(Debug)]
pub struct Layer {
    /// The `.tar.gz`.
    pub blob: Bytes,
    /// The `.tar`.
    pub archive: Bytes,
    /// Paths and sizes of the files.
    pub files: Vec<(String, u64)>,
}

/// An archive of about `bytes` bytes in files of 1 byte to 1 MiB, most of them small, at gzip's
/// default level 6. The content is words, tables of numbers and noise, which gzip shrinks to about
/// a third, as it does program files.
///
/// # Panics
///
/// If memory lacks.
#[must_use]
#[expect(clippy::expect_used, reason = "a bench without its workload can't go on")]
pub fn layer(bytes: usize) -> Layer {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut tar = tar::Builder::new(Vec::new());
    let (mut files, mut total) = (Vec::new(), 0);
    while total < bytes {
        let length = 1_usize << random.random_range(0..20);
        let length = length + random.random_range(0..length);
        let content = content(&mut random, length);
        let path = format!("usr/lib/package{}/file{}", files.len() % 97, files.len());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &path, content.as_slice()).expect("memory");
        total += content.len();
        files.push((path, content.len() as u64));
    }
    let archive = tar.into_inner().expect("memory");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(&archive).expect("memory");
    Layer { blob: gzip.finish().expect("memory").into(), archive: archive.into(), files }
}

fn content(random: &mut StdRng, length: usize) -> Vec<u8> {
    let kind = random.random_range(0..10);
    let mut out = Vec::with_capacity(length + 64);
    while out.len() < length {
        match kind {
            0..6 => {
                let word = random.random_range(0..4_000_u32);
                out.extend_from_slice(
                    format!("{:x}_{word} ", word.wrapping_mul(2_654_435)).as_bytes(),
                );
            }
            6..9 => {
                let number = random.random_range(0..1_000_000_u64);
                out.extend_from_slice(&number.to_le_bytes());
            }
            _ => {
                let mut noise = [0; 64];
                random.fill_bytes(&mut noise);
                out.extend_from_slice(&noise);
            }
        }
    }
    out.truncate(length);
    out
}

/// `count` ranges of 4 KiB at random places of files that are large enough.
#[must_use]
pub fn ranges(layer: &Layer, count: usize) -> Vec<(String, Range<u64>)> {
    const LENGTH: u64 = 4 << 10;
    let mut random = StdRng::seed_from_u64(SEED);
    let large: Vec<_> = layer.files.iter().filter(|(_, size)| *size >= LENGTH).collect();
    (0..count)
        .map(|_| {
            let (path, size) = large[random.random_range(0..large.len())];
            let start = random.random_range(0..=size - LENGTH);
            (path.clone(), start..start + LENGTH)
        })
        .collect()
}
