//! What the packer answers.

use std::fmt;
use std::sync::Arc;

use super::{CapacityType, Labels, Node, Resources, Taint};

/// Where a pod goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// To the node of this name, which exists.
    Existing(Arc<str>),
    /// To the node that comes of the launch at this index of [`Plan::launches`].
    Launch(usize),
}

/// A pod and its node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The pod's name.
    pub pod: Arc<str>,
    /// Its node.
    pub target: Target,
    /// The node's GPUs that it uses, by index: one for a share, else as many as it requests.
    pub gpus: Vec<u32>,
}

impl Binding {
    /// A binding.
    pub fn new(pod: impl Into<Arc<str>>, target: Target, gpus: Vec<u32>) -> Self {
        Self { pod: pod.into(), target, gpus }
    }
}

/// A node to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Launch {
    /// The pool that it belongs to.
    pub pool: Arc<str>,
    /// The instance type to ask for.
    pub instance_type: Arc<str>,
    /// The zone to ask for.
    pub zone: Arc<str>,
    /// How it is paid for.
    pub capacity_type: CapacityType,
    /// The price in millionths of a dollar per hour.
    pub price_micros: u64,
    /// What its pods and its pool's daemons use together.
    pub requested: Resources,
    /// What the daemons alone use.
    pub daemon_overhead: Resources,
    /// What its machine has; pool limits count it.
    pub capacity: Resources,
    /// What it offers to pods and daemons.
    pub allocatable: Resources,
    /// The labels that it will have.
    pub labels: Labels,
    /// The taints that it will have.
    pub taints: Vec<Taint>,
}

impl Launch {
    /// The node that this launch makes, with its daemons and none of its pods yet:
    /// [`Node::take`] adds them.
    pub fn node(&self, name: impl Into<Arc<str>>) -> Node {
        let mut node =
            Node::new(name, self.allocatable.clone()).with_capacity(self.capacity.clone());
        node.labels = self.labels.clone();
        node.taints.clone_from(&self.taints);
        node.used = self.daemon_overhead.clone();
        node
    }
}

/// Why a pod has no place, sorted by what would have to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ReasonKind {
    /// The pod itself is malformed, and was set aside: correct it. [`plan`](crate::plan()) refuses
    /// such a pod; a [`Provisioner`](crate::Provisioner) plans for the others.
    Malformed,
    /// No label set satisfies the pod's requirements: they contradict each other.
    Contradiction,
    /// No node and nothing that may be launched has the labels it requires.
    Requirements,
    /// All that has the labels has a taint that it doesn't tolerate.
    Taints,
    /// All that would take it is too small or too full.
    Resources,
    /// It fits on something that may be launched, and the pools' limits are used up.
    Limits,
}

/// Why a pod has no place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// What would have to change.
    pub kind: ReasonKind,
    /// The same in words, with the numbers.
    pub message: Arc<str>,
}

impl Reason {
    /// A reason.
    pub fn new(kind: ReasonKind, message: impl Into<Arc<str>>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A pod that stays pending.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unplaced {
    /// The pod's name.
    pub pod: Arc<str>,
    /// Why.
    pub reason: Reason,
}

impl Unplaced {
    /// A pod that stays pending.
    pub fn new(pod: impl Into<Arc<str>>, reason: Reason) -> Self {
        Self { pod: pod.into(), reason }
    }
}

/// Where every pod goes and what is launched for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The pods that have a place, in the order of the input.
    pub bindings: Vec<Binding>,
    /// The nodes to launch; each has at least one binding.
    pub launches: Vec<Launch>,
    /// The pods that have none, in the order of the input.
    pub unplaced: Vec<Unplaced>,
    /// What the launches cost together, in millionths of a dollar per hour.
    pub cost_per_hour_micros: u64,
}

impl Plan {
    /// What the launches cost together, in dollars per hour: for people, not for sums.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure to read; 2^53 micro-dollars are $9 billion an hour"
    )]
    pub fn cost_per_hour(&self) -> f64 {
        self.cost_per_hour_micros as f64 / 1e6
    }
}
