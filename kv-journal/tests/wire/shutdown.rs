//! A server that is shut down.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use kv_journal::etcd_api::etcdserverpb::watch_request::RequestUnion;
use kv_journal::etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, RangeRequest, WatchCreateRequest, WatchRequest,
};
use kv_journal::etcd_api::v3electionpb::LeaderRequest;
use kv_journal::etcd_api::v3lockpb::LockRequest;
use kv_journal::etcd_server::{EtcdServer, ServerConfig};
use kv_journal::{Config, MemoryJournal, Store};
use tokio::net::TcpListener;
use tonic::Status;

use super::peer::Peer;

fn said<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    answer.unwrap_err().message().to_owned()
}

#[tokio::test]
async fn what_has_no_end_of_its_own_ends_with_the_server() {
    let (store, driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    tokio::spawn(driver);
    let mut config = ServerConfig::default();
    // Who waits for it waits for ever.
    config.shutdown_grace = std::time::Duration::from_secs(1_000_000);
    let spawn = |task| drop(tokio::spawn(task));
    let server = EtcdServer::open(Arc::new(store), config, spawn).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = Peer::at(listener.local_addr().unwrap().port());
    let serving = server.clone();
    let ended = tokio::spawn(async move { serving.serve(listener).await });

    let create = WatchCreateRequest { key: "a".into(), ..Default::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = stream::iter([create]).chain(stream::pending());
    let mut watch = peer.watch.watch(requests).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().created);
    for id in [1, 2] {
        peer.lease.lease_grant(LeaseGrantRequest { ttl: 600, id }).await.unwrap();
    }
    let renew = stream::iter([LeaseKeepAliveRequest { id: 1 }]).chain(stream::pending());
    let mut renewals = peer.lease.lease_keep_alive(renew).await.unwrap().into_inner();
    assert_eq!(renewals.message().await.unwrap().unwrap().ttl, 600);
    let nobody = LeaderRequest { name: "seat".into() };
    let mut leaders = peer.election.observe(nobody).await.unwrap().into_inner();
    peer.lock.lock(LockRequest { name: "l".into(), lease: 1 }).await.unwrap();
    let mut lock = peer.lock.clone();
    let second =
        tokio::spawn(async move { lock.lock(LockRequest { name: "l".into(), lease: 2 }).await });
    let place = RangeRequest { key: "l/2".into(), count_only: true, ..Default::default() };
    while peer.kv.range(place.clone()).await.unwrap().into_inner().count == 0 {}

    server.shut_down();
    let stopped = "etcdserver: server stopped";
    assert_eq!(said(watch.message().await), stopped);
    assert_eq!(said(renewals.message().await), stopped);
    assert_eq!(said(leaders.message().await), stopped);
    assert_eq!(said(second.await.unwrap()), stopped);
    ended.await.unwrap();
}
