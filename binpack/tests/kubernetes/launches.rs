//! A launch from the plan to the node.

use binpack::{Cluster, Node, Plan};
use serde_json::{Value, json};

use super::objects::{
    CLAIMS, DAEMONS, NODE_LIST, POD_LIST, POOLS, claims, fixture, initialize, node, on, pending,
    place, planned, pod, pool, promised, register, round, small,
};
use super::server::Server;

fn machine() -> Value {
    json!({"cpu": "4", "memory": "16Gi", "pods": "20"})
}

/// A cluster without nodes, with a pool and pods of one core.
fn waiting(names: &[&str]) -> Server {
    let server = Server::default();
    server.put(POOLS, pool("default"));
    server.put_all(POD_LIST, names.iter().map(|name| small(name)));
    server
}

fn find<'a>(nodes: &'a [Node], name: &str) -> &'a Node {
    nodes.iter().find(|node| &*node.name == name).unwrap_or_else(|| panic!("{name} is there"))
}

#[tokio::test]
async fn a_claim_is_what_its_pool_s_template_makes_of_the_plan() {
    let server = waiting(&["a", "b"]);
    round(&server.cluster()).await;
    let [name] = &claims(&server)[..] else { panic!("one launch") };
    assert!(name.starts_with("default-"));
    let claim = server.find(CLAIMS, name).unwrap();
    let uid = server.find(POOLS, "default").unwrap()["metadata"]["uid"].clone();
    let metadata = &claim["metadata"];
    assert_eq!(metadata["labels"], json!({"team": "a", "karpenter.sh/nodepool": "default"}));
    assert_eq!(metadata["ownerReferences"][0]["uid"], uid);
    assert_eq!(metadata["annotations"]["karpenter.sh/nodepool-hash"], "42");
    assert_eq!(metadata["annotations"]["other"], Value::Null);
    let one_of = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
    let expected = json!({
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "d"},
        "expireAfter": "720h",
        "requirements": [
            one_of("node.kubernetes.io/instance-type", "four"),
            one_of("topology.kubernetes.io/zone", "zone-b"),
            one_of("karpenter.sh/capacity-type", "on-demand"),
        ],
        "resources": {"requests": {"cpu": "2000m", "memory": "2147483648", "pods": "2"}},
    });
    assert_eq!(claim["spec"], expected);
    assert_eq!(promised(&server, name), ["default/a", "default/b"]);
}

#[tokio::test]
async fn a_pool_that_wants_a_choice_of_types_gets_the_alternatives() {
    let server = waiting(&["a"]);
    server.change(POOLS, "default", |pool| {
        pool["spec"]["template"]["spec"]["requirements"] = json!([{
            "key": "node.kubernetes.io/instance-type", "operator": "Exists", "minValues": 2,
        }]);
    });
    round(&server.cluster()).await;
    let claim = server.find(CLAIMS, &claims(&server)[0]).unwrap();
    assert_eq!(claim["spec"]["requirements"][0]["minValues"], 2);
    assert_eq!(claim["spec"]["requirements"][1]["values"], json!(["four", "sixteen"]));
}

#[tokio::test]
async fn pods_are_bound_when_their_node_takes_pods() {
    let server = waiting(&["a", "b"]);
    let accepts = json!([{"operator": "Exists"}]);
    let mut daemon = pod("d", &json!({"cpu": "250m"}));
    daemon["spec"]["tolerations"] = accepts;
    server.put(
        DAEMONS,
        json!({
            "metadata": {"name": "d", "namespace": "default"},
            "spec": {"template": {"spec": daemon["spec"]}},
        }),
    );
    let cluster = server.cluster();
    round(&cluster).await;
    let name = claims(&server)[0].clone();
    let claimed = format!("nodeclaim/{name}");
    let on_its_way = cluster.state().await.unwrap();
    assert!(on_its_way.pending.is_empty());
    assert_eq!(find(&on_its_way.nodes, &claimed).used.cpu_milli, 2_250);

    register(&server, &name, "n1", &machine());
    assert_eq!(cluster.state().await.unwrap(), on_its_way, "the node is not there twice");
    cluster.settle().await.unwrap();
    assert_eq!(place(&server, "a"), None, "it is not ready");

    initialize(&server, &name, "n1");
    let come = cluster.state().await.unwrap();
    let [machine] = &come.nodes[..] else { panic!("{:?}", come.nodes) };
    assert_eq!((&*machine.name, machine.used.cpu_milli, machine.used.pods), ("n1", 2_250, 3));
    assert_eq!(machine.price_micros, Some(100_000));
    assert!(come.pending.is_empty());

    cluster.settle().await.unwrap();
    assert_eq!((place(&server, "a"), place(&server, "b")), (Some("n1".into()), Some("n1".into())));
    let mut bound = on("n1", pod("d-1", &json!({"cpu": "250m"})));
    bound["metadata"]["ownerReferences"] =
        json!([{"kind": "DaemonSet", "name": "d", "controller": true}]);
    server.put(POD_LIST, bound);
    let settled = cluster.state().await.unwrap();
    assert_eq!(settled.nodes[0].used, machine.used, "the daemon is there now");
    assert_eq!(settled.nodes[0].pods.len(), 3);
}

#[tokio::test]
async fn a_daemon_that_has_room_kept_and_comes_first_counts_once() {
    let server = waiting(&["a"]);
    let mut daemon = pod("d", &json!({"cpu": "250m"}));
    daemon["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    server.put(
        DAEMONS,
        json!({
            "metadata": {"name": "d", "namespace": "default"},
            "spec": {"template": {"spec": daemon["spec"]}},
        }),
    );
    let cluster = server.cluster();
    round(&cluster).await;
    let name = claims(&server)[0].clone();
    register(&server, &name, "n1", &machine());
    let mut bound = on("n1", pod("d-1", &json!({"cpu": "250m"})));
    bound["metadata"]["ownerReferences"] =
        json!([{"kind": "DaemonSet", "name": "d", "controller": true}]);
    server.put(POD_LIST, bound);
    assert_eq!(cluster.state().await.unwrap().nodes[0].used.cpu_milli, 1_250);
    initialize(&server, &name, "n1");
    assert_eq!(cluster.state().await.unwrap().nodes[0].used.cpu_milli, 1_250);
}

#[tokio::test]
async fn a_node_is_found_by_its_provider_too() {
    let server = waiting(&["a"]);
    let cluster = server.cluster();
    round(&cluster).await;
    let name = claims(&server)[0].clone();
    register(&server, &name, "n1", &machine());
    initialize(&server, &name, "n1");
    server.change(NODE_LIST, "n1", |node| node["spec"]["providerID"] = "aws:///i-1".into());
    server.change(CLAIMS, &name, |claim| {
        claim["status"]["nodeName"] = Value::Null;
        claim["status"]["providerID"] = "aws:///i-1".into();
    });
    cluster.settle().await.unwrap();
    assert_eq!(place(&server, "a").as_deref(), Some("n1"));
}

#[tokio::test]
async fn what_the_machine_does_not_fit_is_pending_again_and_gets_another() {
    let server = waiting(&["a", "b", "c"]);
    let cluster = server.cluster();
    round(&cluster).await;
    let first = claims(&server)[0].clone();
    register(&server, &first, "n1", &json!({"cpu": "2", "memory": "16Gi", "pods": "20"}));
    initialize(&server, &first, "n1");
    assert_eq!(pending(&cluster.state().await.unwrap()), ["default/c"]);
    round(&cluster).await;
    assert_eq!((place(&server, "a"), place(&server, "b")), (Some("n1".into()), Some("n1".into())));
    let second = claims(&server).into_iter().find(|name| *name != first).unwrap();
    assert_eq!(promised(&server, &second), ["default/c"]);
    assert!(cluster.state().await.unwrap().pending.is_empty(), "the second claim counts");
    round(&cluster).await;
    assert_eq!(claims(&server).len(), 2);
    register(&server, &second, "n2", &machine());
    initialize(&server, &second, "n2");
    cluster.settle().await.unwrap();
    assert_eq!(place(&server, "c").as_deref(), Some("n2"));
}

#[tokio::test]
async fn a_node_with_other_labels_or_taints_is_not_what_a_pod_waits_for() {
    let mut picky = small("a");
    picky["spec"]["nodeSelector"] = json!({"topology.kubernetes.io/zone": "zone-b"});
    let server = waiting(&["b"]);
    server.put(POD_LIST, picky);
    let cluster = server.cluster();
    round(&cluster).await;
    let name = claims(&server)[0].clone();
    assert_eq!(promised(&server, &name).len(), 2);
    register(&server, &name, "n1", &machine());
    initialize(&server, &name, "n1");
    server.change(NODE_LIST, "n1", |node| {
        node["metadata"]["labels"]["topology.kubernetes.io/zone"] = "zone-c".into();
    });
    assert_eq!(pending(&cluster.state().await.unwrap()), ["default/a"]);
    server.change(NODE_LIST, "n1", |node| {
        node["spec"]["taints"] = json!([{"key": "gone-bad", "effect": "NoExecute"}]);
    });
    assert_eq!(pending(&cluster.state().await.unwrap()), ["default/a", "default/b"]);
}

#[tokio::test]
async fn later_pods_join_a_node_that_is_on_its_way() {
    let server = waiting(&["a"]);
    let cluster = server.cluster();
    round(&cluster).await;
    server.put(POD_LIST, small("late"));
    let plan = round(&cluster).await;
    assert!(plan.launches.is_empty());
    let name = claims(&server)[0].clone();
    assert_eq!(promised(&server, &name), ["default/a", "default/late"]);
    let state = cluster.state().await.unwrap();
    assert!(state.pending.is_empty());
    assert_eq!(state.nodes[0].used.cpu_milli, 2_000);
    cluster.apply(&plan).await.unwrap();
    assert_eq!(cluster.state().await.unwrap(), state);
}

#[tokio::test]
async fn a_claim_that_goes_lets_its_pods_wait_again() {
    let server = waiting(&["a"]);
    let cluster = server.cluster();
    let plan = round(&cluster).await;
    let first = claims(&server)[0].clone();
    server.change(CLAIMS, &first, |claim| {
        claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    let state = cluster.state().await.unwrap();
    assert_eq!((pending(&state), state.nodes.len()), (vec!["default/a"], 0));
    assert_eq!(planned(&state), plan, "the same plan would have the same name");
    round(&cluster).await;
    assert_eq!(claims(&server).len(), 2);
    assert!(cluster.state().await.unwrap().pending.is_empty());
    server.delete(CLAIMS, &first);
    assert!(cluster.state().await.unwrap().pending.is_empty());
}

#[tokio::test]
async fn the_node_of_a_claim_that_goes_takes_nothing() {
    let server = waiting(&["a"]);
    let cluster = server.cluster();
    round(&cluster).await;
    let name = claims(&server)[0].clone();
    register(&server, &name, "n1", &machine());
    initialize(&server, &name, "n1");
    cluster.settle().await.unwrap();
    server.change(CLAIMS, &name, |claim| {
        claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    let state = cluster.state().await.unwrap();
    assert!(state.nodes[0].disrupting && state.nodes[0].pods.len() == 1);
    server.put(POD_LIST, small("late"));
    assert_eq!(round(&cluster).await.launches.len(), 1);
    assert_eq!(place(&server, "late"), None);
}

#[tokio::test]
async fn a_pod_made_anew_is_another_one() {
    let server = waiting(&["db-0"]);
    let cluster = server.cluster();
    round(&cluster).await;
    server.delete(POD_LIST, "db-0");
    let on_its_way = cluster.state().await.unwrap();
    assert_eq!(on_its_way.nodes[0].used.pods, 0);
    server.put(POD_LIST, small("db-0"));
    assert_eq!(pending(&cluster.state().await.unwrap()), ["default/db-0"]);
}

#[tokio::test]
async fn a_claim_names_no_more_pods_than_its_annotations_hold() {
    let server = Server::default();
    server.put(POOLS, pool("default"));
    let longest = |i: usize| {
        let mut pod = pod(&format!("{i:0>253}"), &json!({"cpu": "10m"}));
        pod["metadata"]["namespace"] = "n".repeat(63).into();
        pod["metadata"]["uid"] = format!("{i:0>36}").into();
        pod
    };
    server.put_all(POD_LIST, (0..600).map(longest));
    let mut config = binpack::KubernetesConfig::default();
    config.page_objects = 500;
    let cluster = binpack::KubernetesCluster::new(server.clone(), config).unwrap();
    let before = cluster.state().await.unwrap();
    let sixteen = super::objects::types().pop().unwrap();
    let input = binpack::Input {
        pods: before.pending.clone(),
        pools: before.pools.clone(),
        instance_types: [sixteen].into(),
        ..binpack::Input::default()
    };
    let plan: Plan = binpack::plan(&input, &binpack::Config::default()).unwrap();
    assert_eq!((plan.launches.len(), plan.bindings.len()), (1, 600));
    cluster.apply(&plan).await.unwrap();
    let state = cluster.state().await.unwrap();
    assert_eq!((state.pending.len(), state.nodes[0].pods.len()), (100, 500));
    assert_eq!(state.nodes[0].used, state.nodes[0].allocatable, "it takes no more");
    cluster.apply(&plan).await.unwrap();
    assert_eq!(claims(&server).len(), 2, "the rest of the launch is another one");
    assert!(cluster.state().await.unwrap().pending.is_empty());
}

#[tokio::test]
async fn a_launch_whose_pool_is_gone_is_skipped() {
    let server = fixture();
    let cluster = server.cluster();
    let plan = planned(&cluster.state().await.unwrap());
    server.delete(POOLS, "fixture-pool");
    cluster.apply(&plan).await.unwrap();
    let state = cluster.state().await.unwrap();
    assert_eq!(pending(&state), ["default/fixture-huge", "default/fixture-tolerant"]);
    assert!(claims(&server).is_empty());
}

#[tokio::test]
async fn claims_of_others_are_full() {
    let server = waiting(&["a"]);
    let mut foreign = json!({
        "metadata": {"name": "karpenter-made", "labels": {"karpenter.sh/nodepool": "default"}},
        "spec": {},
    });
    server.put(CLAIMS, foreign.clone());
    let cluster = server.cluster();
    assert!(cluster.state().await.unwrap().nodes.is_empty(), "nobody knows how large it is");
    foreign["status"] = json!({"capacity": machine(), "allocatable": machine()});
    server.put(CLAIMS, foreign);
    let state = cluster.state().await.unwrap();
    assert_eq!(state.nodes[0].used, state.nodes[0].allocatable);
    assert_eq!(planned(&state).launches.len(), 1);
    server.put(NODE_LIST, node("theirs", &machine()));
    server.change(CLAIMS, "karpenter-made", |claim| {
        claim["status"]["nodeName"] = "theirs".into();
        claim["status"]["conditions"] = json!([{"type": "Initialized", "status": "True"}]);
    });
    let state = cluster.state().await.unwrap();
    assert_eq!((state.nodes.len(), state.nodes[0].used.cpu_milli), (1, 0));
}

#[tokio::test]
async fn volumes_that_wait_for_their_first_pod_are_told_its_node() {
    let server = waiting(&["other"]);
    let wide = json!({"cpu": "8", "memory": "16Gi", "pods": "20"});
    server.put(NODE_LIST, node("n1", &wide));
    let class = |name: &str, mode: &str, default: &str| {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": default});
        json!({
            "metadata": {"name": name, "annotations": annotations},
            "provisioner": "ebs.csi.aws.com", "volumeBindingMode": mode,
        })
    };
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    let late = class("late", "WaitForFirstConsumer", "true");
    server.put_all(classes, [late, class("early", "Immediate", "false")]);
    let claim = |name: &str, spec: Value| json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
    let volume_claims = "/api/v1/persistentvolumeclaims";
    let mut decided = claim("decided", json!({"storageClassName": "late"}));
    decided["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "n0"});
    server.put_all(
        volume_claims,
        [
            claim("late", json!({"storageClassName": "late"})),
            claim("default", json!({})),
            claim("early", json!({"storageClassName": "early"})),
            claim("bound", json!({"storageClassName": "late", "volumeName": "pv"})),
            claim("db-own", json!({"storageClassName": "late"})),
            claim("not-used", json!({"storageClassName": "late"})),
            decided,
        ],
    );
    let mut db = small("db");
    let shared = ["late", "default", "early", "bound", "decided"];
    let shared =
        shared.map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    db["spec"]["volumes"] = shared.into_iter().collect();
    let own = json!({"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}});
    db["spec"]["volumes"].as_array_mut().unwrap().push(own);
    server.put(POD_LIST, db);
    let cluster = server.cluster();
    round(&cluster).await;
    assert_eq!(cluster.problems(), [""; 0]);
    assert_eq!(place(&server, "db").as_deref(), Some("n1"));
    let told = |claim: &str| {
        let claim = server.find(volume_claims, claim).unwrap();
        let node = claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].as_str();
        node.map(str::to_owned)
    };
    for claim in ["late", "default", "db-own"] {
        assert_eq!(told(claim).as_deref(), Some("n1"), "{claim}");
    }
    for claim in ["early", "bound", "not-used"] {
        assert_eq!(told(claim), None, "{claim}");
    }
    assert_eq!(told("decided").as_deref(), Some("n0"));
}
