//! What is read, and what is left out.

use binpack::{Cluster, Provisioner, key};
use serde_json::json;

use super::objects::{
    NODE_LIST, POD_LIST, POOLS, node, on, pending, planned, pod, pool, round, small, types,
};
use super::server::Server;

fn one_node() -> Server {
    let server = Server::default();
    let machine = json!({"cpu": "4", "memory": "16Gi", "pods": "20", "nvidia.com/gpu": "1"});
    server.put(NODE_LIST, node("n1", &machine));
    server
}

#[tokio::test]
async fn only_pods_that_wait_for_this_scheduler_are_pending() {
    let server = one_node();
    let mut other = small("other");
    other["spec"]["schedulerName"] = "default-scheduler".into();
    let mut default = small("default");
    default["spec"]["schedulerName"] = json!(null);
    let mut gated = small("gated");
    gated["spec"]["schedulingGates"] = json!([{"name": "quota"}]);
    let mut going = small("going");
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let mut over = small("over");
    over["status"]["phase"] = "Failed".into();
    server.put_all(POD_LIST, [small("ours"), other, default, gated, going, over]);
    let state = server.cluster().state().await.unwrap();
    assert_eq!(pending(&state), ["default/ours"]);
    assert_eq!(state.nodes[0].used.pods, 0);
}

#[tokio::test]
async fn pods_of_everybody_count_on_their_node_until_they_are_over() {
    let server = one_node();
    let mut other = on("n1", small("other"));
    other["spec"]["schedulerName"] = "default-scheduler".into();
    let mut going = on("n1", small("going"));
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let mut over = on("n1", small("over"));
    over["status"]["phase"] = "Succeeded".into();
    let elsewhere = on("not-there", small("elsewhere"));
    server.put_all(POD_LIST, [other, going, over, elsewhere]);
    let state = server.cluster().state().await.unwrap();
    assert_eq!((state.nodes[0].used.cpu_milli, state.nodes[0].used.pods), (2_000, 2));
    assert!(state.pending.is_empty());
}

#[tokio::test]
async fn nodes_that_take_no_pods_are_left_out_or_tainted() {
    let server = one_node();
    let machine = json!({"cpu": "4", "memory": "16Gi", "pods": "20"});
    let mut cordoned = node("cordoned", &machine);
    cordoned["spec"]["unschedulable"] = true.into();
    let mut sick = node("sick", &machine);
    sick["status"]["conditions"][0]["status"] = "Unknown".into();
    let mut going = node("going", &machine);
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    server.put_all(NODE_LIST, [cordoned, sick, going]);
    let state = server.cluster().state().await.unwrap();
    let names: Vec<_> = state.nodes.iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["cordoned", "n1"]);
    assert_eq!(&*state.nodes[0].taints[0].key, "node.kubernetes.io/unschedulable");
}

#[tokio::test]
async fn a_malformed_pod_keeps_nobody_waiting() {
    let server = one_node();
    server.put(POOLS, pool("default"));
    let malformed = |name| pod(name, &json!({"cpu": "-1"}));
    server.put_all(POD_LIST, [malformed("bad"), small("good")]);
    let cluster = server.cluster();
    let state = cluster.state().await.unwrap();
    assert_eq!(pending(&state), ["default/good"]);
    let [problem] = &cluster.problems()[..] else { panic!("{:?}", cluster.problems()) };
    assert!(problem.starts_with("pods, Pod default/bad: spec.containers[0]"), "{problem}");

    // Of one that runs nobody knows what it uses.
    server.put(POD_LIST, on("n1", malformed("bad")));
    let state = cluster.state().await.unwrap();
    assert_eq!(state.nodes[0].used, state.nodes[0].allocatable);
    assert_eq!(state.nodes[0].gpu_used_milli, [1_000]);
    let plan = planned(&state);
    assert_eq!((plan.launches.len(), plan.bindings.len()), (1, 1));
    server.delete(POD_LIST, "bad");
    cluster.state().await.unwrap();
    assert_eq!(cluster.problems(), [""; 0]);
}

#[tokio::test]
async fn sums_that_no_plan_can_count_fill_the_node() {
    let server = one_node();
    let absurd = |name| on("n1", pod(name, &json!({"memory": "8Ei"})));
    let most = |name| on("n1", pod(name, &json!({"memory": "8Pi"})));
    server.put_all(POD_LIST, [most("x"), most("y"), absurd("z"), small("good")]);
    let state = server.cluster().state().await.unwrap();
    assert_eq!(state.nodes[0].used, state.nodes[0].allocatable);
    assert_eq!(pending(&state), ["default/good"]);
}

#[tokio::test]
async fn what_pods_refer_to_is_read() {
    let server = one_node();
    let mut claimant = small("claimant");
    claimant["spec"]["volumes"] =
        json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    let mut member = small("member");
    member["metadata"]["labels"] = json!({"scheduling.x-k8s.io/pod-group": "train"});
    let mut leader = small("serve-0");
    leader["metadata"]["labels"] = json!({
        "leaderworkerset.sigs.k8s.io/name": "serve",
        "leaderworkerset.sigs.k8s.io/group-index": "0",
    });
    server.put_all(POD_LIST, [claimant, member, leader]);
    let metadata = |name: &str| json!({"name": name, "namespace": "default"});
    server.put(
        "/api/v1/persistentvolumeclaims",
        json!({
            "metadata": metadata("data"), "spec": {"volumeName": "pv"},
        }),
    );
    let zone = json!({"key": key::ZONE, "operator": "In", "values": ["zone-a"]});
    server.put(
        "/api/v1/persistentvolumes",
        json!({
            "metadata": {"name": "pv"},
            "spec": {
                "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}},
            },
        }),
    );
    server.put(
        "/apis/storage.k8s.io/v1/csinodes",
        json!({
            "metadata": {"name": "n1"},
            "spec": {"drivers": [{"name": "ebs.csi.aws.com", "allocatable": {"count": 25}}]},
        }),
    );
    server.put(
        "/apis/scheduling.x-k8s.io/v1alpha1/podgroups",
        json!({
            "metadata": metadata("train"), "spec": {"minMember": 4},
        }),
    );
    server.put(
        "/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets",
        json!({
            "metadata": metadata("serve"),
            "spec": {"replicas": 2, "leaderWorkerTemplate": {
                "size": 3, "workerTemplate": {"spec": {"containers": [{"name": "c"}]}},
            }},
        }),
    );
    let cluster = server.cluster();
    let state = cluster.state().await.unwrap();
    assert_eq!(cluster.problems(), [""; 0]);
    let [claimant, member, leader] = &state.pending[..] else {
        panic!("pods are as the API has them: {:?}", pending(&state))
    };
    assert_eq!(&*claimant.volumes[0].handle, "vol-1");
    assert_eq!(claimant.volumes[0].topologies.len(), 1);
    assert_eq!(member.gang.as_deref(), Some("default/train"));
    assert_eq!(leader.gang.as_deref(), Some("default/serve-0"));
    let gangs: Vec<_> = state.gangs.iter().map(|gang| (&*gang.name, gang.min_member)).collect();
    let expected = [("default/serve-0", 3), ("default/serve-1", 3), ("default/train", 4)];
    assert_eq!(gangs, expected);
    assert_eq!(state.nodes[0].volume_limits["ebs.csi.aws.com"], 25);
}

#[tokio::test]
async fn disruption_budgets_are_in_the_question() {
    let server = one_node();
    let budget = |name: &str, allowed: i64| {
        json!({
            "metadata": {"name": name, "namespace": "web"},
            "spec": {"selector": {"matchLabels": {"app": name}}},
            "status": {"disruptionsAllowed": allowed},
        })
    };
    let mut uncounted = budget("uncounted", 7);
    uncounted["status"] = json!({});
    let path = "/apis/policy/v1/poddisruptionbudgets";
    server.put_all(path, [budget("a", 2), uncounted]);
    let input = server.cluster().input(types().into()).await.unwrap();
    let allowed: Vec<_> = input
        .disruption_budgets
        .iter()
        .map(|budget| (&*budget.namespace, &*budget.name, budget.disruptions_allowed))
        .collect();
    assert_eq!(allowed, [("web", "a", 2), ("web", "uncounted", 0)]);
    assert_eq!(input.instance_types.len(), 2);
}

#[tokio::test]
async fn of_a_resource_that_the_server_does_not_have_there_are_none() {
    let server = one_node();
    server.put(POD_LIST, small("a"));
    server.cluster().state().await.unwrap();
    let lists: Vec<String> = server.requests();
    for path in lists.iter().filter_map(|request| request.strip_prefix("GET ")) {
        let path = path.split('?').next().unwrap();
        if ![POD_LIST, NODE_LIST].contains(&path) {
            server.take_away(path);
        }
    }
    for version in ["v1beta1", "v1alpha3"] {
        server.take_away(&format!("/apis/scheduling.k8s.io/{version}/podgroups"));
    }
    let mut member = small("b");
    member["spec"]["schedulingGroup"] = json!({"podGroupName": "old"});
    server.put(POD_LIST, member);
    server.put(
        "/apis/scheduling.k8s.io/v1alpha2/podgroups",
        json!({
            "metadata": {"name": "old", "namespace": "default"},
            "spec": {"schedulingPolicy": {"gang": {"minCount": 2}}},
        }),
    );
    let cluster = server.cluster();
    let plan = round(&cluster).await;
    assert_eq!(plan.bindings.len(), 1, "{:?}", cluster.problems());
    let state = cluster.state().await.unwrap();
    assert_eq!((pending(&state), &*state.gangs[0].name), (vec!["default/b"], "default/old"));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test spawns the driver, as a caller does")]
async fn a_provisioner_keeps_an_api_provisioned() {
    let server = one_node();
    server.put(POOLS, pool("default"));
    server.put_all(POD_LIST, (0..6).map(|i| small(&format!("web-{i}"))));
    let catalogue = std::sync::Arc::new(binpack::MemoryCatalogue::new(types()));
    let cluster = std::sync::Arc::new(server.cluster());
    let config = binpack::Config::default();
    let (provisioner, driver) = Provisioner::open(catalogue, cluster.clone(), config).unwrap();
    let driver = tokio::spawn(driver);
    let plan = provisioner.plan_now().await.unwrap();
    assert_eq!((plan.launches.len(), plan.bindings.len()), (1, 6));
    let again = provisioner.plan_now().await.unwrap();
    assert!(again.launches.is_empty() && again.bindings.is_empty());
    let state = cluster.state().await.unwrap();
    assert_eq!((state.pending.len(), state.nodes.len()), (0, 2));
    drop(provisioner);
    driver.await.unwrap().unwrap();
}
