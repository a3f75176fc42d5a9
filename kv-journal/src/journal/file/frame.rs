//! The bytes of one record on disk.
#![deny(clippy::indexing_slicing)]

use bytes::{Buf, BufMut};

/// CRC32C, length, sequence number, index.
pub(super) const HEADER_LEN: usize = 4 + 4 + 8 + 4;

/// Marks the last record of a batch in its index.
const LAST: u32 = 1 << 31;

/// The most records in one batch: the index has 31 bits.
pub(super) const MAX_BATCH: usize = (LAST - 1) as usize;

/// A record's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    /// Its place in its batch.
    pub(super) index: u32,
    /// Whether the batch ends with it.
    pub(super) last: bool,
}

impl Place {
    /// The number of the first record of its batch.
    pub(super) fn batch_start(self) -> Option<u64> {
        self.seq.checked_sub(u64::from(self.index))
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    crc: u32,
    pub(super) len: u32,
    pub(super) place: Place,
}

impl Header {
    /// `None` if there are too few bytes. Nothing of it is to be trusted before
    /// [`matches`](Self::matches) says so, except that a length may be refused.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let crc = bytes.try_get_u32_le().ok()?;
        let len = bytes.try_get_u32_le().ok()?;
        let seq = bytes.try_get_u64_le().ok()?;
        let index = bytes.try_get_u32_le().ok()?;
        let place = Place { seq, index: index & !LAST, last: index & LAST != 0 };
        Some(Self { crc, len, place })
    }

    /// Whether this header and `payload` are what was written at `offset` of the segment whose
    /// seed this is.
    pub(super) fn matches(&self, seed: u32, offset: u64, payload: &[u8]) -> bool {
        payload.len() == self.len as usize
            && checksum(seed, offset, self.len, self.place, payload) == self.crc
    }
}

/// Appends to `out` what stands before `payload`, to be written at `offset` of the segment whose
/// seed this is.
pub(super) fn put_header(out: &mut Vec<u8>, seed: u32, offset: u64, place: Place, payload: &[u8]) {
    // No longer payload is let through: see `FileConfig::RECORD_BYTES`.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.put_u32_le(checksum(seed, offset, len, place, payload));
    out.put_u32_le(len);
    out.put_u64_le(place.seq);
    out.put_u32_le(marked_index(place));
}

fn marked_index(place: Place) -> u32 {
    if place.last { place.index | LAST } else { place.index }
}

/// The segment's seed and the offset are covered so that a frame counts only where it was written:
/// neither a stale copy elsewhere nor a value that imitates a frame is taken for one.
fn checksum(seed: u32, offset: u64, len: u32, place: Place, payload: &[u8]) -> u32 {
    let mut head = [0; 24];
    let mut out = &mut head[..];
    out.put_u64_le(offset);
    out.put_u32_le(len);
    out.put_u64_le(place.seq);
    out.put_u32_le(marked_index(place));
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &head), payload)
}

/// Walks `bytes` as the content of a segment, for the fuzzer: how many frames it begins with.
#[doc(hidden)]
#[must_use]
pub fn fuzz_frames(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut frames = 0;
    while let Some((header, rest)) =
        bytes.get(at..).and_then(|rest| Some((Header::parse(rest)?, rest.get(HEADER_LEN..)?)))
    {
        match rest.get(..header.len as usize) {
            Some(payload) if header.matches(0, at as u64, payload) => {
                at += HEADER_LEN + payload.len();
            }
            _ => break,
        }
        frames += 1;
    }
    frames
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "the tests made these bytes")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_reads_back_and_no_flipped_bit_passes(
            payload in prop::collection::vec(any::<u8>(), 0..64),
            seq in any::<u64>(),
            index in 0..LAST,
            last in any::<bool>(),
            seed in any::<u32>(),
            offset in any::<u64>(),
            flip in any::<prop::sample::Index>(),
        ) {
            let place = Place { seq, index, last };
            let mut bytes = Vec::new();
            put_header(&mut bytes, seed, offset, place, &payload);
            bytes.extend(&payload);
            let header = Header::parse(&bytes).unwrap();
            prop_assert_eq!(header.place, place);
            prop_assert!(header.matches(seed, offset, &bytes[HEADER_LEN..]));
            prop_assert!(!header.matches(seed, offset ^ 1, &bytes[HEADER_LEN..]));
            prop_assert!(!header.matches(seed ^ 1, offset, &bytes[HEADER_LEN..]));

            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let header = Header::parse(&bytes).unwrap();
            prop_assert!(!header.matches(seed, offset, &bytes[HEADER_LEN..]));
        }

        #[test]
        fn hostile_bytes_are_walked_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(fuzz_frames(&bytes) <= bytes.len() / HEADER_LEN);
        }
    }
}
