//! When and how far what runs may be disturbed.

use std::fmt;
use std::sync::Arc;

use super::{LabelSelector, Pod};

/// Why a node is taken away, in the order in which reasons are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DisruptionReason {
    /// The cloud takes it away in a moment, as it does with spot capacity.
    Interrupted,
    /// It is older than its pool allows.
    Expired,
    /// It is no longer what its pool would launch.
    Drifted,
    /// Nothing but daemons runs there.
    Empty,
    /// Its pods cost less elsewhere.
    Underutilized,
}

impl DisruptionReason {
    /// All reasons, in their order.
    pub const ALL: [Self; 5] =
        [Self::Interrupted, Self::Expired, Self::Drifted, Self::Empty, Self::Underutilized];

    /// Whether the node goes whatever its replacement costs.
    #[must_use]
    pub fn is_forced(self) -> bool {
        matches!(self, Self::Interrupted | Self::Expired | Self::Drifted)
    }
}

impl fmt::Display for DisruptionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
            Self::Drifted => "drifted",
            Self::Empty => "empty",
            Self::Underutilized => "underutilized",
        })
    }
}

/// Which nodes of a pool may be taken away to save money. Nodes that are interrupted, expired or
/// drifted go under every policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsolidationPolicy {
    /// None.
    Never,
    /// Those that run nothing but daemons.
    WhenEmpty,
    /// Those, and those whose pods cost less elsewhere.
    #[default]
    WhenEmptyOrUnderutilized,
    /// The same, where in addition the share of the pool's price that is saved is at least half of
    /// the share of the pool's disruption cost that it takes: Karpenter's policy of this name with
    /// its usual threshold of 2. A node costs 1 there, and each pod what evicting it costs.
    Balanced,
}

/// So many nodes, or such a part of a pool's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeCount {
    /// A number.
    Count(u64),
    /// Hundredths of the pool's nodes, rounded up as Karpenter does; at most 100.
    Percent(u32),
}

impl NodeCount {
    /// How many that is of `nodes`.
    ///
    /// ```
    /// assert_eq!(binpack::NodeCount::Percent(10).of(11), 2);
    /// ```
    #[must_use]
    pub fn of(self, nodes: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let share = u128::from(nodes) * u128::from(percent);
                u64::try_from(share.div_ceil(100)).unwrap_or(u64::MAX)
            }
        }
    }
}

/// How many nodes of a pool may be under way out at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// How many, those that are [`disrupting`](super::Node::disrupting) already included.
    pub nodes: NodeCount,
    /// The reasons for which it holds; empty is all. It never holds for interrupted nodes, which
    /// go anyway.
    pub reasons: Vec<DisruptionReason>,
}

impl Budget {
    /// A budget for all reasons.
    #[must_use]
    pub fn new(nodes: NodeCount) -> Self {
        Self { nodes, reasons: Vec::new() }
    }

    /// For one more reason, and no longer for all.
    #[must_use]
    pub fn for_reason(mut self, reason: DisruptionReason) -> Self {
        self.reasons.push(reason);
        self
    }

    /// Whether it holds for a reason.
    #[must_use]
    pub fn holds_for(&self, reason: DisruptionReason) -> bool {
        reason != DisruptionReason::Interrupted
            && (self.reasons.is_empty() || self.reasons.contains(&reason))
    }
}

/// What may become of a pool's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disruption {
    /// Which nodes may go to save money.
    pub policy: ConsolidationPolicy,
    /// All must be kept; empty is no limit.
    pub budgets: Vec<Budget>,
}

impl Default for Disruption {
    /// All that saves money, a tenth of the nodes at a time: Karpenter's defaults.
    fn default() -> Self {
        Self {
            policy: ConsolidationPolicy::default(),
            budgets: vec![Budget::new(NodeCount::Percent(10))],
        }
    }
}

impl Disruption {
    /// This policy without any budget.
    #[must_use]
    pub fn unlimited(policy: ConsolidationPolicy) -> Self {
        Self { policy, budgets: Vec::new() }
    }

    /// With one more budget.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budgets.push(budget);
        self
    }
}

/// Pods of which only so many may be evicted now: the status of a `PodDisruptionBudget`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDisruptionBudget {
    /// The name, unique in its namespace.
    pub name: Arc<str>,
    /// The namespace of its pods.
    pub namespace: Arc<str>,
    /// The pods.
    pub selector: LabelSelector,
    /// How many of them may be evicted: `status.disruptionsAllowed`.
    pub disruptions_allowed: u32,
}

impl PodDisruptionBudget {
    /// A budget of the namespace `default`.
    pub fn new(name: impl Into<Arc<str>>, selector: LabelSelector, allowed: u32) -> Self {
        Self {
            name: name.into(),
            namespace: "default".into(),
            selector,
            disruptions_allowed: allowed,
        }
    }

    /// In this namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Whether a pod is one of those that it protects.
    #[must_use]
    pub fn covers(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace && self.selector.matches(&pod.labels)
    }
}

impl Pod {
    /// What evicting it costs, in thousandths of what an ordinary pod's eviction does: 1 and what
    /// its deletion cost and its priority add, between −10 and 10.
    ///
    /// It is Karpenter's: 1 + deletion cost / 2^27 + priority / 2^25.
    ///
    /// ```
    /// use binpack::{Pod, Resources};
    ///
    /// let pod = Pod::new("web", Resources::new(100, 1 << 20));
    /// assert_eq!(pod.eviction_cost_milli(), 1_000);
    /// assert_eq!(pod.with_priority(1 << 25).eviction_cost_milli(), 2_000);
    /// ```
    #[must_use]
    pub fn eviction_cost_milli(&self) -> i64 {
        let parts = i64::from(self.deletion_cost) + (i64::from(self.priority) << 2);
        (1_000 + (parts * 1_000).div_euclid(1 << 27)).clamp(-10_000, 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Resources;

    #[test]
    fn a_part_of_the_nodes_is_rounded_up() {
        let parts = [(10, 0, 0), (10, 1, 1), (10, 10, 1), (10, 11, 2), (0, 9, 0), (100, 7, 7)];
        for (percent, nodes, expected) in parts {
            assert_eq!(NodeCount::Percent(percent).of(nodes), expected);
        }
        assert_eq!(NodeCount::Count(3).of(1), 3);
    }

    #[test]
    fn deletion_cost_and_priority_make_an_eviction_dearer_up_to_ten() {
        let mut pod = Pod::new("p", Resources::default());
        let mut cost = |deletion_cost, priority| {
            (pod.deletion_cost, pod.priority) = (deletion_cost, priority);
            pod.eviction_cost_milli()
        };
        assert_eq!(cost(1 << 27, 0), 2_000);
        assert_eq!(cost(-(1 << 27), 0), 0);
        assert_eq!(cost(0, -(1 << 26)), -1_000);
        assert_eq!(cost(0, 2_000_000_000), 10_000, "as critical as a system's pods are");
        assert_eq!(cost(i32::MIN, i32::MIN), -10_000);
    }
}
