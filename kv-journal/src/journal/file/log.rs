//! The journal itself, synchronous, on a [`Disk`].

use std::io;

use bytes::Bytes;

use super::FileConfig;
use super::disk::{Disk, DiskFile, write_all_at};
use super::frame::{self, Place};
use super::scan::{Found, Frames};
use super::segment::Segment;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::memory::{check_append, check_fence, check_read};
use crate::journal::{Entry, ReadLimits, Tail};

/// A segment being made has this name until it is whole.
pub(super) const UNFINISHED: &str = "segment.tmp";

/// Space kept for the next batch, so that an ordinary one allocates nothing.
const KEPT_BUFFER: usize = 8 << 20;

pub(super) struct Log {
    pub(super) disk: Box<dyn Disk>,
    pub(super) config: FileConfig,
    /// In order. The last one is written to, and its epoch is the current one. Never empty.
    pub(super) segments: Vec<Segment>,
    pub(super) active: Box<dyn DiskFile>,
    pub(super) next_seq: u64,
    /// What ended the journal.
    pub(super) failed: Option<Error>,
    pub(super) buffer: Vec<u8>,
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
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
        for (place, record) in places(self.next_seq, batch) {
            let offset = start + self.buffer.len() as u64;
            let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
            frame::encode(&mut self.buffer, offset, place, record, len);
        }
        let written = write_all_at(&*self.active, &self.buffer, start);
        written.map_err(|cause| self.cut_back(start, cause))
    }

    /// Takes a partly written batch back, so that the next one finds room where it began.
    ///
    /// The cut is synced: otherwise a crash could leave a batch made of this one's first records
    /// and the next one's last.
    fn cut_back(&mut self, start: u64, cause: io::Error) -> Error {
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

    /// Begins a segment at the next record, in place of the last one if that is empty.
    fn begin_segment(&mut self, epoch: u64) -> Result<()> {
        let segment = Segment::new(self.next_seq, epoch);
        let file = match create(&*self.disk, &segment) {
            Ok(file) => file,
            Err(CreateError::Undone(cause)) => {
                return Err(io_error(&*self.disk, "cannot begin a segment", cause));
            }
            Err(CreateError::Unclear(cause)) => {
                return Err(self.fail(ErrorKind::Closed, "cannot tell what it holds", cause));
            }
        };
        self.active = file;
        self.segments.pop_if(|last| last.is_empty());
        self.segments.push(segment);
        Ok(())
    }

    pub(super) fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        check_read(from_seq, self.tail()?)?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        let first = self.segments.partition_point(|segment| segment.base_seq <= from_seq);
        for segment in self.segments.iter().skip(first.saturating_sub(1)) {
            self.read_segment(segment, from_seq, limits, &mut entries, &mut bytes)?;
            if is_full(&entries, bytes, limits) {
                break;
            }
        }
        Ok(entries)
    }

    fn read_segment(
        &self,
        segment: &Segment,
        from_seq: u64,
        limits: ReadLimits,
        entries: &mut Vec<Entry>,
        bytes: &mut usize,
    ) -> Result<()> {
        let name = segment.name();
        let unreadable = |cause| io_error(&*self.disk, "cannot be read", cause);
        let file = self.disk.open(&name).map_err(unreadable)?;
        let start = segment.offset_before(from_seq);
        let mut frames = Frames::new(&*file, start, segment.len, self.config.record_bytes);
        while !is_full(entries, *bytes, limits) {
            match frames.next().map_err(unreadable)? {
                Found::Frame { place, .. } if place.seq < from_seq => {}
                Found::Frame { place, payload, .. } => {
                    *bytes += payload.len();
                    let payload = Bytes::copy_from_slice(payload);
                    entries.push(Entry { seq: place.seq, payload });
                }
                Found::Damage => {
                    return Err(corrupt(&*self.disk, &name, frames.offset(), CHECKSUM));
                }
                Found::End => break,
            }
        }
        Ok(())
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

    fn check_alive(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(cause.clone().behind(
                ErrorKind::Closed,
                format!("journal {} has failed: open it again", self.disk.name()),
            )),
        }
    }

    fn fail(&mut self, kind: ErrorKind, what: &str, cause: io::Error) -> Error {
        let message = format!("journal {} {what}", self.disk.name());
        let error = Error::new(kind, message).with_source(cause);
        self.failed = Some(error.clone());
        error
    }
}

const CHECKSUM: &str = "checksum mismatch";

fn is_full(entries: &[Entry], bytes: usize, limits: ReadLimits) -> bool {
    !entries.is_empty() && (entries.len() >= limits.records || bytes >= limits.bytes)
}

fn places(first_seq: u64, batch: &[Bytes]) -> impl Iterator<Item = (Place, &Bytes)> {
    let end = batch.len();
    batch.iter().zip(0u32..).zip(first_seq..).map(move |((record, index), seq)| {
        (Place { seq, index, last: index as usize + 1 == end }, record)
    })
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
pub(super) fn create(disk: &dyn Disk, segment: &Segment) -> Result<Box<dyn DiskFile>, CreateError> {
    let file = disk.create(UNFINISHED).map_err(CreateError::Undone)?;
    write_all_at(&*file, &segment.header(), 0)
        .and_then(|()| file.sync())
        .and_then(|()| disk.rename(UNFINISHED, &segment.name()))
        .map_err(CreateError::Undone)?;
    disk.sync().map_err(CreateError::Unclear)?;
    Ok(file)
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
