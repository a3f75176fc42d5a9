//! Reading frames out of a segment.
#![deny(clippy::indexing_slicing)]

use std::io;
use std::ops::RangeInclusive;

use super::disk::{DiskFile, read_full_at};
use super::frame::{self, Header, Place};

/// Read at once. Small enough to stay in a core's cache between the read, the checksum and the
/// copy of a record.
const WINDOW: usize = 256 << 10;

/// Reads one frame after the other through a window.
pub(super) struct Frames<'a> {
    file: &'a dyn DiskFile,
    /// The segment's.
    seed: u32,
    /// Where the next frame is.
    offset: u64,
    /// Nothing is read beyond it.
    end: u64,
    max_record: usize,
    window: Window,
}

/// Some bytes of a file. It is handed on from one reader to the next, which saves making it.
#[derive(Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// How many of them are of the file.
    filled: usize,
    /// Where they begin in the file.
    at: u64,
}

/// What is at an offset.
pub(super) enum Found<'a> {
    Frame {
        offset: u64,
        place: Place,
        payload: &'a [u8],
    },
    /// No frame that can be believed.
    Damage,
    End,
}

impl<'a> Frames<'a> {
    pub(super) fn new(
        file: &'a dyn DiskFile,
        seed: u32,
        from: u64,
        end: u64,
        max_record: usize,
    ) -> Self {
        let window = Window::default();
        Self { file, seed, offset: from, end, max_record, window }
    }

    /// The same, with a window that another one used.
    pub(super) fn through(mut self, mut window: Window) -> Self {
        window.filled = 0;
        self.window = window;
        self
    }

    pub(super) fn into_window(self) -> Window {
        self.window
    }

    /// Where the next frame is, or the damage.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn next(&mut self) -> io::Result<Found<'_>> {
        if self.offset >= self.end {
            return Ok(Found::End);
        }
        let offset = self.offset;
        let Some(header) = self.bytes(offset, frame::HEADER_LEN)?.and_then(Header::parse) else {
            return Ok(Found::Damage);
        };
        // The length is not proven yet, so it is bounded by the limit and by the file.
        let len = header.len as usize;
        if len > self.max_record {
            return Ok(Found::Damage);
        }
        let total = frame::HEADER_LEN + len;
        let (seed, place) = (self.seed, header.place);
        let payload = self.bytes(offset, total)?.and_then(|all| all.get(frame::HEADER_LEN..));
        if !payload.is_some_and(|payload| header.matches(seed, offset, payload)) {
            return Ok(Found::Damage);
        }
        self.offset += total as u64;
        let payload = self.bytes(offset, total)?.and_then(|all| all.get(frame::HEADER_LEN..));
        Ok(Found::Frame { offset, place, payload: payload.unwrap_or_default() })
    }

    /// `len` bytes from `offset`, or `None` if they reach beyond the end.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset + len as u64 > self.end {
            return Ok(None);
        }
        if !self.window.holds(offset, len) {
            let rest = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            self.window.fill(self.file, offset, rest.min(len.max(WINDOW)))?;
        }
        Ok(self.window.get(offset, len))
    }
}

impl Window {
    fn holds(&self, offset: u64, len: usize) -> bool {
        offset >= self.at && offset + len as u64 <= self.at + self.filled as u64
    }

    fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let at = usize::try_from(offset.checked_sub(self.at)?).ok()?;
        self.bytes.get(..self.filled)?.get(at..)?.get(..len)
    }

    fn fill(&mut self, file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<()> {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        (self.at, self.filled) = (offset, 0);
        let into = self.bytes.get_mut(..len).unwrap_or_default();
        self.filled = read_full_at(file, into, offset)?;
        Ok(())
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

/// Where the last byte from `from` on that is not zero ends; `from` if all of them are.
pub(super) fn end_of_writing(file: &dyn DiskFile, from: u64, end: u64) -> io::Result<u64> {
    let mut window = Window::default();
    let (mut at, mut written) = (from, from);
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(WINDOW);
        window.fill(file, at, len)?;
        if let Some(last) = last_written(window.filled()) {
            written = at + last as u64 + 1;
        }
        at += len as u64;
    }
    Ok(written)
}

/// Where the last byte is that is not zero. Whole blocks are looked at first, many bytes at a time.
fn last_written(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 4 << 10;
    let written = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) != 0;
    let block = BLOCK * bytes.chunks(BLOCK).rposition(written)?;
    let last = bytes.get(block..)?.iter().take(BLOCK).rposition(|byte| *byte != 0)?;
    Some(block + last)
}

/// The end of a segment in which the last whole batch ends at `from`.
pub(super) struct Rest<'a> {
    pub(super) file: &'a dyn DiskFile,
    pub(super) seed: u32,
    pub(super) from: u64,
    /// After it there is nothing but zeros.
    pub(super) written: u64,
    /// The file's.
    pub(super) end: u64,
    pub(super) max_record: usize,
}

impl Rest<'_> {
    /// Whether a frame of a batch that begins after record `torn_batch` stands anywhere in it.
    ///
    /// Batches are synced one by one, so such a frame proves that everything before its batch was
    /// durable once: what is unreadable there is damage, not the tear of a crash.
    pub(super) fn holds_later_batch(&self, torn_batch: u64) -> io::Result<bool> {
        // No more records than have room; keeps the checksum from being computed for noise, or for
        // values that imitate frames.
        let room = (self.written - self.from) / frame::HEADER_LEN as u64 + 1;
        let plausible = torn_batch + 1..=torn_batch.saturating_add(room);
        let (mut window, mut payload) = (Window::default(), Window::default());
        let mut at = self.from;
        while at < self.written {
            let rest = usize::try_from(self.end - at).unwrap_or(usize::MAX);
            window.fill(self.file, at, rest.min(WINDOW))?;
            if self.begins_in(&window, &plausible, &mut payload)? {
                return Ok(true);
            }
            if window.filled <= frame::HEADER_LEN {
                break;
            }
            // A header that the window's end cuts is looked at in the next one.
            at += (window.filled - frame::HEADER_LEN + 1) as u64;
        }
        Ok(false)
    }

    fn begins_in(
        &self,
        window: &Window,
        plausible: &RangeInclusive<u64>,
        payload: &mut Window,
    ) -> io::Result<bool> {
        for (bytes, offset) in window.filled().windows(frame::HEADER_LEN).zip(window.at..) {
            let header = Header::parse(bytes);
            let Some(header) = header.filter(|header| is_plausible(header, plausible)) else {
                continue;
            };
            let (from, len) = (offset + frame::HEADER_LEN as u64, header.len as usize);
            if len > self.max_record || from + len as u64 > self.end {
                continue;
            }
            payload.fill(self.file, from, len)?;
            if header.matches(self.seed, offset, payload.filled()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_plausible(header: &Header, batches: &RangeInclusive<u64>) -> bool {
    header.place.batch_start().is_some_and(|start| batches.contains(&start))
}
