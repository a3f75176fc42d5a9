//! What a pool gets when it launches an instance type, and a group when it grows.

use super::amounts::{Amounts, add_pod, amounts, lacking};
use super::labels::{all_satisfied, alternative_left, repelled, satisfied};
use crate::model::{
    CapacityType, Input, InstanceType, Labels, Launch, NodeGroup, NodePool, Offering, Pod,
    Resources, Taint, key,
};

/// Who launches.
#[derive(Clone, Copy)]
pub(super) enum Launcher<'a> {
    Pool(&'a NodePool),
    Group(&'a NodeGroup),
}

impl<'a> Launcher<'a> {
    /// Who a launch says it is.
    pub(super) fn of(input: &'a Input, launch: &Launch) -> Result<Self, String> {
        let name = &launch.pool;
        match &launch.group {
            None => {
                let pool = input.pools.iter().find(|pool| pool.name == *name);
                pool.map(Self::Pool).ok_or_else(|| format!("there is no pool {name}"))
            }
            Some(group) if group != name => {
                Err(format!("belongs to group {group}, and pool is {name}"))
            }
            Some(_) => {
                let group = input.node_groups.iter().find(|group| group.name == *name);
                group.map(Self::Group).ok_or_else(|| format!("there is no node group {name}"))
            }
        }
    }

    pub(super) fn taints(self) -> &'a [Taint] {
        match self {
            Self::Pool(pool) => &pool.taints,
            Self::Group(group) => &group.taints,
        }
    }

    fn labels(self) -> &'a Labels {
        match self {
            Self::Pool(pool) => &pool.labels,
            Self::Group(group) => &group.labels,
        }
    }

    fn name(self) -> &'a str {
        match self {
            Self::Pool(pool) => &pool.name,
            Self::Group(group) => &group.name,
        }
    }

    /// Why it does not launch a machine that is sold in this way and has these labels.
    fn refusal(self, it: &InstanceType, offering: &Offering, labels: &Labels) -> Option<String> {
        match self {
            Self::Pool(pool) => {
                let unmet = pool.requirements.iter().find(|r| !satisfied(r, labels))?;
                Some(format!("pool {} requires {unmet}", pool.name))
            }
            Self::Group(group) => {
                let own = group.instance_type == it.name
                    && group.zone == offering.zone
                    && group.capacity_type == offering.capacity_type;
                let NodeGroup { name, instance_type, zone, capacity_type, .. } = group;
                (!own).then(|| {
                    format!("node group {name} is of {instance_type} as {capacity_type} in {zone}")
                })
            }
        }
    }
}

/// A machine that a pool or a group may launch.
pub(super) struct Machine<'a> {
    pub(super) launcher: Launcher<'a>,
    pub(super) it: &'a InstanceType,
    pub(super) offering: &'a Offering,
    pub(super) labels: Labels,
    pub(super) allocatable: Resources,
    daemons: Vec<&'a Pod>,
}

impl<'a> Machine<'a> {
    /// The machine, or in words why it can't be had.
    pub(super) fn of(
        input: &'a Input,
        launcher: Launcher<'a>,
        it: &'a InstanceType,
        zone: &str,
        capacity_type: CapacityType,
    ) -> Result<Self, String> {
        let sold = |o: &&Offering| &*o.zone == zone && o.capacity_type == capacity_type;
        let Some(offering) = it.offerings.iter().find(sold) else {
            return Err(format!("{} is not sold as {capacity_type} in {zone}", it.name));
        };
        let labels = labels(launcher, it, offering)?;
        if let Some(problem) = launcher.refusal(it, offering, &labels) {
            return Err(problem);
        }
        let mut allocatable = it.allocatable.clone();
        if let Launcher::Pool(pool) = launcher
            && pool.best_effort_percent > 0
        {
            allocatable = allocatable.with_best_effort_percent(pool.best_effort_percent);
        }
        let daemons = daemons_of(input, launcher.taints(), &labels);
        Ok(Self { launcher, it, offering, labels, allocatable, daemons })
    }

    /// What daemons use of it.
    pub(super) fn overhead(&self) -> Amounts<'a> {
        let mut sum = match self.launcher {
            Launcher::Pool(pool) => amounts(&pool.daemon_overhead),
            Launcher::Group(_) => Amounts::new(),
        };
        self.daemons.iter().for_each(|daemon| add_pod(&mut sum, &daemon.requests));
        sum
    }

    /// Whether one can be had and its daemons fit.
    pub(super) fn is_possible(&self) -> bool {
        self.available() && self.holds_its_daemons()
    }

    /// Whether its daemons fit.
    pub(super) fn holds_its_daemons(&self) -> bool {
        lacking(&self.overhead(), &amounts(&self.allocatable)).is_none()
    }

    /// Whether one can be had.
    pub(super) fn available(&self) -> bool {
        self.offering.available != Some(0)
    }
}

/// The labels of a launch: what the machine says of itself, and those of its pool or group, which
/// must not contradict it.
fn labels(of: Launcher<'_>, it: &InstanceType, offering: &Offering) -> Result<Labels, String> {
    let mut labels = it.labels.clone();
    labels.insert(key::ZONE.into(), offering.zone.clone());
    labels.insert(key::CAPACITY_TYPE.into(), offering.capacity_type.as_str().into());
    labels.insert(key::INSTANCE_TYPE.into(), it.name.clone());
    if let Launcher::Pool(pool) = of {
        labels.insert(key::NODE_POOL.into(), pool.name.clone());
    }
    for (key, value) in of.labels() {
        let own = labels.insert(key.clone(), value.clone());
        if let Some(own) = own.filter(|own| own != value) {
            return Err(format!("{} wants {key}={value}, and it is {own}", of.name()));
        }
    }
    Ok(labels)
}

/// The daemons that run on new nodes with these taints and labels.
pub(super) fn daemons_of<'a>(input: &'a Input, taints: &[Taint], labels: &Labels) -> Vec<&'a Pod> {
    let runs = |daemon: &&Pod| {
        repelled(taints, &daemon.tolerations).is_none()
            && all_satisfied(&daemon.requirements, labels)
            && alternative_left(&daemon.node_affinity, labels)
    };
    input.daemons.iter().filter(runs).collect()
}
