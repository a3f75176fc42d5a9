//! What a user must not get around, and what is left of users, roles and tokens after what happens
//! to a server.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use kv_journal::etcd_api::authpb::Permission;
use kv_journal::etcd_api::authpb::permission::Type;
use kv_journal::etcd_api::etcdserverpb::request_op::Request as Op;
use kv_journal::etcd_api::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest,
    AuthStatusRequest, AuthUserAddRequest, AuthUserGetRequest, AuthUserGrantRoleRequest,
    AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest, Compare,
    DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberListRequest, PutRequest, RangeRequest,
    RequestOp, ResponseHeader, SnapshotRequest, StatusRequest, TxnRequest,
};
use kv_journal::etcd_server::{AuthToken, EtcdServer, JwtConfig, ServerConfig};
use kv_journal::{
    Config, ErrorKind, EtcdStore, EtcdStoreConfig, KeyRange, KvStore, MemoryJournal, Store,
    WatchMessage,
};
use prost::Message;
use tonic::{Code, Request, Status};

use super::peer::Peer;

fn config(auth_token: AuthToken) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.bcrypt_cost = ServerConfig::BCRYPT_COST.min;
    config.auth_token = auth_token;
    config
}

fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse().unwrap());
    request
}

async fn login(peer: &mut Peer, name: &str) -> Result<String, Status> {
    let request = AuthenticateRequest { name: name.into(), password: format!("{name}'s") };
    peer.auth.authenticate(request).await.map(|answer| answer.into_inner().token)
}

/// Adds a user with a role of the same name that permits something with the keys from `a` to `c`.
async fn add_user(peer: &mut Peer, root: &str, name: &str, perm_type: Type) {
    let (name, password) = (name.to_owned(), format!("{name}'s"));
    let user = AuthUserAddRequest { name: name.clone(), password, ..Default::default() };
    peer.auth.user_add(by(root, user)).await.unwrap();
    peer.auth.role_add(by(root, AuthRoleAddRequest { name: name.clone() })).await.unwrap();
    if name != "root" {
        let perm =
            Permission { perm_type: perm_type.into(), key: "a".into(), range_end: "c".into() };
        let grant = AuthRoleGrantPermissionRequest { name: name.clone(), perm: Some(perm) };
        peer.auth.role_grant_permission(by(root, grant)).await.unwrap();
    }
    let grant = AuthUserGrantRoleRequest { user: name.clone(), role: name };
    peer.auth.user_grant_role(by(root, grant)).await.unwrap();
}

/// A server on which everything is enforced, with root's token.
async fn guarded(auth_token: AuthToken) -> (Peer, Store, String) {
    let (mut peer, store) = Peer::own(Config::default(), config(auth_token)).await;
    add_user(&mut peer, "", "root", Type::Readwrite).await;
    peer.auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let root = login(&mut peer, "root").await.unwrap();
    (peer, store, root)
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: "v".into(), ..Default::default() }
}

fn get(key: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), ..Default::default() }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn denied() -> (Code, String) {
    (Code::PermissionDenied, "etcdserver: permission denied".to_owned())
}

fn nested(levels: usize, op: &Op) -> TxnRequest {
    (0..levels).fold(TxnRequest::default(), |txn, level| {
        let op = match level {
            0 => op.clone(),
            _ => Op::RequestTxn(txn.encode_to_vec().into()),
        };
        TxnRequest { failure: vec![RequestOp { request: Some(op) }], ..Default::default() }
    })
}

#[tokio::test]
async fn nothing_that_is_hidden_in_a_request_goes_unchecked() {
    let (mut peer, _store, root) = guarded(AuthToken::default()).await;
    add_user(&mut peer, &root, "w", Type::Write).await;
    peer.kv.put(by(&root, put("secret"))).await.unwrap();
    let w = login(&mut peer, "w").await.unwrap();

    peer.kv.put(by(&w, put("a"))).await.unwrap();
    // What was there before is read, too.
    let with_prev = PutRequest { prev_kv: true, ..put("a") };
    assert_eq!(refused(peer.kv.put(by(&w, with_prev)).await), denied());
    let with_prev = DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() };
    assert_eq!(refused(peer.kv.delete_range(by(&w, with_prev)).await), denied());
    // So is what is compared, even if nothing is answered.
    let compare = Compare { key: "secret".into(), ..Default::default() };
    let compares = TxnRequest { compare: vec![compare], ..Default::default() };
    assert_eq!(refused(peer.kv.txn(by(&w, compares)).await), denied());
    // At any depth, in the branch that does not run.
    for levels in 1..6 {
        for op in [Op::RequestRange(get("secret")), Op::RequestPut(put("secret"))] {
            assert_eq!(refused(peer.kv.txn(by(&w, nested(levels, &op))).await), denied());
        }
        peer.kv.txn(by(&w, nested(levels, &Op::RequestPut(put("b"))))).await.unwrap();
    }
    let chunks = peer.kv.range_stream(by(&w, get("secret"))).await;
    assert_eq!(refused(chunks.map(|_| ())), denied());
}

#[tokio::test]
async fn a_lease_is_for_those_who_may_write_all_its_keys() {
    let (mut peer, _store, root) = guarded(AuthToken::default()).await;
    add_user(&mut peer, &root, "a", Type::Readwrite).await;
    let a = login(&mut peer, "a").await.unwrap();
    for id in [1, 2] {
        peer.lease.lease_grant(by(&a, LeaseGrantRequest { ttl: 60, id })).await.unwrap();
    }
    peer.kv.put(by(&root, PutRequest { lease: 1, ..put("secret") })).await.unwrap();
    let leased = |lease| PutRequest { lease, ..put("a") };
    assert_eq!(refused(peer.kv.put(by(&a, leased(1))).await), denied());
    let op = Op::RequestPut(leased(1));
    assert_eq!(refused(peer.kv.txn(by(&a, nested(2, &op))).await), denied());
    peer.kv.put(by(&a, leased(2))).await.unwrap();

    assert_eq!(
        refused(peer.lease.lease_revoke(by(&a, LeaseRevokeRequest { id: 1 })).await),
        denied()
    );
    let show = |id| LeaseTimeToLiveRequest { id, keys: true };
    assert_eq!(refused(peer.lease.lease_time_to_live(by(&a, show(1))).await), denied());
    let shown = peer.lease.lease_time_to_live(by(&a, show(2))).await.unwrap();
    assert_eq!(shown.into_inner().keys, ["a"]);
    assert_eq!(refused(peer.lease.lease_leases(by(&a, LeaseLeasesRequest {})).await), denied());
    for (id, expected) in [(1, Err(denied())), (2, Ok(60))] {
        let renew = futures_util::stream::iter([LeaseKeepAliveRequest { id }]);
        let answers = peer.lease.lease_keep_alive(by(&a, renew)).await.unwrap();
        let answer = answers.into_inner().message().await;
        let answer = answer.map(|answer| answer.unwrap().ttl);
        assert_eq!(answer.map_err(|status| (status.code(), status.message().to_owned())), expected);
    }
    peer.lease.lease_revoke(by(&a, LeaseRevokeRequest { id: 2 })).await.unwrap();
}

#[tokio::test]
async fn the_rest_of_the_server_is_for_root_or_for_those_who_are_known() {
    let (mut peer, _store, root) = guarded(AuthToken::default()).await;
    add_user(&mut peer, &root, "a", Type::Readwrite).await;
    let a = login(&mut peer, "a").await.unwrap();
    let nobody = (Code::InvalidArgument, "etcdserver: user name is empty".to_owned());
    let stranger = (Code::Unauthenticated, "etcdserver: invalid auth token".to_owned());

    assert_eq!(refused(peer.maintenance.status(StatusRequest {}).await), nobody);
    peer.maintenance.status(by(&a, StatusRequest {})).await.unwrap();
    assert_eq!(refused(peer.cluster.member_list(MemberListRequest::default()).await), nobody);
    peer.cluster.member_list(by(&a, MemberListRequest::default())).await.unwrap();
    let snapshot = peer.maintenance.snapshot(by(&a, SnapshotRequest {})).await;
    assert_eq!(refused(snapshot.map(|_| ())), denied());
    peer.maintenance.snapshot(by(&root, SnapshotRequest {})).await.unwrap();
    assert_eq!(refused(peer.auth.user_list(by(&a, AuthUserListRequest {})).await), denied());
    let myself = AuthUserGetRequest { name: "a".into() };
    let shown = peer.auth.user_get(by(&a, myself)).await.unwrap();
    assert_eq!(shown.into_inner().roles, ["a"]);
    assert_eq!(refused(peer.kv.range(by("x.1", get("a"))).await), stranger);
    let grant = LeaseGrantRequest { ttl: 60, id: 0 };
    assert_eq!(refused(peer.lease.lease_grant(grant).await), nobody);
    let nothing = Permission { perm_type: 0, key: "c".into(), range_end: "a".into() };
    let grant = AuthRoleGrantPermissionRequest { name: "a".into(), perm: Some(nothing) };
    let managed = refused(peer.auth.role_grant_permission(by(&root, grant)).await);
    assert_eq!(managed.1, "etcdserver: invalid auth management");
}

#[tokio::test]
async fn a_password_that_is_too_long_is_refused_and_a_wrong_one_tells_nothing() {
    let (mut peer, _store, root) = guarded(AuthToken::default()).await;
    let long = "p".repeat(73);
    let user = AuthUserAddRequest { name: "a".into(), password: long, ..Default::default() };
    let (code, message) = refused(peer.auth.user_add(by(&root, user)).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("72 bytes"), "{message}");
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    for (name, password) in [("root", "wrong"), ("nobody", "wrong")] {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        assert_eq!(refused(peer.auth.authenticate(request).await).1, failed);
    }
}

/// Once it is answered that a role is revoked, nothing happens that it permitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_done_after_the_role_that_permitted_it_is_gone() {
    let (mut peer, store, root) = guarded(AuthToken::default()).await;
    add_user(&mut peer, &root, "a", Type::Readwrite).await;
    for _ in 0..20 {
        let a = login(&mut peer, "a").await.unwrap();
        let mut kv = peer.kv.clone();
        let writer = tokio::spawn(async move { while kv.put(by(&a, put("a"))).await.is_ok() {} });
        let before = store.revision();
        while store.revision() < before + 3 {
            tokio::task::yield_now().await;
        }
        let role = |name: &str| (name.to_owned(), "a".to_owned());
        let (name, role_name) = role("a");
        let revoke = AuthUserRevokeRoleRequest { name, role: role_name };
        peer.auth.user_revoke_role(by(&root, revoke)).await.unwrap();
        let revision = store.revision();
        writer.await.unwrap();
        assert_eq!(store.revision(), revision);
        let grant = AuthUserGrantRoleRequest { user: "a".into(), role: "a".into() };
        peer.auth.user_grant_role(by(&root, grant)).await.unwrap();
    }
}

#[tokio::test]
async fn users_and_what_is_enforced_outlive_the_server_and_its_tokens_do_not() {
    let journal = MemoryJournal::new();
    let (peer, old) =
        Peer::own_on(journal.clone(), Config::default(), config(AuthToken::default())).await;
    let mut peer = peer;
    add_user(&mut peer, "", "root", Type::Readwrite).await;
    add_user(&mut peer, "", "a", Type::Read).await;
    peer.auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let a = login(&mut peer, "a").await.unwrap();
    let status = peer.auth.auth_status(AuthStatusRequest {}).await.unwrap().into_inner();
    assert!(status.enabled);
    let ids = |header: Option<ResponseHeader>| header.map(|it| (it.cluster_id, it.member_id));
    assert!(ids(status.header).is_some_and(|(cluster, member)| cluster != 0 && member != 0));
    drop((peer, old));

    let config = config(AuthToken::default());
    let (mut peer, _store) = Peer::own_on(journal, Config::default(), config).await;
    let again = peer.auth.auth_status(AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((again.enabled, again.auth_revision), (true, status.auth_revision));
    assert_eq!(ids(again.header), ids(status.header));
    let stale = refused(peer.kv.range(by(&a, get("a"))).await);
    assert_eq!(stale.1, "etcdserver: invalid auth token");
    let a = login(&mut peer, "a").await.unwrap();
    peer.kv.range(by(&a, get("a"))).await.unwrap();
    assert_eq!(refused(peer.kv.put(by(&a, put("a"))).await), denied());
    let root = login(&mut peer, "root").await.unwrap();
    peer.auth.auth_disable(by(&root, AuthDisableRequest {})).await.unwrap();
    peer.kv.put(by(&a, put("a"))).await.unwrap();
}

/// A client that has a password logs in when it must, and again when its token is gone.
#[tokio::test]
async fn a_store_behind_a_login_renews_its_token() {
    let ttl = Duration::from_millis(50);
    let port = super::peer::port_of(config(AuthToken::Simple { ttl })).await;
    let mut peer = Peer::at(port);
    let mut settings = EtcdStoreConfig::new([format!("http://127.0.0.1:{port}")]);
    settings.login = Some(("root".into(), "root's".into()));
    let remote = EtcdStore::new(settings.clone(), |task| drop(tokio::spawn(task))).unwrap();
    // Nobody asks for a login yet.
    KvStore::put(&remote, kv_journal::PutRequest::new("a", "1")).await.unwrap();
    let mut watching = KvStore::watch_stream(&remote).await.unwrap();
    watching.desk.create(KeyRange::key("a").into()).unwrap();
    let created = watching.messages.next().await.unwrap().unwrap();
    assert!(matches!(created, WatchMessage::Created { .. }), "{created:?}");

    add_user(&mut peer, "", "root", Type::Readwrite).await;
    peer.auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    KvStore::put(&remote, kv_journal::PutRequest::new("a", "2")).await.unwrap();
    let event = watching.messages.next().await.unwrap().unwrap();
    assert!(matches!(event, WatchMessage::Events { .. }), "{event:?}");
    // Nobody uses the token until it has run out.
    tokio::time::sleep(ttl * 4).await;
    KvStore::put(&remote, kv_journal::PutRequest::new("a", "3")).await.unwrap();

    settings.login = Some(("root".into(), "wrong".into()));
    let stranger = EtcdStore::new(settings, |task| drop(tokio::spawn(task))).unwrap();
    let refused = KvStore::put(&stranger, kv_journal::PutRequest::new("a", "3")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("authentication failed"), "{refused}");
    let mut watching = KvStore::watch_stream(&stranger).await.unwrap();
    watching.desk.create(KeyRange::key("a").into()).unwrap();
    let refused = watching.messages.next().await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("authentication failed"), "{refused}");
}

/// A pair of keys by openssl, private and public, in PEM.
fn key_pair(make: &[&str], public: &[&str]) -> Option<(Vec<u8>, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let done = Command::new("openssl").args(args).current_dir(folder.path()).output();
        match done {
            Ok(done) => {
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
                Some(())
            }
            Err(error) if std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_some() => {
                panic!("openssl is required and cannot be started: {error}")
            }
            Err(error) => {
                eprintln!("SKIPPED: openssl cannot be started: {error}");
                None
            }
        }
    };
    run(&[make, &["-out", "private.pem"]].concat())?;
    run(&[public, &["-in", "private.pem", "-pubout", "-out", "public.pem"]].concat())?;
    let read = |name| std::fs::read(folder.path().join(name)).unwrap();
    Some((read("private.pem"), read("public.pem")))
}

#[tokio::test]
async fn signed_tokens_are_known_by_any_server_with_the_key_until_something_changes() {
    let pkey = &["pkey"][..];
    let kinds: [(&str, &[&str]); 4] = [
        ("RS256", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("PS512", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("ES256", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("EdDSA", &["genpkey", "-algorithm", "ED25519"]),
    ];
    for (method, make) in kinds {
        let Some((private, public)) = key_pair(make, pkey) else { return };
        let signs = AuthToken::Jwt(JwtConfig::new(method, public.clone(), private));
        let verifies = AuthToken::Jwt(JwtConfig::new(method, public, Vec::new()));
        signed_by(signs, Some(verifies)).await;
    }
    let secret = AuthToken::Jwt(JwtConfig::new("HS256", Vec::new(), b"a long secret".to_vec()));
    signed_by(secret, None).await;
}

async fn signed_by(signs: AuthToken, verifies: Option<AuthToken>) {
    let (mut peer, store, root) = guarded(signs).await;
    add_user(&mut peer, &root, "a", Type::Readwrite).await;
    // The rules are other ones than those by which it was given.
    let old = refused(peer.kv.put(by(&root, put("a"))).await);
    assert_eq!(
        old,
        (Code::InvalidArgument, "etcdserver: revision of auth store is old".to_owned())
    );
    let a = login(&mut peer, "a").await.unwrap();
    peer.kv.put(by(&a, put("a"))).await.unwrap();
    let mut other = a.clone().into_bytes();
    let middle = other.len() / 2;
    other[middle] = if other[middle] == b'x' { b'y' } else { b'x' };
    let forged = String::from_utf8(other).unwrap();
    assert_eq!(refused(peer.kv.put(by(&forged, put("a"))).await).0, Code::Unauthenticated);
    if let Some(verifies) = verifies {
        let mut other = Peer::serving(store, config(verifies)).await;
        other.kv.put(by(&a, put("a"))).await.unwrap();
        assert_eq!(refused(login(&mut other, "a").await).0, Code::Unknown);
    }
}

#[tokio::test]
async fn keys_of_tokens_that_cannot_be_used_are_refused_at_the_start() {
    let (store, driver) =
        Store::open(Arc::new(MemoryJournal::new()), Config::default()).await.unwrap();
    tokio::spawn(driver);
    let Some((private, public)) = key_pair(&["genpkey", "-algorithm", "ED25519"], &["pkey"]) else {
        return;
    };
    let Some((_, another)) = key_pair(&["genpkey", "-algorithm", "ED25519"], &["pkey"]) else {
        return;
    };
    for (method, public, private, says) in [
        ("none", &public, &private, "unknown"),
        ("RS256", &public, &private, "cannot be used"),
        ("EdDSA", &another, &private, "public key"),
        ("HS256", &Vec::new(), &Vec::new(), "cannot be used"),
    ] {
        let jwt = JwtConfig::new(method, public.clone(), private.clone());
        let config = config(AuthToken::Jwt(jwt));
        let opened = EtcdServer::open(Arc::new(store.clone()), config, |task| {
            tokio::spawn(task);
        });
        let error = opened.await.unwrap_err();
        assert!(error.to_string().contains(says), "{method}: {error}");
    }
}
