//! Reads of the past.

use std::cmp::Ordering;
use std::iter::Peekable;

use super::entry::Keys;
use super::key_range::KeyRange;
use super::mvcc::State;
use super::past::{at_revision, chain};
use super::value::KeyValue;

impl State {
    /// The keys of `range` at `revision`, which the caller has found readable, in key order. Costs
    /// the keys that exist now or were deleted since.
    pub(crate) fn iter_at<'a>(
        &'a self,
        range: &KeyRange,
        revision: u64,
    ) -> impl Iterator<Item = KeyValue> + use<'a> {
        let newest = (!range.is_empty()).then(|| {
            let of = |keys: &'a Keys| {
                keys.range::<[u8], _>(range.bounds()).map(|(newest, ())| &newest.0)
            };
            Merged { live: of(&self.live).peekable(), deleted: of(&self.deleted).peekable() }
        });
        let newest = newest.into_iter().flatten();
        newest.filter_map(move |newest| at_revision(newest, revision)).filter(|kv| !kv.is_delete())
    }

    /// The versions of one key, from its newest on, that some readable revision sees. Others are
    /// there only because the sweep has not come to them.
    pub(crate) fn readable(&self, newest: &KeyValue) -> impl Iterator<Item = KeyValue> + use<> {
        let compact_revision = self.compact_revision();
        let mut seen_at_compaction = false;
        let seen = move |kv: &KeyValue| {
            let wanted = !seen_at_compaction;
            seen_at_compaction |= kv.mod_revision() <= compact_revision;
            wanted && !(seen_at_compaction && kv.is_delete())
        };
        chain(newest.clone()).take_while(seen)
    }

    /// The newest version of every key after `after`, or its delete, in key order.
    pub(crate) fn newest_after<'a>(
        &'a self,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a KeyValue> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let of = |keys: &'a Keys| {
            let from = after.map_or(Unbounded, Excluded);
            keys.range::<[u8], _>((from, Unbounded)).map(|(newest, ())| &newest.0).peekable()
        };
        Merged { live: of(&self.live), deleted: of(&self.deleted) }
    }
}

#[cfg(feature = "ledger")]
impl State {
    /// The revision of the last put or delete of `key` at or below `revision`; `None` if there was
    /// none or it was compacted.
    pub(crate) fn last_change(&self, key: &[u8], revision: u64) -> Option<u64> {
        let of = |keys: &Keys| keys.get_key_value(key).map(|(newest, ())| newest.0.clone());
        let newest = of(&self.live).or_else(|| of(&self.deleted))?;
        // A delete that a compaction has passed is there only for the link to it.
        let hidden = |kv: &KeyValue| kv.is_delete() && kv.mod_revision() <= self.compact_revision();
        at_revision(&newest, revision).filter(|kv| !hidden(kv)).map(|kv| kv.mod_revision())
    }
}

/// Two sequences in key order, which have no key in common, as one.
struct Merged<L: Iterator, D: Iterator> {
    live: Peekable<L>,
    deleted: Peekable<D>,
}

impl<'a, L, D> Iterator for Merged<L, D>
where
    L: Iterator<Item = &'a KeyValue>,
    D: Iterator<Item = &'a KeyValue>,
{
    type Item = &'a KeyValue;

    fn next(&mut self) -> Option<Self::Item> {
        let side = match (self.live.peek(), self.deleted.peek()) {
            (Some(live), Some(deleted)) => live.key().cmp(deleted.key()),
            (_, None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        if side.is_le() { self.live.next() } else { self.deleted.next() }
    }
}
