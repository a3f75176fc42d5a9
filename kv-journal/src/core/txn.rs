//! Evaluation of a request on a state: what it answers and what it changes.

use std::borrow::Cow;

use super::mvcc::State;
use super::record::{Mutation, Record};
use super::request::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, Op, OpResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, Txn, TxnResponse,
};
use super::value::KeyValue;
use crate::error::{Error, ErrorKind, Result};

/// What a transaction answers, and the record to apply and to journal if it changes anything.
pub(crate) struct Outcome {
    pub(crate) response: TxnResponse,
    pub(crate) record: Option<Record>,
}

/// Evaluates `txn`, which the caller has checked, without changing `state`.
///
/// # Errors
/// Of the operation that cannot run; then nothing of the transaction happens.
pub(crate) fn evaluate(state: &State, txn: &Txn) -> Result<Outcome> {
    let succeeded = txn.compares.iter().all(|compare| holds(state, compare));
    let ops = if succeeded { &txn.success } else { &txn.failure };
    check_reads(state, ops)?;
    let mut run = Run::new(state, ops);
    let responses = ops.iter().map(|op| run.op(op)).collect::<Result<Vec<_>>>()?;
    let revision = run.revision();
    let mutations = run.mutations;
    let record = (!mutations.is_empty()).then_some(Record::Transaction { revision, mutations });
    Ok(Outcome { response: TxnResponse { revision, succeeded, responses }, record })
}

/// A read of a revision that is not there fails the transaction before anything runs.
fn check_reads(state: &State, ops: &[Op]) -> Result<()> {
    ops.iter().try_for_each(|op| match op {
        Op::Range(range) if range.revision != 0 => state.check_readable(range.revision),
        _ => Ok(()),
    })
}

/// One branch being run. `state` becomes an owned copy only if a later operation must see what an
/// earlier one wrote.
struct Run<'a> {
    base: &'a State,
    state: Cow<'a, State>,
    sees_own_writes: bool,
    mutations: Vec<Mutation>,
}

impl<'a> Run<'a> {
    fn new(state: &'a State, ops: &[Op]) -> Self {
        // The static check forbids two changes of one key, so a put never needs to see another
        // operation; reads do, and deletes that overlap.
        let reads = ops.iter().any(|op| matches!(op, Op::Range(_)));
        let deletes = ops.iter().filter(|op| matches!(op, Op::Delete(_))).count();
        Self {
            base: state,
            state: Cow::Borrowed(state),
            sees_own_writes: ops.len() > 1 && (reads || deletes > 1),
            mutations: Vec::new(),
        }
    }

    /// The newest revision inside the transaction.
    fn revision(&self) -> u64 {
        self.base.revision() + u64::from(!self.mutations.is_empty())
    }

    /// Each answer carries the revision as it is after its operation, as in etcd.
    fn op(&mut self, op: &Op) -> Result<OpResponse> {
        match op {
            Op::Range(range) => self.range(range).map(OpResponse::Range),
            Op::Put(put) => self.put(put).map(OpResponse::Put),
            Op::Delete(delete) => self.delete(delete).map(OpResponse::Delete),
        }
    }

    fn range(&self, range: &RangeRequest) -> Result<RangeResponse> {
        let state = if range.revision == 0 { &*self.state } else { self.base };
        Ok(RangeResponse { revision: self.revision(), ..state.range(range)? })
    }

    fn put(&mut self, put: &PutRequest) -> Result<PutResponse> {
        let prev = self.state.get(&put.key).cloned();
        let kept = if put.ignore_value || put.ignore_lease {
            Some(prev.as_deref().ok_or_else(|| key_missing(put))?)
        } else {
            None
        };
        let value = kept.filter(|_| put.ignore_value).map_or(&put.value, |kv| &kv.value).clone();
        let lease = kept.filter(|_| put.ignore_lease).map_or(put.lease, |kv| kv.lease);
        self.push(Mutation::Put { key: put.key.clone(), value, lease })?;
        Ok(PutResponse { revision: self.revision(), prev_kv: prev.filter(|_| put.prev_kv) })
    }

    fn delete(&mut self, delete: &DeleteRequest) -> Result<DeleteResponse> {
        let deleted = self.state.count(&delete.range);
        let prev_kvs = if delete.prev_kv {
            self.state.iter(&delete.range).cloned().collect()
        } else {
            Vec::new()
        };
        if deleted > 0 {
            self.push(Mutation::Delete { range: delete.range.clone(), deleted })?;
        }
        Ok(DeleteResponse { revision: self.revision(), deleted, prev_kvs })
    }

    fn push(&mut self, mutation: Mutation) -> Result<()> {
        if self.sees_own_writes {
            let revision = self.base.revision() + 1;
            self.state.to_mut().apply_mutation(revision, &mutation, &mut Vec::new())?;
        }
        self.mutations.push(mutation);
        Ok(())
    }
}

fn key_missing(put: &PutRequest) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("key {:?} does not exist: ignore_value and ignore_lease need it", put.key),
    )
}

/// Whether a comparison holds on the state before the transaction.
fn holds(state: &State, compare: &Compare) -> bool {
    let mut keys = state.iter(&compare.range).peekable();
    if keys.peek().is_some() {
        return keys.all(|kv| holds_for(kv, compare));
    }
    // An absent key is all zeros, but it has no value to compare with.
    !matches!(compare.target, CompareTarget::Value(_)) && holds_for(&KeyValue::default(), compare)
}

fn holds_for(kv: &KeyValue, compare: &Compare) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::CreateRevision(revision) => kv.create_revision.cmp(revision),
        CompareTarget::ModRevision(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::NotEqual => ordering.is_ne(),
    }
}
