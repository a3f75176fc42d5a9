//! What the packer answers.

use std::fmt;
use std::sync::Arc;

use super::{CapacityType, Eviction, Input, Labels, Node, Resources, Taint};

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
    /// The pool or the group that it belongs to: no group is called as a pool is.
    pub pool: Arc<str>,
    /// The group that it belongs to, which `pool` names too; `None` where that is a pool.
    pub group: Option<Arc<str>>,
    /// The instance type to ask for.
    pub instance_type: Arc<str>,
    /// The zone to ask for.
    pub zone: Arc<str>,
    /// How it is paid for.
    pub capacity_type: CapacityType,
    /// The price in millionths of a dollar per hour.
    pub price_micros: u64,
    /// What its pods and daemons use together.
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
    /// Other types of the pool that would hold the same pods in the same zone, paid for in the
    /// same way, the cheapest first and at most [`Launch::MAX_ALTERNATIVES`].
    pub alternatives: Vec<Arc<str>>,
}

impl Launch {
    /// As many types as a request to AWS' fleets names.
    pub const MAX_ALTERNATIVES: usize = 60;

    /// The node that this launch makes, at its price, with its daemons and none of its pods yet:
    /// [`Node::take`] adds them.
    pub fn node(&self, name: impl Into<Arc<str>>) -> Node {
        let mut node =
            Node::new(name, self.allocatable.clone()).with_capacity(self.capacity.clone());
        for name in [Resources::BATCH_CPU, Resources::BATCH_MEMORY] {
            // What best-effort pods use beside the others is no part of the machine itself.
            let beside = self.allocatable.extended.get(name).copied().unwrap_or(0);
            node.capacity = node.capacity.with_extended(name, beside);
        }
        node.labels = self.labels.clone();
        node.taints.clone_from(&self.taints);
        node.used = self.daemon_overhead.clone();
        node.price_micros = Some(self.price_micros);
        node.group.clone_from(&self.group);
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
    /// All that would take it is too small or too full, volumes included.
    Resources,
    /// It fits on something that may be launched, and pools' limits or groups' sizes are used up.
    Limits,
    /// Other pods keep it away: spread, affinity, anti-affinity or host ports.
    Pods,
    /// The gang that it is a member of has no place as a whole.
    Gang,
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

/// A preference that a pod did without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Relaxation {
    /// An alternative of its required node affinity, of which it had more than one.
    NodeAffinityTerm,
    /// Pods that it wanted near.
    PodAffinity,
    /// Pods that it wanted far.
    PodAntiAffinity,
    /// Labels of its node that it wanted.
    NodeAffinity,
    /// A spread that may be broken.
    ScheduleAnyway,
    /// Taints that asked it to stay away.
    PreferNoSchedule,
}

/// What a pod did without, in the order in which it was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relaxed {
    /// The pod's name.
    pub pod: Arc<str>,
    /// What was given up.
    pub relaxations: Vec<Relaxation>,
}

impl Relaxed {
    /// What a pod did without.
    pub fn new(pod: impl Into<Arc<str>>, relaxations: Vec<Relaxation>) -> Self {
        Self { pod: pod.into(), relaxations }
    }
}

/// A proof that no plan for the same input costs less than a number.
///
/// Every pod has a value, such that no machine that may be launched can carry pods that are worth
/// more together than it costs (a dual solution of Gilmore and Gomory's linear programme, 1961).
/// What all pods are worth is then a lower bound on the price of any plan that gives all of them a
/// place on new nodes; what the nodes that exist could carry is taken off.
/// [`verify`](crate::verify()) checks it by other means than it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The lower bound in millionths of a dollar per hour.
    pub lower_bound_micros: u64,
    /// By pod of the input: its value, in thousandths of a millionth of a dollar per hour. Pods
    /// without a place have 0.
    pub values_nanos: Vec<u64>,
    /// Constraints that the bound leaves out, in words: with them the true cost of the cheapest
    /// plan may be higher than the bound.
    pub left_out: Vec<Arc<str>>,
}

impl Certificate {
    /// A certificate.
    #[must_use]
    pub fn new(lower_bound_micros: u64, values_nanos: Vec<u64>, left_out: Vec<Arc<str>>) -> Self {
        Self { lower_bound_micros, values_nanos, left_out }
    }
}

/// Where every pod goes and what is launched for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The pods that have a place, in the order of the input.
    pub bindings: Vec<Binding>,
    /// The nodes to launch. Each has at least one binding, those apart that bring a group up to its
    /// [`min_size`](super::NodeGroup::min_size).
    pub launches: Vec<Launch>,
    /// The pods that have none, in the order of the input.
    pub unplaced: Vec<Unplaced>,
    /// What the launches cost together, in millionths of a dollar per hour.
    pub cost_per_hour_micros: u64,
    /// The preferences that pods with a place did without, in the order of the input.
    pub relaxed: Vec<Relaxed>,
    /// The pods that run and go, so that some of `bindings` have room: those of the first node of
    /// the input first. Empty unless [`Config::preemption`](crate::Config::preemption) is set.
    pub evictions: Vec<Eviction>,
    /// A proof of how little any plan must cost; `None` where none was asked for.
    pub certificate: Option<Certificate>,
    /// How many of [`Config::iterations`](crate::Config::iterations) were made.
    pub iterations: u32,
    /// Whether the run was stopped before its iterations were over, by a deadline or a
    /// cancellation.
    pub cut_short: bool,
}

/// How a group grows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScaleUp {
    /// The group's name.
    pub group: Arc<str>,
    /// How many nodes it has.
    pub from: u64,
    /// How many it has once the plan is carried out.
    pub to: u64,
    /// How many it may have at most.
    pub max_size: u64,
}

impl fmt::Display for ScaleUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, from, to, max_size } = self;
        write!(f, "node group {group} grows from {from} to {to} of at most {max_size} nodes")
    }
}

impl Plan {
    /// The groups of an input that grow, in the order of the input.
    #[must_use]
    pub fn scale_ups(&self, input: &Input) -> Vec<ScaleUp> {
        let grown = input.node_groups.iter().filter_map(|group| {
            let own = self.launches.iter().filter(|l| l.group.as_ref() == Some(&group.name));
            let (more, from) = (own.count() as u64, group.size(input));
            (more > 0).then(|| ScaleUp {
                group: group.name.clone(),
                from,
                to: from + more,
                max_size: u64::from(group.max_size),
            })
        });
        grown.collect()
    }

    /// What the launches cost together, in dollars per hour: for people, not for sums.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure to read; 2^53 micro-dollars are $9 billion an hour"
    )]
    pub fn cost_per_hour(&self) -> f64 {
        self.cost_per_hour_micros as f64 / 1e6
    }

    /// By how much the plan may be dearer than the cheapest there is, in percent of the lower
    /// bound; `None` without a certificate, or where the bound is 0 and the plan is not free.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    pub fn gap_percent(&self) -> Option<f64> {
        let bound = self.certificate.as_ref()?.lower_bound_micros;
        if self.cost_per_hour_micros <= bound {
            return Some(0.0);
        }
        (bound > 0).then(|| (self.cost_per_hour_micros as f64 / bound as f64 - 1.0) * 100.0)
    }
}
