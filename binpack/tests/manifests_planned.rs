//! Manifests as people have them, planned end to end, and text that is none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

use std::sync::Arc;

use binpack::{BuiltinCatalogue, Config, Input, Manifests, Plan, Requirement, key, plan, validate};
use proptest::prelude::*;
use proptest::sample::select;

const GPU_POOL: &str = "
apiVersion: karpenter.sh/v1
kind: NodePool
metadata:
  name: training
spec:
  template:
    spec:
      requirements:
        - key: node.kubernetes.io/instance-type
          operator: In
          values: [p5.48xlarge, p4d.24xlarge]
      nodeClassRef:
        group: karpenter.k8s.aws
        kind: EC2NodeClass
        name: default
      expireAfter: 720h
";

const GPU_POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: trainer}
spec:
  containers:
  - name: main
    resources: {limits: {nvidia.com/gpu: 8, cpu: '16', memory: 100Gi}}
";

fn planned(documents: &[&str]) -> (Input, Plan) {
    let manifests = Manifests::read(documents.join("\n---\n").as_bytes());
    let manifests = manifests.unwrap_or_else(|error| panic!("{error}"));
    let input = manifests.into_input(BuiltinCatalogue::new().types());
    let plan = plan(&input, &Config::default()).expect("what is read is well formed");
    validate(&input, &plan).expect("the plan keeps every rule");
    (input, plan)
}

fn launched(plan: &Plan) -> Vec<&str> {
    plan.launches.iter().map(|launch| &*launch.instance_type).collect()
}

#[test]
fn a_pool_of_two_types_launches_one_of_them() {
    let (input, plan) = planned(&[GPU_POOL, GPU_POD]);
    let types = Requirement::is_in(key::INSTANCE_TYPE, ["p5.48xlarge", "p4d.24xlarge"]);
    assert_eq!(input.pools[0].requirements, [types]);
    assert_eq!(input.pools[0].expire_after_secs, Some(720 * 3_600));
    assert_eq!(launched(&plan), ["p4d.24xlarge"], "the cheaper one that holds it");
    assert!(plan.unplaced.is_empty());
    let more = GPU_POD.replace("100Gi", "1500Gi");
    let (_, plan) = planned(&[GPU_POOL, &more]);
    assert_eq!(launched(&plan), ["p5.48xlarge"], "the other one has not that much memory");
}

#[test]
fn a_leader_worker_set_with_only_a_leader_template_has_size_members() {
    let set = "
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata:
  name: vllm
spec:
  replicas: 1
  leaderWorkerTemplate:
    size: 8
    leaderTemplate:
      metadata:
        labels: {role: leader}
      spec:
        containers:
        - name: vllm
          image: vllm/vllm-openai
          resources:
            limits:
              nvidia.com/gpu: '8'
              memory: 500Gi
";
    let (input, plan) = planned(&[GPU_POOL, set]);
    assert_eq!(input.pods.len(), 8);
    assert_eq!((input.gangs.len(), input.gangs[0].min_member), (1, 8));
    for pod in &input.pods {
        assert_eq!(pod.gang.as_deref(), Some("default/vllm-0"));
        assert_eq!((pod.requests.gpu_milli, pod.requests.memory_bytes), (8_000, 500 << 30));
        assert_eq!(&*pod.labels["role"], "leader");
    }
    assert!(plan.unplaced.is_empty());
    assert_eq!(launched(&plan), ["p4d.24xlarge"; 8]);
}

#[test]
fn limits_without_requests_are_what_is_planned_for() {
    let deployment = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: inference, namespace: ml}
spec:
  replicas: 3
  selector: {matchLabels: {app: inference}}
  template:
    metadata: {labels: {app: inference}}
    spec:
      containers:
      - name: server
        resources: {limits: {cpu: '8', memory: 64Gi, nvidia.com/gpu: 4}}
";
    let (input, plan) = planned(&[GPU_POOL, deployment]);
    assert!(input.pods.iter().all(|pod| {
        let requests = &pod.requests;
        (requests.cpu_milli, requests.memory_bytes, requests.gpu_milli) == (8_000, 64 << 30, 4_000)
    }));
    assert!(plan.unplaced.is_empty());
    assert_eq!(launched(&plan), ["p4d.24xlarge"; 2], "two pods share the eight GPUs of one");
}

#[test]
fn yaml_and_json_of_the_same_objects_are_the_same() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trainer"}, "spec": {"containers": [
            {"name": "main", "resources": {"limits": {"nvidia.com/gpu": "8", "cpu": 16, "memory": "100Gi"}}}
        ]}}
    ]}"#;
    let of_json = Manifests::read(json.as_bytes()).unwrap();
    assert_eq!(of_json, Manifests::read(GPU_POD.as_bytes()).unwrap());
    let array = format!("[{json}]");
    assert_eq!(of_json, Manifests::read(array.as_bytes()).unwrap());
}

/// Whatever is read, a plan accepts it.
fn well_formed(text: &[u8]) {
    if let Ok(manifests) = Manifests::read(text) {
        manifests.into_input(Arc::default()).check().expect("what is read is well formed");
    }
}

/// Values that fit into some field and not into others.
fn any_value() -> impl Strategy<Value = String> {
    let texts = vec![
        "",
        "~",
        "true",
        "-1",
        "0",
        "1",
        "2",
        "3.5",
        "100m",
        "2Gi",
        "1e3",
        "9999999999999",
        "web",
        "In",
        "Gt",
        "Exists",
        "NoSchedule",
        "Always",
        "720h",
        "Never",
        "{}",
        "[]",
        "[a]",
        "[{}]",
        "{a: b}",
        "{cpu: 1, nvidia.com/gpu: 2}",
        "[{key: a, operator: In, values: [b]}]",
        "'5'",
    ];
    select(texts).prop_map(str::to_owned)
}

/// Every kind with every field, each with a hole for a value.
const SHAPES: [&str; 8] = [
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: @, annotations: @}\nspec: {containers: [{resources: {requests: @, limits: @}, ports: @}], initContainers: @, nodeName: n, nodeSelector: @, tolerations: @, priority: @, overhead: @, volumes: @, topologySpreadConstraints: @, affinity: @}",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: @}\nspec: {replicas: @, template: {metadata: @, spec: {containers: [{}], affinity: {nodeAffinity: @, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: @, labelSelector: {matchExpressions: @}}]}}}}}",
    "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: d}\nspec: {replicas: 2, ordinals: @, volumeClaimTemplates: @, template: {spec: {containers: [{}], tolerations: [{key: @, operator: @, value: @, effect: @}]}}}",
    "apiVersion: batch/v1\nkind: Job\nmetadata: {name: d}\nspec: {parallelism: 2, completions: @, suspend: @, template: {spec: {containers: [{}], topologySpreadConstraints: [{maxSkew: @, topologyKey: @, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]}}}",
    "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: k}\nspec: {weight: @, limits: @, disruption: @, template: {metadata: {labels: @}, spec: {taints: @, expireAfter: @, requirements: [{key: @, operator: @, values: @, minValues: @}]}}}",
    "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: @}\nspec: {taints: @, unschedulable: @}\nstatus: {capacity: {cpu: @, nvidia.com/gpu: @, x: @}, allocatable: {cpu: @}}",
    "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nmetadata: {name: d}\nspec: {replicas: 2, leaderWorkerTemplate: {size: @, leaderTemplate: {metadata: {labels: @}, spec: {containers: [{resources: {limits: @}}]}}}}",
    "apiVersion: scheduling.x-k8s.io/v1alpha1\nkind: PodGroup\nmetadata: {name: @}\nspec: {minMember: @}",
];

fn any_document() -> impl Strategy<Value = String> {
    (select(&SHAPES[..]), prop::collection::vec(any_value(), 16), 0..16_usize).prop_map(
        |(shape, values, strange)| {
            let mut holes = values.into_iter().enumerate();
            let mut parts = shape.split('@');
            let mut text = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                // One hole or two have a value, for with more of them nothing would be read.
                match holes.next() {
                    Some((hole, value)) if hole == strange || hole == strange / 2 => text += &value,
                    _ => text += "~",
                }
                text += part;
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn strange_values_are_read_or_refused(documents in prop::collection::vec(any_document(), 1..4)) {
        well_formed(documents.join("\n---\n").as_bytes());
    }

    #[test]
    fn changed_bytes_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = [GPU_POOL, GPU_POD].join("\n---\n").into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        well_formed(&bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        well_formed(&bytes);
    }
}
