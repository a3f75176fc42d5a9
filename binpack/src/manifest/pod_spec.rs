//! The fields of a pod that matter to a plan.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::affinity::Affinity;
use super::amounts::Amounts;
use super::decode::{List, Strings};
use super::object::Meta;
use super::selectors::LabelSelector;

/// `spec` of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) containers: List<Container>,
    pub(super) init_containers: List<Container>,
    pub(super) resources: Option<ContainerResources>,
    pub(super) overhead: Option<Amounts>,
    pub(super) node_name: Option<String>,
    pub(super) node_selector: Strings,
    pub(super) affinity: Option<Affinity>,
    pub(super) topology_spread_constraints: List<SpreadConstraint>,
    pub(super) tolerations: List<TolerationSpec>,
    pub(super) host_network: Option<bool>,
    pub(super) priority: Option<i32>,
    pub(super) priority_class_name: Option<String>,
    pub(super) preemption_policy: Option<String>,
    pub(super) scheduling_gates: List<IgnoredAny>,
    pub(super) scheduling_group: Option<SchedulingGroup>,
    pub(super) workload_ref: Option<WorkloadRef>,
    pub(super) volumes: List<PodVolume>,
}

/// A container; one of `initContainers` that is always restarted is a sidecar.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) resources: Option<ContainerResources>,
    pub(super) ports: List<ContainerPort>,
    restart_policy: Option<String>,
}

impl Container {
    /// Whether it, as an init container, runs beside the containers (KEP-753).
    pub(super) fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerResources {
    pub(super) requests: Option<Amounts>,
    pub(super) limits: Option<Amounts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerPort {
    #[serde(rename = "containerPort")]
    pub(super) port: Option<u16>,
    pub(super) host_port: Option<u16>,
    #[serde(rename = "hostIP")]
    pub(super) host_ip: Option<String>,
    pub(super) protocol: Option<ProtocolName>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ProtocolName {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum EffectName {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
    /// A toleration of every effect.
    #[serde(rename = "")]
    Every,
}

/// An element of `tolerations`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TolerationSpec {
    pub(super) key: Option<String>,
    pub(super) operator: Option<TolerationOperatorName>,
    pub(super) value: Option<String>,
    pub(super) effect: Option<EffectName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum TolerationOperatorName {
    /// An empty operator is this one too.
    #[serde(alias = "")]
    Equal,
    Exists,
}

/// An element of `taints`.
#[derive(Debug, Deserialize)]
pub(super) struct TaintSpec {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) effect: EffectName,
}

/// An element of `topologySpreadConstraints`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpreadConstraint {
    pub(super) max_skew: u32,
    pub(super) topology_key: String,
    pub(super) when_unsatisfiable: WhenName,
    pub(super) label_selector: Option<LabelSelector>,
    pub(super) min_domains: Option<u32>,
    pub(super) node_affinity_policy: Option<PolicyName>,
    pub(super) node_taints_policy: Option<PolicyName>,
    #[serde(default)]
    pub(super) match_label_keys: List<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum WhenName {
    DoNotSchedule,
    ScheduleAnyway,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum PolicyName {
    Honor,
    Ignore,
}

/// Which group of scheduling.k8s.io/v1alpha2 and later the pod is in.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SchedulingGroup {
    pub(super) pod_group_name: Option<String>,
}

/// Which group of a `Workload` of scheduling.k8s.io/v1alpha1 the pod is in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadRef {
    pub(super) name: String,
    pub(super) pod_group: String,
    pub(super) pod_group_replica_key: Option<String>,
}

/// A volume, as far as it has a claim.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodVolume {
    pub(super) name: String,
    pub(super) persistent_volume_claim: Option<ClaimSource>,
    pub(super) ephemeral: Option<EphemeralSource>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClaimSource {
    pub(super) claim_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct EphemeralSource {
    pub(super) volume_claim_template: Option<ClaimTemplate>,
}

/// The claim of a volume that each pod gets for itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClaimTemplate {
    pub(super) metadata: Option<Meta>,
    pub(super) spec: Option<ClaimSpec>,
}

/// `spec` of a `PersistentVolumeClaim`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClaimSpec {
    pub(super) volume_name: Option<String>,
    pub(super) storage_class_name: Option<String>,
}

/// `spec.template` of what makes pods.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodTemplate {
    pub(super) metadata: Option<Meta>,
    pub(super) spec: PodSpec,
}
