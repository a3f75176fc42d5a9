//! What a consolidation answers.

use std::fmt;
use std::sync::Arc;

use super::{DisruptionReason, Launch, Plan, Target, Unplaced};

/// A pod that leaves its node for another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move {
    /// The pod's name.
    pub pod: Arc<str>,
    /// The node that it leaves.
    pub from: Arc<str>,
    /// Its new node: [`Target::Launch`] is an index of [`Consolidation::launches`].
    pub to: Target,
    /// The new node's GPUs that it uses, by index.
    pub gpus: Vec<u32>,
}

impl Move {
    /// A move.
    pub fn new(
        pod: impl Into<Arc<str>>,
        from: impl Into<Arc<str>>,
        to: Target,
        gpus: Vec<u32>,
    ) -> Self {
        Self { pod: pod.into(), from: from.into(), to, gpus }
    }
}

/// A node that is taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// The node's name.
    pub node: Arc<str>,
    /// Why.
    pub reason: DisruptionReason,
    /// What it costs, in millionths of a dollar per hour, which is no longer paid; 0 where its
    /// price is not known.
    pub saved_micros: u64,
}

impl Removal {
    /// A removal.
    pub fn new(node: impl Into<Arc<str>>, reason: DisruptionReason, saved_micros: u64) -> Self {
        Self { node: node.into(), reason, saved_micros }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.node, self.reason)
    }
}

/// Why a node stays, sorted by what would have to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeptKind {
    /// It belongs to no pool and no group of the input: its label
    /// [`key::NODE_POOL`](super::key::NODE_POOL) names no pool, and it has no
    /// [`group`](super::Node::group).
    NoPool,
    /// It is already on its way out.
    Disrupting,
    /// It takes a pod that waited.
    TakesPending,
    /// The node itself must not be disturbed.
    DoNotDisrupt,
    /// Its pool's or its group's policy.
    Policy,
    /// More is used there than its listed pods explain.
    Unlisted,
    /// Its price is not known.
    Unpriced,
    /// A pod there must not be evicted.
    Pod,
    /// A pod there belongs to a gang, which would be torn.
    Gang,
    /// A pod disruption budget.
    PodDisruptionBudget,
    /// Its pool's or its group's budget of nodes.
    Budget,
    /// The [`min_size`](super::NodeGroup::min_size) of its group.
    MinSize,
    /// A pod there fits nowhere else for less.
    NoPlace,
    /// A pod that stays would lose its neighbour, or a spread would become more uneven.
    Neighbours,
    /// Too little would be saved for what it disturbs.
    TooLittle,
    /// The run was stopped before it was looked at.
    CutShort,
}

/// A node that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// The node's name.
    pub node: Arc<str>,
    /// What would have to change.
    pub kind: KeptKind,
    /// The same in words.
    pub message: Arc<str>,
}

impl Kept {
    /// A node that stays.
    pub fn new(node: impl Into<Arc<str>>, kind: KeptKind, message: impl Into<Arc<str>>) -> Self {
        Self { node: node.into(), kind, message: message.into() }
    }
}

/// Which nodes go, where their pods go, and what is launched for those.
///
/// It is carried out as a whole: first the plan and the launches, then each node of `removed` is
/// drained, its pods go where `moves` says, and the node is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consolidation {
    /// The plan for the pods that waited, with launches of its own.
    pub plan: Plan,
    /// Where the pods of removed nodes go, in the order of the input: every pod that runs there
    /// and is no daemon, those in `unplaced` apart.
    pub moves: Vec<Move>,
    /// The nodes that go, in the order of the input.
    pub removed: Vec<Removal>,
    /// What is launched for pods that move; each has at least one.
    pub launches: Vec<Launch>,
    /// Pods of interrupted nodes that have no place: those nodes go all the same.
    pub unplaced: Vec<Unplaced>,
    /// What the nodes and the plan's launches cost together before, in millionths of a dollar per
    /// hour, as far as prices are known.
    pub cost_before_micros: u64,
    /// The same after: without `removed`, with `launches`.
    pub cost_after_micros: u64,
    /// What the evictions cost, in thousandths: the sum of
    /// [`Pod::eviction_cost_milli`](super::Pod::eviction_cost_milli) over the moves, where pods
    /// that are welcome to go count 0.
    pub eviction_cost_milli: u64,
    /// Why nodes stay, in the order of the input, at most [`Consolidation::MAX_KEPT`] of them.
    pub kept: Vec<Kept>,
    /// How many steps were made to optimise what is launched.
    pub iterations: u32,
    /// Whether the run was stopped before it was over.
    pub cut_short: bool,
}

impl Consolidation {
    /// How many nodes that stay are explained: as many as one reads.
    pub const MAX_KEPT: usize = 1_000;

    /// Whether nothing changes, the plan apart.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.removed.is_empty()
    }

    /// What is saved, in millionths of a dollar per hour; 0 where nodes that had to be replaced
    /// made it dearer.
    #[must_use]
    pub fn saved_micros(&self) -> u64 {
        self.cost_before_micros.saturating_sub(self.cost_after_micros)
    }
}

impl fmt::Display for Consolidation {
    /// The whole in words, a line for each node that goes and each launch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for removal in &self.removed {
            writeln!(f, "remove {removal}")?;
        }
        for launch in &self.launches {
            let pods = launch.requested.pods.saturating_sub(launch.daemon_overhead.pods);
            writeln!(f, "launch {} in {} for {pods} pods", launch.instance_type, launch.zone)?;
        }
        write!(
            f,
            "{} pods move, {} $ an hour become {}",
            self.moves.len(),
            dollars(self.cost_before_micros),
            dollars(self.cost_after_micros)
        )
    }
}

fn dollars(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
