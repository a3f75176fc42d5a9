//! Reads of the past.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use super::entry::Past;
use super::key_range::{End, KeyRange};
use super::mvcc::State;
use super::value::KeyValue;

/// The keys of a range as they were at a past revision, in key order: a merge of the versions that
/// are still live with those that were replaced.
pub(super) struct AtRevision<L: Iterator, H: Iterator> {
    revision: u64,
    live: Peekable<L>,
    history: Peekable<H>,
}

impl State {
    /// The keys of `range` at `revision`, which the caller has found readable.
    pub(crate) fn iter_at<'a>(
        &'a self,
        range: &KeyRange,
        revision: u64,
    ) -> impl Iterator<Item = &'a Arc<KeyValue>> {
        let scan = (!range.is_empty()).then(|| {
            let (from, to) = history_bounds(range);
            AtRevision {
                revision,
                live: self
                    .live
                    .range::<[u8], _>(range.bounds())
                    .map(|(live, ())| &live.0)
                    .peekable(),
                history: self
                    .history
                    .range((from.as_ref(), to.as_ref()))
                    .map(|(past, ())| past)
                    .peekable(),
            }
        });
        scan.into_iter().flatten()
    }
}

#[cfg(feature = "ledger")]
impl State {
    /// The revision of the last put or delete of `key` at or below `revision`; `None` if there was
    /// none or it was compacted.
    pub(crate) fn last_change(&self, key: &[u8], revision: u64) -> Option<u64> {
        let live = self.get(key).map(|kv| kv.mod_revision).filter(|at| *at <= revision);
        live.or_else(|| {
            let at = |revision| Past::delete(bytes::Bytes::copy_from_slice(key), revision);
            let past = self.history.range(at(0)..=at(revision)).next_back();
            past.map(|(past, ())| past.0.mod_revision)
        })
    }
}

type HistoryBound = Bound<Past>;

/// The bounds of a range among `(key, revision)`. Revision 0 is below every version of a key.
fn history_bounds(range: &KeyRange) -> (HistoryBound, HistoryBound) {
    let from = Bound::Included(Past::delete(range.start().clone(), 0));
    let to = match range.end() {
        End::Single => Bound::Included(Past::delete(range.start().clone(), u64::MAX)),
        End::Before(end) => Bound::Excluded(Past::delete(end.clone(), 0)),
        End::Open => Bound::Unbounded,
    };
    (from, to)
}

impl<'a, L, H> AtRevision<L, H>
where
    L: Iterator<Item = &'a Arc<KeyValue>>,
    H: Iterator<Item = &'a Past>,
{
    /// The version of the next key of the history that was visible, if it existed then.
    fn next_replaced(&mut self) -> Option<&'a Arc<KeyValue>> {
        let key = &self.history.peek()?.0.key;
        let revision = self.revision;
        let mut visible = None;
        while let Some(past) = self.history.next_if(|next| next.0.key == *key) {
            if past.0.mod_revision <= revision {
                visible = past.version();
            }
        }
        visible
    }

    /// Which side has the next key; equal if both have it.
    fn next_side(&mut self) -> Option<Ordering> {
        match (self.live.peek(), self.history.peek()) {
            (Some(kv), Some(past)) => Some(kv.key.cmp(&past.0.key)),
            (Some(_), None) => Some(Ordering::Less),
            (None, Some(_)) => Some(Ordering::Greater),
            (None, None) => None,
        }
    }
}

impl<'a, L, H> Iterator for AtRevision<L, H>
where
    L: Iterator<Item = &'a Arc<KeyValue>>,
    H: Iterator<Item = &'a Past>,
{
    type Item = &'a Arc<KeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let side = self.next_side()?;
            let live = if side.is_le() { self.live.next() } else { None };
            let replaced = if side.is_ge() { self.next_replaced() } else { None };
            let visible = live.filter(|kv| kv.mod_revision <= self.revision).or(replaced);
            if visible.is_some() {
                return visible;
            }
        }
    }
}
