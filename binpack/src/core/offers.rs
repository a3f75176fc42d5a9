//! What may be launched: every pool × instance type × offering that the pool allows.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::bits::Bits;
use super::problem::{Problem, domains};
use super::room::Room;
use crate::error::Result;
use crate::model::{Effect, Input, InstanceType, Labels, NodePool, Resources, key};

/// One thing that may be launched.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) pool: usize,
    pub(super) instance_type: usize,
    pub(super) offering: usize,
    pub(super) price: u64,
    /// What its pods may use, daemons apart.
    pub(super) room: Room,
    /// The classes that it takes.
    pub(super) may: Bits,
    /// Those of them that it doesn't ask to stay away.
    pub(super) likes: Bits,
}

impl Offer {
    /// The value of a label of the node that it makes.
    pub(super) fn label<'i>(&self, input: &'i Input, wanted: &str) -> Option<&'i str> {
        label(
            &input.pools[self.pool],
            &input.instance_types[self.instance_type],
            self.offering,
            wanted,
        )
    }

    /// All labels of the node that it makes.
    pub(super) fn labels(&self, input: &Input) -> Labels {
        let (pool, it) = (&input.pools[self.pool], &input.instance_types[self.instance_type]);
        let offering = &it.offerings[self.offering];
        let mut all = it.labels.clone();
        all.extend(pool.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        all.insert(key::ZONE.into(), offering.zone.clone());
        all.insert(key::CAPACITY_TYPE.into(), Arc::from(offering.capacity_type.as_str()));
        all.insert(key::INSTANCE_TYPE.into(), it.name.clone());
        all.insert(key::NODE_POOL.into(), pool.name.clone());
        all
    }

    /// The classes that count: all that may enter, or only those that are welcome.
    pub(super) fn mask(&self, soft: bool) -> &Bits {
        if soft { &self.may } else { &self.likes }
    }
}

fn label<'i>(
    pool: &'i NodePool,
    it: &'i InstanceType,
    offering: usize,
    wanted: &str,
) -> Option<&'i str> {
    match wanted {
        key::ZONE => Some(&it.offerings[offering].zone),
        key::CAPACITY_TYPE => Some(it.offerings[offering].capacity_type.as_str()),
        key::INSTANCE_TYPE => Some(&it.name),
        key::NODE_POOL => Some(&pool.name),
        _ => pool.labels.get(wanted).or_else(|| it.labels.get(wanted)).map(|value| &**value),
    }
}

/// Whether no label of the pool contradicts what the machine says of itself: labels are facts on
/// which pods rely, as on the architecture.
fn agrees(pool: &NodePool, it: &InstanceType, offering: usize) -> bool {
    pool.labels.iter().all(|(key, value)| {
        let own = match &**key {
            key::ZONE | key::CAPACITY_TYPE | key::INSTANCE_TYPE | key::NODE_POOL => {
                label(pool, it, offering, key)
            }
            _ => it.labels.get(key).map(|own| &**own),
        };
        own.is_none_or(|own| *own == **value)
    })
}

/// All that may be launched.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub(super) all: Vec<Offer>,
}

impl Offers {
    pub(super) fn new(problem: &Problem<'_>) -> Result<Self> {
        let mut all = Vec::new();
        for (pool, of) in problem.input.pools.iter().enumerate() {
            let builder = PoolOffers { problem, pool, of, domains: domains(&of.requirements)? };
            problem
                .input
                .instance_types
                .iter()
                .enumerate()
                .for_each(|(i, it)| builder.add(i, it, &mut all));
        }
        Ok(Self { all })
    }

    /// The pools' weights, the highest first.
    pub(super) fn weights(input: &Input) -> Vec<u32> {
        let weights: BTreeSet<_> = input.pools.iter().map(|pool| Reverse(pool.weight)).collect();
        weights.into_iter().map(|Reverse(weight)| weight).collect()
    }

    /// The offers of a weight that are worth a look, by price: without those that cost no less
    /// than another one that has as much room and takes the same classes.
    pub(super) fn undominated(&self, input: &Input, weight: u32, soft: bool) -> Vec<&Offer> {
        let mine = self
            .all
            .iter()
            .filter(|o| input.pools[o.pool].weight == weight && !o.mask(soft).is_empty());
        let mut sorted: Vec<&Offer> = mine.collect();
        sorted.sort_by_key(|o| o.price);
        let mut kept: Vec<&Offer> = Vec::new();
        for offer in sorted {
            if !kept.iter().rev().any(|k| dominates(input, k, offer, soft)) {
                kept.push(offer);
            }
        }
        kept
    }
}

/// Whether `a`, which costs no more, makes `b` needless. A pool with limits may run out, or have
/// room only for the smaller machine: there, only the same machine in another zone does.
fn dominates(input: &Input, a: &Offer, b: &Offer, soft: bool) -> bool {
    let same = a.pool == b.pool && a.instance_type == b.instance_type;
    let unlimited = input.pools[a.pool].limits == crate::model::PoolLimits::default();
    (same || unlimited) && a.room.covers(&b.room) && a.mask(soft).covers(b.mask(soft))
}

struct PoolOffers<'p, 'i> {
    problem: &'p Problem<'i>,
    pool: usize,
    of: &'i NodePool,
    domains: super::problem::Domains,
}

impl PoolOffers<'_, '_> {
    fn add(&self, instance_type: usize, it: &InstanceType, all: &mut Vec<Offer>) {
        let Some(free) = it.allocatable.checked_sub(&self.of.daemon_overhead) else {
            return;
        };
        let mut room = None;
        for (offering, sold) in it.offerings.iter().enumerate() {
            if !agrees(self.of, it, offering) {
                continue;
            }
            let of = |wanted: &str| label(self.of, it, offering, wanted);
            if !self.domains.iter().all(|(key, domain)| domain.allows(of(key))) {
                continue;
            }
            let empty = || Room::new(&self.problem.dims, &free, &Resources::default(), &[]);
            let room = room.get_or_insert_with(empty).clone();
            let may = self.classes(|class| class.may_enter(&self.of.taints) && class.allows(of));
            let likes = if self.of.taints.iter().any(|t| t.effect == Effect::PreferNoSchedule) {
                self.classes(|class| {
                    class.may_enter(&self.of.taints)
                        && class.likes(&self.of.taints)
                        && class.allows(of)
                })
            } else {
                may.clone()
            };
            all.push(Offer {
                pool: self.pool,
                instance_type,
                offering,
                price: sold.price_micros,
                room,
                may,
                likes,
            });
        }
    }

    fn classes(&self, takes: impl Fn(&super::problem::Class<'_>) -> bool) -> Bits {
        let classes = &self.problem.classes;
        Bits::collect(
            classes.len(),
            classes.iter().enumerate().filter(|(_, class)| takes(class)).map(|(i, _)| i),
        )
    }
}
