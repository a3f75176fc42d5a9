//! One file of the journal: its name, its header, and where its records are.
#![deny(clippy::indexing_slicing)]

use bytes::{Buf, BufMut};

/// The size of a segment's header.
pub(super) const HEADER_LEN: u64 = HEADER_BYTES as u64;
pub(super) const HEADER_BYTES: usize = 8 + 4 + 8 + 8 + 8 + 8 + 4;

const MAGIC: &[u8; 8] = b"kvjrnl\r\n";
const VERSION: u32 = 2;
const SUFFIX: &str = ".log";

/// One record in so many bytes is in a segment's index; a read passes over at most as much.
const INDEX_STRIDE: u64 = 64 << 10;

/// The segment before, as it was when this one was begun: whole, synced and never written again.
/// All zeros in the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link {
    pub(super) base_seq: u64,
    /// Where its last batch ends.
    pub(super) len: u64,
}

/// What the journal remembers of one file.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Its first record's number, even while it has none.
    pub(super) base_seq: u64,
    /// The epoch that was current when it was made.
    pub(super) epoch: u64,
    pub(super) before: Link,
    /// Where its last whole batch ends.
    pub(super) len: u64,
    /// Some of its records, with their offsets.
    index: Vec<(u64, u64)>,
    /// The record after the last one that was read, and its offset.
    read_up_to: (u64, u64),
}

impl Segment {
    pub(super) fn new(base_seq: u64, epoch: u64, before: Link) -> Self {
        let (index, read_up_to) = (Vec::new(), (base_seq, HEADER_LEN));
        Self { base_seq, epoch, before, len: HEADER_LEN, index, read_up_to }
    }

    pub(super) fn name(&self) -> String {
        name_of(self.base_seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == HEADER_LEN
    }

    /// What the segment after this one says of it.
    pub(super) fn link(&self) -> Link {
        Link { base_seq: self.base_seq, len: self.len }
    }

    /// Notes where a record is, now and then.
    pub(super) fn note(&mut self, seq: u64, offset: u64) {
        if self.index.last().is_none_or(|(_, last)| offset >= last + INDEX_STRIDE) {
            self.index.push((seq, offset));
        }
    }

    /// Notes where the next read probably begins.
    pub(super) fn note_read(&mut self, next_seq: u64, offset: u64) {
        self.read_up_to = (next_seq, offset);
    }

    /// A record at or before `seq`, near it, and its offset: where to begin to look.
    pub(super) fn place_before(&self, seq: u64) -> (u64, u64) {
        let after = self.index.partition_point(|(noted, _)| *noted <= seq);
        let noted = after.checked_sub(1).and_then(|at| self.index.get(at)).copied();
        let noted = noted.unwrap_or((self.base_seq, HEADER_LEN));
        if self.read_up_to.0 <= seq { noted.max(self.read_up_to) } else { noted }
    }

    /// What binds a frame to this segment: the checksum of its header.
    pub(super) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.described())
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let mut header = self.described();
        header.put_u32_le(crc32c::crc32c(&header));
        header
    }

    fn described(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put_slice(MAGIC);
        header.put_u32_le(VERSION);
        header.put_u64_le(self.base_seq);
        header.put_u64_le(self.epoch);
        header.put_u64_le(self.before.base_seq);
        header.put_u64_le(self.before.len);
        header
    }

    /// Reads a header back, or says what is wrong with it.
    pub(super) fn parse(base_seq: u64, header: &[u8]) -> Result<Self, &'static str> {
        const CUT: &str = "the header is cut";
        let mut rest = header.strip_prefix(MAGIC).ok_or("this is not a journal segment")?;
        let version = rest.try_get_u32_le().map_err(|_| CUT)?;
        if version != VERSION {
            return Err("the segment is damaged or was written by another version");
        }
        let base = rest.try_get_u64_le().map_err(|_| CUT)?;
        let epoch = rest.try_get_u64_le().map_err(|_| CUT)?;
        let before_base = rest.try_get_u64_le().map_err(|_| CUT)?;
        let before_len = rest.try_get_u64_le().map_err(|_| CUT)?;
        let covered = header.len() - rest.len();
        let crc = rest.try_get_u32_le().map_err(|_| CUT)?;
        if header.get(..covered).map(crc32c::crc32c) != Some(crc) {
            return Err("the header's checksum does not match");
        }
        if base != base_seq {
            return Err("the header belongs to another segment");
        }
        Ok(Self::new(base_seq, epoch, Link { base_seq: before_base, len: before_len }))
    }
}

/// The name of the segment that begins with this record.
pub(super) fn name_of(base_seq: u64) -> String {
    format!("{base_seq:020}{SUFFIX}")
}

/// No journal gets as far: a name beyond it was made by something else, and numbers of records
/// can be added up without a thought of overflow.
const GREATEST_BASE: u64 = u64::MAX >> 1;

/// The base of the segment with this file name, if it is one.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let base = name.strip_suffix(SUFFIX)?.parse().ok()?;
    ((1..=GREATEST_BASE).contains(&base) && name_of(base) == name).then_some(base)
}
