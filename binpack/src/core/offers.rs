//! What may be launched: every pool × instance type × offering that the pool allows, and the
//! machine of every group.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bits::Bits;
use super::class::{Class, ClassKey, Domains, domains};
use super::problem::{Problem, launched};
use super::room::Room;
use super::sources::Source;
use crate::error::Result;
use crate::model::{CapacityType, HostPort, Input, InstanceType, Labels, Resources, key};

/// One thing that may be launched.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The index of its source: pools come first, then groups.
    pub(super) pool: usize,
    pub(super) source: Arc<Source>,
    pub(super) instance_type: usize,
    pub(super) offering: usize,
    pub(super) price: u64,
    /// What its pods may use, daemons apart.
    pub(super) room: Room,
    /// What daemons take of it.
    pub(super) overhead: Resources,
    /// The daemons that run on it, by index.
    daemons: Vec<usize>,
    /// The offers of its pool in the same place that are paid for in the same way.
    market: usize,
}

impl Offer {
    /// The value of a label of the node that it makes.
    pub(super) fn label<'i>(&'i self, input: &'i Input, wanted: &str) -> Option<&'i str> {
        label(&self.source, &input.instance_types[self.instance_type], self.offering, wanted)
    }

    /// All labels of the node that it makes.
    pub(super) fn labels(&self, input: &Input) -> Labels {
        let (pool, it) = (&self.source.pool, &input.instance_types[self.instance_type]);
        let offering = &it.offerings[self.offering];
        let mut all = it.labels.clone();
        all.extend(pool.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        all.insert(key::ZONE.into(), offering.zone.clone());
        all.insert(key::CAPACITY_TYPE.into(), Arc::from(offering.capacity_type.as_str()));
        all.insert(key::INSTANCE_TYPE.into(), it.name.clone());
        if self.source.group.is_none() {
            all.insert(key::NODE_POOL.into(), pool.name.clone());
        }
        all
    }

    /// Ports that its daemons take.
    pub(super) fn ports<'i>(&self, input: &'i Input) -> impl Iterator<Item = &'i HostPort> {
        self.daemons.iter().flat_map(|daemon| &input.daemons[*daemon].host_ports)
    }
}

fn label<'i>(
    source: &'i Source,
    it: &'i InstanceType,
    offering: usize,
    wanted: &str,
) -> Option<&'i str> {
    match wanted {
        key::ZONE => Some(&it.offerings[offering].zone),
        key::CAPACITY_TYPE => Some(it.offerings[offering].capacity_type.as_str()),
        key::INSTANCE_TYPE => Some(&it.name),
        key::NODE_POOL if source.group.is_some() => None,
        key::NODE_POOL => Some(&source.pool.name),
        _ => source.pool.labels.get(wanted).or_else(|| it.labels.get(wanted)).map(|value| &**value),
    }
}

/// Whether no label of the pool contradicts what the machine says of itself: labels are facts on
/// which pods rely, as on the architecture.
fn agrees(source: &Source, it: &InstanceType, offering: usize) -> bool {
    source.pool.labels.iter().all(|(key, value)| {
        let own = match &**key {
            key::ZONE | key::CAPACITY_TYPE | key::INSTANCE_TYPE | key::NODE_POOL => {
                label(source, it, offering, key)
            }
            _ => it.labels.get(key).map(|own| &**own),
        };
        own.is_none_or(|own| *own == **value)
    })
}

/// All that may be launched.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Pools, then groups.
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) all: Vec<Offer>,
    /// Offers that differ by their type alone, by price.
    markets: Vec<Vec<usize>>,
    /// By offer: whether enough others could stand in for it, as its pool wants.
    pub(super) flexible: Vec<bool>,
    /// By class: the offers that take its pods, as far as labels and taints say.
    takes: Vec<Bits>,
}

impl Offers {
    pub(super) fn new(problem: &Problem<'_>) -> Result<Self> {
        let input = problem.input;
        let daemons = input.daemons.iter().map(|pod| Class::new(&ClassKey::of(pod, &[], false)));
        let daemons: Vec<Class> = daemons.collect::<Result<_>>()?;
        let (sources, mut all) = (Source::all(input), Vec::new());
        for (pool, of) in sources.iter().enumerate() {
            let domains = domains(&of.pool.requirements)?;
            let builder = PoolOffers { problem, pool, of, domains, daemons: &daemons };
            let types = input.instance_types.iter().enumerate();
            types.for_each(|(i, it)| builder.add(i, it, &mut all));
        }
        let mut offers = Self { sources, all, ..Self::default() };
        offers.group(input);
        offers.flexible = offers.all.iter().map(|of| offers.is_flexible(of, input)).collect();
        Ok(offers)
    }

    fn group(&mut self, input: &Input) {
        let mut index: BTreeMap<(usize, &str, CapacityType), usize> = BTreeMap::new();
        for (at, offer) in self.all.iter_mut().enumerate() {
            let sold = &input.instance_types[offer.instance_type].offerings[offer.offering];
            let next = index.len();
            let key = (offer.pool, &*sold.zone, sold.capacity_type);
            offer.market = *index.entry(key).or_insert(next);
            if offer.market == self.markets.len() {
                self.markets.push(Vec::new());
            }
            self.markets[offer.market].push(at);
        }
        for market in &mut self.markets {
            market.sort_by_key(|at| (self.all[*at].price, self.all[*at].instance_type));
        }
    }

    /// The offers that differ from this one by their type alone, itself included, by price.
    pub(super) fn beside(&self, offer: &Offer) -> &[usize] {
        &self.markets[offer.market]
    }

    /// Whether the types of at least as large machines beside an offer have as many values of each
    /// label as its pool wants to choose among.
    fn is_flexible(&self, offer: &Offer, input: &Input) -> bool {
        offer.source.pool.min_values.iter().all(|least| {
            let beside = self.beside(offer).iter().map(|at| &self.all[*at]);
            let covering = beside.filter(|other| other.room.covers(&offer.room));
            let values: BTreeSet<&str> =
                covering.filter_map(|other| other.label(input, &least.key)).collect();
            values.len() as u64 >= u64::from(least.count)
        })
    }

    /// Those of groups: at most one for each, in the order of the input.
    pub(super) fn of_groups(&self) -> impl Iterator<Item = usize> + use<'_> {
        let all = self.all.iter().enumerate();
        all.filter(|(_, offer)| offer.source.group.is_some()).map(|(at, _)| at)
    }

    /// Looks at classes that are new.
    pub(super) fn learn(&mut self, problem: &Problem<'_>) {
        let input = problem.input;
        for class in &problem.classes[self.takes.len()..] {
            let taken = self.all.iter().enumerate().filter(|(_, offer)| {
                class.may_enter(&offer.source.pool.taints)
                    && (class.asks_nothing() || class.allows(|key| offer.label(input, key)))
            });
            self.takes.push(Bits::collect(self.all.len(), taken.map(|(at, _)| at)));
        }
    }

    pub(super) fn takes(&self, class: usize) -> &Bits {
        &self.takes[class]
    }

    /// The pools' weights, the highest first.
    pub(super) fn weights(input: &Input) -> Vec<u32> {
        let weights: BTreeSet<_> = input.pools.iter().map(|pool| Reverse(pool.weight)).collect();
        weights.into_iter().map(|Reverse(weight)| weight).collect()
    }
}

struct PoolOffers<'p, 'i> {
    problem: &'p Problem<'i>,
    pool: usize,
    of: &'p Arc<Source>,
    domains: Domains,
    daemons: &'p [Class],
}

impl PoolOffers<'_, '_> {
    fn add(&self, instance_type: usize, it: &InstanceType, all: &mut Vec<Offer>) {
        let allocatable = launched(&it.allocatable, self.of.pool.best_effort_percent);
        // Most offerings of a type have the same daemons.
        let mut rooms: BTreeMap<Vec<usize>, Option<(Room, Resources)>> = BTreeMap::new();
        for (offering, sold) in it.offerings.iter().enumerate() {
            let of = |wanted: &str| label(self.of, it, offering, wanted);
            let wanted = self.domains.iter().all(|(key, domain)| domain.allows(of(key)));
            if sold.available == Some(0) || !wanted || !agrees(self.of, it, offering) {
                continue;
            }
            let runs = |class: &Class| class.may_enter(&self.of.pool.taints) && class.allows(of);
            let daemons: Vec<usize> =
                (0..self.daemons.len()).filter(|at| runs(&self.daemons[*at])).collect();
            let room = rooms
                .entry(daemons.clone())
                .or_insert_with_key(|daemons| self.room(it, &allocatable, daemons));
            let Some((room, overhead)) = room.clone() else { continue };
            let price = sold.price_micros;
            let (pool, source) = (self.pool, Arc::clone(self.of));
            let market = 0;
            all.push(Offer {
                pool,
                source,
                instance_type,
                offering,
                price,
                room,
                overhead,
                daemons,
                market,
            });
        }
    }

    /// What daemons leave, and what they take.
    fn room(
        &self,
        it: &InstanceType,
        allocatable: &Resources,
        daemons: &[usize],
    ) -> Option<(Room, Resources)> {
        let daemons = daemons.iter().map(|at| &self.problem.input.daemons[*at].requests);
        let mut overhead = daemons.map(|r| r.clone().with_pods(1));
        let own = self.of.pool.daemon_overhead.clone();
        let overhead = overhead.try_fold(own, |all, one| all.checked_add(&one))?;
        let free = allocatable.checked_sub(&overhead)?;
        let dims = &self.problem.dims;
        let mut room = Room::new(dims, &free, &Resources::default(), &[]);
        dims.limit_volumes(&mut room, &it.volume_limits, std::iter::empty());
        Some((room, overhead))
    }
}
