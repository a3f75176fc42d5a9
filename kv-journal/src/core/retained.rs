//! All that a state retains, one version after the other, and a state made of it.

use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use cow_tree::Tree;

use super::entry::{Live, Past};
use super::lease::LeaseSet;
use super::mvcc::State;
use super::value::{Event, KeyValue};

/// One version of a key, or its delete.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Version<'a> {
    /// The newest version of a key that exists.
    Live(&'a Arc<KeyValue>),
    /// One that was replaced or deleted since.
    Replaced(&'a Arc<KeyValue>),
    Deleted {
        key: &'a Bytes,
        revision: u64,
    },
}

impl<'a> Version<'a> {
    pub(crate) fn key(&self) -> &'a Bytes {
        match self {
            Self::Live(kv) | Self::Replaced(kv) => &kv.key,
            Self::Deleted { key, .. } => key,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        match self {
            Self::Live(kv) | Self::Replaced(kv) => kv.mod_revision,
            Self::Deleted { revision, .. } => *revision,
        }
    }

    fn place(&self) -> (&'a Bytes, u64) {
        (self.key(), self.revision())
    }
}

/// An entry of the history: a version that is not live, or a delete.
#[derive(Debug, Clone)]
pub(crate) struct Replaced {
    pub(crate) key: Bytes,
    pub(crate) revision: u64,
    pub(crate) kv: Option<Arc<KeyValue>>,
}

impl State {
    /// Every version after `after`, a key and revision, in order of key and revision, each with
    /// whether some readable revision sees it. One that none sees is still there only because the
    /// sweep has not come to it.
    ///
    /// Beginning costs `O(log n)`.
    pub(crate) fn versions_after<'a>(
        &'a self,
        after: Option<&(Bytes, u64)>,
    ) -> impl Iterator<Item = (Version<'a>, bool)> + use<'a> {
        let from = after.map(|(key, revision)| Past::delete(key.clone(), *revision));
        let from = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let history = self.history.range::<Past, _>((from, Bound::Unbounded));
        let history = history.map(|(past, ())| match past.version() {
            Some(kv) => Version::Replaced(kv),
            None => Version::Deleted { key: &past.0.key, revision: past.0.mod_revision },
        });
        let from = after.map_or(Bound::Unbounded, |(key, _)| Bound::Included(&key[..]));
        let mut live = self.live.range::<[u8], _>((from, Bound::Unbounded)).peekable();
        if let Some((key, revision)) = after {
            live.next_if(|(live, ())| live.0.key == key && live.0.mod_revision <= *revision);
        }
        let live = live.map(|(live, ())| Version::Live(&live.0));
        Versions {
            compact_revision: self.compact_revision(),
            live: live.peekable(),
            history: history.peekable(),
        }
    }

    /// A state of trees that were built apart.
    pub(crate) fn from_parts(parts: Parts) -> Self {
        let mut state = Self::new();
        state.restore(parts);
        state
    }
}

/// The tree of live keys.
pub(crate) type LiveTree = Tree<Live, ()>;
/// The tree of versions that were replaced, and of deletes.
pub(crate) type History = Tree<Past, ()>;
/// The tree of events.
pub(crate) type Log = Tree<u64, Arc<[Event]>>;

/// What a state is made of.
pub(crate) struct Parts {
    pub(crate) revision: u64,
    pub(crate) compact_revision: u64,
    /// The journal's number of the record that follows.
    pub(crate) next_seq: u64,
    pub(crate) live: LiveTree,
    pub(crate) history: History,
    pub(crate) log: Log,
    pub(crate) leases: LeaseSet,
}

/// Builds the tree of live keys from versions in key order.
pub(crate) fn live_of(versions: impl IntoIterator<Item = Arc<KeyValue>>) -> LiveTree {
    Tree::from_sorted(versions.into_iter().map(|kv| (Live(kv), ())))
}

/// Builds the tree of replaced versions from versions in order of key and revision.
pub(crate) fn history_of(versions: impl IntoIterator<Item = Replaced>) -> History {
    let past = |at: Replaced| at.kv.map_or_else(|| Past::delete(at.key, at.revision), Past);
    Tree::from_sorted(versions.into_iter().map(|at| (past(at), ())))
}

/// Builds the tree of events from events in order of revision.
pub(crate) fn log_of(revisions: impl IntoIterator<Item = (u64, Arc<[Event]>)>) -> Log {
    Tree::from_sorted(revisions)
}

struct Versions<L: Iterator, H: Iterator> {
    compact_revision: u64,
    live: Peekable<L>,
    history: Peekable<H>,
}

impl<'a, L, H> Versions<L, H>
where
    L: Iterator<Item = Version<'a>>,
    H: Iterator<Item = Version<'a>>,
{
    /// The version in `live` of a key comes after those in `history`.
    fn live_is_next(&mut self) -> bool {
        match (self.live.peek(), self.history.peek()) {
            (Some(live), Some(replaced)) => live.place() < replaced.place(),
            (live, _) => live.is_some(),
        }
    }

    fn peek(&mut self) -> Option<&Version<'a>> {
        if self.live_is_next() { self.live.peek() } else { self.history.peek() }
    }

    /// Above the compact revision everything is seen; at it, the newest version of each key.
    fn is_seen(&mut self, version: &Version<'a>) -> bool {
        let compact_revision = self.compact_revision;
        if version.revision() > compact_revision {
            return true;
        }
        let superseded = self
            .peek()
            .is_some_and(|next| next.key() == version.key() && next.revision() <= compact_revision);
        !superseded && !matches!(version, Version::Deleted { .. })
    }
}

impl<'a, L, H> Iterator for Versions<L, H>
where
    L: Iterator<Item = Version<'a>>,
    H: Iterator<Item = Version<'a>>,
{
    type Item = (Version<'a>, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let version = if self.live_is_next() { self.live.next() } else { self.history.next() }?;
        let seen = self.is_seen(&version);
        Some((version, seen))
    }
}
