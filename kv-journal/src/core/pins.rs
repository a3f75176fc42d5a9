//! Which revisions anyone may still read, so that the sweep leaves alone what they need.
//!
//! A state that readers hold is pinned: it names the revisions that can be read from it. The
//! chains of versions are shared by all states, so before a version is unlinked from its chain
//! every pin is asked. What a pin keeps is noted with it, and freed soon after it is gone.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::past::unlink;
use super::value::KeyValue;

/// The pins of all states that come of one another.
#[derive(Default)]
pub(super) struct Pins {
    pinned: Mutex<Pinned>,
}

#[derive(Default)]
pub(super) struct Pinned {
    pins: BTreeMap<u64, Keeps>,
    next: u64,
    /// What pins kept that are gone.
    released: Vec<KeyValue>,
}

struct Keeps {
    revisions: RangeInclusive<u64>,
    /// Versions whose past was left linked because of it.
    kept: Vec<KeyValue>,
}

/// Keeps revisions readable until it is dropped.
pub(super) struct Pin {
    pins: Arc<Pins>,
    number: u64,
}

impl Pins {
    pub(super) fn pin(self: &Arc<Self>, revisions: RangeInclusive<u64>) -> Pin {
        let mut pinned = self.pinned.lock();
        let number = pinned.next;
        pinned.next += 1;
        pinned.pins.insert(number, Keeps { revisions, kept: Vec::new() });
        Pin { pins: Arc::clone(self), number }
    }

    /// For the writer, which waits for nobody: a pin is set and let go of in no time.
    pub(super) fn lock(&self) -> MutexGuard<'_, Pinned> {
        self.pinned.lock()
    }
}

impl Pinned {
    /// Unlinks what was before `kv`, which a compaction has made unreadable, except for what a pin
    /// needs: that is done when the pin is gone.
    pub(super) fn sweep(&mut self, kv: &KeyValue) {
        let needs = |keeps: &Keeps, from: u64, to: u64| {
            *keeps.revisions.start() < to && from <= *keeps.revisions.end()
        };
        let pins = &self.pins;
        if unlink(kv, |from, to| pins.values().any(|keeps| needs(keeps, from, to)))
            && let Some(prev) = kv.past().prev()
        {
            let (from, to) = (prev.mod_revision(), kv.mod_revision());
            if let Some(keeps) = self.pins.values_mut().find(|keeps| needs(keeps, from, to)) {
                keeps.kept.push(kv.clone());
            }
        }
    }

    /// Goes on with at most `budget` of what pins kept that are gone, and says how many it were.
    pub(super) fn sweep_released(&mut self, budget: usize) -> usize {
        let count = budget.min(self.released.len());
        let released = self.released.split_off(self.released.len() - count);
        for kv in &released {
            self.sweep(kv);
        }
        count
    }

    pub(super) fn is_swept(&self) -> bool {
        self.released.is_empty()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pins.pinned.lock();
        if let Some(keeps) = pinned.pins.remove(&self.number) {
            pinned.released.extend(keeps.kept);
        }
    }
}
