//! A revision that is told in parts.

use std::sync::Arc;

use super::group::event_bytes;
use super::request::WatchBatch;
use crate::core::Event;

/// The events of one revision for one watcher, of which the first ones were told.
pub(super) struct Fragments {
    /// The watcher.
    pub(super) place: u32,
    revision: u64,
    events: Arc<[Event]>,
    told: usize,
}

impl Fragments {
    pub(super) fn new(place: u32, revision: u64, events: Arc<[Event]>) -> Self {
        Self { place, revision, events, told: 0 }
    }

    /// Whether it takes more than one fragment.
    pub(super) fn is_split(&self, limit: usize) -> bool {
        self.fitting(limit) < self.events.len()
    }

    pub(super) fn into_events(self) -> Arc<[Event]> {
        self.events
    }

    /// The next fragment: as many events as fit, and at least one.
    pub(super) fn next(&mut self, limit: usize) -> WatchBatch {
        let until = self.told + self.fitting(limit);
        let events =
            self.events.get(self.told..until).unwrap_or_default().iter().cloned().collect();
        self.told = until;
        WatchBatch { revision: self.revision, events, more: until < self.events.len() }
    }

    fn fitting(&self, limit: usize) -> usize {
        let mut bytes = 0;
        let rest = self.events.get(self.told..).unwrap_or_default();
        let fits = rest.iter().take_while(|event| {
            bytes += event_bytes(event);
            bytes <= limit
        });
        fits.count().max(1).min(rest.len())
    }
}
