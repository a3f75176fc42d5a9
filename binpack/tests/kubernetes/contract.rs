//! The contract of a cluster, over a server that is well, one that fails, and broken ones.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use binpack::conformance::{Violation, cluster as check};
use binpack::{KubernetesCluster, KubernetesRequest};
use serde_json::{Value, json};

use super::faults::{Bent, Faulty, Patient};
use super::objects::{CLAIMS, POD_LIST, fixture};
use super::server::{Server, cluster, refusal};

binpack::cluster_conformance!(kubernetes, async { fixture().cluster() });
binpack::cluster_conformance!(one_request_of_forty_fails, async {
    Patient(cluster(Faulty::new(fixture(), 7, 40)))
});
binpack::cluster_conformance!(another_one_of_forty_fails, async {
    Patient(cluster(Faulty::new(fixture(), 2_026, 40)))
});
binpack::cluster_conformance!(tokens_expire, async {
    bent(|_, request| {
        request.path_and_query.contains("continue=").then(|| refusal(410, "token expired"))
    })
});

fn bent(
    bend: impl Fn(&Server, &KubernetesRequest) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> KubernetesCluster {
    cluster(Bent { server: fixture(), bend })
}

/// The item that a check found broken.
async fn broken(check: impl Future<Output = Result<(), Violation>>) -> &'static str {
    check.await.expect_err("the cluster is broken, and the check passes it").item
}

fn is_binding(request: &KubernetesRequest) -> bool {
    request.path_and_query.ends_with("/binding")
}

/// Says that it has bound a pod, and has not.
fn forgets_bindings() -> KubernetesCluster {
    bent(|_, request| is_binding(request).then(|| (201, json!({}))))
}

/// Keeps claims without what they are for.
fn loses_annotations() -> KubernetesCluster {
    bent(|server, request| {
        if request.method != "POST" || is_binding(request) {
            return None;
        }
        let mut claim: Value = serde_json::from_slice(&request.body).unwrap();
        claim["metadata"]["annotations"] = json!({});
        server.put(CLAIMS, claim);
        Some((201, json!({})))
    })
}

/// Leaves out the last pod of every other list.
fn forgets_pods() -> KubernetesCluster {
    let lists = AtomicU64::new(0);
    bent(move |server, request| {
        if !request.path_and_query.starts_with("/api/v1/pods?") {
            return None;
        }
        let mut all = server.all(POD_LIST);
        if lists.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            all.pop();
        }
        Some((200, json!({"metadata": {}, "items": all})))
    })
}

/// Binds all pods when it is to bind one.
fn binds_all() -> KubernetesCluster {
    bent(|server, request| {
        if !is_binding(request) {
            return None;
        }
        for mut pod in server.all(POD_LIST) {
            if pod["spec"]["nodeName"].is_null() {
                pod["spec"]["nodeName"] = "fixture-plain".into();
                server.put(POD_LIST, pod);
            }
        }
        Some((201, json!({})))
    })
}

/// Names claims as it likes, and forgets whom they are for.
fn renames_claims() -> KubernetesCluster {
    let made = AtomicU64::new(0);
    bent(move |server, request| {
        if request.method != "POST" || is_binding(request) {
            return None;
        }
        let mut claim: Value = serde_json::from_slice(&request.body).unwrap();
        claim["metadata"]["name"] = format!("c{}", made.fetch_add(1, Ordering::Relaxed)).into();
        claim["metadata"]["annotations"]["binpack.trestle/pods"] = "{}".into();
        server.put(CLAIMS, claim);
        Some((201, json!({})))
    })
}

#[tokio::test]
async fn broken_servers_are_caught_on_their_item() {
    assert_eq!(broken(check::state_is_stable(&forgets_pods())).await, "2");
    assert_eq!(broken(check::bound_pods_are_counted(&forgets_bindings())).await, "3");
    assert_eq!(broken(check::a_launch_is_one_node(&loses_annotations())).await, "4");
    assert_eq!(broken(check::a_launch_is_one_node(&renames_claims())).await, "4");
    assert_eq!(broken(check::applying_twice_is_applying_once(&renames_claims())).await, "5");
    assert_eq!(broken(check::stale_bindings_are_skipped(&binds_all())).await, "6");
    assert_eq!(broken(check::unplaced_pods_stay(&binds_all())).await, "7");
}
