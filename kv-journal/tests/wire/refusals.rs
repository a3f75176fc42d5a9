//! What is refused, in the words and with the codes by which clients know it.

use bytes::Bytes;
use futures_util::StreamExt;
use kv_journal::Config;
use kv_journal::etcd_api::etcdserverpb::alarm_request::AlarmAction;
use kv_journal::etcd_api::etcdserverpb::request_op::Request;
use kv_journal::etcd_api::etcdserverpb::watch_request::RequestUnion;
use kv_journal::etcd_api::etcdserverpb::{
    AlarmRequest, AlarmType, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
};
use kv_journal::etcd_server::ServerConfig;
use prost::Message;
use tonic::{Code, Status};

use super::peer::Peer;

async fn own(config: Config) -> Peer {
    Peer::own(config, ServerConfig::default()).await.0
}

fn said<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn known(code: Code, message: &str) -> (Code, String) {
    (code, format!("etcdserver: {message}"))
}

fn put(key: &'static str, value: &[u8]) -> PutRequest {
    PutRequest { key: key.into(), value: Bytes::copy_from_slice(value), ..Default::default() }
}

#[tokio::test]
async fn requests_are_refused_in_etcds_words() {
    let mut peer = own(Config::default()).await;
    let wrong = RangeRequest { key: "a".into(), sort_target: 9, ..Default::default() };
    let refused = known(Code::InvalidArgument, "invalid sort option");
    assert_eq!(said(peer.kv.range(wrong).await), refused);
    let empty = known(Code::InvalidArgument, "key is not provided");
    assert_eq!(said(peer.kv.range(RangeRequest::default()).await), empty);
    assert_eq!(said(peer.kv.put(PutRequest::default()).await), empty);
    assert_eq!(said(peer.kv.delete_range(DeleteRangeRequest::default()).await), empty);
    let kept = PutRequest { ignore_value: true, ..put("a", b"") };
    let missing = known(Code::InvalidArgument, "key not found");
    assert_eq!(said(peer.kv.put(kept).await), missing);
    let leased = PutRequest { lease: 5, ..put("a", b"") };
    let no_lease = known(Code::NotFound, "requested lease not found");
    assert_eq!(said(peer.kv.put(leased).await), no_lease);
    let revoke = LeaseRevokeRequest { id: 5 };
    assert_eq!(said(peer.lease.lease_revoke(revoke).await), no_lease);
    let grant = LeaseGrantRequest { ttl: 60, id: 5 };
    peer.lease.lease_grant(grant).await.unwrap();
    let exists = known(Code::FailedPrecondition, "lease already exists");
    assert_eq!(said(peer.lease.lease_grant(grant).await), exists);
    let long = LeaseGrantRequest { ttl: 9_000_000_001, id: 6 };
    let too_long = known(Code::OutOfRange, "too large lease TTL");
    assert_eq!(said(peer.lease.lease_grant(long).await), too_long);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_rest_of_the_connection_goes_on() {
    let mut peer = own(Config::default()).await;
    let most = ServerConfig::default().max_request_bytes;
    let too_large = known(Code::InvalidArgument, "request is too large");
    assert_eq!(said(peer.kv.put(put("a", &vec![0; most])).await), too_large);
    peer.kv.put(put("a", &vec![0; most - 64])).await.unwrap();
    // Beyond the envelope it is gRPC that refuses it.
    let beyond = peer.kv.put(put("a", &vec![0; most + (600 << 10)])).await.unwrap_err();
    assert_eq!(beyond.code(), Code::OutOfRange, "{beyond:?}");
    peer.kv.put(put("a", b"small")).await.unwrap();

    let nothing = RequestOp { request: Some(Request::RequestPut(put("a", b""))) };
    let ops = (0..129).map(|_| nothing.clone()).collect();
    let many = TxnRequest { success: ops, ..Default::default() };
    let too_many = known(Code::InvalidArgument, "too many operations in txn request");
    assert_eq!(said(peer.kv.txn(many).await), too_many);
    let mut deep = TxnRequest::default();
    for depth in 0..200 {
        let nested = Request::RequestTxn(deep.encode_to_vec().into());
        deep =
            TxnRequest { success: vec![RequestOp { request: Some(nested) }], ..Default::default() };
        if depth == 126 {
            assert!(peer.kv.txn(deep.clone()).await.is_ok(), "127 levels fit the budget");
        }
    }
    assert_eq!(said(peer.kv.txn(deep).await), too_many);
}

#[tokio::test]
async fn watchers_are_refused_with_a_reason_and_the_stream_goes_on() {
    let mut peer = own(Config::default()).await;
    let create = |key: &'static str, range_end: &'static str, start_revision, watch_id| {
        let create = WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision,
            watch_id,
            ..Default::default()
        };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    };
    let requests = [
        create("a", "", -1, 0),
        create("b", "a", 0, 0),
        create("a", "", 0, 7),
        create("b", "", 0, 7),
        WatchRequest { request_union: None },
    ];
    let requests = futures_util::stream::iter(requests).chain(futures_util::stream::pending());
    let mut watch = peer.watch.watch(requests).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.len() < 4 {
        let response = watch.next().await.unwrap().unwrap();
        told.push((response.watch_id, response.created, response.canceled, response.cancel_reason));
    }
    told.sort();
    let refused = |reason: &str| (-1, true, true, reason.to_owned());
    assert_eq!(
        told,
        [
            refused("etcdserver: mvcc: required revision has been compacted"),
            refused("mvcc: duplicate watch ID provided on the WatchStream"),
            refused("mvcc: watcher range is empty"),
            (7, true, false, String::new()),
        ]
    );
    peer.kv.put(put("a", b"")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().watch_id, 7);
}

#[tokio::test]
async fn a_full_store_takes_deletes_and_tells_its_alarm_until_it_is_disarmed() {
    let mut config = Config::default();
    config.quota_bytes = 2 << 20;
    let mut peer = own(config).await;
    let full = known(Code::ResourceExhausted, "mvcc: database space exceeded");
    let value = vec![0; 1 << 20];
    peer.kv.put(put("a", &value)).await.unwrap();
    assert_eq!(said(peer.kv.put(put("b", &value)).await), full);
    assert_eq!(said(peer.kv.put(put("c", b"")).await), full);
    let grant = LeaseGrantRequest { ttl: 60, id: 0 };
    assert_eq!(said(peer.lease.lease_grant(grant).await), full);
    let alarms = AlarmRequest { action: AlarmAction::Get.into(), ..Default::default() };
    let raised = peer.maintenance.alarm(alarms).await.unwrap().into_inner().alarms;
    assert_eq!(raised[0].alarm, i32::from(AlarmType::Nospace));

    let all = DeleteRangeRequest { key: "a".into(), ..Default::default() };
    let at = peer.kv.delete_range(all).await.unwrap().into_inner().header.unwrap().revision;
    let compaction =
        kv_journal::etcd_api::etcdserverpb::CompactionRequest { revision: at, physical: true };
    peer.kv.compact(compaction).await.unwrap();
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        member_id: 0,
        alarm: AlarmType::Nospace.into(),
    };
    peer.maintenance.alarm(disarm).await.unwrap();
    peer.kv.put(put("c", b"")).await.unwrap();
}
