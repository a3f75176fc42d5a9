//! The answer to a range request, with etcd's order of limit, filters and sort.

use std::cmp::Ordering;
use std::sync::Arc;

use super::mvcc::State;
use super::request::{RangeRequest, RangeResponse, Sort, SortOrder, SortTarget};
use super::value::KeyValue;
use crate::error::Result;

impl State {
    /// Answers `request`.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse> {
        let mut response = RangeResponse { revision: self.revision(), ..RangeResponse::default() };
        let newest = request.revision == 0 || request.revision == self.revision();
        if newest {
            response.count = self.count(&request.range);
            if !request.count_only {
                collect(self.iter(&request.range), request, &mut response);
            }
        } else {
            self.check_readable(request.revision)?;
            let mut keys = self.iter_at(&request.range, request.revision);
            let mut seen = 0;
            if !request.count_only {
                collect((&mut keys).inspect(|_| seen += 1), request, &mut response);
            }
            response.count = seen + keys.count() as u64;
        }
        Ok(response)
    }
}

/// Takes from `keys` only as many as the answer needs.
fn collect<'a>(
    keys: impl Iterator<Item = &'a Arc<KeyValue>>,
    request: &RangeRequest,
    response: &mut RangeResponse,
) {
    let limit = if request.limit == 0 { usize::MAX } else { request.limit };
    let early = if applies_limit_first(request) { limit.saturating_add(1) } else { usize::MAX };
    let mut kvs: Vec<_> =
        keys.take(early).filter(|kv| passes(kv, request)).map(Arc::clone).collect();
    sort(&mut kvs, request.sort);
    response.more = kvs.len() > limit;
    kvs.truncate(limit);
    if request.keys_only {
        for kv in &mut kvs {
            *kv = Arc::new(key_only(kv));
        }
    }
    response.kvs = kvs;
}

/// Whether the limit is known to be reached in key order, before anything is sorted.
fn applies_limit_first(request: &RangeRequest) -> bool {
    let key_order =
        request.sort.target == SortTarget::Key && request.sort.order == SortOrder::Ascending;
    (request.sort.order == SortOrder::None || key_order) && !request.filters()
}

fn passes(kv: &KeyValue, request: &RangeRequest) -> bool {
    within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
}

fn within(revision: u64, min: u64, max: u64) -> bool {
    revision >= min && (max == 0 || revision <= max)
}

fn sort(kvs: &mut [Arc<KeyValue>], sort: Sort) {
    match (sort.target, sort.order) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascending) => {}
        (target, SortOrder::None | SortOrder::Ascending) => {
            kvs.sort_by(|a, b| compare(target, a, b));
        }
        (target, SortOrder::Descending) => kvs.sort_by(|a, b| compare(target, b, a)),
    }
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::CreateRevision => a.create_revision.cmp(&b.create_revision),
        SortTarget::ModRevision => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

fn key_only(kv: &KeyValue) -> KeyValue {
    KeyValue { value: bytes::Bytes::new(), lease: 0, ..kv.clone() }
}
