//! Inflating from the middle of a byte in the middle of a stream, without `unsafe`.
//!
//! Zlib's own way is `inflatePrime`, which the safe interface lacks. Instead the decoder is first
//! fed empty deflate blocks of our own that end just as many bits before a byte's end as the real
//! data starts before one; the real bits complete that byte. Empty blocks give no output and leave
//! the window as it is (RFC 1951, section 3.2).

use zlib_rs::{Inflate, InflateFlush, Status};

use super::gzip::{HeaderParser, TRAILER_BYTES, corrupt};
use crate::error::Result;

/// Where in its member the data to be resumed starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From<'a> {
    /// At a gzip header.
    Member,
    /// At a deflate block whose first `bits` bits are the upper ones of the first byte (none for
    /// 0, where it starts with the first byte), with up to 32 KiB of output before it.
    Block { bits: u8, window: &'a [u8] },
}

/// Inflates gzip data into `out` until it is full; member ends within are passed over.
///
/// Gives the bytes that were written: fewer than `out` has room for only where `stop_at_member`
/// ends the work at the first member's end.
///
/// # Errors
///
/// [`Corrupt`](crate::ErrorKind::Corrupt) where the data is invalid or too short.
pub(super) fn inflate(
    data: &[u8],
    from: From<'_>,
    out: &mut [u8],
    stop_at_member: bool,
) -> Result<usize> {
    let mut inflate = Inflate::new(false, 15);
    let mut rest = start(&mut inflate, data, from)?;
    let mut filled = 0;
    while filled < out.len() {
        let free = out.get_mut(filled..).unwrap_or_default();
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(rest, free, InflateFlush::NoFlush)
            .map_err(|_| corrupt("deflate data is invalid"))?;
        let (consumed, produced) =
            (inflate.total_in() - before_in, inflate.total_out() - before_out);
        rest = after(rest, consumed);
        filled += usize::try_from(produced).unwrap_or(usize::MAX);
        if status == Status::StreamEnd && filled < out.len() {
            if stop_at_member {
                break;
            }
            rest = next_member(rest)?;
            inflate.reset(false);
        } else if consumed == 0 && produced == 0 {
            return Err(corrupt("it ends too early"));
        }
    }
    Ok(filled)
}

fn start<'a>(inflate: &mut Inflate, data: &'a [u8], from: From<'_>) -> Result<&'a [u8]> {
    match from {
        From::Member => after_header(data),
        From::Block { bits, window } => {
            if !window.is_empty() {
                inflate
                    .set_dictionary(window)
                    .map_err(|_| corrupt("a checkpoint's window is refused"))?;
            }
            match (bits, data.split_first()) {
                (0, _) => Ok(data),
                (_, Some((&first, rest))) => {
                    feed(inflate, &prefix(bits, first))?;
                    Ok(rest)
                }
                (_, None) => Err(corrupt("it ends too early")),
            }
        }
    }
}

fn feed(inflate: &mut Inflate, prefix: &[u8]) -> Result<()> {
    let status = inflate.decompress(prefix, &mut [], InflateFlush::NoFlush);
    // The decoder may stop for want of room, but only after it took all that it could.
    match status {
        Ok(_) if inflate.total_in() == prefix.len() as u64 => Ok(()),
        _ => Err(corrupt("deflate data is invalid")),
    }
}

fn next_member(rest: &[u8]) -> Result<&[u8]> {
    let rest = rest.get(TRAILER_BYTES..).ok_or_else(|| corrupt("it ends too early"))?;
    after_header(rest)
}

fn after_header(data: &[u8]) -> Result<&[u8]> {
    match HeaderParser::new().take(data)? {
        (length, true) => Ok(after(data, length as u64)),
        (_, false) => Err(corrupt("it ends within a header")),
    }
}

fn after(data: &[u8], consumed: u64) -> &[u8] {
    usize::try_from(consumed).ok().and_then(|at| data.get(at..)).unwrap_or_default()
}

/// An empty block with fixed codes, 10 bits: not last, type 1, the 7-bit end of block.
const EMPTY_FIXED: (u128, u32) = (0b010, 10);

/// An empty block with dynamic codes, 91 bits: an odd number of them, which only these can have.
///
/// Not last, type 2, 257 literal and 2 distance codes, 18 code length codes of which "1" and
/// "repeat zero" have one bit; then 138 + 118 zeros, three lengths of 1, and the end of block.
const EMPTY_DYNAMIC: (u128, u32) = {
    let mut block = (0, 0);
    block = append(block, 0b100, 3);
    block = append(block, 0, 5);
    block = append(block, 1, 5);
    block = append(block, 14, 4);
    // Lengths of the code length codes 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1.
    block = append(block, 0, 6);
    block = append(block, 1, 3);
    block = append(block, 0, 42);
    block = append(block, 1, 3);
    // "Repeat zero" is code 1 and repeats 11 more than its seven bits; "1" is code 0.
    block = append(block, 1 | (127 << 1), 8);
    block = append(block, 1 | (107 << 1), 8);
    block = append(block, 0, 3);
    append(block, 0, 1)
};

const fn append(block: (u128, u32), bits: u128, count: u32) -> (u128, u32) {
    (block.0 | (bits << block.1), block.1 + count)
}

/// Empty blocks whose last byte has `bits` bits left, which are the upper ones of `first`.
fn prefix(bits: u8, first: u8) -> Vec<u8> {
    let wanted = (8 - u32::from(bits & 7)) % 8;
    let mut blocks = (0, 0);
    if wanted % 2 == 1 {
        blocks = EMPTY_DYNAMIC;
    }
    while blocks.1 == 0 || blocks.1 % 8 != wanted {
        blocks = append(blocks, EMPTY_FIXED.0, EMPTY_FIXED.1);
    }
    let length = blocks.1.div_ceil(8) as usize;
    let mut prefix = blocks.0.to_le_bytes();
    let real = first & !(0xff_u8 >> (bits & 7));
    if let Some(last) = prefix.get_mut(length - 1) {
        *last |= real;
    }
    prefix.get(..length).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data that starts with any number of bits in its first byte, with whatever the rest of that
    /// byte is: two fixed blocks, the first referring to the window.
    fn data(bits: u8, junk: u8) -> Vec<u8> {
        // "Length 3, distance 4", end of block; then "!", end of block, last.
        let mut block = (u128::from(junk) & ((1 << (8 - bits)) - 1), u32::from(8 - bits) % 8);
        if bits == 0 {
            block = (0, 0);
        }
        block = append(block, 0b010, 3);
        block = append(block, reversed(0b000_0001, 7), 7);
        block = append(block, reversed(0b0_0011, 5), 5);
        block = append(block, 0, 7);
        block = append(block, 0b011, 3);
        block = append(block, reversed(0x30 + u128::from(b'!'), 8), 8);
        block = append(block, 0, 7);
        block.0.to_le_bytes()[..block.1.div_ceil(8) as usize].to_vec()
    }

    fn reversed(code: u128, length: u32) -> u128 {
        (0..length).fold(0, |out, bit| out | (((code >> bit) & 1) << (length - 1 - bit)))
    }

    #[test]
    fn all_eight_residues() {
        for bits in 0..8 {
            for junk in [0x00, 0xff, 0x5a] {
                let mut out = [0; 4];
                let from = From::Block { bits, window: b"..abcd" };
                let filled = inflate(&data(bits, junk), from, &mut out, true);
                assert_eq!((filled.unwrap(), &out), (4, b"abc!"), "{bits} bits, junk {junk:#x}");
            }
        }
    }

    #[test]
    fn empty_blocks_have_their_lengths() {
        for bits in 1..8 {
            let length = prefix(bits, 0).len();
            assert!(length <= 16, "{bits}: {length}");
        }
        assert_eq!((EMPTY_FIXED.1, EMPTY_DYNAMIC.1), (10, 91));
    }
}
