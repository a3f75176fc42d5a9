//! The index against whole decompressed archives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and spawns what a caller would"
)]

mod support;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use lazy_blob::{Compression, Digest, EntryKind, ErrorKind, Index, IndexBuilder, IndexConfig};
use proptest::prelude::*;
use support::{Random, files, gzip, gzip_with_header, index, small_spans, tar};

/// Every span, decoded by itself, is its part of the archive; together they are all of it.
fn assert_spans(index: &Index, blob: &[u8], archive: &[u8]) {
    let blob = Bytes::copy_from_slice(blob);
    let mut at = 0;
    for number in 0..index.span_count() {
        let span = index.span(number).unwrap();
        assert_eq!(span.uncompressed.start, at);
        at = span.uncompressed.end;
        let (start, end) = (span.compressed.start as usize, span.compressed.end as usize);
        let decoded = index.decode_span(number, &blob.slice(start..end)).unwrap();
        let (start, end) = (span.uncompressed.start as usize, span.uncompressed.end as usize);
        assert!(decoded == archive[start..end], "span {number} of {}", index.span_count());
    }
    assert_eq!(at, archive.len() as u64);
    assert_eq!(index.uncompressed_bytes(), archive.len() as u64);
    assert_eq!(index.compressed_bytes(), blob.len() as u64);
    assert_eq!(index.blob_digest(), Digest::of(&blob));
    assert_eq!(index.diff_id(), Digest::of(archive));
}

fn assert_entries(index: &Index, archive: &[u8], files: &[(String, Vec<u8>)]) {
    assert_eq!(index.entries().len(), files.len());
    for (path, content) in files {
        let entry = index.entry(path).unwrap();
        let range = entry.content();
        assert!(archive[range.start as usize..range.end as usize] == content[..], "{path}");
    }
}

#[test]
fn spans_resume_at_every_bit() {
    let mut random = Random::new(1);
    let mut seen = [0; 9];
    for level in 1..=9 {
        let files = files(&mut random, 30, 60_000);
        let archive = tar(&files);
        let blob = gzip(&archive, level);
        let index = index(&blob, &small_spans());
        assert_spans(&index, &blob, &archive);
        assert_entries(&index, &archive, &files);
        for number in 1..index.span_count() {
            let (before, span) = (index.span(number - 1).unwrap(), index.span(number).unwrap());
            seen[usize::from(before.compressed.end > span.compressed.start)] += 1;
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Any archive, at any level, in one member or several, with any span size, pushed in any
    /// pieces: each span resumes exactly, each file is where the table of contents says.
    #[test]
    fn any_archive_in_any_pieces(
        seed: u64,
        count in 0_usize..12,
        level in 0_u32..10,
        members in 1_usize..4,
        span_bytes in 4_096_u64..40_000,
        header: bool,
        padding in 0_usize..40,
        pieces in proptest::collection::vec(1_usize..9_000, 1..20),
    ) {
        let mut random = Random::new(seed);
        let files = files(&mut random, count, 30_000);
        let archive = tar(&files);
        let mut blob = Vec::new();
        for part in archive.chunks(archive.len() / members + 1) {
            let gzip = if header { gzip_with_header } else { gzip };
            blob.extend_from_slice(&gzip(part, level));
        }
        blob.extend(std::iter::repeat_n(0, padding));
        let mut config = IndexConfig::default();
        (config.span_bytes, config.span_compressed_bytes) = (span_bytes, 1 << 30);

        let mut builder = IndexBuilder::new(config).unwrap();
        let (mut rest, mut pieces) = (blob.as_slice(), pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
            builder.push(piece).unwrap();
            rest = after;
        }
        let index = builder.finish().unwrap();
        assert_spans(&index, &blob, &archive);
        assert_entries(&index, &archive, &files);

        let decoded = Index::decode(&index.encode().unwrap()).unwrap();
        prop_assert!(decoded == index);
    }

    /// A plain tar has an index too.
    #[test]
    fn plain_archives(seed: u64, count in 0_usize..8, span_bytes in 4_096_u64..40_000) {
        let files = files(&mut Random::new(seed), count, 30_000);
        let archive = tar(&files);
        let mut config = IndexConfig::default();
        config.span_bytes = span_bytes;
        let index = index(&archive, &config);
        prop_assert_eq!(index.compression(), Compression::None);
        assert_spans(&index, &archive, &archive);
        assert_entries(&index, &archive, &files);
    }

    /// Hostile bytes end in an error or an index, never in a panic.
    #[test]
    fn hostile_bytes(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..3_000),
        gzip_magic: bool,
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        seed in 0_u64..4,
    ) {
        if gzip_magic {
            bytes.splice(0..0, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
        }
        drop(Index::build(bytes.as_slice(), IndexConfig::default()));
        drop(Index::decode(&bytes));

        // Near misses: a good archive, a good blob and a good index with a few bytes changed.
        let archive = tar(&files(&mut Random::new(seed), 4, 4_000));
        let blob = gzip(&archive, 6);
        let encoded = index(&blob, &small_spans()).encode().unwrap().to_vec();
        for (mut bytes, is_index) in [(archive, false), (blob, false), (encoded, true)] {
            for &(at, byte) in &flips {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if is_index {
                // With the checksum made right again, the checks behind it are at work.
                let body = bytes.len() - 32;
                let checksum = Digest::of(&bytes[..body]);
                bytes[body..].copy_from_slice(&checksum.0);
                if let Ok(index) = Index::decode(&bytes) {
                    for number in 0..index.span_count() {
                        drop(index.decode_span(number, &Bytes::from_static(b"no span")));
                    }
                }
            } else {
                drop(Index::build(bytes.as_slice(), small_spans()));
            }
        }
    }
}

#[test]
fn every_flipped_byte_of_an_index_is_refused() {
    let blob = gzip(&tar(&files(&mut Random::new(3), 8, 20_000)), 6);
    let encoded = index(&blob, &small_spans()).encode().unwrap();
    let mut random = Random::new(4);
    for at in 0..encoded.len() {
        let mut damaged = encoded.to_vec();
        damaged[at] ^= 1 << random.below(8);
        assert_eq!(Index::decode(&damaged).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
    }
    for length in 0..encoded.len() {
        assert_eq!(Index::decode(&encoded[..length]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

/// Only what is referred to is kept of a window, which takes a fraction of its 32 KiB.
#[test]
fn windows_are_sparse() {
    let archive = tar(&files(&mut Random::new(5), 120, 50_000));
    let blob = gzip(&archive, 6);
    let mut config = IndexConfig::default();
    config.span_bytes = 128 << 10;
    let index = index(&blob, &config);
    let (spans, bytes) = (index.span_count(), index.encode().unwrap().len());
    assert!(spans > 10, "{spans} spans");
    assert!(bytes / spans < 12_000, "{bytes} bytes for {spans} spans");
    assert_spans(&index, &blob, &archive);
}

fn build_error(blob: &[u8], change: impl FnOnce(&mut IndexConfig)) -> ErrorKind {
    let mut config = IndexConfig::default();
    change(&mut config);
    Index::build(blob, config).unwrap_err().kind()
}

#[test]
fn limits_hold() {
    let archive = tar(&files(&mut Random::new(6), 20, 30_000));
    let blob = gzip(&archive, 6);
    let exhausted = [
        build_error(&blob, |config| config.max_entries = 19),
        build_error(&blob, |config| config.max_blob_bytes = archive.len() as u64 - 1),
        build_error(&archive, |config| config.max_blob_bytes = archive.len() as u64 - 1),
        build_error(&blob, |config| {
            (config.span_bytes, config.span_compressed_bytes) = (1 << 30, 1 << 30);
            config.max_span_bytes = 64 << 10;
        }),
        build_error(&tar(&[("long/".repeat(100), Vec::new())]), |config| {
            config.max_path_bytes = 499;
        }),
        build_error(&tar(&[("x".repeat(4_000), Vec::new())]), |config| {
            config.max_extension_bytes = 1 << 10;
        }),
    ];
    assert_eq!(exhausted, [ErrorKind::Exhausted; 6]);
    assert_eq!(build_error(&blob, |config| config.span_bytes = 1), ErrorKind::Invalid);
    let encoded = index(&blob, &IndexConfig::default()).encode().unwrap();
    let mut config = IndexConfig::default();
    config.max_entries = 19;
    let decoded = Index::decode_with(&encoded, &config);
    assert_eq!(decoded.unwrap_err().kind(), ErrorKind::Exhausted);
}

/// 300 MB of zeros in 300 KB, the most that deflate can do.
#[test]
fn a_bomb_is_stopped() {
    let mut header = tar::Header::new_gnu();
    header.set_size(300 << 20);
    header.set_path("zeros").unwrap();
    header.set_cksum();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::Write::write_all(&mut encoder, header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..300).for_each(|_| std::io::Write::write_all(&mut encoder, &zeros).unwrap());
    let blob = encoder.finish().unwrap();
    assert_eq!(build_error(&blob, |_| ()), ErrorKind::Exhausted);
    let mut config = IndexConfig::default();
    config.max_ratio = 2_000;
    assert_eq!(Index::build(blob.as_slice(), config).unwrap().entries().len(), 1);
}

#[test]
fn what_is_no_archive_is_refused() {
    let archive = tar(&files(&mut Random::new(7), 3, 3_000));
    let blob = gzip(&archive, 6);
    let mut garbage_after = blob.clone();
    garbage_after.extend_from_slice(b"garbage");
    let mut wrong_crc = blob.clone();
    let at = wrong_crc.len() - 6;
    wrong_crc[at] ^= 1;
    let mut cut = archive.clone();
    cut.truncate(700);
    for (what, bytes) in [
        ("empty", &b""[..]),
        ("text", &b"hello, this is not a tar archive".repeat(40)),
        ("cut gzip", &blob[..blob.len() - 1]),
        ("cut in the deflate data", &blob[..blob.len() / 2]),
        ("garbage after", &garbage_after),
        ("wrong checksum", &wrong_crc),
        ("cut tar", &cut),
    ] {
        assert_eq!(build_error(bytes, |_| ()), ErrorKind::Corrupt, "{what}");
    }
    assert_eq!(build_error(&[0x28, 0xb5, 0x2f, 0xfd, 0], |_| ()), ErrorKind::Unsupported);
}

#[test]
fn a_builder_that_failed_stays_failed() {
    let mut builder = IndexBuilder::new(IndexConfig::default()).unwrap();
    assert!(builder.push(&[b'x'; 600]).is_err());
    assert_eq!(builder.push(&[0; 512]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(builder.finish().unwrap_err().kind(), ErrorKind::Corrupt);
}

fn header(kind: tar::EntryType, path: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(path).unwrap();
    header.set_size(size);
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_gid(100);
    header.set_mtime(1_600_000_000);
    header.set_username("user").unwrap();
    header.set_groupname("group").unwrap();
    header
}

/// A PAX record, whose length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    (rest.len()..rest.len() + 9)
        .map(|length| format!("{length}{rest}"))
        .find(|record| record.starts_with(&format!("{} ", record.len())))
        .unwrap()
}

#[test]
fn every_entry_type_and_extension() {
    use tar::EntryType as Type;
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |mut header: tar::Header, content: &[u8]| {
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    append(header(Type::Directory, "./d/", 0), b"");
    append(header(Type::Regular, "d/file", 3), b"abc");
    let mut link = header(Type::Symlink, "d/symlink", 0);
    link.set_link_name("../x").unwrap();
    append(link, b"");
    let mut link = header(Type::Link, "d/hardlink", 0);
    link.set_link_name("/d/./file").unwrap();
    append(link, b"");
    let mut device = header(Type::Char, "d/char", 0);
    device.set_device_major(5).unwrap();
    device.set_device_minor(1).unwrap();
    append(device, b"");
    append(header(Type::Block, "d/block", 0), b"");
    append(header(Type::Fifo, "d/fifo", 0), b"");
    append(header(Type::Continuous, "d/contiguous", 2), b"hi");
    append(header(Type::new(b'V'), "volume", 0), b"");
    let records = [
        record("mtime", "-1.25"),
        record("path", "pax/ä/long"),
        record("uid", "4294967296"),
        record("SCHILY.xattr.security.capability", "\u{1}\0"),
    ]
    .concat();
    append(header(Type::XHeader, "ignored", records.len() as u64), records.as_bytes());
    append(header(Type::Regular, "short", 4), b"pax!");
    append(header(Type::XGlobalHeader, "global", 14), b"14 gname=team\n");
    append(header(Type::Regular, "d/file", 3), b"new");
    let mut builder = tar::Builder::new(builder.into_inner().unwrap());
    // What another crate writes as GNU long names, and numbers in base 256.
    let mut file = tar::Header::new_gnu();
    file.set_size(1);
    file.as_gnu_mut().unwrap().uid = [0x80, 0, 0, 1, 0, 0, 0, 0];
    let long = "n/".repeat(200) + "name";
    builder.append_data(&mut file, &long, &b"z"[..]).unwrap();
    let archive = builder.into_inner().unwrap();
    // The first builder's end markers would end the archive.
    let end = archive.windows(1024).step_by(512).position(|it| it.iter().all(|&b| b == 0));
    let at = end.unwrap() * 512;
    let joined = [&archive[..at], &archive[at + 1024..]].concat();

    let index = index(&gzip(&joined, 6), &small_spans());
    let summary: Vec<(String, EntryKind, u64)> = index
        .entries()
        .iter()
        .map(|entry| (entry.path_lossy().into_owned(), entry.kind, entry.size))
        .collect();
    let expected = [
        ("d", EntryKind::Directory, 0),
        ("d/file", EntryKind::Regular, 3),
        ("d/symlink", EntryKind::Symlink, 0),
        ("d/hardlink", EntryKind::HardLink, 0),
        ("d/char", EntryKind::CharDevice, 0),
        ("d/block", EntryKind::BlockDevice, 0),
        ("d/fifo", EntryKind::Fifo, 0),
        ("d/contiguous", EntryKind::Regular, 2),
        ("volume", EntryKind::Other(b'V'), 0),
        ("pax/ä/long", EntryKind::Regular, 4),
        ("d/file", EntryKind::Regular, 3),
        (&long, EntryKind::Regular, 1),
    ];
    let expected = expected.map(|(path, kind, size)| (path.to_owned(), kind, size));
    assert_eq!(summary, expected);

    let content = |path: &str| {
        let range = index.resolve(path).unwrap().content();
        &joined[range.start as usize..range.end as usize]
    };
    assert_eq!(content("d/file"), b"new", "the last of a path counts");
    assert_eq!(content("d/hardlink"), b"abc", "a link names the file before it");
    let pax = index.entry("/pax//./ä/long").unwrap();
    assert_eq!((pax.mtime, pax.mtime_nanos, pax.uid), (-2, 750_000_000, 1 << 32));
    assert_eq!(&*pax.xattrs[0].name, b"security.capability");
    assert_eq!(&*pax.xattrs[0].value, b"\x01\0");
    let first = index.entries().first().unwrap();
    assert_eq!((first.mode, first.uid, first.gid), (0o4755, 1000, 100));
    assert_eq!((&*first.user, &*first.group), (&b"user"[..], &b"group"[..]));
    assert_eq!(&*index.entry("d/file").unwrap().group, b"team");
    assert_eq!(&*index.entry("d/symlink").unwrap().link_target, b"../x");
    assert_eq!(index.entry("d/char").unwrap().device, (5, 1));
    assert_eq!(index.entry(&long).unwrap().uid, 1 << 32);
    assert!(Index::decode(&index.encode().unwrap()).unwrap() == index);
}

/// Archives of this crate's own files, made by the tools that make layers.
#[test]
fn archives_of_real_tools() {
    let folder = env!("CARGO_MANIFEST_DIR");
    for command in [
        "tar -cf - src tests | gzip -1",
        "tar -cf - src tests | gzip -9",
        "tar --format=pax -cf - src tests | pigz -p 3 -b 32",
        "tar --format=v7 -cf - src tests | pigz -11 -p 2",
        "tar --format=gnu -cf - src | gzip -6; tar --format=ustar -cf - tests | pigz -R",
        "tar --sort=name -cf - src tests | pigz -i -b 32",
    ] {
        let script = format!("set -o pipefail; {{ {command}; }}");
        let made =
            std::process::Command::new("bash").args(["-c", &script]).current_dir(folder).output();
        let blob = match made {
            Ok(made) if made.status.success() => made.stdout,
            other => {
                let strict = std::env::var("TRESTLE_REQUIRE_SERVERS").is_ok_and(|it| it == "1");
                assert!(!strict, "{command}: {other:?}");
                eprintln!("SKIPPED {command}: tar, gzip or pigz is not installed");
                continue;
            }
        };
        let mut archive = Vec::new();
        std::io::Read::read_to_end(&mut MultiGzDecoder::new(blob.as_slice()), &mut archive)
            .unwrap();
        let index = index(&blob, &small_spans());
        assert_spans(&index, &blob, &archive);
        let name = "src/core/spans.rs";
        let range = index.entry(name).unwrap().content();
        let source = std::fs::read(format!("{folder}/{name}")).unwrap();
        assert!(archive[range.start as usize..range.end as usize] == source[..], "{command}");
    }
}
