//! The plan as JSON. All but `elapsed_ms` depends on the input and the flags alone.

use std::collections::BTreeMap;

use binpack::Resources;
use serde::Serialize;

use crate::check::Bound;
use crate::machine::{Machine, Origin};
use crate::report::{Outcome, Sum};
use crate::text::{dollars, percent};

#[derive(Serialize)]
struct Document<'a> {
    version: &'a str,
    cost_per_hour: f64,
    lower_bound_per_hour: Option<f64>,
    gap_percent: Option<f64>,
    left_out: Vec<&'a str>,
    /// `proved`, `undecided` or `none`; one that is refuted is not written.
    bound: &'a str,
    counts: Counts,
    utilisation_percent: Utilisation,
    nodes: Vec<NodeOf<'a>>,
    scale_ups: Vec<Growth>,
    unplaced: Vec<WithoutPlace<'a>>,
    relaxed: Vec<GaveUp<'a>>,
    evicted: Vec<MadeRoom<'a>>,
    iterations: u32,
    cut_short: bool,
    elapsed_ms: u64,
}

#[derive(Serialize)]
struct Counts {
    pods: usize,
    placed: usize,
    unplaced: usize,
    relaxed: usize,
    launches: usize,
    nodes_existing: usize,
    nodes_existing_used: usize,
    pools: usize,
    node_groups: usize,
    instance_types: usize,
    gangs: usize,
    daemons: usize,
}

/// Of what is launched, daemons included; null where it has nothing of the kind.
#[derive(Serialize)]
struct Utilisation {
    cpu: Option<f64>,
    memory: Option<f64>,
    gpu: Option<f64>,
}

/// A node that exists has a `name`, one that is launched a `launch`: its index among them.
#[derive(Serialize)]
struct NodeOf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch: Option<usize>,
    pool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    instance_type: Option<&'a str>,
    zone: Option<&'a str>,
    capacity_type: Option<&'a str>,
    price_per_hour: Option<f64>,
    /// Those that the plan puts there.
    pods: Vec<&'a str>,
    /// The GPUs of these pods, by index, as far as they have any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gpus: BTreeMap<&'a str, &'a [u32]>,
    used: Amounts,
    allocatable: Amounts,
}

/// A group that grows, and by how much.
#[derive(Serialize)]
struct Growth {
    group: String,
    from: u64,
    to: u64,
    max_size: u64,
}

#[derive(Serialize)]
struct Amounts {
    cpu_milli: u64,
    memory_bytes: u64,
    gpu_milli: u64,
    pods: u64,
}

#[derive(Serialize)]
struct WithoutPlace<'a> {
    pod: &'a str,
    kind: String,
    reason: &'a str,
}

#[derive(Serialize)]
struct GaveUp<'a> {
    pod: &'a str,
    relaxations: Vec<String>,
}

/// The document's text.
pub(crate) fn of(outcome: &Outcome<'_>) -> serde_json::Result<String> {
    let plan = outcome.plan();
    let certificate = plan.certificate.as_ref();
    let elapsed_ms = u64::try_from(outcome.planned.elapsed.as_millis()).unwrap_or(u64::MAX);
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        cost_per_hour: plan.cost_per_hour(),
        lower_bound_per_hour: outcome.lower_bound_micros().map(dollars),
        gap_percent: plan.gap_percent(),
        left_out: certificate.iter().flat_map(|c| &c.left_out).map(|what| &**what).collect(),
        bound: match outcome.checked.bound {
            Bound::Proved(_) => "proved",
            Bound::Undecided(_) => "undecided",
            Bound::None | Bound::Refuted(_) => "none",
        },
        counts: counts(outcome),
        utilisation_percent: utilisation(outcome),
        nodes: outcome.machines.iter().map(node).collect(),
        scale_ups: scale_ups(outcome),
        unplaced: unplaced(outcome),
        relaxed: relaxed(outcome),
        evicted: evicted(outcome),
        iterations: plan.iterations,
        cut_short: plan.cut_short,
        elapsed_ms,
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

fn counts(outcome: &Outcome<'_>) -> Counts {
    let (input, plan) = (outcome.input, outcome.plan());
    Counts {
        pods: input.pods.len(),
        placed: plan.bindings.len(),
        unplaced: plan.unplaced.len(),
        relaxed: plan.relaxed.len(),
        launches: plan.launches.len(),
        nodes_existing: input.nodes.len(),
        nodes_existing_used: outcome.existing_used().count(),
        pools: input.pools.len(),
        node_groups: input.node_groups.len(),
        instance_types: input.instance_types.len(),
        gangs: input.gangs.len(),
        daemons: input.daemons.len(),
    }
}

fn utilisation(outcome: &Outcome<'_>) -> Utilisation {
    let Sum { used, allocatable, .. } = Sum::of(outcome.launched());
    Utilisation {
        cpu: percent(used.cpu_milli, allocatable.cpu_milli),
        memory: percent(used.memory_bytes, allocatable.memory_bytes),
        gpu: percent(used.gpu_milli, allocatable.gpu_milli),
    }
}

fn node<'a>(machine: &Machine<'a>) -> NodeOf<'a> {
    let (name, launch) = match machine.origin {
        Origin::Existing(node) => (Some(&*node.name), None),
        Origin::Launch(index, _) => (None, Some(index)),
    };
    let with_gpus = machine.pods.iter().filter(|(_, gpus)| !gpus.is_empty());
    NodeOf {
        name,
        launch,
        pool: machine.pool(),
        group: machine.group(),
        instance_type: machine.instance_type(),
        zone: machine.zone(),
        capacity_type: machine.capacity_type(),
        price_per_hour: machine.price_micros().map(dollars),
        pods: machine.pods.iter().map(|(pod, _)| &*pod.name).collect(),
        gpus: with_gpus.map(|(pod, gpus)| (&*pod.name, *gpus)).collect(),
        used: amounts(&machine.used),
        allocatable: amounts(machine.allocatable()),
    }
}

fn scale_ups(outcome: &Outcome<'_>) -> Vec<Growth> {
    let all = outcome.plan().scale_ups(outcome.input).into_iter();
    let of = |up: binpack::ScaleUp| Growth {
        group: up.group.to_string(),
        from: up.from,
        to: up.to,
        max_size: up.max_size,
    };
    all.map(of).collect()
}

fn amounts(resources: &Resources) -> Amounts {
    Amounts {
        cpu_milli: resources.cpu_milli,
        memory_bytes: resources.memory_bytes,
        gpu_milli: resources.gpu_milli,
        pods: resources.pods,
    }
}

/// Kinds and relaxations are called what the library calls them, which is how Kubernetes writes
/// values: `ScheduleAnyway`.
fn unplaced<'a>(outcome: &Outcome<'a>) -> Vec<WithoutPlace<'a>> {
    let of = |unplaced: &'a binpack::Unplaced| WithoutPlace {
        pod: &unplaced.pod,
        kind: format!("{:?}", unplaced.reason.kind),
        reason: &unplaced.reason.message,
    };
    outcome.plan().unplaced.iter().map(of).collect()
}

/// A pod that runs and goes.
#[derive(Serialize)]
struct MadeRoom<'a> {
    pod: &'a str,
    node: &'a str,
    priority: i32,
    #[serde(rename = "for")]
    preemptor: String,
    violates_budget: bool,
}

fn evicted<'a>(outcome: &Outcome<'a>) -> Vec<MadeRoom<'a>> {
    let of = |eviction: &'a binpack::Eviction| MadeRoom {
        pod: &eviction.pod,
        node: &eviction.node,
        priority: eviction.priority,
        preemptor: eviction.preemptor.to_string(),
        violates_budget: eviction.violates_budget,
    };
    outcome.plan().evictions.iter().map(of).collect()
}

fn relaxed<'a>(outcome: &Outcome<'a>) -> Vec<GaveUp<'a>> {
    let of = |relaxed: &'a binpack::Relaxed| GaveUp {
        pod: &relaxed.pod,
        relaxations: relaxed.relaxations.iter().map(|kind| format!("{kind:?}")).collect(),
    };
    outcome.plan().relaxed.iter().map(of).collect()
}
