//! What pods of Kubernetes manifests refer to: groups, namespaces, priorities, claims.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

#[path = "fixture/manifest.rs"]
mod fixture;

use binpack::{LabelSelector, Namespaces, Pod, PreemptionPolicy, Requirement, key};
use fixture::{member, names, read, refused};

#[test]
fn pods_join_groups_of_volcano_and_scheduler_plugins() {
    let group = |api: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: {api}\nkind: PodGroup\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )
    };
    let yaml = [
        group(
            "scheduling.volcano.sh/v1beta1",
            "v",
            "minMember: 3, networkTopology: {highestTierAllowed: 1}",
        ),
        group("scheduling.x-k8s.io/v1alpha1", "x", "minMember: 2"),
        member("a", "annotations: {scheduling.k8s.io/group-name: v}", ""),
        member("b", "labels: {scheduling.x-k8s.io/pod-group: x}", ""),
        member("c", "labels: {pod-group.scheduling.sigs.k8s.io: x}", ""),
        member("d", "labels: {app: web}", ""),
    ];
    let read = read(&yaml.concat());
    let gangs: Vec<_> = read.gangs.iter().map(|gang| (&*gang.name, gang.min_member)).collect();
    assert_eq!(gangs, [("default/v", 3), ("default/x", 2)]);
    let of: Vec<_> = read.pods.iter().map(|pod| pod.gang.as_deref()).collect();
    assert_eq!(of, [Some("default/v"), Some("default/x"), Some("default/x"), None]);
    assert_eq!(read.disregarded, ["PodGroup spec.networkTopology"]);

    let lost = member("a", "labels: {scheduling.x-k8s.io/pod-group: lost}", "");
    assert_eq!(
        refused(&lost),
        "document 1, Pod default/a: metadata.labels.scheduling.x-k8s.io/pod-group names the group default/lost, which was not read: add it"
    );
    assert!(
        refused(&group("scheduling.x-k8s.io/v1alpha1", "x", "minMember: 0"))
            .contains("spec.minMember is 0")
    );
}

#[test]
fn pods_join_groups_of_kubernetes() {
    let yaml = [
        "apiVersion: scheduling.k8s.io/v1alpha2\nkind: PodGroup\nmetadata: {name: g}\nspec:\n  schedulingPolicy: {gang: {minCount: 4}}\n  schedulingConstraints: {topology: [{key: example.com/rack}]}\n".to_owned(),
        "---\napiVersion: scheduling.k8s.io/v1alpha2\nkind: PodGroup\nmetadata: {name: loose}\nspec: {schedulingPolicy: {basic: {}}}\n".to_owned(),
        "---\napiVersion: scheduling.k8s.io/v1alpha1\nkind: Workload\nmetadata: {name: w}\nspec: {podGroups: [{name: workers, policy: {gang: {minCount: 2}}}]}\n".to_owned(),
        member("a", "labels: {}", "schedulingGroup: {podGroupName: g}"),
        member("b", "labels: {}", "schedulingGroup: {podGroupName: loose}"),
        member("c", "labels: {}", "workloadRef: {name: w, podGroup: workers, podGroupReplicaKey: '7'}"),
    ];
    let read = read(&yaml.concat());
    let of: Vec<_> = read.pods.iter().map(|pod| pod.gang.as_deref()).collect();
    assert_eq!(of, [Some("default/g"), None, Some("default/w/workers/7")]);
    let gang = &read.gangs[0];
    assert_eq!(
        (&*gang.topology_keys[0], gang.topology_required, gang.min_member),
        ("example.com/rack", true, 4)
    );
    assert_eq!(read.gangs[1].min_member, 2);
}

#[test]
fn leader_worker_sets_are_gangs_of_a_leader_and_workers() {
    let set = "
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata:
  name: llm
  namespace: ml
  annotations: {leaderworkerset.sigs.k8s.io/exclusive-topology: rack}
spec:
  replicas: 2
  leaderWorkerTemplate:
    size: 3
    leaderTemplate: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}
    workerTemplate: {spec: {containers: [{resources: {requests: {cpu: 2}}}]}}
";
    let all = read(set);
    assert_eq!(
        names(&all.pods),
        ["ml/llm-0", "ml/llm-0-1", "ml/llm-0-2", "ml/llm-1", "ml/llm-1-1", "ml/llm-1-2"]
    );
    let cpu: Vec<u64> = all.pods.iter().map(|pod| pod.requests.cpu_milli).collect();
    assert_eq!(cpu, [1_000, 2_000, 2_000, 1_000, 2_000, 2_000]);
    let last = &all.pods[5];
    let label = |key: &str| &*last.labels[format!("leaderworkerset.sigs.k8s.io/{key}").as_str()];
    assert_eq!(["name", "group-index", "worker-index"].map(label), ["llm", "1", "2"]);
    assert_eq!(last.gang.as_deref(), Some("ml/llm-1"));
    let gang = &all.gangs[1];
    assert_eq!((&*gang.name, gang.min_member, &*gang.topology_keys[0]), ("ml/llm-1", 3, "rack"));
    assert!(gang.topology_required);
    let apart = &last.pod_anti_affinity[0];
    assert!(apart.selector.matches(&all.pods[0].labels), "the other group is kept away");
    assert!(!apart.selector.matches(&all.pods[3].labels), "its own is not");

    let workers_only = set.replace(
        "    leaderTemplate: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}\n",
        "",
    );
    assert!(read(&workers_only).pods.iter().all(|pod| pod.requests.cpu_milli == 2_000));
    let leaders_only = set.replace(
        "    workerTemplate: {spec: {containers: [{resources: {requests: {cpu: 2}}}]}}\n",
        "",
    );
    assert!(read(&leaders_only).pods.iter().all(|pod| pod.requests.cpu_milli == 1_000));
    assert!(
        refused(&set.replace("size: 3", "size: 0")).contains("spec.leaderWorkerTemplate.size is 0")
    );
}

#[test]
fn namespaces_are_selected_by_their_labels() {
    let namespace = |name: &str, team: &str| {
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{team: {team}}}}}\n"
        )
    };
    let pod = |selector: &str| {
        let term =
            format!("topologyKey: zone, labelSelector: {{matchLabels: {{app: db}}}}, {selector}");
        member(
            "a",
            "labels: {}",
            &format!(
                "affinity: {{podAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{{{term}}}]}}}}"
            ),
        )
    };
    let of = |selector: &str| {
        let all =
            [namespace("x", "ml"), namespace("y", "ml"), namespace("z", "web"), pod(selector)];
        let term = read(&all.concat()).pods.remove(0).pod_affinity.remove(0);
        assert_eq!(term.selector, LabelSelector::labels([("app", "db")]));
        term.namespaces
    };
    assert_eq!(of(""), Namespaces::Own);
    assert_eq!(of("namespaceSelector: {}"), Namespaces::All);
    assert_eq!(of("namespaces: [q]"), Namespaces::Listed(vec!["q".into()]));
    let both = of("namespaces: [q], namespaceSelector: {matchLabels: {team: ml}}");
    assert_eq!(both, Namespaces::Listed(vec!["q".into(), "x".into(), "y".into()]));
    let named = of("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: z}}");
    assert_eq!(named, Namespaces::Listed(vec!["z".into()]));
    assert!(
        refused(&pod("namespaceSelector: {matchLabels: {team: ml}}"))
            .ends_with("namespaceSelector matches no Namespace that was read: add the Namespace")
    );
}

#[test]
fn priorities_come_from_their_classes() {
    let class = |name: &str, fields: &str| {
        format!(
            "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {name}}}\n{fields}\n"
        )
    };
    let yaml = [
        class("high", "value: 1000"),
        class("usual", "value: 5\nglobalDefault: true"),
        class("calm", "value: 9\npreemptionPolicy: Never"),
        member("a", "labels: {}", "priorityClassName: high"),
        member("b", "labels: {}", "priorityClassName: system-node-critical"),
        member("c", "labels: {}", "priorityClassName: system-cluster-critical"),
        member("d", "labels: {}", "preemptionPolicy: Never"),
        member("e", "labels: {}", "priorityClassName: gone, priority: -7"),
        member("f", "labels: {}", "priorityClassName: calm"),
        member(
            "g",
            "labels: {}",
            "priorityClassName: calm, preemptionPolicy: PreemptLowerPriority",
        ),
        member("h", "labels: {}", "priorityClassName: calm, priority: 10"),
    ];
    let read = read(&yaml.concat());
    let priorities: Vec<i32> = read.pods.iter().map(|pod| pod.priority).collect();
    assert_eq!(priorities, [1_000, 2_000_001_000, 2_000_000_000, 5, -7, 9, 9, 10]);
    let never = |pod: &&Pod| pod.preemption_policy == PreemptionPolicy::Never;
    let calm: Vec<&str> = read.pods.iter().filter(never).map(|pod| &*pod.name).collect();
    assert_eq!(calm, ["default/d", "default/f", "default/h"]);
    let refusal = "is \"Perhaps\": write PreemptLowerPriority or Never";
    assert!(refused(&member("a", "labels: {}", "preemptionPolicy: Perhaps")).ends_with(refusal));
    assert!(refused(&class("a", "value: 1\npreemptionPolicy: Perhaps")).ends_with(refusal));
    assert_eq!(
        refused(&member("a", "labels: {}", "priorityClassName: gone")),
        "document 1, Pod default/a: spec.priorityClassName is \"gone\", which was not read: add the PriorityClass"
    );
    let two =
        [class("a", "value: 1\nglobalDefault: true"), class("b", "value: 2\nglobalDefault: true")];
    assert!(refused(&two.concat()).contains("globalDefault"));
}

#[test]
fn claims_are_volumes_of_their_class_or_of_what_they_are_bound_to() {
    let yaml = "
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers: [{name: c}]
  volumes:
  - {name: config, configMap: {name: x}}
  - {name: shared, persistentVolumeClaim: {claimName: shared}}
  - {name: old, persistentVolumeClaim: {claimName: old}}
  - {name: scratch, ephemeral: {volumeClaimTemplate: {spec: {storageClassName: fast}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared}
spec: {}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-old}
spec: {awsElasticBlockStore: {volumeID: vol-9}, claimRef: {namespace: default, name: old}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: ebs.csi.aws.com
allowedTopologies: [{matchLabelExpressions: [{key: topology.kubernetes.io/zone, values: [a, b]}]}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: usual, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}
provisioner: kubernetes.io/gce-pd
";
    let pod = read(yaml).pods.remove(0);
    let volumes: Vec<_> =
        pod.volumes.iter().map(|v| (&*v.driver, &*v.handle, v.topologies.len())).collect();
    let expected = [
        ("pd.csi.storage.gke.io", "default/shared", 0),
        ("ebs.csi.aws.com", "vol-9", 0),
        ("ebs.csi.aws.com", "default/a-scratch", 1),
    ];
    assert_eq!(volumes, expected);
    assert_eq!(pod.volumes[2].topologies[0], [Requirement::is_in(key::ZONE, ["a", "b"])]);
}
