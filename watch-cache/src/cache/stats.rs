//! Counters and sizes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::time::Duration;

use crate::core::footprint::Footprint;
use crate::core::frontier::Breach;
use crate::core::view::View;

/// What a cache holds and has done, at about one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whether the first listing is in.
    pub ready: bool,
    /// The published revision.
    pub revision: u64,
    /// The newest revision that the source has spoken of.
    pub source_revision: u64,
    /// The oldest revision that can be listed exactly, and that a watch can start after.
    pub oldest_revision: u64,
    /// Objects held.
    pub objects: usize,
    /// Revisions in the event log.
    pub log_revisions: usize,
    /// What the parts take in memory.
    pub bytes: Footprint,
    /// Open watchers, and those that the driver has not yet heard are gone.
    pub watchers: usize,
    /// Those of them whose sinks are full.
    pub parked: usize,
    /// Those of them in pumps that are still told what was before, or what they missed.
    pub behind: usize,
    /// Reads that wait for a revision.
    pub waiters: usize,
    /// Revisions applied.
    pub applied: u64,
    /// Batches published.
    pub published: u64,
    /// Watchers, and pumps' groups of watchers, woken by events.
    pub wakes: u64,
    /// Deliveries that pumps have offered to sinks.
    pub deliveries: u64,
    /// From the newest publication until a pump had found what is new for a group of its sinks.
    pub pump_latency: Latency,
    /// How long consistent reads waited.
    pub freshness_waits: Latency,
    /// Watches that fell behind the log and were told what changed instead.
    pub resumed: u64,
    /// Questions for the current revision sent.
    pub questions: u64,
    /// Requests for progress sent.
    pub progress_requests: u64,
    /// Listings applied.
    pub lists: u64,
    /// Watches opened, one for each prefix.
    pub watches: u64,
    /// The revision of the checkpoint that the cache began from; 0 if it began with a listing.
    pub restored_revision: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// The revision of the last one.
    pub checkpoint_revision: u64,
    /// Checkpoints that could not be read or written: see
    /// [`checkpoint_error`](crate::Cache::checkpoint_error).
    pub checkpoint_errors: u64,
    /// Failures of the source.
    pub source_errors: u64,
    /// Digests of the source that were compared with the cache's.
    pub comparisons: u64,
    /// The revision of the last of them that was the same.
    pub compared_revision: u64,
    /// Comparisons of whatever kind that found the cache different from its source.
    pub inconsistencies: u64,
    /// Guarantees that checked watches broke.
    pub violations: u64,
    /// Revisions that the source delivered twice or out of order.
    pub replayed: u64,
    /// Progress of 0, or back.
    pub backward_progress: u64,
    /// Revisions that came after progress had said that there are no more: the cache started anew.
    pub early_progress: u64,
    /// Events and listings that break the source's contract otherwise.
    pub malformed: u64,
}

impl Stats {
    /// How many revisions of the source the cache has yet to see, as far as it knows.
    #[must_use]
    pub fn revision_lag(&self) -> u64 {
        self.source_revision.saturating_sub(self.revision)
    }
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// How often.
    pub count: u64,
    /// All together.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
}

/// A [`Latency`] that many add to.
#[derive(Debug, Default)]
pub(super) struct AtomicLatency {
    count: AtomicU64,
    total: AtomicU64,
    longest: AtomicU64,
}

impl AtomicLatency {
    pub(super) fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&self.count, 1);
        add(&self.total, nanos);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
    }

    fn load(&self) -> Latency {
        let get = |part: &AtomicU64| part.load(Ordering::Relaxed);
        Latency {
            count: get(&self.count),
            total: Duration::from_nanos(get(&self.total)),
            longest: Duration::from_nanos(get(&self.longest)),
        }
    }
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) footprint: AtomicFootprint,
    pub(super) applied: AtomicU64,
    pub(super) published: AtomicU64,
    pub(super) wakes: AtomicU64,
    pub(super) deliveries: AtomicU64,
    pub(super) source_revision: AtomicU64,
    pub(super) pump_latency: AtomicLatency,
    pub(super) freshness_waits: AtomicLatency,
    pub(super) resumed: AtomicU64,
    pub(super) questions: AtomicU64,
    pub(super) progress_requests: AtomicU64,
    pub(super) lists: AtomicU64,
    pub(super) watches: AtomicU64,
    pub(super) restored_revision: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) checkpoint_revision: AtomicU64,
    pub(super) checkpoint_errors: AtomicU64,
    pub(super) source_errors: AtomicU64,
    pub(super) comparisons: AtomicU64,
    pub(super) compared_revision: AtomicU64,
    pub(super) inconsistencies: AtomicU64,
    pub(super) violations: AtomicU64,
    pub(super) malformed: AtomicU64,
    replayed: AtomicU64,
    backward: AtomicU64,
    early: AtomicU64,
}

/// Who is there at this moment.
pub(super) struct Present {
    pub(super) watchers: usize,
    pub(super) parked: usize,
    pub(super) behind: usize,
    pub(super) waiters: usize,
}

impl Counters {
    pub(super) fn breach(&self, breach: Breach) {
        add(
            match breach {
                Breach::Replayed => &self.replayed,
                Breach::Backward => &self.backward,
                Breach::Malformed => &self.malformed,
                Breach::Early => &self.early,
            },
            1,
        );
    }

    pub(super) fn stats(&self, view: &View, present: &Present) -> Stats {
        let Present { watchers, parked, behind, waiters } = *present;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            ready: view.ready,
            revision: view.revision,
            source_revision: get(&self.source_revision).max(view.revision),
            oldest_revision: view.log_floor,
            objects: view.root.len(),
            log_revisions: view.log_revisions,
            bytes: self.footprint.load(),
            watchers,
            parked,
            behind,
            waiters,
            applied: get(&self.applied),
            published: get(&self.published),
            wakes: get(&self.wakes),
            deliveries: get(&self.deliveries),
            pump_latency: self.pump_latency.load(),
            freshness_waits: self.freshness_waits.load(),
            resumed: get(&self.resumed),
            questions: get(&self.questions),
            progress_requests: get(&self.progress_requests),
            lists: get(&self.lists),
            watches: get(&self.watches),
            restored_revision: get(&self.restored_revision),
            checkpoints: get(&self.checkpoints),
            checkpoint_revision: get(&self.checkpoint_revision),
            checkpoint_errors: get(&self.checkpoint_errors),
            source_errors: get(&self.source_errors),
            comparisons: get(&self.comparisons),
            compared_revision: get(&self.compared_revision),
            inconsistencies: get(&self.inconsistencies),
            violations: get(&self.violations),
            replayed: get(&self.replayed),
            backward_progress: get(&self.backward),
            early_progress: get(&self.early),
            malformed: get(&self.malformed),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// A [`Footprint`] that one writes and others read without waiting, its parts each for itself.
#[derive(Debug, Default)]
pub(super) struct AtomicFootprint {
    traces: AtomicUsize,
    log: AtomicUsize,
    watchers: AtomicUsize,
    pinned: AtomicUsize,
    indexes: AtomicUsize,
    objects: AtomicUsize,
}

impl AtomicFootprint {
    pub(super) fn store(&self, footprint: &Footprint) {
        let Footprint { traces, log, watchers, pinned, indexes, objects } = *footprint;
        for (part, bytes) in [
            (&self.traces, traces),
            (&self.log, log),
            (&self.watchers, watchers),
            (&self.pinned, pinned),
            (&self.indexes, indexes),
            (&self.objects, objects),
        ] {
            part.store(bytes, Ordering::Relaxed);
        }
    }

    fn load(&self) -> Footprint {
        let get = |part: &AtomicUsize| part.load(Ordering::Relaxed);
        Footprint {
            traces: get(&self.traces),
            log: get(&self.log),
            watchers: get(&self.watchers),
            pinned: get(&self.pinned),
            indexes: get(&self.indexes),
            objects: get(&self.objects),
        }
    }
}
