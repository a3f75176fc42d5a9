//! What a pool gets when it launches an instance type.

use super::amounts::{Amounts, add_pod, amounts};
use super::labels::{all_satisfied, alternative_left, repelled, satisfied};
use crate::model::{
    CapacityType, Input, InstanceType, Labels, NodePool, Offering, Pod, Resources, Taint, key,
};

/// A machine that a pool may launch.
pub(super) struct Machine<'a> {
    pub(super) pool: &'a NodePool,
    pub(super) it: &'a InstanceType,
    pub(super) offering: &'a Offering,
    pub(super) labels: Labels,
    pub(super) allocatable: Resources,
    daemons: Vec<&'a Pod>,
}

impl<'a> Machine<'a> {
    /// The machine, or in words why the pool can't have it.
    pub(super) fn of(
        input: &'a Input,
        pool: &'a NodePool,
        it: &'a InstanceType,
        zone: &str,
        capacity_type: CapacityType,
    ) -> Result<Self, String> {
        let sold = |o: &&Offering| &*o.zone == zone && o.capacity_type == capacity_type;
        let Some(offering) = it.offerings.iter().find(sold) else {
            return Err(format!("{} is not sold as {capacity_type} in {zone}", it.name));
        };
        let labels = labels(pool, it, offering)?;
        if let Some(unmet) = pool.requirements.iter().find(|r| !satisfied(r, &labels)) {
            return Err(format!("pool {} requires {unmet}", pool.name));
        }
        let mut allocatable = it.allocatable.clone();
        if pool.best_effort_percent > 0 {
            allocatable = allocatable.with_best_effort_percent(pool.best_effort_percent);
        }
        let daemons = daemons_of(input, &pool.taints, &labels);
        Ok(Self { pool, it, offering, labels, allocatable, daemons })
    }

    /// What daemons use of it.
    pub(super) fn overhead(&self) -> Amounts<'a> {
        let mut sum = amounts(&self.pool.daemon_overhead);
        self.daemons.iter().for_each(|daemon| add_pod(&mut sum, &daemon.requests));
        sum
    }

    /// Whether one can be had.
    pub(super) fn available(&self) -> bool {
        self.offering.available != Some(0)
    }
}

/// The labels of a launch: what the machine says of itself, and those of its pool, which must not
/// contradict it.
fn labels(pool: &NodePool, it: &InstanceType, offering: &Offering) -> Result<Labels, String> {
    let mut labels = it.labels.clone();
    labels.insert(key::ZONE.into(), offering.zone.clone());
    labels.insert(key::CAPACITY_TYPE.into(), offering.capacity_type.as_str().into());
    labels.insert(key::INSTANCE_TYPE.into(), it.name.clone());
    labels.insert(key::NODE_POOL.into(), pool.name.clone());
    for (key, value) in &pool.labels {
        let own = labels.insert(key.clone(), value.clone());
        if let Some(own) = own.filter(|own| own != value) {
            return Err(format!("pool {} wants {key}={value}, and it is {own}", pool.name));
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
