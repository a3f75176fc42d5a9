//! The verifier against proofs made by the recursive definitions, and against every change of them.
#![allow(clippy::indexing_slicing, reason = "the tests made these bytes")]

use bytes::{BufMut, Bytes};
use proptest::prelude::*;

use super::tree::{RunningRoot, record_hash, root_by_inclusion, roots_by_consistency};
use super::*;

fn node(left: &Hash, right: &Hash) -> Hash {
    use sha2::Digest;
    sha2::Sha256::digest([&[1], &left[..], &right[..]].concat()).into()
}

/// RFC 9162, 2.1.1, over leaf hashes.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        more => {
            let (left, right) = halves(more);
            node(&mth(left), &mth(right))
        }
    }
}

fn halves(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

/// 2.1.3.1.
fn inclusion(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = halves(leaves);
    let (mut path, far) = if m < left.len() {
        (inclusion(m, left), mth(right))
    } else {
        (inclusion(m - left.len(), right), mth(left))
    };
    path.push(far);
    path
}

/// 2.1.4.1.
fn consistency(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { vec![] } else { vec![mth(leaves)] };
    }
    let (left, right) = halves(leaves);
    let (mut path, far) = if m <= left.len() {
        (consistency(m, left, whole), mth(right))
    } else {
        (consistency(m - left.len(), right, false), mth(left))
    };
    path.push(far);
    path
}

/// A put of `k` and, from then on, a delete of everything.
fn record(revision: u64) -> Bytes {
    let mut out = vec![1, 1];
    out.put_u64_le(revision);
    out.put_u32_le(1);
    if revision % 4 == 1 {
        out.put_u8(2);
        out.put_u64_le(1);
        out.put_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0]);
    } else {
        out.put_u8(1);
        out.put_i64_le(-3);
        out.put_u32_le(1);
        out.put_u32_le(8);
        out.put_u8(b'k');
        out.put_u64_le(revision);
    }
    out.into()
}

fn leaves(size: usize) -> Vec<Hash> {
    (0..size).map(|number| record_hash(&record(number as u64 + 2))).collect()
}

fn digest(leaves: &[Hash]) -> Digest {
    let tree_size = leaves.len() as u64;
    Digest { tree_size, root: mth(leaves), revision: tree_size + 1 }
}

fn key_proof(m: usize, leaves: &[Hash]) -> KeyProof {
    KeyProof {
        seq: m as u64 + 1,
        tree_size: leaves.len() as u64,
        path: inclusion(m, leaves),
        record: record(m as u64 + 2),
    }
}

fn consistency_proof(m: usize, leaves: &[Hash]) -> ConsistencyProof {
    ConsistencyProof {
        old_size: m as u64,
        new_size: leaves.len() as u64,
        path: consistency(m, leaves, true),
    }
}

#[test]
fn every_proof_of_every_tree_up_to_65_records_holds() {
    let all = leaves(65);
    let mut running = RunningRoot::default();
    for n in 1..=65 {
        let leaves = &all[..n];
        let newest = digest(leaves);
        running.push(all[n - 1]);
        assert_eq!(running.root(), newest.root);
        for m in 0..n {
            let proven = verify_key(&key_proof(m, leaves), &newest, b"k").unwrap();
            assert_eq!(proven.revision, m as u64 + 2);
            let deleted = proven.revision % 4 == 1;
            assert_eq!(proven.value.is_none(), deleted);
            assert_eq!(proven.lease, if deleted { 0 } else { -3 });
            let old = digest(&all[..=m]);
            verify_consistency(&old, &newest, &consistency_proof(m + 1, leaves)).unwrap();
        }
        let empty = Digest { tree_size: 0, root: tree::empty_root(), revision: 1 };
        let proof = ConsistencyProof { old_size: 0, new_size: n as u64, path: vec![] };
        verify_consistency(&empty, &newest, &proof).unwrap();
        let forged = Digest { root: [0; 32], ..empty };
        assert!(verify_consistency(&forged, &newest, &proof).is_err());
    }
    assert_eq!(running.leaves(), 65);
}

/// No path of another leaf, another tree, or another length passes, whatever its shape.
#[test]
fn no_path_leads_from_another_place_or_in_another_tree() {
    let all = leaves(20);
    for n in 1..=20_usize {
        let root = mth(&all[..n]);
        for m in 0..n {
            let path = inclusion(m, &all[..n]);
            for (index, size) in (0..22).flat_map(|size| (0..22).map(move |index| (index, size))) {
                let found = root_by_inclusion(all[m], index, size, &path);
                // The shape of the path may be right for another tree; then it is not this one's
                // size, which is compared before.
                let right = index == m as u64 && size == n as u64;
                assert!(found != Some(root) || right || size != n as u64, "{m} of {n}");
            }
            for len in (0..path.len()).chain([path.len() + 1]) {
                let mut other = path.clone();
                other.resize(len, [9; 32]);
                assert_ne!(root_by_inclusion(all[m], m as u64, n as u64, &other), Some(root));
            }
        }
        for m in 1..n {
            let path = consistency(m, &all[..n], true);
            let old = mth(&all[..m]);
            for len in (0..path.len()).chain([path.len() + 1]) {
                let mut other = path.clone();
                other.resize(len, [9; 32]);
                let roots = roots_by_consistency(old, m as u64, n as u64, &other);
                assert_ne!(roots, Some((old, root)));
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_proof_or_its_digest_fails() {
    let all = leaves(21);
    let newest = digest(&all);
    for m in [0, 4, 15, 16, 20] {
        let proof = key_proof(m, &all);
        for flipped in flips(&proof.encode().unwrap()) {
            let read = KeyProof::decode(&flipped);
            assert!(read.and_then(|proof| verify_key(&proof, &newest, b"k")).is_err(), "{m}");
        }
        for flipped in flips(&newest.encode()) {
            // The revision is not part of what a path can show.
            let read = Digest::decode(&flipped).ok().filter(|it| it.revision == newest.revision);
            assert!(read.is_none_or(|digest| verify_key(&proof, &digest, b"k").is_err()), "{m}");
        }
        let low = Digest { revision: m as u64 + 1, ..newest };
        assert!(verify_key(&proof, &low, b"k").is_err());
        assert!(m % 4 == 3 || verify_key(&proof, &newest, b"other").is_err());
    }
    for m in [1, 2, 7, 16, 20] {
        let (old, proof) = (digest(&all[..m]), consistency_proof(m, &all));
        for flipped in flips(&proof.encode().unwrap()) {
            let read = ConsistencyProof::decode(&flipped);
            assert!(read.and_then(|it| verify_consistency(&old, &newest, &it)).is_err(), "{m}");
        }
        for flipped in flips(&old.encode()) {
            let read = Digest::decode(&flipped).ok().filter(|it| it.revision == old.revision);
            assert!(read.is_none_or(|it| verify_consistency(&it, &newest, &proof).is_err()));
        }
        for flipped in flips(&newest.encode()) {
            let read = Digest::decode(&flipped).ok().filter(|it| it.revision == newest.revision);
            assert!(read.is_none_or(|it| verify_consistency(&old, &it, &proof).is_err()));
        }
        let newer = Digest { revision: newest.revision + 1, ..old };
        assert!(verify_consistency(&newer, &newest, &proof).is_err());
    }
}

fn flips(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped.into()
    })
}

#[test]
fn the_same_digest_twice_needs_no_proof_and_a_changed_one_has_none() {
    let one = digest(&leaves(9));
    let proof = ConsistencyProof { old_size: 9, new_size: 9, path: vec![] };
    verify_consistency(&one, &one, &proof).unwrap();
    let other = Digest { root: [1; 32], ..one };
    assert!(verify_consistency(&one, &other, &proof).is_err());
    let longer = ConsistencyProof { path: vec![[0; 32]], ..proof };
    assert!(verify_consistency(&one, &one, &longer).is_err());
}

/// The last of several mutations counts, in the order of the record.
#[test]
fn the_last_mutation_of_a_key_is_what_is_read() {
    let delete = &record(5)[14..];
    let put = &record(4)[14..];
    let both = |first: &[u8], second: &[u8]| {
        let head = [&record(4)[..10], &2_u32.to_le_bytes()[..]].concat();
        [&head, first, second].concat()
    };
    let (value, lease) = (&4_u64.to_le_bytes()[..], -3);
    let last = |record: &[u8]| match record::change_of(record, b"k") {
        Ok(Some((4, Change::Put { value: found, lease: -3 }))) => (found == value).then_some(lease),
        Ok(Some((4, Change::Delete))) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(last(&both(delete, put)), Some(lease));
    assert_eq!(last(&both(put, delete)), None);
}

proptest! {
    #[test]
    fn proofs_read_back_and_cut_ones_do_not(
        first in any::<u64>(),
        second in any::<u64>(),
        path in prop::collection::vec(any::<[u8; 32]>(), 0..70),
        record in prop::collection::vec(any::<u8>(), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let path_end = 19 + path.len() * 32;
        let proof = KeyProof { seq: first, tree_size: second, path: path.clone(), record: record.into() };
        let bytes = proof.encode().unwrap();
        prop_assert_eq!(KeyProof::decode(&bytes).unwrap(), proof);
        prop_assert!(KeyProof::decode(&bytes.slice(..cut.index(path_end))).is_err());

        let proof = ConsistencyProof { old_size: first, new_size: second, path };
        let bytes = proof.encode().unwrap();
        prop_assert_eq!(ConsistencyProof::decode(&bytes).unwrap(), proof);
        prop_assert!(ConsistencyProof::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(ConsistencyProof::decode(&[&bytes[..], &[0]].concat()).is_err());

        let digest = Digest { tree_size: first, root: [3; 32], revision: second };
        let bytes = digest.encode();
        prop_assert_eq!(Digest::decode(&bytes).unwrap(), digest);
        prop_assert!(Digest::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(Digest::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn hostile_bytes_are_read_or_refused_and_prove_nothing(
        head in prop_oneof![
            Just(vec![1, b'K']), Just(vec![1, b'C']), Just(vec![1, b'D']), Just(vec![1, 1]), Just(vec![])
        ],
        tail in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..150),
    ) {
        prop_assert!(fuzz_proofs(&[head, tail].concat()));
    }

    /// What the other side writes, this side reads the same.
    #[test]
    fn a_record_reads_as_it_was_written(
        revision in 2..u64::MAX,
        puts in prop::collection::vec((0..4_u8, any::<i64>(), any::<u16>()), 0..4),
        ranges in prop::collection::vec((0..5_u8, 0..5_u8, 0..3_u8), 0..3),
        key in 0..5_u8,
    ) {
        use crate::core::{KeyRange, Mutation, Record};
        let mut mutations: Vec<_> = puts
            .into_iter()
            .map(|(key, lease, value)| Mutation::Put {
                key: vec![key].into(),
                value: value.to_le_bytes().to_vec().into(),
                lease,
            })
            .collect();
        mutations.extend(ranges.into_iter().map(|(start, end, kind)| Mutation::Delete {
            range: match kind {
                0 => KeyRange::key(vec![start]),
                1 => KeyRange::range(vec![start], vec![end]),
                _ => KeyRange::from(vec![start]),
            },
            deleted: 1,
        }));
        prop_assume!(!mutations.is_empty());
        let expected = mutations.iter().rev().find_map(|mutation| match mutation {
            Mutation::Put { key: written, value, lease } => {
                (written[..] == [key]).then(|| (Some(value.clone()), *lease))
            }
            Mutation::Delete { range, .. } => range.contains(&[key]).then_some((None, 0)),
        });
        let bytes = Record::Transaction { revision, mutations }.encode().unwrap();
        let found = record::change_of(&bytes, &[key]).unwrap().map(|(at, change)| {
            assert_eq!(at, revision);
            match change {
                Change::Put { value, lease } => (Some(Bytes::copy_from_slice(value)), lease),
                Change::Delete => (None, 0),
            }
        });
        prop_assert_eq!(found, expected);
        let compaction = Record::Compaction { revision }.encode().unwrap();
        let header = record::header_of(&compaction).unwrap();
        prop_assert_eq!((header.transaction, header.revision), (false, revision));
        prop_assert!(record::change_of(&compaction, &[key]).unwrap().is_none());
    }
}
