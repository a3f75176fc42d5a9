//! Who wants to hear of a key: an index over very many predicates.
//!
//! Most are one key, and are found by its hash; the others are ranges, and are found in a tree by
//! where they begin and how far they reach ([`Ranges`]). Nothing here depends on how many predicates
//! do not match. The hash is keyed and the tree's shape is drawn from the same keys, so whoever
//! chooses the keys cannot choose the cost.

mod ranges;
mod span;

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use slab::Slab;

use ranges::Ranges;
pub(crate) use span::Span;

/// Something that is interested in a [`Span`], which never changes.
pub(crate) trait Ranged {
    fn span(&self) -> &Span;
}

/// Entries by the keys that they are interested in. Several may have the same span.
pub(crate) struct Interest<T> {
    entries: Slab<T>,
    /// The entries of single keys, by the hash of the key.
    keys: HashTable<usize>,
    /// The other entries, by the hash of the whole span: to find the one that is there already.
    spans: HashTable<usize>,
    /// The other entries again, by what they contain.
    ranges: Ranges,
    hasher: RandomState,
}

impl<T: Ranged> Interest<T> {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self {
            entries: Slab::new(),
            keys: HashTable::new(),
            spans: HashTable::new(),
            ranges: Ranges::default(),
            hasher,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Adds an entry and returns the number under which it is removed.
    pub(crate) fn insert(&mut self, entry: T) -> usize {
        let hash = hash_of(&self.hasher, entry.span());
        let bounds = entry.span().bounds();
        let id = self.entries.vacant_key();
        let Self { entries, keys, spans, ranges, hasher } = self;
        let rehash = |id: &usize| entries.get(*id).map_or(0, |entry| hash_of(hasher, entry.span()));
        match bounds {
            None => {
                keys.insert_unique(hash, id, rehash);
            }
            Some((start, end)) => {
                spans.insert_unique(hash, id, rehash);
                ranges.insert(start, end, id, hasher.hash_one(id));
            }
        }
        self.entries.insert(entry)
    }

    pub(crate) fn remove(&mut self, id: usize) -> Option<T> {
        let span = self.entries.get(id)?.span();
        let hash = hash_of(&self.hasher, span);
        let table = match span.bounds() {
            None => &mut self.keys,
            Some((start, _)) => {
                self.ranges.remove(start, id);
                &mut self.spans
            }
        };
        if let Ok(found) = table.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        let entry = self.entries.try_remove(id);
        // A burst of entries that has gone does not keep its memory.
        if self.entries.is_empty() {
            *self = Self::new(self.hasher.clone());
        }
        entry
    }

    /// The entries whose span is exactly this one, with their numbers.
    pub(crate) fn same(&self, span: &Span) -> impl Iterator<Item = (usize, &T)> {
        let table = if span.bounds().is_none() { &self.keys } else { &self.spans };
        let ids = table.iter_hash(hash_of(&self.hasher, span));
        let entries = ids.filter_map(|id| Some((*id, self.entries.get(*id)?)));
        entries.filter(move |(_, entry)| entry.span() == span)
    }

    /// Gives every entry that is interested in `key`, with its number, in any order.
    pub(crate) fn matching<'a>(&'a self, key: &[u8], mut found: impl FnMut(usize, &'a T)) {
        for id in self.keys.iter_hash(self.hasher.hash_one(key)) {
            if let Some(entry) = self.entries.get(*id).filter(|entry| entry.span().contains(key)) {
                found(*id, entry);
            }
        }
        self.ranges.containing(key, &mut |id| {
            if let Some(entry) = self.entries.get(id) {
                found(id, entry);
            }
        });
    }
}

/// A single key hashes as itself, so that an event's key finds it.
fn hash_of(hasher: &RandomState, span: &Span) -> u64 {
    match span.bounds() {
        None => hasher.hash_one(span.start()),
        Some(bounds) => hasher.hash_one(bounds),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::KeyRange;

    #[derive(Debug, Clone, PartialEq)]
    struct Entry(Span, u32);

    impl Ranged for Entry {
        fn span(&self) -> &Span {
            &self.0
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(KeyRange),
        Remove(usize),
    }

    /// Short keys over few letters, so that ranges overlap, nest, touch, repeat and are empty.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&[0, 1, b'a', b'b', 0xff][..]), 0..4)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            3 => key().prop_map(KeyRange::key),
            2 => key().prop_map(KeyRange::prefix),
            2 => (key(), key()).prop_map(|(start, end)| KeyRange::range(start, end)),
            1 => key().prop_map(KeyRange::from),
            1 => Just(KeyRange::all()),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => range().prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Remove),
        ]
    }

    fn agree(interest: &Interest<Entry>, naive: &[(usize, KeyRange, u32)], key: &[u8]) {
        let mut found = Vec::new();
        interest.matching(key, |id, entry| found.push((id, entry.1)));
        found.sort_unstable();
        let wanting = naive.iter().filter(|(_, range, _)| range.contains(key));
        let mut expected: Vec<_> = wanting.map(|(id, _, tag)| (*id, *tag)).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{key:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn the_index_finds_what_a_list_finds(
            steps in prop::collection::vec(step(), 1..80),
            asked in prop::collection::vec(key(), 1..20),
        ) {
            let mut interest = Interest::new(RandomState::new());
            let mut naive: Vec<(usize, KeyRange, u32)> = Vec::new();
            for (tag, step) in (0..).zip(steps) {
                match step {
                    Step::Insert(range) => {
                        let id = interest.insert(Entry(Span::from(&range), tag));
                        naive.push((id, range, tag));
                    }
                    Step::Remove(at) if !naive.is_empty() => {
                        let (id, range, tag) = naive.swap_remove(at % naive.len());
                        let removed = interest.remove(id).unwrap();
                        assert_eq!(removed, Entry(Span::from(&range), tag));
                        assert_eq!(interest.remove(id), None);
                    }
                    Step::Remove(_) => {}
                }
                interest.ranges.check();
            }
            assert_eq!(interest.is_empty(), naive.is_empty());
            assert_eq!(interest.iter().count(), naive.len());
            for key in asked {
                agree(&interest, &naive, &key);
            }
            for (id, range, tag) in &naive {
                agree(&interest, &naive, range.start());
                let span = Span::from(range);
                let mut same = interest.same(&span);
                assert!(same.any(|(found, entry)| found == *id && entry.1 == *tag));
            }
        }
    }

    #[test]
    fn nested_ranges_cost_what_matches() {
        let mut interest = Interest::new(RandomState::new());
        for number in 0..20_000 {
            let key = format!("pods/{number:05}");
            interest.insert(Entry(Span::from(&KeyRange::prefix(key)), number));
        }
        interest.insert(Entry(Span::from(&KeyRange::prefix("pods/")), 20_000));
        let mut found = Vec::new();
        interest.matching(b"pods/12345/status", |_, entry| found.push(entry.1));
        found.sort_unstable();
        assert_eq!(found, [12_345, 20_000]);
        // A list would take 20,001 steps; a balanced tree some tens for a match.
        assert!(interest.ranges.visits(b"pods/12345/status") < 400);
    }
}
