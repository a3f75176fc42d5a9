//! The objects in the store: JSON in the shape of Kubernetes', cut to what the stack needs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use binpack::{Effect, Node, Operator, Pod, Requirement, Resources, Taint, Toleration};
use binpack::{Launch, TolerationOperator};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where nodes are kept.
pub const NODES: &str = "/registry/minions/";
/// Where pods are kept, by namespace and name.
pub const PODS: &str = "/registry/pods/";
/// Where services are kept, by namespace and name.
pub const SERVICES: &str = "/registry/services/specs/";
/// The one namespace of the examples.
pub const NAMESPACE: &str = "default";
/// The label that carries a node's price in millionths of a dollar per hour.
pub const PRICE: &str = "trestle/price-micros-per-hour";

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodObject {
    /// Its name and labels.
    pub metadata: Metadata,
    /// What it asks for and where it was bound.
    pub spec: PodSpec,
    /// How far it has come.
    pub status: PodStatus,
}

/// A name with labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The name, unique among objects of its kind.
    pub name: String,
    /// The labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Metadata {
    /// A name without labels.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: BTreeMap::new() }
    }
}

/// What a pod asks for and where it was bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The node it was bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The node's GPUs that it was given, by index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
    /// What it requests, by the resource's name, in the planner's units.
    pub requests: BTreeMap<String, u64>,
    /// Conditions on its node's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<RequirementSpec>,
    /// Taints that it accepts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<TolerationSpec>,
    /// The higher goes first.
    #[serde(default)]
    pub priority: i32,
}

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementSpec {
    key: String,
    operator: OperatorName,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum OperatorName {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

/// A taint that a pod accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TolerationSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effect: Option<EffectName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum EffectName {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// How far a pod has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Its phase.
    pub phase: Phase,
}

/// A pod's phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It waits for a node or for its image.
    #[default]
    Pending,
    /// Its node has started it.
    Running,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeObject {
    /// Its name and labels.
    pub metadata: Metadata,
    /// Its taints.
    pub spec: NodeSpec,
    /// What it has.
    pub status: NodeStatus,
}

/// A node's taints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taints: Vec<TaintSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TaintSpec {
    key: String,
    value: String,
    effect: EffectName,
}

/// What a node has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// What the machine has, by the resource's name, in the planner's units.
    pub capacity: BTreeMap<String, u64>,
    /// What pods and daemons may use, by the resource's name, in the planner's units.
    pub allocatable: BTreeMap<String, u64>,
    /// What daemons use of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub daemons: BTreeMap<String, u64>,
}

/// A service with one virtual address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceObject {
    /// Its name and labels.
    pub metadata: Metadata,
    /// Its virtual address.
    pub cluster_ip: Ipv4Addr,
    /// The port that it listens on.
    pub port: u16,
}

impl PodObject {
    /// A pending pod as the planner's own type describes it.
    #[must_use]
    pub fn pending(pod: &Pod) -> Self {
        let spec = PodSpec {
            requests: amounts(&pod.requests),
            requirements: pod.requirements.iter().map(RequirementSpec::from).collect(),
            tolerations: pod.tolerations.iter().map(TolerationSpec::from).collect(),
            priority: pod.priority,
            ..PodSpec::default()
        };
        let metadata = Metadata::new(&*pod.name);
        Self { metadata, spec, status: PodStatus::default() }
    }

    /// What it requests.
    #[must_use]
    pub fn requests(&self) -> Resources {
        resources(&self.spec.requests)
    }

    /// The pod as the planner knows it.
    #[must_use]
    pub fn pod(&self) -> Pod {
        let mut pod = Pod::new(self.metadata.name.as_str(), self.requests());
        pod.requirements = self.spec.requirements.iter().map(Requirement::from).collect();
        pod.tolerations = self.spec.tolerations.iter().map(Toleration::from).collect();
        pod.priority = self.spec.priority;
        pod
    }
}

impl NodeObject {
    /// A node that was there before.
    #[must_use]
    pub fn of(node: &Node, daemons: &Resources) -> Self {
        let labels = node.labels.iter();
        let labels = labels.map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let taints = node.taints.iter().map(TaintSpec::from).collect();
        Self {
            metadata: Metadata { name: node.name.to_string(), labels },
            spec: NodeSpec { taints },
            status: NodeStatus {
                capacity: amounts(&node.capacity),
                allocatable: amounts(&node.allocatable),
                daemons: amounts(daemons),
            },
        }
    }

    /// The node that a launch makes.
    #[must_use]
    pub fn launched(launch: &Launch, name: &str) -> Self {
        let mut object = Self::of(&launch.node(name), &launch.daemon_overhead);
        object.metadata.labels.insert(PRICE.to_owned(), launch.price_micros.to_string());
        object
    }

    /// The node with its daemons and no pod.
    #[must_use]
    pub fn node(&self) -> Node {
        let name = self.metadata.name.as_str();
        let mut node = Node::new(name, resources(&self.status.allocatable))
            .with_capacity(resources(&self.status.capacity));
        let labels = self.metadata.labels.iter();
        node.labels = binpack::labels(labels.map(|(key, value)| (key.as_str(), value.as_str())));
        node.taints = self.spec.taints.iter().map(Taint::from).collect();
        node.used = resources(&self.status.daemons);
        node
    }

    /// Its price in millionths of a dollar per hour; zero if it has none.
    #[must_use]
    pub fn price_micros(&self) -> u64 {
        self.metadata.labels.get(PRICE).and_then(|price| price.parse().ok()).unwrap_or(0)
    }
}

/// The key of a node.
#[must_use]
pub fn node_key(name: &str) -> Bytes {
    format!("{NODES}{name}").into()
}

/// The key of a pod.
#[must_use]
pub fn pod_key(name: &str) -> Bytes {
    format!("{PODS}{NAMESPACE}/{name}").into()
}

/// The key of a service.
#[must_use]
pub fn service_key(name: &str) -> Bytes {
    format!("{SERVICES}{NAMESPACE}/{name}").into()
}

/// An object's bytes.
///
/// # Errors
/// Never for the types of this module: their maps have strings as keys.
pub fn encode(object: &impl Serialize) -> serde_json::Result<Bytes> {
    serde_json::to_vec(object).map(Bytes::from)
}

/// An object from its bytes.
///
/// # Errors
/// If the bytes are not such an object.
pub fn decode<T: DeserializeOwned>(value: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(value)
}

/// The name of the node that a pod is bound to, without decoding the rest of it.
#[must_use]
pub fn node_name(pod: &[u8]) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Bound {
        spec: BoundSpec,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct BoundSpec {
        node_name: Option<String>,
    }
    serde_json::from_slice::<Bound>(pod).ok()?.spec.node_name.map(Bytes::from)
}

fn amounts(resources: &Resources) -> BTreeMap<String, u64> {
    let used = resources.amounts().filter(|(_, amount)| *amount > 0);
    used.map(|(name, amount)| (name.to_owned(), amount)).collect()
}

fn resources(amounts: &BTreeMap<String, u64>) -> Resources {
    Resources::from_amounts(amounts.iter().map(|(name, amount)| (name.as_str(), *amount)))
}

/// Both directions between an enum of the planner and its name in JSON.
macro_rules! named {
    ($name:ident, $of:ident, $($variant:ident),+) => {
        impl From<$of> for $name {
            fn from(of: $of) -> Self {
                match of { $($of::$variant => Self::$variant),+ }
            }
        }
        impl From<$name> for $of {
            fn from(name: $name) -> Self {
                match name { $($name::$variant => Self::$variant),+ }
            }
        }
    };
}

named!(OperatorName, Operator, In, NotIn, Exists, DoesNotExist, Gt, Lt);
named!(EffectName, Effect, NoSchedule, PreferNoSchedule, NoExecute);

impl From<&Requirement> for RequirementSpec {
    fn from(requirement: &Requirement) -> Self {
        Self {
            key: requirement.key.to_string(),
            operator: requirement.operator.into(),
            values: requirement.values.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&RequirementSpec> for Requirement {
    fn from(spec: &RequirementSpec) -> Self {
        Self {
            key: spec.key.as_str().into(),
            operator: spec.operator.into(),
            values: spec.values.iter().map(|value| value.as_str().into()).collect(),
        }
    }
}

impl From<&Toleration> for TolerationSpec {
    fn from(toleration: &Toleration) -> Self {
        let value = match &toleration.operator {
            TolerationOperator::Equal(value) => Some(value.to_string()),
            TolerationOperator::Exists => None,
        };
        let key = toleration.key.as_ref().map(ToString::to_string);
        Self { key, value, effect: toleration.effect.map(EffectName::from) }
    }
}

impl From<&TolerationSpec> for Toleration {
    fn from(spec: &TolerationSpec) -> Self {
        let operator = match &spec.value {
            Some(value) => TolerationOperator::Equal(value.as_str().into()),
            None => TolerationOperator::Exists,
        };
        let key = spec.key.as_deref().map(Into::into);
        Self { key, operator, effect: spec.effect.map(Effect::from) }
    }
}

impl From<&Taint> for TaintSpec {
    fn from(taint: &Taint) -> Self {
        let (key, value) = (taint.key.to_string(), taint.value.to_string());
        Self { key, value, effect: taint.effect.into() }
    }
}

impl From<&TaintSpec> for Taint {
    fn from(spec: &TaintSpec) -> Self {
        Self::new(spec.key.as_str(), spec.value.as_str(), spec.effect.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_comes_back_as_it_went() {
        let pod = Pod::new("a", Resources::new(250, 1 << 30).with_gpu_milli(460))
            .require(Requirement::greater_than("cpu", 4))
            .require(Requirement::exists("disk"))
            .tolerate(Toleration::equal("dedicated", "ml").for_effect(Effect::NoExecute))
            .tolerate(Toleration::everything())
            .with_priority(7);
        let object = PodObject::pending(&pod);
        let bytes = encode(&object).unwrap();
        assert_eq!(decode::<PodObject>(&bytes).unwrap(), object);
        assert_eq!(object.pod(), pod);
        assert_eq!(node_name(&bytes), None);
    }

    #[test]
    fn a_node_comes_back_as_it_went() {
        let node = Node::new("n", Resources::new(4_000, 1 << 34).with_pods(58))
            .with_label("zone", "a")
            .with_taint(Taint::new("gpu", "yes", Effect::NoSchedule));
        let bytes = encode(&NodeObject::of(&node, &Resources::default())).unwrap();
        assert_eq!(decode::<NodeObject>(&bytes).unwrap().node(), node);
    }

    #[test]
    fn a_bound_pod_names_its_node() {
        let mut object = PodObject::pending(&Pod::new("a", Resources::default()));
        object.spec.node_name = Some("n1".into());
        assert_eq!(node_name(&encode(&object).unwrap()).as_deref(), Some(b"n1".as_slice()));
        assert_eq!(node_name(b"not json"), None);
    }
}
