//! From one segment to the next.

use std::io;

use super::disk::{Disk, DiskFile, write_all_at};
use super::log::{Log, io_error};
use super::segment::{Link, Segment};
use crate::error::{ErrorKind, Result};

/// A segment being made has this name until it is whole.
pub(super) const UNFINISHED: &str = "segment.tmp";

/// A file being prepared for the next segment, or waiting for it.
pub(super) const SPARE: &str = "spare.tmp";

/// What is allocated of the segment that is written to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    allocated: u64,
    /// Up to here it was written to: a block that was not costs more when it first is.
    zeroed: u64,
}

/// Zeros written ahead of small batches. They take longer than one batch and save some of each.
const AHEAD: u64 = 512 << 10;

impl Room {
    /// Lets zeros follow what is in `buffer`, to be written at `start`, once in a while.
    pub(super) fn zero_ahead(&mut self, start: u64, buffer: &mut Vec<u8>) {
        let len = buffer.len() as u64;
        let end = start + len;
        if end <= self.zeroed || len > AHEAD / 4 {
            return;
        }
        let ahead = (end + AHEAD).min(self.allocated).saturating_sub(start);
        if let Ok(ahead) = usize::try_from(ahead)
            && ahead > buffer.len()
        {
            buffer.resize(ahead, 0);
            self.zeroed = start + ahead as u64;
        }
    }
}

impl Log {
    /// Begins a segment at the next record, in place of the last one if that is empty.
    pub(super) fn begin_segment(&mut self, epoch: u64) -> Result<()> {
        let before = match self.segments.last() {
            Some(active) if active.is_empty() => active.before,
            Some(active) => active.link(),
            None => Link::default(),
        };
        let segment = Segment::new(self.next_seq, epoch, before);
        let (file, room) = match self.make_file(&segment) {
            Ok(made) => made,
            Err(CreateError::Undone(cause)) => {
                return Err(io_error(&*self.disk, "cannot begin a segment", cause));
            }
            Err(CreateError::Unclear(cause)) => {
                return Err(self.fail(ErrorKind::Closed, "cannot tell what it holds", cause));
            }
        };
        let finished = std::mem::replace(&mut self.active, file);
        self.room = room;
        if self.segments.pop_if(|last| last.is_empty()).is_none() {
            // The new header says where it ends, so nothing depends on this but the room.
            let _kept = finished.set_len(before.len);
        }
        self.segments.push(segment);
        // It may have replaced a file that is open for reading.
        self.reading.close();
        Ok(())
    }

    fn make_file(&mut self, segment: &Segment) -> Result<(Box<dyn DiskFile>, Room), CreateError> {
        let all = self.config.segment_bytes;
        let Some(spare) = self.spare.take() else {
            return create(&*self.disk, segment, self.config.preallocate.then_some(all));
        };
        let put = put_in_place(&*self.disk, &*spare, SPARE, segment);
        if put.is_err() {
            self.give_spare_up();
        }
        put.map(|()| (spare, Room { allocated: all, zeroed: all }))
    }

    /// Whether a file for the next segment should be prepared.
    pub(super) fn wants_spare(&self) -> bool {
        let half_full = |active: &Segment| active.len >= self.config.segment_bytes / 2;
        self.config.preallocate
            && self.failed.is_none()
            && self.spare.is_none()
            && self.segments.last().is_some_and(half_full)
    }

    /// Removes a file that was prepared and is not needed. What cannot be removed is removed when
    /// the journal is opened next.
    pub(super) fn give_spare_up(&mut self) {
        self.spare = None;
        let _kept = self.disk.remove(SPARE);
    }

    /// Gives back the room that was allocated and not used. A failed journal is left as it is.
    pub(super) fn close(mut self) {
        self.give_spare_up();
        if let (None, Some(active)) = (&self.failed, self.segments.last()) {
            // Nothing depends on it: what follows the last batch reads as zeros.
            let _kept = self.active.set_len(active.len);
        }
    }
}

pub(super) enum CreateError {
    /// There is no such segment.
    Undone(io::Error),
    /// There may be one.
    Unclear(io::Error),
}

impl CreateError {
    pub(super) fn into_cause(self) -> io::Error {
        match self {
            Self::Undone(cause) | Self::Unclear(cause) => cause,
        }
    }
}

/// Makes a segment aside, then puts it in its place.
///
/// Where there is no room to allocate all of it at once, or no way to, it grows with its batches.
pub(super) fn create(
    disk: &dyn Disk,
    segment: &Segment,
    room: Option<u64>,
) -> Result<(Box<dyn DiskFile>, Room), CreateError> {
    let file = disk.create(UNFINISHED).map_err(CreateError::Undone)?;
    let allocated = allocate(&*file, room.unwrap_or_default()).map_err(CreateError::Undone)?;
    put_in_place(disk, &*file, UNFINISHED, segment)?;
    Ok((file, Room { allocated, zeroed: 0 }))
}

/// How much could be allocated: all or nothing.
fn allocate(file: &dyn DiskFile, room: u64) -> io::Result<u64> {
    if room == 0 {
        return Ok(0);
    }
    match file.preallocate(room) {
        Ok(true) => Ok(room),
        Ok(false) => Ok(0),
        // A part may have been allocated.
        Err(_) => file.set_len(0).map(|()| 0),
    }
}

/// Makes a file that has another name the segment.
fn put_in_place(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    name: &str,
    segment: &Segment,
) -> Result<(), CreateError> {
    write_all_at(file, &segment.header(), 0)
        .and_then(|()| file.sync())
        .and_then(|()| disk.rename(name, &segment.name()))
        .map_err(CreateError::Undone)?;
    disk.sync().map_err(CreateError::Unclear)
}
