//! Objects as an API server has them, and what a machine's controllers do to them.

use binpack::{CapacityType, Config, InstanceType, Offering, Plan, Resources};
use binpack::{Cluster, ClusterState, Input, plan};
use serde_json::{Value, json};

use super::server::Server;

pub(crate) const POD_LIST: &str = "/api/v1/pods";
pub(crate) const NODE_LIST: &str = "/api/v1/nodes";
pub(crate) const CLAIMS: &str = "/apis/karpenter.sh/v1/nodeclaims";
pub(crate) const POOLS: &str = "/apis/karpenter.sh/v1/nodepools";
pub(crate) const DAEMONS: &str = "/apis/apps/v1/daemonsets";

/// A pod that waits, with what its only container requests.
pub(crate) fn pod(name: &str, requests: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "schedulerName": "binpack",
            "containers": [{"name": "main", "resources": {"requests": requests}}],
        },
        "status": {"phase": "Pending"},
    })
}

pub(crate) fn small(name: &str) -> Value {
    pod(name, &json!({"cpu": "1", "memory": "1Gi"}))
}

pub(crate) fn on(node: &str, mut pod: Value) -> Value {
    pod["spec"]["nodeName"] = node.into();
    pod["status"]["phase"] = "Running".into();
    pod
}

pub(crate) fn node(name: &str, allocatable: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": {
            "topology.kubernetes.io/zone": "zone-a", "kubernetes.io/hostname": name,
        }},
        "spec": {},
        "status": {
            "allocatable": allocatable, "capacity": allocatable,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A pool that launches everything, with a class of nodes.
pub(crate) fn pool(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "annotations": {
            "karpenter.sh/nodepool-hash": "42", "other": "stays",
        }},
        "spec": {"template": {
            "metadata": {"labels": {"team": "a"}},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "d"},
                "requirements": [],
                "expireAfter": "720h",
            },
        }},
    })
}

/// The state that the checks of a cluster begin with.
pub(crate) fn fixture() -> Server {
    let server = Server::default();
    let plain = json!({"cpu": "4", "memory": "8Gi", "pods": "10"});
    let gpus = json!({"cpu": "8", "memory": "32Gi", "pods": "10", "nvidia.com/gpu": "2"});
    server.put_all(NODE_LIST, [node("fixture-plain", &plain), node("fixture-gpu", &gpus)]);
    let gpu = |cpu: &str| json!({"cpu": cpu, "memory": "1Gi", "nvidia.com/gpu": 1});
    let mut tolerant = pod("fixture-tolerant", &json!({"cpu": "3500m", "memory": "1Gi"}));
    let accepts = json!([{"key": "fixture", "operator": "Exists"}]);
    tolerant["spec"]["tolerations"] = accepts.clone();
    let launched = json!({"matchExpressions": [{"key": "launched", "operator": "Exists"}]});
    tolerant["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!({"nodeSelectorTerms": [launched]});
    let running = on("fixture-gpu", pod("fixture-running", &gpu("500m")));
    let huge = pod("fixture-huge", &json!({"cpu": "1000", "memory": "1Gi"}));
    let share = pod("fixture-share", &gpu("100m"));
    let others = [small("fixture-a"), share, small("fixture-b"), tolerant, huge, running];
    server.put_all(POD_LIST, others);
    let mut pool = pool("fixture-pool");
    let template = &mut pool["spec"]["template"];
    template["metadata"]["labels"] = json!({"launched": "yes"});
    template["spec"]["taints"] =
        json!([{"key": "fixture", "value": "yes", "effect": "NoSchedule"}]);
    server.put(POOLS, pool);
    let mut template = pod("template", &json!({"cpu": "100m", "memory": "128Mi"}));
    template["spec"]["tolerations"] = accepts;
    server.put(
        DAEMONS,
        json!({
            "metadata": {"name": "fixture-daemon", "namespace": "default"},
            "spec": {"template": {"spec": template["spec"]}},
        }),
    );
    server
}

/// What can be bought: a machine of 4 cores, 16 GiB and 20 pods, and one of 16 cores.
pub(crate) fn types() -> Vec<InstanceType> {
    let of = |name: &str, cores: u64, pods, price| {
        let machine = Resources::new(cores * 1_000, (cores * 4) << 30).with_pods(pods);
        let offering = Offering::new("zone-b", CapacityType::OnDemand, price);
        InstanceType::new(name, machine).with_offering(offering)
    };
    vec![of("four", 4, 20, 100_000), of("sixteen", 16, 1_000, 390_000)]
}

pub(crate) fn planned(state: &ClusterState) -> Plan {
    let input = Input {
        pods: state.pending.clone(),
        nodes: state.nodes.clone(),
        pools: state.pools.clone(),
        gangs: state.gangs.clone(),
        daemons: state.daemons.clone(),
        instance_types: types().into(),
        ..Input::default()
    };
    plan(&input, &Config::default()).unwrap()
}

/// One round of a provisioner.
pub(crate) async fn round(cluster: &impl Cluster) -> Plan {
    let plan = planned(&cluster.state().await.unwrap());
    cluster.apply(&plan).await.unwrap();
    plan
}

pub(crate) fn pending(state: &ClusterState) -> Vec<&str> {
    state.pending.iter().map(|pod| &*pod.name).collect()
}

/// What Karpenter does when a claim's machine has started: the node is there, and not ready.
pub(crate) fn register(server: &Server, claim: &str, name: &str, allocatable: &Value) {
    let mut machine = node(name, allocatable);
    let promised = &server.find(CLAIMS, claim).unwrap()["metadata"]["annotations"];
    let promised: Value =
        serde_json::from_str(promised["binpack.trestle/node"].as_str().unwrap()).unwrap();
    for (key, value) in promised["labels"].as_object().unwrap() {
        machine["metadata"]["labels"][key] = value.clone();
    }
    machine["spec"]["taints"] = promised["taints"].clone();
    machine["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    server.put(NODE_LIST, machine);
    server.change(CLAIMS, claim, |claim| {
        claim["status"]["nodeName"] = name.into();
        claim["status"]["conditions"] = json!([{"type": "Registered", "status": "True"}]);
    });
}

/// What Karpenter does when the node takes pods.
pub(crate) fn initialize(server: &Server, claim: &str, name: &str) {
    server.change(NODE_LIST, name, |node| {
        node["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    });
    server.change(CLAIMS, claim, |claim| {
        claim["status"]["conditions"] = json!([{"type": "Initialized", "status": "True"}]);
    });
}

/// The names of all claims.
pub(crate) fn claims(server: &Server) -> Vec<String> {
    let all = server.all(CLAIMS);
    all.iter().map(|claim| claim["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The pods that a claim is for.
pub(crate) fn promised(server: &Server, claim: &str) -> Vec<String> {
    let claim = server.find(CLAIMS, claim).unwrap();
    let pods = claim["metadata"]["annotations"]["binpack.trestle/pods"].as_str().unwrap();
    let pods: Value = serde_json::from_str(pods).unwrap();
    pods.as_object().unwrap().keys().cloned().collect()
}

/// The node that a pod is bound to.
pub(crate) fn place(server: &Server, pod: &str) -> Option<String> {
    let pod = server.find(POD_LIST, pod)?;
    pod["spec"]["nodeName"].as_str().map(str::to_owned)
}
