//! Pods that make room for others.

use std::fmt;
use std::sync::Arc;

/// Whether a pod may take the place of others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PreemptionPolicy {
    /// That of pods of lower priority.
    #[default]
    LowerPriority,
    /// Nobody's: it goes before pods of lower priority that wait, and evicts none that runs.
    Never,
}

/// For whom pods are evicted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Preemptor {
    /// For the pod of this name.
    Pod(Arc<str>),
    /// For members of the gang of this name.
    Gang(Arc<str>),
}

impl fmt::Display for Preemptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "pod {name}"),
            Self::Gang(name) => write!(f, "gang {name}"),
        }
    }
}

/// A pod that runs and has to go, so that others of higher priority have its room.
///
/// It must be gone before those that take its place are bound. What becomes of it is its owner's
/// business: in Kubernetes its controller makes another pod, which waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Eviction {
    /// The pod's name.
    pub pod: Arc<str>,
    /// The node on which it runs.
    pub node: Arc<str>,
    /// For whom it goes.
    pub preemptor: Preemptor,
    /// Its priority, which is lower than theirs.
    pub priority: i32,
    /// Whether a [`PodDisruptionBudget`](super::PodDisruptionBudget) allows no more evictions,
    /// those before this one counted. Budgets are kept where another choice does, and no further:
    /// so does kube-scheduler.
    pub violates_budget: bool,
}

impl Eviction {
    /// An eviction that violates no budget.
    pub fn new(
        pod: impl Into<Arc<str>>,
        node: impl Into<Arc<str>>,
        preemptor: Preemptor,
        priority: i32,
    ) -> Self {
        Self { pod: pod.into(), node: node.into(), preemptor, priority, violates_budget: false }
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pod, node, preemptor, priority, violates_budget } = self;
        write!(f, "evict {pod} of priority {priority} from {node} for {preemptor}")?;
        if *violates_budget { f.write_str(", beyond its disruption budget") } else { Ok(()) }
    }
}
