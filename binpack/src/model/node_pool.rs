//! What may be launched, and for whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CapacityType, Disruption, Labels, Requirement, Resources, Taint, key};

/// The most that a pool's nodes may have together; `None` is no limit.
///
/// Nodes count with their capacity, those that exist as well as new ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// CPU in thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// GPUs in thousandths.
    pub gpu_milli: Option<u64>,
    /// Nodes.
    pub nodes: Option<u64>,
    /// Ephemeral storage in bytes.
    pub ephemeral_bytes: Option<u64>,
    /// Extended resources by name; one that is not named has no limit.
    pub extended: BTreeMap<Arc<str>, u64>,
}

/// How many different values of a label the types have among which a launch may choose.
///
/// A launch names the types that could take its place ([`Launch::alternatives`](super::Launch));
/// together with its own they must have so many values. It keeps a pool from depending on one
/// type, as Karpenter's `minValues` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinValues {
    /// The label.
    pub key: Arc<str>,
    /// How many values; at least 1.
    pub count: u32,
}

/// A rule for launching nodes: which types, with what labels and taints, up to which limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodePool {
    /// The name, unique among pools.
    pub name: Arc<str>,
    /// Pools of higher weight are used first; within one weight the price decides.
    pub weight: u32,
    /// Conditions on the labels of what is launched; all must hold.
    pub requirements: Vec<Requirement>,
    /// Taints of its nodes.
    pub taints: Vec<Taint>,
    /// Labels of its nodes, beside the instance type's. They can't make a machine what it is not:
    /// a type or offering that has another value for one of them is not launched.
    pub labels: Labels,
    /// The most that its nodes may have together.
    pub limits: PoolLimits,
    /// What daemons take of every node, beside those of
    /// [`Input::daemons`](super::Input::daemons).
    pub daemon_overhead: Resources,
    /// How many types its launches must be able to choose among. The planner
    /// counts types that are at least as large, whatever pods ask of nodes by themselves: where that
    /// leaves fewer, `validate` refuses the plan.
    pub min_values: Vec<MinValues>,
    /// How much CPU and memory best-effort pods may use beside the others, in percent of the
    /// allocatable: [`Resources::best_effort`]. 0 is no overcommit.
    pub best_effort_percent: u32,
    /// How old its nodes may become, in seconds; `None` is no limit. Karpenter's `expireAfter`.
    pub expire_after_secs: Option<u64>,
    /// What may become of its nodes.
    pub disruption: Disruption,
}

impl NodePool {
    /// A pool that may launch everything.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            weight: 0,
            requirements: Vec::new(),
            taints: Vec::new(),
            labels: Labels::new(),
            limits: PoolLimits::default(),
            daemon_overhead: Resources::default(),
            min_values: Vec::new(),
            best_effort_percent: 0,
            expire_after_secs: None,
            disruption: Disruption::default(),
        }
    }

    /// A pool for ordinary Linux containers: amd64 machines at the list price.
    pub fn linux_amd64_on_demand(name: impl Into<Arc<str>>) -> Self {
        Self::new(name)
            .require(Requirement::is_in(key::OS, ["linux"]))
            .require(Requirement::is_in(key::ARCH, ["amd64"]))
            .require(Requirement::is_in(key::CAPACITY_TYPE, [CapacityType::OnDemand.as_str()]))
    }

    /// With one more condition on what is launched.
    #[must_use]
    pub fn require(mut self, requirement: Requirement) -> Self {
        self.requirements.push(requirement);
        self
    }

    /// With this weight.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// With one more taint on its nodes.
    #[must_use]
    pub fn with_taint(mut self, taint: Taint) -> Self {
        self.taints.push(taint);
        self
    }

    /// With one more label on its nodes.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: PoolLimits) -> Self {
        self.limits = limits;
        self
    }

    /// With this said of what may become of its nodes.
    #[must_use]
    pub fn with_disruption(mut self, disruption: Disruption) -> Self {
        self.disruption = disruption;
        self
    }

    /// With this much taken by daemons on every node.
    #[must_use]
    pub fn with_daemon_overhead(mut self, overhead: Resources) -> Self {
        self.daemon_overhead = overhead;
        self
    }
}
