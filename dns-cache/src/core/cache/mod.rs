//! The answer cache: wire form in, wire form out.
//!
//! A [`Key`] says which questions share an answer, an [`Answer`] is a response made fit to keep,
//! and a [`Cache`] holds answers within a bound of bytes.

mod answer;
mod key;
mod shard;

pub(crate) use answer::{Answer, Reply, TtlLimits};
pub(crate) use key::{Key, KeyRef};

use std::hash::BuildHasher;
use std::time::Duration;

use parking_lot::Mutex;

use self::shard::Shard;
use crate::core::hash::KeyedHash;

/// A sharded table of answers, bounded in bytes.
pub(crate) struct Cache {
    hash: KeyedHash,
    shards: Box<[Mutex<Shard>]>,
}

/// What the cache has done and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) insertions: u64,
    pub(crate) evictions: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Cache {
    /// A cache of at most `bytes` in all, in so many shards. The seed keys its hash.
    pub(crate) fn new(bytes: usize, shards: usize, seed: u128) -> Self {
        let each = bytes / shards.max(1);
        let shards = (0..shards.max(1)).map(|_| Mutex::new(Shard::new(each))).collect();
        Self { hash: KeyedHash::new(seed), shards }
    }

    /// Writes the answer for `key` into `out`, if there is one that is still good at `now`. It
    /// does not allocate when `out` has room.
    pub(crate) fn answer(
        &self,
        key: KeyRef<'_>,
        now: Duration,
        reply: &Reply<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        self.with_shard(key, |shard, hash| {
            let found = shard.get(key, hash, millis(now));
            found.map(|(stored, age_secs)| stored.write(age_secs, reply, out)).is_some()
        })
    }

    /// A copy of the answer for `key`, aged to `now`.
    pub(crate) fn get(&self, key: KeyRef<'_>, now: Duration) -> Option<Answer> {
        self.with_shard(key, |shard, hash| {
            let (stored, age_secs) = shard.get(key, hash, millis(now))?;
            Some(stored.aged(age_secs))
        })
    }

    /// Like [`get`](Self::get), but neither counted nor a reason to keep the entry.
    pub(crate) fn peek(&self, key: KeyRef<'_>, now: Duration) -> Option<Answer> {
        self.with_shard(key, |shard, hash| {
            let (stored, age_secs) = shard.peek(key, hash, millis(now))?;
            Some(stored.aged(age_secs))
        })
    }

    /// Keeps `answer` from `now` for as long as it allows. A failure does not replace a good
    /// answer that is still alive.
    pub(crate) fn insert(&self, key: KeyRef<'_>, answer: &Answer, now: Duration) {
        let Some(life) = answer.life() else { return };
        let now = millis(now);
        let expires = now.saturating_add(millis(life));
        self.with_shard(key, |shard, hash| shard.insert(key, hash, answer, now, expires));
    }

    /// The sums over all shards.
    pub(crate) fn totals(&self) -> Totals {
        self.shards.iter().fold(Totals::default(), |sum, shard| {
            let one = shard.lock().totals();
            Totals {
                hits: sum.hits + one.hits,
                misses: sum.misses + one.misses,
                insertions: sum.insertions + one.insertions,
                evictions: sum.evictions + one.evictions,
                entries: sum.entries + one.entries,
                bytes: sum.bytes + one.bytes,
            }
        })
    }

    #[allow(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of the hash choose a shard")]
    fn with_shard<T>(&self, key: KeyRef<'_>, run: impl FnOnce(&mut Shard, u64) -> T) -> T {
        let hash = self.hash.hash_one(key);
        // The table inside a shard uses the low and the highest bits.
        let shard = (hash >> 20) as u32 as usize % self.shards.len();
        run(&mut self.shards[shard].lock(), hash)
    }
}

fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into())
}

#[cfg(test)]
mod tests;
