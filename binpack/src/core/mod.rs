//! The packer: a plain function from a question to a plan.
#![allow(
    clippy::indexing_slicing,
    reason = "indices come from enumerating the input; none is read from outside bytes"
)]

mod bits;
mod board;
mod budget;
mod bundle;
mod certificate;
mod class;
mod consolidate;
mod control;
mod domain;
mod existing;
mod gangs;
mod groups;
mod hash;
mod launching;
mod lots;
mod neighbours;
mod nodes;
mod offers;
mod outcome;
mod pack;
mod preempt;
mod problem;
mod proof;
mod reason;
mod relax;
mod room;
mod run;
mod scale_up;
mod scheduler;
mod sources;
mod tree;

use crate::config::Config;
use crate::error::Result;
use crate::model::{Input, Plan};

#[cfg(feature = "manifests")]
pub(crate) use class::tolerates;
pub use consolidate::{consolidate, consolidate_until};
pub use control::Progress;
pub use domain::Domain;
pub use scheduler::{Scheduled, Scheduler};

/// Decides where every pod goes and what to launch, in [`Config::iterations`] steps.
///
/// Nodes that exist are used first, and launches that bring [groups](crate::NodeGroup) up to their
/// least sizes. Then groups grow: each is estimated by first fit decreasing over copies of its
/// template, [`Config::expanders`] choose one, which grows by as many nodes as its pods need, and
/// so on until none takes any pod, as in Kubernetes' Cluster Autoscaler. For what no group takes
/// nodes are launched from pools, those of higher weight first, and only there is optimised. Pods
/// that nothing tells apart are one shape; which machines carry which numbers of each shape is a
/// linear programme with a column for every way of filling a machine (Gilmore and Gomory 1961).
/// Columns are made as they are asked for, its solution is rounded to whole machines by diving, and
/// then machines are repacked a few at a time. A quick plan is there from the start and is kept
/// until a cheaper one is found.
///
/// The same input and config give the same plan, and its order is fixed: bindings and unplaced
/// pods in the order of the input's pods, launches in the order in which they were chosen.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if [`Input::check`] or [`Config::check`]
/// refuses.
pub fn plan(input: &Input, config: &Config) -> Result<Plan> {
    plan_until(input, config, |_| false)
}

/// The same, until `stop` says so: it is asked before each step.
///
/// What has been found so far is then the plan, with [`Plan::cut_short`] set. A deadline is a
/// closure that looks at the clock, a cancellation one that looks at a flag. A step takes
/// milliseconds to tens of milliseconds with some hundred shapes of pods, and longer with more.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use binpack::{BuiltinCatalogue, Config, Input, NodePool, Pod, Resources, plan_until};
///
/// let input = Input {
///     pods: (0..20).map(|i| Pod::new(format!("web-{i}"), Resources::new(900, 1 << 30))).collect(),
///     pools: vec![NodePool::linux_amd64_on_demand("default")],
///     instance_types: BuiltinCatalogue::new().types(),
///     ..Input::default()
/// };
/// let deadline = Instant::now() + Duration::from_millis(100);
/// let plan = plan_until(&input, &Config::default(), |_| Instant::now() >= deadline)?;
/// assert!(plan.unplaced.is_empty());
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// # Errors
///
/// As [`plan`].
pub fn plan_until(
    input: &Input,
    config: &Config,
    mut stop: impl FnMut(&Progress) -> bool,
) -> Result<Plan> {
    config.check()?;
    input.check()?;
    run::Run::new(input, config)?.finish(&mut stop)
}
