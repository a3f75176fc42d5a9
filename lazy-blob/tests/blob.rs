//! An open blob against whole decompressed archives, under faults and at its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and spawns what a caller would"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use lazy_blob::{
    Blob, Config, EntryKind, Error, ErrorKind, Fault, Index, IndexConfig, MemorySource,
};
use proptest::prelude::*;
use support::layer::{Layer, config, layer, open, part};
use support::{Random, files, gzip, index, tar};

#[derive(Debug, Clone)]
enum Op {
    File(usize, u64, u64),
    Archive(u64, u64),
    Concurrent(u64, u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (any::<usize>(), any::<u64>(), any::<u64>()).prop_map(|(f, a, b)| Op::File(f, a, b)),
        2 => (any::<u64>(), 0_u64..100_000).prop_map(|(at, length)| Op::Archive(at, length)),
        1 => (any::<u64>(), 2_u8..12).prop_map(|(seed, readers)| Op::Concurrent(seed, readers)),
    ];
    proptest::collection::vec(op, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is read in whatever order, under whatever settings and survivable faults, is what
    /// the whole decompressed archive has there, and the cache keeps its bound.
    #[test]
    fn reads_equal_the_archive(
        seed in 0_u64..6,
        cache_bytes in prop_oneof![Just(0_u64), 1_000..80_000_u64, Just(1 << 30)],
        fetch_bytes in prop_oneof![Just(1_u64), 1_000..60_000_u64],
        fetches in 1_usize..5,
        faults in 0_u64..4,
        ops in ops(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let layer = layer(seed, 14);
            let config = config(|config| {
                (config.cache_bytes, config.fetch_bytes) = (cache_bytes, fetch_bytes);
                (config.fetches, config.retries) = (fetches, 16);
            });
            let source = layer.faulty(move |call| survivable(faults, call));
            let blob = open(source, &layer, config).await;
            for op in ops {
                replay(&blob, &layer, op).await;
                assert!(blob.stats().cached_bytes <= cache_bytes, "{:?}", blob.stats());
            }
        });
    }
}

/// One read in `4 - level`, never twice in a row, goes wrong in one of four ways.
fn survivable(level: u64, call: &lazy_blob::ReadCall) -> Fault {
    let mixed = Random::new(call.sequence).next();
    if level == 0 || !call.sequence.is_multiple_of(5 - level) {
        return Fault::None;
    }
    match mixed % 4 {
        0 => Fault::Short((mixed >> 8) as usize % 5_000),
        1 => Fault::Long((mixed >> 8) as usize % 50 + 1),
        2 => Fault::Flip { offset: (mixed >> 8) as usize, mask: 1 << (mixed % 8) },
        _ => Fault::Delay(Duration::from_millis(mixed % 1_000)),
    }
}

async fn replay(blob: &Blob, layer: &Layer, op: Op) {
    match op {
        Op::File(number, a, b) => {
            let (path, content) = &layer.files[number % layer.files.len()];
            let size = content.len() as u64;
            let (a, b) = (a % (size + 1), b % (size + 1));
            let range = a.min(b)..a.max(b);
            let read = blob.read(path, range.clone()).await.unwrap();
            assert!(read == part(content, &range), "{path} {range:?}");
        }
        Op::Archive(at, length) => {
            let size = layer.archive.len() as u64;
            let at = at % size;
            let range = at..(at + length).min(size);
            let read = blob.read_at(range.clone()).await.unwrap();
            assert!(read == part(&layer.archive, &range), "{range:?}");
        }
        Op::Concurrent(seed, readers) => {
            let reads = (0..readers).map(|reader| async move {
                let mut random = Random::new(seed.wrapping_add(u64::from(reader)));
                let range = random.range(layer.archive.len() as u64);
                let read = blob.read_at(range.clone()).await.unwrap();
                assert!(read == part(&layer.archive, &range), "{range:?}");
            });
            futures_util::future::join_all(reads).await;
        }
    }
}

#[tokio::test]
async fn a_cold_read_fetches_one_span() {
    let layer = layer(1, 30);
    let blob = open(layer.source(), &layer, Config::default()).await;
    let (path, content) = layer.files.iter().find(|(_, content)| content.len() > 100).unwrap();
    assert_eq!(blob.read(path, 0..50).await.unwrap(), content[..50]);
    let stats = blob.stats();
    assert_eq!((stats.requests, stats.spans_decoded), (1, 1));
    assert!(stats.bytes_fetched * 2 < layer.blob.len() as u64, "{stats:?}");
    assert_eq!(blob.read(path, 0..50).await.unwrap(), content[..50]);
    let again = blob.stats();
    assert_eq!((again.requests, again.cache_hits), (1, stats.cache_hits + 1));
}

#[tokio::test]
async fn adjacent_spans_are_fetched_at_once_up_to_the_limit() {
    let layer = layer(2, 30);
    let all = 0..layer.archive.len() as u64;
    let blob = open(layer.source(), &layer, Config::default()).await;
    assert!(blob.read_at(all.clone()).await.unwrap() == layer.archive);
    assert_eq!(blob.stats().requests, 1);

    let limit = layer.blob.len() as u64 / 3;
    let blob = open(layer.source(), &layer, config(|config| config.fetch_bytes = limit)).await;
    assert!(blob.read_at(all).await.unwrap() == layer.archive);
    let requests = blob.stats().requests;
    assert!((3..layer.index.span_count() as u64).contains(&requests), "{requests}");
}

#[tokio::test]
async fn wrong_bytes_are_fetched_again_and_then_refused() {
    let layer = layer(6, 20);
    let flip = |call: &lazy_blob::ReadCall| match call.sequence {
        0 => Fault::Flip { offset: 100, mask: 4 },
        _ => Fault::None,
    };
    let blob = open(layer.faulty(flip), &layer, Config::default()).await;
    assert_eq!(blob.read_at(0..10).await.unwrap(), layer.archive[..10]);
    assert_eq!((blob.stats().digest_failures, blob.stats().requests), (1, 2));

    for fault in [Fault::Flip { offset: 9, mask: 1 }, Fault::Short(7), Fault::Long(1)] {
        let given = fault.clone();
        let source = layer.faulty(move |_| given.clone());
        let blob = open(source, &layer, config(|config| config.retries = 2)).await;
        let error = blob.read_at(0..10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{fault:?}: {error}");
        let stats = blob.stats();
        assert_eq!((stats.digest_failures, stats.requests, stats.cached_bytes), (3, 3, 0));
        assert_eq!(stats.spans_decoded, 0, "nothing of it is served");
    }
}

#[tokio::test]
async fn every_flipped_byte_of_a_blob_is_refused() {
    let files = files(&mut Random::new(7), 3, 3_000);
    let (archive, mut random) = (tar(&files), Random::new(8));
    let blob = gzip(&archive, 6);
    let mut config = IndexConfig::default();
    (config.span_bytes, config.span_compressed_bytes) = (4 << 10, 1 << 10);
    let index = Arc::new(index(&blob, &config));
    let covered = index.span(index.span_count() - 1).unwrap().compressed.end;
    for at in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 1 << random.below(8);
        let source = Arc::new(MemorySource::new(damaged));
        let (open, driver) = Blob::open(source, index.clone(), Config::default()).await.unwrap();
        let driver = tokio::spawn(driver);
        let read = open.read_at(0..archive.len() as u64).await;
        assert!((at as u64) < covered, "spans cover the whole blob");
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
        drop(open);
        driver.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_source_that_fails_is_told_and_asked_again() {
    let layer = layer(9, 20);
    let source = layer.faulty(|call| match call.sequence {
        0 => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let blob = open(source, &layer, Config::default()).await;
    assert_eq!(blob.read_at(0..9).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(blob.read_at(0..9).await.unwrap(), layer.archive[..9]);
}

#[tokio::test]
async fn wrong_requests_say_what_is_wrong() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    builder.append_data(&mut header, "file", &b"12345"[..]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    builder.append_link(&mut header, "symlink", "file").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    builder.append_link(&mut header, "hardlink", "./file").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    builder.append_link(&mut header, "dangling", "no such file").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    builder.append_data(&mut header, "sparse", &b""[..]).unwrap();
    let blob = gzip(&builder.into_inner().unwrap(), 6);
    let index = Arc::new(index(&blob, &IndexConfig::default()));
    let source = Arc::new(MemorySource::new(blob));
    let config = config(|config| config.read_bytes = 4);
    let (blob, driver) = Blob::open(source, index, config).await.unwrap();
    tokio::spawn(driver);

    assert_eq!(blob.entry("hardlink").unwrap().kind, EntryKind::Regular);
    assert_eq!(blob.read("hardlink", 1..3).await.unwrap(), "23");
    let mut kinds = Vec::new();
    #[expect(clippy::reversed_empty_ranges, reason = "refusing those is what is tested")]
    for (path, range) in [
        ("missing", 0..1),
        ("dangling", 0..1),
        ("symlink", 0..1),
        ("sparse", 0..0),
        ("file", 0..6),
        ("file", 3..1),
        ("file", 0..5),
    ] {
        kinds.push(blob.read(path, range).await.unwrap_err().kind());
    }
    assert_eq!(
        kinds,
        [
            ErrorKind::NotFound,
            ErrorKind::NotFound,
            ErrorKind::Invalid,
            ErrorKind::Unsupported,
            ErrorKind::Invalid,
            ErrorKind::Invalid,
            ErrorKind::Exhausted,
        ]
    );
    let beyond = blob.read_at(u64::MAX - 1..u64::MAX).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn opening_checks_settings_and_size() {
    let layer = layer(13, 20);
    let shorter = MemorySource::new(layer.blob.slice(1..));
    let opened = Blob::open(Arc::new(shorter), layer.index.clone(), Config::default()).await;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Changed);
    let config = config(|config| config.fetches = 0);
    let opened = Blob::open(Arc::new(layer.source()), layer.index.clone(), config).await;
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("fetches"), "{error}");
}

/// An index that describes another file than the blob has, with all digests right.
#[tokio::test]
async fn a_table_of_contents_that_lies_is_found_out() {
    // A name of noise, so that the encoded table of contents is not deflated.
    let name: String = (0..80_u8).map(|at| char::from(b'0' + at.wrapping_mul(37) % 75)).collect();
    let name = name.replace(['/', '.'], "_");
    let honest = tar(&[(name.clone(), vec![1; 100])]);
    let index = Index::build(honest.as_slice(), IndexConfig::default()).unwrap();
    let mut encoded = index.encode().unwrap().to_vec();
    let at = encoded.windows(name.len()).position(|bytes| bytes == name.as_bytes());
    encoded[at.expect("the name is not deflated")] = b'~';
    let body = encoded.len() - 32;
    let checksum = lazy_blob::Digest::of(&encoded[..body]);
    encoded[body..].copy_from_slice(&checksum.0);

    for (index, kind) in
        [(index, None), (Index::decode(&encoded).unwrap(), Some(ErrorKind::Corrupt))]
    {
        let source = Arc::new(MemorySource::new(honest.clone()));
        let opened = Blob::open(source, Arc::new(index), Config::default()).await;
        let (blob, driver) = opened.unwrap();
        tokio::spawn(driver);
        let path = blob.entries()[0].path.clone();
        let read = blob.read(path, 0..9).await;
        assert_eq!(read.as_ref().err().map(Error::kind), kind, "{read:?}");
    }
}

/// `g` between the extended header of an entry and the entry, which git and pax don't write.
#[tokio::test]
async fn a_global_header_among_an_entrys_headers() {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, content) in [
        (tar::EntryType::XHeader, "x", "14 path=d/file\n"),
        (tar::EntryType::XGlobalHeader, "g", "14 comment=abc\n"),
        (tar::EntryType::Regular, "short", "content"),
    ] {
        let content = content.replace("14 path", "15 path").replace("14 comm", "15 comm");
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let index = Arc::new(index(&archive, &IndexConfig::default()));
    let source = Arc::new(MemorySource::new(archive));
    let (blob, driver) = Blob::open(source, index, Config::default()).await.unwrap();
    tokio::spawn(driver);
    assert_eq!(blob.read("d/file", 0..7).await.unwrap(), "content");
}
