//! Reads the frames of a checkpoint, each for itself.

use bytes::{Buf, Bytes, BytesMut};

use super::{FRAME_HEAD, Head, Kind, Logged, corrupt};
use crate::core::index::Index;
use crate::core::object::{Builder, MAX_LEN, Object};
use crate::core::view::Gap;
use crate::error::Result;
use crate::object::{Change, SourceObject};

/// A frame as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) crc: u32,
    pub(crate) payload: BytesMut,
}

/// What frames are read to.
#[derive(Debug)]
pub(crate) enum Part {
    Objects(Vec<Object>),
    Changes(Vec<Logged>),
}

impl Frame {
    /// A frame without its payload, and how long that is.
    pub(crate) fn new(head: &[u8; FRAME_HEAD]) -> Result<(Self, usize)> {
        let mut head = &head[..];
        let kind = match head.get_u8() {
            1 => Kind::Head,
            2 => Kind::Objects,
            3 => Kind::Changes,
            4 => Kind::End,
            _ => return Err(corrupt("a frame is of an unknown kind")),
        };
        let (len, crc) = (head.get_u32_le(), head.get_u32_le());
        Ok((Self { kind, crc, payload: BytesMut::new() }, len as usize))
    }

    /// The payload, if it is what was written.
    pub(crate) fn checked(self) -> Result<Bytes> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[self.kind as u8]), &self.payload);
        if crc == self.crc {
            return Ok(self.payload.freeze());
        }
        Err(corrupt("a frame does not have its checksum"))
    }
}

/// What a frame's head says.
pub(crate) fn head(payload: &Bytes) -> Result<Head> {
    let mut rest = payload.clone();
    let head = read_head(&mut rest).filter(|_| rest.is_empty());
    let head = head.ok_or_else(|| corrupt("the head is cut"))?;
    let mut last = head.floor;
    for Gap { after, until } in &head.gaps {
        if *after < last || until <= after {
            return Err(corrupt("gaps are out of order"));
        }
        last = *until;
    }
    if last > head.revision || head.prefixes.is_empty() {
        return Err(corrupt("the head is of no state"));
    }
    Ok(head)
}

fn read_head(rest: &mut Bytes) -> Option<Head> {
    let (floor, revision) = (rest.try_get_u64_le().ok()?, rest.try_get_u64_le().ok()?);
    let is_of_store = rest.try_get_u8().ok()? != 0;
    let store = Some(bytes(rest)?).filter(|_| is_of_store);
    let prefixes = (0..rest.try_get_u32_le().ok()?).map(|_| bytes(rest)).collect::<Option<_>>()?;
    let gaps = (0..rest.try_get_u32_le().ok()?).map(|_| {
        let (after, until) = (rest.try_get_u64_le().ok()?, rest.try_get_u64_le().ok()?);
        Some(Gap { after, until })
    });
    let gaps = gaps.collect::<Option<_>>()?;
    Some(Head { floor, revision, store, prefixes, gaps })
}

/// What a frame of objects has.
pub(crate) fn objects(head: &Head, indexes: &[Index], mut rest: Bytes) -> Result<Vec<Object>> {
    let mut builder = Builder::default();
    let mut objects: Vec<Object> = Vec::new();
    while !rest.is_empty() {
        let object = read_object(&mut rest)?;
        if objects.last().is_some_and(|last| last.key() >= &object.key[..]) {
            return Err(corrupt("keys are out of order"));
        }
        check(head, &object.key, object.mod_revision, head.floor)?;
        objects.push(builder.put(&object, indexes, head.floor, None));
    }
    Ok(objects)
}

/// What a frame of changes has.
pub(crate) fn changes(head: &Head, mut rest: Bytes) -> Result<Vec<Logged>> {
    let mut changes: Vec<Logged> = Vec::new();
    while !rest.is_empty() {
        let number = rest.try_get_u64_le().ok().zip(rest.try_get_u8().ok());
        let (revision, is_delete) = number.ok_or_else(|| corrupt("a change is cut"))?;
        let object = read_object(&mut rest)?;
        if revision <= head.floor || revision > head.revision {
            return Err(corrupt("a change is of a revision that is not retained"));
        }
        let written = if is_delete == 0 { object.mod_revision } else { 0 };
        check(head, &object.key, written, revision)?;
        let change = if is_delete == 0 { Change::Put(object) } else { Change::Delete(object.key) };
        let change = (revision, change);
        if changes.last().is_some_and(|last| !is_before(last, &change)) {
            return Err(corrupt("changes are out of order"));
        }
        changes.push(change);
    }
    Ok(changes)
}

/// Whether a change comes before another.
pub(crate) fn is_before((a, one): &Logged, (b, other): &Logged) -> bool {
    (a, one.key()) < (b, other.key())
}

/// How many objects and changes there are.
pub(crate) fn end(payload: &Bytes) -> Result<(u64, u64)> {
    let mut rest = payload.clone();
    let counts = rest.try_get_u64_le().ok().zip(rest.try_get_u64_le().ok());
    counts.filter(|_| rest.is_empty()).ok_or_else(|| corrupt("the end is cut"))
}

fn check(head: &Head, key: &[u8], written: u64, revision: u64) -> Result<()> {
    if written > revision {
        return Err(corrupt("an object is newer than its state"));
    }
    if !head.prefixes.iter().any(|prefix| key.starts_with(prefix)) {
        return Err(corrupt("a key is outside"));
    }
    Ok(())
}

fn read_object(rest: &mut Bytes) -> Result<SourceObject> {
    object(rest).ok_or_else(|| corrupt("an object is cut"))
}

fn object(rest: &mut Bytes) -> Option<SourceObject> {
    let (key, value) = (rest.try_get_u32_le().ok()?, rest.try_get_u32_le().ok()?);
    let (key, value) = (key as usize, value as usize);
    if key.checked_add(value)? > MAX_LEN {
        return None;
    }
    let create_revision = rest.try_get_u64_le().ok()?;
    let mod_revision = rest.try_get_u64_le().ok()?;
    let key = take(rest, key)?;
    Some(SourceObject { key, value: take(rest, value)?, create_revision, mod_revision })
}

fn bytes(rest: &mut Bytes) -> Option<Bytes> {
    let len = rest.try_get_u32_le().ok()?;
    take(rest, len as usize)
}

fn take(rest: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= rest.len()).then(|| rest.split_to(len))
}
