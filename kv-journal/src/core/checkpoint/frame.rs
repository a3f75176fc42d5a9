//! What surrounds each part of a checkpoint: checksum, length, place, kind.
#![deny(clippy::indexing_slicing)]

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::Header;
use super::{FOOTER, HEADER, LEDGER, damaged};
use crate::error::Result;

/// CRC32C, length, index, kind.
pub(crate) const HEAD_LEN: usize = CRC_LEN + 4 + 4 + 1;
const CRC_LEN: usize = 4;

/// A frame ends with the version that reaches the configured size, and a version is at most as
/// long as the longest request (32 MiB). Twice that is refused before anything is read.
const LONGEST_PAYLOAD: u32 = 64 << 20;

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    crc: u32,
    pub(super) len: u32,
    pub(super) index: u32,
    pub(super) kind: u8,
}

impl Head {
    /// # Errors
    /// `Corrupt` if there are too few bytes or the length is impossible.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEAD_LEN {
            return Err(damaged("no end"));
        }
        let head = Self {
            crc: bytes.get_u32_le(),
            len: bytes.get_u32_le(),
            index: bytes.get_u32_le(),
            kind: bytes.get_u8(),
        };
        if head.len > LONGEST_PAYLOAD { Err(damaged("a frame too long")) } else { Ok(head) }
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.len as usize
    }

    fn matches(&self, seed: u32, payload: &[u8]) -> bool {
        payload.len() == self.payload_len()
            && checksum(seed, self.len, self.index, self.kind, payload) == self.crc
    }
}

fn checksum(seed: u32, len: u32, index: u32, kind: u8, payload: &[u8]) -> u32 {
    let mut head = [0; HEAD_LEN - CRC_LEN];
    let mut out = &mut head[..];
    out.put_u32_le(len);
    out.put_u32_le(index);
    out.put_u8(kind);
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &head), payload)
}

/// Puts frames around payloads, one after the other.
#[derive(Debug, Default)]
pub(super) struct Sealer {
    /// The header's checksum; 0 before it.
    seed: u32,
    next_index: u32,
}

impl Sealer {
    /// A buffer for a payload, with room before it for what goes there.
    pub(super) fn buffer(capacity: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(HEAD_LEN + capacity);
        buffer.resize(HEAD_LEN, 0);
        buffer
    }

    /// Completes what [`buffer`](Self::buffer) began.
    pub(super) fn seal(&mut self, kind: u8, mut buffer: Vec<u8>) -> Bytes {
        if let Some((mut head, payload)) = buffer.split_at_mut_checked(HEAD_LEN) {
            let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            let crc = checksum(self.seed, len, self.next_index, kind, payload);
            head.put_u32_le(crc);
            head.put_u32_le(len);
            head.put_u32_le(self.next_index);
            head.put_u8(kind);
            if kind == HEADER {
                self.seed = crc;
            }
        }
        self.next_index += 1;
        buffer.into()
    }

    pub(super) fn sealed(&self) -> u32 {
        self.next_index
    }
}

/// Writes the frames of one checkpoint again, under another header.
#[derive(Debug, Default)]
pub(crate) struct Resealer {
    sealer: Sealer,
}

impl Resealer {
    pub(crate) fn header(&mut self, header: &Header) -> Bytes {
        let mut buffer = Sealer::buffer(0);
        header.encode(&mut buffer);
        self.sealer.seal(HEADER, buffer)
    }

    pub(crate) fn frame(&mut self, frame: &Checked) -> Bytes {
        let mut buffer = Sealer::buffer(frame.payload.len());
        buffer.put_slice(&frame.payload);
        self.sealer.seal(frame.head.kind, buffer)
    }

    #[cfg(test)]
    pub(super) fn of_kind(&mut self, kind: u8) -> Bytes {
        self.sealer.seal(kind, Sealer::buffer(0))
    }
}

/// A frame in its place, whose checksum is still to be compared.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    header: Header,
    seed: u32,
    head: Head,
    payload: Bytes,
}

impl Checked {
    pub(crate) fn header(&self) -> Header {
        self.header
    }

    pub(crate) fn index(&self) -> u32 {
        self.head.index
    }

    pub(crate) fn is_header(&self) -> bool {
        self.head.kind == HEADER
    }

    /// Whether it is of a ledger, which belongs to one journal.
    pub(crate) fn is_ledger(&self) -> bool {
        self.head.kind == LEDGER
    }

    pub(super) fn kind(&self) -> u8 {
        self.head.kind
    }

    /// # Errors
    /// `Corrupt` if the checksum does not match.
    pub(super) fn payload(&self) -> Result<&[u8]> {
        let seed = if self.is_header() { 0 } else { self.seed };
        if self.head.matches(seed, &self.payload) {
            return Ok(&self.payload);
        }
        Err(damaged(&format!("a wrong checksum in frame {}", self.head.index)))
    }
}

/// Checks that frames come in their order: the header, the others, the footer, nothing more.
#[derive(Debug, Default)]
pub(crate) struct FrameOrder {
    /// The header and its checksum.
    first: Option<(Header, u32)>,
    next_index: u32,
    ended: bool,
}

impl FrameOrder {
    /// # Errors
    /// `Corrupt` if the frame is not the next one, or is the first and damaged.
    pub(crate) fn take(&mut self, head: Head, payload: Bytes) -> Result<Checked> {
        let is_header = head.kind == HEADER;
        if self.ended || head.index != self.next_index || is_header != (head.index == 0) {
            return Err(damaged(&format!("a frame out of its place, {}", head.index)));
        }
        let (header, seed) = match self.first {
            Some(first) => first,
            None if head.matches(0, &payload) => (Header::decode(&payload)?, head.crc),
            None => return Err(damaged("a wrong checksum in its header")),
        };
        self.first = Some((header, seed));
        self.next_index += 1;
        self.ended = head.kind == FOOTER;
        Ok(Checked { header, seed, head, payload })
    }

    /// Whether the last frame was there.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}

/// Finds the frames in a stream of bytes that is cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    order: FrameOrder,
    buffer: BytesMut,
}

impl Splitter {
    /// The frames that are complete with these bytes.
    ///
    /// # Errors
    /// `Corrupt` as [`FrameOrder::take`], or if anything follows the last frame.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Checked>> {
        self.buffer.put_slice(bytes);
        let mut frames = Vec::new();
        while self.buffer.len() >= HEAD_LEN {
            let head = Head::parse(&self.buffer)?;
            if self.buffer.len() - HEAD_LEN < head.payload_len() {
                break;
            }
            self.buffer.advance(HEAD_LEN);
            let payload = self.buffer.split_to(head.payload_len()).freeze();
            frames.push(self.order.take(head, payload)?);
        }
        if self.order.has_ended() && !self.buffer.is_empty() {
            return Err(damaged("bytes after its end"));
        }
        Ok(frames)
    }

    /// # Errors
    /// `Corrupt` if the last frame did not come.
    pub(crate) fn finish(&self) -> Result<()> {
        if self.order.has_ended() { Ok(()) } else { Err(damaged("no end")) }
    }
}
