//! The types that could take a launch's place.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::amounts::{add_pod, amounts, lacking};
use super::attachments::{attached, out_of_reach};
use super::labels::{all_satisfied, alternative_left};
use super::machine::{Launcher, Machine};
use super::state::{Site, State};
use super::{Breach, Rule};
use crate::model::{CapacityType, GPU_MILLI, Launch, MinValues};

/// That every alternative is one, and that there are as many as the pool wants.
pub(super) fn alternatives(state: &State<'_>) -> Vec<Breach> {
    let machines = Machines::of(state);
    let mut found = Vec::new();
    for (index, launch, site) in state.launches() {
        let mut breach = |rule, problem: Option<String>| {
            let message = problem.map(|problem| format!("launch {index}: {problem}"));
            found.extend(message.map(|message| Breach::new(rule, message)));
        };
        breach(Rule::Alternatives, wrong(&machines, launch, site));
        let own = launch.group.is_none();
        let pool = state.pools.get(&*launch.pool).filter(|_| own);
        let mut least = pool.into_iter().flat_map(|pool| &pool.min_values);
        breach(Rule::MinValues, least.find_map(|least| too_few(&machines, launch, least)));
    }
    found
}

/// What is wrong with the list as such or with one of it.
fn wrong<'a>(machines: &Machines<'a>, launch: &'a Launch, site: &Site<'_>) -> Option<String> {
    let names = &launch.alternatives;
    if names.len() > Launch::MAX_ALTERNATIVES {
        return Some(format!("{} alternatives, more than are allowed", names.len()));
    }
    let mut seen = HashSet::from([&launch.instance_type]);
    let mut price = 0;
    for name in names {
        if !seen.insert(name) {
            return Some(format!("alternative {name} is named twice"));
        }
        let machine = match machines.get(launch, name) {
            Some(Ok(machine)) => machine,
            Some(Err(problem)) => return Some(format!("alternative {name}: {problem}")),
            None => return Some(format!("alternative {name}: there is no such pool or type")),
        };
        if let Some(problem) = unfit(machine, site) {
            return Some(format!("alternative {name}: {problem}"));
        }
        if machine.offering.price_micros < price {
            return Some(format!("alternative {name} is cheaper than the one before it"));
        }
        price = machine.offering.price_micros;
    }
    None
}

/// Why a machine would not hold the pods of a launch.
fn unfit(machine: &Machine<'_>, site: &Site<'_>) -> Option<String> {
    if !machine.available() {
        return Some("none can be had".into());
    }
    let mut needed = machine.overhead();
    for placed in site.bound() {
        let pod = placed.pod;
        let admitted = all_satisfied(&pod.requirements, &machine.labels)
            && alternative_left(&pod.node_affinity, &machine.labels);
        if !admitted {
            return Some(format!("does not meet the requirements of pod {}", pod.name));
        }
        if let Some(volume) = out_of_reach(pod, &machine.labels) {
            return Some(format!("does not reach volume {}", volume.handle));
        }
        // The bindings name devices, so it must have these.
        let devices = machine.allocatable.gpu_milli / GPU_MILLI;
        let gpus = placed.binding.into_iter().flat_map(|binding| &binding.gpus);
        if let Some(gpu) = gpus.copied().find(|gpu| u64::from(*gpu) >= devices) {
            return Some(format!("has no GPU {gpu}"));
        }
        add_pod(&mut needed, &pod.requests);
    }
    if let Some(name) = lacking(&needed, &amounts(&machine.allocatable)) {
        return Some(format!("has too little {name}"));
    }
    let limits = &machine.it.volume_limits;
    let over = |(driver, number): &(&str, u64)| {
        limits.get(*driver).is_some_and(|limit| *number > u64::from(*limit))
    };
    let (driver, _) = attached(site).into_iter().find(over)?;
    Some(format!("takes fewer volumes of {driver}"))
}

/// What is lacking in the choice that a pool wants.
fn too_few<'a>(machines: &Machines<'a>, launch: &'a Launch, least: &MinValues) -> Option<String> {
    let names = [&launch.instance_type].into_iter().chain(&launch.alternatives);
    let known = names.filter_map(|name| machines.get(launch, name)?.as_ref().ok());
    let values: BTreeSet<_> = known.filter_map(|m| m.labels.get(&least.key)).collect();
    let (has, key, count) = (values.len(), &least.key, least.count);
    ((has as u64) < u64::from(count))
        .then(|| format!("{has} values of {key} to choose among, {count} are wanted"))
}

type MachineKey<'a> = (&'a str, &'a str, &'a str, CapacityType);

/// Every machine that launches name, or why it can't be had: many launches name the same.
struct Machines<'a>(HashMap<MachineKey<'a>, Result<Machine<'a>, String>>);

impl<'a> Machines<'a> {
    fn of(state: &State<'a>) -> Self {
        let mut all = HashMap::new();
        for launch in &state.plan.launches {
            for name in [&launch.instance_type].into_iter().chain(&launch.alternatives) {
                let launcher = Launcher::of(state.input, launch).ok();
                let Some((launcher, it)) = launcher.zip(state.types.get(&**name)) else {
                    continue;
                };
                let (zone, paid) = (&*launch.zone, launch.capacity_type);
                let machine = || Machine::of(state.input, launcher, it, zone, paid);
                all.entry(machine_key(launch, name)).or_insert_with(machine);
            }
        }
        Self(all)
    }

    /// The machine of this type in the launch's place; `None` where the pool, the group or the type
    /// is not known.
    fn get(&self, launch: &'a Launch, name: &'a str) -> Option<&Result<Machine<'a>, String>> {
        self.0.get(&machine_key(launch, name))
    }
}

fn machine_key<'a>(launch: &'a Launch, name: &'a str) -> MachineKey<'a> {
    (&launch.pool, name, &launch.zone, launch.capacity_type)
}
