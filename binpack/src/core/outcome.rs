//! How what has been decided becomes a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::board::{Board, Place};
use super::offers::{Offer, Offers};
use super::problem::{Problem, launched};
use super::reason::Explainer;
use super::relax::{Level, relaxations};
use super::room::{Demand, Room};
use super::run::first_level;
use super::scale_up::idle_launches;
use super::scheduler::Scheduled;
use crate::config::Config;
use crate::error::Result;
use crate::model::{
    Binding, Input, Launch, Plan, Relaxation, Relaxed, Resources, Target, Unplaced,
};

pub(super) struct Outcome<'p, 'a> {
    pub(super) config: &'p Config,
    pub(super) problem: &'p Problem<'a>,
    pub(super) offers: &'p Offers,
    pub(super) board: &'p Board<'a>,
}

impl Outcome<'_, '_> {
    /// The plan, without what is only known of the run as a whole.
    pub(super) fn plan(&self) -> Result<Plan> {
        let input = self.problem.input;
        let sites = self.sites();
        let mut plan = Plan { launches: self.launches(&sites), ..Plan::default() };
        let mut explainer = Explainer::new(self.problem, self.offers, self.board);
        for (index, pod) in input.pods.iter().enumerate() {
            let Some(place) = &self.board.places[index] else {
                plan.unplaced.push(Unplaced::new(pod.name.clone(), explainer.explain(index)?));
                continue;
            };
            let target = match input.nodes.get(place.site) {
                Some(node) => Target::Existing(node.name.clone()),
                None => Target::Launch(sites.get(&place.site).copied().unwrap_or(usize::MAX)),
            };
            if let Target::Launch(launch) = target {
                let requested = &mut plan.launches[launch].requested;
                *requested = sum(requested, &pod.requests);
            }
            plan.bindings.push(Binding::new(pod.name.clone(), target, place.gpus.clone()));
            let given_up = self.given_up(index, place.level);
            if !given_up.is_empty() {
                plan.relaxed.push(Relaxed::new(pod.name.clone(), given_up));
            }
        }
        let prices = plan.launches.iter().map(|launch| launch.price_micros);
        plan.cost_per_hour_micros = prices.fold(0, u64::saturating_add);
        Ok(plan)
    }

    /// What a pod did without that it was to have.
    fn given_up(&self, pod: usize, level: Level) -> Vec<Relaxation> {
        let first = first_level(self.config, self.problem, pod);
        let all = relaxations(&self.problem.input.pods[pod], level);
        all.into_iter().skip(usize::try_from(first).unwrap_or(usize::MAX)).collect()
    }

    /// What has come of pods, and the launches from a number on.
    pub(super) fn scheduled(&self, pods: &[usize], from: usize) -> Result<Scheduled> {
        let input = self.problem.input;
        let mut scheduled = Scheduled::default();
        let mut explainer = Explainer::new(self.problem, self.offers, self.board);
        let mut launched: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in pods.iter().copied() {
            let pod = &input.pods[index];
            let Some(place) = &self.board.places[index] else {
                let reason = explainer.explain(index)?;
                scheduled.unplaced.push(Unplaced::new(pod.name.clone(), reason));
                continue;
            };
            let target = match input.nodes.get(place.site) {
                Some(node) => Target::Existing(node.name.clone()),
                None => Target::Launch(place.site - input.nodes.len()),
            };
            if let Target::Launch(launch) = target {
                launched.entry(launch).or_default().push(index);
            }
            scheduled.bindings.push(Binding::new(pod.name.clone(), target, place.gpus.clone()));
            let given_up = self.given_up(index, place.level);
            if !given_up.is_empty() {
                scheduled.relaxed.push(Relaxed::new(pod.name.clone(), given_up));
            }
        }
        for (at, pods) in launched.range(from..) {
            let offer = &self.offers.all[self.board.opened[*at]];
            let mut launch = launch(input, offer);
            launch.alternatives = self.alternatives(offer, pods);
            for pod in pods {
                launch.requested = sum(&launch.requested, &input.pods[*pod].requests);
            }
            scheduled.launches.push((*at, launch));
        }
        Ok(scheduled)
    }

    /// By site of a launch that has pods, or that a group must have: its place among the plan's
    /// launches.
    fn sites(&self) -> BTreeMap<usize, usize> {
        let nodes = self.problem.input.nodes.len();
        let places = self.board.places.iter().flatten();
        let mut used: BTreeSet<usize> =
            places.map(|place| place.site).filter(|s| *s >= nodes).collect();
        used.append(&mut idle_launches(self.board, self.offers));
        used.into_iter().enumerate().map(|(at, site)| (site, at)).collect()
    }

    fn launches(&self, sites: &BTreeMap<usize, usize>) -> Vec<Launch> {
        let mut pods: BTreeMap<usize, Vec<usize>> =
            sites.keys().map(|site| (*site, Vec::new())).collect();
        for (pod, place) in self.board.places.iter().enumerate() {
            let site = place.as_ref().map(|place| place.site);
            if let Some(pods) = site.and_then(|site| pods.get_mut(&site)) {
                pods.push(pod);
            }
        }
        let input = self.problem.input;
        let of = |(site, pods): (usize, Vec<usize>)| {
            let offer = &self.offers.all[self.board.opened[site - input.nodes.len()]];
            Launch { alternatives: self.alternatives(offer, &pods), ..launch(input, offer) }
        };
        pods.into_iter().map(of).collect()
    }

    /// Other types that would hold the same pods, the cheapest first.
    fn alternatives(&self, own: &Offer, pods: &[usize]) -> Vec<Arc<str>> {
        let input = self.problem.input;
        let places = pods.iter().filter_map(|pod| self.board.places[*pod].as_ref());
        let of = pods.iter().map(|pod| Demand::new(&self.problem.dims, &input.pods[*pod]));
        Crew::new(self.problem, of.collect(), places).alternatives(input, self.offers, own)
    }
}

/// The pods of one launch, as far as another machine has to suit them.
pub(super) struct Crew {
    demands: Vec<Demand>,
    amounts: Vec<u64>,
    classes: BTreeSet<usize>,
    /// One more than the highest index of a GPU that a binding names.
    gpus: usize,
}

impl Crew {
    pub(super) fn new<'p>(
        problem: &Problem<'_>,
        demands: Vec<Demand>,
        places: impl Iterator<Item = &'p Place> + Clone,
    ) -> Self {
        let mut amounts = vec![0; problem.dims.len()];
        for demand in &demands {
            amounts.iter_mut().zip(&demand.amounts).for_each(|(sum, need)| *sum += need);
        }
        let gpus = places.clone().flat_map(|place| &place.gpus).map(|gpu| *gpu as usize + 1).max();
        let classes = places.map(|place| place.class).collect();
        Self { demands, amounts, classes, gpus: gpus.unwrap_or(0) }
    }

    /// Other types than an offer's that would hold them, the cheapest first.
    pub(super) fn alternatives(
        &self,
        input: &Input,
        offers: &Offers,
        own: &Offer,
    ) -> Vec<Arc<str>> {
        let beside = offers.beside(own).iter().copied();
        let others = beside.filter(|at| {
            let other = &offers.all[*at];
            other.instance_type != own.instance_type
                && self.fits(&other.room)
                && self.classes.iter().all(|class| offers.takes(*class).has(*at))
        });
        let types = others.map(|at| offers.all[at].instance_type);
        let names = types.map(|it| input.instance_types[it].name.clone());
        names.take(Launch::MAX_ALTERNATIVES).collect()
    }

    fn fits(&self, room: &Room) -> bool {
        let amounts = room.free.iter().zip(&self.amounts).all(|(free, need)| need <= free);
        // Where devices are named, each must be there.
        amounts
            && room.gpus.len() >= self.gpus
            && (self.gpus == 0 || self.fits_devices(room.clone()))
    }

    fn fits_devices(&self, mut room: Room) -> bool {
        self.demands.iter().all(|demand| {
            let fits = room.fits(demand);
            if fits {
                room.take(demand, 1, drop);
            }
            fits
        })
    }
}

/// Amounts are bounded by what fits on one machine, so nothing overflows.
fn sum(requested: &Resources, pod: &Resources) -> Resources {
    requested.checked_add(&pod.clone().with_pods(1)).unwrap_or_default()
}

/// What an offer makes, before its pods.
pub(super) fn launch(input: &Input, offer: &Offer) -> Launch {
    let (pool, it) = (&offer.source.pool, &input.instance_types[offer.instance_type]);
    let offering = &it.offerings[offer.offering];
    Launch {
        pool: pool.name.clone(),
        group: offer.source.group.map(|_| pool.name.clone()),
        instance_type: it.name.clone(),
        zone: offering.zone.clone(),
        capacity_type: offering.capacity_type,
        price_micros: offering.price_micros,
        requested: offer.overhead.clone(),
        daemon_overhead: offer.overhead.clone(),
        capacity: it.capacity.clone(),
        allocatable: launched(&it.allocatable, pool.best_effort_percent),
        labels: offer.labels(input),
        taints: pool.taints.clone(),
        alternatives: Vec::new(),
    }
}
