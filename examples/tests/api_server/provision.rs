//! `binpack::KubernetesCluster` through kube-rs's client: from pods that wait to pods on machines.

use std::sync::Arc;

use async_trait::async_trait;
use binpack::{
    BuiltinCatalogue, Cluster, Config, Error, ErrorKind, KubernetesAnswer, KubernetesClient,
    KubernetesCluster, KubernetesConfig, KubernetesRequest, Provisioner, Result,
};
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use kube_client::client::Body;
use serde_json::{Value, json};

use super::kube_api::KubeApi;
use super::server::{Server, get, send};

const PODS: &str = "/api/v1/namespaces/default/pods";
const NODES: &str = "/api/v1/nodes";
const CLAIMS: &str = "/apis/karpenter.sh/v1/nodeclaims";
const POOLS: &str = "/apis/karpenter.sh/v1/nodepools";

/// The longest answer: a page of the largest objects.
const MAX_BYTES: usize = 1 << 30;

#[async_trait]
impl KubernetesClient for KubeApi {
    async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer> {
        let lost = |error| {
            Error::new(ErrorKind::Unavailable, "the API server was not reached").with_source(error)
        };
        let asked = Request::builder().method(request.method).uri(request.path_and_query);
        let mut asked = asked.header("accept", "application/json");
        if let Some(media) = request.content_type {
            asked = asked.header("content-type", media);
        }
        let asked = asked.body(Body::from(request.body)).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the request is none").with_source(error)
        })?;
        let (parts, body) = self.0.send(asked).await.map_err(lost)?.into_parts();
        let body = Limited::new(body, MAX_BYTES).collect().await;
        let body = body.map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
        Ok(KubernetesAnswer { status: parts.status.as_u16(), body: body.to_bytes().into() })
    }
}

fn cluster(server: &Server) -> KubernetesCluster {
    let mut config = kube_client::Config::new(server.url().parse().unwrap());
    config.default_retry = false;
    let mut settings = KubernetesConfig::default();
    settings.page_objects = 3;
    KubernetesCluster::new(KubeApi(config.try_into().unwrap()), settings).unwrap()
}

async fn create(server: &Server, path: &str, object: Value) {
    let (answer, said) = send(server, "POST", path, "application/json", object.to_string()).await;
    assert_eq!(answer.status(), 201, "{said}");
}

async fn patch(server: &Server, path: &str, change: Value) {
    let media = "application/merge-patch+json";
    let (answer, said) = send(server, "PATCH", path, media, change.to_string()).await;
    assert_eq!(answer.status(), 200, "{said}");
}

fn pod(name: &str) -> Value {
    let requests = json!({"cpu": "900m", "memory": "1Gi"});
    let container = json!({"name": "main", "image": "i", "resources": {"requests": requests}});
    let spec = json!({"schedulerName": "binpack", "containers": [container]});
    json!({"metadata": {"name": name}, "spec": spec})
}

fn machine(name: &str, allocatable: &Value) -> Value {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    json!({"metadata": {"name": name}, "status": {"allocatable": allocatable, "conditions": ready}})
}

/// The node of each pod.
async fn places(server: &Server) -> Vec<Option<String>> {
    let (_, list) = get(server, PODS).await;
    let items = list["items"].as_array().unwrap().iter();
    items.map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn pods_that_wait_get_machines_and_are_bound_to_them() {
    let server = Server::start(&[]);
    let small = json!({"cpu": "2", "memory": "8Gi", "pods": "10"});
    create(&server, NODES, machine("n1", &small)).await;
    let class = json!({"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"});
    let linux = json!({"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]});
    let spec = json!({"nodeClassRef": class, "requirements": [linux]});
    let pool = json!({"metadata": {"name": "default"}, "spec": {"template": {"spec": spec}}});
    create(&server, POOLS, pool).await;
    for i in 0..8 {
        create(&server, PODS, pod(&format!("web-{i}"))).await;
    }
    let cluster = Arc::new(cluster(&server));
    let catalogue = Arc::new(BuiltinCatalogue::new());
    let (provisioner, driver) =
        Provisioner::open(catalogue, cluster.clone(), Config::default()).unwrap();
    let driver = tokio::spawn(driver);
    let plan = provisioner.plan_now().await.unwrap();
    assert_eq!(plan.bindings.len(), 8);
    let bound = places(&server).await.into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(bound, ["n1", "n1"], "the others wait for their machines");
    let again = provisioner.plan_now().await.unwrap();
    assert!(again.bindings.is_empty() && again.launches.is_empty());

    let (_, claims) = get(&server, CLAIMS).await;
    let claims = claims["items"].as_array().unwrap();
    assert_eq!(claims.len(), plan.launches.len());
    for (index, claim) in claims.iter().enumerate() {
        let node = format!("ip-10-0-0-{index}");
        let large = json!({"cpu": "64", "memory": "256Gi", "pods": "110"});
        create(&server, NODES, machine(&node, &large)).await;
        let path = format!("{CLAIMS}/{}", claim["metadata"]["name"].as_str().unwrap());
        let initialized = json!([{"type": "Initialized", "status": "True"}]);
        let status = json!({"nodeName": node, "conditions": initialized});
        patch(&server, &format!("{path}/status"), json!({"status": status})).await;
    }
    provisioner.plan_now().await.unwrap();
    assert!(places(&server).await.iter().all(Option::is_some));
    let state = cluster.state().await.unwrap();
    assert_eq!(state.pending.len(), 0);
    assert_eq!(state.nodes.iter().map(|node| node.used.pods).sum::<u64>(), 8);
    drop(provisioner);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_late_pod_joins_a_machine_that_is_on_its_way() {
    let server = Server::start(&[]);
    let class = json!({"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"});
    let spec = json!({"nodeClassRef": class});
    let pool = json!({"metadata": {"name": "default"}, "spec": {"template": {"spec": spec}}});
    create(&server, POOLS, pool).await;
    create(&server, PODS, pod("first")).await;
    let cluster = cluster(&server);
    let round = async || {
        let state = cluster.state().await.unwrap();
        let input = binpack::Input {
            pods: state.pending,
            nodes: state.nodes,
            pools: state.pools,
            instance_types: BuiltinCatalogue::new().types(),
            ..binpack::Input::default()
        };
        let plan = binpack::plan(&input, &Config::default()).unwrap();
        cluster.apply(&plan).await.unwrap();
        plan
    };
    assert_eq!(round().await.launches.len(), 1);
    let mut late = pod("late");
    late["spec"]["containers"][0]["resources"]["requests"] = json!({"cpu": "10m"});
    create(&server, PODS, late).await;
    assert_eq!(round().await.launches.len(), 0);
    let (_, claims) = get(&server, CLAIMS).await;
    let annotations = &claims["items"][0]["metadata"]["annotations"];
    let pods: Value =
        serde_json::from_str(annotations["binpack.trestle/pods"].as_str().unwrap()).unwrap();
    let names: Vec<_> = pods.as_object().unwrap().keys().collect();
    assert_eq!(names, ["default/first", "default/late"]);
    assert!(cluster.state().await.unwrap().pending.is_empty());
}
