//! Messages of any shape, over few keys, sensible and not.

use bytes::Bytes;
use kv_journal::etcd_api::etcdserverpb::compare::TargetUnion;
use kv_journal::etcd_api::etcdserverpb::request_op::Request;
use kv_journal::etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    WatchCreateRequest,
};
use proptest::prelude::*;
use prost::Message;

/// The leases that steps grant and revoke, and one that never exists.
pub(crate) const LEASES: [i64; 4] = [0, 1001, 1002, 9999];

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        40 => "[abc]{1,2}".prop_map(Bytes::from),
        1 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
    ]
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => Just(Bytes::new()),
        4 => "[abcd]{1,2}".prop_map(Bytes::from),
        2 => Just(Bytes::from_static(b"\0")),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    "[xyz]{0,3}".prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0), 1 => prop::sample::select(&LEASES[..])]
}

/// A bound on revisions, or a revision, or neither.
fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![12 => Just(0i64), 2 => 1..400i64, 1 => Just(-3i64)]
}

pub(crate) fn put() -> impl Strategy<Value = PutRequest> {
    (key(), value(), lease(), any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
        .prop_map(|(key, value, lease, prev_kv, ignore_value, ignore_lease)| PutRequest {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        })
}

pub(crate) fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

pub(crate) fn range() -> impl Strategy<Value = RangeRequest> {
    let what = (key(), range_end(), -1..5i64, any::<bool>());
    // Only in key order is it said which of several equal keys comes first, or is cut.
    let order = (0..3i32, Just(0i32));
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (what, order, flags, (bound(), bound(), bound(), bound())).prop_map(
        |((key, range_end, limit, serializable), order, flags, bounds)| RangeRequest {
            key,
            range_end,
            limit,
            revision: 0,
            sort_order: order.0,
            sort_target: order.1,
            serializable,
            keys_only: flags.0,
            count_only: flags.1,
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let number = || prop_oneof![4 => 0..60i64, 1 => Just(-1i64)];
    let union = prop_oneof![
        2 => number().prop_map(|n| Some(TargetUnion::Version(n))),
        2 => number().prop_map(|n| Some(TargetUnion::CreateRevision(n))),
        4 => number().prop_map(|n| Some(TargetUnion::ModRevision(n))),
        2 => value().prop_map(|v| Some(TargetUnion::Value(v))),
        1 => lease().prop_map(|l| Some(TargetUnion::Lease(l))),
        1 => Just(None),
    ];
    let skewed = prop::option::weighted(0.1, 0..7i32);
    (key(), range_end(), 0..5i32, union, skewed).prop_map(
        |(key, range_end, result, target_union, skewed)| {
            let fitting = match &target_union {
                Some(TargetUnion::Version(_)) | None => 0,
                Some(TargetUnion::CreateRevision(_)) => 1,
                Some(TargetUnion::ModRevision(_)) => 2,
                Some(TargetUnion::Value(_)) => 3,
                Some(TargetUnion::Lease(_)) => 4,
            };
            let target = skewed.unwrap_or(fitting);
            Compare { key, range_end, result, target, target_union }
        },
    )
}

pub(crate) fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = (compares(), branch(op().boxed()), branch(op().boxed())).prop_map(build);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let nested = inner.prop_map(|txn: TxnRequest| RequestOp {
            request: Some(Request::RequestTxn(txn.encode_to_vec().into())),
        });
        let op = prop_oneof![3 => op(), 2 => nested].boxed();
        (compares(), branch(op.clone()), branch(op)).prop_map(build)
    })
}

fn compares() -> impl Strategy<Value = Vec<Compare>> {
    prop::collection::vec(compare(), 0..3)
}

fn branch(op: BoxedStrategy<RequestOp>) -> impl Strategy<Value = Vec<RequestOp>> {
    prop::collection::vec(op, 0..4)
}

fn build(
    (compare, success, failure): (Vec<Compare>, Vec<RequestOp>, Vec<RequestOp>),
) -> TxnRequest {
    TxnRequest { compare, success, failure }
}

fn op() -> impl Strategy<Value = RequestOp> {
    let request = prop_oneof![
        8 => put().prop_map(|put| Some(Request::RequestPut(put))),
        4 => delete().prop_map(|delete| Some(Request::RequestDeleteRange(delete))),
        4 => range().prop_map(|range| Some(Request::RequestRange(range))),
    ];
    request.prop_map(|request| RequestOp { request })
}

pub(crate) fn watch() -> impl Strategy<Value = WatchCreateRequest> {
    (key(), range_end(), any::<bool>(), prop::collection::vec(0..2i32, 0..2), bound()).prop_map(
        |(key, range_end, prev_kv, filters, start_revision)| WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: false,
            filters,
            prev_kv,
            watch_id: 0,
            fragment: false,
        },
    )
}
