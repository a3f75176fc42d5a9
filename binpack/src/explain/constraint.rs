//! The constraints of a pod, each of which can be taken away.

use std::fmt;
use std::sync::Arc;

use crate::model::{Pod, Resources, Toleration, WhenUnsatisfiable};

/// Something that may keep a pod from its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Constraint {
    /// What it requires of this label of its node.
    Requirement(Arc<str>),
    /// The alternatives of its node affinity.
    NodeAffinity,
    /// That it doesn't tolerate taints.
    Taints,
    /// How much of this resource it requests.
    Request(Arc<str>),
    /// Its spread over this label of nodes.
    Spread(Arc<str>),
    /// That certain pods must be near it by this label.
    PodAffinity(Arc<str>),
    /// That certain pods must be away from it by this label.
    PodAntiAffinity(Arc<str>),
    /// What other pods find by its labels: their anti-affinity may mean it.
    Labels,
    /// Its ports of the node.
    HostPorts,
    /// Its volumes.
    Volumes,
    /// That its gang must come together.
    Gang,
    /// The limits of all node pools, and the greatest sizes of all node groups.
    PoolLimits,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requirement(key) => write!(f, "its requirement on {key}"),
            Self::NodeAffinity => write!(f, "its node affinity"),
            Self::Taints => write!(f, "respect for taints"),
            Self::Request(resource) => write!(f, "its request of {resource}"),
            Self::Spread(key) => write!(f, "its spread over {key}"),
            Self::PodAffinity(key) => write!(f, "its pod affinity by {key}"),
            Self::PodAntiAffinity(key) => write!(f, "its anti-affinity by {key}"),
            Self::Labels => write!(f, "the labels by which others avoid it"),
            Self::HostPorts => write!(f, "its host ports"),
            Self::Volumes => write!(f, "its volumes"),
            Self::Gang => write!(f, "its gang"),
            Self::PoolLimits => write!(f, "the limits of node pools and groups"),
        }
    }
}

impl Constraint {
    /// Takes it away from a pod.
    pub(super) fn relax(&self, pod: &mut Pod) {
        match self {
            Self::Requirement(key) => pod.requirements.retain(|of| of.key != *key),
            Self::NodeAffinity => pod.node_affinity.clear(),
            Self::Taints => pod.tolerations = vec![Toleration::everything()],
            Self::Request(resource) => {
                let others = pod.requests.amounts().filter(|(name, _)| **name != **resource);
                pod.requests = Resources::from_amounts(others);
            }
            Self::Spread(key) => pod.topology_spread.retain(|of| of.topology_key != *key),
            Self::PodAffinity(key) => pod.pod_affinity.retain(|of| of.topology_key != *key),
            Self::PodAntiAffinity(key) => {
                pod.pod_anti_affinity.retain(|of| of.topology_key != *key);
            }
            Self::Labels => pod.labels.clear(),
            Self::HostPorts => pod.host_ports.clear(),
            Self::Volumes => pod.volumes.clear(),
            Self::Gang => pod.gang = None,
            Self::PoolLimits => {}
        }
    }
}

/// What may be in a pod's way.
pub(super) fn constraints(pod: &Pod) -> Vec<Constraint> {
    let required = pod.topology_spread.iter();
    let required = required.filter(|s| s.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule);
    let mut all: Vec<Constraint> =
        pod.requirements.iter().map(|of| Constraint::Requirement(of.key.clone())).collect();
    all.extend(required.map(|of| Constraint::Spread(of.topology_key.clone())));
    let near = pod.pod_affinity.iter();
    all.extend(near.map(|of| Constraint::PodAffinity(of.topology_key.clone())));
    let apart = pod.pod_anti_affinity.iter();
    all.extend(apart.map(|of| Constraint::PodAntiAffinity(of.topology_key.clone())));
    let requested = pod.requests.amounts().filter(|(name, amount)| *amount > 0 && *name != "pods");
    all.extend(requested.map(|(name, _)| Constraint::Request(name.into())));
    let others = [
        (!pod.node_affinity.is_empty(), Constraint::NodeAffinity),
        (true, Constraint::Taints),
        (!pod.labels.is_empty(), Constraint::Labels),
        (!pod.host_ports.is_empty(), Constraint::HostPorts),
        (!pod.volumes.is_empty(), Constraint::Volumes),
        (pod.gang.is_some(), Constraint::Gang),
        (true, Constraint::PoolLimits),
    ];
    all.extend(others.into_iter().filter(|(there, _)| *there).map(|(_, constraint)| constraint));
    all.sort_unstable();
    all.dedup();
    all
}
