//! The changes of every retained revision, from which watchers and compaction work.

use std::slice;
use std::sync::Arc;

use cow_tree::Tree;

use super::mvcc::State;
use super::value::{Event, EventKind, KeyValue};

/// The changes of every retained revision.
pub(crate) type Log = Tree<u64, Changes>;

/// One change of one key: the version that it made, or the delete.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(super) kv: KeyValue,
    /// What the version before counts, which goes when this revision is compacted.
    pub(super) replaced_bytes: u64,
}

impl Change {
    pub(crate) fn kind(&self) -> EventKind {
        if self.kv.is_delete() { EventKind::Delete } else { EventKind::Put }
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.kv.key()
    }
}

/// What happened at one revision, in its order. Most have a single change.
#[derive(Debug, Clone)]
pub(crate) enum Changes {
    One(Change),
    Many(Arc<Vec<Change>>),
}

impl Changes {
    pub(super) fn as_slice(&self) -> &[Change] {
        match self {
            Self::One(change) => slice::from_ref(change),
            Self::Many(changes) => changes,
        }
    }

    /// What comes after the first few.
    pub(super) fn rest(&self, few: usize) -> &[Change] {
        self.as_slice().get(few..).unwrap_or_default()
    }

    /// The same once nothing is left of what was before.
    pub(super) fn without_replaced(&self) -> Self {
        let changes = self.as_slice().iter();
        changes.map(|change| Change { replaced_bytes: 0, ..change.clone() }).collect()
    }
}

impl FromIterator<Change> for Changes {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut changes = changes.into_iter();
        match (changes.next(), changes.next()) {
            (Some(only), None) => Self::One(only),
            (first, second) => {
                Self::Many(Arc::new(first.into_iter().chain(second).chain(changes).collect()))
            }
        }
    }
}

/// A revision as it is told to watchers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged<'a> {
    pub(crate) revision: u64,
    pub(crate) changes: &'a [Change],
    /// Whether what was before can be told: at the compact revision it is gone.
    has_previous: bool,
}

impl Logged<'_> {
    /// All of it.
    pub(crate) fn events(&self) -> Arc<[Event]> {
        self.changes.iter().map(|change| self.event(change, true)).collect()
    }

    /// One of its changes, with the version before if that is wanted.
    pub(crate) fn event(&self, change: &Change, prev_kv: bool) -> Event {
        let prev_kv = if prev_kv && self.has_previous { change.kv.past().prev() } else { None };
        Event {
            kind: change.kind(),
            kv: change.kv.clone(),
            prev_kv: prev_kv.filter(|prev| !prev.is_delete()),
        }
    }
}

impl State {
    /// The retained revisions from `revision` on.
    pub(crate) fn log(&self, revision: u64) -> impl Iterator<Item = Logged<'_>> {
        let compact_revision = self.compact_revision();
        self.log.range(revision..).map(move |(revision, changes)| Logged {
            revision: *revision,
            changes: changes.as_slice(),
            has_previous: *revision > compact_revision,
        })
    }
}
