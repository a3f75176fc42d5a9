//! A second opinion on plans.
//!
//! It reads the public model and nothing of the packer: sums, label matching, taints, GPU devices
//! and what pods ask of one another are worked out here once more, pod by pod and in the plainest
//! way. What is judged is the cluster as it is when the whole plan has been carried out: in which
//! order that happens is not the plan's.

mod affinity;
mod alternatives;
mod amounts;
mod attachments;
mod bindings;
mod consolidation;
mod crowd;
mod evenness;
mod evictions;
mod gangs;
mod groups;
mod labels;
mod launches;
mod machine;
mod places;
mod relaxed;
mod spread;
mod state;
mod usage;

use std::error::Error as StdError;
use std::fmt;

pub use self::consolidation::{consolidation_breaches, validate_consolidation};
use self::crowd::Crowd;
use self::state::State;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Input, Plan};

/// A rule that a plan, or a consolidation, must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// Every pod of the input is bound or unplaced, exactly once, and no other pod is.
    EveryPodOnce,
    /// A binding's node or launch exists, and the node is not on its way out.
    TargetExists,
    /// The node's labels satisfy the pod's requirements and one of the alternatives of its
    /// `node_affinity`.
    Requirements,
    /// The pod tolerates the node's taints.
    Taints,
    /// What is requested of a node is at most what it has.
    Capacity,
    /// GPUs: the right number of devices, and none beyond its thousandths.
    Gpus,
    /// A launch is one that its pool or its group and the catalogue allow, at the catalogue's price and with the
    /// daemons that run there.
    Launch,
    /// A launch has a pod, or its group is below or at its least size; and its `requested` is its
    /// pods' and daemons' sum.
    Requested,
    /// Pools stay within their limits.
    Limits,
    /// Groups don't grow above their greatest size, are brought up to their least, and are not
    /// taken below it.
    GroupSize,
    /// The plan's cost is the sum of its launches'.
    Cost,
    /// In the domain of a pod with a spread that must hold are at most `max_skew` more of its like
    /// than in the emptiest that is eligible.
    Spread,
    /// A pod has those near it that it must have, or is the first of its like.
    PodAffinity,
    /// No two pods share a domain of which one must be apart from the other.
    PodAntiAffinity,
    /// No two pods of a node take the same host port.
    HostPorts,
    /// A node reaches its pods' volumes, and has no more of a driver than may be attached.
    Volumes,
    /// No more of an offering is launched than can be had.
    Available,
    /// Each alternative of a launch could take its place, and the cheapest is first.
    Alternatives,
    /// A launch and its alternatives have as many values of a label as its pool wants.
    MinValues,
    /// A gang has places for enough members, in one domain where it must be, or for none.
    Gang,
    /// Who is evicted runs there, and goes for somebody of higher priority who has a place there and
    /// may evict; a gang keeps its minimum or goes as a whole.
    Eviction,
    /// Who is evicted could not stay beside those that took its place.
    EvictionNeeded,
    /// What a pod with a place did without is said once, and only of what it wanted.
    Relaxed,
    /// The plan of a consolidation is valid in itself.
    Plan,
    /// A removed node exists, has its reason, its price, and nothing that keeps it.
    Removal,
    /// Exactly the pods of removed nodes move, each once, to nodes that stay.
    Move,
    /// No more of a pool's or a group's nodes are under way than its budgets allow.
    DisruptionBudget,
    /// No more pods are evicted than their budgets allow.
    PodDisruptionBudget,
}

/// A rule that a plan breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// Where, with the numbers.
    pub message: String,
}

impl Breach {
    fn new(rule: Rule, message: String) -> Self {
        Self { rule, message }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.message)
    }
}

impl StdError for Breach {}

/// Whether a plan keeps every [`Rule`] for this input.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] with the first [`Breach`] as its source and their number.
pub fn validate(input: &Input, plan: &Plan) -> Result<()> {
    let breaches = breaches(input, plan);
    let number = breaches.len();
    match breaches.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            let message =
                format!("the plan breaks {number} rules: don't apply it; the first is {first}");
            Err(Error::new(ErrorKind::Invalid, message).with_source(first))
        }
    }
}

/// Every rule that a plan breaks for this input, in an order that depends on the two alone.
#[must_use]
pub fn breaches(input: &Input, plan: &Plan) -> Vec<Breach> {
    let state = State::new(input, plan);
    let crowd = Crowd::of(&state);
    let mut found = rules(&state, &crowd);
    found.extend(evictions::evictions(&state));
    found
}

/// Every rule that a state breaks, those on evictions apart.
fn rules(state: &State<'_>, crowd: &Crowd<'_, '_>) -> Vec<Breach> {
    [
        bindings::names(state),
        bindings::every_pod_once(state),
        bindings::targets(state),
        bindings::nodes(state),
        launches::launches(state),
        launches::idle(state, |_, launch| groups::needs_all(state, launch)),
        launches::limits(state),
        groups::greatest(state),
        groups::least(state),
        launches::available(state),
        launches::cost(state),
        alternatives::alternatives(state),
        spread::spread(state, crowd),
        affinity::together(state, crowd),
        affinity::apart(state, crowd),
        attachments::host_ports(state),
        attachments::volumes(state),
        gangs::gangs(state),
        relaxed::relaxed(state),
    ]
    .concat()
}
