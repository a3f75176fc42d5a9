//! The answer to a range request, with etcd's order of limit, filters and sort.

use std::borrow::Borrow;
use std::cmp::Ordering;

use super::mvcc::State;
use super::request::{RangeRequest, RangeResponse, Sort, SortOrder, SortTarget};
use super::value::{KeyValue, Meta};
use crate::error::Result;

/// With a limit at least so many keys are gathered before the worst of them are thrown away.
const LEAST_GATHERED: usize = 64;

impl State {
    /// Answers `request`.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse> {
        let mut response = RangeResponse { revision: self.revision(), ..RangeResponse::default() };
        if request.revision == 0 || request.revision == self.revision() {
            response.count = self.count(&request.range);
            if !request.count_only {
                self.newest(request, &mut response);
            }
        } else {
            self.check_readable(request.revision)?;
            let mut keys = self.iter_at(&request.range, request.revision);
            let mut seen = 0;
            if !request.count_only {
                let seeing = (&mut keys).inspect(|_| seen += 1);
                if is_key_order(request) {
                    take_first(seeing, request, &mut response);
                } else {
                    take_best(seeing, request, &mut response);
                }
            }
            response.count = seen + keys.count() as u64;
        }
        Ok(response)
    }

    fn newest(&self, request: &RangeRequest, response: &mut RangeResponse) {
        let keys = self.iter(&request.range);
        match request.sort {
            _ if is_key_order(request) => take_first(keys, request, response),
            Sort { target: SortTarget::Key, order: SortOrder::Descending } => {
                take_first(keys.rev(), request, response);
            }
            _ => take_best(keys, request, response),
        }
    }
}

/// Whether the limit is known to be reached in key order, before anything else is sorted.
///
/// Without an order etcd fetches only up to the limit, and then sorts by the target all the same;
/// a filter makes it fetch everything first.
fn is_key_order(request: &RangeRequest) -> bool {
    match request.sort {
        Sort { target: SortTarget::Key, order } => order != SortOrder::Descending,
        Sort { order, .. } => order == SortOrder::None && !request.filters(),
    }
}

/// Takes from `keys`, which come in the order of the answer, only as many as it needs.
fn take_first<K: Borrow<KeyValue>>(
    keys: impl Iterator<Item = K>,
    request: &RangeRequest,
    response: &mut RangeResponse,
) {
    let limit = limit(request);
    let enough = keys.filter(|kv| passes(kv.borrow(), request)).take(limit.saturating_add(1));
    let mut kvs: Vec<_> = enough.collect();
    response.more = kvs.len() > limit;
    if request.sort.target != SortTarget::Key {
        // Of one more than the limit, which is fetched to learn whether there is more.
        kvs.sort_by(|a, b| in_order(request.sort, a.borrow(), b.borrow()));
    }
    kvs.truncate(limit);
    response.kvs = answer(kvs, request);
}

/// Takes the first of `keys` in the order asked for, holding at most about twice the limit.
fn take_best<K: Borrow<KeyValue>>(
    keys: impl Iterator<Item = K>,
    request: &RangeRequest,
    response: &mut RangeResponse,
) {
    let limit = limit(request);
    let gathered = limit.saturating_mul(2).max(LEAST_GATHERED);
    let order = |a: &K, b: &K| in_order(request.sort, a.borrow(), b.borrow());
    let (mut best, mut passed) = (Vec::new(), 0);
    for kv in keys.filter(|kv| passes(kv.borrow(), request)) {
        passed += 1;
        best.push(kv);
        if best.len() > gathered {
            best.select_nth_unstable_by(limit, order);
            best.truncate(limit);
        }
    }
    best.sort_unstable_by(order);
    best.truncate(limit);
    response.more = passed > limit;
    response.kvs = answer(best, request);
}

fn limit(request: &RangeRequest) -> usize {
    if request.limit == 0 { usize::MAX } else { request.limit }
}

fn passes(kv: &KeyValue, request: &RangeRequest) -> bool {
    within(kv.mod_revision(), request.min_mod_revision, request.max_mod_revision)
        && within(kv.create_revision(), request.min_create_revision, request.max_create_revision)
}

fn within(revision: u64, min: u64, max: u64) -> bool {
    revision >= min && (max == 0 || revision <= max)
}

/// What is equal comes in key order. etcd leaves that open.
fn in_order(sort: Sort, a: &KeyValue, b: &KeyValue) -> Ordering {
    let (first, second) = if sort.order == SortOrder::Descending { (b, a) } else { (a, b) };
    compare(sort.target, first, second).then_with(|| a.key().cmp(b.key()))
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key().cmp(b.key()),
        SortTarget::Version => a.version().cmp(&b.version()),
        SortTarget::CreateRevision => a.create_revision().cmp(&b.create_revision()),
        SortTarget::ModRevision => a.mod_revision().cmp(&b.mod_revision()),
        SortTarget::Value => a.value().cmp(b.value()),
    }
}

fn answer<K: Borrow<KeyValue>>(kvs: Vec<K>, request: &RangeRequest) -> Vec<KeyValue> {
    kvs.into_iter().map(|kv| as_asked(kv.borrow(), request.keys_only)).collect()
}

/// The key as it is answered; etcd leaves the lease out together with the value since 3.7.
pub(super) fn as_asked(kv: &KeyValue, keys_only: bool) -> KeyValue {
    if keys_only {
        KeyValue::new(kv.key(), &[], Meta { lease: 0, ..kv.meta() })
    } else {
        kv.clone()
    }
}
