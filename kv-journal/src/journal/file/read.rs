//! Reading records back, each one checked.

use bytes::Bytes;

use super::disk::DiskFile;
use super::log::{Log, corrupt, io_error};
use super::scan::{Found, Frames, Window};
use crate::error::Result;
use crate::journal::memory::check_read;
use crate::journal::{Entry, ReadLimits};

/// What one read leaves for the next, which probably goes on where it ended.
#[derive(Default)]
pub(super) struct Reading {
    window: Window,
    /// A segment by its base, open.
    file: Option<(u64, Box<dyn DiskFile>)>,
}

impl Reading {
    pub(super) fn close(&mut self) {
        self.file = None;
    }
}

/// The records of one read.
struct Taken {
    from_seq: u64,
    limits: ReadLimits,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Taken {
    fn is_full(&self) -> bool {
        !self.entries.is_empty()
            && (self.entries.len() >= self.limits.records || self.bytes >= self.limits.bytes)
    }

    fn take(&mut self, seq: u64, payload: &[u8]) {
        if seq >= self.from_seq {
            self.bytes += payload.len();
            self.entries.push(Entry { seq, payload: Bytes::copy_from_slice(payload) });
        }
    }
}

impl Log {
    pub(super) fn read(&mut self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        check_read(from_seq, self.tail()?)?;
        let mut taken = Taken { from_seq, limits, entries: Vec::new(), bytes: 0 };
        let after = self.segments.partition_point(|segment| segment.base_seq <= from_seq);
        for at in after.saturating_sub(1)..self.segments.len() {
            self.read_segment(at, &mut taken)?;
            if taken.is_full() {
                break;
            }
        }
        Ok(taken.entries)
    }

    /// Reads what opening has not read, and keeps none of it.
    pub(super) fn verify(&mut self) -> Result<()> {
        let limits = ReadLimits { records: usize::MAX, bytes: usize::MAX };
        let mut taken = Taken { from_seq: u64::MAX, limits, entries: Vec::new(), bytes: 0 };
        (0..self.segments.len()).try_for_each(|at| self.read_segment(at, &mut taken))
    }

    fn read_segment(&mut self, at: usize, taken: &mut Taken) -> Result<()> {
        let next_base = self.segments.get(at + 1).map_or(self.next_seq, |next| next.base_seq);
        let Some(segment) = self.segments.get_mut(at) else {
            return Ok(());
        };
        let (disk, name) = (&*self.disk, segment.name());
        let unreadable = |cause| io_error(disk, "cannot be read", cause);
        let opened = self.reading.file.take().filter(|(base, _)| *base == segment.base_seq);
        let file = match opened {
            Some((_, file)) => file,
            None => disk.open(&name).map_err(unreadable)?,
        };
        let (mut seq, start) = segment.place_before(taken.from_seq);
        let mut frames =
            Frames::new(&*file, segment.seed(), start, segment.len, self.config.record_bytes)
                .through(std::mem::take(&mut self.reading.window));
        while !taken.is_full() {
            match frames.next().map_err(unreadable)? {
                Found::Frame { place, offset, payload } if place.seq == seq && seq < next_base => {
                    taken.take(seq, payload);
                    segment.note(seq, offset);
                    seq += 1;
                }
                Found::End if seq == next_base => break,
                _ => return Err(corrupt(disk, &name, frames.offset(), &damaged(seq))),
            }
        }
        segment.note_read(seq, frames.offset());
        self.reading.window = frames.into_window();
        self.reading.file = Some((segment.base_seq, file));
        Ok(())
    }
}

fn damaged(seq: u64) -> String {
    format!("record {seq} does not match its checksum or its place")
}
