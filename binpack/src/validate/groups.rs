//! Sizes of node groups.

use super::machine::{Launcher, Machine};
use super::state::State;
use super::{Breach, Rule};
use crate::model::{Input, Launch, NodeGroup, Plan};

/// No group grows above its greatest size. One that was above it before is not the plan's doing.
pub(super) fn greatest(state: &State<'_>) -> Vec<Breach> {
    let wrong = state.input.node_groups.iter().filter_map(|group| {
        let (added, max) = (launched(state.plan, group), group.max_size);
        let size = group.size(state.input) + added;
        let message = || format!("group {}: {size} nodes, at most {max} may be", group.name);
        (added > 0 && size > u64::from(max)).then(|| Breach::new(Rule::GroupSize, message()))
    });
    wrong.collect()
}

/// No group stays below its least size if more of its machines can be had.
pub(super) fn least(state: &State<'_>) -> Vec<Breach> {
    let wrong = state.input.node_groups.iter().filter_map(|group| {
        let (size, min) = (group.size(state.input) + launched(state.plan, group), group.min_size);
        let message = || format!("group {}: {size} nodes, at least {min} must be", group.name);
        let below = size < u64::from(min) && more_can_be_had(state, group);
        below.then(|| Breach::new(Rule::GroupSize, message()))
    });
    wrong.collect()
}

/// Whether the group of a launch has no more nodes than it must have.
pub(super) fn needs_all(state: &State<'_>, launch: &Launch) -> bool {
    let Ok(Launcher::Group(group)) = Launcher::of(state.input, launch) else { return false };
    group.size(state.input) + launched(state.plan, group) <= u64::from(group.min_size)
}

/// How many of a group's nodes a plan launches.
fn launched(plan: &Plan, group: &NodeGroup) -> u64 {
    plan.launches.iter().filter(|l| l.group.as_ref() == Some(&group.name)).count() as u64
}

/// Whether its daemons leave a machine of the group standing, and not all that are sold are
/// launched.
fn more_can_be_had(state: &State<'_>, group: &NodeGroup) -> bool {
    let input: &Input = state.input;
    let Some(it) = state.types.get(&*group.instance_type) else { return false };
    let of = Launcher::Group(group);
    let Ok(machine) = Machine::of(input, of, it, &group.zone, group.capacity_type) else {
        return false;
    };
    let same = |l: &&Launch| {
        (&l.instance_type, &l.zone, l.capacity_type)
            == (&group.instance_type, &group.zone, group.capacity_type)
    };
    let sold = state.plan.launches.iter().filter(same).count() as u64;
    let left = machine.offering.available.is_none_or(|available| sold < u64::from(available));
    left && machine.holds_its_daemons()
}
