//! The first and the last frame.
#![deny(clippy::indexing_slicing)]

use bytes::{Buf, BufMut, Bytes};

use super::damaged;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"kvckpt\r\n";
const VERSION: u32 = 2;

/// Of which moment a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The newest revision.
    pub(crate) revision: u64,
    pub(crate) compact_revision: u64,
    /// The journal's number of the record that follows.
    pub(crate) next_seq: u64,
}

impl Header {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u64_le(self.revision);
        out.put_u64_le(self.compact_revision);
        out.put_u64_le(self.next_seq);
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self> {
        let mut rest =
            payload.strip_prefix(MAGIC).ok_or_else(|| damaged("another kind of file's start"))?;
        let version = u32_of(&mut rest)?;
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("checkpoint format {version} is unknown: this version reads {VERSION}"),
            ));
        }
        let header = Self {
            revision: u64_of(&mut rest)?,
            compact_revision: u64_of(&mut rest)?,
            next_seq: u64_of(&mut rest)?,
        };
        let possible = header.revision >= 1
            && header.compact_revision <= header.revision
            // No journal gets as far, so that numbers can be added up.
            && header.revision <= u64::MAX >> 1
            && (1..=u64::MAX >> 1).contains(&header.next_seq);
        if !rest.is_empty() || !possible {
            return Err(damaged("an impossible header"));
        }
        Ok(header)
    }

    /// The oldest revision that has events: watches start there or later.
    pub(super) fn first_logged(&self) -> u64 {
        // Revision 1 is the empty store.
        self.compact_revision.max(2)
    }
}

/// What all frames together hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Footer {
    /// Frames before this one.
    pub(super) frames: u32,
    pub(super) versions: u64,
    /// Events in order frames.
    pub(super) listed: u64,
    /// Keys and values.
    pub(super) bytes: u64,
}

impl Footer {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.frames);
        out.put_u64_le(self.versions);
        out.put_u64_le(self.listed);
        out.put_u64_le(self.bytes);
    }

    pub(super) fn decode(mut payload: &[u8]) -> Result<Self> {
        let footer = Self {
            frames: u32_of(&mut payload)?,
            versions: u64_of(&mut payload)?,
            listed: u64_of(&mut payload)?,
            bytes: u64_of(&mut payload)?,
        };
        if payload.is_empty() { Ok(footer) } else { Err(damaged("bytes after its end")) }
    }
}

pub(super) fn u8_of(input: &mut &[u8]) -> Result<u8> {
    input.try_get_u8().map_err(|_| too_few())
}

pub(super) fn u32_of(input: &mut &[u8]) -> Result<u32> {
    input.try_get_u32_le().map_err(|_| too_few())
}

pub(super) fn u64_of(input: &mut &[u8]) -> Result<u64> {
    input.try_get_u64_le().map_err(|_| too_few())
}

/// Bytes behind their length.
pub(super) fn slice_of<'a>(input: &mut &'a [u8]) -> Result<&'a [u8]> {
    let len = u32_of(input)? as usize;
    let (bytes, rest) = input.split_at_checked(len).ok_or_else(too_few)?;
    *input = rest;
    Ok(bytes)
}

/// Bytes behind their length, in memory of their own: a slice would pin the whole frame.
pub(super) fn bytes_of(input: &mut &[u8]) -> Result<Bytes> {
    slice_of(input).map(Bytes::copy_from_slice)
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // A key or value comes from a record, whose lengths have 32 bits.
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn too_few() -> Error {
    damaged("a length beyond its end")
}
