//! Reading a journal record, from the description of its bytes and nothing else.
//!
//! ```text
//! version u8 = 1 | kind u8 | revision u64
//! kind 1, a transaction:  count u32, then for each mutation
//!   tag u8 = 1, put:      lease i64 | key length u32 | value length u32 | key | value
//!   tag u8 = 2, delete:   deleted u64 | end u8 (0 single, 1 before, 2 open)
//!                         | start length u32 | end length u32 | start | end
//! any other kind: what it says is not read; the revision is the one that it made or an older one
//! ```

use super::refused;
use crate::error::Result;

/// What one record did to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change<'a> {
    Put { value: &'a [u8], lease: i64 },
    Delete,
}

/// One mutation as it stands in a record.
enum Mutation<'a> {
    Put { key: &'a [u8], value: &'a [u8], lease: i64 },
    Delete { start: &'a [u8], end: RangeEnd<'a> },
}

enum RangeEnd<'a> {
    Single,
    Before(&'a [u8]),
    Open,
}

/// What stands before what a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) transaction: bool,
    pub(super) revision: u64,
}

/// The revision of a transaction and what it did to `key` last; `None` if nothing.
pub(super) fn change_of<'a>(record: &'a [u8], key: &[u8]) -> Result<Option<(u64, Change<'a>)>> {
    let mut last = None;
    let header = walk(record, |mutation| last = mutation.on(key).or(last))?;
    Ok(last.map(|change| (header.revision, change)))
}

/// The header of a record that can be read to its end.
pub(super) fn header_of(record: &[u8]) -> Result<Header> {
    walk(record, |_| {})
}

/// Shows `visit` each mutation of a transaction.
fn walk<'a>(record: &'a [u8], mut visit: impl FnMut(Mutation<'a>)) -> Result<Header> {
    let mut rest = Rest(record);
    let [version, kind] = rest.array()?;
    let header = Header { transaction: kind == 1, revision: u64::from_le_bytes(rest.array()?) };
    if version != 1 {
        return Err(refused("a record is of an unknown version"));
    }
    if !header.transaction {
        return Ok(header);
    }
    let count = u32::from_le_bytes(rest.array()?);
    for _ in 0..count {
        visit(rest.mutation()?);
    }
    if count == 0 || !rest.0.is_empty() {
        return Err(refused("a record has bytes that are no mutation"));
    }
    Ok(header)
}

impl<'a> Mutation<'a> {
    fn on(&self, key: &[u8]) -> Option<Change<'a>> {
        match *self {
            Self::Put { key: written, value, lease } => {
                (written == key).then_some(Change::Put { value, lease })
            }
            Self::Delete { start, ref end } => {
                let deleted = match *end {
                    RangeEnd::Single => start == key,
                    RangeEnd::Before(end) => start <= key && key < end,
                    RangeEnd::Open => start <= key,
                };
                deleted.then_some(Change::Delete)
            }
        }
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn mutation(&mut self) -> Result<Mutation<'a>> {
        let [tag] = self.array()?;
        let number = u64::from_le_bytes(self.array()?);
        match tag {
            1 => {
                let (key, value) = self.two()?;
                Ok(Mutation::Put { key, value, lease: number.cast_signed() })
            }
            2 => {
                let [end] = self.array()?;
                let (start, before) = self.two()?;
                let end = match (end, before) {
                    (0, []) => RangeEnd::Single,
                    (1, before) => RangeEnd::Before(before),
                    (2, []) => RangeEnd::Open,
                    _ => return Err(refused("a record deletes an unknown kind of range")),
                };
                Ok(Mutation::Delete { start, end })
            }
            _ => Err(refused("a record has an unknown mutation")),
        }
    }

    /// Two lengths and then what they are the lengths of.
    fn two(&mut self) -> Result<(&'a [u8], &'a [u8])> {
        let first = u32::from_le_bytes(self.array()?);
        let second = u32::from_le_bytes(self.array()?);
        Ok((self.slice(first)?, self.slice(second)?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(too_short)?;
        self.0 = rest;
        Ok(*array)
    }

    fn slice(&mut self, len: u32) -> Result<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(len as usize).ok_or_else(too_short)?;
        self.0 = rest;
        Ok(slice)
    }
}

fn too_short() -> crate::error::Error {
    refused("a record ends too soon")
}
