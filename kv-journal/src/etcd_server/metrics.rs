//! Counters of the server, and their exposition under the names that etcd's dashboards use.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::config::ServerConfig;
use crate::kv_store::KvStatus;

/// Grows from zero.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the server has done.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) ranges: Counter,
    pub(super) puts: Counter,
    pub(super) deletes: Counter,
    pub(super) txns: Counter,
    pub(super) watch_events: Counter,
    pub(super) grpc_started: Counter,
    pub(super) connections: Counter,
    pub(super) refused_connections: Counter,
    pub(super) too_many_pings: Arc<Counter>,
    healthy: Counter,
    unhealthy: Counter,
}

impl Metrics {
    pub(super) fn health_checked(&self, healthy: bool) {
        if healthy { self.healthy.add(1) } else { self.unhealthy.add(1) }
    }

    /// Everything in Prometheus' text format.
    pub(super) fn exposition(&self, status: &KvStatus, config: &ServerConfig) -> String {
        let mut out = Exposition::default();
        out.gauge("etcd_server_has_leader", 1);
        out.gauge("etcd_server_is_leader", 1);
        out.gauge("etcd_server_is_learner", 0);
        out.counter("etcd_server_leader_changes_seen_total", status.term);
        out.gauge("etcd_server_proposals_committed_total", status.index);
        out.gauge("etcd_server_proposals_applied_total", status.index);
        out.labelled("etcd_server_version", "server_version", &config.version);
        out.counter("etcd_server_health_success", self.healthy.get());
        out.counter("etcd_server_health_failures", self.unhealthy.get());
        out.gauge("etcd_server_quota_backend_bytes", status.quota_bytes);
        out.gauge("etcd_mvcc_db_total_size_in_bytes", status.bytes);
        out.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", status.bytes);
        out.counter("etcd_mvcc_range_total", self.ranges.get());
        out.counter("etcd_mvcc_put_total", self.puts.get());
        out.counter("etcd_mvcc_delete_total", self.deletes.get());
        out.counter("etcd_mvcc_txn_total", self.txns.get());
        out.gauge("etcd_debugging_mvcc_keys_total", status.keys);
        out.gauge("etcd_debugging_mvcc_current_revision", status.revision);
        out.gauge("etcd_debugging_mvcc_compact_revision", status.compact_revision);
        out.gauge("etcd_debugging_mvcc_watch_stream_total", status.watch_streams);
        out.gauge("etcd_debugging_mvcc_watcher_total", status.watchers);
        out.counter("etcd_debugging_mvcc_events_total", self.watch_events.get());
        out.gauge("etcd_debugging_lease_total", status.leases);
        out.counter("grpc_server_started_total", self.grpc_started.get());
        out.counter("trestle_connections_total", self.connections.get());
        out.counter("trestle_refused_connections_total", self.refused_connections.get());
        out.counter("trestle_too_many_pings_total", self.too_many_pings.get());
        out.text
    }
}

#[derive(Default)]
struct Exposition {
    text: String,
}

impl Exposition {
    fn counter(&mut self, name: &str, value: impl Display) {
        self.sample(name, "counter", "", value);
    }

    fn gauge(&mut self, name: &str, value: impl Display) {
        self.sample(name, "gauge", "", value);
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str) {
        self.sample(name, "gauge", &format!("{{{label}=\"{value}\"}}"), 1);
    }

    fn sample(&mut self, name: &str, kind: &str, labels: &str, value: impl Display) {
        // A string takes whatever is written to it.
        let _infallible = writeln!(self.text, "# TYPE {name} {kind}\n{name}{labels} {value}");
    }
}
