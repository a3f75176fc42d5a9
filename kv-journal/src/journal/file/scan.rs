//! Reading frames out of a segment.
#![deny(clippy::indexing_slicing)]

use std::io;

use super::disk::{DiskFile, read_full_at};
use super::frame::{self, Header, Place};

/// Read at once.
const WINDOW: usize = 1 << 20;

/// Reads one frame after the other through a window.
pub(super) struct Frames<'a> {
    file: &'a dyn DiskFile,
    /// Where the next frame is.
    offset: u64,
    /// Nothing is read beyond it.
    end: u64,
    max_record: usize,
    window: Vec<u8>,
    window_at: u64,
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
    pub(super) fn new(file: &'a dyn DiskFile, from: u64, end: u64, max_record: usize) -> Self {
        Self { file, offset: from, end, max_record, window: Vec::new(), window_at: from }
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
        let payload = self.bytes(offset, total)?.and_then(|all| all.get(frame::HEADER_LEN..));
        match payload {
            Some(payload) if header.matches(offset, payload) => {}
            _ => return Ok(Found::Damage),
        }
        self.offset += total as u64;
        let payload = self.bytes(offset, total)?.and_then(|all| all.get(frame::HEADER_LEN..));
        let payload = payload.unwrap_or_default();
        Ok(Found::Frame { offset, place: header.place, payload })
    }

    /// `len` bytes from `offset`, or `None` if they reach beyond the end.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset + len as u64 > self.end {
            return Ok(None);
        }
        let end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + len as u64 > end {
            self.fill(offset, len)?;
        }
        let at = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX);
        Ok(self.window.get(at..).and_then(|from| from.get(..len)))
    }

    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let rest = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        self.window.resize(rest.min(len.max(WINDOW)), 0);
        self.window_at = offset;
        let filled = read_full_at(self.file, &mut self.window, offset)?;
        self.window.truncate(filled);
        Ok(())
    }
}

/// Whether a frame of a batch that begins after record `torn_batch` stands anywhere from `from` on.
///
/// Batches are synced one by one, so such a frame proves that everything before its batch was
/// durable once: what is unreadable there is damage, not the tear of a crash.
pub(super) fn later_batch_follows(
    file: &dyn DiskFile,
    from: u64,
    end: u64,
    torn_batch: u64,
) -> io::Result<bool> {
    let mut rest = vec![0; usize::try_from(end - from).unwrap_or(usize::MAX)];
    let filled = read_full_at(file, &mut rest, from)?;
    rest.truncate(filled);
    // No more records than have room; keeps the checksum from being computed for noise, or for
    // values that imitate frames.
    let room = (rest.len() / frame::HEADER_LEN) as u64;
    let plausible = torn_batch + 1..=torn_batch.saturating_add(room);
    Ok((0..rest.len()).any(|at| {
        let Some(bytes) = rest.get(at..) else {
            return false;
        };
        let Some(header) = Header::parse(bytes) else {
            return false;
        };
        let Some(start) = header.place.batch_start() else {
            return false;
        };
        let payload = bytes.get(frame::HEADER_LEN..).and_then(|all| all.get(..header.len as usize));
        plausible.contains(&start)
            && payload.is_some_and(|payload| header.matches(from + at as u64, payload))
    }))
}
