//! The shapes of a kube-apiserver's requests, as traced from 1.36, and what it reads of the answers.

use bytes::Bytes;
use futures_util::StreamExt;
use kv_journal::Config;
use kv_journal::etcd_api::etcdserverpb::compare::{CompareTarget, TargetUnion};
use kv_journal::etcd_api::etcdserverpb::request_op::Request;
use kv_journal::etcd_api::etcdserverpb::response_op::Response;
use kv_journal::etcd_api::etcdserverpb::watch_request::RequestUnion;
use kv_journal::etcd_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
    RequestOp, StatusRequest, TxnRequest, TxnResponse, WatchCreateRequest, WatchProgressRequest,
    WatchRequest,
};
use kv_journal::etcd_api::stored::{EventType, Events, WatchResponse};
use kv_journal::etcd_server::ServerConfig;
use tonic::{Code, Streaming};

use super::peer::Peer;

const PODS: &str = "/registry/pods/";

fn compare(key: &str, target: CompareTarget, union: TargetUnion) -> Compare {
    Compare {
        key: Bytes::from(key.to_owned()),
        result: 0,
        target: target.into(),
        target_union: Some(union),
        range_end: Bytes::new(),
    }
}

fn mod_is(key: &str, revision: i64) -> Compare {
    compare(key, CompareTarget::Mod, TargetUnion::ModRevision(revision))
}

fn get(key: &str) -> RequestOp {
    let range = RangeRequest { key: Bytes::from(key.to_owned()), ..Default::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

fn put(key: &str, value: &str, lease: i64) -> RequestOp {
    let put = PutRequest {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        lease,
        ..Default::default()
    };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

fn delete(key: &str) -> RequestOp {
    let delete = DeleteRangeRequest { key: Bytes::from(key.to_owned()), ..Default::default() };
    RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
}

/// One comparison, one operation, perhaps one in the other case.
async fn txn(
    peer: &mut Peer,
    when: Compare,
    then: RequestOp,
    or_else: Option<RequestOp>,
) -> TxnResponse {
    let failure = or_else.into_iter().collect();
    let request = TxnRequest { compare: vec![when], success: vec![then], failure };
    peer.kv.txn(request).await.unwrap().into_inner()
}

fn revision(answer: &TxnResponse) -> i64 {
    answer.header.unwrap().revision
}

fn key_that_was_there(answer: &TxnResponse) -> (Bytes, u64) {
    let Some(Response::ResponseRange(range)) = &answer.responses[0].response else {
        panic!("{answer:?}")
    };
    let kv = &range.kvs[0];
    (Bytes::copy_from_slice(kv.value()), kv.meta().mod_revision)
}

fn prefix(limit: i64, from: &str, revision: i64) -> RangeRequest {
    RangeRequest {
        key: Bytes::from(from.to_owned()),
        range_end: "/registry/pods0".into(),
        limit,
        revision,
        ..Default::default()
    }
}

async fn own() -> Peer {
    Peer::own(Config::default(), ServerConfig::default()).await.0
}

#[tokio::test]
async fn objects_are_created_updated_and_deleted_by_their_revision() {
    let mut peer = own().await;
    let key = "/registry/pods/default/a";
    let lease = LeaseGrantRequest { ttl: 3660, id: 77 };
    assert_eq!(peer.lease.lease_grant(lease).await.unwrap().into_inner().id, 77);

    let created = txn(&mut peer, mod_is(key, 0), put(key, "one", 77), None).await;
    assert!(created.succeeded);
    let again = txn(&mut peer, mod_is(key, 0), put(key, "two", 0), Some(get(key))).await;
    assert!(!again.succeeded);
    assert_eq!(key_that_was_there(&again), ("one".into(), 2));

    let at = revision(&created);
    let updated = txn(&mut peer, mod_is(key, at), put(key, "two", 0), Some(get(key))).await;
    assert!(updated.succeeded);
    let stale = txn(&mut peer, mod_is(key, at), delete(key), Some(get(key))).await;
    assert!(!stale.succeeded);
    assert_eq!(key_that_was_there(&stale), ("two".into(), 3));
    let gone = txn(&mut peer, mod_is(key, revision(&updated)), delete(key), Some(get(key))).await;
    assert!(gone.succeeded);
    assert_eq!(revision(&gone), 4);
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_revision() {
    let mut peer = own().await;
    for i in 0..25 {
        let key = format!("{PODS}{i:02}");
        assert!(txn(&mut peer, mod_is(&key, 0), put(&key, "pod", 0), None).await.succeeded);
    }
    let first = peer.kv.range(prefix(10, PODS, 0)).await.unwrap().into_inner();
    assert_eq!((first.kvs.len(), first.more, first.count), (10, true, 25));
    let at = first.header.unwrap().revision;
    let last = String::from_utf8(first.kvs[9].key().to_vec()).unwrap();
    assert!(
        txn(&mut peer, mod_is("/registry/pods/99", 0), put("/registry/pods/99", "", 0), None)
            .await
            .succeeded
    );

    let second = peer.kv.range(prefix(100, &(last + "\0"), at)).await.unwrap().into_inner();
    assert_eq!((second.kvs.len(), second.more, second.count), (15, false, 15));
    assert_eq!(second.header.unwrap().revision, at + 1);
    let counted = RangeRequest { count_only: true, ..prefix(0, PODS, 0) };
    let counted = peer.kv.range(counted).await.unwrap().into_inner();
    assert_eq!((counted.kvs.len(), counted.count), (0, 26));
    let keys = RangeRequest { keys_only: true, ..prefix(1, PODS, 0) };
    let keys = peer.kv.range(keys).await.unwrap().into_inner();
    assert_eq!((keys.kvs[0].value(), keys.kvs[0].key()), (&b""[..], &b"/registry/pods/00"[..]));

    let mut chunks = peer.kv.range_stream(prefix(0, PODS, at)).await.unwrap().into_inner();
    let mut streamed = 0;
    while let Some(chunk) = chunks.next().await {
        streamed += chunk.unwrap().range_response.unwrap().kvs.len();
    }
    assert_eq!(streamed, 25);
}

#[tokio::test]
async fn the_compactor_takes_turns_by_version_and_compacts() {
    let mut peer = own().await;
    let key = "compact_rev_key";
    let version = |version| compare(key, CompareTarget::Version, TargetUnion::Version(version));
    assert!(txn(&mut peer, version(0), put(key, "1", 0), Some(get(key))).await.succeeded);
    let lost = txn(&mut peer, version(0), put(key, "1", 0), Some(get(key))).await;
    assert!(!lost.succeeded);
    let won = txn(&mut peer, version(1), put(key, "2", 0), Some(get(key))).await;
    assert!(won.succeeded);
    let at = CompactionRequest { revision: 3, physical: false };
    peer.kv.compact(at).await.unwrap();
    let again = peer.kv.compact(at).await.unwrap_err();
    assert_eq!(again.code(), Code::OutOfRange);
    assert_eq!(again.message(), "etcdserver: mvcc: required revision has been compacted");
    let old = peer.kv.range(prefix(0, PODS, 2)).await.unwrap_err();
    assert_eq!(old.message(), "etcdserver: mvcc: required revision has been compacted");
    let future = peer.kv.range(prefix(0, PODS, 99)).await.unwrap_err();
    assert_eq!(future.message(), "etcdserver: mvcc: required revision is a future revision");
}

#[tokio::test]
async fn consistent_reads_from_the_cache_are_offered_and_work() {
    let mut peer = own().await;
    let status = peer.maintenance.status(StatusRequest {}).await.unwrap().into_inner();
    let version: Vec<u32> = status.version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 5, 13], "{version:?}");

    let (ask, mut queue) = tokio::sync::mpsc::unbounded_channel();
    let requests = futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx));
    let ask = |union| ask.send(WatchRequest { request_union: Some(union) }).unwrap();
    ask(RequestUnion::CreateRequest(WatchCreateRequest {
        key: PODS.into(),
        range_end: "/registry/pods0".into(),
        start_revision: 2,
        progress_notify: true,
        prev_kv: true,
        ..Default::default()
    }));
    let mut request = tonic::Request::new(requests);
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let mut watch = peer.watch.watch(request).await.unwrap().into_inner();
    let created = next(&mut watch).await;
    assert!(created.created && !created.canceled && created.events.is_empty());

    let key = "/registry/pods/a";
    assert!(txn(&mut peer, mod_is(key, 0), put(key, "one", 0), None).await.succeeded);
    assert!(txn(&mut peer, mod_is(key, 2), put(key, "two", 0), None).await.succeeded);
    assert!(txn(&mut peer, mod_is(key, 3), delete(key), None).await.succeeded);
    let mut told = Vec::new();
    while told.len() < 3 {
        let response = next(&mut watch).await;
        assert_eq!(response.watch_id, created.watch_id);
        let Events::Received(events) = response.events else { panic!("received") };
        told.extend(events);
    }
    assert_eq!(told[0].prev_kv, None);
    assert_eq!(told[1].prev_kv.as_ref().unwrap().value(), b"one");
    assert_eq!(told[2].r#type(), EventType::Delete);
    assert_eq!(told[2].kv.as_ref().unwrap().meta().mod_revision, 4);
    assert_eq!(told[2].prev_kv.as_ref().unwrap().value(), b"two");

    assert!(txn(&mut peer, mod_is("other", 0), put("other", "", 0), None).await.succeeded);
    ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    let progress = next(&mut watch).await;
    assert!(progress.events.is_empty());
    assert_eq!((progress.watch_id, progress.header.unwrap().revision), (-1, 5));
}

async fn next(watch: &mut Streaming<WatchResponse>) -> WatchResponse {
    watch.next().await.unwrap().unwrap()
}
