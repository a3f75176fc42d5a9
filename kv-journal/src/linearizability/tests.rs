//! Correct histories pass both judges, and each kind of wrong one is caught.

use super::*;
use crate::core::{Mutation, Record};
use crate::oracle::Oracle;

const STEPS: u64 = 100_000;

/// `(client, request, call, end, answer, revision)`; an end of 0 is an unknown outcome.
type Row = (usize, Request, u64, u64, Answer, u64);

fn operation((client, request, call, end, answer, revision): Row) -> Operation {
    let (end, outcome) = match end {
        0 => (None, Outcome::Unknown),
        end => (Some(end), Outcome::Answered { answer, revision }),
    };
    Operation { client, request, serializable: false, call, end, outcome }
}

fn history<const N: usize>(rows: [Row; N]) -> Vec<Operation> {
    rows.into_iter().map(operation).collect()
}

fn put(key: &str, value: &str) -> Request {
    Request::Put { key: key.to_owned().into(), value: value.to_owned().into() }
}

fn get(key: &str) -> Request {
    Request::Get(key.to_owned().into())
}

fn swap(key: &str, expected: &str, value: &str) -> Request {
    let expected = (!expected.is_empty()).then(|| expected.to_owned().into());
    Request::Swap { key: key.to_owned().into(), expected, value: value.to_owned().into() }
}

fn value(value: &str) -> Answer {
    Answer::Value((!value.is_empty()).then(|| value.to_owned().into()))
}

/// A journal with one put for each revision from 2 on.
fn oracle(puts: &[(&str, &str)]) -> Oracle {
    let mut oracle = Oracle::new();
    for (revision, (key, value)) in (2..).zip(puts) {
        let (key, value) = ((*key).to_owned().into(), (*value).to_owned().into());
        let mutations = vec![Mutation::Put { key, value, lease: 0 }];
        oracle.push(&Record::Transaction { revision, mutations }).unwrap();
    }
    oracle
}

/// Whether each judge finds a contradiction.
fn caught(history: &[Operation], oracle: &Oracle) -> (bool, bool) {
    let answers = check_answers(history, STEPS);
    assert_ne!(answers, Ok(Verdict::Undecided));
    (answers.is_err(), check_revisions(history, oracle).is_err())
}

#[test]
fn concurrent_operations_may_take_either_order() {
    for (first, second) in [("1", "2"), ("2", "1")] {
        let history = history([
            (1, put("a", first), 0, 5, Answer::Done, 2),
            (2, put("a", second), 1, 6, Answer::Done, 3),
            (3, get("a"), 2, 3, value(""), 1),
            (3, get("a"), 7, 8, value(second), 3),
        ]);
        assert_eq!(caught(&history, &oracle(&[("a", first), ("a", second)])), (false, false));
    }
}

#[test]
fn a_stale_read_is_caught() {
    let mut history = history([
        (1, put("a", "1"), 0, 1, Answer::Done, 2),
        (1, put("a", "2"), 2, 3, Answer::Done, 3),
        (2, get("a"), 4, 5, value("1"), 2),
    ]);
    let oracle = oracle(&[("a", "1"), ("a", "2")]);
    assert_eq!(caught(&history, &oracle), (true, true));
    // A read that does not ask for the newest state may be old.
    history[2].serializable = true;
    assert_eq!(caught(&history, &oracle), (false, false));
    // But nobody sees the store go back.
    history[2].client = 1;
    assert_eq!(caught(&history, &oracle), (false, true));
}

#[test]
fn a_lost_update_is_caught() {
    let history = history([
        (1, put("a", "1"), 0, 1, Answer::Done, 2),
        (2, swap("a", "1", "2"), 2, 4, Answer::Swapped(true), 3),
        (3, swap("a", "1", "3"), 3, 5, Answer::Swapped(true), 4),
    ]);
    assert_eq!(caught(&history, &oracle(&[("a", "1"), ("a", "2"), ("a", "3")])), (true, true));
    let acknowledged = history.split_at(1).0;
    assert_eq!(caught(acknowledged, &Oracle::new()), (false, true)); // the journal lost it
}

#[test]
fn a_reordered_write_is_caught() {
    let history = history([
        (1, put("a", "1"), 0, 1, Answer::Done, 3),
        (2, put("a", "2"), 2, 3, Answer::Done, 2),
        (3, get("a"), 4, 5, value("1"), 3),
    ]);
    assert_eq!(caught(&history, &oracle(&[("a", "2"), ("a", "1")])), (true, true));
}

#[test]
fn a_read_of_what_was_not_asked_yet_is_caught() {
    let history =
        history([(2, get("a"), 0, 1, value("1"), 2), (1, put("a", "1"), 2, 3, Answer::Done, 2)]);
    assert_eq!(caught(&history, &oracle(&[("a", "1")])), (true, true));
}

#[test]
fn a_torn_read_is_caught() {
    let both = Request::PutAll { keys: vec!["a".into(), "b".into()], value: "1".into() };
    let range = Request::Range(KeyRange::all());
    let half = Answer::Pairs(vec![("a".into(), "1".into())]);
    let rows = history([(1, both.clone(), 0, 3, Answer::Done, 2), (2, range, 1, 2, half, 2)]);
    let mut oracle = Oracle::new();
    let put = |key: &str| Mutation::Put { key: key.to_owned().into(), value: "1".into(), lease: 0 };
    let mutations = vec![put("a"), put("b")];
    oracle.push(&Record::Transaction { revision: 2, mutations }).unwrap();
    assert_eq!(caught(&rows, &oracle), (true, true));
    let counted = history([
        (1, both, 0, 3, Answer::Done, 2),
        (2, Request::Count(KeyRange::prefix("")), 1, 2, Answer::Count(2), 2),
    ]);
    assert_eq!(caught(&counted, &oracle), (false, false));
}

#[test]
fn an_unknown_write_may_have_happened_or_not() {
    let seen = history([
        (1, put("a", "1"), 0, 0, Answer::Done, 0),
        (2, get("a"), 1, 2, value(""), 1),
        (2, get("a"), 3, 4, value("1"), 2),
    ]);
    assert_eq!(caught(&seen, &oracle(&[("a", "1")])), (false, false));
    let never = &seen[..2];
    assert_eq!(caught(never, &Oracle::new()), (false, false));
    // It happened once, so it does not come again.
    let again = history([
        (1, put("a", "1"), 0, 0, Answer::Done, 0),
        (2, get("a"), 1, 2, value("1"), 2),
        (2, put("a", "2"), 3, 4, Answer::Done, 3),
        (2, get("a"), 5, 6, value("1"), 4),
    ]);
    assert_eq!(caught(&again, &oracle(&[("a", "1"), ("a", "2"), ("a", "1")])), (true, true));
    // What was refused did not happen at all.
    let mut refused = seen;
    refused[0].outcome = Outcome::Refused;
    assert_eq!(caught(&refused, &oracle(&[("a", "1")])), (true, true));
}

#[test]
fn a_search_is_bounded() {
    let rows = (0..40).map(|client| (client, put("a", "1"), client as u64, 99, Answer::Done, 0));
    let mut history: Vec<_> = rows.map(operation).collect();
    history.push(operation((99, get("a"), 98, 100, value("2"), 0)));
    assert_eq!(check_answers(&history, 1000), Ok(Verdict::Undecided));
}

#[test]
fn keys_that_nothing_joins_are_searched_apart() {
    // Together this would take far more steps than are allowed.
    let rows = (0..2000usize).flat_map(|key| {
        let name = format!("k{key}");
        let at = (key / 10 * 100) as u64;
        let first = (key, put(&name, "1"), at + 1, at + 50, Answer::Done, 0);
        let second = (key + 5000, put(&name, "2"), at + 2, at + 51, Answer::Done, 0);
        [first, second, (key, get(&name), at + 60, at + 61, value("1"), 0)]
    });
    let history: Vec<_> = rows.map(operation).collect();
    assert_eq!(check_answers(&history, 100), Ok(Verdict::Linearizable));
}
