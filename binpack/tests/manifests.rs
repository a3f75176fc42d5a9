//! Kinds of Kubernetes manifests, each read into the planner's model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

#[path = "fixture/manifest.rs"]
mod fixture;

use binpack::{Effect, Manifests, MinValues, Node, Requirement, Resources, Taint, Toleration, key};
use fixture::{member, names, read, refused};

const GIB: u64 = 1 << 30;

/// A document with a template of one container below `spec`.
fn workload(kind: &str, name: &str, spec: &str) -> String {
    let api = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    format!(
        "---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      containers: [{{name: c, resources: {{requests: {{cpu: 100m}}}}}}]\n"
    )
}

#[test]
fn deployments_and_replica_sets_make_alike_pods() {
    let yaml = [
        workload("Deployment", "web", "replicas: 2"),
        workload("ReplicaSet", "old", "minReadySeconds: 1"),
        workload("Deployment", "none", "replicas: 0"),
    ];
    let read = read(&yaml.concat());
    assert_eq!(names(&read.pods), ["default/old-0", "default/web-0", "default/web-1"]);
    assert_eq!(read.pods[1].labels, binpack::labels([("app", "web")]));
    assert_eq!(read.pods[1].requests, Resources::new(100, 0));
    assert_eq!(read.disregarded, [""; 0]);
}

#[test]
fn stateful_sets_name_their_pods_and_give_each_its_claims() {
    let spec =
        "replicas: 2\n  ordinals: {start: 3}\n  volumeClaimTemplates: [{metadata: {name: data}}]";
    let claims = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data-db-3}\nspec: {volumeName: pv-3}\n---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {name: pv-3}\nspec:\n  csi: {driver: ebs.csi.aws.com, volumeHandle: vol-3}\n  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: topology.ebs.csi.aws.com/zone, operator: In, values: [us-east-1a]}]}]}}\n";
    let read = read(&format!("{}{claims}", workload("StatefulSet", "db", spec)));
    assert_eq!(names(&read.pods), ["default/db-3", "default/db-4"]);
    assert_eq!(&*read.pods[0].labels["statefulset.kubernetes.io/pod-name"], "db-3");
    let bound = &read.pods[0].volumes[0];
    assert_eq!((&*bound.driver, &*bound.handle), ("ebs.csi.aws.com", "vol-3"));
    assert_eq!(bound.topologies, [vec![Requirement::is_in(key::ZONE, ["us-east-1a"])]]);
    let unbound = &read.pods[1].volumes[0];
    assert_eq!((&*unbound.driver, &*unbound.handle), ("unknown", "default/data-db-4"));
    assert!(unbound.topologies.is_empty());
}

#[test]
fn jobs_run_what_is_left_of_them() {
    let yaml = [
        workload("Job", "train", "parallelism: 3\n  completions: 5"),
        workload("Job", "last", "parallelism: 3\n  completions: 2"),
        workload("Job", "one", "backoffLimit: 1"),
        workload("Job", "later", "suspend: true"),
        format!(
            "{}status: {{succeeded: 3}}\n",
            workload("Job", "half", "parallelism: 4\n  completions: 5")
        ),
        format!(
            "{}status: {{conditions: [{{type: Complete, status: 'True'}}]}}\n",
            workload("Job", "over", "parallelism: 4")
        ),
    ];
    let read = read(&yaml.concat());
    let count = |name: &str| read.pods.iter().filter(|pod| pod.name.contains(name)).count();
    let counts = ["train", "last", "one", "later", "half", "over"].map(count);
    assert_eq!(counts, [3, 2, 1, 0, 2, 0]);
    assert_eq!(&*read.pods[0].labels["batch.kubernetes.io/job-name"], "train");
    assert_eq!(read.disregarded, ["Jobs that are suspended or over"]);
}

#[test]
fn daemon_sets_become_daemons() {
    let read = read(&workload("DaemonSet", "agent", "revisionHistoryLimit: 1"));
    assert!(read.pods.is_empty());
    assert_eq!(names(&read.daemons), ["default/agent"]);
    let accepted =
        Toleration::exists("node.kubernetes.io/unschedulable").for_effect(Effect::NoSchedule);
    assert!(read.daemons[0].tolerations.contains(&accepted));
    let gpu = workload("DaemonSet", "gpu", "revisionHistoryLimit: 1")
        .replace("cpu: 100m", "nvidia.com/gpu: 1");
    assert!(refused(&gpu).contains("daemons hold no GPU"));
}

#[test]
fn nodes_have_what_runs_on_them() {
    let yaml = "
apiVersion: v1
kind: Node
metadata: {name: n-1, labels: {disk: ssd, kubernetes.io/hostname: host-1}}
spec: {unschedulable: true, taints: [{key: gpu, effect: NoExecute}]}
status:
  capacity: {cpu: '8', memory: 32Gi, pods: '58', nvidia.com/gpu: '2', ephemeral-storage: 20Gi}
  allocatable: {cpu: 7910m, memory: '33000000000', pods: '58', nvidia.com/gpu: '2', ephemeral-storage: 18Gi}
  conditions: [{type: Ready, status: 'True'}]
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: n-1}
spec: {drivers: [{name: ebs.csi.aws.com, allocatable: {count: 25}}, {name: efs.csi.aws.com}]}
---
apiVersion: v1
kind: Node
metadata: {name: n-2}
status: {allocatable: {cpu: 4}, conditions: [{type: Ready, status: Unknown}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a, ownerReferences: [{kind: DaemonSet, name: agent, controller: true}]}
spec: {nodeName: n-1, containers: [{resources: {requests: {cpu: 1}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b}
spec: {nodeName: n-1, containers: [{resources: {limits: {nvidia.com/gpu: 1}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: lost}
spec: {nodeName: n-2, containers: [{name: c}]}
";
    let read = read(yaml);
    assert!(read.pods.is_empty());
    let [node] = read.nodes.as_slice() else { panic!("one node is ready") };
    assert_eq!((&*node.name, &*node.labels["disk"]), ("n-1", "ssd"));
    let taints = [
        Taint::new("gpu", "", Effect::NoExecute),
        Taint::new("node.kubernetes.io/unschedulable", "", Effect::NoSchedule),
    ];
    assert_eq!(node.taints, taints);
    let capacity = Resources::new(8_000, 32 * GIB).with_pods(58).with_gpu_milli(2_000);
    assert_eq!(node.capacity, capacity.with_ephemeral_bytes(20 * GIB));
    assert_eq!(node.allocatable.cpu_milli, 7_910);
    assert_eq!(node.used, Resources::new(1_000, 0).with_pods(2).with_gpu_milli(1_000));
    assert_eq!(node.gpu_used_milli[0], 1_000);
    let running: Vec<_> =
        node.pods.iter().map(|r| (&*r.pod.name, r.daemon, r.gpus.clone())).collect();
    assert_eq!(running, [("default/a", true, vec![]), ("default/b", false, vec![0])]);
    let limits: Vec<_> =
        node.volume_limits.iter().map(|(driver, count)| (&**driver, *count)).collect();
    assert_eq!(limits, [("ebs.csi.aws.com", 25)]);
    assert_eq!(
        read.disregarded,
        [
            "nodes that are not ready or being deleted",
            "pods on nodes that were not read or are not ready"
        ]
    );
}

#[test]
fn what_runs_counts_even_where_the_node_has_less() {
    let yaml = "
apiVersion: v1
kind: Node
metadata: {name: n}
status: {capacity: {cpu: 1, pods: 1, nvidia.com/gpu: 1}}
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {nodeName: n, containers: [{resources: {requests: {cpu: 900m, nvidia.com/gpu: 1}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b}
spec: {nodeName: n, containers: [{resources: {requests: {cpu: 900m, nvidia.com/gpu: 1}}}]}
";
    let nodes: Vec<Node> = read(yaml).nodes;
    assert_eq!(nodes[0].used, Resources::new(1_800, 0).with_pods(2).with_gpu_milli(1_000));
    assert_eq!((nodes[0].pods.len(), nodes[0].gpu_used_milli.clone()), (2, vec![1_000]));
}

#[test]
fn node_pools_of_karpenter() {
    let yaml = "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: gpu}
spec:
  weight: 10
  limits: {cpu: '1000', memory: 4000Gi, nvidia.com/gpu: 16, nodes: 5, example.com/nic: 3, pods: 9}
  disruption:
    consolidationPolicy: WhenEmptyOrUnderutilized
    consolidateAfter: 1m
    budgets: [{nodes: 10%}, {nodes: '0', schedule: '@daily', duration: 10m, reasons: [Drifted]}]
  template:
    metadata: {labels: {team: ml}}
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: 24h
      terminationGracePeriod: 5m
      taints: [{key: nvidia.com/gpu, value: 'true', effect: NoSchedule}]
      startupTaints: [{key: starting, effect: NoSchedule}]
      requirements:
      - {key: karpenter.k8s.aws/instance-family, operator: In, values: [g5, g6], minValues: 2}
      - {key: karpenter.k8s.aws/instance-generation, operator: Gt, values: ['4']}
      - {key: beta.kubernetes.io/arch, operator: Exists}
";
    let read = read(yaml);
    let pool = &read.pools[0];
    assert_eq!((&*pool.name, pool.weight, &*pool.labels["team"]), ("gpu", 10, "ml"));
    let limits = &pool.limits;
    assert_eq!(
        (limits.cpu_milli, limits.memory_bytes, limits.gpu_milli, limits.nodes),
        (Some(1_000_000), Some(4_000 * GIB), Some(16_000), Some(5))
    );
    assert_eq!(limits.extended["example.com/nic"], 3);
    assert_eq!(pool.taints, [Taint::new("nvidia.com/gpu", "true", Effect::NoSchedule)]);
    assert_eq!(pool.min_values, [MinValues { key: key::INSTANCE_FAMILY.into(), count: 2 }]);
    let expected = [
        Requirement::is_in(key::INSTANCE_FAMILY, ["g5", "g6"]),
        Requirement::greater_than(key::INSTANCE_GENERATION, 4),
        Requirement::exists(key::ARCH),
    ];
    assert_eq!(pool.requirements, expected);
    assert_eq!(pool.expire_after_secs, Some(86_400));
    let disregarded = [
        "NodePool spec.disruption",
        "NodePool spec.limits.pods",
        "NodePool spec.template.spec.startupTaints",
        "NodePool spec.template.spec.terminationGracePeriod",
    ];
    assert_eq!(read.disregarded, disregarded);

    let with = |from: &str, to: &str| refused(&yaml.replace(from, to));
    assert_eq!(
        with("24h", "1d"),
        "document 1, NodePool gpu: spec.template.spec.expireAfter is \"1d\": write a duration, such as 720h or 1h30m"
    );
    assert!(
        with("minValues: 2", "minValues: 3")
            .contains("requirements[0].minValues is 3, and only 2 are listed")
    );
    assert!(
        with("WhenEmptyOrUnderutilized", "Always")
            .contains("spec.disruption.consolidationPolicy is `Always`")
    );
    assert!(with("nodes: 10%", "nodes: 110%").contains("budgets[0].nodes is \"110%\""));
    assert!(with("schedule: '@daily', ", "").contains("budgets[1].schedule and duration"));
    assert!(with("['4']", "['four']").contains("give exactly one 64-bit integer"));
    assert!(with("weight: 10", "weight: 101").contains("spec.weight is 101"));
    assert!(
        with("sh/v1\n", "sh/v1beta1\n")
            .contains("apiVersion is karpenter.sh/v1beta1, and v1 is what can be read")
    );
    let never = yaml.replace("24h", "Never");
    assert_eq!(Manifests::read(never.as_bytes()).unwrap().pools[0].expire_after_secs, None);
    let unsaid = yaml.replace("expireAfter: 24h", "x: y");
    assert_eq!(
        Manifests::read(unsaid.as_bytes()).unwrap().pools[0].expire_after_secs,
        Some(720 * 3_600)
    );
}

#[test]
fn a_dump_of_a_cluster_has_each_pod_once() {
    let yaml = [
        workload("Deployment", "web", "replicas: 3"),
        workload("ReplicaSet", "web-5d", "replicas: 3").replace(
            "{name: web-5d}",
            "{name: web-5d, ownerReferences: [{kind: Deployment, name: web, controller: true}]}",
        ),
        member(
            "web-5d-x1",
            "ownerReferences: [{kind: ReplicaSet, name: web-5d, controller: true}]",
            "",
        ),
        workload("Deployment", "api", "replicas: 2"),
        member(
            "api-6f-x1",
            "labels: {pod-template-hash: 6f}, ownerReferences: [{kind: ReplicaSet, name: api-6f, controller: true}]",
            "",
        ),
        workload("StatefulSet", "db", "replicas: 2"),
        member("db-1", "ownerReferences: [{kind: StatefulSet, name: db, controller: true}]", ""),
        format!("{}status: {{phase: Succeeded}}\n", member("done", "labels: {}", "")),
    ];
    let read = read(&yaml.concat());
    let mut all = names(&read.pods);
    all.sort_unstable();
    let expected = [
        "default/api-0",
        "default/api-6f-x1",
        "default/db-0",
        "default/db-1",
        "default/web-5d-0",
        "default/web-5d-1",
        "default/web-5d-x1",
    ];
    assert_eq!(all, expected);
}

#[test]
fn a_node_claim_is_a_node_on_its_way_with_the_pods_that_it_names() {
    let claim = "---\napiVersion: karpenter.sh/v1\nkind: NodeClaim\nmetadata:\n  name: c\n  annotations:\n    binpack.trestle/node: '{\"labels\": {\"a\": \"b\"}, \"taints\": [{\"key\": \"t\", \"value\": \"\", \"effect\": \"NoSchedule\"}], \"capacity\": {\"cpu_milli\": 4000, \"pods\": 9}, \"allocatable\": {\"cpu_milli\": 3000, \"pods\": 9}, \"daemons\": {\"cpu_milli\": 100, \"pods\": 1}, \"priceMicros\": 5}'\n    binpack.trestle/pods: '{\"default/here\": \"u1\", \"default/anew\": \"u2\"}'\n";
    let yaml = [
        claim.to_owned(),
        member("here", "uid: u1", "tolerations: [{operator: Exists}]"),
        member("anew", "uid: u3", ""),
    ];
    let read = read(&yaml.concat());
    assert_eq!(names(&read.pods), ["default/anew"]);
    let [node] = &read.nodes[..] else { panic!("{:?}", read.nodes) };
    assert_eq!((&*node.name, node.price_micros), ("nodeclaim/c", Some(5)));
    assert_eq!(node.capacity, Resources::new(4_000, 0).with_pods(9));
    assert_eq!(node.used, Resources::new(100, 0).with_pods(2));
    assert_eq!(node.taints, [Taint::new("t", "", Effect::NoSchedule)]);
    assert_eq!(node.labels, binpack::labels([("a", "b")]));

    let wrong = claim.replace("4000", "-1");
    assert!(
        refused(&wrong).starts_with(
            "document 1, NodeClaim c: metadata.annotations.binpack.trestle/node can't be read"
        ),
        "{}",
        refused(&wrong)
    );
    let absurd = claim.replace("3000", "5000");
    assert!(refused(&absurd).contains("allocatable is above the capacity"));
}

#[test]
fn a_disruption_budget_is_what_its_controller_counted() {
    let budget = |rest: &str| {
        format!(
            "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: web}}\n{rest}\n"
        )
    };
    let read = read(&budget(
        "spec: {selector: {matchLabels: {app: web}}}\nstatus: {disruptionsAllowed: 3}",
    ));
    let [web] = &read.disruption_budgets[..] else { panic!("{:?}", read.disruption_budgets) };
    assert_eq!((&*web.namespace, &*web.name, web.disruptions_allowed), ("default", "web", 3));
    assert_eq!(web.selector.requirements, [Requirement::is_in("app", ["web"])]);
    assert!(self::read(&budget("spec: {}")).disruption_budgets.is_empty(), "it means no pods");
}
