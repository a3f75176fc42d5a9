//! The frames of versions.
//!
//! ```text
//! count u32, then for each version, in order of key and revision:
//!   flags u8 (1 deletes, 2 is live, 4 has the key of the one before) | revision u64
//!   | key length u32 | key                                       unless flag 4
//!   | created u64 | version u64 | lease i64 | value length u32 | value   unless flag 1
//! ```
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::damaged;
use super::header::{Header, bytes_of, put_bytes, u8_of, u32_of, u64_of};
use crate::core::retained::{Replaced, Version};
use crate::core::value::{Event, EventKind, KeyValue};
use crate::error::Result;

const DELETES: u8 = 1;
const LIVE: u8 = 2;
const SAME_KEY: u8 = 4;

/// The least version: a delete of the key before it.
const LEAST_LEN: usize = 1 + 8;

/// Adds one version to a payload and returns its key's and value's length. `previous` is the key
/// of the version before it in the same frame.
pub(super) fn encode(out: &mut Vec<u8>, version: &Version<'_>, previous: Option<&Bytes>) -> u64 {
    let key = version.key();
    let same = previous == Some(key);
    let (flags, kv) = match version {
        Version::Live(kv) => (LIVE, Some(kv)),
        Version::Replaced(kv) => (0, Some(kv)),
        Version::Deleted { .. } => (DELETES, None),
    };
    out.put_u8(flags | if same { SAME_KEY } else { 0 });
    out.put_u64_le(version.revision());
    if !same {
        put_bytes(out, key);
    }
    if let Some(kv) = kv {
        out.put_u64_le(kv.create_revision);
        out.put_u64_le(kv.version);
        out.put_i64_le(kv.lease);
        put_bytes(out, &kv.value);
    }
    (key.len() + kv.map_or(0, |kv| kv.value.len())) as u64
}

/// The versions of one frame, each where it will go.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    pub(super) live: Vec<Arc<KeyValue>>,
    pub(super) history: Vec<Replaced>,
    /// What happened at each retained revision, by key.
    pub(super) events: Vec<(u64, Event)>,
    pub(super) first: Option<Edge>,
    pub(super) last: Option<Edge>,
    pub(super) count: u64,
    /// Keys and values.
    pub(super) bytes: u64,
}

/// A version beside which another frame's comes.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) key: Bytes,
    pub(super) revision: u64,
    /// Unless it is a delete.
    pub(super) kv: Option<Arc<KeyValue>>,
    pub(super) live: bool,
}

impl Edge {
    /// Checks that `next` may stand after this version, and returns what was before `next`.
    pub(super) fn check_next(&self, next: &Self) -> Result<Option<&Arc<KeyValue>>> {
        let same = self.key == next.key;
        let follows = if same { self.revision < next.revision } else { self.key < next.key };
        let complete = match (&self.kv, &next.kv) {
            // A version is live or was replaced by the one after it.
            (Some(_), Some(_)) => same != self.live,
            (Some(_), None) => same && !self.live,
            (None, Some(_)) => true,
            // A delete deletes something.
            (None, None) => false,
        };
        if !follows || !complete {
            return Err(damaged("versions that do not follow each other"));
        }
        Ok(self.kv.as_ref().filter(|_| same))
    }
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
    versions.events.reserve_exact(count);
    for _ in 0..count {
        versions.add(&mut input, header)?;
    }
    if input.is_empty() { Ok(versions) } else { Err(damaged("bytes after its versions")) }
}

impl Versions {
    fn add(&mut self, input: &mut &[u8], header: &Header) -> Result<()> {
        let version = decode_one(input, self.last.as_ref())?;
        let prev = match &self.last {
            Some(last) => last.check_next(&version)?.cloned(),
            None => None,
        };
        self.take_in(&version, prev, header)?;
        self.first.get_or_insert_with(|| version.clone());
        self.last = Some(version);
        Ok(())
    }

    fn take_in(&mut self, at: &Edge, prev: Option<Arc<KeyValue>>, header: &Header) -> Result<()> {
        let compacted = at.revision <= header.compact_revision;
        if at.revision > header.revision || (at.kv.is_none() && compacted) {
            return Err(damaged("a version of a revision that it does not hold"));
        }
        if at.revision >= header.first_logged() {
            let event = event(at, prev.filter(|_| !compacted));
            self.events.push((at.revision, event));
        }
        self.count += 1;
        self.bytes += (at.key.len() + at.kv.as_ref().map_or(0, |kv| kv.value.len())) as u64;
        match (&at.kv, at.live) {
            (Some(kv), true) => self.live.push(Arc::clone(kv)),
            (kv, _) => self.history.push(Replaced {
                key: at.key.clone(),
                revision: at.revision,
                kv: kv.clone(),
            }),
        }
        Ok(())
    }
}

fn event(at: &Edge, prev_kv: Option<Arc<KeyValue>>) -> Event {
    match &at.kv {
        Some(kv) => Event { kind: EventKind::Put, kv: Arc::clone(kv), prev_kv },
        None => Event { kind: EventKind::Delete, kv: tombstone(&at.key, at.revision), prev_kv },
    }
}

/// What a delete's event carries.
pub(super) fn tombstone(key: &Bytes, revision: u64) -> Arc<KeyValue> {
    let key = key.clone();
    Arc::new(KeyValue { key, mod_revision: revision, ..KeyValue::default() })
}

fn decode_one(input: &mut &[u8], before: Option<&Edge>) -> Result<Edge> {
    let flags = u8_of(input)?;
    let revision = u64_of(input)?;
    let key = match (flags & SAME_KEY != 0, before) {
        (false, _) => bytes_of(input)?,
        (true, Some(before)) => before.key.clone(),
        (true, None) => return Err(damaged("a version without a key")),
    };
    let live = match flags & !SAME_KEY {
        DELETES => return Ok(Edge { key, revision, kv: None, live: false }),
        LIVE => true,
        0 => false,
        _ => return Err(damaged("unknown flags")),
    };
    let kv = KeyValue {
        key: key.clone(),
        create_revision: u64_of(input)?,
        mod_revision: revision,
        version: u64_of(input)?,
        lease: u64_of(input)?.cast_signed(),
        value: bytes_of(input)?,
    };
    if kv.version == 0 || !(1..=revision).contains(&kv.create_revision) {
        return Err(damaged("an impossible version"));
    }
    Ok(Edge { key, revision, kv: Some(Arc::new(kv)), live })
}
