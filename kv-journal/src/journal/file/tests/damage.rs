//! Torn tails, and bytes that changed.

use super::*;
use crate::journal::fuzz_segment;

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 3, 40)).unwrap();
    log.append(tail.epoch, 4, &batch(3, 2, 40)).unwrap();
    drop(log);
    let name = last_name(&disk);
    let from = HEADER_BYTES + 3 * 60;
    disk.damage(&name, |content| content[from + 119] = 0);
    let (mut log, report) = open(&disk).unwrap();
    assert_eq!(payloads(&mut log), batch(0, 3, 40));
    let torn = report.torn.unwrap();
    assert_eq!((torn.segment, torn.offset, torn.bytes), (name, from as u64, 119));
    drop(log);
    assert_eq!(open(&disk).unwrap().1.torn, None);
}

#[test]
fn a_batch_of_which_any_part_is_missing_is_cut_whole() {
    const SECTORS: usize = 5;
    for kept in 0..1 << SECTORS {
        let disk = SimDisk::default();
        let (mut log, _, tail) = take(&disk);
        log.append(tail.epoch, 1, &batch(1, 2, 40)).unwrap();
        log.append(tail.epoch, 3, &batch(3, 3, 33)).unwrap();
        drop(log);
        let (from, len) = (HEADER_BYTES + 2 * 60, 3 * 53);
        disk.damage(&last_name(&disk), |content| {
            for (sector, chunk) in content[from..from + len].chunks_mut(32).enumerate() {
                if kept & 1 << sector == 0 {
                    chunk.fill(0);
                }
            }
        });
        let (mut log, report) = open(&disk).unwrap();
        let whole = kept + 1 == 1 << SECTORS;
        assert_eq!(report.torn.is_some(), !whole && kept != 0, "{kept:b}");
        let left = if whole { 3 } else { 0 };
        let expected = [batch(1, 2, 40), batch(3, left, 33)].concat();
        assert_eq!(payloads(&mut log), expected, "{kept:b}");

        // The next batch, of which the first record alone reaches the disk, takes nothing over.
        let tail = log.tail().unwrap();
        log.append(tail.epoch, tail.next_seq, &batch(7, 3, 33)).unwrap();
        let at = from + left as usize * 53;
        disk.damage(&last_name(&disk), |content| content[at + 53..].fill(0));
        drop(log);
        assert_eq!(payloads(&mut open(&disk).unwrap().0), expected, "{kept:b}");
    }
}

#[test]
fn a_batch_that_the_disk_lost_is_missed_when_a_later_one_is_there() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for number in 0..3 {
        log.append(tail.epoch, number + 1, &batch(number, 1, 40)).unwrap();
    }
    drop(log);
    let name = last_name(&disk);
    disk.damage(&name, |content| content[HEADER_BYTES + 60..HEADER_BYTES + 120].fill(0));
    let error = open(&disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(message(&error).contains(&format!("segment {name} at byte 108")), "{error}");
}

#[test]
fn a_later_batch_is_found_beyond_many_windows() {
    let disk = SimDisk::default();
    let config = FileConfig { segment_bytes: 4 << 20, record_bytes: 2 << 20, ..config() };
    let open = || Log::open(Arc::new(disk.clone()), config.clone());
    let (mut log, _) = open().unwrap();
    log.fence(1).unwrap();
    log.append(1, 1, &batch(1, 1, 1_500_000)).unwrap();
    log.append(1, 2, &batch(2, 1, 40)).unwrap();
    drop(log);
    let name = last_name(&disk);
    disk.damage(&name, |content| content[700_000] ^= 1);
    assert_eq!(open().map(drop).unwrap_err().kind(), ErrorKind::Corrupt);
    // Without it the first batch may be what a crash tore.
    disk.damage(&name, |content| content[1_500_100] ^= 1);
    assert_eq!(open().unwrap().1.torn.unwrap().offset, HEADER_BYTES as u64);
}

/// Three segments of two batches, closed.
fn closed() -> SimDisk {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for round in 0..3 {
        let (epoch, first) = (tail.epoch + round, round * 5 + 1);
        log.append(epoch, first, &batch(first, 3, 30)).unwrap();
        log.append(epoch, first + 3, &batch(first + 3, 2, 50)).unwrap();
        if round < 2 {
            log.fence(epoch + 1).unwrap();
        }
    }
    log.close();
    disk
}

#[test]
fn every_flipped_byte_of_a_closed_journal_is_detected() {
    let disk = closed();
    let expected = payloads(&mut open(&disk).unwrap().0);
    let verify = FileConfig { verify_on_open: true, ..config() };
    let names = disk.names();
    for name in &names {
        let mut len = 0;
        disk.damage(name, |content| len = content.len());
        for at in 0..len {
            // A crash may have torn the last batch, and nothing tells that from damage.
            let last_batch = Some(name) == names.last() && at >= HEADER_BYTES + 3 * 50;
            disk.damage(name, |content| content[at] ^= 0x04);
            let opened = Log::open(Arc::new(disk.clone()), verify.clone());
            if last_batch {
                let (mut log, report) = opened.unwrap();
                assert!(report.torn.is_some(), "{name} at {at}");
                assert_eq!(payloads(&mut log), expected[..13], "{name} at {at}");
                log.append(log.tail().unwrap().epoch, 14, &expected[13..]).unwrap();
                continue;
            }
            let error = opened.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} at {at}");
            assert!(message(&error).contains(name), "{name} at {at}: {error}");
            if let Ok((mut log, report)) = open(&disk) {
                assert_eq!(report.torn, None, "{name} at {at}");
                let error = log.read(1, ReadLimits::default()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} at {at}");
            }
            disk.damage(name, |content| content[at] ^= 0x04);
        }
    }
}

#[test]
fn what_follows_the_end_of_an_older_segment_is_not_read() {
    let disk = closed();
    let expected = payloads(&mut open(&disk).unwrap().0);
    let first = disk.names().remove(0);
    disk.damage(&first, |content| content.extend([7; 300]));
    assert_eq!(payloads(&mut open(&disk).unwrap().0), expected);
}

#[test]
fn a_segment_of_another_journal_is_refused() {
    let (disk, other) = (closed(), closed());
    let name = disk.names().remove(1);
    let mut frames = Vec::new();
    // The same records, by a writer of another epoch.
    let (mut log, _) = open(&other).unwrap();
    log.trim(u64::MAX).unwrap();
    log.fence(90).unwrap();
    drop(log);
    other.damage(&last_name(&other), |content| frames.clone_from(content));
    disk.damage(&name, |content| content[..HEADER_BYTES].copy_from_slice(&frames[..HEADER_BYTES]));
    let error = open(&disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(message(&error).contains("another segment"), "{error}");
}

#[test]
fn a_segment_is_read_alone_for_the_fuzzer() {
    let disk = closed();
    for (name, records) in disk.names().into_iter().zip([(1, 6), (6, 11), (11, 16)]) {
        disk.damage(&name, |content| {
            assert_eq!(fuzz_segment(content), Some(records));
            assert_eq!(fuzz_segment(&content[..HEADER_BYTES - 1]), None);
        });
    }
}

#[test]
fn damage_in_the_middle_refuses_to_open_and_says_where() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for number in 0..3 {
        log.append(tail.epoch, number + 1, &batch(number, 1, 40)).unwrap();
    }
    drop(log);
    let name = last_name(&disk);
    disk.damage(&name, |content| content[HEADER_BYTES + 60 + 30] ^= 1);
    let error = open(&disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(message(&error).contains(&format!("segment {name} at byte 108")), "{error}");
}

#[test]
fn damage_in_an_older_segment_refuses_to_open() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 1, 40)).unwrap();
    log.fence(tail.epoch + 1).unwrap();
    drop(log);
    let name = disk.names().remove(0);
    disk.damage(&name, |content| content.truncate(100));
    let error = open(&disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(message(&error).contains(&name), "{error}");
}

#[test]
fn a_missing_segment_refuses_to_open() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for round in 0..3 {
        log.append(tail.epoch + round, round + 1, &batch(round, 1, 40)).unwrap();
        log.fence(tail.epoch + round + 1).unwrap();
    }
    drop(log);
    let second = disk.names().remove(1);
    disk.remove(&second).unwrap();
    let error = open(&disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(message(&error).contains("a segment is missing"), "{error}");
}

#[test]
fn a_damaged_header_refuses_to_open() {
    let disk = SimDisk::default();
    drop(take(&disk));
    let name = last_name(&disk);
    for at in 0..HEADER_BYTES {
        disk.damage(&name, |content| content[at] ^= 0x10);
        let error = open(&disk).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
        disk.damage(&name, |content| content[at] ^= 0x10);
    }
    open(&disk).unwrap();
}

#[test]
fn damage_while_open_is_found_by_the_read() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 2, 40)).unwrap();
    let name = last_name(&disk);
    disk.damage(&name, |content| content[HEADER_BYTES + 60 + 30] ^= 1);
    let error = log.read(2, ReadLimits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        message(&error).contains("at byte 108: record 2 does not match its checksum"),
        "{error}"
    );
}

#[test]
fn a_hostile_length_is_not_allocated() {
    let disk = SimDisk::default();
    drop(take(&disk));
    let name = last_name(&disk);
    let mut frame = vec![0; 4];
    frame.extend(u32::MAX.to_le_bytes());
    frame.extend([0; 12]);
    disk.damage(&name, |content| content[HEADER_BYTES..][..20].copy_from_slice(&frame));
    let (log, report) = open(&disk).unwrap();
    assert_eq!(report.torn.unwrap().bytes, 8);
    assert_eq!(log.tail().unwrap().next_seq, 1);
}
