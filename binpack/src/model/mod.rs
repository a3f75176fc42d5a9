//! Plain data: what a cluster, a catalogue and a plan are made of.
//!
//! These types hold facts and no algorithm, so that the packer in [`core`](crate::plan) and the
//! checker in [`validate`](crate::validate()) can both read them and share nothing else.

mod attachment;
mod consolidation;
mod disruption;
mod eviction;
mod gang;
mod group_check;
mod input;
mod instance_type;
mod labels;
mod node;
mod node_group;
mod node_pool;
mod plan;
mod pod;
mod requirement;
mod resources;
mod taint;
mod topology;

pub use attachment::{HostPort, Protocol, Volume};
pub use consolidation::{Consolidation, Kept, KeptKind, Move, Removal};
pub use disruption::{
    Budget, ConsolidationPolicy, Disruption, DisruptionReason, NodeCount, PodDisruptionBudget,
};
pub use eviction::{Eviction, PreemptionPolicy, Preemptor};
pub use gang::Gang;
#[cfg(any(test, feature = "conformance", feature = "json"))]
pub(crate) use input::check_types;
pub use input::{Input, MAX_PRICE_MICROS, MAX_QUANTITY};
pub(crate) use input::{check_node, check_pod, check_pod_budget, known_gang, malformed};
pub use instance_type::{CapacityType, InstanceType, Offering};
pub use labels::{Labels, key, labels};
pub use node::{Node, RunningPod};
pub use node_group::NodeGroup;
pub use node_pool::{MinValues, NodePool, PoolLimits};
pub use plan::{
    Binding, Certificate, Launch, Plan, Reason, ReasonKind, Relaxation, Relaxed, ScaleUp, Target,
    Unplaced,
};
pub use pod::Pod;
pub use requirement::{Operator, Requirement};
pub use resources::{GPU_MILLI, MAX_GPUS, Resources};
pub use taint::{Effect, Taint, Toleration, TolerationOperator};
pub use topology::{
    LabelSelector, Namespaces, NodeInclusion, PodAffinityTerm, Preferences, TopologySpread,
    Weighted, WhenUnsatisfiable,
};
