//! Which revisions somebody holds a snapshot of, so that what they see is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sync::Mutex;

/// The pins of one cache. The writer waits for those who set and release them only where all begins
/// anew.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    pinned: Mutex<Pinned>,
}

#[derive(Debug, Default)]
struct Pinned {
    /// How many pins there are of each revision.
    at: BTreeMap<u64, usize>,
    /// What can be read below it is being forgotten.
    floor: u64,
}

/// Keeps the state at a revision readable until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    revision: u64,
}

impl Pins {
    /// Pins a revision; none if it is too late.
    pub(crate) fn pin(self: &Arc<Self>, revision: u64) -> Option<Pin> {
        let mut pinned = self.pinned.lock();
        if revision < pinned.floor {
            return None;
        }
        *pinned.at.entry(revision).or_default() += 1;
        Some(Pin { pins: Arc::clone(self), revision })
    }

    /// All begins anew at a revision, which may be below those before.
    pub(crate) fn restart(&self, floor: u64) {
        self.pinned.lock().floor = floor;
    }

    /// From now on no revision below `floor` can be pinned. Returns those that are pinned, in
    /// ascending order; none if somebody sets or releases a pin at this moment.
    pub(crate) fn raise(&self, floor: u64) -> Option<Vec<u64>> {
        let mut pinned = self.pinned.try_lock()?;
        pinned.floor = floor;
        Some(pinned.at.keys().copied().collect())
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pins.pinned.lock();
        if let Some(count) = pinned.at.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                pinned.at.remove(&self.revision);
            }
        }
    }
}
