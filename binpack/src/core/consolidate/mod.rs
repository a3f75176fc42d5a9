//! Which nodes to empty, where their pods go, and what to launch in their place.
//!
//! A sweep goes in rounds over a board on which every pod that runs is counted. A round takes
//! nodes away that have to go, then empty ones, then those whose pods fit on others, and at last
//! replaces nodes that are dearer than what their pods cost on new machines, any number of them by
//! any number, with the packer that plans launches. Whatever is tried and does not pay is taken
//! back whole. The rounds end when one changes nothing, so what is carried out leaves nothing to do.

mod attempt;
mod index;
mod neighbours;
mod places;
mod replace;
mod report;
mod rights;
mod sweep;
mod why;
mod world;

use super::control::{Control, Progress};
use super::run::Run;
use crate::config::{Config, Preemption};
use crate::error::Result;
use crate::model::{Consolidation, Input, Plan};

/// Decides which nodes to take away, where their pods go and what to launch for those.
///
/// Pods that wait are planned first, as by [`plan`](crate::plan); a node that takes one of them
/// stays. Then nodes go that are interrupted, too old or drifted, whatever their replacement costs;
/// nodes that run nothing but daemons; and nodes whose pods cost less elsewhere, on other nodes, on
/// new ones or on both. Such a move must save more than what it disturbs is worth:
/// [`Config::disruption_cost_micros`] and [`Config::min_saving_percent`].
///
/// A node goes as a whole or stays: all its pods find a place where every constraint holds, none of
/// them may have [`do_not_disrupt`](crate::Pod::do_not_disrupt) or belong to a gang, and
/// [`Input::disruption_budgets`] and the pools' budgets allow it. Pods that stay keep their
/// neighbours and are spread no worse than before. No group falls below its
/// [`min_size`](crate::NodeGroup::min_size), nodes that are interrupted apart. Preferences are kept as well, unless
/// [`Config::preference`] ignores them; only for nodes that have to go they are given up. Only
/// nodes of the input's pools and groups are taken away, interrupted ones apart; those go whatever stands
/// against it, and pods without a place are listed.
///
/// The same input and config give the same answer, and an answer that is carried out leaves
/// nothing to consolidate, as far as no budget cut it short and every pod has a place.
///
/// ```
/// use binpack::{
///     BuiltinCatalogue, Config, Input, Node, NodePool, Pod, Resources, RunningPod, consolidate, key,
/// };
///
/// let node = |name: &str, pod: &str| {
///     Node::new(name, Resources::new(4_000, 16 << 30).with_pods(58))
///         .with_label(key::NODE_POOL, "default")
///         .with_price_micros(192_000)
///         .with_pod(RunningPod::new(Pod::new(pod, Resources::new(1_000, 4 << 30))))
/// };
/// let input = Input {
///     nodes: vec![node("a", "web-1"), node("b", "web-2")],
///     pools: vec![NodePool::linux_amd64_on_demand("default")],
///     instance_types: BuiltinCatalogue::new().types(),
///     ..Input::default()
/// };
/// let consolidation = consolidate(&input, &Config::default())?;
/// assert_eq!(consolidation.moves.len(), 1);
/// assert_eq!(consolidation.saved_micros(), 192_000);
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if [`Input::check`] or [`Config::check`]
/// refuses.
pub fn consolidate(input: &Input, config: &Config) -> Result<Consolidation> {
    consolidate_until(input, config, |_| false)
}

/// The same, until `stop` says so: it is asked again and again, before each step.
///
/// What has been found so far is then the answer, with [`Consolidation::cut_short`] set.
///
/// # Errors
///
/// As [`consolidate`].
pub fn consolidate_until(
    input: &Input,
    config: &Config,
    mut stop: impl FnMut(&Progress) -> bool,
) -> Result<Consolidation> {
    config.check()?;
    input.check()?;
    // It takes nodes away to save money: that nobody is evicted for others keeps the two apart.
    let mut calm = config.clone();
    calm.preemption = Preemption::Never;
    let complete = input.node_groups.iter().all(|g| g.size(input) >= u64::from(g.min_size));
    let plan = if input.pods.is_empty() && complete {
        Plan::default()
    } else {
        Run::new(input, &calm)?.finish(&mut stop)?
    };
    let mut control = Control::new(config.iterations, &mut stop);
    let mut sweep = sweep::Sweep::new(world::World::new(input, config, &plan)?);
    sweep.run(&mut control);
    let consolidation = sweep.report(&plan, &control);
    Ok(Consolidation { plan, ..consolidation })
}
