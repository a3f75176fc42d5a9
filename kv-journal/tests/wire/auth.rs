//! Users, roles and permissions: generated steps on a real etcd and on the server, and what a user
//! must not get around.
//!
//! Debian's etcd is a 3.4. Where that shows, and nowhere else, they may differ:
//!
//! - Who has been deleted is told "user name not found" where everything must be permitted, and
//!   "permission denied" by 3.4.
//! - 3.4 runs what is nested in a transaction unchecked (CVE-2026-33343). It is not asked for that.
//! - 3.4 refuses tokens while nothing is enforced. None is shown then.
//! - 3.4 takes permissions for ranges without keys. None is given.
//! - Leases are granted, revoked, listed and shown to those who are known only. 3.4 asks nobody
//!   where no key is concerned. Nobody tries.

use std::collections::HashMap;

use bytes::Bytes;
use kv_journal::etcd_api::authpb::{Permission, UserAddOptions};
use kv_journal::etcd_api::etcdserverpb::request_op::Request as Op;
use kv_journal::etcd_api::etcdserverpb::watch_request::RequestUnion;
use kv_journal::etcd_api::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
    AuthUserDeleteRequest, AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest,
    AuthUserRevokeRoleRequest, AuthenticateRequest, Compare, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
    WatchCreateRequest, WatchRequest,
};
use kv_journal::etcd_server::{AuthToken, ServerConfig};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;
use tonic::{Code, Request, Status};

use super::etcd::Etcd;
use super::peer::Peer;

const STEPS: usize = 2500;
const USERS: [&str; 4] = ["root", "a", "b", "nobody"];
const ROLES: [&str; 4] = ["root", "r", "s", "nothing"];

/// Whose token a step shows, if any's.
type Who = Option<&'static str>;

#[derive(Debug, Clone)]
enum Step {
    Enable,
    Disable,
    Authenticate { name: &'static str, password: &'static str },
    UserAdd(AuthUserAddRequest),
    UserDelete(AuthUserDeleteRequest),
    UserChangePassword(AuthUserChangePasswordRequest),
    UserGrantRole(AuthUserGrantRoleRequest),
    UserRevokeRole(AuthUserRevokeRoleRequest),
    UserGet(AuthUserGetRequest),
    UserList,
    RoleAdd(AuthRoleAddRequest),
    RoleDelete(AuthRoleDeleteRequest),
    RoleGrant(AuthRoleGrantPermissionRequest),
    RoleRevoke(AuthRoleRevokePermissionRequest),
    RoleGet(AuthRoleGetRequest),
    RoleList,
    Put(PutRequest),
    Range(RangeRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Watch(WatchCreateRequest),
    Revoke(i64),
}

fn key() -> impl Strategy<Value = Bytes> {
    select(&["a", "b", "c", "d", "e"][..]).prop_map(Bytes::from)
}

fn range_end() -> impl Strategy<Value = Bytes> {
    select(&["", "", "b", "c", "e", "f", "\0"][..]).prop_map(Bytes::from)
}

/// What a permission may be for.
fn permitted() -> impl Strategy<Value = (Bytes, Bytes)> {
    let some = |(key, end): &(Bytes, Bytes)| end.is_empty() || key < end || end[..] == *b"\0";
    (key(), range_end()).prop_filter("a permission for nothing", some)
}

fn put() -> impl Strategy<Value = PutRequest> {
    let lease = prop_oneof![4 => Just(0i64), 1 => Just(7)];
    (key(), lease, any::<bool>()).prop_map(|(key, lease, prev_kv)| PutRequest {
        key,
        value: "v".into(),
        lease,
        prev_kv,
        ..PutRequest::default()
    })
}

fn range() -> impl Strategy<Value = RangeRequest> {
    (key(), range_end()).prop_map(|(key, range_end)| RangeRequest {
        key,
        range_end,
        ..RangeRequest::default()
    })
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = || {
        prop_oneof![
            range().prop_map(Op::RequestRange),
            put().prop_map(Op::RequestPut),
            delete().prop_map(Op::RequestDeleteRange),
        ]
        .prop_map(|op| RequestOp { request: Some(op) })
    };
    let compare = (key(), range_end()).prop_map(|(key, range_end)| Compare {
        key,
        range_end,
        ..Compare::default()
    });
    let flat = (prop::option::of(compare), prop::option::of(leaf()), prop::option::of(leaf()))
        .prop_map(|(compare, success, failure)| TxnRequest {
            compare: compare.into_iter().collect(),
            success: success.into_iter().collect(),
            failure: failure.into_iter().collect(),
        });
    (flat, any::<bool>()).prop_map(|(txn, nests)| if nests { nested_in(&txn) } else { txn })
}

fn nested_in(txn: &TxnRequest) -> TxnRequest {
    let op = Op::RequestTxn(txn.encode_to_vec().into());
    TxnRequest { success: vec![RequestOp { request: Some(op) }], ..TxnRequest::default() }
}

fn administration() -> impl Strategy<Value = Step> {
    let user = || select(&USERS[..]);
    let role = || select(&ROLES[..]);
    let password = || select(&["x", "y"][..]);
    prop_oneof![
        1 => Just(Step::Disable),
        4 => Just(Step::Enable),
        6 => (user(), password())
            .prop_map(|(name, password)| Step::Authenticate { name, password }),
        2 => (select(&["root", "a", "b", ""][..]), password(), 0..6u8).prop_map(|(name, password, odd)| {
            let options = (odd == 0).then_some(UserAddOptions { no_password: true });
            let (name, password) = (name.to_owned(), password.to_owned());
            Step::UserAdd(AuthUserAddRequest { name, password, options, ..Default::default() })
        }),
        1 => user().prop_map(|name| Step::UserDelete(AuthUserDeleteRequest { name: name.into() })),
        1 => (user(), password()).prop_map(|(name, password)| {
            let (name, password) = (name.to_owned(), password.to_owned());
            Step::UserChangePassword(AuthUserChangePasswordRequest { name, password, ..Default::default() })
        }),
        4 => (user(), role()).prop_map(|(user, role)| {
            Step::UserGrantRole(AuthUserGrantRoleRequest { user: user.into(), role: role.into() })
        }),
        1 => (user(), role()).prop_map(|(name, role)| {
            Step::UserRevokeRole(AuthUserRevokeRoleRequest { name: name.into(), role: role.into() })
        }),
        1 => user().prop_map(|name| Step::UserGet(AuthUserGetRequest { name: name.into() })),
        1 => Just(Step::UserList),
        2 => select(&["root", "r", "s", ""][..])
            .prop_map(|name| Step::RoleAdd(AuthRoleAddRequest { name: name.into() })),
        1 => role().prop_map(|role| Step::RoleDelete(AuthRoleDeleteRequest { role: role.into() })),
        5 => (role(), 0..3i32, permitted()).prop_map(|(name, perm_type, (key, range_end))| {
            let perm = Some(Permission { perm_type, key, range_end });
            Step::RoleGrant(AuthRoleGrantPermissionRequest { name: name.into(), perm })
        }),
        2 => (role(), key(), range_end()).prop_map(|(role, key, range_end)| {
            let role = role.to_owned();
            Step::RoleRevoke(AuthRoleRevokePermissionRequest { role, key, range_end })
        }),
        1 => role().prop_map(|role| Step::RoleGet(AuthRoleGetRequest { role: role.into() })),
        1 => Just(Step::RoleList),
    ]
}

fn use_of_keys() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => put().prop_map(Step::Put),
        4 => range().prop_map(Step::Range),
        2 => delete().prop_map(Step::Delete),
        6 => txn().prop_map(Step::Txn),
        2 => (key(), range_end()).prop_map(|(key, range_end)| {
            Step::Watch(WatchCreateRequest { key, range_end, ..Default::default() })
        }),
        1 => Just(Step::Revoke(7)),
    ]
}

/// Most changes are root's, most uses of keys are not.
fn step() -> impl Strategy<Value = (Who, Step)> {
    let users = |weights: [u32; 4]| {
        prop_oneof![
            weights[0] => Just(Some("root")),
            weights[1] => Just(Some("a")),
            weights[2] => Just(Some("b")),
            weights[3] => Just(None),
        ]
    };
    prop_oneof![(users([20, 1, 1, 1]), administration()), (users([1, 6, 6, 1]), use_of_keys()),]
}

type Answer = Result<String, (Code, String)>;

/// An answer as text, without the ids and terms by which two clusters differ.
macro_rules! answer {
    ($peer:expr, $client:ident . $call:ident ($request:expr)) => {{
        let request = $request;
        let result = $peer.$client.$call(request).await;
        result
            .map(|answer| {
                let mut answer = answer.into_inner();
                let header = answer.header.take();
                let revision = header.map_or(0, |header: ResponseHeader| header.revision);
                format!("{revision} {answer:?}")
            })
            .map_err(|status: Status| (status.code(), status.message().to_owned()))
    }};
}

struct Side {
    peer: Peer,
    tokens: HashMap<&'static str, String>,
}

impl Side {
    fn new(peer: Peer) -> Self {
        Self { peer, tokens: HashMap::new() }
    }

    fn by<T>(&self, who: Who, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = who.and_then(|who| self.tokens.get(who)) {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request
    }

    async fn step(&mut self, who: Who, step: Step) -> Answer {
        macro_rules! by {
            ($client:ident . $call:ident ($message:expr)) => {{
                let request = self.by(who, $message);
                answer!(self.peer, $client.$call(request))
            }};
        }
        match step {
            Step::Enable => by!(auth.auth_enable(AuthEnableRequest {})),
            Step::Disable => {
                let answer = by!(auth.auth_disable(AuthDisableRequest {}));
                if answer.is_ok() {
                    self.tokens.clear();
                }
                answer
            }
            Step::Authenticate { name, password } => self.authenticate(name, password).await,
            Step::UserAdd(request) => by!(auth.user_add(request)),
            Step::UserDelete(request) => by!(auth.user_delete(request)),
            Step::UserChangePassword(request) => by!(auth.user_change_password(request)),
            Step::UserGrantRole(request) => by!(auth.user_grant_role(request)),
            Step::UserRevokeRole(request) => by!(auth.user_revoke_role(request)),
            Step::UserGet(request) => by!(auth.user_get(request)),
            Step::UserList => by!(auth.user_list(AuthUserListRequest {})),
            Step::RoleAdd(request) => by!(auth.role_add(request)),
            Step::RoleDelete(request) => by!(auth.role_delete(request)),
            Step::RoleGrant(request) => by!(auth.role_grant_permission(request)),
            Step::RoleRevoke(request) => by!(auth.role_revoke_permission(request)),
            Step::RoleGet(request) => self.role_get(who, request).await,
            Step::RoleList => by!(auth.role_list(AuthRoleListRequest {})),
            Step::Put(request) => by!(kv.put(request)),
            Step::Range(request) => by!(kv.range(request)),
            Step::Delete(request) => by!(kv.delete_range(request)),
            Step::Txn(request) => by!(kv.txn(request)),
            Step::Watch(request) => self.watch(who, request).await,
            Step::Revoke(id) => self.revoke(who, id).await,
        }
    }

    async fn authenticate(&mut self, name: &'static str, password: &str) -> Answer {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        let answer = self.peer.auth.authenticate(request).await;
        match answer {
            Ok(answer) => {
                self.tokens.insert(name, answer.into_inner().token);
                Ok("a token".to_owned())
            }
            Err(status) => Err((status.code(), status.message().to_owned())),
        }
    }

    /// Permissions of the same key are in no order of their own.
    async fn role_get(&mut self, who: Who, request: AuthRoleGetRequest) -> Answer {
        let request = self.by(who, request);
        let answer = self.peer.auth.role_get(request).await;
        let mut perm = answer.map_err(|status| (status.code(), status.message().to_owned()))?;
        let perm = &mut perm.get_mut().perm;
        perm.sort_by(|a, b| (&a.key, &a.range_end).cmp(&(&b.key, &b.range_end)));
        Ok(format!("{perm:?}"))
    }

    /// The first thing that the watcher is told.
    async fn watch(&mut self, who: Who, create: WatchCreateRequest) -> Answer {
        let create = RequestUnion::CreateRequest(create);
        let create = WatchRequest { request_union: Some(create) };
        let requests = futures_util::StreamExt::chain(
            futures_util::stream::iter([create]),
            futures_util::stream::pending(),
        );
        let request = self.by(who, requests);
        let told = async {
            let mut stream = self.peer.watch.watch(request).await?.into_inner();
            Ok(stream.message().await?.unwrap())
        };
        told.await
            .map(|told: kv_journal::etcd_api::stored::WatchResponse| {
                format!("{} {} {}", told.created, told.canceled, told.cancel_reason)
            })
            .map_err(|status: Status| (status.code(), status.message().to_owned()))
    }

    /// The lease is there again afterwards.
    async fn revoke(&mut self, who: Who, id: i64) -> Answer {
        let request = self.by(who, LeaseRevokeRequest { id });
        let answer = answer!(self.peer, lease.lease_revoke(request));
        let root = Some("root").filter(|root| self.tokens.contains_key(root));
        let request = self.by(root, LeaseGrantRequest { ttl: 3600, id });
        // It is there already where the revoke was refused.
        drop(self.peer.lease.lease_grant(request).await);
        answer
    }
}

/// The server with cheap hashes.
async fn own(auth_token: AuthToken) -> Side {
    let mut config = ServerConfig::default();
    config.bcrypt_cost = ServerConfig::BCRYPT_COST.min;
    config.auth_token = auth_token;
    let (peer, store) = Peer::own(kv_journal::Config::default(), config).await;
    store.lease_grant(kv_journal::LeaseGrantRequest::new(3600).id(7)).await.unwrap();
    Side::new(peer)
}

/// root, and the users a and b of the roles r and s.
fn beginning() -> Vec<(Who, Step)> {
    let user = |name: &str| {
        let (name, password) = (name.to_owned(), "x".to_owned());
        Step::UserAdd(AuthUserAddRequest { name, password, ..Default::default() })
    };
    let role = |name: &str| Step::RoleAdd(AuthRoleAddRequest { name: name.into() });
    let grant = |user: &str, role: &str| {
        Step::UserGrantRole(AuthUserGrantRoleRequest { user: user.into(), role: role.into() })
    };
    let login = |name| Step::Authenticate { name, password: "x" };
    let steps = [
        user("root"),
        role("root"),
        Step::Enable,
        grant("root", "root"),
        user("a"),
        user("b"),
        role("r"),
        role("s"),
        grant("a", "r"),
        grant("b", "s"),
        Step::Enable,
        login("root"),
        login("a"),
        login("b"),
    ];
    steps.into_iter().map(|step| (None, step)).collect()
}

fn nests(step: &Step) -> bool {
    let Step::Txn(txn) = step else { return false };
    txn.success.iter().any(|op| matches!(op.request, Some(Op::RequestTxn(_))))
}

fn is_denied(answer: &Answer) -> bool {
    matches!(answer, Err((Code::PermissionDenied, _)))
}

/// What may differ.
fn forgiven(own: &Answer, etcd: &Answer) -> bool {
    let said =
        |answer: &Answer, what| matches!(answer, Err((_, message)) if message.contains(what));
    said(own, "user name not found") && said(etcd, "permission denied")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_may_what_etcd_lets_them() {
    let Some(process) = Etcd::start() else { return };
    let (mut own, mut etcd) =
        (own(AuthToken::default()).await, Side::new(Peer::at(process.port())));
    etcd.peer.lease.lease_grant(LeaseGrantRequest { ttl: 3600, id: 7 }).await.unwrap();
    let mut runner = TestRunner::deterministic();
    let (mut answered, mut denied, mut old, mut bypassed) = (0, 0, 0, 0);
    let steps = step();
    let generated = (0..STEPS).map(|_| steps.new_tree(&mut runner).unwrap().current());
    for (at, (who, step)) in beginning().into_iter().chain(generated).enumerate() {
        let anonymous = who.is_none_or(|who| !own.tokens.contains_key(who));
        if anonymous && matches!(step, Step::Revoke(_)) {
            continue;
        }
        let said = own.step(who, step.clone()).await;
        if nests(&step) && said.is_err() {
            bypassed += 1;
            continue;
        }
        let told = etcd.step(who, step.clone()).await;
        if !forgiven(&said, &told) {
            assert_eq!(said, told, "the server's on the left, step {at}: {who:?} {step:?}");
        }
        match said {
            Ok(_) => answered += 1,
            refused if is_denied(&refused) => denied += 1,
            Err((Code::Unauthenticated, _)) => old += 1,
            Err(_) => {}
        }
    }
    let seen = format!("{answered} {denied} {old} {bypassed}");
    assert!(answered > STEPS / 4 && denied > STEPS / 40 && old > 0 && bypassed > 0, "{seen}");
}
