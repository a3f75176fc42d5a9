//! The store's requests as messages: what `requests.rs` reads back.

use bytes::Bytes;
use prost::Message;

use super::etcdserverpb as pb;
use super::etcdserverpb::compare::{
    CompareResult as Relation, CompareTarget as Target, TargetUnion,
};
use super::etcdserverpb::range_request::{SortOrder as Order, SortTarget as By};
use super::etcdserverpb::request_op::Request;
use super::numbers::signed;
use crate::core::{
    Compare, CompareResult, CompareTarget, DeleteRequest, KeyRange, Op, PutRequest, RangeRequest,
    SortOrder, SortTarget, Txn,
};
use crate::error::{Error, ErrorKind, Result};
use crate::kv_store::Consistency;

/// How etcd wants a range: a single zero byte as end is no bound, and no key is empty.
pub(crate) fn key_and_end(range: &KeyRange) -> (Bytes, Bytes) {
    const NO_BOUND: &[u8] = b"\0";
    // A range that begins with the key before all keys and ends there has none, either.
    if range.is_empty() || range.end_key().is_some_and(|end| end == NO_BOUND) {
        let beyond = Bytes::from_static(b"\0\0");
        return (beyond.clone(), beyond);
    }
    if let Some(key) = range.as_key() {
        return (key.clone(), Bytes::new());
    }
    let start = range.start();
    let start = if start.is_empty() { Bytes::from_static(b"\0") } else { start.clone() };
    (start, range.end_key().cloned().unwrap_or(Bytes::from_static(NO_BOUND)))
}

pub(crate) fn range_message(from: &RangeRequest, consistency: Consistency) -> pb::RangeRequest {
    let (key, range_end) = key_and_end(&from.range);
    pb::RangeRequest {
        key,
        range_end,
        limit: i64::try_from(from.limit).unwrap_or(i64::MAX),
        revision: signed(from.revision),
        sort_order: order(from.sort.order).into(),
        sort_target: by(from.sort.target).into(),
        serializable: consistency == Consistency::Serializable,
        keys_only: from.keys_only,
        count_only: from.count_only,
        min_mod_revision: signed(from.min_mod_revision),
        max_mod_revision: signed(from.max_mod_revision),
        min_create_revision: signed(from.min_create_revision),
        max_create_revision: signed(from.max_create_revision),
    }
}

fn order(order: SortOrder) -> Order {
    match order {
        SortOrder::None => Order::None,
        SortOrder::Ascending => Order::Ascend,
        SortOrder::Descending => Order::Descend,
    }
}

fn by(target: SortTarget) -> By {
    match target {
        SortTarget::Key => By::Key,
        SortTarget::Version => By::Version,
        SortTarget::CreateRevision => By::Create,
        SortTarget::ModRevision => By::Mod,
        SortTarget::Value => By::Value,
    }
}

pub(crate) fn put_message(from: &PutRequest) -> pb::PutRequest {
    pb::PutRequest {
        key: from.key.clone(),
        value: from.value.clone(),
        lease: from.lease,
        prev_kv: from.prev_kv,
        ignore_value: from.ignore_value,
        ignore_lease: from.ignore_lease,
    }
}

pub(crate) fn delete_message(from: &DeleteRequest) -> pb::DeleteRangeRequest {
    let (key, range_end) = key_and_end(&from.range);
    pb::DeleteRangeRequest { key, range_end, prev_kv: from.prev_kv }
}

/// `depth` is how deep it may nest.
pub(crate) fn txn_message(from: &Txn, depth: usize) -> Result<pb::TxnRequest> {
    let compare = from.compares.iter().map(compare_message).collect();
    let ops = |ops: &[Op]| ops.iter().map(|op| op_message(op, depth)).collect::<Result<_>>();
    Ok(pb::TxnRequest { compare, success: ops(&from.success)?, failure: ops(&from.failure)? })
}

fn op_message(from: &Op, depth: usize) -> Result<pb::RequestOp> {
    let request = match from {
        Op::Range(range) => Request::RequestRange(range_message(range, Consistency::Linearizable)),
        Op::Put(put) => Request::RequestPut(put_message(put)),
        Op::Delete(delete) => Request::RequestDeleteRange(delete_message(delete)),
        Op::Txn(nested) => {
            let too_deep = "the transaction nests too deep: let one inside go";
            let depth = depth.checked_sub(1);
            let depth = depth.ok_or_else(|| Error::new(ErrorKind::Invalid, too_deep))?;
            Request::RequestTxn(txn_message(nested, depth)?.encode_to_vec().into())
        }
    };
    Ok(pb::RequestOp { request: Some(request) })
}

fn compare_message(from: &Compare) -> pb::Compare {
    let (key, range_end) = key_and_end(&from.range);
    let (target, operand) = match &from.target {
        CompareTarget::Version(number) => (Target::Version, TargetUnion::Version(signed(*number))),
        CompareTarget::CreateRevision(number) => {
            (Target::Create, TargetUnion::CreateRevision(signed(*number)))
        }
        CompareTarget::ModRevision(number) => {
            (Target::Mod, TargetUnion::ModRevision(signed(*number)))
        }
        CompareTarget::Value(value) => (Target::Value, TargetUnion::Value(value.clone())),
        CompareTarget::Lease(lease) => (Target::Lease, TargetUnion::Lease(*lease)),
    };
    let result = match from.result {
        CompareResult::Equal => Relation::Equal,
        CompareResult::Greater => Relation::Greater,
        CompareResult::Less => Relation::Less,
        CompareResult::NotEqual => Relation::NotEqual,
    };
    let (result, target, target_union) = (result.into(), target.into(), Some(operand));
    pb::Compare { result, target, key, range_end, target_union }
}
