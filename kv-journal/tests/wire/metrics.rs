//! What `/metrics` tells, beside a real etcd's.
#![expect(clippy::float_cmp, reason = "counts are exact")]

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use kv_journal::etcd_api::etcdserverpb::watch_request::RequestUnion;
use kv_journal::etcd_api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest};
use kv_journal::etcd_api::stored::WatchResponse;
use kv_journal::etcd_server::ServerConfig;
use tokio::sync::oneshot;
use tonic::Streaming;

use super::etcd::Etcd;
use super::gateway::get;
use super::peer::{self, Peer};

/// The samples by name and labels, and the kinds by name.
struct Told {
    samples: HashMap<String, f64>,
    kinds: HashMap<String, String>,
}

impl Told {
    async fn by(port: u16) -> Self {
        let (mut samples, mut kinds) = (HashMap::new(), HashMap::new());
        for line in get(port, "/metrics").await.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let value = value.parse().unwrap();
                assert!(samples.insert(name.to_owned(), value).is_none(), "{line}");
            }
        }
        Self { samples, kinds }
    }

    fn value(&self, name: &str) -> f64 {
        *self.samples.get(name).unwrap_or_else(|| panic!("no {name}"))
    }
}

/// A watch whose client asks no more once the sender is dropped.
async fn watch(peer: &Peer) -> (Streaming<WatchResponse>, oneshot::Sender<()>) {
    let create = WatchCreateRequest { key: "k".into(), ..Default::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let (asks, asks_no_more) = oneshot::channel();
    let requests = stream::iter([create]).chain(stream::pending().take_until(asks_no_more));
    let mut watch = peer.watch.clone().watch(requests).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().created);
    (watch, asks)
}

/// What the dashboards and alerts of etcd's mixin ask for, but for what has no meaning here: other
/// members, and commits of a backend.
const ASKED_FOR: &[&str] = &[
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_server_has_leader",
    "etcd_server_is_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "etcd_debugging_mvcc_keys_total",
    "etcd_debugging_mvcc_slow_watcher_total",
    "grpc_server_handled_total",
    "grpc_server_started_total",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

#[tokio::test]
async fn dashboards_find_what_they_ask_for() {
    let own = Told::by(peer::port_of(ServerConfig::default()).await).await;
    for name in ASKED_FOR {
        assert!(own.kinds.contains_key(*name), "{name}");
    }
    let Some(etcd) = Etcd::start() else { return };
    let etcd = Told::by(etcd.port()).await;
    let mut known = 0;
    for (name, kind) in &own.kinds {
        if let Some(etcds) = etcd.kinds.get(name) {
            assert_eq!(kind, etcds, "{name}");
            known += 1;
        }
    }
    assert!(known > 30, "{known}");
    // A gRPC method has the same labels.
    let started = |told: &Told| {
        let mut started: Vec<_> = told
            .samples
            .keys()
            .filter(|name| name.starts_with("grpc_server_started_total{"))
            .filter(|name| name.contains("\"etcdserverpb."))
            .cloned()
            .collect();
        started.sort();
        started
    };
    let etcds = started(&etcd);
    assert!(etcds.len() > 30);
    let own = started(&own);
    assert_eq!(etcds.iter().filter(|name| !own.contains(name)).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn calls_are_counted_by_how_they_end() {
    let mut config = ServerConfig::default();
    config.extensive_metrics = true;
    let port = peer::port_of(config).await;
    let mut peer = Peer::at(port);
    let put = PutRequest { key: "k".into(), value: vec![7; 1000].into(), ..Default::default() };
    peer.kv.put(put.clone()).await.unwrap();
    peer.kv.put(PutRequest { lease: 7, ..put }).await.unwrap_err();
    drop(watch(&peer).await);
    super::gateway::post(port, "/v3/kv/range", r#"{"key":"aw=="}"#).await;
    let of = |kind: &str, service: &str, method: &str| {
        let service = format!("grpc_service=\"etcdserverpb.{service}\"");
        format!("grpc_method=\"{method}\",{service},grpc_type=\"{kind}\"")
    };
    let (put, range) = (of("unary", "KV", "Put"), of("unary", "KV", "Range"));
    let watched = of("bidi_stream", "Watch", "Watch");
    let canceled = format!("grpc_server_handled_total{{{watched},grpc_code=\"Canceled\"}}");
    // The server hears of it when it hears of it.
    let told = loop {
        let told = Told::by(port).await;
        if told.samples.contains_key(&canceled) {
            break told;
        }
    };
    for (name, value) in [
        (format!("grpc_server_started_total{{{put}}}"), 2.0),
        (format!("grpc_server_handled_total{{{put},grpc_code=\"OK\"}}"), 1.0),
        (format!("grpc_server_handled_total{{{put},grpc_code=\"NotFound\"}}"), 1.0),
        (format!("grpc_server_handling_seconds_count{{{put}}}"), 2.0),
        (format!("grpc_server_handled_total{{{range},grpc_code=\"OK\"}}"), 1.0),
        (canceled, 1.0),
        ("etcd_mvcc_put_total".to_owned(), 1.0),
    ] {
        assert_eq!(told.value(&name), value, "{name}");
    }
    assert!(told.value("etcd_network_client_grpc_received_bytes_total") > 2000.0);
    // The range's answer has the value.
    assert!(told.value("etcd_network_client_grpc_sent_bytes_total") > 1000.0);
    assert!(told.value("etcd_disk_wal_fsync_duration_seconds_count") >= 1.0);
    assert!(told.value("process_resident_memory_bytes") > 1e6);
    assert!(told.value("process_open_fds") > 3.0);
    assert!(told.value("process_start_time_seconds") > 1.6e9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_told_apart_and_stalls_nobody() {
    const EVENTS: usize = 100;
    let port = peer::port_of(ServerConfig::default()).await;
    let (mut slow, _asks) = watch(&Peer::at(port)).await;
    let (mut fast, _asks) = watch(&Peer::at(port)).await;
    let mut peer = Peer::at(port);
    let value = vec![7; 100_000];
    let mut bytes = 0;
    for n in 0..EVENTS {
        let put = PutRequest { key: "k".into(), value: value.clone().into(), ..Default::default() };
        peer.kv.put(put).await.unwrap();
        // Whoever reads hears of each.
        let heard = fast.message().await.unwrap().unwrap();
        assert_eq!(heard.events.len(), 1, "{n}");
        bytes += value.len();
    }
    assert!(bytes > 5_000_000, "more than fits on the way");
    let told = loop {
        let told = Told::by(port).await;
        if told.value("trestle_slow_watch_streams") > 0.0 {
            break told;
        }
    };
    assert_eq!(told.value("trestle_slow_watch_streams"), 1.0);
    assert_eq!(told.value("etcd_debugging_mvcc_slow_watcher_total"), 1.0);
    assert_eq!(told.value("etcd_debugging_mvcc_watcher_total"), 2.0);
    let by_name = |told: &Told| {
        let of = "trestle_slow_watch_stream_seconds{client=\"127.0.0.1:";
        told.samples.keys().filter(|name| name.starts_with(of)).count()
    };
    assert_eq!(by_name(&told), 1);
    // It has lost nothing.
    let mut heard = 0;
    while heard < EVENTS {
        heard += slow.message().await.unwrap().unwrap().events.len();
    }
    assert_eq!(heard, EVENTS);
    while Told::by(port).await.value("trestle_slow_watch_streams") > 0.0 {}
}
