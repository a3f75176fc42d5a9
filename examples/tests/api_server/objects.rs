//! Single objects: created, read, changed and deleted.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube_client::Api;
use kube_client::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use super::server::{Server, create, get, name, pod, reason, send, version};

const JSON: &str = "application/json";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let post = PostParams::default();
    let created = pods.create(&post, &pod("a", "web", "n1")).await.unwrap();
    let metadata = &created.metadata;
    assert_eq!(metadata.namespace.as_deref(), Some("default"));
    assert_eq!(metadata.uid.as_ref().unwrap().len(), 36);
    assert!(metadata.creation_timestamp.is_some());
    assert_eq!(pods.get("a").await.unwrap(), created);
    assert_eq!(reason(pods.create(&post, &created).await), ("BadRequest".into(), 400));
    let again = pods.create(&post, &pod("a", "web", "n1")).await;
    assert_eq!(reason(again), ("AlreadyExists".into(), 409));

    let mut changed = created.clone();
    changed.metadata.labels.as_mut().unwrap().insert("tier".into(), "front".into());
    let updated = pods.replace("a", &post, &changed).await.unwrap();
    assert!(version(&updated) > version(&created));
    assert_eq!(updated.metadata.uid, created.metadata.uid);
    assert_eq!(reason(pods.replace("a", &post, &changed).await), ("Conflict".into(), 409));
    // Without a version it is whatever is there, and what changes nothing is not written.
    changed.metadata.resource_version = None;
    assert_eq!(pods.replace("a", &post, &changed).await.unwrap(), updated);
    changed.metadata.uid = Some("other".into());
    assert_eq!(reason(pods.replace("a", &post, &changed).await), ("Conflict".into(), 409));

    let patch = Patch::Merge(json!({"metadata": {"labels": {"tier": null, "x": "y"}}}));
    let patched = pods.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let labels: Vec<_> = patched.metadata.labels.as_ref().unwrap().keys().collect();
    assert_eq!(labels, ["app", "x"]);
    let stale = json!({"metadata": {"resourceVersion": version(&created).to_string()}});
    let stale = pods.patch("a", &PatchParams::default(), &Patch::Merge(stale)).await;
    assert_eq!(reason(stale), ("Conflict".into(), 409));
    // Without lists and directives a strategic merge patch is a merge patch; others are refused.
    let same = Patch::Strategic(json!({"metadata": {"labels": {"x": null}}}));
    let patched = pods.patch("a", &PatchParams::default(), &same).await.unwrap();
    assert_eq!(patched.metadata.labels.unwrap().len(), 1);
    for other in [json!({"spec": {"containers": []}}), json!({"spec": {"$patch": "replace"}})] {
        let refused = pods.patch("a", &PatchParams::default(), &Patch::Strategic(other)).await;
        assert_eq!(reason(refused), ("UnsupportedMediaType".into(), 415));
    }

    let delete = DeleteParams::default();
    let wrong = Preconditions { uid: Some("other".into()), resource_version: None };
    let wrong = pods.delete("a", &delete.clone().preconditions(wrong)).await;
    assert_eq!(reason(wrong), ("Conflict".into(), 409));
    pods.delete("a", &delete).await.unwrap();
    assert_eq!(reason(pods.get("a").await), ("NotFound".into(), 404));
    assert_eq!(reason(pods.delete("a", &delete).await), ("NotFound".into(), 404));
    assert_eq!(reason(pods.replace("a", &post, &updated).await), ("NotFound".into(), 404));
}

#[tokio::test]
async fn names_are_generated_and_checked() {
    let server = Server::start(&[]);
    let client = server.client();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let mut map = ConfigMap::default();
    map.metadata.generate_name = Some("job-".into());
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        names.insert(maps.create(&PostParams::default(), &map).await.unwrap().metadata.name);
    }
    assert_eq!(names.len(), 20);
    assert!(names.iter().flatten().all(|name| name.starts_with("job-") && name.len() == 9));
    for (body, code, reason) in [
        ("{}", 422, "Invalid"),
        (r#"{"metadata":{"name":"A"}}"#, 422, "Invalid"),
        (r#"{"metadata":{"name":"a/b"}}"#, 422, "Invalid"),
        (r#"{"metadata":{"name":"a","labels":{"x":1}}}"#, 422, "Invalid"),
        (r#"{"metadata":{"name":"a","namespace":"other"}}"#, 400, "BadRequest"),
        (r#"{"metadata":{"name":"a"},"kind":"Pod"}"#, 400, "BadRequest"),
        (r#"{"metadata":[]}"#, 400, "BadRequest"),
        ("[]", 400, "BadRequest"),
        ("{", 400, "BadRequest"),
    ] {
        let (answer, status) = send(&server, "POST", CONFIG_MAPS, JSON, body).await;
        assert_eq!((answer.status().as_u16(), &status["reason"]), (code, &reason.into()), "{body}");
        assert_eq!((&status["kind"], &status["code"]), (&"Status".into(), &code.into()));
    }
    let long = format!(r#"{{"metadata":{{"name":"a"}},"data":{{"x":"{}"}}}}"#, "x".repeat(4 << 20));
    let (answer, _) = send(&server, "POST", CONFIG_MAPS, JSON, long).await;
    assert_eq!(answer.status(), 413);
    let yaml = send(&server, "POST", CONFIG_MAPS, "application/yaml", "a: b").await;
    assert_eq!(
        (yaml.0.status().as_u16(), &yaml.1["reason"]),
        (415, &"UnsupportedMediaType".into())
    );
    let tried = format!("{CONFIG_MAPS}?dryRun=All");
    let tried = send(&server, "POST", &tried, JSON, r#"{"metadata":{"name":"dry"}}"#).await;
    assert_eq!(tried.0.status(), 400);
    assert_eq!(
        reason_of(&server, "GET", &format!("{CONFIG_MAPS}/dry")).await,
        (404, "NotFound".into())
    );
    assert_eq!(reason_of(&server, "POST", &format!("{CONFIG_MAPS}/a")).await.0, 405);
    assert_eq!(reason_of(&server, "GET", "/api/v1/secrets").await, (404, "NotFound".into()));
}

async fn reason_of(server: &Server, method: &str, path: &str) -> (u16, Value) {
    let (answer, status) = send(server, method, path, JSON, "{}").await;
    (answer.status().as_u16(), status["reason"].clone())
}

#[tokio::test]
async fn a_status_is_written_apart_from_the_rest() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    create(&pods, &["a"], "web", "").await;
    let patch = json!({"status": {"phase": "Running"}, "metadata": {"labels": {"app": "other"}}});
    let params = PatchParams::default();
    let patched = pods.patch_status("a", &params, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(patched.metadata.labels.as_ref().unwrap()["app"], "web");
    let patch = json!({"status": {"phase": "Failed"}, "metadata": {"labels": {"app": "other"}}});
    let patched = pods.patch("a", &params, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(patched.metadata.labels.as_ref().unwrap()["app"], "other");
    assert_eq!(pods.get_status("a").await.unwrap(), patched);
}

#[tokio::test]
async fn an_object_with_finalizers_goes_when_the_last_is_gone() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let mut held = pod("a", "web", "");
    held.metadata.finalizers = Some(vec!["example.com/held".into()]);
    let created = pods.create(&PostParams::default(), &held).await.unwrap();
    let going = pods.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(going.metadata.deletion_timestamp.is_some());
    assert!(version(&going) > version(&created));
    let again = pods.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(again, going);
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("a", &PatchParams::default(), &release).await.unwrap();
    assert_eq!(reason(pods.get("a").await), ("NotFound".into(), 404));
}

#[tokio::test]
async fn a_collection_is_deleted_as_it_is_selected() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let others: Api<Pod> = Api::namespaced(server.client(), "other");
    create(&pods, &["a", "b"], "web", "").await;
    create(&pods, &["c"], "api", "").await;
    create(&others, &["a"], "web", "").await;
    let web = ListParams::default().labels("app=web");
    let deleted = pods.delete_collection(&DeleteParams::default(), &web).await.unwrap();
    assert_eq!(deleted.left().unwrap().items.iter().map(name).collect::<Vec<_>>(), ["a", "b"]);
    let all: Api<Pod> = Api::all(server.client());
    let left = all.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.iter().map(name).collect::<Vec<_>>(), ["c", "a"]);
}

#[tokio::test]
async fn what_there_is_is_told_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", folder.path().to_str().unwrap()];
    let server = Server::start(&flags);
    let client = server.client();
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.major, "1");
    let groups = client.list_api_groups().await.unwrap();
    assert_eq!(groups.groups[0].name, "coordination.k8s.io");
    let listed = client.list_core_api_resources("v1").await.unwrap();
    let names: Vec<_> = listed.resources.iter().map(|it| it.name.as_str()).collect();
    let parts = ["pods/status", "nodes/status", "pods/binding"];
    assert_eq!(names, [&["pods", "nodes", "configmaps"][..], &parts].concat());
    let leases = client.list_api_group_resources("coordination.k8s.io/v1").await.unwrap();
    assert!(leases.resources[0].namespaced && leases.resources[0].kind == "Lease");
    for path in ["/healthz", "/livez", "/readyz", "/api", "/apis/coordination.k8s.io"] {
        assert_eq!(get(&server, path).await.0, 200, "{path}");
    }
    for path in ["/openapi/v2", "/openapi/v3", "/apis/apps/v1", "/api/v2", "/"] {
        let (code, status) = get(&server, path).await;
        assert_eq!((code, &status["reason"]), (404, &"NotFound".into()), "{path}");
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let mut node = Node::default();
    node.metadata.name = Some("n1".into());
    let node = nodes.create(&PostParams::default(), &node).await.unwrap();
    assert_eq!(node.metadata.namespace, None);
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let mut lease = Lease::default();
    lease.metadata.name = Some("n1".into());
    let lease = leases.create(&PostParams::default(), &lease).await.unwrap();
    server.terminate();

    let server = Server::start(&flags);
    let nodes: Api<Node> = Api::all(server.client());
    assert_eq!(nodes.get("n1").await.unwrap(), node);
    let leases: Api<Lease> = Api::namespaced(server.client(), "kube-node-lease");
    assert_eq!(leases.get("n1").await.unwrap(), lease);
}
