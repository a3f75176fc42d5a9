//! The tree against `BTreeMap`, with tiny nodes and the invariants checked after each step.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use crate::check::check;
use crate::{Summary, Tree};

/// The strongest summary there is: the entries themselves, in order. It is not commutative.
#[derive(Clone, Debug, PartialEq)]
struct Listed(Vec<(u8, u16)>);

impl Summary<u8, u16> for Listed {
    fn empty() -> Self {
        Self(Vec::new())
    }

    fn of(key: &u8, value: &u16) -> Self {
        Self(vec![(*key, *value)])
    }

    fn combine(&mut self, right: &Self) {
        self.0.extend(&right.0);
    }
}

type Listing = Tree<u8, u16, Listed>;
type Map = BTreeMap<u8, u16>;

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, u16),
    Remove(u8),
    RemoveEntry(u8),
    Update(u8, u16),
    Snapshot,
    /// Goes back to a snapshot, so that later writes fork from it.
    Restore(prop::sample::Index),
    /// Replaces the tree by one built in bulk from its entries.
    Rebuild,
    /// Removes every key in a range, which empties whole nodes.
    RemoveRange(u8, u8),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        120 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Op::Insert(key, value)),
        30 => any::<u8>().prop_map(Op::Remove),
        5 => any::<u8>().prop_map(Op::RemoveEntry),
        20 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Op::Update(key, value)),
        6 => Just(Op::Snapshot),
        3 => any::<prop::sample::Index>().prop_map(Op::Restore),
        1 => Just(Op::Rebuild),
        2 => (any::<u8>(), 0..60_u8).prop_map(|(from, n)| Op::RemoveRange(from, from.saturating_add(n))),
        1 => Just(Op::Clear),
    ]
}

#[derive(Default)]
struct Run {
    tree: Listing,
    map: Map,
    snapshots: Vec<(Listing, Map)>,
}

impl Run {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Insert(key, value) => {
                assert_eq!(self.tree.insert(key, value), self.map.insert(key, value));
            }
            Op::Remove(key) => assert_eq!(self.tree.remove(&key), self.map.remove(&key)),
            Op::RemoveEntry(key) => {
                assert_eq!(self.tree.remove_entry(&key), self.map.remove_entry(&key));
            }
            Op::Update(key, value) => {
                let old = self.tree.update(&key, |old| std::mem::replace(old, value));
                assert_eq!(old, self.map.get_mut(&key).map(|old| std::mem::replace(old, value)));
            }
            Op::Snapshot => self.snapshots.push((self.tree.clone(), self.map.clone())),
            Op::Restore(index) => {
                if !self.snapshots.is_empty() {
                    (self.tree, self.map) = index.get(&self.snapshots).clone();
                }
            }
            Op::Rebuild => self.tree = Tree::from_sorted(self.map.clone()),
            Op::RemoveRange(from, to) => {
                for key in from..=to {
                    assert_eq!(self.tree.remove(&key), self.map.remove(&key));
                }
            }
            Op::Clear => {
                self.tree.clear();
                self.map.clear();
            }
        }
    }
}

fn entries(tree: &Listing) -> Vec<(u8, u16)> {
    tree.iter().map(|(key, value)| (*key, *value)).collect()
}

fn compare(tree: &Listing, map: &Map) {
    check(tree);
    let expected: Vec<(u8, u16)> = map.iter().map(|(key, value)| (*key, *value)).collect();
    assert_eq!(tree.len(), map.len());
    assert_eq!(tree.is_empty(), map.is_empty());
    assert_eq!(entries(tree), expected);
    assert_eq!(tree.summary().0, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn behaves_as_a_btree_map_and_snapshots_stay(ops in prop::collection::vec(op(), 1..600)) {
        let mut run = Run::default();
        for op in &ops {
            run.step(op);
            compare(&run.tree, &run.map);
        }
        for (snapshot, map) in &run.snapshots {
            compare(snapshot, map);
        }
    }

    #[test]
    fn every_read_is_that_of_a_btree_map(
        map in prop::collection::btree_map(any::<u8>(), any::<u16>(), 0..200),
        inserted in any::<bool>(),
    ) {
        let mut tree = Listing::new();
        if inserted {
            tree.extend(map.clone());
        } else {
            tree = Tree::from_sorted(map.clone());
        }
        compare(&tree, &map);
        let sorted: Vec<(&u8, &u16)> = map.iter().collect();
        for key in 0..=u8::MAX {
            prop_assert_eq!(tree.get(&key), map.get(&key));
            prop_assert_eq!(tree.get_key_value(&key), map.get_key_value(&key));
            prop_assert_eq!(tree.contains_key(&key), map.contains_key(&key));
            prop_assert_eq!(tree.rank(&key), map.range(..key).count());
        }
        for position in 0..=map.len() {
            prop_assert_eq!(tree.nth(position), sorted.get(position).copied());
        }
        prop_assert_eq!(tree.first_key_value(), map.first_key_value());
        prop_assert_eq!(tree.last_key_value(), map.last_key_value());
    }

    #[test]
    fn ranges_count_and_add_up(
        map in prop::collection::btree_map(any::<u8>(), any::<u16>(), 0..200),
        from in bound(),
        to in bound(),
    ) {
        let tree: Listing = map.clone().into_iter().collect();
        let expected: Vec<(u8, u16)> = map
            .into_iter()
            .filter(|(key, _)| within(*key, from, to))
            .collect();
        let range = tree.range((from, to));
        prop_assert_eq!(range.len(), expected.len());
        prop_assert_eq!(range.map(|(k, v)| (*k, *v)).collect::<Vec<_>>(), expected.clone());
        prop_assert_eq!(tree.count_of((from, to)), expected.len());
        prop_assert_eq!(tree.summary_of((from, to)).0, expected);
    }

    #[test]
    fn ranges_are_read_from_both_ends(
        map in prop::collection::btree_map(any::<u8>(), any::<u16>(), 0..200),
        reads in prop::collection::vec((any::<bool>(), prop_oneof![3 => Just(0), 1 => 0..40_usize]), 0..250),
    ) {
        let tree: Listing = map.clone().into_iter().collect();
        let (mut range, mut expected) = (tree.iter(), map.iter());
        for (back, skip) in reads {
            if back {
                prop_assert_eq!(range.nth_back(skip), expected.nth_back(skip));
            } else {
                prop_assert_eq!(range.nth(skip), expected.nth(skip));
            }
            prop_assert_eq!(range.len(), expected.len());
        }
        prop_assert!(range.clone().eq(expected.clone()));
        prop_assert!(range.rev().eq(expected.rev()));
    }

    #[test]
    fn any_order_builds_the_same_map(entries in prop::collection::vec(any::<(u8, u16)>(), 0..300)) {
        let map: Map = entries.iter().copied().collect();
        compare(&Tree::from_sorted(entries.clone()), &map);
        compare(&entries.into_iter().collect(), &map);
    }
}

/// A key of up to 32 bytes whose order is that of `number` and which shares much with its
/// neighbours: the digits of base 4, eight times each, without the zeros at the end.
fn spelled(number: u8) -> Vec<u8> {
    let digits = (0..4).rev().map(|place| number >> (2 * place) & 3);
    let mut key: Vec<u8> = digits.flat_map(|digit| [digit; 8]).collect();
    while key.last() == Some(&0) {
        key.pop();
    }
    key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// As `behaves_as_a_btree_map_and_snapshots_stay`, with keys whose heads are often equal and
    /// taken after many symbols.
    #[test]
    fn keys_that_share_much_are_told_apart(
        ops in prop::collection::vec((any::<u8>(), prop::option::weighted(0.7, any::<u16>())), 1..400),
        bulk in 0..200_u8,
    ) {
        let mut map: BTreeMap<Vec<u8>, u16> = (0..bulk).map(|i| (spelled(i), 0)).collect();
        let mut tree: Tree<Vec<u8>, u16> = Tree::from_sorted(map.clone());
        for (number, value) in ops {
            let key = spelled(number);
            match value {
                Some(value) if value % 2 == 0 => {
                    prop_assert_eq!(tree.insert(key.clone(), value), map.insert(key, value));
                }
                Some(value) => {
                    let (old, new) = tree.replace_with(&key, |old| {
                        let new = old.map_or(value, |(_, old)| old.wrapping_add(value));
                        ((key.clone(), new), new)
                    });
                    prop_assert_eq!(old.map(|(_, value)| value), map.insert(key, new));
                }
                None => prop_assert_eq!(tree.remove(&key), map.remove(&key)),
            }
            check(&tree);
        }
        prop_assert!(tree.iter().eq(map.iter()));
        for number in 0..=u8::MAX {
            let key = spelled(number);
            prop_assert_eq!(tree.get(&key), map.get(&key));
            prop_assert_eq!(tree.rank(&key), map.range(..key.clone()).count());
            let beyond = [&key[..], &[7]].concat();
            prop_assert_eq!(tree.get(&beyond), None);
            prop_assert_eq!(tree.rank(&beyond), map.range(..beyond).count());
        }
    }
}

fn bound() -> impl Strategy<Value = Bound<u8>> {
    prop_oneof![
        any::<u8>().prop_map(Bound::Included),
        any::<u8>().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn within(key: u8, from: Bound<u8>, to: Bound<u8>) -> bool {
    let after = match from {
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
        Bound::Unbounded => true,
    };
    let before = match to {
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
        Bound::Unbounded => true,
    };
    after && before
}

#[test]
fn bulk_loads_of_every_size_keep_the_invariants() {
    for size in 0..600_u16 {
        let tree: Tree<u16, u16> = Tree::from_sorted((0..size).map(|key| (key, key)));
        check(&tree);
        assert!(tree.iter().eq((0..size).map(|key| (key, key)).collect::<BTreeMap<_, _>>().iter()));
    }
}

#[test]
fn ascending_and_descending_inserts_keep_the_invariants() {
    let (mut up, mut down) = (Tree::<u16, ()>::new(), Tree::<u16, ()>::new());
    for key in 0..2000 {
        up.insert(key, ());
        down.insert(2000 - key, ());
        check(&up);
        check(&down);
    }
    for key in 0..2000 {
        up.remove(&key);
        down.remove(&(2000 - key));
        check(&up);
        check(&down);
    }
    assert!(up.is_empty() && down.is_empty());
}

#[test]
fn sums_are_right_after_a_closure_panics() {
    let mut tree: Listing = (0..200).map(|key| (key, 0)).collect();
    let snapshot = tree.clone();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tree.update(&100, |value| {
            *value = 7;
            panic!("the caller's own");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(tree.get(&100), Some(&7));
    check(&tree);
    check(&snapshot);
    assert_eq!(snapshot.get(&100), Some(&0));
}
