//! Requests and their answers, in etcd's terms.

use bytes::Bytes;

use super::key_range::KeyRange;
use super::value::KeyValue;

/// A read of the keys in a range, now or at a past revision.
///
/// ```
/// use kv_journal::{KeyRange, RangeRequest};
///
/// let page = RangeRequest::new(KeyRange::prefix("pods/")).at(17).limit(500);
/// assert_eq!(page.limit, 500);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// At which revision; 0 is the newest.
    pub revision: u64,
    /// At most so many keys; 0 is no limit.
    pub limit: usize,
    /// In which order; key order without it.
    pub sort: Sort,
    /// Leave values and leases out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Only keys last changed at this revision or later; 0 is no bound.
    pub min_mod_revision: u64,
    /// Only keys last changed at this revision or before; 0 is no bound.
    pub max_mod_revision: u64,
    /// Only keys created at this revision or later; 0 is no bound.
    pub min_create_revision: u64,
    /// Only keys created at this revision or before; 0 is no bound.
    pub max_create_revision: u64,
}

/// How the keys of an answer are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sort {
    /// By what.
    pub target: SortTarget,
    /// Which way.
    pub order: SortOrder,
}

/// What an answer is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The version.
    Version,
    /// The revision of creation.
    CreateRevision,
    /// The revision of the last change.
    ModRevision,
    /// The value.
    Value,
}

/// The direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortOrder {
    /// Not asked for. With a target other than the key the limit is applied first, in key order,
    /// and what remains is sorted upwards, as etcd does it.
    #[default]
    None,
    /// Upwards.
    Ascending,
    /// Downwards.
    Descending,
}

impl RangeRequest {
    /// All of `range` at the newest revision.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            revision: 0,
            limit: 0,
            sort: Sort::default(),
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }

    /// The same read at `revision`; 0 is the newest.
    #[must_use]
    pub fn at(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    /// The same read with at most `limit` keys; 0 is no limit.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The same read in this order.
    #[must_use]
    pub fn sort(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.sort = Sort { target, order };
        self
    }

    /// The same read without values.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// The count alone.
    #[must_use]
    pub fn count_only(mut self) -> Self {
        self.count_only = true;
        self
    }

    /// Whether a filter on revisions is set.
    pub(crate) fn filters(&self) -> bool {
        self.min_mod_revision != 0
            || self.max_mod_revision != 0
            || self.min_create_revision != 0
            || self.max_create_revision != 0
    }
}

impl From<KeyRange> for RangeRequest {
    fn from(range: KeyRange) -> Self {
        Self::new(range)
    }
}

/// The answer to a [`RangeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RangeResponse {
    /// The newest revision when the request was answered, whatever revision it asked for.
    pub revision: u64,
    /// The keys; empty if only a count was asked for.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut keys off.
    pub more: bool,
    /// How many keys the range holds, whatever the limit and the filters.
    pub count: u64,
}

/// A write of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutRequest {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease to attach it to; 0 for none.
    pub lease: i64,
    /// Keep the present value; the key must exist.
    pub ignore_value: bool,
    /// Keep the present lease; the key must exist.
    pub ignore_lease: bool,
    /// Answer with what was there before.
    pub prev_kv: bool,
}

impl PutRequest {
    /// `value` at `key`, without a lease.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            lease: 0,
            ignore_value: false,
            ignore_lease: false,
            prev_kv: false,
        }
    }

    /// The same write, attached to `lease`.
    #[must_use]
    pub fn lease(mut self, lease: i64) -> Self {
        self.lease = lease;
        self
    }

    /// The same write, answered with what was there before.
    #[must_use]
    pub fn prev_kv(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// The answer to a [`PutRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PutResponse {
    /// The revision of the write.
    pub revision: u64,
    /// What was there before, if asked for.
    pub prev_kv: Option<KeyValue>,
}

/// A delete of every key in a range.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteRequest {
    /// Which keys.
    pub range: KeyRange,
    /// Answer with what was there before.
    pub prev_kv: bool,
}

impl DeleteRequest {
    /// A delete of every key in `range`.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self { range, prev_kv: false }
    }

    /// The same delete, answered with what was there before.
    #[must_use]
    pub fn prev_kv(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

impl From<KeyRange> for DeleteRequest {
    fn from(range: KeyRange) -> Self {
        Self::new(range)
    }
}

/// The answer to a [`DeleteRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeleteResponse {
    /// The revision of the delete, or the newest one if nothing was there to delete.
    pub revision: u64,
    /// How many keys were deleted.
    pub deleted: u64,
    /// What was there before, in key order, if asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// One condition of a [`Txn`].
///
/// Over a range it must hold for every key. A key that does not exist, like a range without keys,
/// compares as all zeros, except that a comparison with a value is then false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// What of them, and with what.
    pub target: CompareTarget,
    /// How it must compare.
    pub result: CompareResult,
}

/// What of a key is compared, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareTarget {
    /// The version.
    Version(u64),
    /// The revision of creation.
    CreateRevision(u64),
    /// The revision of the last change.
    ModRevision(u64),
    /// The value.
    Value(Bytes),
    /// The lease.
    Lease(i64),
}

/// How the stored side must compare with the given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareResult {
    /// Stored == given.
    Equal,
    /// Stored > given.
    Greater,
    /// Stored < given.
    Less,
    /// Stored != given.
    NotEqual,
}

impl Compare {
    /// The key's last change is `revision`; 0 says that it does not exist.
    pub fn mod_revision(key: impl Into<Bytes>, result: CompareResult, revision: u64) -> Self {
        Self::new(KeyRange::key(key), result, CompareTarget::ModRevision(revision))
    }

    /// The key was created at `revision`; 0 says that it does not exist.
    pub fn create_revision(key: impl Into<Bytes>, result: CompareResult, revision: u64) -> Self {
        Self::new(KeyRange::key(key), result, CompareTarget::CreateRevision(revision))
    }

    /// The key's version compares so with `version`.
    pub fn version(key: impl Into<Bytes>, result: CompareResult, version: u64) -> Self {
        Self::new(KeyRange::key(key), result, CompareTarget::Version(version))
    }

    /// The key's value compares so with `value`.
    pub fn value(key: impl Into<Bytes>, result: CompareResult, value: impl Into<Bytes>) -> Self {
        Self::new(KeyRange::key(key), result, CompareTarget::Value(value.into()))
    }

    /// Any target, over any range.
    #[must_use]
    pub fn new(range: KeyRange, result: CompareResult, target: CompareTarget) -> Self {
        Self { range, target, result }
    }
}

/// One operation of a [`Txn`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// A read; it sees what the operations before it wrote.
    Range(RangeRequest),
    /// A write.
    Put(PutRequest),
    /// A delete.
    Delete(DeleteRequest),
    /// A transaction inside the transaction, part of the same revision. Its comparisons, too, are
    /// evaluated on the state before the outermost one.
    Txn(Txn),
}

impl Op {
    /// Reads one key.
    pub fn get(key: impl Into<Bytes>) -> Self {
        Self::Range(RangeRequest::new(KeyRange::key(key)))
    }

    /// Writes one key.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put(PutRequest::new(key, value))
    }

    /// Deletes a range.
    #[must_use]
    pub fn delete(range: KeyRange) -> Self {
        Self::Delete(DeleteRequest::new(range))
    }
}

/// If every comparison holds then one list of operations, else the other, all in one revision.
///
/// ```
/// use kv_journal::{Compare, CompareResult, Op, Txn};
///
/// let create = Txn::new()
///     .when(Compare::mod_revision("leader", CompareResult::Equal, 0))
///     .then(Op::put("leader", "me"))
///     .or_else(Op::get("leader"));
/// assert_eq!(create.success.len(), 1);
///
/// // Transactions nest: here one that has conditions of its own.
/// let outer = Txn::new().then(Op::put("seen", "yes")).then(Op::Txn(create));
/// # drop(outer);
/// ```
///
/// Cloning and dropping one takes no stack for its depth; comparing and formatting it does.
#[derive(Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Txn {
    /// All of them are evaluated on the state before the transaction.
    pub compares: Vec<Compare>,
    /// Run if every comparison holds.
    pub success: Vec<Op>,
    /// Run if one does not.
    pub failure: Vec<Op>,
}

#[cfg(feature = "etcd-store")]
impl Txn {
    /// Whether neither branch writes anything, however deep.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            Op::Range(_) => true,
            Op::Txn(nested) => nested.changes_nothing(),
            Op::Put(_) | Op::Delete(_) => false,
        })
    }
}

#[cfg(feature = "etcd-server")]
impl Txn {
    /// Whether either branch puts anything, however deep.
    pub(crate) fn puts(&self) -> bool {
        self.success.iter().chain(&self.failure).any(|op| match op {
            Op::Put(_) => true,
            Op::Txn(nested) => nested.puts(),
            Op::Range(_) | Op::Delete(_) => false,
        })
    }
}

impl Txn {
    /// A transaction without conditions and operations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// One more operation if all conditions hold.
    #[must_use]
    pub fn then(mut self, op: Op) -> Self {
        self.success.push(op);
        self
    }

    /// One more operation if a condition does not hold.
    #[must_use]
    pub fn or_else(mut self, op: Op) -> Self {
        self.failure.push(op);
        self
    }
}

/// The answer to a [`Txn`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TxnResponse {
    /// The revision of the transaction, or the newest one if it changed nothing. That of a nested
    /// one is the revision after it, where etcd says nothing.
    pub revision: u64,
    /// Whether every comparison held.
    pub succeeded: bool,
    /// One answer for each operation of the branch that ran.
    pub responses: Vec<OpResponse>,
}

/// The answer to one [`Op`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpResponse {
    /// To a read.
    Range(RangeResponse),
    /// To a write.
    Put(PutResponse),
    /// To a delete.
    Delete(DeleteResponse),
    /// To a nested transaction.
    Txn(TxnResponse),
}
