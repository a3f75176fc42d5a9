//! Launches: that the pool or the group may have them, and what they add up to.

use std::collections::BTreeMap;

use super::amounts::{Amounts, add_pod, amounts};
use super::machine::{Launcher, Machine};
use super::state::{Site, State};
use super::{Breach, Rule};
use crate::model::{Launch, Node, Resources, key};

/// Every launch by itself.
pub(super) fn launches(state: &State<'_>) -> Vec<Breach> {
    let mut found = Vec::new();
    for (index, launch, site) in state.launches() {
        let mut breach = |rule, problem: Option<String>| {
            let message = problem.map(|problem| format!("launch {index}: {problem}"));
            found.extend(message.map(|message| Breach::new(rule, message)));
        };
        breach(Rule::Launch, unlawful(state, launch));
        breach(Rule::Requested, misjudged(launch, site));
    }
    found
}

/// What is wrong with a launch in itself.
fn unlawful(state: &State<'_>, launch: &Launch) -> Option<String> {
    let launcher = match Launcher::of(state.input, launch) {
        Ok(launcher) => launcher,
        Err(problem) => return Some(problem),
    };
    let Some(it) = state.types.get(&*launch.instance_type) else {
        return Some(format!("there is no instance type {}", launch.instance_type));
    };
    let machine = Machine::of(state.input, launcher, it, &launch.zone, launch.capacity_type);
    let machine = match machine {
        Ok(machine) => machine,
        Err(problem) => return Some(problem),
    };
    let price = machine.offering.price_micros;
    if price != launch.price_micros {
        return Some(format!("costs {price}, not {}", launch.price_micros));
    }
    if (&launch.capacity, &launch.allocatable) != (&it.capacity, &machine.allocatable) {
        return Some("capacity or allocatable is not its type's".into());
    }
    if launch.taints != launcher.taints() {
        return Some("taints are not its pool's or group's".into());
    }
    if launch.labels != machine.labels {
        return Some("labels are not its type's and its pool's or group's".into());
    }
    (amounts(&launch.daemon_overhead) != machine.overhead())
        .then(|| "daemon overhead is not its pool's and daemons'".into())
}

/// What is wrong with its `requested`.
fn misjudged(launch: &Launch, site: &Site<'_>) -> Option<String> {
    let mut used = amounts(&launch.daemon_overhead);
    site.bound().for_each(|placed| add_pod(&mut used, &placed.pod.requests));
    (used != amounts(&launch.requested))
        .then(|| "requested is not its pods' and daemons' sum".into())
}

/// Launches without pods, those apart that may be so.
pub(super) fn idle(state: &State<'_>, may: impl Fn(usize, &Launch) -> bool) -> Vec<Breach> {
    let idle = state.launches().filter(|(_, _, site)| site.pods.is_empty());
    let idle = idle.filter(|(index, launch, _)| !may(*index, launch));
    let breach = |index| Breach::new(Rule::Requested, format!("launch {index}: has no pod"));
    idle.map(|(index, ..)| breach(index)).collect()
}

/// As many of each offering as can be had.
pub(super) fn available(state: &State<'_>) -> Vec<Breach> {
    let mut launched: BTreeMap<_, u64> = BTreeMap::new();
    for launch in &state.plan.launches {
        let of = (&*launch.instance_type, &*launch.zone, launch.capacity_type);
        *launched.entry(of).or_default() += 1;
    }
    let mut found = Vec::new();
    for ((it, zone, capacity_type), number) in launched {
        let sold = state.types.get(it).into_iter().flat_map(|it| &it.offerings);
        let mut sold = sold.filter(|o| &*o.zone == zone && o.capacity_type == capacity_type);
        let Some(available) = sold.next().and_then(|offering| offering.available) else {
            continue;
        };
        if number > u64::from(available) {
            let message = format!(
                "{number} {it} are launched as {capacity_type} in {zone}, {available} can be had"
            );
            found.push(Breach::new(Rule::Available, message));
        }
    }
    found
}

/// The name under which machines are counted; what is counted else are their resources.
const NODES: (bool, &str) = (false, "nodes");

pub(super) fn limits(state: &State<'_>) -> Vec<Breach> {
    let mut found = Vec::new();
    for pool in &state.input.pools {
        let own = |l: &&Launch| l.group.is_none() && l.pool == pool.name;
        let launches = state.plan.launches.iter().filter(own);
        let types = launches.filter_map(|launch| state.types.get(&*launch.instance_type));
        let added = total(types.map(|it| &it.capacity));
        let of = |node: &&Node| {
            node.group.is_none() && node.labels.get(key::NODE_POOL) == Some(&pool.name)
        };
        let before = total(state.input.nodes.iter().filter(of).map(|node| &node.capacity));
        let limits = &pool.limits;
        let fixed = [
            ((false, "cpu_milli"), limits.cpu_milli),
            ((false, "memory_bytes"), limits.memory_bytes),
            ((false, "gpu_milli"), limits.gpu_milli),
            ((false, "ephemeral_bytes"), limits.ephemeral_bytes),
            (NODES, limits.nodes),
        ];
        let extended = limits.extended.iter().map(|(name, limit)| ((true, &**name), Some(*limit)));
        for (name, limit) in fixed.into_iter().chain(extended) {
            let of = |sums: &Amounts<'_>| sums.get(&name).copied().unwrap_or(0);
            let sum = of(&before) + of(&added);
            // A pool that was over its limit before is not the plan's doing, as long as the
            // plan adds nothing to what it is over in.
            if of(&added) > 0 && limit.is_some_and(|limit| sum > u128::from(limit)) {
                let message = format!("pool {}: {sum} {} are above its limit", pool.name, name.1);
                found.push(Breach::new(Rule::Limits, message));
            }
        }
    }
    found
}

/// What machines have together, and their number.
fn total<'a>(machines: impl Iterator<Item = &'a Resources>) -> Amounts<'a> {
    let mut sums = Amounts::new();
    for machine in machines {
        for (name, amount) in amounts(machine) {
            *sums.entry(name).or_default() += amount;
        }
        *sums.entry(NODES).or_default() += 1;
    }
    sums
}

pub(super) fn cost(state: &State<'_>) -> Vec<Breach> {
    let plan = state.plan;
    let sum: u128 = plan.launches.iter().map(|launch| u128::from(launch.price_micros)).sum();
    if sum.min(u128::from(u64::MAX)) == u128::from(plan.cost_per_hour_micros) {
        return Vec::new();
    }
    let message = format!("launches cost {sum}, the plan says {}", plan.cost_per_hour_micros);
    vec![Breach::new(Rule::Cost, message)]
}
