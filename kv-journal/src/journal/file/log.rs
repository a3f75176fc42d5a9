//! The journal itself, synchronous, on a [`Disk`].

use std::io;

use bytes::Bytes;

use super::disk::{Disk, DiskFile, read_full_at, write_all_at};
use super::frame::{self, Place};
use super::scan::{Found, Frames, later_batch_follows};
use super::segment::{self, Segment};
use super::{FileConfig, OpenReport, TornTail};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::memory::{check_append, check_fence, check_read};
use crate::journal::{Entry, ReadLimits, Tail};

/// A segment being made has this name until it is whole.
const UNFINISHED: &str = "segment.tmp";

/// Space kept for the next batch, so that an ordinary one allocates nothing.
const KEPT_BUFFER: usize = 8 << 20;

pub(super) struct Log {
    disk: Box<dyn Disk>,
    config: FileConfig,
    /// In order. The last one is written to, and its epoch is the current one. Never empty.
    segments: Vec<Segment>,
    active: Box<dyn DiskFile>,
    next_seq: u64,
    /// A failed write was cut off and the cut is not durable yet.
    dirty: bool,
    /// What ended the journal.
    failed: Option<Error>,
    buffer: Vec<u8>,
}

/// Opening.
impl Log {
    pub(super) fn open(disk: Box<dyn Disk>, config: FileConfig) -> Result<(Self, OpenReport)> {
        let opening = |cause| io_error(&*disk, "cannot be read", cause);
        let mut bases = Vec::new();
        for name in disk.list().map_err(opening)? {
            if name == UNFINISHED {
                disk.remove(&name).map_err(opening)?;
            }
            bases.extend(segment::base_of(&name));
        }
        bases.sort_unstable();
        let mut recovery = Recovery {
            disk,
            config,
            segments: Vec::new(),
            next_seq: 1,
            torn: None,
        };
        let last = bases.pop();
        for base in bases {
            recovery.segment(base, false)?;
        }
        if let Some(base) = last {
            recovery.segment(base, true)?;
        }
        recovery.finish()
    }
}

/// The segments read so far.
struct Recovery {
    disk: Box<dyn Disk>,
    config: FileConfig,
    segments: Vec<Segment>,
    next_seq: u64,
    torn: Option<TornTail>,
}

impl Recovery {
    fn segment(&mut self, base_seq: u64, last: bool) -> Result<()> {
        let name = Segment::new(base_seq, 0).name();
        if self.segments.is_empty() {
            self.next_seq = base_seq;
        } else if base_seq != self.next_seq {
            let expected = self.next_seq;
            let what = format!("it should begin with record {expected}: a segment is missing");
            return Err(corrupt(&*self.disk, &name, 0, &what));
        }
        let file = self
            .disk
            .open(&name)
            .map_err(|cause| self.unreadable(&name, cause))?;
        let mut segment = self.header(base_seq, &name, &*file)?;
        let end = file.len().map_err(|cause| self.unreadable(&name, cause))?;
        self.frames(&mut segment, &*file, end)?;
        if segment.len < end {
            self.tail(&segment, &*file, end, last)?;
        }
        self.segments.push(segment);
        Ok(())
    }

    fn header(&self, base_seq: u64, name: &str, file: &dyn DiskFile) -> Result<Segment> {
        let mut header = vec![0; segment::HEADER_LEN as usize];
        let filled = read_full_at(file, &mut header, 0);
        let filled = filled.map_err(|cause| self.unreadable(name, cause))?;
        header.truncate(filled);
        let segment = Segment::parse(base_seq, &header)
            .map_err(|what| corrupt(&*self.disk, name, 0, what))?;
        if self
            .segments
            .last()
            .is_some_and(|before| before.epoch > segment.epoch)
        {
            return Err(corrupt(
                &*self.disk,
                name,
                0,
                "its epoch is older than the one before",
            ));
        }
        Ok(segment)
    }

    /// Takes every whole batch in. `segment.len` and `next_seq` end up after the last one.
    fn frames(&mut self, segment: &mut Segment, file: &dyn DiskFile, end: u64) -> Result<()> {
        let mut frames = Frames::new(file, segment::HEADER_LEN, end, self.config.record_bytes);
        let mut expected = Place {
            seq: self.next_seq,
            index: 0,
            last: false,
        };
        loop {
            let found = frames
                .next()
                .map_err(|cause| self.unreadable(&segment.name(), cause))?;
            let Found::Frame { offset, place, .. } = found else {
                return Ok(());
            };
            if (place.seq, place.index) != (expected.seq, expected.index) {
                return Ok(());
            }
            segment.note(place.seq, offset);
            expected.seq += 1;
            expected.index = if place.last { 0 } else { place.index + 1 };
            if place.last {
                segment.len = frames.offset();
                self.next_seq = expected.seq;
            }
        }
    }

    /// Cuts what follows the last whole batch, if a crash can have left it.
    fn tail(&mut self, segment: &Segment, file: &dyn DiskFile, end: u64, last: bool) -> Result<()> {
        let name = segment.name();
        let later = later_batch_follows(file, segment.len, end, self.next_seq);
        if !last || later.map_err(|cause| self.unreadable(&name, cause))? {
            let at = self.damage(segment, file, end)?;
            let what = format!(
                "record {} cannot be read, and later ones can",
                self.next_seq
            );
            return Err(corrupt(&*self.disk, &name, at, &what));
        }
        let cut = file.set_len(segment.len).and_then(|()| file.sync());
        cut.map_err(|cause| io_error(&*self.disk, "has a torn tail that cannot be cut", cause))?;
        self.torn = Some(TornTail {
            segment: name,
            offset: segment.len,
            bytes: end - segment.len,
        });
        Ok(())
    }

    /// Where exactly the bytes after the last whole batch stop making sense.
    fn damage(&self, segment: &Segment, file: &dyn DiskFile, end: u64) -> Result<u64> {
        let mut frames = Frames::new(file, segment.len, end, self.config.record_bytes);
        loop {
            let found = frames
                .next()
                .map_err(|cause| self.unreadable(&segment.name(), cause))?;
            if !matches!(found, Found::Frame { .. }) {
                return Ok(frames.offset());
            }
        }
    }

    fn finish(self) -> Result<(Log, OpenReport)> {
        let report = OpenReport {
            segments: self.segments.len(),
            records: self.next_seq - self.segments.first().map_or(1, |first| first.base_seq),
            bytes: self.segments.iter().map(|segment| segment.len).sum(),
            torn: self.torn,
        };
        let mut segments = self.segments;
        let opening = |cause| io_error(&*self.disk, "cannot be written", cause);
        let active = match segments.last() {
            Some(last) => self.disk.open(&last.name()).map_err(opening)?,
            None => {
                let first = Segment::new(1, 0);
                let file = create(&*self.disk, &first).map_err(CreateError::into_cause);
                let file = file.map_err(opening)?;
                segments.push(first);
                file
            }
        };
        let log = Log {
            disk: self.disk,
            config: self.config,
            segments,
            active,
            next_seq: self.next_seq,
            dirty: false,
            failed: None,
            buffer: Vec::new(),
        };
        Ok((log, report))
    }

    fn unreadable(&self, name: &str, cause: io::Error) -> Error {
        io_error(
            &*self.disk,
            &format!("has a segment {name} that cannot be read"),
            cause,
        )
    }
}

/// Serving.
impl Log {
    pub(super) fn tail(&self) -> Result<Tail> {
        self.check_alive()?;
        let first_seq = self
            .segments
            .first()
            .map_or(self.next_seq, |first| first.base_seq);
        Ok(Tail {
            epoch: self.epoch(),
            first_seq,
            next_seq: self.next_seq,
        })
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
        let bytes: usize = batch
            .iter()
            .map(|record| frame::HEADER_LEN + record.len())
            .sum();
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
            return Err(Error::new(
                ErrorKind::Invalid,
                "a batch has too many records: split it",
            ));
        }
        Ok(())
    }

    fn active_len(&self) -> (u64, bool) {
        self.segments
            .last()
            .map_or((0, true), |active| (active.len, active.is_empty()))
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
    fn cut_back(&mut self, start: u64, cause: io::Error) -> Error {
        self.dirty = true;
        match self.active.set_len(start) {
            Ok(()) => io_error(&*self.disk, "took nothing of a batch", cause),
            Err(cause) => self.fail(
                ErrorKind::Closed,
                "has a torn batch that cannot be cut",
                cause,
            ),
        }
    }

    /// After a failed sync the kernel may have dropped what was not written, and a second sync
    /// would succeed without it. So nothing is acknowledged any more.
    fn sync_batch(&mut self) -> Result<()> {
        match self.active.sync() {
            Ok(()) => {
                self.dirty = false;
                Ok(())
            }
            Err(cause) => Err(self.fail(
                ErrorKind::Unknown,
                "could not sync a batch and is closed",
                cause,
            )),
        }
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
        if self.dirty {
            // Only the last segment may have a torn tail.
            self.sync_batch()
                .map_err(|error| error.behind(ErrorKind::Closed, SYNC_FAILED))?;
        }
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
        let first = self
            .segments
            .partition_point(|segment| segment.base_seq <= from_seq);
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
                    entries.push(Entry {
                        seq: place.seq,
                        payload,
                    });
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
        while self
            .segments
            .get(1)
            .is_some_and(|second| second.base_seq <= before)
        {
            let removed = self.segments.first().map_or(Ok(()), |first| {
                // One by one, so that a crash leaves no gap.
                self.disk
                    .remove(&first.name())
                    .and_then(|()| self.disk.sync())
            });
            removed.map_err(|cause| io_error(&*self.disk, "cannot be trimmed", cause))?;
            self.segments.remove(0);
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
const SYNC_FAILED: &str = "the journal could not sync a segment and is closed";

fn is_full(entries: &[Entry], bytes: usize, limits: ReadLimits) -> bool {
    !entries.is_empty() && (entries.len() >= limits.records || bytes >= limits.bytes)
}

fn places(first_seq: u64, batch: &[Bytes]) -> impl Iterator<Item = (Place, &Bytes)> {
    let end = batch.len();
    batch
        .iter()
        .zip(0u32..)
        .zip(first_seq..)
        .map(move |((record, index), seq)| {
            (
                Place {
                    seq,
                    index,
                    last: index as usize + 1 == end,
                },
                record,
            )
        })
}

enum CreateError {
    /// There is no such segment.
    Undone(io::Error),
    /// There may be one.
    Unclear(io::Error),
}

impl CreateError {
    fn into_cause(self) -> io::Error {
        match self {
            Self::Undone(cause) | Self::Unclear(cause) => cause,
        }
    }
}

/// Makes a segment aside, then puts it in its place.
fn create(disk: &dyn Disk, segment: &Segment) -> Result<Box<dyn DiskFile>, CreateError> {
    let file = disk.create(UNFINISHED).map_err(CreateError::Undone)?;
    write_all_at(&*file, &segment.header(), 0)
        .and_then(|()| file.sync())
        .and_then(|()| disk.rename(UNFINISHED, &segment.name()))
        .map_err(CreateError::Undone)?;
    disk.sync().map_err(CreateError::Unclear)?;
    Ok(file)
}

fn corrupt(disk: &dyn Disk, segment: &str, offset: u64, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "journal {}: segment {segment} at byte {offset}: {what}: restore a backup",
            disk.name()
        ),
    )
}

/// A failure that left nothing behind, by what the caller can do about it.
fn io_error(disk: &dyn Disk, what: &str, cause: io::Error) -> Error {
    let name = disk.name();
    let (kind, message) = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (
                ErrorKind::Exhausted,
                format!("journal {name} {what}: the disk is full: make room"),
            )
        }
        _ => (ErrorKind::Unavailable, format!("journal {name} {what}")),
    };
    Error::new(kind, message).with_source(cause)
}
