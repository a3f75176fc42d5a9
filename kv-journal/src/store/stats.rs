//! What a store says about itself.

use std::sync::atomic::Ordering;

use super::Inner;

/// What a [`Store`](super::Store) holds and has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The newest published revision.
    pub revision: u64,
    /// The oldest revision that can be read; 0 if nothing was ever compacted.
    pub compact_revision: u64,
    /// Keys that exist.
    pub keys: u64,
    /// Versions that are retained, deletes included.
    pub versions: u64,
    /// Leases that exist.
    pub leases: u64,
    /// Leases that were revoked because their time ran out.
    pub expired_leases: u64,
    /// Streams of watchers, a single watcher being one of its own.
    pub watch_streams: u64,
    /// Watchers in them.
    pub watchers: u64,
    /// What versions and leases take: keys, values and a fixed overhead for each.
    pub bytes: u64,
    /// What they may take.
    pub quota_bytes: u64,
    /// Whether the quota was reached and stops every write that adds something.
    pub quota_alarm: bool,
    /// Revisions that were compacted and whose memory is still to be freed.
    pub unswept_revisions: u64,
    /// Changes that were compacted and keep what was before them in memory, since somebody holds a
    /// snapshot, a fork or a stream that can read it.
    pub held_changes: u64,
    /// Requests that wait for the sequencer.
    pub queued: u64,
    /// What they hold: keys, values and a fixed overhead for each.
    pub queued_bytes: u64,
    /// Batches that the journal has made durable.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those records.
    pub record_bytes: u64,
    /// Batches that failed and left nothing behind.
    pub failed_batches: u64,
    /// Relaxed writes that were acknowledged before they were durable.
    pub relaxed_accepted: u64,
    /// Those of them that were lost after all, or of which it is not known.
    pub relaxed_lost: u64,
    /// Checkpoints made, asked for or not.
    pub checkpoints: u64,
    /// Checkpoints that failed; [`Store::checkpoint_failure`](super::Store::checkpoint_failure)
    /// says why.
    pub failed_checkpoints: u64,
    /// The epoch under which the store writes.
    pub epoch: u64,
    /// The journal's number of the newest record that is published; 0 if there is none.
    pub applied_seq: u64,
}

impl Stats {
    pub(super) fn of(inner: &Inner) -> Self {
        let counters = &inner.shared.counters;
        let (watch_streams, watchers) = inner.shared.hub.counts();
        inner.shared.with_state(|state| Self {
            revision: state.revision(),
            compact_revision: state.compact_revision(),
            keys: state.keys() as u64,
            versions: state.versions(),
            leases: state.leases().len() as u64,
            expired_leases: inner.leases.expired.load(Ordering::Relaxed),
            watch_streams,
            watchers,
            bytes: state.bytes(),
            quota_bytes: inner.shared.quota.bytes(),
            quota_alarm: inner.shared.quota.is_raised(),
            unswept_revisions: state.unswept(),
            held_changes: state.held() as u64,
            queued: (inner.commands.max_capacity() - inner.commands.capacity()) as u64,
            queued_bytes: inner.queue_bytes.saturating_sub(inner.shared.room.available_permits())
                as u64,
            batches: counters.batches.load(Ordering::Relaxed),
            records: counters.records.load(Ordering::Relaxed),
            record_bytes: counters.record_bytes.load(Ordering::Relaxed),
            failed_batches: counters.failed_batches.load(Ordering::Relaxed),
            relaxed_accepted: counters.relaxed_accepted.load(Ordering::Relaxed),
            relaxed_lost: counters.relaxed_lost.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
            failed_checkpoints: counters.failed_checkpoints.load(Ordering::Relaxed),
            epoch: inner.shared.epoch(),
            applied_seq: inner.moved.borrow().next_seq.saturating_sub(1),
        })
    }
}
