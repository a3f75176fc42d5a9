//! The output before a checkpoint, kept only as far as the data after it refers to it.
//!
//! A window is 32 KiB, but of these bytes only about a tenth is ever referred to. The others are
//! zeroed, and the rest compresses well. Which ones are needed is found by inflating the data
//! after the checkpoint against two windows that spell positions instead of content.

use bytes::Bytes;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use super::resume::{self, From};
use crate::error::{Error, ErrorKind, Result};

/// The distance that deflate can refer back (RFC 1951, section 2).
pub(super) const WINDOW_BYTES: usize = 32 << 10;
/// A packed window is never larger than this: deflate stores what it can't compress, with 5 bytes
/// for each 16 KiB or more (zlib's `deflateBound`).
pub(super) const MAX_PACKED_BYTES: usize = WINDOW_BYTES + 128;

/// A window, deflated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    length: u16,
    packed: Bytes,
}

impl Window {
    /// No output before the checkpoint.
    pub(super) const EMPTY: Self = Self { length: 0, packed: Bytes::new() };

    /// From an index's fields; `None` where they can't be those of a window.
    pub(super) fn from_parts(length: u64, packed: Bytes) -> Option<Self> {
        let length = u16::try_from(length).ok().filter(|&it| usize::from(it) <= WINDOW_BYTES)?;
        let plausible = packed.len() <= MAX_PACKED_BYTES && (length == 0) == packed.is_empty();
        plausible.then_some(Self { length, packed })
    }

    pub(super) fn parts(&self) -> (u64, &Bytes) {
        (u64::from(self.length), &self.packed)
    }

    /// The last bytes of `content`, with those that `needed` does not name zeroed.
    pub(super) fn pack(content: &[u8], needed: Option<&[bool]>) -> Result<Self> {
        let length = u16::try_from(content.len())
            .map_err(|_| Error::new(ErrorKind::Invalid, "a window is 32 KiB at most"))?;
        if length == 0 {
            return Ok(Self::EMPTY);
        }
        let sparse: Vec<u8> = match needed {
            None => content.to_vec(),
            Some(needed) => content
                .iter()
                .zip(needed)
                .map(|(&byte, &keep)| if keep { byte } else { 0 })
                .collect(),
        };
        Ok(Self { length, packed: deflate(&sparse)?.into() })
    }

    /// The window's bytes.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where an index's bytes are no window.
    pub(super) fn unpack(&self) -> Result<Vec<u8>> {
        let mut content = vec![0; usize::from(self.length)];
        if self.length == 0 || unpack(&self.packed, &mut content) {
            return Ok(content);
        }
        let message = "index: a checkpoint's window is damaged: build the index again";
        Err(Error::new(ErrorKind::Corrupt, message))
    }
}

/// Which bytes of a window of `length` bytes the `data` after it refers to, where `real` is the
/// first of its output.
///
/// Only the first 32 KiB of output can refer to the window itself, so `real` is no longer than
/// that; later output refers to what came after the window.
pub(super) fn needed(window: &[u8], bits: u8, data: &[u8], real: &[u8]) -> Result<Vec<bool>> {
    let low: Vec<u8> = (0..window.len()).map(|at| at.to_le_bytes()[0]).collect();
    let high: Vec<u8> = (0..window.len()).map(|at| at.to_le_bytes()[1]).collect();
    let (mut lows, mut highs) = (vec![0; real.len()], vec![0; real.len()]);
    for (window, out) in [(&low, &mut lows), (&high, &mut highs)] {
        resume::inflate(data, From::Block { bits, window }, out, true)?;
    }
    let mut needed = vec![false; window.len()];
    for ((&low, &high), &real) in lows.iter().zip(&highs).zip(real) {
        // A literal is the same in all three; so may be a byte of the window, and then keeping
        // the one at that position is at worst one byte too many.
        let at = usize::from(u16::from_le_bytes([low, high]));
        if window.get(at) == Some(&real)
            && let Some(needed) = needed.get_mut(at)
        {
            *needed = true;
        }
    }
    Ok(needed)
}

/// Whether `packed` is a raw deflate stream that fills `out` exactly.
pub(super) fn unpack(packed: &[u8], out: &mut [u8]) -> bool {
    let mut inflate = Inflate::new(false, 15);
    inflate.decompress(packed, out, InflateFlush::Finish) == Ok(Status::StreamEnd)
        && inflate.total_out() == out.len() as u64
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![0; MAX_PACKED_BYTES];
    // Level 9 takes six times as long on runs of zeros and gains a few per cent.
    let mut deflate = Deflate::new(6, false, 15);
    let status = deflate.compress(bytes, &mut out, DeflateFlush::Finish);
    if status != Ok(Status::StreamEnd) {
        return Err(Error::new(ErrorKind::Exhausted, "zlib refused a window: free memory"));
    }
    out.truncate(usize::try_from(deflate.total_out()).unwrap_or(usize::MAX));
    Ok(out)
}
