//! The keys that somebody may read or write.

use bytes::Bytes;

use crate::core::{End, KeyRange};

/// A set of keys, as ranges that neither overlap nor touch, in order: whether it has all keys of a
/// range is one search.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Stretch>);

/// The keys from `start` on and before `end`, or all of them.
#[derive(Debug, Clone)]
struct Stretch {
    start: Bytes,
    end: Option<Bytes>,
}

impl KeySet {
    /// Whether every key of `range` is in it. One that has no keys counts as its start.
    pub(super) fn covers(&self, range: &KeyRange) -> bool {
        let wanted = Stretch::of(range);
        let after = self.0.partition_point(|stretch| stretch.start <= wanted.start);
        let Some(stretch) = after.checked_sub(1).and_then(|at| self.0.get(at)) else {
            return false;
        };
        match (&stretch.end, &wanted.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(wanted_end)) => wanted_end <= end && wanted.start < *end,
        }
    }
}

impl FromIterator<KeyRange> for KeySet {
    fn from_iter<I: IntoIterator<Item = KeyRange>>(ranges: I) -> Self {
        let mut stretches: Vec<_> = ranges.into_iter().map(|range| Stretch::of(&range)).collect();
        stretches.retain(|stretch| stretch.end.as_ref().is_none_or(|end| stretch.start < *end));
        stretches.sort_by(|a, b| a.start.cmp(&b.start));
        let mut merged: Vec<Stretch> = Vec::new();
        for stretch in stretches {
            match merged.last_mut() {
                Some(last) if last.reaches(&stretch.start) => last.extend(stretch.end),
                _ => merged.push(stretch),
            }
        }
        Self(merged)
    }
}

impl Stretch {
    fn of(range: &KeyRange) -> Self {
        let start = range.start().clone();
        let end = match range.end() {
            End::Single => Some([&start[..], b"\0"].concat().into()),
            End::Before(end) => Some(end.clone()),
            End::Open => None,
        };
        Self { start, end }
    }

    fn reaches(&self, key: &Bytes) -> bool {
        self.end.as_ref().is_none_or(|end| key <= end)
    }

    fn extend(&mut self, end: Option<Bytes>) {
        self.end = match (self.end.take(), end) {
            (Some(own), Some(other)) => Some(own.max(other)),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys of one letter, and ranges that end before one, at one, or nowhere.
    fn range() -> impl Strategy<Value = KeyRange> {
        let key = || (b'a'..=b'h').prop_map(|key| Bytes::copy_from_slice(&[key]));
        prop_oneof![
            key().prop_map(KeyRange::key),
            (key(), key()).prop_map(|(start, end)| KeyRange::range(start, end)),
            key().prop_map(KeyRange::from),
        ]
    }

    /// Every key that these ranges tell apart.
    fn keys() -> impl Iterator<Item = Vec<u8>> {
        (b'a'..=b'i').flat_map(|key| [vec![key], vec![key, 0], vec![key, b'x']])
    }

    proptest! {
        #[test]
        fn a_set_covers_what_its_ranges_hold_together(
            granted in prop::collection::vec(range(), 0..6),
            asked in range(),
        ) {
            let set: KeySet = granted.iter().cloned().collect();
            let held = |key: &[u8]| granted.iter().any(|range| range.contains(key));
            let expected = keys().filter(|key| asked.contains(key)).all(|key| held(&key));
            if !asked.is_empty() {
                prop_assert_eq!(set.covers(&asked), expected);
            }
        }
    }
}
