//! Messages as the store's requests, checked as etcd checks them, in its order.

use bytes::Bytes;
use prost::{DecodeError, Message};

use super::etcdserverpb as pb;
use super::etcdserverpb::compare::{
    CompareResult as Relation, CompareTarget as Target, TargetUnion,
};
use super::etcdserverpb::range_request::{SortOrder as Order, SortTarget as By};
use super::etcdserverpb::request_op::Request;
use crate::core::{
    Compare, CompareResult, CompareTarget, DeleteRequest, KeyRange, Op, PutRequest, RangeRequest,
    Sort, SortOrder, SortTarget, Txn,
};

/// What etcd has against a request before it looks at any key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RequestError {
    EmptyKey,
    /// An operation that says nothing.
    EmptyOp,
    SortOption,
    ValueProvided,
    LeaseProvided,
    TooManyOps,
    /// A transaction inside a transaction is not a message.
    Malformed(DecodeError),
}

type Checked<T> = Result<T, RequestError>;

/// The range that etcd means by a key and an end: no end is one key, a single zero byte no bound.
pub(crate) fn key_range(key: Bytes, range_end: Bytes) -> KeyRange {
    match &range_end[..] {
        [] => KeyRange::key(key),
        [0] => KeyRange::from(key),
        _ => KeyRange::range(key, range_end),
    }
}

fn checked_range(key: Bytes, range_end: Bytes) -> Checked<KeyRange> {
    if key.is_empty() { Err(RequestError::EmptyKey) } else { Ok(key_range(key, range_end)) }
}

pub(crate) fn range_request(from: pb::RangeRequest) -> Checked<RangeRequest> {
    let mut request = RangeRequest::new(checked_range(from.key, from.range_end)?);
    request.sort = sort(from.sort_order, from.sort_target)?;
    request.revision = at_least_zero(from.revision);
    request.limit = usize::try_from(from.limit).unwrap_or(0);
    request.keys_only = from.keys_only;
    request.count_only = from.count_only;
    request.min_mod_revision = at_least_zero(from.min_mod_revision);
    request.max_mod_revision = at_least_zero(from.max_mod_revision);
    request.min_create_revision = at_least_zero(from.min_create_revision);
    request.max_create_revision = at_least_zero(from.max_create_revision);
    if from.max_mod_revision < 0 || from.max_create_revision < 0 {
        // No key is that old: all of them are counted and none is left.
        request.min_mod_revision = u64::MAX;
    }
    Ok(request)
}

/// In etcd what is negative is as good as not given.
fn at_least_zero(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn sort(order: i32, target: i32) -> Checked<Sort> {
    let unknown = |_| RequestError::SortOption;
    let order = match Order::try_from(order).map_err(unknown)? {
        Order::None => SortOrder::None,
        Order::Ascend => SortOrder::Ascending,
        Order::Descend => SortOrder::Descending,
    };
    let target = match By::try_from(target).map_err(unknown)? {
        By::Key => SortTarget::Key,
        By::Version => SortTarget::Version,
        By::Create => SortTarget::CreateRevision,
        By::Mod => SortTarget::ModRevision,
        By::Value => SortTarget::Value,
    };
    Ok(Sort { target, order })
}

pub(crate) fn put_request(from: pb::PutRequest) -> Checked<PutRequest> {
    if from.key.is_empty() {
        return Err(RequestError::EmptyKey);
    }
    if from.ignore_value && !from.value.is_empty() {
        return Err(RequestError::ValueProvided);
    }
    if from.ignore_lease && from.lease != 0 {
        return Err(RequestError::LeaseProvided);
    }
    let mut request = PutRequest::new(from.key, from.value);
    request.lease = from.lease;
    request.prev_kv = from.prev_kv;
    request.ignore_value = from.ignore_value;
    request.ignore_lease = from.ignore_lease;
    Ok(request)
}

pub(crate) fn delete_request(from: pb::DeleteRangeRequest) -> Checked<DeleteRequest> {
    let mut request = DeleteRequest::new(checked_range(from.key, from.range_end)?);
    request.prev_kv = from.prev_kv;
    Ok(request)
}

/// `max_ops` bounds the comparisons, and the operations of a branch, of the outermost transaction.
/// Every nested one has what those around it left, so they nest at most `max_ops` deep.
pub(crate) fn txn_request(from: pb::TxnRequest, max_ops: usize) -> Checked<Txn> {
    let ops = from.compare.len().max(from.success.len()).max(from.failure.len());
    let left = max_ops.checked_sub(ops).ok_or(RequestError::TooManyOps)?;
    let mut txn = Txn::new();
    if from.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(RequestError::EmptyKey);
    }
    txn.compares = from.compare.into_iter().map(compare).collect::<Checked<_>>()?;
    txn.success = request_ops(from.success, left)?;
    txn.failure = request_ops(from.failure, left)?;
    Ok(txn)
}

fn request_ops(from: Vec<pb::RequestOp>, max_ops: usize) -> Checked<Vec<Op>> {
    from.into_iter().map(|op| request_op(op, max_ops)).collect()
}

fn request_op(from: pb::RequestOp, max_ops: usize) -> Checked<Op> {
    match from.request.ok_or(RequestError::EmptyOp)? {
        Request::RequestRange(range) => range_request(range).map(Op::Range),
        Request::RequestPut(put) => put_request(put).map(Op::Put),
        Request::RequestDeleteRange(delete) => delete_request(delete).map(Op::Delete),
        Request::RequestTxn(nested) => {
            let nested = pb::TxnRequest::decode(nested).map_err(RequestError::Malformed)?;
            txn_request(nested, max_ops).map(Op::Txn)
        }
    }
}

/// A comparison. One whose operand has another type than its target compares with zero, and one of
/// an unknown kind compares as equal, as in etcd.
fn compare(from: pb::Compare) -> Checked<Compare> {
    let range = checked_range(from.key, from.range_end)?;
    let Ok(relation) = Relation::try_from(from.result) else {
        let of_value = from.target == i32::from(Target::Value);
        return Ok(if of_value { exists(range) } else { always(range, true) });
    };
    let Ok(target) = Target::try_from(from.target) else {
        return Ok(always(range, relation == Relation::Equal));
    };
    let given = from.target_union;
    let number = match (target, &given) {
        (Target::Version, Some(TargetUnion::Version(number)))
        | (Target::Create, Some(TargetUnion::CreateRevision(number)))
        | (Target::Mod, Some(TargetUnion::ModRevision(number)))
        | (Target::Lease, Some(TargetUnion::Lease(number))) => *number,
        _ => 0,
    };
    let value = match given {
        Some(TargetUnion::Value(value)) => value,
        _ => Bytes::new(),
    };
    let target = match (target, u64::try_from(number)) {
        (Target::Value, _) => CompareTarget::Value(value),
        (Target::Lease, _) => CompareTarget::Lease(number),
        (Target::Version, Ok(number)) => CompareTarget::Version(number),
        (Target::Create, Ok(number)) => CompareTarget::CreateRevision(number),
        (Target::Mod, Ok(number)) => CompareTarget::ModRevision(number),
        // Whatever the store has is greater than what is negative.
        (_, Err(_)) => {
            let holds = matches!(relation, Relation::Greater | Relation::NotEqual);
            return Ok(always(range, holds));
        }
    };
    Ok(Compare::new(range, compare_result(relation), target))
}

fn compare_result(relation: Relation) -> CompareResult {
    match relation {
        Relation::Equal => CompareResult::Equal,
        Relation::Greater => CompareResult::Greater,
        Relation::Less => CompareResult::Less,
        Relation::NotEqual => CompareResult::NotEqual,
    }
}

/// A comparison with a value never holds for a key that is not there.
fn exists(range: KeyRange) -> Compare {
    Compare::new(range, CompareResult::NotEqual, CompareTarget::Version(0))
}

/// A comparison that holds whatever the store has, or never does: no version reaches the number.
fn always(range: KeyRange, holds: bool) -> Compare {
    let result = if holds { CompareResult::NotEqual } else { CompareResult::Equal };
    Compare::new(range, result, CompareTarget::Version(u64::MAX))
}
