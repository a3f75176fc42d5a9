//! etcd's hash of everything retained up to a revision, bit for bit.
//!
//! It is the CRC-32C of the name of etcd's bucket and, for each version in order of revision and
//! sub-revision, of what etcd has stored (server/storage/mvcc/hash.go):
//!
//! ```text
//! key:    revision u64 | '_' | sub-revision u64, both big-endian | 't' if it is a delete
//! value:  mvccpb.KeyValue; of a delete with the key alone
//! ```
//!
//! Of what a compaction has passed, the newest version of each key at the hashed revision counts,
//! unless it is a delete. If no key exists at that revision, etcd takes every version that the
//! compaction has left; and so does this.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::vec::IntoIter;

use bytes::{BufMut, Bytes};

use super::mvcc::State;
use super::past::at_revision;
use super::value::KeyValue;
use crate::error::Result;

const BUCKET: &[u8] = b"key";

/// A hash of everything that is retained up to a revision: equal to etcd's `HashKV` of a store that
/// the same was written to and that was compacted to the same revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KvHash {
    /// The CRC-32C.
    pub hash: u32,
    /// Up to which revision it was taken.
    pub hash_revision: u64,
    /// The oldest revision that could be read then; 0 if nothing was ever compacted.
    pub compact_revision: u64,
    /// The newest revision then.
    pub revision: u64,
}

/// What one step looks at, so that other tasks get a turn.
const STEP_VERSIONS: usize = 512;
const STEP_BYTES: usize = 1 << 20;

/// Takes the hash of one state in small steps. It holds a pointer for each key that was not
/// written since the compaction.
pub(crate) struct KvHasher {
    state: Arc<State>,
    revision: u64,
    crc: u32,
    buffer: Vec<u8>,
    phase: Phase,
}

enum Phase {
    Compacted(Gather),
    Merge(Merge),
    /// From this revision on, after so many of its changes.
    Log(u64, usize),
}

impl KvHasher {
    /// At `revision`; 0 for the newest.
    pub(crate) fn new(state: Arc<State>, revision: u64) -> Result<Self> {
        let revision = if revision == 0 { state.revision() } else { revision };
        state.check_readable(revision)?;
        let phase = match state.compact_revision() {
            0 => Phase::Log(0, 0),
            _ => Phase::Compacted(Gather::at(revision)),
        };
        let crc = crc32c::crc32c(BUCKET);
        Ok(Self { state, revision, crc, buffer: Vec::new(), phase })
    }

    /// Goes on for a little, and returns the hash at the end.
    pub(crate) fn step(&mut self) -> Option<KvHash> {
        let compact_revision = self.state.compact_revision();
        match &mut self.phase {
            Phase::Compacted(gather) => {
                if !gather.step(&self.state) {
                    return None;
                }
                self.phase = if gather.exists || gather.revision == compact_revision {
                    Phase::Merge(Merge::of(std::mem::take(&mut gather.runs)))
                } else {
                    Phase::Compacted(Gather::at(compact_revision))
                };
            }
            Phase::Merge(merge) => {
                let mut bytes = 0;
                for _ in 0..STEP_VERSIONS {
                    let Some(kv) = merge.next() else {
                        self.phase = Phase::Log(compact_revision + 1, 0);
                        break;
                    };
                    bytes += feed(&mut self.crc, &mut self.buffer, &kv);
                    if bytes >= STEP_BYTES {
                        break;
                    }
                }
            }
            &mut Phase::Log(revision, change) => return self.log(revision, change),
        }
        None
    }

    fn log(&mut self, revision: u64, mut from: usize) -> Option<KvHash> {
        let (mut versions, mut bytes) = (0, 0);
        let state = Arc::clone(&self.state);
        for logged in state.log(revision).take_while(|logged| logged.revision <= self.revision) {
            for (at, change) in logged.changes.iter().enumerate().skip(from) {
                if versions >= STEP_VERSIONS || bytes >= STEP_BYTES {
                    self.phase = Phase::Log(logged.revision, at);
                    return None;
                }
                bytes += feed(&mut self.crc, &mut self.buffer, change);
                versions += 1;
            }
            from = 0;
        }
        Some(KvHash {
            hash: self.crc,
            hash_revision: self.revision,
            compact_revision: state.compact_revision(),
            revision: state.revision(),
        })
    }

    /// The hash, at once.
    pub(crate) fn finish(mut self) -> KvHash {
        loop {
            if let Some(hash) = self.step() {
                return hash;
            }
        }
    }
}

/// Collects the versions that the compaction has passed and that are the newest of their keys at a
/// revision, in runs that are sorted by revision.
struct Gather {
    revision: u64,
    after: Option<Bytes>,
    runs: Vec<Vec<KeyValue>>,
    /// Whether any key exists at that revision.
    exists: bool,
}

impl Gather {
    fn at(revision: u64) -> Self {
        Self { revision, after: None, runs: Vec::new(), exists: false }
    }

    /// Goes on for a little, and says whether it came to the end.
    fn step(&mut self, state: &State) -> bool {
        let mut run = Vec::new();
        let mut newest = state.newest_after(self.after.as_deref());
        let mut last = None;
        for newest in newest.by_ref().take(STEP_VERSIONS) {
            last = Some(newest);
            let Some(kv) = at_revision(newest, self.revision).filter(|kv| !kv.is_delete()) else {
                continue;
            };
            self.exists = true;
            if kv.mod_revision() <= state.compact_revision() {
                run.push(kv);
            }
        }
        run.sort_unstable_by_key(place);
        self.runs.push(run);
        self.after = last.map(|kv| Bytes::copy_from_slice(kv.key()));
        newest.next().is_none()
    }
}

/// The order of etcd's storage.
fn place(kv: &KeyValue) -> (u64, u32) {
    (kv.mod_revision(), kv.sub_revision())
}

/// Sorted runs as one.
struct Merge {
    runs: Vec<IntoIter<KeyValue>>,
    /// The next version of each run, by its place.
    heads: BinaryHeap<Reverse<((u64, u32), usize)>>,
}

impl Merge {
    fn of(runs: Vec<Vec<KeyValue>>) -> Self {
        let runs: Vec<_> = runs.into_iter().map(Vec::into_iter).collect();
        let first = |(at, run): (usize, &IntoIter<KeyValue>)| {
            Some(Reverse((run.as_slice().first().map(place)?, at)))
        };
        let heads = runs.iter().enumerate().filter_map(first).collect();
        Self { runs, heads }
    }
}

impl Iterator for Merge {
    type Item = KeyValue;

    fn next(&mut self) -> Option<KeyValue> {
        let Reverse((_, at)) = self.heads.pop()?;
        let run = self.runs.get_mut(at)?;
        let kv = run.next();
        self.heads.extend(run.as_slice().first().map(|next| Reverse((place(next), at))));
        kv
    }
}

/// Adds one version to the checksum, and returns how many bytes it had.
fn feed(crc: &mut u32, buffer: &mut Vec<u8>, kv: &KeyValue) -> usize {
    buffer.clear();
    buffer.put_u64(kv.mod_revision());
    buffer.put_u8(b'_');
    buffer.put_u64(kv.sub_revision().into());
    let meta = kv.meta();
    if kv.is_delete() {
        buffer.put_u8(b't');
        put_field(buffer, 1, kv.key());
        *crc = crc32c::crc32c_append(*crc, buffer);
        return buffer.len();
    }
    put_field(buffer, 1, kv.key());
    put_number(buffer, 2, meta.create_revision);
    put_number(buffer, 3, meta.mod_revision);
    put_number(buffer, 4, meta.version);
    if !kv.value().is_empty() {
        put_length(buffer, 5, kv.value().len());
    }
    *crc = crc32c::crc32c_append(*crc, buffer);
    *crc = crc32c::crc32c_append(*crc, kv.value());
    let len = buffer.len() + kv.value().len();
    buffer.clear();
    put_number(buffer, 6, meta.lease.cast_unsigned());
    *crc = crc32c::crc32c_append(*crc, buffer);
    len
}

/// A field of bytes, as Protocol Buffers have it. What is empty or 0 is left out.
fn put_field(buffer: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_length(buffer, tag, bytes.len());
        buffer.put_slice(bytes);
    }
}

fn put_length(buffer: &mut Vec<u8>, tag: u8, len: usize) {
    buffer.put_u8((tag << 3) | 2);
    put_varint(buffer, len as u64);
}

fn put_number(buffer: &mut Vec<u8>, tag: u8, number: u64) {
    if number != 0 {
        buffer.put_u8(tag << 3);
        put_varint(buffer, number);
    }
}

fn put_varint(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.put_u8(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    buffer.put_u8(number.to_le_bytes()[0]);
}
