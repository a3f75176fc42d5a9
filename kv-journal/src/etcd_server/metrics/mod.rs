//! What the server tells of itself, under the names that etcd's dashboards and alerts use.

mod exposition;
mod methods;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use methods::Call;

use self::exposition::{Exposition, labels};
use self::methods::Methods;
use super::audience::{self, Audience};
use super::config::ServerConfig;
use crate::core::Durations;
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
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) ranges: Counter,
    pub(super) puts: Counter,
    pub(super) deletes: Counter,
    pub(super) txns: Counter,
    pub(super) watch_events: Counter,
    pub(super) received_bytes: Arc<Counter>,
    pub(super) sent_bytes: Arc<Counter>,
    pub(super) connections: Counter,
    pub(super) refused_connections: Counter,
    pub(super) too_many_pings: Arc<Counter>,
    pub(super) audience: Arc<Audience>,
    methods: Methods,
    healthy: Counter,
    unhealthy: Counter,
}

impl Metrics {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            ranges: Counter::default(),
            puts: Counter::default(),
            deletes: Counter::default(),
            txns: Counter::default(),
            watch_events: Counter::default(),
            received_bytes: Arc::default(),
            sent_bytes: Arc::default(),
            connections: Counter::default(),
            refused_connections: Counter::default(),
            too_many_pings: Arc::default(),
            audience: Arc::default(),
            methods: Methods::new(config.extensive_metrics),
            healthy: Counter::default(),
            unhealthy: Counter::default(),
        }
    }

    /// A call of this path begins, if there is such a method.
    pub(super) fn begin(&self, path: &str) -> Option<Call> {
        self.methods.begin(path)
    }

    pub(super) fn health_checked(&self, healthy: bool) {
        if healthy { self.healthy.add(1) } else { self.unhealthy.add(1) }
    }

    /// Everything in Prometheus' text format.
    pub(super) fn exposition(
        &self,
        config: &ServerConfig,
        status: &KvStatus,
        commits: Option<&Durations>,
    ) -> String {
        let mut out = Exposition::default();
        self.server(&mut out, config, status);
        self.store(&mut out, status, commits);
        self.watching(&mut out, status);
        self.methods.write(&mut out);
        out.counter("etcd_network_client_grpc_received_bytes_total", self.received_bytes.get());
        out.counter("etcd_network_client_grpc_sent_bytes_total", self.sent_bytes.get());
        out.counter("trestle_connections_total", self.connections.get());
        out.counter("trestle_refused_connections_total", self.refused_connections.get());
        out.counter("trestle_too_many_pings_total", self.too_many_pings.get());
        process::write(&mut out);
        out.into_text()
    }

    fn server(&self, out: &mut Exposition, config: &ServerConfig, status: &KvStatus) {
        // There is one member, and it leads.
        out.gauge("etcd_server_has_leader", 1);
        out.gauge("etcd_server_is_leader", 1);
        out.gauge("etcd_server_is_learner", 0);
        out.counter("etcd_server_leader_changes_seen_total", status.term);
        out.info("etcd_server_version", "server_version", &config.version);
        out.info("etcd_cluster_version", "cluster_version", &config.cluster_version());
        out.info("etcd_server_id", "server_id", &format!("{:x}", config.member_id));
        out.counter("etcd_server_health_success", self.healthy.get());
        out.counter("etcd_server_health_failures", self.unhealthy.get());
        out.gauge("etcd_server_proposals_committed_total", status.index);
        out.gauge("etcd_server_proposals_applied_total", status.index);
        out.gauge("etcd_server_proposals_pending", status.queued);
        out.counter("etcd_server_proposals_failed_total", status.failed_batches);
        out.gauge("etcd_server_quota_backend_bytes", status.quota_bytes);
    }

    fn store(&self, out: &mut Exposition, status: &KvStatus, commits: Option<&Durations>) {
        if let Some(commits) = commits {
            out.histogram("etcd_disk_wal_fsync_duration_seconds", commits);
        }
        out.gauge("etcd_mvcc_db_total_size_in_bytes", status.bytes);
        out.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", status.bytes);
        out.counter("etcd_mvcc_range_total", self.ranges.get());
        out.counter("etcd_mvcc_put_total", self.puts.get());
        out.counter("etcd_mvcc_delete_total", self.deletes.get());
        out.counter("etcd_mvcc_txn_total", self.txns.get());
        out.gauge("etcd_debugging_mvcc_keys_total", status.keys);
        out.gauge("etcd_debugging_mvcc_current_revision", status.revision);
        out.gauge("etcd_debugging_mvcc_compact_revision", status.compact_revision);
        out.gauge("etcd_debugging_lease_total", status.leases);
    }

    fn watching(&self, out: &mut Exposition, status: &KvStatus) {
        out.gauge("etcd_debugging_mvcc_watch_stream_total", status.watch_streams);
        out.gauge("etcd_debugging_mvcc_watcher_total", status.watchers);
        out.counter("etcd_debugging_mvcc_events_total", self.watch_events.get());
        let slow = self.audience.slow(audience::now());
        let watchers: u64 = slow.iter().map(|slow| slow.watchers).sum();
        out.gauge("etcd_debugging_mvcc_slow_watcher_total", watchers);
        out.gauge("trestle_slow_watch_streams", slow.len());
        let mut unread = out.family("trestle_slow_watch_stream_seconds", "gauge");
        for slow in slow.iter().take(SLOW_TOLD) {
            let labels = labels(&[("client", &slow.client), ("stream", &slow.stream.to_string())]);
            unread.sample(&labels, slow.unread.as_secs_f64());
        }
    }
}

/// How many slow streams are told of by name.
const SLOW_TOLD: usize = 100;
