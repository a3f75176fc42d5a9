//! What pools may launch, in numbers.

use std::collections::BTreeSet;
use std::sync::Arc;

use binpack::{GPU_MILLI, Input, InstanceType, NodePool, Offering, Pod, Resources, key};

use crate::kv_journal::Outcome;

/// By resource in the order of [`Resources::NAMES`].
pub(super) type Amounts = [u64; 5];

pub(super) fn amounts(resources: &Resources) -> Amounts {
    let of = resources;
    [of.cpu_milli, of.memory_bytes, of.pods, of.ephemeral_bytes, of.gpu_milli]
}

/// What a pod takes: one of `pods`, and whole GPUs.
pub(super) fn needs(pod: &Pod) -> Amounts {
    let gpus = pod.requests.gpu_milli.next_multiple_of(GPU_MILLI);
    amounts(&pod.requests.clone().with_pods(1).with_gpu_milli(gpus))
}

/// What pools may launch.
pub(super) struct Market {
    /// By name; sets of zones are bits by these indices.
    pub(super) zones: Vec<Arc<str>>,
    /// Pools, the heaviest first.
    pub(super) templates: Vec<Template>,
}

/// A pool.
pub(super) struct Template {
    pub(super) machines: Vec<Machine>,
    /// CPU and memory that it may launch in all.
    pub(super) limits: [u64; 2],
}

/// An instance type of a pool.
pub(super) struct Machine {
    pub(super) instance_type: usize,
    pub(super) room: Amounts,
    /// CPU and memory that count against the limits.
    pub(super) capacity: [u64; 2],
    /// Where it is sold.
    pub(super) zones: u64,
    /// Zone as a bit, price and the index of the offering.
    pub(super) sold: Vec<(u64, u64, usize)>,
}

impl Market {
    pub(super) fn of(input: &Input) -> Outcome<Self> {
        let mut pools: Vec<&NodePool> = input.pools.iter().collect();
        pools.sort_by_key(|pool| (std::cmp::Reverse(pool.weight), pool.name.clone()));
        let offers = |pool: &NodePool, it: &InstanceType| -> Vec<usize> {
            let of = |(at, offering)| sells(pool, it, offering).then_some(at);
            it.offerings.iter().enumerate().filter_map(of).collect()
        };
        let mut zones: BTreeSet<Arc<str>> = BTreeSet::new();
        for (pool, it) in
            pools.iter().flat_map(|p| input.instance_types.iter().map(move |it| (p, it)))
        {
            zones.extend(offers(pool, it).iter().map(|at| it.offerings[*at].zone.clone()));
        }
        let zones: Vec<Arc<str>> = zones.into_iter().collect();
        if zones.len() > 64 {
            return Err("the rules are known for up to 64 zones".into());
        }
        let templates = pools.iter().map(|pool| {
            let types = input.instance_types.iter().enumerate();
            let machines =
                types.filter_map(|(at, it)| machine(pool, at, it, &offers(pool, it), &zones));
            let limits = [pool.limits.cpu_milli, pool.limits.memory_bytes];
            let limits = limits.map(|limit| limit.unwrap_or(u64::MAX));
            Template { machines: machines.collect(), limits }
        });
        Ok(Self { templates: templates.collect(), zones })
    }

    pub(super) fn all_zones(&self) -> u64 {
        (0..self.zones.len()).fold(0, |all, zone| all | 1 << zone)
    }
}

fn machine(
    pool: &NodePool,
    at: usize,
    it: &InstanceType,
    offers: &[usize],
    zones: &[Arc<str>],
) -> Option<Machine> {
    let room = it.allocatable.checked_sub(&pool.daemon_overhead)?;
    let sold = offers.iter().map(|offer| {
        let of = &it.offerings[*offer];
        let zone = zones.binary_search(&of.zone).unwrap_or_default();
        (1 << zone, of.price_micros, *offer)
    });
    let sold: Vec<(u64, u64, usize)> = sold.collect();
    (!sold.is_empty()).then(|| Machine {
        instance_type: at,
        room: amounts(&room),
        capacity: [it.capacity.cpu_milli, it.capacity.memory_bytes],
        zones: sold.iter().fold(0, |all, (zone, ..)| all | zone),
        sold,
    })
}

/// Whether a pool may launch an offering.
fn sells(pool: &NodePool, it: &InstanceType, offering: &Offering) -> bool {
    pool.requirements.iter().all(|requirement| {
        requirement.holds(match &*requirement.key {
            key::ZONE => Some(&offering.zone),
            key::CAPACITY_TYPE => Some(offering.capacity_type.as_str()),
            key::INSTANCE_TYPE => Some(&it.name),
            key::NODE_POOL => Some(&pool.name),
            other => it.labels.get(other).or_else(|| pool.labels.get(other)).map(|value| &**value),
        })
    })
}
