//! Evaluation of a request on a state: what it answers and what it changes.

use std::collections::VecDeque;

use super::lease::check_exists;
use super::mvcc::State;
use super::record::{Mutation, Record};
use super::request::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, Op, OpResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, Txn, TxnResponse,
};
use super::value::{KeyValue, Meta};
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
pub(crate) fn evaluate(state: &State, txn: Txn) -> Result<Outcome> {
    let mut plan = Plan::default();
    let succeeded = plan.add(state, &txn)?;
    let mut run = Run::new(state, plan);
    let responses = run.branch(txn, succeeded)?;
    let revision = run.revision();
    let mutations = run.mutations;
    let record = (!mutations.is_empty()).then_some(Record::Transaction { revision, mutations });
    Ok(Outcome { response: TxnResponse { revision, succeeded, responses }, record })
}

/// What will run, decided on the state before the transaction, before anything runs.
#[derive(Default)]
struct Plan {
    /// The branch of each nested transaction that runs, in the order in which they do.
    nested: VecDeque<bool>,
    ops: usize,
    reads: usize,
    deletes: usize,
}

impl Plan {
    /// Whether the comparisons of `txn` hold. An operation that cannot run fails it all.
    fn add(&mut self, state: &State, txn: &Txn) -> Result<bool> {
        let succeeded = txn.compares.iter().all(|compare| holds(state, compare));
        for op in txn.branch(succeeded) {
            self.ops += 1;
            match op {
                Op::Range(range) => {
                    self.reads += 1;
                    check_read(state, range)?;
                }
                Op::Put(put) => {
                    check_kept(state, put)?;
                    check_lease(state, put.lease)?;
                }
                Op::Delete(_) => self.deletes += 1,
                Op::Txn(nested) => {
                    let place = self.nested.len();
                    self.nested.push_back(false);
                    let succeeded = self.add(state, nested)?;
                    if let Some(at) = self.nested.get_mut(place) {
                        *at = succeeded;
                    }
                }
            }
        }
        Ok(succeeded)
    }

    /// The static check forbids two changes of one key except by deletes, so a put never needs to
    /// see another operation; reads do, and deletes that overlap.
    fn sees_own_writes(&self) -> bool {
        self.ops > 1 && (self.reads > 0 || self.deletes > 1)
    }
}

fn check_read(state: &State, range: &RangeRequest) -> Result<()> {
    if range.revision == 0 { Ok(()) } else { state.check_readable(range.revision) }
}

fn check_kept(state: &State, put: &PutRequest) -> Result<()> {
    let keeps = put.ignore_value || put.ignore_lease;
    if keeps && state.get(&put.key).is_none() { Err(key_missing(put)) } else { Ok(()) }
}

fn check_lease(state: &State, lease: i64) -> Result<()> {
    if lease == 0 { Ok(()) } else { check_exists(state, lease) }
}

/// One path through the transaction being run. What is written is applied to a copy only if a
/// later operation must see it.
struct Run<'a> {
    base: &'a State,
    /// With what was written so far.
    written: Option<State>,
    nested: VecDeque<bool>,
    sees_own_writes: bool,
    mutations: Vec<Mutation>,
}

impl<'a> Run<'a> {
    fn new(state: &'a State, plan: Plan) -> Self {
        Self {
            base: state,
            written: None,
            sees_own_writes: plan.sees_own_writes(),
            nested: plan.nested,
            mutations: Vec::new(),
        }
    }

    /// The newest revision inside the transaction.
    fn revision(&self) -> u64 {
        self.base.revision() + u64::from(!self.mutations.is_empty())
    }

    /// What the next operation sees.
    fn state(&self) -> &State {
        self.written.as_ref().unwrap_or(self.base)
    }

    fn branch(&mut self, mut txn: Txn, succeeded: bool) -> Result<Vec<OpResponse>> {
        let ops = if succeeded { &mut txn.success } else { &mut txn.failure };
        std::mem::take(ops).into_iter().map(|op| self.op(op)).collect()
    }

    /// Each answer carries the revision as it is after its operation, as in etcd.
    fn op(&mut self, op: Op) -> Result<OpResponse> {
        match op {
            Op::Range(range) => self.range(&range).map(OpResponse::Range),
            Op::Put(put) => self.put(put).map(OpResponse::Put),
            Op::Delete(delete) => self.delete(delete).map(OpResponse::Delete),
            Op::Txn(txn) => self.txn(txn).map(OpResponse::Txn),
        }
    }

    fn txn(&mut self, txn: Txn) -> Result<TxnResponse> {
        let succeeded = self.nested.pop_front().unwrap_or(false);
        let responses = self.branch(txn, succeeded)?;
        Ok(TxnResponse { revision: self.revision(), succeeded, responses })
    }

    fn range(&self, range: &RangeRequest) -> Result<RangeResponse> {
        let state = if range.revision == 0 { self.state() } else { self.base };
        Ok(RangeResponse { revision: self.revision(), ..state.range(range)? })
    }

    fn put(&mut self, put: PutRequest) -> Result<PutResponse> {
        let needs_prev = put.prev_kv || put.ignore_value || put.ignore_lease;
        let prev = if needs_prev { self.state().get(&put.key).cloned() } else { None };
        let kept = if put.ignore_value || put.ignore_lease {
            Some(prev.as_ref().ok_or_else(|| key_missing(&put))?)
        } else {
            None
        };
        let lease = kept.filter(|_| put.ignore_lease).map_or(put.lease, KeyValue::lease);
        let value = kept.filter(|_| put.ignore_value);
        let value = value.map_or(put.value, KeyValue::value_bytes);
        self.push(Mutation::Put { key: put.key, value, lease })?;
        Ok(PutResponse { revision: self.revision(), prev_kv: prev.filter(|_| put.prev_kv) })
    }

    fn delete(&mut self, delete: DeleteRequest) -> Result<DeleteResponse> {
        let deleted = self.state().count(&delete.range);
        let prev_kvs = if delete.prev_kv {
            self.state().iter(&delete.range).cloned().collect()
        } else {
            Vec::new()
        };
        if deleted > 0 {
            self.push(Mutation::Delete { range: delete.range, deleted })?;
        }
        Ok(DeleteResponse { revision: self.revision(), deleted, prev_kvs })
    }

    fn push(&mut self, mutation: Mutation) -> Result<()> {
        if self.sees_own_writes {
            let revision = self.base.revision() + 1;
            let written = self.written.get_or_insert_with(|| self.base.writable());
            written.apply_mutation(revision, &mutation, &mut Vec::new())?;
        }
        self.mutations.push(mutation);
        Ok(())
    }
}

fn key_missing(put: &PutRequest) -> Error {
    Error::new(
        ErrorKind::KeyNotFound,
        format!("key {:?} does not exist: ignore_value and ignore_lease need it", put.key),
    )
}

/// Whether a comparison holds on the state before the transaction.
fn holds(state: &State, compare: &Compare) -> bool {
    let mut keys = state.iter(&compare.range).peekable();
    if keys.peek().is_some() {
        return keys.all(|kv| holds_for(kv.meta(), Some(kv.value()), compare));
    }
    holds_for(Meta::default(), None, compare)
}

/// An absent key is all zeros, but it has no value to compare with.
fn holds_for(meta: Meta, value: Option<&[u8]>, compare: &Compare) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(version) => meta.version.cmp(version),
        CompareTarget::CreateRevision(revision) => meta.create_revision.cmp(revision),
        CompareTarget::ModRevision(revision) => meta.mod_revision.cmp(revision),
        CompareTarget::Lease(lease) => meta.lease.cmp(lease),
        CompareTarget::Value(expected) => match value {
            Some(value) => value.cmp(expected),
            None => return false,
        },
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::NotEqual => ordering.is_ne(),
    }
}
