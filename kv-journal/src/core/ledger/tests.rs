//! The tree against its recursive definition and the known answers of Certificate Transparency.
#![allow(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]

use std::ops::Range;

use proptest::prelude::*;
use ring::digest::{SHA256, digest};

use super::hash::Hash;
use super::tree::Block;
use super::{Ledger, leaf_hash};

fn sha256(parts: &[&[u8]]) -> Hash {
    digest(&SHA256, &parts.concat()).as_ref().try_into().unwrap()
}

/// RFC 6962, section 2.1, to the letter.
fn mth(records: &[Vec<u8>]) -> Hash {
    match records {
        [] => sha256(&[]),
        [one] => sha256(&[&[0], one]),
        more => {
            let k = more.len().next_power_of_two() / 2;
            sha256(&[&[1], &mth(&more[..k]), &mth(&more[k..])])
        }
    }
}

/// Section 2.1.1.
fn path(m: usize, records: &[Vec<u8>]) -> Vec<Hash> {
    if records.len() == 1 {
        return vec![];
    }
    let k = records.len().next_power_of_two() / 2;
    let (near, far) = if m < k {
        (path(m, &records[..k]), mth(&records[k..]))
    } else {
        (path(m - k, &records[k..]), mth(&records[..k]))
    };
    [near, vec![far]].concat()
}

/// Section 2.1.2.
fn subproof(m: usize, records: &[Vec<u8>], whole: bool) -> Vec<Hash> {
    if m == records.len() {
        return if whole { vec![] } else { vec![mth(records)] };
    }
    let k = records.len().next_power_of_two() / 2;
    let (near, far) = if m <= k {
        (subproof(m, &records[..k], whole), mth(&records[k..]))
    } else {
        (subproof(m - k, &records[k..], false), mth(&records[..k]))
    };
    [near, vec![far]].concat()
}

fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(usize::try_from(number % 9).unwrap())
}

/// Every third record makes no revision.
fn makes_revision(number: u64) -> bool {
    !number.is_multiple_of(3)
}

fn append(ledger: &mut Ledger, numbers: Range<u64>) {
    for number in numbers {
        let made = u64::from(makes_revision(number));
        ledger.append(leaf_hash(&record(number)), ledger.revision() + made);
    }
}

fn ledger(size: u64) -> Ledger {
    let mut ledger = Ledger::new(u64::MAX);
    append(&mut ledger, 0..size);
    ledger
}

fn records(size: u64) -> Vec<Vec<u8>> {
    (0..size).map(record).collect()
}

/// What a ledger can say, to compare two of them.
fn answers(ledger: &Ledger) -> Vec<Option<Vec<Hash>>> {
    let size = ledger.size();
    let mut answers = vec![];
    for at in (0..=size).step_by(89).chain(size.saturating_sub(5)..=size) {
        answers.push(ledger.root(at).map(|root| vec![root]));
        answers.push(ledger.inclusion(at, size));
        answers.push(ledger.consistency(at, size));
        answers.push(ledger.revision_at(at).map(|revision| vec![[revision as u8; 32]]));
    }
    answers
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The test data of Certificate Transparency: eight leaves, the root of each size, and proofs.
#[test]
fn known_answers_of_certificate_transparency() {
    let leaves = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut ledger = Ledger::new(u64::MAX);
    for (size, root) in (0..).zip(roots) {
        assert_eq!(ledger.root(size).unwrap().to_vec(), hex(root), "{size} leaves");
        if let Some(leaf) = leaves.get(ledger.size() as usize) {
            ledger.append(leaf_hash(&hex(leaf)), 0);
        }
    }
    let proof = |hashes: &[&str]| Some(hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>());
    let bytes = |hashes: Option<Vec<Hash>>| {
        hashes.map(|hashes| hashes.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>())
    };
    let first_of_eight = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    assert_eq!(bytes(ledger.inclusion(0, 8)), proof(&first_of_eight));
    assert_eq!(bytes(ledger.consistency(1, 8)), proof(&first_of_eight));
    let six_to_eight = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(bytes(ledger.consistency(6, 8)), proof(&six_to_eight));
    let two_to_five = [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ];
    assert_eq!(bytes(ledger.consistency(2, 5)), proof(&two_to_five));
}

#[test]
fn every_root_and_proof_up_to_200_records_is_the_recursive_definition() {
    let (ledger, records) = (ledger(200), records(200));
    for n in 0..=200 {
        let tree = &records[..n];
        assert_eq!(ledger.root(n as u64), Some(mth(tree)));
        for m in (0..n).step_by(if n % 32 < 2 { 1 } else { 13 }) {
            assert_eq!(ledger.inclusion(m as u64, n as u64), Some(path(m, tree)), "{m} of {n}");
            if m > 0 {
                let proof = ledger.consistency(m as u64, n as u64);
                assert_eq!(proof, Some(subproof(m, tree, true)), "{m} to {n}");
            }
        }
        assert_eq!(ledger.consistency(n as u64, n as u64), Some(vec![]));
    }
    assert_eq!(ledger.root(201), None);
    assert_eq!(ledger.inclusion(5, 5), None);
    assert_eq!(ledger.inclusion(5, 201), None);
    assert_eq!(ledger.consistency(7, 6), None);
}

#[test]
fn a_revision_leads_to_its_record_and_back() {
    let ledger = ledger(1000);
    let mut revision = 1;
    for number in 0..1000 {
        assert_eq!(ledger.revision_at(number), Some(revision));
        if makes_revision(number) {
            revision += 1;
            assert_eq!(ledger.leaf_of(revision), Some(number));
        }
    }
    assert_eq!((ledger.revision_at(1000), ledger.revision()), (Some(revision), revision));
    assert_eq!(ledger.revision_at(1001), None);
    for none in [0, 1, revision + 1, u64::MAX] {
        assert_eq!(ledger.leaf_of(none), None);
    }
}

#[test]
fn a_clone_does_not_see_what_is_appended_or_forgotten_later() {
    let mut ledger = ledger(5000);
    let clone = ledger.clone();
    let before = answers(&clone);
    append(&mut ledger, 5000..5200);
    ledger.forget(4500);
    assert_eq!(answers(&clone), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sizes of three levels of blocks.
    #[test]
    fn proofs_of_any_size_are_the_recursive_definition(
        n in 1..9000_usize, m in any::<prop::sample::Index>(),
    ) {
        let (m, records) = (m.index(n), records(n as u64));
        let ledger = ledger(n as u64);
        prop_assert_eq!(ledger.root(n as u64), Some(mth(&records)));
        prop_assert_eq!(ledger.inclusion(m as u64, n as u64), Some(path(m, &records)));
        let proof = ledger.consistency(m as u64 + 1, n as u64);
        prop_assert_eq!(proof, Some(subproof(m + 1, &records, true)));
    }

    /// What a ledger says after forgetting is what it said before, or nothing; it says all about
    /// what it kept, and goes on the same.
    #[test]
    fn forgetting_changes_no_answer_about_what_is_kept(
        n in 1..9000_u64,
        cuts in prop::collection::vec(0..9000_u64, 1..4),
        more in 0..200_u64,
    ) {
        let mut whole = ledger(n);
        let mut cut = whole.clone();
        for before in cuts {
            cut.forget(before);
            prop_assert!(cut.first().is_multiple_of(64));
        }
        append(&mut whole, n..n + more);
        append(&mut cut, n..n + more);
        let (first, size) = (cut.first(), n + more);
        for m in (0..=size).step_by(97).chain(first..(first + 70).min(size + 1)) {
            for (cut, whole) in [
                (cut.root(m).map(|root| vec![root]), whole.root(m).map(|root| vec![root])),
                (cut.inclusion(m, size), whole.inclusion(m, size)),
                (cut.consistency(m, size), whole.consistency(m, size)),
            ] {
                prop_assert!(cut == whole || (cut.is_none() && m < first), "{} of {}", m, size);
            }
            let revision = whole.revision_at(m).unwrap();
            prop_assert!(cut.revision_at(m).is_none_or(|at| at == revision && m >= first));
            let (kept, all) = (cut.leaf_of(revision), whole.leaf_of(revision));
            prop_assert_eq!(kept, all.filter(|leaf| *leaf >= first));
        }
        prop_assert!(first == 0 || cut.leaf(first - 1).is_none());
    }

    #[test]
    fn a_stored_ledger_reads_back_and_goes_on_the_same(
        n in 0..9000_u64, before in 0..9000_u64, more in 0..200_u64,
    ) {
        let mut stored = ledger(n);
        stored.forget(before);
        let bytes = stored.encode();
        let mut read = Ledger::decode(&bytes, u64::MAX).unwrap();
        prop_assert_eq!(read.encode(), bytes);
        append(&mut stored, n..n + more);
        append(&mut read, n..n + more);
        prop_assert_eq!(answers(&read), answers(&stored));
        prop_assert_eq!(
            (read.size(), read.first(), read.revision()),
            (stored.size(), stored.first(), stored.revision())
        );
    }

    #[test]
    fn a_cut_or_changed_ledger_is_refused_or_has_another_root(
        n in 0..300_u64, before in 0..300_u64, cut in any::<prop::sample::Index>(),
    ) {
        let mut stored = ledger(n);
        stored.forget(before);
        let mut bytes = stored.encode();
        let at = cut.index(bytes.len());
        prop_assert!(Ledger::decode(&bytes[..at], u64::MAX).is_err());
        bytes[at] ^= 1;
        if let Ok(read) = Ledger::decode(&bytes, u64::MAX) {
            prop_assert_ne!(
                (read.root(n), read.revision()),
                (stored.root(n), stored.revision())
            );
        }
    }

    #[test]
    fn hostile_bytes_decode_to_themselves_or_fail(
        head in prop_oneof![Just(vec![1]), Just(vec![])],
        tail in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..200),
    ) {
        let bytes = [head, tail].concat();
        if let Ok(ledger) = Ledger::decode(&bytes, u64::MAX) {
            prop_assert_eq!(ledger.encode(), bytes);
        }
    }
}

impl Ledger {
    fn kept_bytes(&self) -> usize {
        self.spine.iter().map(|block| block.kept_bytes()).sum()
    }
}

impl Block {
    fn kept_bytes(&self) -> usize {
        let below: usize = self.below.iter().flatten().map(|block| block.kept_bytes()).sum();
        size_of::<Self>() + 16 + self.hashes.capacity() * 32 + self.below.capacity() * 8 + below
    }
}

/// 32 bytes of leaf hash, one bit, and a small share of the nodes above.
#[test]
fn what_is_kept_is_bounded_by_what_is_not_forgotten() {
    let mut ledger = ledger(20_000);
    assert!(ledger.kept_bytes() < 20_000 * 36, "{}", ledger.kept_bytes());
    ledger.forget(19_000);
    assert!(ledger.kept_bytes() < 1_100 * 36 + 20_000, "{}", ledger.kept_bytes());
}

#[test]
fn a_ledger_keeps_what_it_is_told_to_and_no_more_than_a_block_beside() {
    let (mut bounded, mut whole) = (Ledger::new(1000), Ledger::new(u64::MAX));
    for round in 0..50 {
        append(&mut bounded, round * 100..(round + 1) * 100);
        append(&mut whole, round * 100..(round + 1) * 100);
        let (size, first) = (bounded.size(), bounded.first());
        assert!((1000..1128).contains(&(size - first)) || first == 0, "{first} of {size}");
        assert_eq!(bounded.root(size), whole.root(size));
        let kept = size.saturating_sub(1000);
        assert_eq!(bounded.inclusion(kept, size), whole.inclusion(kept, size));
        assert_eq!(bounded.consistency(kept + 1, size), whole.consistency(kept + 1, size));
    }
    let read = Ledger::decode(&whole.encode(), 64).unwrap();
    assert_eq!((read.root(5000), read.first()), (whole.root(5000), 4928));
}
