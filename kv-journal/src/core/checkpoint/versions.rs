//! The frames of versions.
//!
//! ```text
//! count u32, then for each version, in order of key and revision:
//!   flags u8 (1 deletes, 2 is live, 4 has the key of the one before, 8 is not its revision's first)
//!   | revision u64
//!   | sub-revision u32, not 0                                    if flag 8
//!   | key length u32 | key                                       unless flag 4
//!   | created u64 | version u64 | lease i64 | value length u32 | value   unless flag 1
//! ```
#![deny(clippy::indexing_slicing)]

use bytes::{BufMut, Bytes};

use super::damaged;
use super::header::{Header, put_bytes, slice_of, u8_of, u32_of, u64_of};
use crate::core::entry::tombstone;
use crate::core::value::{KeyValue, Meta};
use crate::error::Result;

const DELETES: u8 = 1;
const LIVE: u8 = 2;
const SAME_KEY: u8 = 4;
const HAS_SUB: u8 = 8;

/// A frame's keys and values have at most this length together, without its last version: a key
/// that is written once may be there many times.
pub(super) const CONTENT: u64 = 64 << 20;

/// The least version: a delete of the key before it.
const LEAST_LEN: usize = 1 + 8;

/// Adds one version to a payload and returns its key's and value's length. `previous` is the key
/// of the version before it in the same frame.
pub(super) fn encode(
    out: &mut Vec<u8>,
    kv: &KeyValue,
    is_live: bool,
    previous: Option<&[u8]>,
) -> u64 {
    let same = previous == Some(kv.key());
    let flags = match (kv.is_delete(), is_live) {
        (true, _) => DELETES,
        (false, true) => LIVE,
        (false, false) => 0,
    };
    let sub = kv.sub_revision();
    let has_sub = if sub == 0 { 0 } else { HAS_SUB };
    out.put_u8(flags | has_sub | if same { SAME_KEY } else { 0 });
    out.put_u64_le(kv.mod_revision());
    if sub != 0 {
        out.put_u32_le(sub);
    }
    if !same {
        put_bytes(out, kv.key());
    }
    if !kv.is_delete() {
        out.put_u64_le(kv.create_revision());
        out.put_u64_le(kv.version());
        out.put_i64_le(kv.lease());
        put_bytes(out, kv.value());
    }
    content_len(kv)
}

fn content_len(kv: &KeyValue) -> u64 {
    (kv.key().len() + kv.value().len()) as u64
}

/// The versions of one frame, each linked to the one before it, and where they will go.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    pub(super) live: Vec<KeyValue>,
    /// The last deletes of keys that do not exist, but for the one in `last`.
    pub(super) deleted: Vec<KeyValue>,
    /// What happened at each retained revision, by key.
    pub(super) changes: Vec<KeyValue>,
    /// Live keys and their leases.
    pub(super) attached: Vec<(i64, Bytes)>,
    pub(super) first: Option<Edge>,
    pub(super) last: Option<Edge>,
    pub(super) count: u64,
    /// Keys and values.
    pub(super) bytes: u64,
}

/// A version, or a delete, beside which another comes.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) kv: KeyValue,
    pub(super) live: bool,
}

impl Edge {
    /// Checks that `next` may stand after this version, and returns whether it is of the same key.
    pub(super) fn check_next(&self, next: &Self) -> Result<bool> {
        let same = self.kv.key() == next.kv.key();
        let follows = if same {
            self.kv.mod_revision() < next.kv.mod_revision()
        } else {
            self.kv.key() < next.kv.key()
        };
        let complete = match (self.kv.is_delete(), next.kv.is_delete()) {
            // A version is live or was replaced by the one after it.
            (false, false) => same != self.live,
            (false, true) => same && !self.live,
            (true, false) => true,
            // A delete deletes something.
            (true, true) => false,
        };
        if follows && complete { Ok(same) } else { Err(out_of_order()) }
    }
}

fn out_of_order() -> crate::error::Error {
    damaged("versions that do not follow each other")
}

/// # Errors
/// `Corrupt` if these are no versions that a checkpoint with this header can have.
pub(super) fn decode(mut input: &[u8], header: &Header) -> Result<Versions> {
    let count = u32_of(&mut input)? as usize;
    // A hostile count cannot make a large list.
    if count == 0 || count > input.len() / LEAST_LEN {
        return Err(damaged("an impossible number of versions"));
    }
    let mut versions = Versions::default();
    versions.live.reserve_exact(count);
    versions.changes.reserve_exact(count);
    for _ in 0..count {
        versions.add(&mut input, header)?;
    }
    if input.is_empty() { Ok(versions) } else { Err(damaged("bytes after its versions")) }
}

impl Versions {
    fn add(&mut self, input: &mut &[u8], header: &Header) -> Result<()> {
        if self.bytes >= CONTENT {
            return Err(damaged("a frame that unfolds to too much"));
        }
        let version = decode_one(input, self.last.as_ref())?;
        let same = match &self.last {
            Some(last) => last.check_next(&version)?,
            None => false,
        };
        let before = self.last.take();
        // Whether the delete before is the last of its key shows only now.
        self.deleted.extend(before.filter(|it| !same && it.kv.is_delete()).map(|it| it.kv));
        self.take_in(&version, header)?;
        self.first.get_or_insert_with(|| version.clone());
        self.last = Some(version);
        Ok(())
    }

    fn take_in(&mut self, at: &Edge, header: &Header) -> Result<()> {
        let kv = &at.kv;
        let compacted = kv.mod_revision() <= header.compact_revision;
        if kv.mod_revision() > header.revision || (kv.is_delete() && compacted) {
            return Err(damaged("a version of a revision that it does not hold"));
        }
        if kv.mod_revision() >= header.first_logged() {
            self.changes.push(kv.clone());
        }
        self.count += 1;
        self.bytes += content_len(kv);
        if at.live {
            self.live.push(kv.clone());
            if kv.lease() != 0 {
                self.attached.push((kv.lease(), Bytes::copy_from_slice(kv.key())));
            }
        }
        Ok(())
    }
}

/// The version at the start of `input`, linked to the one before if that is of the same key.
fn decode_one(input: &mut &[u8], before: Option<&Edge>) -> Result<Edge> {
    let flags = u8_of(input)?;
    let mod_revision = u64_of(input)?;
    let sub = if flags & HAS_SUB != 0 { u32_of(input)? } else { 0 };
    if (sub != 0) != (flags & HAS_SUB != 0) {
        return Err(damaged("an impossible sub-revision"));
    }
    let (key, prev) = match (flags & SAME_KEY != 0, before) {
        (false, _) => (slice_of(input)?, None),
        (true, Some(before)) => (before.kv.key(), Some(before.kv.clone())),
        (true, None) => return Err(damaged("a version without a key")),
    };
    let live = match flags & !(SAME_KEY | HAS_SUB) {
        DELETES => return Ok(Edge { kv: tombstone(key, mod_revision, sub, prev), live: false }),
        LIVE => true,
        0 => false,
        _ => return Err(damaged("unknown flags")),
    };
    let create_revision = u64_of(input)?;
    let version = u64_of(input)?;
    let lease = u64_of(input)?.cast_signed();
    let value = slice_of(input)?;
    if version == 0 || !(1..=mod_revision).contains(&create_revision) {
        return Err(damaged("an impossible version"));
    }
    let meta = Meta { create_revision, mod_revision, version, lease };
    Ok(Edge { kv: KeyValue::following(prev, key, value, meta, sub), live })
}
