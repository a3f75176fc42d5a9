//! The file journal on a disk that fails and crashes.
#![allow(clippy::cast_possible_truncation, reason = "simulated files are small")]

use std::error::Error as _;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;

use super::ahead;
use super::disk::{Disk as _, write_all_at};
use super::log::Log;
use super::rollover::SPARE;
use super::segment::{HEADER_BYTES, Link, Segment};
use super::sim::{Faults, SimDisk};
use super::{FileConfig, OpenReport};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Entry, ReadLimits, Tail};

mod crash;
mod damage;
mod full;

fn config() -> FileConfig {
    FileConfig { segment_bytes: 4 << 10, record_bytes: 1 << 10, ..FileConfig::default() }
}

fn open(disk: &SimDisk) -> Result<(Log, OpenReport)> {
    Log::open(Arc::new(disk.clone()), config())
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

fn payloads(log: &mut Log) -> Vec<Bytes> {
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

/// What the journal's thread does beside its commands.
fn prepare_spare(log: &mut Log) {
    let room = log.config.segment_bytes;
    log.spare = ahead::prepare(&*log.disk, room, &AtomicBool::new(false)).ok().flatten();
}

fn last_name(disk: &SimDisk) -> String {
    disk.names().pop().unwrap()
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
    assert_eq!(payloads(&mut log), expected);
    drop(log);
    let (mut log, report) = open(&disk).unwrap();
    assert_eq!(payloads(&mut log), expected);
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
    assert_eq!(payloads(&mut log).len(), 1);
}

#[test]
fn short_writes_are_finished() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    disk.set_faults(Faults { short_writes: Some(7), ..Faults::default() });
    log.append(tail.epoch, 1, &batch(0, 3, 50)).unwrap();
    disk.crash(|| false);
    assert_eq!(payloads(&mut open(&disk).unwrap().0), batch(0, 3, 50));
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
    assert_eq!(payloads(&mut open(&disk).unwrap().0), batch(0, 2, 10));
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
    let (mut log, _) = open(&disk).unwrap();
    assert_eq!(log.tail().unwrap().first_seq, first);
    assert_eq!(payloads(&mut log), batch(first - 1, 101 - first, 100));
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
    assert_eq!(payloads(&mut open(&disk).unwrap().0), batch(0, 4, 40));
}

#[test]
fn files_with_impossible_numbers_are_not_segments() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 1, 40)).unwrap();
    drop(log);
    for base in [0, u64::MAX] {
        let other = Segment::new(base, 9, Link::default());
        write_all_at(&*disk.create(&other.name()).unwrap(), &other.header(), 0).unwrap();
        disk.damage(&other.name(), |content| content.extend([7; 60]));
    }
    assert_eq!(payloads(&mut open(&disk).unwrap().0), batch(0, 1, 40));
}

#[test]
fn a_segment_is_allocated_whole_and_gives_back_what_it_does_not_use() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 2, 100)).unwrap();
    assert_eq!(disk.used(), 4 << 10);
    log.fence(tail.epoch + 1).unwrap();
    let first = HEADER_BYTES + 2 * 120;
    assert_eq!(disk.used(), first + (4 << 10));
    log.close();
    assert_eq!(disk.used(), first + HEADER_BYTES);
    let (mut log, report) = open(&disk).unwrap();
    assert_eq!(report.torn, None);
    assert_eq!(payloads(&mut log), batch(0, 2, 100));
}

#[test]
fn a_spare_becomes_the_next_segment() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 1, 800)).unwrap();
    assert!(!log.wants_spare());
    log.append(tail.epoch, 2, &batch(1, 2, 800)).unwrap();
    assert!(log.wants_spare());
    prepare_spare(&mut log);
    assert!(!log.wants_spare());
    assert_eq!(last_name(&disk), SPARE);
    log.append(tail.epoch, 4, &batch(3, 2, 800)).unwrap();
    assert_eq!(last_name(&disk), "00000000000000000004.log");
    disk.crash(|| false);
    let (mut log, report) = open(&disk).unwrap();
    assert_eq!(report.torn, None);
    assert_eq!(payloads(&mut log), batch(0, 5, 800));
}

#[test]
fn a_spare_that_was_not_needed_does_not_stay() {
    let disk = SimDisk::default();
    let (mut log, _, _) = take(&disk);
    prepare_spare(&mut log);
    drop(log);
    let (mut log, _) = open(&disk).unwrap();
    assert!(!disk.names().contains(&SPARE.to_owned()));
    prepare_spare(&mut log);
    log.close();
    assert!(!disk.names().contains(&SPARE.to_owned()));
}

#[test]
fn a_stopped_preparation_leaves_nothing() {
    let disk = SimDisk::default();
    let (log, _, _) = take(&disk);
    let prepared = ahead::prepare(&*log.disk, 4 << 10, &AtomicBool::new(true));
    assert!(prepared.is_err());
    assert!(!disk.names().contains(&SPARE.to_owned()));
}

#[test]
fn a_journal_that_cannot_allocate_grows() {
    let disk = SimDisk::default();
    disk.set_faults(Faults { no_preallocation: true, ..Faults::default() });
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 4, 800)).unwrap();
    assert_eq!(disk.used(), HEADER_BYTES + 4 * 820);
    prepare_spare(&mut log);
    assert!(log.spare.is_none() && !disk.names().contains(&SPARE.to_owned()));
    log.append(tail.epoch, 5, &batch(4, 4, 800)).unwrap();
    drop(log);
    assert_eq!(payloads(&mut open(&disk).unwrap().0), batch(0, 8, 800));
}

#[test]
fn a_read_after_a_fence_sees_the_new_segment() {
    let disk = SimDisk::default();
    let (mut log, _, mut tail) = take(&disk);
    for round in 0..3 {
        assert_eq!(payloads(&mut log), batch(0, round, 40));
        assert_eq!(log.read(round + 1, ReadLimits::default()).unwrap(), []);
        tail = log.fence(tail.epoch + 1).unwrap();
        log.append(tail.epoch, round + 1, &batch(round, 1, 40)).unwrap();
    }
    assert_eq!(payloads(&mut log), batch(0, 3, 40));
}

#[test]
fn reads_from_anywhere_agree() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    for round in 0..30 {
        log.append(tail.epoch, round * 5 + 1, &batch(round * 5, 5, 100)).unwrap();
    }
    drop(log);
    let (mut log, _) = open(&disk).unwrap();
    let all = batch(0, 150, 100);
    for step in [1, 37, 74, 149, 150, 2, 151, 60, 61] {
        let found = log.read(step, ReadLimits { records: 9, bytes: 1 << 20 }).unwrap();
        let found: Vec<_> = found.into_iter().map(|entry| (entry.seq, entry.payload)).collect();
        let expected = (step..).zip(all[step as usize - 1..].iter().cloned()).take(9);
        assert_eq!(found, expected.collect::<Vec<_>>(), "from {step}");
    }
}

#[test]
fn records_that_are_not_copied_keep_their_place_among_those_that_are() {
    let disk = SimDisk::default();
    let config = FileConfig { record_bytes: 1 << 20, ..config() };
    let (mut log, _) = Log::open(Arc::new(disk.clone()), config.clone()).unwrap();
    log.fence(1).unwrap();
    let sizes = [5, 40_000, 0, 32 << 10, (32 << 10) - 1, 100_000, 100_000, 7];
    let records: Vec<_> = (1..).zip(sizes).flat_map(|(n, size)| batch(n, 1, size)).collect();
    log.append(1, 1, &records).unwrap();
    log.append(1, 9, &records).unwrap();
    disk.crash(|| false);
    let (mut log, report) = Log::open(Arc::new(disk.clone()), config).unwrap();
    assert_eq!(report.torn, None);
    assert_eq!(payloads(&mut log), [&records[..], &records].concat());
}

#[test]
fn zeros_ahead_of_small_batches_are_no_records() {
    let disk = SimDisk::default();
    let config = FileConfig { segment_bytes: 2 << 20, ..config() };
    let (mut log, _) = Log::open(Arc::new(disk.clone()), config.clone()).unwrap();
    log.fence(1).unwrap();
    for round in 0..900 {
        log.append(1, round * 2 + 1, &batch(round * 2, 2, 600)).unwrap();
    }
    disk.crash(|| false);
    let (mut log, report) = Log::open(Arc::new(disk.clone()), config).unwrap();
    assert_eq!((report.segments, report.torn), (1, None));
    assert_eq!(payloads(&mut log), batch(0, 1800, 600));
}
