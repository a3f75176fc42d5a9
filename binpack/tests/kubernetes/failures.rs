//! What each failure of an API server becomes.

use std::time::Duration;

use async_trait::async_trait;
use binpack::{
    Cluster, ErrorKind, KubernetesAnswer, KubernetesClient, KubernetesCluster, KubernetesConfig,
    KubernetesRequest, Result,
};
use serde_json::json;

use super::faults::Bent;
use super::objects::{POD_LIST, claims, fixture, planned, small};
use super::server::{Server, cluster, refusal};

fn refusing(status: u16, of: &'static str) -> (Server, KubernetesCluster) {
    let server = fixture();
    let bend = move |_: &Server, request: &KubernetesRequest| {
        let is =
            request.path_and_query.contains(of) && (of != "nodeclaims" || request.method != "GET");
        is.then(|| refusal(status, "because"))
    };
    (server.clone(), cluster(Bent { server, bend }))
}

#[tokio::test]
async fn a_list_that_is_refused_says_which_right_is_missing() {
    let (_, cluster) = refusing(403, "csinodes");
    let error = cluster.state().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "list csinodes.storage.k8s.io is answered with 403 (because): grant it by an RBAC rule with \
         apiGroups [\"storage.k8s.io\"], resources [\"csinodes\"], verbs [\"list\"]"
    );
    let (_, cluster) = refusing(401, "nodes");
    assert_eq!(cluster.state().await.unwrap_err().kind(), ErrorKind::Invalid);
    let (_, cluster) = refusing(404, "/api/v1/nodes");
    assert_eq!(cluster.state().await.unwrap_err().kind(), ErrorKind::NotFound);
    for status in [429, 500, 503] {
        let (_, cluster) = refusing(status, "nodepools");
        assert_eq!(cluster.state().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn a_write_that_is_refused_for_itself_keeps_no_other() {
    let (server, cluster) = refusing(422, "nodeclaims");
    let plan = planned(&cluster.state().await.unwrap());
    let error = cluster.apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("create nodeclaims.karpenter.sh is answered with 422"));
    assert!(claims(&server).is_empty());
    let state = cluster.state().await.unwrap();
    assert_eq!(state.pending.len(), 2, "the other pods are bound");

    let (server, cluster) = refusing(403, "fixture-a/binding");
    let plan = planned(&cluster.state().await.unwrap());
    let error = cluster.apply(&plan).await.unwrap_err();
    assert!(error.to_string().contains("resources [\"pods/binding\"]"), "{error}");
    assert_eq!((claims(&server).len(), cluster.state().await.unwrap().pending.len()), (1, 2));
}

#[tokio::test]
async fn a_pod_that_somebody_else_binds_is_skipped() {
    let server = fixture();
    let bend = |server: &Server, request: &KubernetesRequest| {
        if request.path_and_query.ends_with("fixture-a/binding") {
            server.change(POD_LIST, "fixture-a", |pod| pod["spec"]["nodeName"] = "other".into());
        }
        None
    };
    let cluster = cluster(Bent { server: server.clone(), bend });
    let plan = planned(&cluster.state().await.unwrap());
    cluster.apply(&plan).await.unwrap();
    assert_eq!(super::objects::place(&server, "fixture-a").as_deref(), Some("other"));
    assert_eq!(super::objects::place(&server, "fixture-b").as_deref(), Some("fixture-plain"));
}

#[tokio::test]
async fn a_claim_that_changes_meanwhile_keeps_its_pods() {
    let server = fixture();
    let bend = |server: &Server, request: &KubernetesRequest| {
        if request.method == "PATCH" {
            let claim = claims(server).remove(0);
            server.change(super::objects::CLAIMS, &claim, |claim| claim["status"] = json!({}));
        }
        None
    };
    let cluster = cluster(Bent { server: server.clone(), bend });
    super::objects::round(&cluster).await;
    let mut late = server.find(POD_LIST, "fixture-tolerant").unwrap();
    late["metadata"] = json!({"name": "late", "namespace": "default"});
    late["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m".into();
    server.put(POD_LIST, late);
    let plan = super::objects::round(&cluster).await;
    assert_eq!(plan.bindings.len(), 1);
    let state = cluster.state().await.unwrap();
    assert_eq!(super::objects::pending(&state), ["default/fixture-huge", "default/late"]);
}

#[tokio::test]
async fn a_token_that_expires_again_and_again_is_unavailable() {
    let bend = |_: &Server, request: &KubernetesRequest| {
        request.path_and_query.starts_with("/api/v1/pods").then(|| refusal(410, "expired"))
    };
    let error = cluster(Bent { server: fixture(), bend }).state().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let bend = |_: &Server, request: &KubernetesRequest| {
        let endless = json!({"metadata": {"continue": "more"}, "items": []});
        request.path_and_query.starts_with("/api/v1/nodes").then_some((200, endless))
    };
    let error = cluster(Bent { server: fixture(), bend }).state().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("raise page_objects"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_invalid() {
    for body in ["<html>", "[]", "{\"items\": {}}", "{\"items\": [], \"metadata\": 1}"] {
        let error = cluster(Says(body)).state().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{body}");
    }
    for body in ["", "{\"items\": ["] {
        let error = cluster(Says(body)).state().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{body}");
    }
    for body in ["{}", "{\"items\": [1, null, {}, \"x\"]}"] {
        let cluster = cluster(Says(body));
        assert!(cluster.state().await.unwrap().nodes.is_empty(), "{body}");
        assert_eq!(cluster.problems().is_empty(), body == "{}");
    }
}

/// Always answers the same.
struct Says(&'static str);

#[async_trait]
impl KubernetesClient for Says {
    async fn send(&self, _: KubernetesRequest) -> Result<KubernetesAnswer> {
        Ok(KubernetesAnswer { status: 200, body: self.0.into() })
    }
}

/// Never answers.
struct Silent;

#[async_trait]
impl KubernetesClient for Silent {
    async fn send(&self, _: KubernetesRequest) -> Result<KubernetesAnswer> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_unavailable() {
    let error = cluster(Silent).state().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let refused = |change: fn(&mut KubernetesConfig)| {
        let mut config = KubernetesConfig::default();
        change(&mut config);
        KubernetesCluster::new(Silent, config).unwrap_err().to_string()
    };
    assert!(refused(|config| config.scheduler_name.clear()).contains("scheduler_name"));
    assert!(refused(|config| config.page_objects = 0).contains("page_objects"));
    assert!(refused(|config| config.alternatives = 61).contains("alternatives"));
    assert!(refused(|config| config.answer_timeout = Duration::ZERO).contains("answer_timeout"));
}

#[tokio::test]
async fn pages_and_paths_are_kubernetes_own() {
    let server = fixture();
    server.put(POD_LIST, small("more"));
    let cluster = server.cluster();
    let plan = planned(&cluster.state().await.unwrap());
    let asked = server.requests();
    assert!(asked.contains(&"GET /apis/karpenter.sh/v1/nodeclaims?limit=2".to_owned()));
    assert!(asked.contains(&"GET /api/v1/pods?limit=2&continue=2".to_owned()));
    cluster.apply(&plan).await.unwrap();
    let asked = server.requests();
    let binding = "POST /api/v1/namespaces/default/pods/fixture-b/binding".to_owned();
    assert!(asked.contains(&binding));
}
