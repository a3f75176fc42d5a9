//! The tree with its real node sizes, through its public interface alone.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use cow_tree::{Change, Summary, Tree};
use proptest::prelude::*;

/// Keys and values in bytes, and a hash that depends on their order.
#[derive(Clone, Debug, PartialEq)]
struct Account {
    bytes: usize,
    hash: u64,
    /// The factor that moves a hash past the entries that this one is of.
    shift: u64,
}

const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Summary<Bytes, Arc<str>> for Account {
    fn empty() -> Self {
        Self { bytes: 0, hash: 0, shift: 1 }
    }

    fn of(key: &Bytes, value: &Arc<str>) -> Self {
        let hash = key
            .iter()
            .chain(value.as_bytes())
            .fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Self { bytes: key.len() + value.len(), hash, shift: FACTOR }
    }

    fn combine(&mut self, right: &Self) {
        self.bytes += right.bytes;
        self.hash = self.hash.wrapping_mul(right.shift).wrapping_add(right.hash);
        self.shift = self.shift.wrapping_mul(right.shift);
    }
}

type Objects = Tree<Bytes, Arc<str>, Account>;
type Map = BTreeMap<Bytes, Arc<str>>;

fn key(i: u16) -> Bytes {
    Bytes::from(format!("/registry/pods/{i:05}"))
}

fn fold<'a>(entries: impl Iterator<Item = (&'a Bytes, &'a Arc<str>)>) -> Account {
    let mut sum = Account::empty();
    entries.for_each(|(key, value)| sum.combine(&Account::of(key, value)));
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn large_trees_behave_as_btree_maps_and_snapshots_stay(
        ops in prop::collection::vec((0..6000_u16, 0..10_u8), 3000..9000),
        ranges in prop::collection::vec((0..6000_u16, 0..6000_u16), 20),
    ) {
        let (mut tree, mut map) = (Objects::new(), Map::new());
        let mut snapshots = Vec::new();
        for (step, (i, kind)) in ops.iter().enumerate() {
            if step % 700 == 0 {
                snapshots.push((tree.clone(), map.clone()));
            }
            let key = key(*i);
            if *kind < 3 {
                prop_assert_eq!(tree.remove(&key), map.remove(&key));
            } else {
                let value: Arc<str> = format!("{step}").into();
                prop_assert_eq!(tree.insert(key.clone(), value.clone()), map.insert(key, value));
            }
        }
        snapshots.push((tree, map));
        for (tree, map) in &snapshots {
            prop_assert!(tree.iter().eq(map));
            prop_assert!(tree.iter().rev().eq(map.iter().rev()));
            prop_assert_eq!(tree.summary(), fold(map.iter()));
            for (from, to) in ranges.iter().filter(|(from, to)| from <= to) {
                let (from, to) = (key(*from), key(*to));
                let expected: Vec<_> = map.range(from.clone()..to.clone()).collect();
                let range = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
                prop_assert!(tree.range::<[u8], _>(range).eq(expected.iter().copied()));
                prop_assert_eq!(tree.count_of::<[u8], _>(range), expected.len());
                prop_assert_eq!(tree.summary_of::<[u8], _>(range), fold(expected.iter().copied()));
                prop_assert_eq!(tree.rank(&from[..]), map.range(..from).count());
            }
        }
        for pair in snapshots.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            let mut replayed = old.1.clone();
            for change in old.0.diff(&new.0) {
                match change {
                    Change::Added { key, value } => {
                        prop_assert_eq!(replayed.insert(key.clone(), value.clone()), None);
                    }
                    Change::Updated { key, old, new } => {
                        let replaced = replayed.insert(key.clone(), new.clone());
                        prop_assert_eq!(replaced.as_ref(), Some(old));
                    }
                    Change::Removed { key, value } => {
                        let removed = replayed.remove(key);
                        prop_assert_eq!(removed.as_ref(), Some(value));
                    }
                }
            }
            prop_assert_eq!(&replayed, &new.1);
        }
    }
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
fn inverted_and_empty_ranges_are_empty() {
    let tree: Tree<u32, u32> = (0..1000).map(|i| (i, i)).collect();
    assert_eq!(tree.range(700..300).next(), None);
    assert_eq!(tree.range(700..300).next_back(), None);
    assert_eq!(tree.range(700..=300).len(), 0);
    assert_eq!(tree.count_of(700..300), 0);
    assert_eq!(tree.range((Bound::Excluded(5), Bound::Excluded(5))).next(), None);
    assert_eq!(tree.range(5..5).next(), None);
    assert_eq!(tree.range(5..=5).collect::<Vec<_>>(), [(&5, &5)]);
    assert_eq!(Tree::<u32, u32>::new().range(..=5).next(), None);
}

#[test]
fn readers_see_their_snapshot_while_the_original_is_written_to() {
    let mut tree: Tree<u64, u64> = (0..10_000).map(|i| (i, 0)).collect();
    thread::scope(|scope| {
        for round in 1..=20 {
            let snapshot = tree.clone();
            scope.spawn(move || {
                for _ in 0..3 {
                    assert_eq!(snapshot.len(), 10_000);
                    assert!(snapshot.values().all(|value| *value == round - 1));
                }
            });
            for i in 0..10_000 {
                tree.insert(i, round);
            }
        }
    });
    assert!(tree.values().all(|value| *value == 20));
}

/// A value that counts its clones.
struct Counted<'a>(&'a AtomicUsize);

impl Clone for Counted<'_> {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

#[test]
fn writes_copy_nothing_unless_shared_and_then_one_leaf() {
    let clones = AtomicUsize::new(0);
    let mut tree = Tree::<u32, Counted<'_>>::new();
    for i in 0..50_000 {
        tree.insert(i * 7919 % 50_000, Counted(&clones));
    }
    for i in 0..10_000 {
        tree.remove(&(i * 5));
    }
    assert_eq!(clones.load(Ordering::Relaxed), 0, "an unshared tree is changed in place");

    let snapshot = tree.clone();
    assert_eq!(clones.load(Ordering::Relaxed), 0, "a snapshot copies nothing");
    tree.insert(12_345, Counted(&clones));
    let copied = clones.swap(0, Ordering::Relaxed);
    assert!((1..=64).contains(&copied), "one leaf is copied, not {copied} values");
    tree.insert(12_345, Counted(&clones));
    assert_eq!(clones.load(Ordering::Relaxed), 0, "the path is unshared now");
    assert_eq!(snapshot.len(), tree.len() - 1);
}

#[test]
fn removing_an_absent_key_keeps_all_nodes_shared() {
    let mut tree: Tree<u32, u32> = (0..1000).map(|i| (i * 2, i)).collect();
    let snapshot = tree.clone();
    assert_eq!(tree.remove(&501), None);
    assert_eq!(tree.update(&501, |value| *value), None);
    assert!(tree.ptr_eq(&snapshot));
    tree.remove(&500);
    assert!(!tree.ptr_eq(&snapshot));
}

#[test]
fn replaced_values_keep_their_key_and_equal_trees_are_equal() {
    let mut tree: Tree<String, u32> = [("a".to_string(), 1), ("b".to_string(), 2)].into();
    let stored = tree.get_key_value("a").map(|(key, _)| key.as_ptr());
    assert_eq!(tree.insert("a".to_string(), 3), Some(1));
    assert_eq!(tree.get_key_value("a").map(|(key, _)| key.as_ptr()), stored);
    assert_eq!(format!("{tree:?}"), r#"{"a": 3, "b": 2}"#);

    let other: Tree<String, u32> = [("b".to_string(), 2), ("a".to_string(), 3)].into();
    assert!(tree == other && !tree.ptr_eq(&other));
    tree.clear();
    assert!(tree.is_empty() && tree != other && tree.first_key_value().is_none());
}

#[test]
fn trees_and_iterators_are_send_and_sync() {
    fn check<T: Send + Sync>(_: &T) {}
    let tree: Tree<Bytes, Arc<str>, Account> = Tree::new();
    check(&tree);
    check(&tree.iter());
    check(&tree.diff(&tree));
}

/// A key that counts how often it is touched, and how often it is cloned.
#[derive(Debug)]
struct Counting {
    key: u32,
    counts: Arc<[AtomicUsize; 2]>,
}

impl Clone for Counting {
    fn clone(&self) -> Self {
        self.counts[1].fetch_add(1, Ordering::Relaxed);
        Self { key: self.key, counts: Arc::clone(&self.counts) }
    }
}

impl PartialEq for Counting {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Counting {}

impl PartialOrd for Counting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Counting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl cow_tree::Key for Counting {
    fn touch(&self) {
        self.counts[0].fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_leaf_that_is_copied_touches_each_of_its_keys_once() {
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let key = |key| Counting { key, counts: Arc::clone(&counts) };
    let mut tree: Tree<Counting, u32> = (0..10).map(|number| (key(number), number)).collect();
    let read = || [0, 1].map(|at| counts[at].swap(0, Ordering::Relaxed));
    read();
    tree.update(&key(3), |value| *value += 1);
    assert_eq!(read(), [0, 0], "a leaf of its own is changed in place");
    let snapshot = tree.clone();
    tree.update(&key(3), |value| *value += 1);
    assert_eq!(read(), [10, 10]);
    assert_eq!((snapshot.get(&key(3)), tree.get(&key(3))), (Some(&4), Some(&5)));
}
