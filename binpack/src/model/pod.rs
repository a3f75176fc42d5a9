//! A pod that waits for a node.

use std::sync::Arc;

use super::{
    HostPort, LabelSelector, Labels, PodAffinityTerm, PreemptionPolicy, Preferences, Requirement,
    Resources, Toleration, TopologySpread, Volume,
};

/// A pod: what it needs and where it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pod {
    /// The name, unique among pods (a caller with namespaces writes `namespace/name`).
    pub name: Arc<str>,
    /// The namespace, in which other pods' selectors look for it.
    pub namespace: Arc<str>,
    /// What other pods' selectors see.
    pub labels: Labels,
    /// What it needs. It takes one of `pods` whether that field is 0 or 1.
    pub requests: Resources,
    /// Conditions on its node's labels; all must hold.
    pub requirements: Vec<Requirement>,
    /// Alternatives beside `requirements`: all conditions of one of these must hold. Empty is no
    /// condition.
    pub node_affinity: Vec<Vec<Requirement>>,
    /// Taints that it accepts.
    pub tolerations: Vec<Toleration>,
    /// How it and its like are spread.
    pub topology_spread: Vec<TopologySpread>,
    /// Pods that must be near it. Where it matches the term itself and no pod that runs does, it and
    /// those with the same term may be the first together.
    pub pod_affinity: Vec<PodAffinityTerm>,
    /// Pods that must not be near it.
    pub pod_anti_affinity: Vec<PodAffinityTerm>,
    /// What it would like.
    pub preferences: Preferences,
    /// Ports of its node that it takes.
    pub host_ports: Vec<HostPort>,
    /// Volumes that it mounts.
    pub volumes: Vec<Volume>,
    /// The higher goes first, and may take the place of the lower.
    pub priority: i32,
    /// Whether it may evict pods of lower priority, where
    /// [`Config::preemption`](crate::Config::preemption) lets any pod do that.
    pub preemption_policy: PreemptionPolicy,
    /// The gang that it is a member of.
    pub gang: Option<Arc<str>>,
    /// What evicting it costs beside that of others, as in the annotation
    /// `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
    /// Whether it must not be evicted to save money, as in the annotation
    /// `karpenter.sh/do-not-disrupt`. It makes room for pods of higher priority all the same, as in
    /// Kubernetes, whose scheduler does not know of it.
    pub do_not_disrupt: bool,
}

impl Pod {
    /// A pod of the namespace `default` without constraints, of priority 0.
    pub fn new(name: impl Into<Arc<str>>, requests: Resources) -> Self {
        Self {
            name: name.into(),
            namespace: default_namespace(),
            labels: Labels::new(),
            requests,
            requirements: Vec::new(),
            node_affinity: Vec::new(),
            tolerations: Vec::new(),
            topology_spread: Vec::new(),
            pod_affinity: Vec::new(),
            pod_anti_affinity: Vec::new(),
            preferences: Preferences::default(),
            host_ports: Vec::new(),
            volumes: Vec::new(),
            priority: 0,
            preemption_policy: PreemptionPolicy::default(),
            gang: None,
            deletion_cost: 0,
            do_not_disrupt: false,
        }
    }

    /// In this namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// With one more label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With one more condition on its node's labels.
    #[must_use]
    pub fn require(mut self, requirement: Requirement) -> Self {
        self.requirements.push(requirement);
        self
    }

    /// With one more alternative among the conditions on its node's labels.
    #[must_use]
    pub fn or_require(mut self, term: Vec<Requirement>) -> Self {
        self.node_affinity.push(term);
        self
    }

    /// With one more taint accepted.
    #[must_use]
    pub fn tolerate(mut self, toleration: Toleration) -> Self {
        self.tolerations.push(toleration);
        self
    }

    /// With one more spread.
    #[must_use]
    pub fn spread(mut self, spread: TopologySpread) -> Self {
        self.topology_spread.push(spread);
        self
    }

    /// Near the pods of this term.
    #[must_use]
    pub fn near(mut self, term: PodAffinityTerm) -> Self {
        self.pod_affinity.push(term);
        self
    }

    /// Far from the pods of this term.
    #[must_use]
    pub fn apart_from(mut self, term: PodAffinityTerm) -> Self {
        self.pod_anti_affinity.push(term);
        self
    }

    /// At most one on a node of the pods that the selector means: anti-affinity by hostname.
    #[must_use]
    pub fn alone_among(self, selector: LabelSelector) -> Self {
        self.apart_from(PodAffinityTerm::new(super::key::HOSTNAME, selector))
    }

    /// With one more port of its node.
    #[must_use]
    pub fn with_host_port(mut self, port: HostPort) -> Self {
        self.host_ports.push(port);
        self
    }

    /// With one more volume.
    #[must_use]
    pub fn with_volume(mut self, volume: Volume) -> Self {
        self.volumes.push(volume);
        self
    }

    /// With this priority.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Never taking another pod's place.
    #[must_use]
    pub fn preempting_nobody(mut self) -> Self {
        self.preemption_policy = PreemptionPolicy::Never;
        self
    }

    /// With this deletion cost.
    #[must_use]
    pub fn with_deletion_cost(mut self, cost: i32) -> Self {
        self.deletion_cost = cost;
        self
    }

    /// Never to be evicted.
    #[must_use]
    pub fn do_not_disrupt(mut self) -> Self {
        self.do_not_disrupt = true;
        self
    }

    /// As a member of this gang.
    #[must_use]
    pub fn in_gang(mut self, gang: impl Into<Arc<str>>) -> Self {
        self.gang = Some(gang.into());
        self
    }
}

/// One allocation for all pods that name none.
fn default_namespace() -> Arc<str> {
    static DEFAULT: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "default".into());
    DEFAULT.clone()
}
