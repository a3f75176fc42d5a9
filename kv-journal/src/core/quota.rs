//! What a request would add to the memory in use.

use super::mvcc::version_bytes_of;
use super::request::{Op, PutRequest, Txn};

/// The most that `txn` can add, whichever branch runs; 0 if it cannot put anything. As in etcd
/// that decides what the quota stops.
pub(crate) fn cost(txn: &Txn) -> u64 {
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}

fn branch_cost(ops: &[Op]) -> u64 {
    ops.iter().map(op_cost).sum()
}

fn op_cost(op: &Op) -> u64 {
    match op {
        Op::Put(PutRequest { key, value, .. }) => version_bytes_of(key, value),
        Op::Txn(nested) => cost(nested),
        Op::Range(_) | Op::Delete(_) => 0,
    }
}
