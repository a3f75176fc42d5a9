//! Opening a journal: what is whole, what a crash tore, and what is damaged.

use std::io;

use super::disk::{Disk, DiskFile, read_full_at};
use super::frame::Place;
use super::log::{CreateError, Log, UNFINISHED, corrupt, create, io_error};
use super::scan::{Found, Frames, later_batch_follows};
use super::segment::{self, Segment};
use super::{FileConfig, OpenReport, TornTail};
use crate::error::{Error, Result};

impl Log {
    /// Reads every record, cuts a torn tail, and stands ready for a fence.
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
        let mut recovery = Recovery { disk, config, segments: Vec::new(), next_seq: 1, torn: None };
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
        let file = self.disk.open(&name).map_err(|cause| self.unreadable(&name, cause))?;
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
        let mut header = [0; segment::HEADER_BYTES];
        let filled = read_full_at(file, &mut header, 0);
        let filled = filled.map_err(|cause| self.unreadable(name, cause))?;
        let segment = Segment::parse(base_seq, header.get(..filled).unwrap_or_default())
            .map_err(|what| corrupt(&*self.disk, name, 0, what))?;
        if self.segments.last().is_some_and(|before| before.epoch > segment.epoch) {
            return Err(corrupt(&*self.disk, name, 0, "its epoch is older than the one before"));
        }
        Ok(segment)
    }

    /// Takes every whole batch in. `segment.len` and `next_seq` end up after the last one.
    fn frames(&mut self, segment: &mut Segment, file: &dyn DiskFile, end: u64) -> Result<()> {
        let mut frames = Frames::new(file, segment::HEADER_LEN, end, self.config.record_bytes);
        let mut expected = Place { seq: self.next_seq, index: 0, last: false };
        loop {
            let found = frames.next().map_err(|cause| self.unreadable(&segment.name(), cause))?;
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
            let what = format!("record {} cannot be read, and later ones can", self.next_seq);
            return Err(corrupt(&*self.disk, &name, at, &what));
        }
        let cut = file.set_len(segment.len).and_then(|()| file.sync());
        cut.map_err(|cause| io_error(&*self.disk, "has a torn tail that cannot be cut", cause))?;
        self.torn = Some(TornTail { segment: name, offset: segment.len, bytes: end - segment.len });
        Ok(())
    }

    /// Where exactly the bytes after the last whole batch stop making sense.
    fn damage(&self, segment: &Segment, file: &dyn DiskFile, end: u64) -> Result<u64> {
        let mut frames = Frames::new(file, segment.len, end, self.config.record_bytes);
        loop {
            let found = frames.next().map_err(|cause| self.unreadable(&segment.name(), cause))?;
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
        if segments.is_empty() {
            let first = Segment::new(1, 0);
            create(&*self.disk, &first).map_err(CreateError::into_cause).map_err(opening)?;
            segments.push(first);
        }
        let name = segments.last().map(Segment::name).unwrap_or_default();
        let active = self.disk.open(&name).map_err(opening)?;
        let log = Log {
            disk: self.disk,
            config: self.config,
            segments,
            active,
            next_seq: self.next_seq,
            failed: None,
            buffer: Vec::new(),
        };
        Ok((log, report))
    }

    fn unreadable(&self, name: &str, cause: io::Error) -> Error {
        io_error(&*self.disk, &format!("has a segment {name} that cannot be read"), cause)
    }
}
