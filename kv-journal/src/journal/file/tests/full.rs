//! Disks without room.

use super::*;

/// A disk on which files can only grow by being written to.
fn growing() -> SimDisk {
    let disk = SimDisk::default();
    disk.set_faults(Faults { no_preallocation: true, ..Faults::default() });
    disk
}

fn fill_up(disk: &SimDisk, room: usize) {
    disk.set_faults(Faults { capacity: Some(disk.used() + room), ..Faults::default() });
}

#[test]
fn what_was_allocated_can_be_written_on_a_full_disk() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    fill_up(&disk, 0);
    log.append(tail.epoch, 1, &batch(0, 3, 1000)).unwrap();
    let error = log.append(tail.epoch, 4, &batch(3, 1, 1020)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(message(&error).contains("the disk is full: make room"), "{error}");
    log.append(tail.epoch, 4, &batch(3, 1, 900)).unwrap();
    disk.set_faults(Faults::default());
    log.append(tail.epoch, 5, &batch(4, 1, 1020)).unwrap();
    disk.crash(|| false);
    let expected = [batch(0, 3, 1000), batch(3, 1, 900), batch(4, 1, 1020)].concat();
    assert_eq!(payloads(&mut open(&disk).unwrap().0), expected);
}

#[test]
fn a_segment_that_cannot_be_allocated_whole_grows() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 4, 900)).unwrap();
    fill_up(&disk, 700);
    log.append(tail.epoch, 5, &batch(4, 1, 600)).unwrap();
    let error = log.append(tail.epoch, 6, &batch(5, 1, 600)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    log.append(tail.epoch, 6, &batch(5, 1, 5)).unwrap();
    disk.crash(|| false);
    let expected = [batch(0, 4, 900), batch(4, 1, 600), batch(5, 1, 5)].concat();
    assert_eq!(payloads(&mut open(&disk).unwrap().0), expected);
}

#[test]
fn a_spare_on_a_full_disk_leaves_nothing_and_gives_its_room_up() {
    let disk = growing();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 3, 1000)).unwrap();
    fill_up(&disk, 1000);
    let before = disk.used();
    prepare_spare(&mut log);
    assert!(log.spare.is_none());
    assert_eq!(disk.used(), before);

    fill_up(&disk, 4 << 10);
    prepare_spare(&mut log);
    assert!(log.spare.is_some());
    let error = log.append(tail.epoch, 4, &batch(3, 1, 900)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    log.append(tail.epoch, 4, &batch(3, 1, 900)).unwrap();
    assert_eq!(payloads(&mut log), [batch(0, 3, 1000), batch(3, 1, 900)].concat());
}

#[test]
fn what_a_dead_process_had_allocated_makes_room_for_the_next() {
    let disk = SimDisk::default();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 3, 1000)).unwrap();
    drop(log);
    fill_up(&disk, 0);
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 4, &batch(3, 1, 800)).unwrap();
    assert_eq!(payloads(&mut log), [batch(0, 3, 1000), batch(3, 1, 800)].concat());
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_passes() {
    let disk = growing();
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
    let (mut log, report) = open(&disk).unwrap();
    assert_eq!(report.torn, None);
    let expected = [batch(0, 2, 100), batch(2, 1, 20), batch(3, 9, 100)].concat();
    assert_eq!(payloads(&mut log), expected);
}

#[test]
fn a_full_disk_stops_a_new_segment_and_passes() {
    let disk = growing();
    let (mut log, _, tail) = take(&disk);
    log.append(tail.epoch, 1, &batch(0, 5, 800)).unwrap();
    disk.set_faults(Faults { capacity: Some(4_150), ..Faults::default() });
    let error = log.append(tail.epoch, 6, &batch(5, 1, 800)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    disk.set_faults(Faults::default());
    log.append(tail.epoch, 6, &batch(5, 1, 800)).unwrap();
    assert_eq!(payloads(&mut log), batch(0, 6, 800));
}

#[test]
fn a_torn_batch_that_cannot_be_cut_closes_the_journal() {
    let disk = growing();
    let (mut log, _, tail) = take(&disk);
    let full = Faults { capacity: Some(100), fail_set_len: true, ..Faults::default() };
    disk.set_faults(full);
    let error = log.append(tail.epoch, 1, &batch(0, 3, 50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    disk.set_faults(Faults::default());
    assert_eq!(log.tail().unwrap_err().kind(), ErrorKind::Closed);
    drop(log);
    let (mut log, report) = open(&disk).unwrap();
    assert!(report.torn.is_some());
    assert_eq!(payloads(&mut log), Vec::<Bytes>::new());
}

#[test]
fn an_open_that_fails_on_a_full_disk_damages_nothing() {
    for room in 0..96 {
        open_with_room(room, false);
        open_with_room(room, true);
    }
}

/// Opens a journal, its last batch torn or not, with so many bytes of room for the new segment.
fn open_with_room(room: usize, torn: bool) {
    let disk = growing();
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
    assert_eq!(fence.is_ok(), room >= HEADER_BYTES, "{room} bytes of room");
    if let Err(error) = fence {
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(message(&error).contains("the disk is full: make room"), "{error}");
        assert_eq!(payloads(&mut log), expected);
    }
    drop(log);
    disk.crash(|| room.is_multiple_of(2));

    let (mut log, _, tail) = take(&disk);
    assert_eq!(payloads(&mut log), expected);
    log.append(tail.epoch, tail.next_seq, &batch(99, 1, 40)).unwrap();
    drop(log);
    expected.extend(batch(99, 1, 40));
    assert_eq!(payloads(&mut open(&disk).unwrap().0), expected);
}

#[test]
fn a_new_journal_on_a_full_disk_can_be_opened_once_there_is_room() {
    for room in 0..HEADER_BYTES {
        let disk = SimDisk::default();
        disk.set_faults(Faults { capacity: Some(room), ..Faults::default() });
        let error = open(&disk).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(message(&error).contains("the disk is full: make room"), "{error}");
        disk.set_faults(Faults::default());
        let (mut log, _, tail) = take(&disk);
        assert_eq!((tail.epoch, tail.next_seq), (1, 1));
        assert_eq!(payloads(&mut log), Vec::<Bytes>::new());
    }
}
