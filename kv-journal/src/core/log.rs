//! The changes of every retained revision, from which watchers and compaction work.

use std::sync::Arc;

use cow_tree::Place;

use super::mvcc::State;
use super::value::{Event, KeyValue};

/// The changes of every retained revision, in their order.
pub(crate) type Log = cow_tree::Log<KeyValue>;

impl Place for KeyValue {
    fn place(&self) -> u64 {
        self.mod_revision()
    }
}

/// A revision as it is told to watchers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged<'a> {
    pub(crate) revision: u64,
    pub(crate) changes: &'a [KeyValue],
    /// Whether what was before can be told: at the compact revision it is gone.
    has_previous: bool,
}

impl Logged<'_> {
    /// All of it.
    pub(crate) fn events(&self) -> Arc<[Event]> {
        self.changes.iter().map(|change| self.event(change, true)).collect()
    }

    /// One of its changes, with the version before if that is wanted.
    pub(crate) fn event(&self, change: &KeyValue, prev_kv: bool) -> Event {
        let prev_kv = if prev_kv && self.has_previous { change.past().prev() } else { None };
        Event {
            kind: change.kind(),
            kv: change.clone(),
            prev_kv: prev_kv.filter(|prev| !prev.is_delete()),
        }
    }
}

impl State {
    /// The retained revisions from `revision` on.
    pub(crate) fn log(&self, revision: u64) -> impl Iterator<Item = Logged<'_>> {
        let compact_revision = self.compact_revision();
        self.log.from(revision).map(move |(revision, changes)| Logged {
            revision,
            changes,
            has_previous: revision > compact_revision,
        })
    }
}
