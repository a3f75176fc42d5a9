//! What the handles, the watchers and the driver share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

#[cfg(feature = "ledger")]
use super::ledger::PublishedLedger;
use super::quota::Quota;
use super::watch::Hub;
use crate::config::Config;
use crate::core::{DurationRecorder, State};
use crate::error::{Error, Result};

/// How far the store has come: everything below is durable and can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermark {
    /// The newest revision that readers see.
    pub(super) revision: u64,
    /// The journal's number of the first record that is not applied.
    pub(super) next_seq: u64,
}

/// Doubling from 1/16 ms to 8.192 s. etcd's begin with 1 ms, which most disks need less than.
const COMMITS: [Duration; 18] = {
    let mut bounds = [Duration::from_nanos(62_500); 18];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = Duration::from_nanos(62_500 << at);
        at += 1;
    }
    bounds
};

/// The published side of the store: readers take a state, the driver replaces it.
pub(super) struct Shared {
    published: ArcSwap<State>,
    closed: AtomicBool,
    failure: Mutex<Option<Error>>,
    /// The highest epoch that this store has tried to make current.
    epoch: AtomicU64,
    /// Why the last checkpoint failed, if it did.
    pub(super) checkpoint_failure: Mutex<Option<Error>>,
    pub(super) counters: Counters,
    /// How long batches took to become durable.
    pub(super) commits: DurationRecorder,
    #[cfg(feature = "ledger")]
    pub(super) ledger: Option<PublishedLedger>,
    /// Who is told of what is published.
    pub(super) hub: Hub,
    pub(super) quota: Quota,
    /// The bytes that may still be queued.
    pub(super) room: Semaphore,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) record_bytes: AtomicU64,
    pub(super) failed_batches: AtomicU64,
    pub(super) relaxed_accepted: AtomicU64,
    pub(super) relaxed_lost: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) failed_checkpoints: AtomicU64,
}

impl Shared {
    pub(super) fn new(state: Arc<State>, epoch: u64, config: &Config) -> Self {
        let hub = Hub::new(state.revision(), state.compact_revision());
        Self {
            quota: Quota::new(config, state.bytes()),
            room: Semaphore::new(config.queue_bytes),
            published: ArcSwap::new(state),
            closed: AtomicBool::new(false),
            failure: Mutex::new(None),
            epoch: AtomicU64::new(epoch),
            checkpoint_failure: Mutex::new(None),
            counters: Counters::default(),
            commits: DurationRecorder::new(&COMMITS),
            #[cfg(feature = "ledger")]
            ledger: None,
            hub,
        }
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.published.load_full()
    }

    /// Runs `read` on the published state without touching its reference count.
    pub(super) fn with_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.published.load())
    }

    pub(super) fn publish(&self, state: Arc<State>) {
        self.published.store(state);
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// To be called before the journal is asked to fence, so that no reader takes the store's own
    /// new epoch for another writer's.
    pub(super) fn raise_epoch(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(self.closed_error()) } else { Ok(()) }
    }

    pub(super) fn closed_error(&self) -> Error {
        Error::closed(self.failure.lock().as_ref())
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.hub.close();
        // Whoever waits for room finds the store closed, too.
        self.room.close();
    }
}

/// The driver's end of what is shared. Dropping it, however the driver ends, closes the store.
pub(super) struct Publisher {
    pub(super) shared: Arc<Shared>,
    watermark: watch::Sender<Watermark>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, at: Watermark) -> (Self, watch::Receiver<Watermark>) {
        let (watermark, receiver) = watch::channel(at);
        (Self { shared, watermark }, receiver)
    }

    /// Makes `state` what readers see, then says so. In this order: whoever hears of a revision
    /// can read it.
    pub(super) fn publish(&self, state: Arc<State>, next_seq: u64) {
        let (revision, compact_revision) = (state.revision(), state.compact_revision());
        self.shared.publish(state);
        self.watermark.send_replace(Watermark { revision, next_seq });
        self.shared.hub.published(revision, compact_revision);
    }

    pub(super) fn fail(&self, error: &Error) {
        *self.shared.failure.lock() = Some(error.clone());
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Before the watermark's sender goes, so that whoever it wakes finds the store closed.
        self.shared.close();
    }
}
