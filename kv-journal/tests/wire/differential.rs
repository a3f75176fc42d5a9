//! Generated steps on a real etcd and on the server: the same answers, errors and events.
//!
//! Debian's etcd is a 3.4, the server speaks 3.7. Where that shows, and nowhere else, they may
//! differ:
//!
//! - `keys_only` leaves the lease out since 3.7.
//! - 3.4 does not know unknown sort options from known ones; none is sent.
//! - A transaction that changes a key twice is refused by both, but etcd overlooks a delete without
//!   an end, and a nested delete after a nested put of the same key; the server does not.
//! - 3.4 takes a negative start of a watch for an old one, later versions refuse it; none is sent.
//! - 3.4 refuses the hash up to the compact revision itself; later versions give it. None is asked for.
//! - A first compaction to revision 0 succeeds in etcd and does nothing; here it is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt;
use kv_journal::etcd_api::etcdserverpb::compare::{CompareTarget, TargetUnion};
use kv_journal::etcd_api::etcdserverpb::request_op::Request;
use kv_journal::etcd_api::etcdserverpb::response_op::Response;
use kv_journal::etcd_api::etcdserverpb::watch_request::RequestUnion;
use kv_journal::etcd_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest,
    LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse, WatchCreateRequest,
    WatchProgressRequest, WatchRequest,
};
use kv_journal::etcd_api::stored::{Event, Events, KeyValue, WatchResponse};
use kv_journal::etcd_server::ServerConfig;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;
use tonic::{Code, Status, Streaming};

use super::etcd::Etcd;
use super::messages::{self, LEASES};
use super::peer::Peer;

const STEPS: usize = 1500;
/// How often etcd is asked for what it has not told yet.
const PATIENCE: usize = 30;

#[derive(Debug, Clone)]
enum Step {
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    /// At so many revisions before the next one; 0 is now.
    Range(RangeRequest, i64),
    Compact {
        back: i64,
    },
    Grant(LeaseGrantRequest),
    Revoke(i64),
    KeepAlive(i64),
    TimeToLive(i64),
    Leases,
    /// Up to so many revisions before the next one; 0 is now.
    Hash {
        back: i64,
    },
    /// From so many revisions before the next one, if the request has a start.
    Watch(WatchCreateRequest, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let lease = || prop::sample::select(&LEASES[1..]);
    let ttl = prop_oneof![Just(0i64), Just(3600), Just(9_000_000_001)];
    prop_oneof![
        8 => messages::put().prop_map(Step::Put),
        2 => messages::delete().prop_map(Step::Delete),
        10 => messages::txn().prop_map(Step::Txn),
        8 => (messages::range(), -1..25i64).prop_map(|(range, back)| Step::Range(range, back)),
        1 => (-1..12i64).prop_map(|back| Step::Compact { back }),
        1 => (lease(), ttl).prop_map(|(id, ttl)| {
            // One whose time is over while the test runs would be gone on one side first.
            let ttl = if ttl == 0 { 1_000_000 } else { ttl };
            Step::Grant(LeaseGrantRequest { ttl, id: id.min(1002) })
        }),
        1 => lease().prop_map(Step::Revoke),
        1 => lease().prop_map(Step::KeepAlive),
        1 => lease().prop_map(Step::TimeToLive),
        1 => Just(Step::Leases),
        3 => (-1..12i64).prop_map(|back| Step::Hash { back }),
        1 => (messages::watch(), 0..30i64).prop_map(|(watch, back)| Step::Watch(watch, back)),
    ]
}

/// What is compared: an answer, or a code and a sentence.
type Answer<T> = Result<T, (Code, String)>;

fn answer<T>(result: Result<tonic::Response<T>, Status>) -> Answer<T> {
    result
        .map(tonic::Response::into_inner)
        .map_err(|status| (status.code(), status.message().to_owned()))
}

/// The ids and terms of two clusters differ.
fn anonymous(header: &mut Option<ResponseHeader>) -> i64 {
    let header = header.as_mut().expect("every answer has a header");
    *header = ResponseHeader { revision: header.revision, ..ResponseHeader::default() };
    header.revision
}

/// How often something happened, to know that it did.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    refused: usize,
    hashed: usize,
    stricter: usize,
    events: usize,
    canceled: usize,
}

struct Pair {
    own: Peer,
    etcd: Peer,
    own_watch: Watching,
    etcd_watch: Watching,
    revision: i64,
    compacted: i64,
    seen: Seen,
}

macro_rules! both {
    ($pair:ident, $client:ident . $call:ident ($request:expr)) => {{
        let request = $request;
        let own = answer($pair.own.$client.$call(request.clone()).await);
        let etcd = answer($pair.etcd.$client.$call(request).await);
        (own, etcd)
    }};
}

macro_rules! compare {
    ($pair:ident, $client:ident . $call:ident ($request:expr)) => {{
        let (mut own, mut etcd) = both!($pair, $client.$call($request));
        for side in [&mut own, &mut etcd] {
            if let Ok(answer) = side {
                $pair.revision = anonymous(&mut answer.header);
            }
        }
        assert_eq!(own, etcd, "the server's on the left");
        if own.is_ok() {
            $pair.seen.answered += 1
        } else {
            $pair.seen.refused += 1
        }
        own
    }};
}

impl Pair {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Put(request) => drop(compare!(self, kv.put(request))),
            Step::Delete(request) => drop(compare!(self, kv.delete_range(request))),
            Step::Txn(request) => self.txn(request).await,
            Step::Range(mut request, back) => {
                request.revision = if back == 0 { 0 } else { self.revision + 1 - back };
                self.range(request).await;
            }
            Step::Compact { back } => {
                let revision = (self.revision - back).max(1);
                let request = CompactionRequest { revision, physical: true };
                if compare!(self, kv.compact(request)).is_ok() {
                    self.compacted = revision;
                }
            }
            Step::Grant(request) => drop(compare!(self, lease.lease_grant(request))),
            Step::Revoke(id) => drop(compare!(self, lease.lease_revoke(LeaseRevokeRequest { id }))),
            Step::KeepAlive(id) => self.keep_alive(id).await,
            Step::TimeToLive(id) => self.time_to_live(id).await,
            Step::Leases => self.leases().await,
            Step::Hash { back } => self.hash(back).await,
            Step::Watch(mut request, back) => {
                if request.start_revision > 0 {
                    request.start_revision = (self.revision + 1 - back).max(1);
                }
                request.start_revision = request.start_revision.max(0);
                self.own_watch.create(&request).await;
                self.etcd_watch.create(&request).await;
                if request.start_revision > 0 {
                    self.own_watch.settle().await;
                    self.etcd_watch.settle().await;
                }
            }
        }
    }

    async fn range(&mut self, request: RangeRequest) {
        let (mut own, mut etcd) = both!(self, kv.range(request.clone()));
        for answer in [&mut own, &mut etcd].into_iter().flatten() {
            self.revision = anonymous(&mut answer.header);
            if request.keys_only {
                without_leases(answer);
            }
        }
        assert_eq!(own, etcd, "the server's on the left");
        if own.is_ok() { self.seen.answered += 1 } else { self.seen.refused += 1 }
    }

    /// What changes a key twice is refused by etcd too, but for the two cases that it overlooks.
    /// A comparison that cannot hold keeps it from running there.
    async fn txn(&mut self, request: TxnRequest) {
        let own = answer(self.own.kv.txn(request.clone()).await);
        let twice = matches!(&own, Err((_, message)) if message.contains("duplicate key"));
        if !twice {
            let etcd = answer(self.etcd.kv.txn(request).await);
            return self.compare_txn(own, etcd);
        }
        let never = Compare {
            key: Bytes::from_static(b"never"),
            result: 1,
            target: CompareTarget::Version.into(),
            target_union: Some(TargetUnion::Version(0)),
            range_end: Bytes::new(),
        };
        let nested = Request::RequestTxn(request.encode_to_vec().into());
        let op = RequestOp { request: Some(nested) };
        let guarded = TxnRequest { compare: vec![never], success: vec![op], failure: Vec::new() };
        match answer(self.etcd.kv.txn(guarded).await) {
            Ok(_) => self.seen.stricter += 1,
            refused => {
                assert_eq!(own.map(drop), refused.map(drop));
                self.seen.refused += 1;
            }
        }
    }

    fn compare_txn(&mut self, mut own: Answer<TxnResponse>, mut etcd: Answer<TxnResponse>) {
        for answer in [&mut own, &mut etcd].into_iter().flatten() {
            self.revision = anonymous(&mut answer.header);
            txn_without_leases_of_keys(answer);
        }
        assert_eq!(own, etcd, "the server's on the left");
        if own.is_ok() { self.seen.answered += 1 } else { self.seen.refused += 1 }
    }

    async fn hash(&mut self, back: i64) {
        let mut revision = if back == 0 { 0 } else { self.revision + 1 - back };
        if revision <= self.compacted {
            revision = 0;
        }
        let (mut own, mut etcd) = both!(self, maintenance.hash_kv(HashKvRequest { revision }));
        for answer in [&mut own, &mut etcd].into_iter().flatten() {
            self.revision = anonymous(&mut answer.header);
            // 3.4 does not tell it.
            answer.hash_revision = 0;
        }
        assert_eq!(own, etcd, "the server's on the left");
        self.seen.hashed += usize::from(own.is_ok());
        self.seen.answered += usize::from(own.is_ok());
    }

    async fn keep_alive(&mut self, id: i64) {
        let mut answers = Vec::new();
        for client in [&mut self.own.lease, &mut self.etcd.lease] {
            let request = futures_util::stream::iter([LeaseKeepAliveRequest { id }]);
            let mut stream = client.lease_keep_alive(request).await.unwrap().into_inner();
            let mut answer = stream.next().await.unwrap().unwrap();
            anonymous(&mut answer.header);
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
    }

    async fn time_to_live(&mut self, id: i64) {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let (mut own, mut etcd) = both!(self, lease.lease_time_to_live(request));
        for side in [&mut own, &mut etcd] {
            let answer = side.as_mut().unwrap();
            anonymous(&mut answer.header);
            // What is left of it depends on when it is asked.
            answer.ttl = answer.ttl.min(1);
            answer.keys.sort();
        }
        assert_eq!(own, etcd);
    }

    async fn leases(&mut self) {
        let request = kv_journal::etcd_api::etcdserverpb::LeaseLeasesRequest {};
        let (mut own, mut etcd) = both!(self, lease.lease_leases(request));
        for side in [&mut own, &mut etcd] {
            let answer = side.as_mut().unwrap();
            anonymous(&mut answer.header);
            answer.leases.sort_by_key(|lease| lease.id);
        }
        assert_eq!(own, etcd);
    }
}

fn without_leases(answer: &mut RangeResponse) {
    for kv in &mut answer.kvs {
        if let KeyValue::Received(kv) = kv {
            kv.lease = 0;
        }
    }
}

/// A range inside a transaction may have asked for keys only.
fn txn_without_leases_of_keys(answer: &mut TxnResponse) {
    for op in &mut answer.responses {
        match op.response.as_mut().unwrap() {
            Response::ResponseRange(range) => without_leases(range),
            Response::ResponseTxn(nested) => {
                let mut txn = TxnResponse::decode(nested.clone()).unwrap();
                txn_without_leases_of_keys(&mut txn);
                *nested = txn.encode_to_vec().into();
            }
            _ => {}
        }
    }
}

/// One stream of watchers, and everything that came of each.
struct Watching {
    requests: tokio::sync::mpsc::UnboundedSender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    told: BTreeMap<i64, Vec<Told>>,
}

/// What a watcher was told, whatever the messages were that said it.
#[derive(Debug, PartialEq)]
enum Told {
    Event(Event),
    Canceled { compact_revision: i64, reason: String },
}

impl Watching {
    async fn open(peer: &mut Peer) -> Self {
        let (requests, mut queue) = tokio::sync::mpsc::unbounded_channel();
        let stream = futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx));
        // etcd answers a call once it has something to tell.
        let nothing = WatchCreateRequest { key: "nothing".into(), ..Default::default() };
        let create = RequestUnion::CreateRequest(nothing);
        requests.send(WatchRequest { request_union: Some(create) }).unwrap();
        let responses = peer.watch.watch(stream).await.unwrap().into_inner();
        Self { requests, responses, told: BTreeMap::new() }
    }

    fn ask(&self, union: RequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(union) }).unwrap();
    }

    async fn create(&mut self, request: &WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request.clone()));
        loop {
            let response = self.next().await;
            if response.created {
                return;
            }
        }
    }

    /// What is under way now, until nothing comes for a while: etcd looks every 100 ms after
    /// watchers that have to catch up, and a compaction in between would end them.
    async fn settle(&mut self) {
        self.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
        let wait = std::time::Duration::from_millis(300);
        while tokio::time::timeout(wait, self.next()).await.is_ok() {}
    }

    async fn next(&mut self) -> WatchResponse {
        let response = self.responses.next().await.unwrap().unwrap();
        let told = self.told.entry(response.watch_id).or_default();
        if let Events::Received(events) = &response.events {
            told.extend(events.iter().cloned().map(Told::Event));
        }
        if response.canceled {
            told.push(Told::Canceled {
                compact_revision: response.compact_revision,
                reason: response.cancel_reason.clone(),
            });
        }
        response
    }
}

#[tokio::test]
async fn the_server_answers_as_etcd_does() {
    let Some(etcd) = Etcd::start() else { return };
    let (mut own, _store) = Peer::own(kv_journal::Config::default(), ServerConfig::default()).await;
    let mut etcd_peer = Peer::at(etcd.port());
    let own_watch = Watching::open(&mut own).await;
    let etcd_watch = Watching::open(&mut etcd_peer).await;
    let mut pair = Pair {
        own,
        etcd: etcd_peer,
        own_watch,
        etcd_watch,
        revision: 1,
        compacted: 0,
        seen: Seen::default(),
    };
    let mut runner = TestRunner::deterministic();
    for number in 0..STEPS {
        let step = step().new_tree(&mut runner).unwrap().current();
        eprintln!("{number}: {step:?}");
        pair.step(step).await;
    }
    for _ in 0..PATIENCE {
        pair.own_watch.settle().await;
        pair.etcd_watch.settle().await;
        if pair.own_watch.told == pair.etcd_watch.told {
            break;
        }
    }
    for (id, told) in &pair.own_watch.told {
        let etcd = pair.etcd_watch.told.get(id);
        assert_eq!(Some(told), etcd, "watcher {id}, the server's on the left");
    }
    pair.seen.events = pair.own_watch.told.values().flatten().count();
    let canceled = |told: &&Told| matches!(told, Told::Canceled { .. });
    pair.seen.canceled = pair.own_watch.told.values().flatten().filter(canceled).count();
    let seen = pair.seen;
    eprintln!("{seen:?}");
    assert!(seen.answered > STEPS / 2 && seen.refused > STEPS / 20, "{seen:?}");
    assert!(seen.hashed > STEPS / 50);
    assert!(seen.stricter > 5 && seen.events > 1000 && seen.canceled > 3, "{seen:?}");
}
