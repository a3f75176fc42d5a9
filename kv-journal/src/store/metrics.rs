//! What the store tells the recorder of the `metrics` facade that the program has installed: the
//! one place that does. Without the feature every function here is empty.
//!
//! README.md lists the names.

#[cfg(feature = "metrics")]
pub(super) use recorded::*;
#[cfg(not(feature = "metrics"))]
pub(super) use unrecorded::*;

/// Sizes of one batch.
#[derive(Clone, Copy)]
pub(super) struct BatchSize {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

#[cfg(feature = "metrics")]
mod recorded {
    use std::time::Duration;

    use metrics::{counter, gauge, histogram};

    use super::super::shared::Shared;
    use super::BatchSize;
    use crate::core::State;

    pub(in crate::store) fn batch_started(size: BatchSize) {
        #[expect(clippy::cast_precision_loss, reason = "a batch is far smaller than 2^52")]
        let (records, bytes) = (size.records as f64, size.bytes as f64);
        histogram!("kv_journal_batch_records").record(records);
        histogram!("kv_journal_batch_bytes").record(bytes);
    }

    pub(in crate::store) fn batch_durable(size: BatchSize, took: Duration) {
        histogram!("kv_journal_commit_seconds").record(took);
        counter!("kv_journal_batches_total").increment(1);
        counter!("kv_journal_records_total").increment(size.records as u64);
        counter!("kv_journal_record_bytes_total").increment(size.bytes as u64);
    }

    pub(in crate::store) fn batch_failed() {
        counter!("kv_journal_failed_batches_total").increment(1);
    }

    pub(in crate::store) fn requests_evaluated(count: usize) {
        counter!("kv_journal_requests_total").increment(count as u64);
    }

    pub(in crate::store) fn quota_refused() {
        counter!("kv_journal_quota_refused_total").increment(1);
    }

    pub(in crate::store) fn relaxed_accepted(count: u64) {
        counter!("kv_journal_relaxed_accepted_total").increment(count);
    }

    pub(in crate::store) fn relaxed_lost(count: u64) {
        counter!("kv_journal_relaxed_lost_total").increment(count);
    }

    pub(in crate::store) fn checkpointed(made: bool) {
        let name = if made {
            "kv_journal_checkpoints_total"
        } else {
            "kv_journal_failed_checkpoints_total"
        };
        counter!(name).increment(1);
    }

    pub(in crate::store) fn leases_expired(count: u64) {
        counter!("kv_journal_expired_leases_total").increment(count);
    }

    pub(in crate::store) fn watch_streams(count: usize) {
        set("kv_journal_watch_streams", count as u64);
    }

    pub(in crate::store) fn watchers(count: u64) {
        set("kv_journal_watchers", count);
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn set(name: &'static str, value: u64) {
        gauge!(name).set(value as f64);
    }

    pub(in crate::store) fn published(state: &State, shared: &Shared, queued: usize) {
        for (name, value) in [
            ("kv_journal_revision", state.revision()),
            ("kv_journal_compact_revision", state.compact_revision()),
            ("kv_journal_unswept_revisions", state.unswept()),
            ("kv_journal_keys", state.keys() as u64),
            ("kv_journal_versions", state.versions()),
            ("kv_journal_leases", state.leases().len() as u64),
            ("kv_journal_bytes", state.bytes()),
            ("kv_journal_quota_bytes", shared.quota.bytes()),
            ("kv_journal_quota_alarm", shared.quota.is_raised().into()),
            ("kv_journal_queued_requests", queued as u64),
            ("kv_journal_epoch", shared.epoch()),
        ] {
            set(name, value);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod unrecorded {
    use std::time::Duration;

    use super::super::shared::Shared;
    use super::BatchSize;
    use crate::core::State;

    pub(in crate::store) fn batch_started(_size: BatchSize) {}
    pub(in crate::store) fn batch_durable(_size: BatchSize, _took: Duration) {}
    pub(in crate::store) fn batch_failed() {}
    pub(in crate::store) fn requests_evaluated(_count: usize) {}
    pub(in crate::store) fn quota_refused() {}
    pub(in crate::store) fn relaxed_accepted(_count: u64) {}
    pub(in crate::store) fn relaxed_lost(_count: u64) {}
    pub(in crate::store) fn checkpointed(_made: bool) {}
    pub(in crate::store) fn leases_expired(_count: u64) {}
    pub(in crate::store) fn watch_streams(_count: usize) {}
    pub(in crate::store) fn watchers(_count: u64) {}
    pub(in crate::store) fn published(_state: &State, _shared: &Shared, _queued: usize) {}
}
