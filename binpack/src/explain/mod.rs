//! Why pods have no place, and what it would take; why launches are what they are.
//!
//! It stands above the packer and asks it: a pod without one of its constraints is placed into the
//! cluster as the plan leaves it, and what that costs is the price of the constraint.

mod constraint;
mod launches;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use constraint::Constraint;
pub use launches::LaunchReason;

use constraint::constraints;

use crate::config::{Config, Preemption};
use crate::core::Scheduler;
use crate::error::Result;
use crate::model::{
    Input, Node, NodeGroup, Plan, Pod, PoolLimits, PreemptionPolicy, Reason, RunningPod, Target,
};

/// How many pods without a place are explained one by one; those that are alike count once.
const MOST: usize = 100;

/// The most constraints that are given up together in the search for the fewest.
const TOGETHER: usize = 3;

/// How many sets of constraints are tried for one pod.
const TRIES: usize = 200;

/// Constraints to give up, and what the pod would then cost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remedy {
    /// What to give up.
    pub constraints: Vec<Constraint>,
    /// What would be launched for the pod, in millionths of a dollar per hour; 0 where a node has
    /// room.
    pub price_micros: u64,
}

impl fmt::Display for Remedy {
    #[expect(clippy::cast_precision_loss, reason = "dollars to read")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.constraints.iter().map(Constraint::to_string).collect();
        let dollars = self.price_micros as f64 / 1e6;
        write!(f, "without {}: {dollars:.4} $/h", names.join(" and "))
    }
}

/// Pods without a place that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stuck {
    /// The first of them.
    pub pod: Arc<str>,
    /// How many there are.
    pub pods: u64,
    /// Why.
    pub reason: Reason,
    /// The fewest constraints without which it has a place, the cheapest of such sets. `None` where
    /// none of three helps.
    pub fewest: Option<Remedy>,
    /// The one constraint that is cheapest to give up, if giving up one helps at all.
    pub cheapest: Option<Remedy>,
    /// Whether it would have a place if no pod of lower priority ran: then
    /// [`Config::preemption`] may help, where the plan was made without.
    pub behind_lower: bool,
}

/// A plan explained, as data; [`Display`](fmt::Display) says it in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Pods without a place, in the order of the plan. At most a hundred that are not alike.
    pub stuck: Vec<Stuck>,
    /// By launch: why this type.
    pub launches: Vec<LaunchReason>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stuck in &self.stuck {
            write!(f, "{} pods such as {} wait: {}", stuck.pods, stuck.pod, stuck.reason)?;
            if stuck.behind_lower {
                f.write_str("; pods of lower priority have its room: allow preemption")?;
            }
            match (&stuck.fewest, &stuck.cheapest) {
                (_, Some(remedy)) | (Some(remedy), None) => writeln!(f, "; {remedy}")?,
                (None, None) => writeln!(f)?,
            }
        }
        self.launches.iter().try_for_each(|launch| writeln!(f, "{launch}"))
    }
}

/// Explains a plan for this input.
///
/// Each pod without a place is tried in the cluster that the plan makes, without one constraint
/// after the other, then without two and three at once: with `n` nodes and types it takes time as
/// some hundred placements do.
///
/// ```
/// use binpack::{
///     BuiltinCatalogue, Config, Constraint, Input, NodePool, Pod, Requirement, Resources, explain,
///     key, plan,
/// };
///
/// let pod = Pod::new("web", Resources::new(500, 1 << 30))
///     .require(Requirement::is_in(key::ZONE, ["eu-west-1a"]));
/// let input = Input {
///     pods: vec![pod],
///     pools: vec![NodePool::linux_amd64_on_demand("default")],
///     instance_types: BuiltinCatalogue::new().types(),
///     ..Input::default()
/// };
/// let config = Config::default();
/// let why = explain(&input, &config, &plan(&input, &config)?)?;
/// let remedy = why.stuck[0].cheapest.as_ref().expect("one constraint is in the way");
/// assert_eq!(remedy.constraints, [Constraint::Requirement(key::ZONE.into())]);
/// assert!(remedy.price_micros > 0, "a node would be launched for it");
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if [`Input::check`] or [`Config::check`]
/// refuses, or if the plan is not one for this input.
pub fn explain(input: &Input, config: &Config, plan: &Plan) -> Result<Explanation> {
    let mut explainer = Explainer::new(input, config, plan)?;
    let mut known: Vec<(&Pod, usize)> = Vec::new();
    let mut stuck: Vec<Stuck> = Vec::new();
    let pods: BTreeMap<&str, &Pod> = input.pods.iter().map(|pod| (&*pod.name, pod)).collect();
    for unplaced in &plan.unplaced {
        let Some(pod) = pods.get(&*unplaced.pod) else { continue };
        if let Some((_, at)) = known.iter().find(|(other, _)| alike(other, pod)) {
            stuck[*at].pods += 1;
        } else if stuck.len() < MOST {
            known.push((pod, stuck.len()));
            stuck.push(explainer.stuck(pod, unplaced.reason.clone())?);
        }
    }
    Ok(Explanation { stuck, launches: launches::reasons(input, plan) })
}

/// Whether two pods differ by their names alone.
fn alike(a: &Pod, b: &Pod) -> bool {
    let named = Pod { name: a.name.clone(), ..b.clone() };
    *a == named
}

struct Explainer {
    /// The cluster as the plan leaves it.
    scheduler: Scheduler,
    /// The same without the pools' limits and the groups' greatest sizes.
    unlimited: Scheduler,
    /// The same as an input, if nobody was evicted in the plan.
    calm: Option<Input>,
    /// By priority: the cluster without pods of lower priority.
    emptied: BTreeMap<i32, Scheduler>,
    config: Config,
    tried: u64,
}

impl Explainer {
    fn new(input: &Input, config: &Config, plan: &Plan) -> Result<Self> {
        let mut config = config.clone();
        (config.iterations, config.packing_rounds) = (0, 1);
        // What it would take is told of the cluster as it is.
        let calm = config.preemption == Preemption::Never;
        config.preemption = Preemption::Never;
        let after = after(input, plan);
        let mut unlimited = after.clone();
        for pool in &mut unlimited.pools {
            pool.limits = PoolLimits::default();
        }
        for group in &mut unlimited.node_groups {
            group.max_size = NodeGroup::MAX_SIZE;
        }
        let calm = calm.then(|| after.clone());
        let scheduler = Scheduler::new(after, config.clone())?;
        let unlimited = Scheduler::new(unlimited, config.clone())?;
        let emptied = BTreeMap::new();
        Ok(Self { scheduler, unlimited, calm, emptied, config, tried: 0 })
    }

    fn stuck(&mut self, pod: &Pod, reason: Reason) -> Result<Stuck> {
        let all = constraints(pod);
        let mut singles = Vec::new();
        for constraint in &all {
            singles.extend(self.remedy(pod, &[constraint])?);
        }
        let cheapest = singles.into_iter().min_by_key(|remedy| remedy.price_micros);
        let mut fewest = cheapest.clone();
        let mut tries = TRIES;
        for together in 2..=TOGETHER {
            if fewest.is_some() {
                break;
            }
            for set in sets(&all, together) {
                if tries == 0 {
                    break;
                }
                tries -= 1;
                let remedy = self.remedy(pod, &set)?;
                let better = |known: &Remedy| {
                    remedy.as_ref().is_some_and(|new| new.price_micros < known.price_micros)
                };
                if fewest.as_ref().is_none_or(better) {
                    fewest = remedy.or(fewest);
                }
            }
        }
        let behind_lower = self.is_behind_lower(pod)?;
        Ok(Stuck { pod: pod.name.clone(), pods: 1, reason, fewest, cheapest, behind_lower })
    }

    /// Whether a pod, which is no member of a gang, has a place where none of lower priority runs.
    fn is_behind_lower(&mut self, pod: &Pod) -> Result<bool> {
        let may = pod.preemption_policy == PreemptionPolicy::LowerPriority && pod.gang.is_none();
        let Some(after) = self.calm.as_ref().filter(|_| may) else { return Ok(false) };
        let lower = |of: &RunningPod| of.pod.priority < pod.priority;
        if !after.nodes.iter().flat_map(|node| &node.pods).any(lower) {
            return Ok(false);
        }
        let emptied = match self.emptied.entry(pod.priority) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let emptied = without_lower(after, pod.priority);
                new.insert(Scheduler::new(emptied, self.config.clone())?)
            }
        };
        let done = emptied.schedule(vec![pod.clone()])?;
        emptied.remove([&*pod.name]);
        Ok(!done.bindings.is_empty())
    }

    /// What a pod costs without these constraints, if it has a place then.
    fn remedy(&mut self, pod: &Pod, without: &[&Constraint]) -> Result<Option<Remedy>> {
        self.tried += 1;
        let mut relaxed = pod.clone();
        // A name that no other pod has.
        relaxed.name = format!("{}\u{0}{}", pod.name, self.tried).into();
        for constraint in without {
            constraint.relax(&mut relaxed);
        }
        let limits = without.iter().any(|constraint| **constraint == Constraint::PoolLimits);
        let scheduler = if limits { &mut self.unlimited } else { &mut self.scheduler };
        let name = relaxed.name.clone();
        let done = scheduler.schedule(vec![relaxed])?;
        scheduler.remove([&*name]);
        let placed = !done.bindings.is_empty();
        Ok(placed.then(|| Remedy {
            constraints: without.iter().map(|constraint| (*constraint).clone()).collect(),
            price_micros: done.launches.iter().map(|(_, launch)| launch.price_micros).sum(),
        }))
    }
}

/// All sets of so many constraints, in order.
fn sets(all: &[Constraint], together: usize) -> Vec<Vec<&Constraint>> {
    if together == 0 {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for (at, first) in all.iter().enumerate() {
        for mut rest in sets(&all[at + 1..], together - 1) {
            rest.insert(0, first);
            found.push(rest);
        }
    }
    found
}

/// Takes pods off a node.
fn remove(node: &mut Node, goes: impl Fn(&RunningPod) -> bool) {
    let pods = std::mem::take(&mut node.pods);
    let (gone, stay): (Vec<_>, Vec<_>) = pods.into_iter().partition(goes);
    node.pods = stay;
    for of in &gone {
        node.release(&of.pod.requests, &of.gpus);
    }
}

/// The same cluster without pods of lower priority, and without anything to launch.
fn without_lower(input: &Input, priority: i32) -> Input {
    let mut emptied = input.clone();
    emptied.pools.clear();
    for node in &mut emptied.nodes {
        remove(node, |running| running.pod.priority < priority);
    }
    emptied
}

/// The cluster once a plan is carried out, without pods that wait.
fn after(input: &Input, plan: &Plan) -> Input {
    let mut nodes: Vec<Node> = input.nodes.clone();
    let launch = |(at, launch): (usize, &crate::model::Launch)| launch.node(format!("\u{0}{at}"));
    nodes.extend(plan.launches.iter().enumerate().map(launch));
    let evicted: BTreeSet<(&str, &str)> =
        plan.evictions.iter().map(|of| (&*of.node, &*of.pod)).collect();
    for node in nodes.iter_mut().filter(|_| !evicted.is_empty()) {
        let name = node.name.clone();
        remove(node, |running| evicted.contains(&(&*name, &*running.pod.name)));
    }
    let index: BTreeMap<Arc<str>, usize> =
        nodes.iter().enumerate().map(|(at, node)| (node.name.clone(), at)).collect();
    let pods: BTreeMap<&str, &Pod> = input.pods.iter().map(|pod| (&*pod.name, pod)).collect();
    for binding in &plan.bindings {
        let site = match &binding.target {
            Target::Existing(name) => index.get(name).copied(),
            Target::Launch(at) => Some(input.nodes.len() + at),
        };
        let node = site.and_then(|site| nodes.get_mut(site));
        let Some((pod, node)) = pods.get(&*binding.pod).zip(node) else { continue };
        if node.take(&pod.requests, &binding.gpus) {
            let gpus = binding.gpus.clone();
            node.pods.push(RunningPod { gpus, ..RunningPod::new((*pod).clone()) });
        }
    }
    Input { pods: Vec::new(), nodes, ..input.clone() }
}
