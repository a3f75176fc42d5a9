//! Raw inflate that stops at every deflate block boundary: the crate's one module with `unsafe`.
//!
//! Checkpoints lie at block boundaries, and of the zlib family only the C interface tells where
//! they are, through `Z_BLOCK` and `data_type` (zlib manual, `inflate`). Reading needs none of
//! this: see [`resume`](super::resume).

use std::ffi::c_int;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_MEM_ERROR, Z_OK, Z_STREAM_END, inflate, inflateEnd, inflateInit2_,
    inflateReset, uInt, z_stream, zlibVersion,
};

use super::gzip::corrupt;
use crate::error::{Error, ErrorKind, Result};

/// Negative for raw deflate; 15 for windows of up to 32 KiB.
const RAW_WINDOW_BITS: c_int = -15;
/// In `data_type`: stopped right after a block or, at the stream's start, before the first.
const AT_BOUNDARY: c_int = 128;
/// In `data_type`: within the last block, or after it.
const IN_LAST_BLOCK: c_int = 64;
/// In `data_type`: bits of the last input byte that belong to the next block.
const UNUSED_BITS: c_int = 7;

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Input bytes that were taken.
    pub(super) consumed: usize,
    /// Output bytes that were written.
    pub(super) produced: usize,
    /// After a block that is not the last: the bits of the last taken byte, its upper ones, that
    /// belong to the next block.
    pub(super) boundary: Option<u8>,
    /// The deflate stream has ended, and `consumed` ends with its last byte.
    pub(super) ended: bool,
}

/// A raw deflate stream in the making.
pub(super) struct BlockInflate {
    // In a box, so that it has one address for life: zlib's implementations may keep it in the
    // state behind `stream.state` and compare, as the original does.
    stream: Box<z_stream>,
}

// SAFETY: between calls the only pointers of `stream` that are set are `state`, a heap allocation
// that nothing else can reach, `msg`, a static text, and the functions of Rust's global allocator,
// which any thread may call (`step` resets the others). The state remembers the slices of the
// last call, but `inflate` replaces them by the new call's before it reads, and reset and end
// don't read them.
unsafe impl Send for BlockInflate {}

impl BlockInflate {
    pub(super) fn new() -> Result<Self> {
        let mut stream = Box::new(z_stream::default());
        let size = c_int::try_from(size_of::<z_stream>()).unwrap_or(0);
        // SAFETY: `stream` is valid and its allocator is set by `default`; the version is the
        // library's own NUL-terminated text.
        let code = unsafe { inflateInit2_(&raw mut *stream, RAW_WINDOW_BITS, zlibVersion(), size) };
        if code == Z_OK { Ok(Self { stream }) } else { Err(out_of_memory()) }
    }

    /// Starts over with the next member's deflate data.
    pub(super) fn reset(&mut self) -> Result<()> {
        // SAFETY: `stream` was initialised in `new`.
        let code = unsafe { inflateReset(&raw mut *self.stream) };
        if code == Z_OK { Ok(()) } else { Err(out_of_memory()) }
    }

    /// Inflates until the input is used up, the output is full or a block ends.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        let (given, room) = (clamp(input.len()), clamp(output.len()));
        let stream = &mut *self.stream;
        stream.next_in = input.as_ptr().cast_mut();
        stream.avail_in = given;
        stream.next_out = output.as_mut_ptr();
        stream.avail_out = room;
        // SAFETY: `stream` was initialised in `new`; `next_in` and `next_out` point to at least
        // `avail_in` readable and `avail_out` writable bytes that outlive the call and do not
        // overlap, since one is borrowed shared and the other exclusively.
        let code = unsafe { inflate(&raw mut *stream, Z_BLOCK) };
        let (left, free) = (stream.avail_in, stream.avail_out);
        // No pointer to a caller's slice stays behind.
        (stream.next_in, stream.avail_in) = (std::ptr::null_mut(), 0);
        (stream.next_out, stream.avail_out) = (std::ptr::null_mut(), 0);
        match code {
            Z_OK | Z_STREAM_END | Z_BUF_ERROR => {}
            Z_MEM_ERROR => return Err(out_of_memory()),
            _ => return Err(corrupt("deflate data is invalid")),
        }
        Ok(Step {
            consumed: given.saturating_sub(left) as usize,
            produced: room.saturating_sub(free) as usize,
            boundary: boundary(stream.data_type),
            ended: code == Z_STREAM_END,
        })
    }
}

impl Drop for BlockInflate {
    fn drop(&mut self) {
        // SAFETY: `stream` was initialised in `new` and is not used again.
        unsafe { inflateEnd(&raw mut *self.stream) };
    }
}

impl std::fmt::Debug for BlockInflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockInflate").finish_non_exhaustive()
    }
}

fn boundary(data_type: c_int) -> Option<u8> {
    if data_type & AT_BOUNDARY == 0 || data_type & IN_LAST_BLOCK != 0 {
        return None;
    }
    u8::try_from(data_type & UNUSED_BITS).ok()
}

fn clamp(length: usize) -> uInt {
    uInt::try_from(length).unwrap_or(uInt::MAX)
}

fn out_of_memory() -> Error {
    Error::new(ErrorKind::Exhausted, "zlib refused its state: free memory and try again")
}
