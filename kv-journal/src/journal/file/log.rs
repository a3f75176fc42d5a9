//! The journal itself, synchronous, on a [`Disk`].

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::FileConfig;
use super::disk::{Disk, DiskFile, write_all_at};
use super::frame::{self, Place};
use super::read::Reading;
use super::rollover::Room;
use super::segment::Segment;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Tail;
use crate::journal::memory::{check_append, check_fence};

/// A record of this size is written from where it is. Smaller ones cost less in one write, which
/// takes a copy of them.
const UNCOPIED: usize = 32 << 10;

/// Space kept for the next batch, so that an ordinary one allocates nothing.
const KEPT_BUFFER: usize = 8 << 20;

pub(super) struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: FileConfig,
    /// In order. The last one is written to, and its epoch is the current one. Never empty.
    pub(super) segments: Vec<Segment>,
    pub(super) active: Box<dyn DiskFile>,
    pub(super) room: Room,
    /// A file for the next segment, prepared ahead of time.
    pub(super) spare: Option<Box<dyn DiskFile>>,
    pub(super) next_seq: u64,
    /// What ended the journal.
    pub(super) failed: Option<Error>,
    /// The frames of a batch. Records are copied into here, or not at all.
    pub(super) buffer: Vec<u8>,
    pub(super) reading: Reading,
}

impl Log {
    pub(super) fn tail(&self) -> Result<Tail> {
        self.check_alive()?;
        let first_seq = self.segments.first().map_or(self.next_seq, |first| first.base_seq);
        Ok(Tail { epoch: self.epoch(), first_seq, next_seq: self.next_seq })
    }

    fn epoch(&self) -> u64 {
        self.segments.last().map_or(0, |active| active.epoch)
    }

    pub(super) fn fence(&mut self, epoch: u64) -> Result<Tail> {
        check_fence(epoch, self.tail()?)?;
        self.begin_segment(epoch)?;
        self.tail()
    }

    pub(super) fn append(&mut self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        check_append(epoch, seq, self.tail()?)?;
        self.check_batch(batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let bytes: usize = batch.iter().map(|record| frame::HEADER_LEN + record.len()).sum();
        let (len, empty) = self.active_len();
        if !empty && len + bytes as u64 > self.config.segment_bytes {
            self.begin_segment(epoch)?;
        }
        self.write(batch)?;
        self.sync_batch()?;
        self.take_in(batch);
        Ok(())
    }

    fn check_batch(&self, batch: &[Bytes]) -> Result<()> {
        let limit = self.config.record_bytes;
        if let Some(record) = batch.iter().find(|record| record.len() > limit) {
            let len = record.len();
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("a record has {len} bytes: the journal takes {limit}"),
            ));
        }
        if batch.len() > frame::MAX_BATCH {
            return Err(Error::new(ErrorKind::Invalid, "a batch has too many records: split it"));
        }
        Ok(())
    }

    fn active_len(&self) -> (u64, bool) {
        self.segments.last().map_or((0, true), |active| (active.len, active.is_empty()))
    }

    /// Writes the batch's frames after the last batch. If that fails nothing is left of them.
    fn write(&mut self, batch: &[Bytes]) -> Result<()> {
        let (start, _) = self.active_len();
        let written = self.write_frames(batch, start);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
        written.map_err(|cause| self.cut_back(start, cause))
    }

    fn write_frames(&mut self, batch: &[Bytes], start: u64) -> io::Result<()> {
        let seed = self.segments.last().map_or(0, Segment::seed);
        let (file, buffer) = (&*self.active, &mut self.buffer);
        let mut at = start;
        for (place, record) in places(self.next_seq, batch) {
            frame::put_header(buffer, seed, at + buffer.len() as u64, place, record);
            if record.len() < UNCOPIED {
                buffer.extend_from_slice(record);
                continue;
            }
            for part in [&buffer[..], record] {
                write_all_at(file, part, at)?;
                at += part.len() as u64;
            }
            buffer.clear();
        }
        self.room.zero_ahead(at, buffer);
        write_all_at(file, buffer, at)
    }

    /// Takes a partly written batch back, so that the next one finds room where it began.
    ///
    /// The cut is synced: otherwise a crash could leave a batch made of this one's first records
    /// and the next one's last. It takes the preallocated rest with it, and the spare goes too, so
    /// that the room that there is serves the next batch.
    fn cut_back(&mut self, start: u64, cause: io::Error) -> Error {
        if self.spare.is_some() {
            self.give_spare_up();
        }
        self.room = Room::default();
        match self.active.set_len(start).and_then(|()| self.active.sync()) {
            Ok(()) => io_error(&*self.disk, "took nothing of a batch", cause),
            Err(cause) => {
                self.fail(ErrorKind::Closed, "has a torn batch that cannot be cut", cause)
            }
        }
    }

    /// After a failed sync the kernel may have dropped what was not written, and a second sync
    /// would succeed without it. So nothing is acknowledged any more.
    fn sync_batch(&mut self) -> Result<()> {
        let synced = self.active.sync();
        synced.map_err(|cause| self.fail(ErrorKind::Unknown, "could not sync and is closed", cause))
    }

    fn take_in(&mut self, batch: &[Bytes]) {
        if let Some(active) = self.segments.last_mut() {
            for (place, record) in places(self.next_seq, batch) {
                active.note(place.seq, active.len);
                active.len += (frame::HEADER_LEN + record.len()) as u64;
            }
        }
        self.next_seq += batch.len() as u64;
    }

    /// Removes every segment that ends at or before `before`, but not the last one.
    pub(super) fn trim(&mut self, before: u64) -> Result<()> {
        self.check_alive()?;
        while self.segments.get(1).is_some_and(|second| second.base_seq <= before) {
            let first = self.segments.first().map(Segment::name).unwrap_or_default();
            let removed = self.disk.remove(&first);
            removed.map_err(|cause| io_error(&*self.disk, "cannot be trimmed", cause))?;
            self.segments.remove(0);
            // One by one, so that a crash leaves no gap. If it is not known to be gone then the
            // next one must not go.
            let synced = self.disk.sync();
            synced.map_err(|cause| {
                self.fail(ErrorKind::Closed, "cannot tell what it holds", cause)
            })?;
        }
        Ok(())
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(cause.clone().behind(
                ErrorKind::Closed,
                format!("journal {} has failed: open it again", self.disk.name()),
            )),
        }
    }

    pub(super) fn fail(&mut self, kind: ErrorKind, what: &str, cause: io::Error) -> Error {
        let message = format!("journal {} {what}", self.disk.name());
        let error = Error::new(kind, message).with_source(cause);
        self.failed = Some(error.clone());
        error
    }
}

fn places(first_seq: u64, batch: &[Bytes]) -> impl Iterator<Item = (Place, &Bytes)> {
    let end = batch.len();
    batch.iter().zip(0u32..).zip(first_seq..).map(move |((record, index), seq)| {
        (Place { seq, index, last: index as usize + 1 == end }, record)
    })
}

pub(super) fn corrupt(disk: &dyn Disk, segment: &str, offset: u64, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "journal {}: segment {segment} at byte {offset}: {what}: restore a backup",
            disk.name()
        ),
    )
}

/// A failure that left nothing behind, by what the caller can do about it.
pub(super) fn io_error(disk: &dyn Disk, what: &str, cause: io::Error) -> Error {
    let name = disk.name();
    let (kind, message) = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (ErrorKind::Exhausted, format!("journal {name} {what}: the disk is full: make room"))
        }
        _ => (ErrorKind::Unavailable, format!("journal {name} {what}")),
    };
    Error::new(kind, message).with_source(cause)
}
