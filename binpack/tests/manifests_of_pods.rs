//! Fields of pods in Kubernetes manifests, and mistakes in them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

use binpack::{
    Effect, ErrorKind, HostPort, LabelSelector, Manifests, NodeInclusion, Pod, Protocol,
    Requirement, Resources, Toleration, Weighted, WhenUnsatisfiable, key,
};

fn manifest(metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, {metadata}}}\nspec:\n  containers: [{{name: c}}]\n{spec}\n"
    )
}

fn pod(metadata: &str, spec: &str) -> Pod {
    let read = Manifests::read(manifest(metadata, spec).as_bytes());
    read.unwrap_or_else(|error| panic!("{error}")).pods.remove(0)
}

fn refused(yaml: &str) -> String {
    let error = Manifests::read(yaml.as_bytes()).expect_err("the manifest is wrong");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

fn refused_spec(spec: &str) -> String {
    refused(&manifest("", spec))
}

#[test]
fn annotations_of_disruption() {
    let kept = pod(
        "annotations: {karpenter.sh/do-not-disrupt: 'true', controller.kubernetes.io/pod-deletion-cost: '-5'}",
        "",
    );
    assert!(kept.do_not_disrupt);
    assert_eq!(kept.deletion_cost, -5);
    let said =
        refused(&manifest("annotations: {controller.kubernetes.io/pod-deletion-cost: much}", ""));
    assert!(
        said.contains(
            "metadata.annotations.controller.kubernetes.io/pod-deletion-cost is \"much\""
        ),
        "{said}"
    );
}

#[test]
fn selectors_and_one_term_of_affinity_are_requirements() {
    let pod = pod(
        "",
        "  nodeSelector: {disk: ssd}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: cpu, operator: Gt, values: ['4']}, {key: old, operator: DoesNotExist}]
          matchFields: [{key: metadata.name, operator: In, values: [n-1]}]
        - {}
      preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 7, preference: {matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}}
      - {weight: 9, preference: {}}",
    );
    let expected = [
        Requirement::is_in("disk", ["ssd"]),
        Requirement::greater_than("cpu", 4),
        Requirement::does_not_exist("old"),
        Requirement::is_in(key::HOSTNAME, ["n-1"]),
    ];
    assert_eq!(pod.requirements, expected);
    assert!(pod.node_affinity.is_empty());
    let preferred = Weighted::new(7, vec![Requirement::not_in("zone", ["a"])]);
    assert_eq!(pod.preferences.node_affinity, [preferred]);
}

#[test]
fn several_terms_of_affinity_are_alternatives() {
    let required = |terms: &str| {
        format!(
            "  affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: {terms}}}}}}}"
        )
    };
    let zone = |zone: &str| {
        format!("{{matchExpressions: [{{key: zone, operator: In, values: [{zone}]}}]}}")
    };
    let pod = pod("", &required(&format!("[{}, {}]", zone("a"), zone("b"))));
    let alternatives =
        [vec![Requirement::is_in("zone", ["a"])], vec![Requirement::is_in("zone", ["b"])]];
    assert_eq!(pod.node_affinity, alternatives);
    assert!(refused_spec(&required("[{}]")).contains("nodeSelectorTerms has no condition"));
    let field = "[{matchFields: [{key: spec.x, operator: In, values: [a]}]}]";
    assert!(
        refused_spec(&required(field))
            .contains("nodeSelectorTerms[0].matchFields asks something else")
    );
}

#[test]
fn the_host_of_a_field_is_that_of_the_node() {
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n-1, labels: {kubernetes.io/hostname: host-1}}\nstatus: {capacity: {cpu: 1}}\n";
    let spec = "  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [n-1]}]}]}}}";
    let yaml = format!("{}{node}", manifest("", spec));
    let read = Manifests::read(yaml.as_bytes()).unwrap();
    assert_eq!(read.pods[0].requirements, [Requirement::is_in(key::HOSTNAME, ["host-1"])]);
}

#[test]
fn affinity_to_pods_and_keys_of_labels() {
    let pod = pod(
        "labels: {app: web, version: v2}",
        "  affinity:
    podAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 3
        podAffinityTerm: {topologyKey: zone, labelSelector: {matchLabels: {app: db}}}
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector: {matchExpressions: [{key: app, operator: Exists}]}
        matchLabelKeys: [app, absent]
        mismatchLabelKeys: [version]
      - topologyKey: zone",
    );
    let near = &pod.preferences.pod_affinity[0];
    assert_eq!((near.weight, &*near.preference.topology_key), (3, "zone"));
    let [apart] = pod.pod_anti_affinity.as_slice() else { panic!("the other has no selector") };
    let expected = vec![
        Requirement::exists("app"),
        Requirement::is_in("app", ["web"]),
        Requirement::not_in("version", ["v2"]),
    ];
    assert_eq!(apart.selector, LabelSelector { requirements: expected });
    let nobody = "  affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]}}";
    assert!(refused_spec(nobody).contains("labelSelector is not given, which no pod matches"));
    let zero = "  affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {topologyKey: zone, labelSelector: {}}}]}}";
    assert!(refused_spec(zero).contains(
        "document 1, Pod default/p: pod default/p: preferences.pod_affinity has weight 0"
    ));
}

#[test]
fn topology_spread() {
    let pod = pod(
        "labels: {app: web}",
        "  topologySpreadConstraints:
  - {maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, minDomains: 3,
     labelSelector: {matchLabels: {tier: front}}, matchLabelKeys: [app],
     nodeAffinityPolicy: Ignore, nodeTaintsPolicy: Honor}
  - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {}}
  - {maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}",
    );
    let [first, second] = pod.topology_spread.as_slice() else { panic!("one counts no pod") };
    assert_eq!((first.max_skew, first.min_domains), (2, Some(3)));
    assert_eq!(first.selector, LabelSelector::labels([("tier", "front"), ("app", "web")]));
    assert_eq!(
        (first.node_affinity_policy, first.node_taints_policy),
        (NodeInclusion::Ignore, NodeInclusion::Honor)
    );
    assert_eq!(second.when_unsatisfiable, WhenUnsatisfiable::ScheduleAnyway);
    assert_eq!(
        (second.node_affinity_policy, second.node_taints_policy),
        (NodeInclusion::Honor, NodeInclusion::Ignore)
    );
    assert!(
        refused_spec(
            "  topologySpreadConstraints: [{topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]"
        )
        .ends_with("spec.topologySpreadConstraints[0] has no `maxSkew`: write it")
    );
}

#[test]
fn tolerations_of_every_form() {
    let pod = pod(
        "",
        "  tolerations:
  - {key: gpu, operator: Exists, effect: NoSchedule}
  - {key: team, value: ml}
  - {operator: Exists}
  - {key: gone, operator: Equal, effect: '', tolerationSeconds: 5}",
    );
    let expected = [
        Toleration::exists("gpu").for_effect(Effect::NoSchedule),
        Toleration::equal("team", "ml"),
        Toleration::everything(),
        Toleration::equal("gone", ""),
    ];
    assert_eq!(pod.tolerations, expected);
    assert!(
        refused_spec("  tolerations: [{value: x}]")
            .contains("spec.tolerations[0] compares a value without a key")
    );
    assert!(
        refused_spec("  tolerations: [{key: a, operator: Exists, value: x}]")
            .contains("Exists compares none")
    );
    assert!(
        refused_spec("  tolerations: [{key: a, effect: Never}]")
            .contains("spec.tolerations[0].effect is `Never`, expected")
    );
}

#[test]
fn ports_of_the_host() {
    let yaml = |network: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  hostNetwork: {network}\n  containers:\n  - ports: [{{containerPort: 80, hostPort: 8080}}, {{containerPort: 53, protocol: UDP}}]\n  - ports: [{{containerPort: 80, hostPort: 8080}}, {{containerPort: 9, hostPort: 9, hostIP: 10.0.0.1}}]\n"
        )
    };
    let ports =
        |network| Manifests::read(yaml(network).as_bytes()).unwrap().pods.remove(0).host_ports;
    let local = HostPort { ip: "10.0.0.1".into(), ..HostPort::tcp(9) };
    assert_eq!(ports("false"), [HostPort::tcp(8_080), local.clone()]);
    let dns = HostPort { protocol: Protocol::Udp, ..HostPort::tcp(53) };
    assert_eq!(ports("true"), [HostPort::tcp(8_080), dns, local]);
}

#[test]
fn pods_behind_a_gate_are_left_out() {
    let yaml = manifest("", "  schedulingGates: [{name: quota}]");
    let read = Manifests::read(yaml.as_bytes()).unwrap();
    assert!(read.pods.is_empty());
    assert_eq!(read.disregarded, ["pods with schedulingGates, which are not scheduled yet"]);
}

#[test]
fn errors_name_document_object_and_field() {
    let deployment = |amount: &str| {
        format!(
            "kind: ConfigMap\napiVersion: v1\n---\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  template:\n    spec:\n      containers: [{{resources: {{requests: {{cpu: {amount}}}}}}}]\n"
        )
    };
    let field = "document 3, Deployment default/web: spec.template.spec.containers[0].resources.requests.cpu";
    for (amount, problem) in [
        ("'-1'", " is \"-1\": an amount can't be negative, write one from 0 on"),
        ("-1", " is \"-1\": an amount can't be negative, write one from 0 on"),
        (
            "1x",
            " is \"1x\": the unit is none of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, correct it",
        ),
        ("''", " is \"\": write a number with a unit, such as 500m, 1.5 or 2Gi"),
        ("[1]", " has an invalid type: sequence, expected a quantity such as 500m or 2Gi"),
        ("true", " has an invalid type: boolean `true`, expected a quantity such as 500m or 2Gi"),
        ("1e20", " is 9223372036854775807: that is above any machine, check its unit"),
    ] {
        assert_eq!(refused(&deployment(amount)), format!("{field}{problem}"));
    }
    let read = Manifests::read(deployment("0.5").as_bytes()).unwrap();
    assert_eq!(read.pods[0].requests, Resources::new(500, 0));
    assert_eq!(read.disregarded, ["kind ConfigMap of v1"]);
}

#[test]
fn mistakes_of_structure_are_refused() {
    assert!(refused(&manifest("labels: {on: yes}", "")).contains(
        "metadata.labels.true has an invalid type: boolean `true`, expected a string: quote it"
    ));
    assert!(
        refused_spec("  nodeSelector: {gpu: 8}")
            .contains("spec.nodeSelector.gpu has an invalid type")
    );
    let bare =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1}\n";
    assert!(
        refused(bare)
            .ends_with("spec.template.spec.containers is empty: a pod has at least one container")
    );
    assert!(
        refused(&bare.replace("replicas: 1", "replicas: -1"))
            .contains("spec.replicas has an invalid value: integer `-1`")
    );
    let absurd = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 9000000000, template: {spec: {containers: [{}]}}}\n";
    assert!(
        refused(absurd).ends_with("spec.replicas makes more than 1000000 pods in all: lower it")
    );
    let twice = format!("{}---\n{}", manifest("", ""), manifest("", ""));
    assert_eq!(
        refused(&twice),
        "document 2, Pod default/p: metadata.name is given twice: remove one"
    );
}

#[test]
fn files_and_folders_are_read_together() {
    let folder = std::env::temp_dir().join(format!("binpack-manifests-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("1-pod.yaml", &manifest("", "  priorityClassName: high"));
    write(
        "2-class.json",
        r#"{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 7}"#,
    );
    write("notes.txt", "not: [read");
    let read = Manifests::open(&folder);
    let apart = Manifests::open(folder.join("1-pod.yaml"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(read.unwrap().pods[0].priority, 7);
    let said = apart.expect_err("the class is in the other file").to_string();
    assert!(
        said.contains("1-pod.yaml document 1, Pod default/p: spec.priorityClassName"),
        "{said}"
    );
}

#[test]
fn what_was_read_apart_is_joined() {
    let of = |name: &str| {
        Manifests::read(
            manifest("", "  topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]").replace("name: p,", name).as_bytes(),
        )
        .unwrap()
    };
    let mut all = of("name: p,");
    all.extend(of("name: q,"));
    let names: Vec<&str> = all.pods.iter().map(|pod| &*pod.name).collect();
    assert_eq!(names, ["default/p", "default/q"]);
    assert_eq!(
        all.disregarded,
        ["topologySpreadConstraints without labelSelector, which count no pod"]
    );
}
