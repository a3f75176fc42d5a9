//! The controller between the cache and the provisioner: it sees pods wait, get a node and run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use binpack::Provisioner;
use parking_lot::Mutex;
use tokio::time::Instant;
use trestle_examples::latency::Latency;
use trestle_examples::objects::{PODS, node_name};
use watch_cache::{WatchEvent, WatchRequest};

use crate::fleet::{Fleet, Follower};

/// Watches pods, triggers the provisioner, and measures how long pods wait.
#[derive(Default)]
pub(crate) struct Scheduler {
    pub(crate) binding: Latency,
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Scheduler {
    /// Runs until the cache closes.
    pub(crate) async fn run(self: Arc<Self>, fleet: Arc<Fleet>, provisioner: Provisioner) {
        let mut pods = Follower::new(&fleet, WatchRequest::new(PODS));
        let mut waiting = HashMap::new();
        while let Some(event) = pods.next().await {
            let (WatchEvent::Added { object, .. } | WatchEvent::Modified { object, .. }) = &event
            else {
                continue;
            };
            let now = Instant::now();
            let since = waiting.remove(object.key());
            if node_name(object.value()).is_none() {
                waiting.insert(object.key_bytes(), since.unwrap_or(now));
                self.span.lock().get_or_insert((now, now));
                provisioner.trigger();
            } else if let Some(since) = since {
                self.bound(now - since, now);
                fleet.progress.count(&fleet.progress.bound);
            } else if matches!(event, WatchEvent::Added { .. }) {
                fleet.progress.count(&fleet.progress.bound);
            }
        }
    }

    fn bound(&self, waited: Duration, now: Instant) {
        self.binding.record(waited);
        if let Some((_, last)) = &mut *self.span.lock() {
            *last = now;
        }
    }

    /// From the first pod that was seen to the last that was bound.
    pub(crate) fn span(&self) -> Duration {
        self.span.lock().map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

/// Waits until every pod has a node, or no plan binds any more; then what is left and why.
pub(crate) async fn settled(
    fleet: &Fleet,
    provisioner: &Provisioner,
    pods: usize,
) -> Result<Vec<String>, binpack::Error> {
    loop {
        let bound = || fleet.progress.bound.load(Ordering::Acquire);
        if bound() >= pods || !fleet.progress.failures().is_empty() {
            return Ok(Vec::new());
        }
        let plan = provisioner.plan_now().await?;
        if plan.bindings.is_empty() && !plan.unplaced.is_empty() {
            let left = plan.unplaced.iter();
            return Ok(left.map(|left| format!("pod {}: {}", left.pod, left.reason)).collect());
        }
        // The plan was written; the watch tells of it within moments.
        let _ = tokio::time::timeout(
            Duration::from_millis(200),
            fleet.progress.until(|_| bound() >= pods),
        )
        .await;
    }
}
