//! Which path is which call (`google.api.http` in etcd's definitions).

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::MethodDescriptor;

use crate::etcd_server::definitions;

const KV: &str = "etcdserverpb.KV";
const WATCH: &str = "etcdserverpb.Watch";
const LEASE: &str = "etcdserverpb.Lease";
const CLUSTER: &str = "etcdserverpb.Cluster";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const AUTH: &str = "etcdserverpb.Auth";
const LOCK: &str = "v3lockpb.Lock";
const ELECTION: &str = "v3electionpb.Election";

/// Path below the version, service, method.
const ROUTES: &[(&str, &str, &str)] = &[
    ("kv/range", KV, "Range"),
    ("kv/put", KV, "Put"),
    ("kv/deleterange", KV, "DeleteRange"),
    ("kv/txn", KV, "Txn"),
    ("kv/compaction", KV, "Compact"),
    ("watch", WATCH, "Watch"),
    ("lease/grant", LEASE, "LeaseGrant"),
    ("lease/revoke", LEASE, "LeaseRevoke"),
    ("kv/lease/revoke", LEASE, "LeaseRevoke"),
    ("lease/keepalive", LEASE, "LeaseKeepAlive"),
    ("lease/timetolive", LEASE, "LeaseTimeToLive"),
    ("kv/lease/timetolive", LEASE, "LeaseTimeToLive"),
    ("lease/leases", LEASE, "LeaseLeases"),
    ("kv/lease/leases", LEASE, "LeaseLeases"),
    ("cluster/member/add", CLUSTER, "MemberAdd"),
    ("cluster/member/remove", CLUSTER, "MemberRemove"),
    ("cluster/member/update", CLUSTER, "MemberUpdate"),
    ("cluster/member/list", CLUSTER, "MemberList"),
    ("cluster/member/promote", CLUSTER, "MemberPromote"),
    ("maintenance/alarm", MAINTENANCE, "Alarm"),
    ("maintenance/status", MAINTENANCE, "Status"),
    ("maintenance/defragment", MAINTENANCE, "Defragment"),
    ("maintenance/hash", MAINTENANCE, "Hash"),
    ("maintenance/hashkv", MAINTENANCE, "HashKV"),
    ("maintenance/snapshot", MAINTENANCE, "Snapshot"),
    ("maintenance/transfer-leadership", MAINTENANCE, "MoveLeader"),
    ("maintenance/downgrade", MAINTENANCE, "Downgrade"),
    ("auth/enable", AUTH, "AuthEnable"),
    ("auth/disable", AUTH, "AuthDisable"),
    ("auth/status", AUTH, "AuthStatus"),
    ("auth/authenticate", AUTH, "Authenticate"),
    ("auth/user/add", AUTH, "UserAdd"),
    ("auth/user/get", AUTH, "UserGet"),
    ("auth/user/list", AUTH, "UserList"),
    ("auth/user/delete", AUTH, "UserDelete"),
    ("auth/user/changepw", AUTH, "UserChangePassword"),
    ("auth/user/grant", AUTH, "UserGrantRole"),
    ("auth/user/revoke", AUTH, "UserRevokeRole"),
    ("auth/role/add", AUTH, "RoleAdd"),
    ("auth/role/get", AUTH, "RoleGet"),
    ("auth/role/list", AUTH, "RoleList"),
    ("auth/role/delete", AUTH, "RoleDelete"),
    ("auth/role/grant", AUTH, "RoleGrantPermission"),
    ("auth/role/revoke", AUTH, "RoleRevokePermission"),
    ("lock/lock", LOCK, "Lock"),
    ("lock/unlock", LOCK, "Unlock"),
    ("election/campaign", ELECTION, "Campaign"),
    ("election/proclaim", ELECTION, "Proclaim"),
    ("election/leader", ELECTION, "Leader"),
    ("election/observe", ELECTION, "Observe"),
    ("election/resign", ELECTION, "Resign"),
];

static METHODS: LazyLock<HashMap<&'static str, MethodDescriptor>> = LazyLock::new(|| {
    let method = |&(path, service, name): &(&'static str, &str, &str)| {
        let service = definitions::pool().get_service_by_name(service)?;
        let method = service.methods().find(|method| method.name() == name)?;
        Some((path, method))
    };
    ROUTES.iter().filter_map(method).collect()
});

/// What comes below the version. etcd's gateway was under `v3beta` and `v3alpha` before.
pub(super) fn below_version(path: &str) -> Option<&str> {
    ["/v3/", "/v3beta/", "/v3alpha/"].iter().find_map(|version| path.strip_prefix(version))
}

/// The call that is made under a path.
pub(super) fn method_of(path: &str) -> Option<MethodDescriptor> {
    METHODS.get(below_version(path)?).cloned()
}

/// One that takes every kind of message, for the fuzzer.
pub(super) fn methods() -> impl Iterator<Item = &'static MethodDescriptor> {
    METHODS.values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_a_call() {
        for (path, service, name) in ROUTES {
            let method = method_of(&format!("/v3/{path}")).unwrap();
            assert_eq!((method.parent_service().full_name(), method.name()), (*service, *name));
            assert!(method_of(&format!("/v3beta/{path}")).is_some());
        }
        assert!(method_of("/v3/kv/nothing").is_none());
        assert!(method_of("/v2/kv/range").is_none());
    }
}
