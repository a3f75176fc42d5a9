//! What a plain map of histories makes of a transaction.

use bytes::Bytes;
use kv_journal::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, ErrorKind, KeyRange,
    KeyValue, Op, OpResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, Txn,
    TxnResponse,
};

use proptest::prelude::*;

use super::leases::lease;
use super::requests::{txn_with, universe};
use super::{Model, State};

/// Transactions whose puts name leases, of which some exist.
pub(super) fn txn() -> impl Strategy<Value = Txn> {
    txn_with(prop_oneof![3 => Just(0), 1 => lease()].boxed())
}

/// What `txn` must answer, and the state after it if it changes anything.
pub(super) fn expect(model: &Model, txn: &Txn) -> Result<(TxnResponse, Option<State>), ErrorKind> {
    if universe().any(|key| conflicts(&txn.success, &key) || conflicts(&txn.failure, &key)) {
        return Err(ErrorKind::Invalid);
    }
    check(model, txn)?;
    let mut run = Run { model, state: model.now().clone(), changed: false };
    let response = run.txn(txn);
    Ok((response, run.changed.then_some(run.state)))
}

/// Whether two members of a branch may change the key, unless both delete it, or a nested one may
/// do so by itself.
fn conflicts(branch: &[Op], key: &Bytes) -> bool {
    let puts = branch.iter().filter(|op| may_put(op, key)).count();
    let mixed = branch.iter().enumerate().any(|(at, op)| {
        let beside = branch.iter().enumerate().filter(|(other, _)| *other != at);
        may_put(op, key) && beside.map(|(_, op)| op).any(|op| may_delete(op, key))
    });
    let within = branch.iter().any(|op| match op {
        Op::Txn(txn) => conflicts(&txn.success, key) || conflicts(&txn.failure, key),
        _ => false,
    });
    puts > 1 || mixed || within
}

fn may_put(op: &Op, key: &Bytes) -> bool {
    match op {
        Op::Put(put) => put.key == key,
        Op::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|op| may_put(op, key)),
        _ => false,
    }
}

fn may_delete(op: &Op, key: &Bytes) -> bool {
    match op {
        Op::Delete(delete) => delete.range.contains(key),
        Op::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|op| may_delete(op, key)),
        _ => false,
    }
}

fn check(model: &Model, txn: &Txn) -> Result<(), ErrorKind> {
    chosen(model, txn).1.iter().try_for_each(|op| match op {
        Op::Range(read) if read.revision > 0 => model.readable(read.revision),
        Op::Put(put) if put.ignore_value && !model.now().contains_key(&put.key) => {
            Err(ErrorKind::KeyNotFound)
        }
        Op::Put(put) => model.check_lease(put.lease),
        Op::Txn(nested) => check(model, nested),
        _ => Ok(()),
    })
}

fn chosen<'a>(model: &Model, txn: &'a Txn) -> (bool, &'a [Op]) {
    let succeeded = txn.compares.iter().all(|compare| holds(model.now(), compare));
    (succeeded, if succeeded { &txn.success } else { &txn.failure })
}

fn holds(state: &State, compare: &Compare) -> bool {
    let mut kvs: Vec<_> = within(state, &compare.range);
    if kvs.is_empty() {
        if matches!(compare.target, CompareTarget::Value(_)) {
            return false;
        }
        kvs.push(KeyValue::default());
    }
    kvs.iter().all(|kv| {
        let ordering = match &compare.target {
            CompareTarget::Version(version) => kv.version().cmp(version),
            CompareTarget::CreateRevision(revision) => kv.create_revision().cmp(revision),
            CompareTarget::ModRevision(revision) => kv.mod_revision().cmp(revision),
            CompareTarget::Value(value) => kv.value().cmp(value),
            CompareTarget::Lease(lease) => kv.lease().cmp(lease),
        };
        match compare.result {
            CompareResult::Equal => ordering.is_eq(),
            CompareResult::NotEqual => ordering.is_ne(),
            CompareResult::Greater => ordering.is_gt(),
            CompareResult::Less => ordering.is_lt(),
        }
    })
}

fn within(state: &State, range: &KeyRange) -> Vec<KeyValue> {
    state.values().filter(|kv| range.contains(kv.key())).cloned().collect()
}

struct Run<'a> {
    model: &'a Model,
    state: State,
    changed: bool,
}

impl Run<'_> {
    fn revision(&self) -> u64 {
        self.model.revision() + u64::from(self.changed)
    }

    fn txn(&mut self, txn: &Txn) -> TxnResponse {
        let (succeeded, ops) = chosen(self.model, txn);
        let mut response = TxnResponse::default();
        response.responses = ops.iter().map(|op| self.op(op)).collect();
        response.succeeded = succeeded;
        response.revision = self.revision();
        response
    }

    fn op(&mut self, op: &Op) -> OpResponse {
        match op {
            Op::Range(read) => OpResponse::Range(self.range(read)),
            Op::Put(put) => OpResponse::Put(self.put(put)),
            Op::Delete(delete) => OpResponse::Delete(self.delete(delete)),
            Op::Txn(txn) => OpResponse::Txn(self.txn(txn)),
            other => panic!("{other:?}"),
        }
    }

    fn range(&self, read: &RangeRequest) -> RangeResponse {
        let state = if read.revision == 0 { &self.state } else { self.model.at(read.revision) };
        let mut kvs = within(state, &read.range);
        let mut response = RangeResponse::default();
        response.revision = self.revision();
        response.count = kvs.len() as u64;
        if read.limit > 0 {
            response.more = kvs.len() > read.limit;
            kvs.truncate(read.limit);
        }
        response.kvs = kvs.into_iter().collect();
        response
    }

    fn put(&mut self, put: &PutRequest) -> PutResponse {
        let before = self.state.get(&put.key).cloned();
        let value = if put.ignore_value {
            before.clone().unwrap().value_bytes()
        } else {
            put.value.clone()
        };
        let lease = if put.ignore_lease { before.as_ref().unwrap().lease() } else { put.lease };
        self.model.put(&mut self.state, &put.key, &value, lease);
        self.changed = true;
        let mut response = PutResponse::default();
        response.revision = self.revision();
        response.prev_kv = before.filter(|_| put.prev_kv);
        response
    }

    fn delete(&mut self, delete: &DeleteRequest) -> DeleteResponse {
        let doomed = within(&self.state, &delete.range);
        self.state.retain(|key, _| !delete.range.contains(key));
        self.changed |= !doomed.is_empty();
        let mut response = DeleteResponse::default();
        response.revision = self.revision();
        response.deleted = doomed.len() as u64;
        if delete.prev_kv {
            response.prev_kvs = doomed.into_iter().collect();
        }
        response
    }
}
