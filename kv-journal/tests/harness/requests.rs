//! Requests of any shape, over few keys.
#![allow(dead_code, reason = "each test binary uses a part")]

use bytes::Bytes;
use kv_journal::{
    Compare, CompareResult, CompareTarget, DeleteRequest, KeyRange, Op, PutRequest, RangeRequest,
    Txn,
};
use proptest::prelude::*;

pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    "[abc]{1,2}".prop_map(Bytes::from)
}

pub(crate) fn value() -> impl Strategy<Value = Bytes> {
    "[xyz]{0,3}".prop_map(Bytes::from)
}

pub(crate) fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        key().prop_map(KeyRange::key),
        key().prop_map(KeyRange::prefix),
        (key(), key()).prop_map(|(start, end)| KeyRange::range(start, end)),
        key().prop_map(KeyRange::from),
        Just(KeyRange::all()),
    ]
}

/// Every key that the strategies give.
pub(crate) fn universe() -> impl Iterator<Item = Bytes> {
    let pairs = ["a", "b", "c"]
        .into_iter()
        .flat_map(|first| ["", "a", "b", "c"].into_iter().map(move |next| first.to_owned() + next));
    pairs.map(Bytes::from)
}

/// Transactions without leases.
pub(crate) fn txn() -> impl Strategy<Value = Txn> {
    txn_with(Just(0).boxed())
}

/// Transactions whose puts name these leases.
pub(crate) fn txn_with(lease: BoxedStrategy<i64>) -> impl Strategy<Value = Txn> {
    let leaf = (compares(), branch(op(&lease)), branch(op(&lease))).prop_map(build);
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let op = || prop_oneof![3 => op(&lease), 2 => inner.clone().prop_map(Op::Txn)].boxed();
        (compares(), branch(op()), branch(op())).prop_map(build)
    })
}

fn build((compares, success, failure): (Vec<Compare>, Vec<Op>, Vec<Op>)) -> Txn {
    let txn = compares.into_iter().fold(Txn::new(), Txn::when);
    let txn = success.into_iter().fold(txn, Txn::then);
    failure.into_iter().fold(txn, Txn::or_else)
}

fn branch(op: BoxedStrategy<Op>) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op, 0..4)
}

fn compares() -> impl Strategy<Value = Vec<Compare>> {
    prop::collection::vec(compare(), 0..3)
}

fn compare() -> impl Strategy<Value = Compare> {
    let result = prop_oneof![
        Just(CompareResult::Equal),
        Just(CompareResult::NotEqual),
        Just(CompareResult::Greater),
        Just(CompareResult::Less),
    ];
    let target = prop_oneof![
        (0..4u64).prop_map(CompareTarget::Version),
        (0..20u64).prop_map(CompareTarget::CreateRevision),
        (0..20u64).prop_map(CompareTarget::ModRevision),
        value().prop_map(CompareTarget::Value),
        (0..3i64).prop_map(CompareTarget::Lease),
    ];
    (range(), result, target)
        .prop_map(|(range, result, target)| Compare::new(range, result, target))
}

fn op(lease: &BoxedStrategy<i64>) -> BoxedStrategy<Op> {
    let read = (range(), 0..4usize, prop::option::weighted(0.2, 1..25u64));
    prop_oneof![
        3 => read.prop_map(|(range, limit, revision)| {
            Op::Range(RangeRequest::new(range).limit(limit).at(revision.unwrap_or_default()))
        }),
        5 => (put(), lease.clone()).prop_map(|(put, lease)| Op::Put(attached(put, lease))),
        1 => delete().prop_map(Op::Delete),
    ]
    .boxed()
}

/// A put that keeps its value may keep its lease too.
fn attached(mut put: PutRequest, lease: i64) -> PutRequest {
    if put.ignore_value {
        put.ignore_lease = lease != 0;
    } else {
        put.lease = lease;
    }
    put
}

/// A put that now and then keeps the value.
pub(crate) fn put() -> impl Strategy<Value = PutRequest> {
    (key(), value(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(key, value, prev_kv, keep)| {
            let mut put = PutRequest::new(key, if keep { Bytes::new() } else { value });
            (put.prev_kv, put.ignore_value) = (prev_kv, keep);
            put
        },
    )
}

pub(crate) fn delete() -> impl Strategy<Value = DeleteRequest> {
    (range(), any::<bool>()).prop_map(|(range, prev_kv)| {
        let mut delete = DeleteRequest::new(range);
        delete.prev_kv = prev_kv;
        delete
    })
}
