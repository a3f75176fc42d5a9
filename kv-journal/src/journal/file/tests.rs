//! The file journal on a disk that fails and crashes.
#![allow(clippy::cast_possible_truncation, reason = "simulated files are small")]

use std::error::Error as _;

use bytes::Bytes;
use proptest::prelude::*;

use super::disk::{Disk as _, write_all_at};
use super::log::Log;
use super::segment::Segment;
use super::sim::{Faults, SimDisk};
use super::{FileConfig, OpenReport};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Entry, ReadLimits, Tail};

fn config() -> FileConfig {
    FileConfig { segment_bytes: 4 << 10, record_bytes: 1 << 10, ..FileConfig::default() }
}

fn open(disk: &SimDisk) -> Result<(Log, OpenReport)> {
    Log::open(Box::new(disk.clone()), config())
}

/// Opens and takes over.
fn take(disk: &SimDisk) -> (Log, OpenReport, Tail) {
    let (mut log, report) = open(disk).unwrap();
    let epoch = log.tail().unwrap().epoch + 1;
    let tail = log.fence(epoch).unwrap();
    (log, report, tail)
}

fn batch(first: u64, len: u64, size: usize) -> Vec<Bytes> {
    (first..first + len).map(|number| Bytes::from(vec![number as u8; size])).collect()
}

fn payloads(log: &Log) -> Vec<Bytes> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let next = log.tail().unwrap().first_seq + entries.len() as u64;
        let more = log.read(next, ReadLimits { records: 7, bytes: 1 << 20 }).unwrap();
        if more.is_empty() {
            return entries.into_iter().map(|entry| entry.payload).collect();
        }
        entries.extend(more);
    }
}

fn message(error: &Error) -> String {
    error.to_string()
}

#[test]
fn segments_follow_each_other_and_read_as_one() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    let mut expected = Vec::new();
    for round in 0..20 {
        let records = batch(round, 5, 100);
        log.append(tail.epoch, expected.len() as u64 + 1, &records).unwrap();
        expected.extend(records);
    }
    assert!(disk.names().len() > 2, "{:?}", disk.names());
    assert_eq!(payloads(&log), expected);
    drop(log);
    let (log, report) = open(&disk).unwrap();
    assert_eq!(payloads(&log), expected);
    assert_eq!((report.records, report.torn), (100, None));
}

#[test]
fn a_fence_survives_a_restart() {
    let disk = SimDisk::default();
    let (mut log, _) = open(&disk).unwrap();
    log.fence(9).unwrap();
    drop(log);
    disk.crash(|| false);
    let (mut log, _) = open(&disk).unwrap();
    assert_eq!(log.tail().unwrap().epoch, 9);
    assert_eq!(log.fence(9).unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn an_oversized_record_is_refused_and_harms_nothing() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    let error = log.append(tail.epoch, 1, &batch(0, 1, 1025)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    log.append(tail.epoch, 1, &batch(0, 1, 1024)).unwrap();
    assert_eq!(payloads(&log).len(), 1);
}

#[test]
fn short_writes_are_finished() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    disk.set_faults(Faults { short_writes: Some(7), ..Faults::default() });
    log.append(tail.epoch, 1, &batch(0, 3, 50)).unwrap();
    disk.crash(|| false);
    assert_eq!(payloads(&open(&disk).unwrap().0), batch(0, 3, 50));
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_passes() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 2, 100)).unwrap();
    disk.set_faults(Faults { capacity: Some(500), ..Faults::default() });
    let error = log.append(tail.epoch, 3, &batch(2, 9, 100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(message(&error).contains("disk is full"), "{error}");
    assert_eq!(log.tail().unwrap().next_seq, 3);

    log.append(tail.epoch, 3, &batch(2, 1, 20)).unwrap();
    disk.set_faults(Faults::default());
    log.append(tail.epoch, 4, &batch(3, 9, 100)).unwrap();
    disk.crash(|| false);
    let (log, report) = open(&disk).unwrap();
    assert_eq!(report.torn, None);
    let expected = [batch(0, 2, 100), batch(2, 1, 20), batch(3, 9, 100)].concat();
    assert_eq!(payloads(&log), expected);
}

#[test]
fn a_full_disk_stops_a_new_segment_and_passes() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 5, 800)).unwrap();
    disk.set_faults(Faults { capacity: Some(4_150), ..Faults::default() });
    let error = log.append(tail.epoch, 6, &batch(5, 1, 800)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    disk.set_faults(Faults::default());
    log.append(tail.epoch, 6, &batch(5, 1, 800)).unwrap();
    assert_eq!(payloads(&log), batch(0, 6, 800));
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 2, 10)).unwrap();
    disk.set_faults(Faults { fail_file_sync: true, ..Faults::default() });
    let error = log.append(tail.epoch, 3, &batch(2, 2, 10)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    disk.set_faults(Faults::default());

    let later = log.append(tail.epoch, 3, &batch(2, 2, 10)).unwrap_err();
    assert_eq!(later.kind(), ErrorKind::Closed);
    assert!(later.source().is_some_and(|cause| cause.to_string().contains("could not sync")));
    assert_eq!(log.tail().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.fence(99).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.trim(1).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.read(1, ReadLimits::default()).unwrap_err().kind(), ErrorKind::Closed);
    drop(log);
    disk.crash(|| false);
    assert_eq!(payloads(&open(&disk).unwrap().0), batch(0, 2, 10));
}

#[test]
fn a_torn_batch_that_cannot_be_cut_closes_the_journal() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    let full = Faults { capacity: Some(100), fail_set_len: true, ..Faults::default() };
    disk.set_faults(full);
    let error = log.append(tail.epoch, 1, &batch(0, 3, 50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    disk.set_faults(Faults::default());
    assert_eq!(log.tail().unwrap_err().kind(), ErrorKind::Closed);
    drop(log);
    let (log, report) = open(&disk).unwrap();
    assert!(report.torn.is_some());
    assert_eq!(payloads(&log), Vec::<Bytes>::new());
}

#[test]
fn a_failed_directory_sync_closes_the_journal() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 1, 10)).unwrap();
    disk.set_faults(Faults { fail_directory_sync: true, ..Faults::default() });
    assert_eq!(log.fence(tail.epoch + 1).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.tail().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 3, 40)).unwrap();
    log.append(tail.epoch, 4, &batch(3, 2, 40)).unwrap();
    drop(log);
    let name = disk.names().pop().unwrap();
    disk.damage(&name, |content| content.truncate(content.len() - 1));
    let (log, report) = open(&disk).unwrap();
    assert_eq!(payloads(&log), batch(0, 3, 40));
    let torn = report.torn.unwrap();
    assert_eq!((torn.segment, torn.offset), (name, 32 + 3 * 60));
    assert_eq!(torn.bytes, 2 * 60 - 1);
    drop(log);
    assert_eq!(open(&disk).unwrap().1.torn, None);
}

#[test]
fn damage_in_the_middle_refuses_to_open_and_says_where() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for number in 0..3 {
        log.append(tail.epoch, number + 1, &batch(number, 1, 40)).unwrap();
    }
    drop(log);
    let name = disk.names().pop().unwrap();
    disk.damage(&name, |content| content[32 + 60 + 30] ^= 1);
    let error = open(&disk).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(message(&error).contains(&format!("segment {name} at byte 92")), "{error}");
}

#[test]
fn damage_in_an_older_segment_refuses_to_open() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 1, 40)).unwrap();
    log.fence(tail.epoch + 1).unwrap();
    drop(log);
    let name = disk.names().remove(0);
    disk.damage(&name, |content| content.truncate(80));
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
    let name = disk.names().pop().unwrap();
    for at in 0..32 {
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
    let name = disk.names().pop().unwrap();
    disk.damage(&name, |content| content[32 + 60 + 30] ^= 1);
    let error = log.read(2, ReadLimits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(message(&error).contains("at byte 92: checksum"), "{error}");
}

#[test]
fn a_hostile_length_is_not_allocated() {
    let disk = SimDisk::default();
    drop(take(&disk));
    let name = disk.names().pop().unwrap();
    let mut frame = vec![0; 4];
    frame.extend(u32::MAX.to_le_bytes());
    frame.extend([0; 12]);
    disk.damage(&name, |content| content.extend(frame));
    let (log, report) = open(&disk).unwrap();
    assert_eq!(report.torn.unwrap().bytes, 20);
    assert_eq!(log.tail().unwrap().next_seq, 1);
}

#[test]
fn trim_removes_whole_segments_and_survives_a_crash() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for round in 0..20 {
        log.append(tail.epoch, round * 5 + 1, &batch(round * 5, 5, 100)).unwrap();
    }
    log.trim(50).unwrap();
    let first = log.tail().unwrap().first_seq;
    assert!(first > 1 && first <= 50, "{first}");
    drop(log);
    disk.crash(|| false);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.tail().unwrap().first_seq, first);
    assert_eq!(payloads(&log), batch(first - 1, 101 - first, 100));
}

#[test]
fn an_open_that_fails_on_a_full_disk_damages_nothing() {
    for room in 0..64 {
        open_with_room(room, false);
        open_with_room(room, true);
    }
}

/// Opens a journal, its last batch torn or not, with so many bytes of room for the new segment.
fn open_with_room(room: usize, torn: bool) {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 12, 200)).unwrap();
    let mut full = disk.used();
    log.append(tail.epoch, 13, &batch(12, 3, 40)).unwrap();
    drop(log);
    if torn {
        let name = disk.names().pop().unwrap();
        disk.damage(&name, |content| content.truncate(content.len() - 1));
    } else {
        full = disk.used();
    }
    let mut expected = batch(0, 12, 200);
    expected.extend(batch(12, if torn { 0 } else { 3 }, 40));

    disk.set_faults(Faults { capacity: Some(full + room), ..Faults::default() });
    let (mut log, report) = open(&disk).unwrap();
    assert_eq!(report.torn.is_some(), torn);
    let fence = log.fence(tail.epoch + 1);
    assert_eq!(fence.is_ok(), room >= 32, "{room} bytes of room");
    if let Err(error) = fence {
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(message(&error).contains("the disk is full: make room"), "{error}");
        assert_eq!(payloads(&log), expected);
    }
    drop(log);
    disk.crash(|| room.is_multiple_of(2));

    let (mut log, _, tail) = take(&disk);
    assert_eq!(payloads(&log), expected);
    log.append(tail.epoch, tail.next_seq, &batch(99, 1, 40)).unwrap();
    drop(log);
    expected.extend(batch(99, 1, 40));
    assert_eq!(payloads(&open(&disk).unwrap().0), expected);
}

#[test]
fn a_new_journal_on_a_full_disk_can_be_opened_once_there_is_room() {
    for room in 0..32 {
        let disk = SimDisk::default();
        disk.set_faults(Faults { capacity: Some(room), ..Faults::default() });
        let error = open(&disk).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(message(&error).contains("the disk is full: make room"), "{error}");
        disk.set_faults(Faults::default());
        let (log, _, tail) = take(&disk);
        assert_eq!((tail.epoch, tail.next_seq), (1, 1));
        assert_eq!(payloads(&log), Vec::<Bytes>::new());
    }
}

#[test]
fn a_trim_that_may_not_be_durable_closes_the_journal() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for round in 0..4 {
        log.append(tail.epoch + round, round + 1, &batch(round, 1, 40)).unwrap();
        log.fence(tail.epoch + round + 1).unwrap();
    }
    disk.set_faults(Faults { fail_directory_sync: true, ..Faults::default() });
    assert_eq!(log.trim(4).unwrap_err().kind(), ErrorKind::Closed);
    disk.set_faults(Faults::default());
    // If it went on, the next segment could go for good while this one comes back.
    assert_eq!(log.trim(4).unwrap_err().kind(), ErrorKind::Closed);
    drop(log);
    disk.crash(|| false);
    assert_eq!(payloads(&open(&disk).unwrap().0), batch(0, 4, 40));
}

#[test]
fn files_with_impossible_numbers_are_not_segments() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 1, 40)).unwrap();
    drop(log);
    for base in [0, u64::MAX] {
        let other = Segment::new(base, 9);
        write_all_at(&*disk.create(&other.name()).unwrap(), &other.header(), 0).unwrap();
        disk.damage(&other.name(), |content| content.extend([7; 60]));
    }
    assert_eq!(payloads(&open(&disk).unwrap().0), batch(0, 1, 40));
}

#[derive(Debug, Clone)]
enum Op {
    Append { records: u64, size: usize },
    Fence,
    Full { capacity: usize },
    Roomy,
    FailSync,
    Crash { kept: Vec<bool> },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..6u64, 0..300usize).prop_map(|(records, size)| Op::Append { records, size }),
        1 => Just(Op::Fence),
        1 => (0..2000usize).prop_map(|capacity| Op::Full { capacity }),
        1 => Just(Op::Roomy),
        1 => Just(Op::FailSync),
        3 => prop::collection::vec(any::<bool>(), 1..40).prop_map(|kept| Op::Crash { kept }),
    ]
}

/// What may be in the journal: everything acknowledged, then perhaps one batch of unknown outcome.
struct Model {
    acknowledged: Vec<Bytes>,
    unknown: Vec<Bytes>,
}

impl Model {
    fn check(&mut self, found: &[Bytes]) {
        let with_unknown = [&self.acknowledged[..], &self.unknown[..]].concat();
        assert!(
            found == self.acknowledged || found == with_unknown,
            "found {} records, {} acknowledged, {} unknown",
            found.len(),
            self.acknowledged.len(),
            self.unknown.len(),
        );
        self.acknowledged = found.to_vec();
        self.unknown.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_crash_loses_or_invents_a_batch(ops in prop::collection::vec(op(), 1..40)) {
        let disk = SimDisk::default();
        let (mut log, _, mut tail) = take(&disk);
        let mut model = Model { acknowledged: Vec::new(), unknown: Vec::new() };
        let mut number = 0;
        for op in ops {
            match op {
                Op::Append { records, size } => {
                    let records = batch(number, records, size);
                    number += 7;
                    let next_seq = model.acknowledged.len() as u64 + 1;
                    match log.append(tail.epoch, next_seq, &records) {
                        Ok(()) => model.acknowledged.extend(records),
                        // In flight at the crash that must follow.
                        Err(error) if error.kind() == ErrorKind::Unknown => model.unknown = records,
                        Err(error) => prop_assert!(
                            matches!(error.kind(), ErrorKind::Exhausted | ErrorKind::Unavailable | ErrorKind::Closed),
                            "{error}"
                        ),
                    }
                }
                Op::Fence => tail.epoch = log.fence(tail.epoch + 1).map_or(tail.epoch, |t| t.epoch),
                Op::Full { capacity } => {
                    disk.set_faults(Faults { capacity: Some(capacity), ..Faults::default() });
                }
                Op::Roomy => disk.set_faults(Faults::default()),
                Op::FailSync => {
                    disk.set_faults(Faults { fail_file_sync: true, ..Faults::default() });
                }
                Op::Crash { kept } => {
                    drop(log);
                    let mut kept = kept.into_iter().cycle();
                    disk.crash(|| kept.next().unwrap_or_default());
                    (log, _, tail) = take(&disk);
                    model.check(&payloads(&log));
                }
            }
        }
        drop(log);
        disk.crash(|| false);
        model.check(&payloads(&open(&disk).unwrap().0));
    }
}
