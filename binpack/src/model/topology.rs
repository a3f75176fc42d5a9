//! Where pods go with respect to other pods: spread, affinity and anti-affinity.

use std::sync::Arc;

use super::{Labels, Requirement};

/// Which pods are meant, by their labels. Without requirements it means all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSelector {
    /// All must hold. `Gt` and `Lt` are refused by [`Input::check`](super::Input::check), as
    /// Kubernetes does not know them here.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// The pods with these labels.
    ///
    /// ```
    /// use binpack::{LabelSelector, labels};
    ///
    /// let web = LabelSelector::labels([("app", "web")]);
    /// assert!(web.matches(&labels([("app", "web"), ("tier", "front")])));
    /// assert!(!web.matches(&labels([("app", "db")])));
    /// ```
    pub fn labels<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let one = |(key, value): (K, V)| Requirement::is_in(key.into(), [value.into()]);
        Self { requirements: pairs.into_iter().map(one).collect() }
    }

    /// Whether a pod with these labels is meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|r| r.holds(labels.get(&r.key).map(|value| &**value)))
    }
}

/// The namespaces in which a [`PodAffinityTerm`] looks for pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespaces {
    /// The pod's own.
    #[default]
    Own,
    /// These.
    Listed(Vec<Arc<str>>),
    /// All: an empty `namespaceSelector`.
    All,
}

/// Pods that a pod wants to be near, or far from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodAffinityTerm {
    /// Near means: on nodes with the same value of this label. For
    /// [`key::HOSTNAME`](super::key::HOSTNAME) every node is a value of its own.
    pub topology_key: Arc<str>,
    /// The pods that are meant.
    pub selector: LabelSelector,
    /// Where they are looked for.
    pub namespaces: Namespaces,
}

impl PodAffinityTerm {
    /// Pods of the same namespace.
    pub fn new(topology_key: impl Into<Arc<str>>, selector: LabelSelector) -> Self {
        Self { topology_key: topology_key.into(), selector, namespaces: Namespaces::Own }
    }
}

/// What happens where a spread can't be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WhenUnsatisfiable {
    /// The pod waits.
    #[default]
    DoNotSchedule,
    /// The spread is a preference.
    ScheduleAnyway,
}

/// Whether nodes on which a pod can't run count as places among which it is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeInclusion {
    /// They don't count.
    Honor,
    /// They count.
    Ignore,
}

/// How evenly pods are spread over the values of a label of nodes.
///
/// In a domain where a pod with this constraint is, the pods that it means are at most `max_skew`
/// more than in the domain with the fewest. Pods with the same constraint are counted, and pods
/// that are running; a pending pod without the constraint is taken to come after those that have
/// it, for Kubernetes asks the constraint only of the pod that it places. Where the label is
/// [`key::HOSTNAME`](super::key::HOSTNAME), the fewest is 0, because a node can always be launched
/// (Karpenter does the same).
///
/// Source: KEP-895 and KEP-3022 (`min_domains`), KEP-3094 (inclusion policies).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopologySpread {
    /// The label of nodes.
    pub topology_key: Arc<str>,
    /// The pods that are counted, of the pod's own namespace.
    pub selector: LabelSelector,
    /// How many more pods than in the emptiest domain there may be; at least 1.
    pub max_skew: u32,
    /// What happens where it can't be kept.
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// With fewer eligible domains than this the fewest counts as 0.
    pub min_domains: Option<u32>,
    /// Whether domains that the pod's requirements exclude count. Kubernetes honours them unless
    /// told otherwise.
    pub node_affinity_policy: NodeInclusion,
    /// Whether domains with taints that the pod does not tolerate count. Kubernetes ignores taints
    /// unless told otherwise.
    pub node_taints_policy: NodeInclusion,
}

impl TopologySpread {
    /// A constraint that must hold, with Kubernetes' defaults.
    pub fn new(topology_key: impl Into<Arc<str>>, selector: LabelSelector, max_skew: u32) -> Self {
        Self {
            topology_key: topology_key.into(),
            selector,
            max_skew,
            when_unsatisfiable: WhenUnsatisfiable::DoNotSchedule,
            min_domains: None,
            node_affinity_policy: NodeInclusion::Honor,
            node_taints_policy: NodeInclusion::Ignore,
        }
    }

    /// The same as a preference.
    #[must_use]
    pub fn schedule_anyway(mut self) -> Self {
        self.when_unsatisfiable = WhenUnsatisfiable::ScheduleAnyway;
        self
    }
}

/// A preference and how much it counts beside others of its kind, from 1 to 100.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weighted<T> {
    /// The weight.
    pub weight: u32,
    /// What is preferred.
    pub preference: T,
}

impl<T> Weighted<T> {
    /// A preference of this weight.
    pub fn new(weight: u32, preference: T) -> Self {
        Self { weight, preference }
    }
}

/// What a pod would like and does without where it must.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Preferences {
    /// Labels of its node: all of a term together.
    pub node_affinity: Vec<Weighted<Vec<Requirement>>>,
    /// Pods near it.
    pub pod_affinity: Vec<Weighted<PodAffinityTerm>>,
    /// Pods far from it.
    pub pod_anti_affinity: Vec<Weighted<PodAffinityTerm>>,
}
