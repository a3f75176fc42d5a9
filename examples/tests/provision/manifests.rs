//! Plans from manifests.

use std::collections::HashSet;
use std::fs;

use serde_json::{Value, json};

use crate::program::{Bench, launched};

const WORKLOADS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, resources: {requests: {cpu: 900m, memory: 1Gi}}}]
---
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: llm}
spec:
  replicas: 1
  leaderWorkerTemplate:
    size: 2
    workerTemplate:
      spec:
        containers: [{name: worker, resources: {requests: {cpu: '3', memory: 4Gi}}}]
";

const POOL: &str = "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: general}
spec:
  template:
    spec:
      requirements:
        - {key: kubernetes.io/arch, operator: In, values: [amd64]}
        - {key: karpenter.k8s.aws/instance-family, operator: In, values: [m7i]}
";

const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: node-1
  labels: {node.kubernetes.io/instance-type: m7i.4xlarge, topology.kubernetes.io/zone: us-east-1a}
status:
  allocatable: {cpu: '15', memory: 60Gi, pods: '58'}
  capacity: {cpu: '16', memory: 64Gi, pods: '58'}
  conditions: [{type: Ready, status: 'True'}]
---
apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  nodeName: node-1
  containers: [{name: main, resources: {requests: {cpu: '4', memory: 8Gi}}}]
";

const GROUPS: &str = "
- {name: small, instanceType: m7i.xlarge, zone: us-east-1a, maxSize: 1, priority: 10}
- {name: large, instanceType: m7i.2xlarge, zone: us-east-1a, minSize: 2, maxSize: 4}
";

#[test]
fn node_groups_grow_and_say_by_how_much() {
    let bench = Bench::new();
    let (pods, groups) = (bench.file("w.yaml", WORKLOADS), bench.file("groups.yaml", GROUPS));
    let (plan, ran) = bench
        .planned(0, &["--pods", &pods, "--groups", &groups, "--expander", "priority,least-waste"]);
    assert_eq!(plan["scale_ups"][0]["group"], "large");
    assert_eq!(
        (&plan["scale_ups"][0]["from"], &plan["scale_ups"][0]["to"]),
        (&json!(0), &json!(2))
    );
    let launches = plan["nodes"].as_array().unwrap().iter();
    assert!(launches.into_iter().all(|node| node["group"] == "large" && node["pool"].is_null()));
    assert!(ran.stdout.contains("node group large grows from 0 to 2 of at most 4 nodes"));
    assert_eq!(plan["counts"]["pools"], 0, "with groups there is no pool of its own accord");

    let little = GROUPS.replace("minSize: 2, maxSize: 4", "maxSize: 0");
    let groups = bench.file("little.yaml", &little);
    let many = WORKLOADS.replace("replicas: 3", "replicas: 9");
    let pods = bench.file("many.yaml", many.split("---").next().unwrap());
    let (plan, ran) = bench.planned(1, &["--pods", &pods, "--groups", &groups]);
    assert_eq!(plan["scale_ups"][0]["group"], "small");
    assert!(
        ran.stdout.contains("a node of group small, whose size is 1 at a max_size of 1"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_deployment_and_a_leader_worker_set_are_launched_for() {
    let bench = Bench::new();
    let (pods, pools) = (bench.file("w.yaml", WORKLOADS), bench.file("pools.yaml", POOL));
    let (plan, ran) = bench.planned(0, &["--pods", &pods, "--pools", &pools]);

    let counts = &plan["counts"];
    let counted = ["pods", "placed", "unplaced", "gangs", "pools"].map(|key| &counts[key]);
    assert_eq!(counted, [5, 5, 0, 1, 1].map(Value::from).each_ref());
    assert_eq!((&plan["bound"], &plan["cut_short"]), (&json!("proved"), &json!(false)));
    assert_eq!(plan["left_out"], json!(["gangs"]));
    assert_eq!((&plan["unplaced"], &plan["relaxed"]), (&json!([]), &json!([])));
    assert_eq!(plan["version"], env!("CARGO_PKG_VERSION"));
    assert!(plan["iterations"].is_u64() && plan["elapsed_ms"].is_u64());

    let (mut cost, mut placed) = (0.0, HashSet::new());
    for (index, node) in plan["nodes"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&node["launch"], &node["pool"]), (&json!(index), &json!("general")));
        assert!(node["instance_type"].as_str().unwrap().starts_with("m7i."), "{node}");
        assert!(node["zone"].as_str().unwrap().starts_with("us-east-1"), "{node}");
        assert_eq!(node["capacity_type"], "on-demand");
        for amount in ["cpu_milli", "memory_bytes", "gpu_milli", "pods"] {
            let of = |part: &str| node[part][amount].as_u64().unwrap();
            assert!(of("used") <= of("allocatable"), "{amount} of {node}");
        }
        cost += node["price_per_hour"].as_f64().unwrap();
        let pods = node["pods"].as_array().unwrap();
        assert_eq!(json!(pods.len()), node["used"]["pods"], "it has no daemons");
        placed.extend(pods.iter().map(|pod| pod.as_str().unwrap().to_owned()));
    }
    let names =
        ["default/web-0", "default/web-1", "default/web-2", "default/llm-0", "default/llm-0-1"];
    assert_eq!(placed, names.map(str::to_owned).into());
    assert!((plan["cost_per_hour"].as_f64().unwrap() - cost).abs() < 1e-9);
    let bound = plan["lower_bound_per_hour"].as_f64().unwrap();
    assert!(bound > 0.0 && bound <= cost, "{bound} and {cost}");
    let gap = plan["gap_percent"].as_f64().unwrap();
    assert!((gap - (cost / bound - 1.0) * 100.0).abs() < 1e-6, "{gap}");

    for part in [
        "to launch",
        "m7i.",
        "general",
        "pods: 5 placed, 0 without a place",
        "lower bound:",
        "the bound leaves out: gangs",
        "checked: every rule is kept; the lower bound is proved",
    ] {
        assert!(ran.stdout.contains(part), "{part} is missing: {}", ran.stdout);
    }
}

#[test]
fn nodes_that_exist_are_filled_first() {
    let bench = Bench::new();
    let (pods, nodes) = (bench.file("w.yaml", WORKLOADS), bench.file("nodes.yaml", NODE));
    let (plan, ran) = bench.planned(0, &["--pods", &pods, "--nodes", &nodes]);
    assert_eq!((&plan["cost_per_hour"], &plan["gap_percent"]), (&json!(0.0), &json!(0.0)));
    let node = &plan["nodes"][0];
    assert_eq!((&node["name"], &node["instance_type"]), (&json!("node-1"), &json!("m7i.4xlarge")));
    assert_eq!((&node["price_per_hour"], &node["pool"]), (&Value::Null, &Value::Null));
    assert_eq!(node["pods"].as_array().unwrap().len(), 5, "those that run are not told again");
    assert_eq!(node["used"]["cpu_milli"], 4_000 + 3 * 900 + 2 * 3_000, "but they are counted");
    assert_eq!(plan["counts"]["nodes_existing_used"], 1);
    assert!(ran.stdout.contains("existing nodes used"), "{}", ran.stdout);
}

#[test]
fn a_folder_may_bring_everything_and_be_named_twice() {
    let bench = Bench::new();
    fs::create_dir(bench.path("all")).unwrap();
    bench.file("all/w.yaml", WORKLOADS);
    bench.file("all/p.yml", POOL);
    bench.file(
        "all/n.json",
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}"#,
    );
    let all = bench.path("all").display().to_string();
    let args = ["--pods", &all, "--pools", &all, "--arch", "arm64"];
    let (plan, ran) = bench.planned(0, &args);
    assert!(launched(&plan).iter().all(|name| name.starts_with("m7i.")), "the pool's types");
    for part in ["read past: kind ConfigMap", "--arch: not used, for node pools are given"] {
        assert!(ran.stderr.contains(part), "{part} is missing: {}", ran.stderr);
    }
}

#[test]
fn pods_without_a_place_have_their_reasons() {
    let bench = Bench::new();
    let pods = bench.file("w.yaml", &WORKLOADS.replace("cpu: 900m", "cpu: 900"));
    let (plan, ran) = bench.planned(1, &["--pods", &pods, "--explain"]);
    let unplaced = plan["unplaced"].as_array().unwrap();
    assert_eq!((unplaced.len(), &plan["counts"]["unplaced"]), (3, &json!(3)));
    for (index, unplaced) in unplaced.iter().enumerate() {
        assert_eq!(unplaced["pod"], format!("default/web-{index}"));
        assert_eq!(unplaced["kind"], "Resources");
        let reason = unplaced["reason"].as_str().unwrap();
        assert!(reason.contains("cpu"), "{reason}");
        assert!(ran.stdout.contains(&format!("\n  3 pods: {reason}\n")), "{}", ran.stdout);
    }
    let named = "no place for 3 pods (Resources): ";
    assert!(ran.stdout.contains(named), "{}", ran.stdout);
    assert!(ran.stdout.contains("default/web-0, default/web-1, default/web-2\n"), "{}", ran.stdout);
    for part in ["its pods take", "by the lower bound", "the next cheapest type", "in us-east-1"] {
        assert!(ran.stdout.contains(part), "{part} is missing: {}", ran.stdout);
    }
}

/// The deployment's pods would like their node to have this label.
fn pods_that_prefer(key: &str, value: &str) -> String {
    let affinity = format!(
        "
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 1
              preference:
                matchExpressions: [{{key: {key}, operator: In, values: [{value}]}}]
      containers: [{{name: web,"
    );
    WORKLOADS.replace("\n      containers: [{name: web,", &affinity)
}

#[test]
fn preferences_are_satisfied_or_given_up_and_counted() {
    let bench = Bench::new();
    let pods = bench.file("w.yaml", &pods_that_prefer("disk", "ssd"));
    let (plan, ran) = bench.planned(0, &["--pods", &pods]);
    let relaxed = plan["relaxed"].as_array().unwrap();
    assert_eq!((relaxed.len(), &plan["counts"]["relaxed"]), (3, &json!(3)));
    let first = json!({"pod": "default/web-0", "relaxations": ["NodeAffinity"]});
    assert_eq!(relaxed[0], first);
    let said = "preferences given up: by 3 pods (NodeAffinity 3)";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);

    // All zones cost the same, and the first is taken where nothing speaks for another.
    let pods = bench.file("w.yaml", &pods_that_prefer("topology.kubernetes.io/zone", "us-east-1c"));
    let zones_of_web = |flags: &[&str]| -> HashSet<String> {
        let (plan, _) = bench.planned(0, &[&["--pods", &pods], flags].concat());
        let is_web = |pod: &Value| pod.as_str().unwrap().starts_with("default/web");
        let nodes = plan["nodes"].as_array().unwrap().iter();
        let with_web = nodes.filter(|node| node["pods"].as_array().unwrap().iter().any(is_web));
        with_web.map(|node| node["zone"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(zones_of_web(&[]), ["us-east-1c".to_owned()].into());
    assert!(!zones_of_web(&["--preferences", "ignore"]).contains("us-east-1c"));
}
