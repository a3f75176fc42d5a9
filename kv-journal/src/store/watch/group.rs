//! Watchers that want the same.

use std::sync::Arc;

use super::feed::Feed;
use crate::core::{Event, EventKind, KeyValue, Logged, Ranged, Span};

/// Which events a watcher wants, and what of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Predicate {
    pub(super) span: Span,
    pub(super) no_put: bool,
    pub(super) no_delete: bool,
    pub(super) prev_kv: bool,
}

impl Predicate {
    fn wants_kind(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }

    fn wants(&self, change: &KeyValue) -> bool {
        self.wants_kind(change.kind()) && self.span.contains(change.key())
    }

    /// What is wanted of one revision.
    pub(super) fn wanted(&self, logged: &Logged<'_>) -> Option<Arc<[Event]>> {
        let mut wanted = logged.changes.iter().filter(|change| self.wants(change)).peekable();
        wanted.peek()?;
        Some(wanted.map(|change| logged.event(change, self.prev_kv)).collect())
    }

    /// What is wanted of those events at `found`, which lie in the range. If that is all they are
    /// shared.
    fn wanted_of(&self, events: &Arc<[Event]>, found: &[usize]) -> Option<Arc<[Event]>> {
        let found = found.iter().filter_map(|at| events.get(*at));
        let wanted: Vec<_> = found.filter(|event| self.wants_kind(event.kind)).collect();
        match wanted.len() {
            0 => None,
            all if all == events.len() => Some(self.finish(Arc::clone(events))),
            _ => Some(self.finish(wanted.into_iter().cloned().collect())),
        }
    }

    fn finish(&self, events: Arc<[Event]>) -> Arc<[Event]> {
        if self.prev_kv { events } else { without(events) }
    }
}

/// The events without what was there before. They stay shared if there is nothing of it.
pub(super) fn without(events: Arc<[Event]>) -> Arc<[Event]> {
    let any = events.iter().any(|event| event.prev_kv.is_some());
    if any {
        events.iter().map(|event| Event { prev_kv: None, ..event.clone() }).collect()
    } else {
        events
    }
}

/// A predicate and those who have it.
pub(super) struct Group {
    pub(super) predicate: Predicate,
    pub(super) feed: Feed<Arc<[Event]>>,
}

impl Group {
    /// Keeps the events at `found` for the members; false if there is nothing to tell them.
    pub(super) fn post(&self, revision: u64, events: &Arc<[Event]>, found: &[usize]) -> bool {
        let Some(events) = self.predicate.wanted_of(events, found) else { return false };
        self.feed.post(revision, bytes_of(&events), events)
    }
}

impl Ranged for Arc<Group> {
    fn span(&self) -> &Span {
        &self.predicate.span
    }
}

fn bytes_of(events: &[Event]) -> usize {
    events.iter().map(event_bytes).sum()
}

/// What an event takes, about: on a wire and in memory.
pub(super) fn event_bytes(event: &Event) -> usize {
    let prev = event.prev_kv.as_ref().map_or(0, |prev| prev.key().len() + prev.value().len());
    event.kv.key().len() + event.kv.value().len() + prev + EVENT_OVERHEAD
}

/// Revisions, version, lease and lengths.
const EVENT_OVERHEAD: usize = 64;
