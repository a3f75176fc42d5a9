//! What can be said against a request without looking at the state.

use std::collections::BTreeSet;

use super::key_range::KeyRange;
use super::request::{CompareTarget, DeleteRequest, Op, PutRequest, RangeRequest, Txn};
use crate::error::{Error, ErrorKind, Result};

/// How large a request may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    pub(crate) request_bytes: usize,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) txn_ops: usize,
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
    let ops = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    at_most("the number of operations", ops, limits.txn_ops)?;
    txn.compares.iter().try_for_each(|compare| check_range(&compare.range))?;
    for branch in [&txn.success, &txn.failure] {
        branch.iter().try_for_each(|op| check_op(op, limits))?;
        check_overlap(branch)?;
    }
    at_most("the request", txn_bytes(txn), limits.request_bytes)
}

fn check_op(op: &Op, limits: &RequestLimits) -> Result<()> {
    match op {
        Op::Range(RangeRequest { range, .. }) | Op::Delete(DeleteRequest { range, .. }) => {
            check_range(range)
        }
        Op::Put(put) => check_put_shape(put, limits),
    }
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

/// No key is written twice in one revision, and none is both written and deleted.
///
/// As in etcd this is decided on the request alone, so that a transaction is refused whatever the
/// state. Two deletes may overlap.
fn check_overlap(branch: &[Op]) -> Result<()> {
    let mut written = BTreeSet::<&[u8]>::new();
    for put in puts(branch) {
        if !written.insert(&put.key) {
            return Err(changed_twice(&put.key));
        }
    }
    for range in deletes(branch).filter(|range| !range.is_empty()) {
        if let Some(key) = written.range::<[u8], _>(range.bounds()).next() {
            return Err(changed_twice(key));
        }
    }
    Ok(())
}

fn changed_twice(key: &[u8]) -> Error {
    let key = key.escape_ascii();
    Error::new(ErrorKind::Invalid, format!("the transaction changes key \"{key}\" twice"))
}

fn puts(branch: &[Op]) -> impl Iterator<Item = &PutRequest> {
    branch.iter().filter_map(|op| match op {
        Op::Put(put) => Some(put),
        Op::Range(_) | Op::Delete(_) => None,
    })
}

fn deletes(branch: &[Op]) -> impl Iterator<Item = &KeyRange> {
    branch.iter().filter_map(|op| match op {
        Op::Delete(delete) => Some(&delete.range),
        Op::Range(_) | Op::Put(_) => None,
    })
}

fn txn_bytes(txn: &Txn) -> usize {
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
    });
    compares.chain(ops).sum()
}

fn at_most(what: &str, value: usize, limit: usize) -> Result<()> {
    if value <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("{what} is {value}: the limit is {limit}")))
}
