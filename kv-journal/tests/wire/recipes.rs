//! Locks and elections, beside etcd's own.

use kv_journal::Config;
use kv_journal::etcd_api::authpb::Permission;
use kv_journal::etcd_api::authpb::permission::Type;
use kv_journal::etcd_api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, RangeRequest,
};
use kv_journal::etcd_api::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use kv_journal::etcd_api::v3lockpb::{LockRequest, UnlockRequest};
use kv_journal::etcd_server::ServerConfig;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status};

use super::etcd::Etcd;
use super::gateway::post;
use super::peer::{self, Peer};

type Answer<T> = Result<Response<T>, Status>;

async fn own() -> Peer {
    Peer::own(Config::default(), ServerConfig::default()).await.0
}

async fn with_leases(peer: &mut Peer, ids: impl IntoIterator<Item = i64>) {
    for id in ids {
        peer.lease.lease_grant(LeaseGrantRequest { ttl: 600, id }).await.unwrap();
    }
}

async fn revoke(peer: &mut Peer, id: i64) {
    peer.lease.lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
}

fn said<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

/// All keys, once there are as many as that.
async fn keys(peer: &mut Peer, count: usize) -> Vec<String> {
    loop {
        let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
        let found = peer.kv.range(all).await.unwrap().into_inner();
        if found.kvs.len() == count {
            let keys = found.kvs.iter();
            return keys.map(|kv| String::from_utf8_lossy(kv.key()).into_owned()).collect();
        }
        tokio::task::yield_now().await;
    }
}

/// Asks for the lock, from a task of its own.
fn lock(peer: &Peer, lease: i64) -> JoinHandle<Answer<Locked>> {
    let mut client = peer.lock.clone();
    let request = LockRequest { name: "lock".into(), lease };
    tokio::spawn(async move {
        let answer = client.lock(request).await?;
        Ok(answer.map(|answer| (answer.key, answer.header.unwrap().revision)))
    })
}

/// The key of a place that has the lock, and the revision.
type Locked = (bytes::Bytes, i64);

async fn unlock(peer: &mut Peer, key: &str) -> i64 {
    let request = UnlockRequest { key: key.as_bytes().to_vec().into() };
    peer.lock.unlock(request).await.unwrap().into_inner().header.unwrap().revision
}

fn campaign(peer: &Peer, lease: i64, value: &'static str) -> JoinHandle<Answer<LeaderKey>> {
    let mut client = peer.election.clone();
    let request = CampaignRequest { name: "seat".into(), lease, value: value.into() };
    tokio::spawn(
        async move { Ok(client.campaign(request).await?.map(|answer| answer.leader.unwrap())) },
    )
}

async fn leader(peer: &mut Peer) -> String {
    let request = LeaderRequest { name: "seat".into() };
    let kv = peer.election.leader(request).await.unwrap().into_inner().kv.unwrap();
    format!("{} {}", String::from_utf8_lossy(kv.key()), String::from_utf8_lossy(kv.value()))
}

/// What those who lead say. etcd's stream begins only with its first message.
fn observe(peer: &Peer) -> UnboundedReceiver<String> {
    let mut client = peer.election.clone();
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let request = LeaderRequest { name: "seat".into() };
        let mut leaders = client.observe(request).await.unwrap().into_inner();
        while let Ok(Some(leader)) = leaders.message().await {
            let kv = leader.kv.unwrap();
            let (key, value) = (String::from_utf8_lossy(kv.key()), kv.value());
            sender.send(format!("{key} {}", String::from_utf8_lossy(value))).unwrap();
        }
    });
    receiver
}

/// What is told of locks, in order.
async fn story_of_a_lock(peer: &mut Peer) -> Vec<String> {
    with_leases(peer, 1..=4).await;
    let mut told = vec![format!("{:?}", lock(peer, 1).await.unwrap().unwrap().into_inner())];
    // Whoever has the lock has it still when asking again.
    told.push(format!("{:?}", lock(peer, 1).await.unwrap().unwrap().into_inner()));
    let second = lock(peer, 2);
    told.push(format!("{:?}", keys(peer, 2).await));
    let third = lock(peer, 3);
    told.push(format!("{:?}", keys(peer, 3).await));
    let fourth = lock(peer, 4);
    told.push(format!("{:?}", keys(peer, 4).await));
    assert!(!second.is_finished() && !third.is_finished() && !fourth.is_finished());

    // The third goes away; its place goes with it, and the fourth waits on.
    third.abort();
    told.push(format!("{:?}", keys(peer, 3).await));
    told.push(unlock(peer, "lock/1").await.to_string());
    told.push(format!("{:?}", second.await.unwrap().unwrap().into_inner()));
    assert!(!fourth.is_finished());
    revoke(peer, 2).await;
    told.push(format!("{:?}", fourth.await.unwrap().unwrap().into_inner()));
    told.push(unlock(peer, "lock/4").await.to_string());
    told.push(unlock(peer, "lock/4").await.to_string());
    let no_lease = LockRequest { name: "lock".into(), lease: 99 };
    told.push(format!("{:?}", said(peer.lock.lock(no_lease).await)));
    told.push(format!("{:?}", said(peer.lock.unlock(UnlockRequest::default()).await)));
    told
}

/// What is told of an election, in order.
async fn story_of_an_election(peer: &mut Peer) -> Vec<String> {
    with_leases(peer, 1..=3).await;
    let nobody = peer.election.leader(LeaderRequest { name: "seat".into() }).await;
    let mut told = vec![format!("{:?}", said(nobody))];
    let mut observed = observe(peer);
    let first = campaign(peer, 1, "first").await.unwrap().unwrap().into_inner();
    told.push(format!("{first:?}"));
    let second = campaign(peer, 2, "second");
    told.push(format!("{:?}", keys(peer, 2).await));
    told.push(leader(peer).await);
    told.push(observed.recv().await.unwrap());

    let word = ProclaimRequest { leader: Some(first.clone()), value: "again".into() };
    peer.election.proclaim(word.clone()).await.unwrap();
    told.push(leader(peer).await);
    told.push(observed.recv().await.unwrap());
    assert!(!second.is_finished());
    peer.election.resign(ResignRequest { leader: Some(first.clone()) }).await.unwrap();
    let second = second.await.unwrap().unwrap().into_inner();
    told.push(format!("{second:?}"));
    told.push(observed.recv().await.unwrap());

    // The first leads no longer: it can say nothing, and has nothing to resign.
    told.push(format!("{:?}", said(peer.election.proclaim(word).await)));
    peer.election.resign(ResignRequest { leader: Some(first) }).await.unwrap();
    told.push(leader(peer).await);
    // Who leads may say something else by standing again.
    let again = campaign(peer, 2, "words").await.unwrap().unwrap().into_inner();
    told.push(format!("{again:?} {}", leader(peer).await));
    let third = campaign(peer, 3, "third");
    told.push(format!("{:?}", keys(peer, 2).await));
    third.abort();
    told.push(format!("{:?}", keys(peer, 1).await));
    revoke(peer, 2).await;
    told.push(format!("{:?}", said(peer.election.resign(ResignRequest::default()).await)));
    told.push(format!("{:?}", said(peer.election.proclaim(ProclaimRequest::default()).await)));
    told
}

#[tokio::test]
async fn a_lock_goes_from_one_to_the_next_as_etcds_does() {
    let Some(etcd) = Etcd::start() else { return };
    let expected = story_of_a_lock(&mut Peer::at(etcd.port())).await;
    assert_eq!(story_of_a_lock(&mut own().await).await, expected, "the server's on the left");
}

#[tokio::test]
async fn an_election_is_held_as_etcds_is() {
    let Some(etcd) = Etcd::start() else { return };
    let expected = story_of_an_election(&mut Peer::at(etcd.port())).await;
    assert_eq!(story_of_an_election(&mut own().await).await, expected, "the server's on the left");
}

#[tokio::test]
async fn a_place_ends_with_its_lease() {
    let mut peer = own().await;
    with_leases(&mut peer, 1..=2).await;
    lock(&peer, 1).await.unwrap().unwrap();
    let second = lock(&peer, 2);
    keys(&mut peer, 2).await;
    revoke(&mut peer, 2).await;
    let expired = (Code::Unknown, "mutex: session is expired".to_owned());
    assert_eq!(said(second.await.unwrap()), expired);
    assert_eq!(keys(&mut peer, 1).await, ["lock/1"]);
}

#[tokio::test]
async fn without_a_lease_the_server_grants_one() {
    let mut peer = own().await;
    let (key, _) = lock(&peer, 0).await.unwrap().unwrap().into_inner();
    let key = String::from_utf8(key.to_vec()).unwrap();
    let id = i64::from_str_radix(key.strip_prefix("lock/").unwrap(), 16).unwrap();
    let left = peer.lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await;
    let left = left.unwrap().into_inner();
    assert_eq!((left.granted_ttl, left.keys), (60, vec![key.into()]));
}

#[tokio::test]
async fn everybody_gets_the_lock_once_and_never_two_at_a_time() {
    let mut peer = own().await;
    with_leases(&mut peer, 1..=40).await;
    let waiting: Vec<_> = (1..=40).map(|lease| (lease, lock(&peer, lease))).collect();
    keys(&mut peer, 40).await;
    let mut waiting: Vec<_> = waiting.into_iter().map(Some).collect();
    for left in (1..=40).rev() {
        let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
        let found = peer.kv.range(all).await.unwrap().into_inner();
        assert_eq!(found.kvs.len(), left);
        let first = found.kvs.iter().min_by_key(|kv| kv.meta().create_revision).unwrap();
        let key = String::from_utf8(first.key().to_vec()).unwrap();
        let next = waiting.iter_mut().find(|place| {
            place.as_ref().is_some_and(|(lease, _)| format!("lock/{lease:x}") == key)
        });
        let (_, holder) = next.unwrap().take().unwrap();
        assert_eq!(holder.await.unwrap().unwrap().into_inner().0, key.as_bytes());
        assert!(waiting.iter().flatten().all(|(_, waiting)| !waiting.is_finished()));
        unlock(&mut peer, &key).await;
    }
}

#[tokio::test]
async fn locks_are_for_those_who_may_write_and_read_their_keys() {
    let mut config = ServerConfig::default();
    config.bcrypt_cost = ServerConfig::BCRYPT_COST.min;
    let (mut peer, _store) = Peer::own(Config::default(), config).await;
    for (name, range) in [("root", None), ("a", Some(("lock/", "lock0")))] {
        let user =
            AuthUserAddRequest { name: name.into(), password: "p".into(), ..Default::default() };
        peer.auth.user_add(user).await.unwrap();
        peer.auth.role_add(AuthRoleAddRequest { name: name.into() }).await.unwrap();
        if let Some((key, end)) = range {
            let (perm_type, key, range_end) = (Type::Readwrite.into(), key.into(), end.into());
            let perm = Some(Permission { perm_type, key, range_end });
            let grant = AuthRoleGrantPermissionRequest { name: name.into(), perm };
            peer.auth.role_grant_permission(grant).await.unwrap();
        }
        let grant = AuthUserGrantRoleRequest { user: name.into(), role: name.into() };
        peer.auth.user_grant_role(grant).await.unwrap();
    }
    peer.auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let login = AuthenticateRequest { name: "a".into(), password: "p".into() };
    let token = peer.auth.authenticate(login).await.unwrap().into_inner().token;
    let by_a = |name: &'static str| {
        let mut request = Request::new(LockRequest { name: name.into(), lease: 0 });
        request.metadata_mut().insert("token", token.parse().unwrap());
        request
    };
    peer.lock.lock(by_a("lock")).await.unwrap();
    let denied = (Code::Unknown, "etcdserver: permission denied".to_owned());
    assert_eq!(said(peer.lock.lock(by_a("other")).await), denied);
    let nobody = LockRequest { name: "lock".into(), lease: 0 };
    let unknown = (Code::Unknown, "etcdserver: user name is empty".to_owned());
    assert_eq!(said(peer.lock.lock(nobody).await), unknown);
    let observed = peer.election.observe(LeaderRequest { name: "lock".into() }).await;
    let mut observed = observed.unwrap().into_inner();
    assert_eq!(said(observed.message().await), unknown);
}

#[tokio::test]
async fn the_gateway_has_locks_and_elections_too() {
    let Some(etcd) = Etcd::start() else { return };
    let own = peer::port_of(ServerConfig::default()).await;
    for (path, body) in [
        ("lease/grant", json!({"TTL": "600", "ID": "7"})),
        ("lock/lock", json!({"name": "bG9jaw==", "lease": "7"})),
        ("lock/unlock", json!({"key": "bG9jay83"})),
        ("election/leader", json!({"name": "c2VhdA=="})),
        ("election/campaign", json!({"name": "c2VhdA==", "lease": "7", "value": "eA=="})),
        ("election/leader", json!({"name": "c2VhdA=="})),
        ("election/resign", json!({"leader": {"name": "c2VhdA==", "key": "c2VhdC83", "rev": "4"}})),
        ("election/resign", json!({})),
    ] {
        let (path, body) = (format!("/v3/{path}"), Value::to_string(&body));
        let told = post(etcd.port(), &path, &body).await;
        assert_eq!(post(own, &path, &body).await, told, "{path}: the server's on the left");
    }
}
