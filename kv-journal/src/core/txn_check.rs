//! What can be said against a request without looking at the state.

use super::key_range::KeyRange;
use super::request::{CompareTarget, DeleteRequest, Op, PutRequest, RangeRequest, Txn};
use super::txn_overlap::check_overlap;
use crate::error::{Error, ErrorKind, Result};

/// How large a request may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    pub(crate) request_bytes: usize,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) txn_ops: usize,
    pub(crate) txn_depth: usize,
}

pub(crate) fn check_put(put: &PutRequest, limits: &RequestLimits) -> Result<()> {
    check_put_shape(put, limits)?;
    at_most("the request", put.key.len() + put.value.len(), limits.request_bytes)
}

pub(crate) fn check_delete(delete: &DeleteRequest, limits: &RequestLimits) -> Result<()> {
    check_range(&delete.range)?;
    at_most("the request", delete.range.byte_len(), limits.request_bytes)
}

/// A single key must not be empty; ranges over everything may begin with the empty key.
pub(crate) fn check_range(range: &KeyRange) -> Result<()> {
    match range.as_key() {
        Some(key) if key.is_empty() => Err(Error::new(ErrorKind::Invalid, "the key is empty")),
        _ => Ok(()),
    }
}

pub(crate) fn check_txn(txn: &Txn, limits: &RequestLimits) -> Result<()> {
    check_shape(txn, limits, limits.txn_ops, limits.txn_depth)?;
    at_most("the request", txn_bytes(txn), limits.request_bytes)?;
    check_overlap(txn)
}

/// As in etcd a nested transaction may have as many operations in a branch as the one around it
/// has left. `depth` bounds the recursion here and in everything that comes after.
fn check_shape(txn: &Txn, limits: &RequestLimits, budget: usize, depth: usize) -> Result<()> {
    let ops = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    at_most("the number of operations", ops, budget)?;
    txn.compares.iter().try_for_each(|compare| check_range(&compare.range))?;
    txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
        Op::Range(RangeRequest { range, .. }) | Op::Delete(DeleteRequest { range, .. }) => {
            check_range(range)
        }
        Op::Put(put) => check_put_shape(put, limits),
        Op::Txn(nested) => match depth.checked_sub(1) {
            Some(depth) => check_shape(nested, limits, budget - ops, depth),
            None => Err(nests_too_deep(limits.txn_depth)),
        },
    })
}

fn check_put_shape(put: &PutRequest, limits: &RequestLimits) -> Result<()> {
    if put.key.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "the key is empty"));
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "ignore_value: leave the value empty"));
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::new(ErrorKind::Invalid, "ignore_lease: leave the lease 0"));
    }
    at_most("the key", put.key.len(), limits.key_bytes)?;
    at_most("the value", put.value.len(), limits.value_bytes)
}

/// What a nested transaction counts beside its content, so that empty ones count: about its frame
/// in etcd's protocol.
const NESTED_BYTES: usize = 4;

/// The bytes of all keys and values in a transaction, whatever runs.
pub(crate) fn txn_bytes(txn: &Txn) -> usize {
    let compares = txn.compares.iter().map(|compare| {
        let value = match &compare.target {
            CompareTarget::Value(value) => value.len(),
            _ => 0,
        };
        compare.range.byte_len() + value
    });
    let ops = txn.success.iter().chain(&txn.failure).map(|op| match op {
        Op::Range(range) => range.range.byte_len(),
        Op::Put(put) => put.key.len() + put.value.len(),
        Op::Delete(delete) => delete.range.byte_len(),
        Op::Txn(nested) => NESTED_BYTES + txn_bytes(nested),
    });
    compares.chain(ops).sum()
}

fn nests_too_deep(limit: usize) -> Error {
    Error::new(ErrorKind::Invalid, format!("the transaction nests deeper than {limit}: flatten it"))
}

fn at_most(what: &str, value: usize, limit: usize) -> Result<()> {
    if value <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("{what} is {value}: the limit is {limit}")))
}
