//! Opening a journal: what is whole, what a crash tore, and what is damaged.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, read_full_at, write_all_at};
use super::frame::Place;
use super::log::{Log, corrupt, io_error};
use super::read::Reading;
use super::rollover::{CreateError, Room, SPARE, UNFINISHED, create};
use super::scan::{Found, Frames, Rest, end_of_writing};
use super::segment::{self, Link, Segment};
use super::{FileConfig, OpenReport, TornTail};
use crate::error::{Error, Result};

impl Log {
    /// Finds where the journal ends, cuts a torn tail, and stands ready for a fence.
    pub(super) fn open(disk: Arc<dyn Disk>, config: FileConfig) -> Result<(Self, OpenReport)> {
        let opening = |cause| io_error(&*disk, "cannot be read", cause);
        let mut bases = Vec::new();
        for name in disk.list().map_err(opening)? {
            if name == UNFINISHED || name == SPARE {
                disk.remove(&name).map_err(opening)?;
            }
            bases.extend(segment::base_of(&name));
        }
        bases.sort_unstable();
        let recovery = Recovery { disk, config, segments: Vec::new(), next_seq: 1, torn: None };
        recovery.run(&bases)
    }
}

struct Recovery {
    disk: Arc<dyn Disk>,
    config: FileConfig,
    segments: Vec<Segment>,
    next_seq: u64,
    torn: Option<TornTail>,
}

impl Recovery {
    fn run(mut self, bases: &[u64]) -> Result<(Log, OpenReport)> {
        for base in bases {
            self.header(*base)?;
        }
        let active = match self.segments.pop() {
            Some(last) => self.last(last)?,
            None => self.first()?,
        };
        self.finish(active)
    }

    /// Takes a segment in after its header. The header says where the segment before ends.
    fn header(&mut self, base_seq: u64) -> Result<()> {
        let name = segment::name_of(base_seq);
        let file = self.open(&name)?;
        let mut header = [0; segment::HEADER_BYTES];
        let filled = read_full_at(&*file, &mut header, 0);
        let filled = filled.map_err(|cause| self.unreadable(&name, cause))?;
        let segment = Segment::parse(base_seq, header.get(..filled).unwrap_or_default())
            .map_err(|what| corrupt(&*self.disk, &name, 0, what))?;
        if let Some(before) = self.segments.last() {
            let len = self.check_before(before, &segment)?;
            self.segments.last_mut().into_iter().for_each(|before| before.len = len);
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Checks that a segment follows another, and returns where that one ends.
    fn check_before(&self, before: &Segment, segment: &Segment) -> Result<u64> {
        let Link { base_seq, len } = segment.before;
        if base_seq != before.base_seq {
            let what = format!("it follows {}: a segment is missing", segment::name_of(base_seq));
            return Err(corrupt(&*self.disk, &segment.name(), 0, &what));
        }
        if before.epoch > segment.epoch {
            let what = "its epoch is older than the one before";
            return Err(corrupt(&*self.disk, &segment.name(), 0, what));
        }
        let name = before.name();
        let file = self.open(&name)?;
        let found = file.len().map_err(|cause| self.unreadable(&name, cause))?;
        if found < len {
            let what = format!("it should have {len} bytes: its end is missing");
            return Err(corrupt(&*self.disk, &name, found, &what));
        }
        Ok(len)
    }

    /// Scans the segment that was written last.
    fn last(&mut self, mut segment: Segment) -> Result<Box<dyn DiskFile>> {
        let name = segment.name();
        let file = self.open(&name)?;
        let end = file.len().map_err(|cause| self.unreadable(&name, cause))?;
        self.next_seq = segment.base_seq;
        let last_batch = self.frames(&mut segment, &*file, end)?;
        self.tail(&segment, &*file, end)?;
        self.settle(&segment, &*file, last_batch)?;
        self.segments.push(segment);
        Ok(file)
    }

    /// Takes every whole batch in: `segment.len` and `next_seq` end up after the last one. Returns
    /// where that one begins.
    fn frames(&mut self, segment: &mut Segment, file: &dyn DiskFile, end: u64) -> Result<u64> {
        let mut frames = self.frames_from(segment, file, end);
        let mut expected = Place { seq: self.next_seq, index: 0, last: false };
        let (mut last_batch, mut begun) = (segment.len, segment.len);
        loop {
            let found = frames.next().map_err(|cause| self.unreadable(&segment.name(), cause))?;
            let Found::Frame { offset, place, .. } = found else {
                return Ok(last_batch);
            };
            if (place.seq, place.index) != (expected.seq, expected.index) {
                return Ok(last_batch);
            }
            segment.note(place.seq, offset);
            expected.seq += 1;
            expected.index = if place.last { 0 } else { place.index + 1 };
            if place.last {
                segment.len = frames.offset();
                self.next_seq = expected.seq;
                last_batch = std::mem::replace(&mut begun, segment.len);
            }
        }
    }

    fn frames_from<'a>(&self, segment: &Segment, file: &'a dyn DiskFile, end: u64) -> Frames<'a> {
        Frames::new(file, segment.seed(), segment.len, end, self.config.record_bytes)
    }

    /// Cuts what follows the last whole batch, if a crash can have left it. Zeros are what was
    /// never written, and are given back.
    fn tail(&mut self, segment: &Segment, file: &dyn DiskFile, end: u64) -> Result<()> {
        let name = segment.name();
        let unreadable = |cause| self.unreadable(&name, cause);
        let from = segment.len;
        let written = end_of_writing(file, from, end).map_err(unreadable)?;
        if written == from {
            // On a full disk this is what the next segment is made of. Nothing depends on it.
            let _kept = file.set_len(from);
            return Ok(());
        }
        let max_record = self.config.record_bytes;
        let rest = Rest { file, seed: segment.seed(), from, written, end, max_record };
        if rest.holds_later_batch(self.next_seq).map_err(unreadable)? {
            let at = self.damage(segment, file, end)?;
            let what = format!("record {} cannot be read, and later ones can", self.next_seq);
            return Err(corrupt(&*self.disk, &name, at, &what));
        }
        let cut = file.set_len(from).and_then(|()| file.sync());
        cut.map_err(|cause| io_error(&*self.disk, "has a torn tail that cannot be cut", cause))?;
        self.torn = Some(TornTail { segment: name, offset: from, bytes: written - from });
        Ok(())
    }

    /// Where exactly the bytes after the last whole batch stop making sense.
    fn damage(&self, segment: &Segment, file: &dyn DiskFile, end: u64) -> Result<u64> {
        let mut frames = self.frames_from(segment, file, end);
        loop {
            let found = frames.next().map_err(|cause| self.unreadable(&segment.name(), cause))?;
            if !matches!(found, Found::Frame { .. }) {
                return Ok(frames.offset());
            }
        }
    }

    /// Makes sure that the last batch is on the disk before anybody reads it.
    ///
    /// A process that died before its sync has left the batch in the system's cache alone. After a
    /// sync that failed the cache may even take it for written, so it is written again. All
    /// batches before it were synced.
    fn settle(&self, segment: &Segment, file: &dyn DiskFile, last_batch: u64) -> Result<()> {
        let mut at = last_batch;
        let mut bytes = vec![0; SETTLED_AT_ONCE];
        let settled = (|| {
            while at < segment.len {
                let len = usize::try_from(segment.len - at).unwrap_or(usize::MAX);
                let some = bytes.get_mut(..len.min(SETTLED_AT_ONCE)).unwrap_or_default();
                let filled = read_full_at(file, some, at)?;
                write_all_at(file, some.get(..filled).unwrap_or_default(), at)?;
                at += some.len() as u64;
            }
            file.sync()
        })();
        settled.map_err(|cause| io_error(&*self.disk, "has a last batch that may be lost", cause))
    }

    fn first(&mut self) -> Result<Box<dyn DiskFile>> {
        let first = Segment::new(1, 0, Link::default());
        let made = create(&*self.disk, &first, None).map_err(CreateError::into_cause);
        let (file, _) = made.map_err(|cause| io_error(&*self.disk, "cannot be written", cause))?;
        self.segments.push(first);
        Ok(file)
    }

    fn finish(self, active: Box<dyn DiskFile>) -> Result<(Log, OpenReport)> {
        let report = OpenReport {
            segments: self.segments.len(),
            records: self.next_seq - self.segments.first().map_or(1, |first| first.base_seq),
            bytes: self.segments.iter().map(|segment| segment.len).sum(),
            torn: self.torn,
        };
        let verify = self.config.verify_on_open;
        let mut log = Log {
            disk: self.disk,
            config: self.config,
            segments: self.segments,
            active,
            room: Room::default(),
            spare: None,
            next_seq: self.next_seq,
            failed: None,
            buffer: Vec::new(),
            reading: Reading::default(),
        };
        if verify {
            log.verify()?;
        }
        Ok((log, report))
    }

    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>> {
        self.disk.open(name).map_err(|cause| self.unreadable(name, cause))
    }

    fn unreadable(&self, name: &str, cause: io::Error) -> Error {
        io_error(&*self.disk, &format!("has a segment {name} that cannot be read"), cause)
    }
}

/// Of a batch that is written again.
const SETTLED_AT_ONCE: usize = 256 << 10;
