//! What the cache tells the recorder of the `metrics` facade that the program has installed: the one
//! place that does. Without the feature nothing is told.
//!
//! README.md lists the names.

use tokio::time::Duration;

use super::shared::Shared;

/// How often counters and gauges are told; never without the feature.
pub(super) const INTERVAL: Option<Duration> =
    if cfg!(feature = "metrics") { Some(Duration::from_secs(1)) } else { None };

#[cfg(feature = "metrics")]
pub(super) use recorded::*;
#[cfg(not(feature = "metrics"))]
pub(super) use unrecorded::*;

#[cfg(feature = "metrics")]
mod recorded {
    use metrics::{counter, gauge, histogram};

    use super::{Duration, Shared};

    /// A read waited for the source to say how new it is, and for the cache to be as new.
    pub(in crate::cache) fn fresh(waited: Duration) {
        histogram!("watch_cache_freshness_wait_seconds").record(waited);
    }

    /// A pump found something new for a group so long after the newest publication.
    pub(in crate::cache) fn looked(after: Duration) {
        histogram!("watch_cache_pump_latency_seconds").record(after);
    }

    pub(in crate::cache) fn tell(shared: &Shared) {
        let stats = shared.stats();
        for (name, value) in [
            ("watch_cache_revision", stats.revision),
            ("watch_cache_revision_lag", stats.revision_lag()),
            ("watch_cache_oldest_revision", stats.oldest_revision),
            ("watch_cache_objects", stats.objects as u64),
            ("watch_cache_log_revisions", stats.log_revisions as u64),
            ("watch_cache_waiters", stats.waiters as u64),
            ("watch_cache_checkpoint_revision", stats.checkpoint_revision),
            ("watch_cache_compared_revision", stats.compared_revision),
        ] {
            set(name, value);
        }
        let follow = stats.watchers.saturating_sub(stats.parked + stats.behind);
        for (state, count) in
            [("following", follow), ("behind", stats.behind), ("parked", stats.parked)]
        {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            gauge!("watch_cache_watchers", "state" => state).set(count as f64);
        }
        for (part, bytes) in stats.bytes.parts() {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            gauge!("watch_cache_bytes", "part" => part).set(bytes as f64);
        }
        for (name, value) in [
            ("watch_cache_revisions_applied_total", stats.applied),
            ("watch_cache_publications_total", stats.published),
            ("watch_cache_wakes_total", stats.wakes),
            ("watch_cache_deliveries_total", stats.deliveries),
            ("watch_cache_resumed_watches_total", stats.resumed),
            ("watch_cache_questions_total", stats.questions),
            ("watch_cache_progress_requests_total", stats.progress_requests),
            ("watch_cache_source_lists_total", stats.lists),
            ("watch_cache_source_watches_total", stats.watches),
            ("watch_cache_source_errors_total", stats.source_errors),
            ("watch_cache_checkpoints_total", stats.checkpoints),
            ("watch_cache_checkpoint_errors_total", stats.checkpoint_errors),
            ("watch_cache_comparisons_total", stats.comparisons),
            ("watch_cache_inconsistencies_total", stats.inconsistencies),
            ("watch_cache_violations_total", stats.violations),
            ("watch_cache_replayed_revisions_total", stats.replayed),
            ("watch_cache_backward_progress_total", stats.backward_progress),
            ("watch_cache_early_progress_total", stats.early_progress),
            ("watch_cache_malformed_events_total", stats.malformed),
        ] {
            counter!(name).absolute(value);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn set(name: &'static str, value: u64) {
        gauge!(name).set(value as f64);
    }
}

#[cfg(not(feature = "metrics"))]
mod unrecorded {
    use super::{Duration, Shared};

    pub(in crate::cache) fn fresh(_waited: Duration) {}
    pub(in crate::cache) fn looked(_after: Duration) {}
    pub(in crate::cache) fn tell(_shared: &Shared) {}
}
