//! No key is written twice in one revision, and none is both written and deleted.
//!
//! As in etcd this is decided on the request alone, so that a transaction is refused whatever the
//! state. Two deletes may overlap. Of a nested transaction only one branch runs, so its branches
//! may change the same keys; against what stands beside it both count.
//!
//! It is stricter than etcd where etcd's check (`checkIntervals`, still so in 3.7) looks away: at
//! a delete without an end, and at a delete in a nested transaction that comes after a put of the
//! same key in another one beside it. So whatever is derived from a revision may rely on it to
//! write or delete a key once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Included, Unbounded};

use super::key_range::{End, KeyRange};
use super::request::{Op, Txn};
use crate::error::{Error, ErrorKind, Result};

/// Fails if a branch of `txn`, at any depth, could change a key twice.
pub(crate) fn check_overlap(txn: &Txn) -> Result<()> {
    Changes::of_branch(&txn.success)?;
    Changes::of_branch(&txn.failure).map(drop)
}

/// Every key that operations may change.
#[derive(Default)]
struct Changes<'a> {
    written: BTreeSet<&'a [u8]>,
    deleted: Spans<'a>,
}

impl<'a> Changes<'a> {
    fn of_branch(ops: &'a [Op]) -> Result<Self> {
        let mut all = Self::default();
        for op in ops {
            match op {
                Op::Range(_) => {}
                Op::Put(put) => all.write(&put.key)?,
                Op::Delete(delete) => all.delete(&delete.range)?,
                Op::Txn(nested) => all.stand_beside(Self::of_either(nested)?)?,
            }
        }
        Ok(all)
    }

    /// What a nested transaction may change; its branches are not held against each other.
    fn of_either(txn: &'a Txn) -> Result<Self> {
        let mut all = Self::of_branch(&txn.success)?;
        let mut other = Self::of_branch(&txn.failure)?;
        all.written.append(&mut other.written);
        all.deleted.extend(other.deleted);
        Ok(all)
    }

    fn write(&mut self, key: &'a [u8]) -> Result<()> {
        if self.deleted.contains(key) || !self.written.insert(key) {
            return Err(changed_twice(key));
        }
        Ok(())
    }

    fn delete(&mut self, range: &'a KeyRange) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.check_unwritten(range.start(), range.end())?;
        self.deleted.insert(range.start(), range.end());
        Ok(())
    }

    fn check_unwritten(&self, start: &[u8], end: &End) -> Result<()> {
        match self.written.range::<[u8], _>((Included(start), Unbounded)).next() {
            Some(key) if reaches(start, end, key) => Err(changed_twice(key)),
            _ => Ok(()),
        }
    }

    /// Takes in what a nested transaction changes. Its own writes and deletes may overlap, so all
    /// of it is compared before any of it is taken in.
    fn stand_beside(&mut self, nested: Self) -> Result<()> {
        let both = |key: &&&[u8]| self.deleted.contains(key) || self.written.contains(**key);
        if let Some(key) = nested.written.iter().find(both) {
            return Err(changed_twice(key));
        }
        for (start, end) in &nested.deleted.0 {
            self.check_unwritten(start, end)?;
        }
        self.written.extend(nested.written);
        self.deleted.extend(nested.deleted);
        Ok(())
    }
}

/// A set of keys as ranges that are not empty and do not overlap, by their start.
#[derive(Default)]
struct Spans<'a>(BTreeMap<&'a [u8], &'a End>);

impl<'a> Spans<'a> {
    fn contains(&self, key: &[u8]) -> bool {
        self.around(key).is_some()
    }

    fn around(&self, key: &[u8]) -> Option<(&'a [u8], &'a End)> {
        let (start, end) = self.0.range::<[u8], _>((Unbounded, Included(key))).next_back()?;
        reaches(start, end, key).then_some((*start, *end))
    }

    fn insert(&mut self, mut start: &'a [u8], mut end: &'a End) {
        if let Some((before, reached)) = self.around(start) {
            (start, end) = (before, further(end, reached));
        }
        while let Some((next, reached)) =
            self.0.range::<[u8], _>((Included(start), Unbounded)).next()
            && reaches(start, end, next)
        {
            let next = *next;
            end = further(end, reached);
            self.0.remove(next);
        }
        self.0.insert(start, end);
    }

    fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|(start, end)| self.insert(start, end));
    }
}

/// Whether the range from `start` to `end` goes as far as `key`, which is not below `start`.
fn reaches(start: &[u8], end: &End, key: &[u8]) -> bool {
    match end {
        End::Single => start == key,
        End::Before(end) => key < &end[..],
        End::Open => true,
    }
}

/// The further end of two ranges that overlap; one that is a single key then lies in the other.
fn further<'a>(a: &'a End, b: &'a End) -> &'a End {
    match (a, b) {
        (End::Open, _) | (_, End::Single) => a,
        (_, End::Open) | (End::Single, _) => b,
        (End::Before(x), End::Before(y)) => {
            if x > y {
                a
            } else {
                b
            }
        }
    }
}

fn changed_twice(key: &[u8]) -> Error {
    let key = key.escape_ascii();
    Error::new(ErrorKind::Invalid, format!("the transaction changes key \"{key}\" twice"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range() -> impl Strategy<Value = KeyRange> {
        let key = || prop::collection::vec(0..3u8, 0..3);
        prop_oneof![
            key().prop_map(KeyRange::key),
            key().prop_map(KeyRange::prefix),
            (key(), key()).prop_map(|(start, end)| KeyRange::range(start, end)),
            key().prop_map(KeyRange::from),
        ]
    }

    proptest! {
        #[test]
        fn spans_hold_what_any_of_their_ranges_holds(
            ranges in prop::collection::vec(range(), 0..8),
            key in prop::collection::vec(0..4u8, 0..4),
        ) {
            let mut spans = Spans::default();
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                spans.insert(range.start(), range.end());
            }
            let held = ranges.iter().any(|range| range.contains(&key));
            prop_assert_eq!(spans.contains(&key), held);
            let ends: Vec<_> = spans.0.iter().map(|(start, end)| {
                KeyRange::from_parts(start.to_vec().into(), (*end).clone())
            }).collect();
            prop_assert!(ends.windows(2).all(|two| !two[0].contains(two[1].start())));
        }
    }
}
