//! One shard: a table of answers with SIEVE eviction (Zhang et al., NSDI 2024).
//!
//! Entries stand in the order of their arrival. A hit only marks its entry. When room is needed a
//! hand walks from the oldest to the newest, spares marked entries once and takes the first
//! unmarked one, so that a scan of names asked once passes through without pushing out the rest.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::Totals;
use super::answer::{Answer, Stored};
use super::key::KeyRef;
use crate::core::wire::Header;

/// No entry.
const NONE: u32 = u32::MAX;

/// What an entry costs besides its bytes: its slot, and its line and control byte in the index.
pub(super) const ENTRY_BYTES: usize = size_of::<Slot>() + size_of::<(u64, u32)>() + 1;

pub(super) struct Shard {
    /// From the keyed hash to the slot. A collision of all 64 bits replaces the older entry.
    index: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    slots: Vec<Slot>,
    /// The first unused slot; unused slots are chained through `older`.
    free: u32,
    newest: u32,
    oldest: u32,
    hand: u32,
    capacity: usize,
    bytes: usize,
    totals: Totals,
}

struct Slot {
    hash: u64,
    stored_at: u64,
    expires: u64,
    stored: Box<[u8]>,
    older: u32,
    newer: u32,
    wire_len: u16,
    bits: u8,
    failure: bool,
    visited: bool,
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            index: HashMap::default(),
            slots: Vec::new(),
            free: NONE,
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            capacity,
            bytes: 0,
            totals: Totals::default(),
        }
    }

    /// The answer for `key` and its age in whole seconds.
    pub(super) fn get(
        &mut self,
        key: KeyRef<'_>,
        hash: u64,
        now: u64,
    ) -> Option<(Stored<'_>, u32)> {
        let Some(at) = self.live(key, hash, now) else {
            self.totals.misses += 1;
            return None;
        };
        self.totals.hits += 1;
        self.slot_mut(at)?.visited = true;
        self.slot(at).map(|slot| slot.aged(now))
    }

    /// Like [`get`](Self::get), leaving no trace.
    pub(super) fn peek(
        &mut self,
        key: KeyRef<'_>,
        hash: u64,
        now: u64,
    ) -> Option<(Stored<'_>, u32)> {
        let at = self.live(key, hash, now)?;
        self.slot(at).map(|slot| slot.aged(now))
    }

    fn live(&mut self, key: KeyRef<'_>, hash: u64, now: u64) -> Option<u32> {
        let at = *self.index.get(&hash)?;
        let slot = self.slot(at)?;
        if slot.expires <= now {
            self.remove(at);
            return None;
        }
        slot.answers(key).then_some(at)
    }

    /// Keeps `answer` until `expires`, making room for it.
    pub(super) fn insert(
        &mut self,
        key: KeyRef<'_>,
        hash: u64,
        answer: &Answer,
        now: u64,
        expires: u64,
    ) {
        let cost = answer.stored.len() + ENTRY_BYTES;
        let held = self.live(key, hash, now);
        let good = held.and_then(|at| self.slot(at)).is_some_and(|slot| !slot.failure);
        if cost > self.capacity || (good && answer.is_failure()) {
            return;
        }
        if let Some(&at) = self.index.get(&hash) {
            self.remove(at);
        }
        while self.bytes + cost > self.capacity && self.evict(now) {}
        let slot = Slot::new(key, hash, answer, now, expires);
        if self.push(slot) {
            self.bytes += cost;
            self.totals.insertions += 1;
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { entries: self.index.len() as u64, bytes: self.bytes as u64, ..self.totals }
    }

    /// Puts a slot at the newest end; false when four billion are in use.
    fn push(&mut self, mut slot: Slot) -> bool {
        (slot.older, slot.newer) = (self.newest, NONE);
        let hash = slot.hash;
        let at = self.free;
        let at = if let Some(unused) = self.slot_mut(at) {
            let next = unused.older;
            *unused = slot;
            self.free = next;
            at
        } else {
            let Some(at) = u32::try_from(self.slots.len()).ok().filter(|at| *at != NONE) else {
                return false;
            };
            self.slots.push(slot);
            at
        };
        let newest = self.newest;
        match self.slot_mut(newest) {
            Some(newest) => newest.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        self.index.insert(hash, at);
        true
    }

    /// Takes the first entry under the hand that is not marked, or that has expired.
    fn evict(&mut self, now: u64) -> bool {
        loop {
            let at = if self.hand == NONE { self.oldest } else { self.hand };
            let Some(slot) = self.slot_mut(at) else { return false };
            let newer = slot.newer;
            if slot.visited && slot.expires > now {
                slot.visited = false;
                self.hand = newer;
                continue;
            }
            self.remove(at);
            self.totals.evictions += 1;
            return true;
        }
    }

    /// Unlinks an entry and frees its bytes.
    fn remove(&mut self, at: u32) {
        let free = self.free;
        let Some(slot) = self.slot_mut(at) else { return };
        let (hash, older, newer) = (slot.hash, slot.older, slot.newer);
        let cost = slot.stored.len() + ENTRY_BYTES;
        slot.stored = Box::default();
        slot.older = free;
        self.free = at;
        self.bytes -= cost;
        self.index.remove(&hash);
        match self.slot_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.slot_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        if self.hand == at {
            self.hand = newer;
        }
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)
    }

    /// The bytes in use, counted anew from the entries.
    #[cfg(test)]
    pub(super) fn recount(&self) -> usize {
        let (mut at, mut sum) = (self.newest, 0);
        while let Some(slot) = self.slot(at) {
            sum += slot.stored.len() + ENTRY_BYTES;
            at = slot.older;
        }
        sum
    }
}

impl Slot {
    fn new(key: KeyRef<'_>, hash: u64, answer: &Answer, stored_at: u64, expires: u64) -> Self {
        Self {
            hash,
            stored_at,
            expires,
            stored: answer.stored.clone(),
            older: NONE,
            newer: NONE,
            wire_len: answer.wire_len,
            bits: key.bits,
            failure: answer.is_failure(),
            visited: false,
        }
    }

    fn aged(&self, now: u64) -> (Stored<'_>, u32) {
        let age_secs = now.saturating_sub(self.stored_at) / 1000;
        let stored = Stored { bytes: &self.stored, wire_len: self.wire_len };
        (stored, u32::try_from(age_secs).unwrap_or(u32::MAX))
    }

    /// Whether the kept question is that of `key`, byte for byte.
    fn answers(&self, key: KeyRef<'_>) -> bool {
        let question = self.stored.get(Header::BYTES..).unwrap_or_default();
        self.bits == key.bits
            && question
                .strip_prefix(key.name)
                .is_some_and(|rest| rest.first_chunk() == Some(&key.rtype.0.to_be_bytes()))
    }
}

/// The index is keyed by a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
