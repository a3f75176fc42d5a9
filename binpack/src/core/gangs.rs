//! Pods that run together or not at all.
//!
//! A gang that is bound to a topology gets the domain that holds all of it, among nodes that exist
//! before any other. The members of other gangs are placed like any pods, and those of a gang that
//! did not come together are taken off again.

use std::collections::BTreeMap;

use super::board::Board;
use super::existing::{Placer, Where};
use super::groups::DomainId;
use super::hash::QuickMap;
use super::offers::Offers;
use super::problem::{Problem, Shape};
use super::room::Demand;
use crate::model::Gang;

/// What is known of the gangs of an input.
#[derive(Debug, Default)]
pub(super) struct Gangs {
    /// By gang: its members that run or were placed.
    members: Vec<u32>,
    /// By gang: the topology key and the domain in which its members are, once any is placed.
    home: Vec<Option<(usize, DomainId)>>,
    /// By gang: the topology keys, as the board counts them.
    keys: Vec<Vec<usize>>,
}

impl Gangs {
    /// Looks at members that run, and makes the board know the topology keys.
    pub(super) fn new(problem: &Problem<'_>, groups: &mut super::groups::Groups) -> Self {
        let gangs = &problem.input.gangs;
        let keys =
            |gang: &Gang| gang.topology_keys.iter().map(|key| groups.topology_of(key)).collect();
        Self {
            members: vec![0; gangs.len()],
            home: vec![None; gangs.len()],
            keys: gangs.iter().map(keys).collect(),
        }
    }

    pub(super) fn count_running(&mut self, problem: &Problem<'_>, board: &Board<'_>) {
        for (site, node) in problem.input.nodes.iter().enumerate() {
            for running in &node.pods {
                let Some(gang) = running.pod.gang.as_ref().and_then(|g| problem.gang(g)) else {
                    continue;
                };
                self.members[gang] += 1;
                let tuple = board.site_tuple(site);
                let at_home = self.keys[gang].iter().find_map(|key| Some((*key, tuple[key - 1]?)));
                self.home[gang] = self.home[gang].or(at_home);
            }
        }
    }
}

/// Places gangs that are bound to a topology.
pub(super) struct GangPlacer<'p, 'a> {
    pub(super) problem: &'p Problem<'a>,
    pub(super) placer: &'p Placer<'p, 'a>,
}

impl<'a> GangPlacer<'_, 'a> {
    /// Takes the shapes of gangs with a topology out of the wave, and places those that fit. What
    /// is left over is returned, by gang: it goes to one domain of what is launched, or waits.
    pub(super) fn place(
        &self,
        board: &mut Board<'a>,
        gangs: &mut Gangs,
        shapes: &mut Vec<Shape<'a>>,
    ) -> Vec<(usize, Vec<Shape<'a>>)> {
        let bound = |gang: usize| !gangs.keys[gang].is_empty();
        let mut of: BTreeMap<usize, Vec<Shape<'a>>> = BTreeMap::new();
        let (mut order, mut rest) = (Vec::new(), Vec::new());
        for shape in shapes.drain(..) {
            match shape.gang.filter(|gang| bound(*gang)) {
                Some(gang) => {
                    let members = of.entry(gang).or_insert_with(|| {
                        order.push(gang);
                        Vec::new()
                    });
                    members.push(shape);
                }
                None => rest.push(shape),
            }
        }
        *shapes = rest;
        // Shapes come by priority and then size; a gang's place is that of its first member.
        order.sort_by_cached_key(|gang| {
            let first = of[gang].iter().filter_map(|shape| shape.pods.front()).min();
            (std::cmp::Reverse(of[gang].iter().map(|shape| shape.priority).max()), first.copied())
        });
        let mut left = Vec::new();
        for gang in order {
            let Some(mut members) = of.remove(&gang) else { continue };
            if !self.place_gang(board, gangs, gang, &mut members) {
                left.push((gang, members));
            }
        }
        left
    }

    /// How many members must come together now.
    fn wanted(&self, gangs: &Gangs, gang: usize) -> u64 {
        u64::from(self.problem.input.gangs[gang].min_member.saturating_sub(gangs.members[gang]))
    }

    fn place_gang(
        &self,
        board: &mut Board<'a>,
        gangs: &mut Gangs,
        gang: usize,
        members: &mut [Shape<'a>],
    ) -> bool {
        for key in gangs.keys[gang].clone() {
            if self.place_within(board, gangs, gang, key, members) {
                return true;
            }
        }
        false
    }

    /// Looks for a domain of a topology key that holds the gang. The first with room for all of it
    /// is tried as soon as it is known, the others only where none has.
    fn place_within(
        &self,
        board: &mut Board<'a>,
        gangs: &mut Gangs,
        gang: usize,
        key: usize,
        members: &mut [Shape<'a>],
    ) -> bool {
        let Some(largest) = members.first() else { return true };
        // Where the first shape fits tells which domains to try: without it the gang is not whole.
        let demand = largest.demand.clone();
        let all: u64 = members.iter().map(Shape::left).sum();
        let home = gangs.home[gang].filter(|(at, _)| *at == key).map(|(_, domain)| domain);
        let mut found: QuickMap<DomainId, (u64, Vec<usize>)> = QuickMap::default();
        let (mut order, mut from, nodes) = (Vec::new(), 0, board.input.nodes.len());
        while let Some(site) = board.next_with_room(from, nodes, &demand) {
            from = site + 1;
            let Some(domain) = board.site_tuple(site)[key - 1] else { continue };
            if home.is_some_and(|home| home != domain) {
                continue;
            }
            let (room, sites) = found.entry(domain).or_insert_with(|| {
                order.push(domain);
                (0, Vec::new())
            });
            if *room >= all {
                // It was tried already.
                continue;
            }
            *room += board.rooms[site].count(&demand);
            sites.push(site);
            if *room >= all {
                let sites = std::mem::take(sites);
                if self.place_in(board, gangs, gang, members, &sites) {
                    gangs.home[gang] = Some((key, domain));
                    return true;
                }
            }
        }
        order.retain(|domain| !found[domain].1.is_empty());
        order.sort_by_key(|domain| std::cmp::Reverse(found[domain].0));
        order.into_iter().any(|domain| {
            let placed = self.place_in(board, gangs, gang, members, &found[&domain].1);
            if placed {
                gangs.home[gang] = Some((key, domain));
            }
            placed
        })
    }

    /// Binds what is left of gangs to domains of what may be launched: to the cheapest that takes
    /// all shapes, or to where members run already. Those that must be together and can't be are
    /// left out.
    pub(super) fn pin(
        &self,
        board: &mut Board<'a>,
        gangs: &Gangs,
        offers: &Offers,
        left: Vec<(usize, Vec<Shape<'a>>)>,
    ) -> Vec<Shape<'a>> {
        let mut domains: QuickMap<usize, BTreeMap<DomainId, Vec<usize>>> = QuickMap::default();
        let mut pinned = Vec::new();
        for (gang, mut members) in left {
            let keys = &gangs.keys[gang];
            let mut pin = None;
            for key in keys {
                let of = domains.entry(*key).or_insert_with(|| offered(board, offers, *key));
                let home = gangs.home[gang].filter(|(at, _)| at == key).map(|(_, domain)| domain);
                let open = of.iter().filter(|(domain, _)| home.is_none_or(|home| home == **domain));
                let priced =
                    open.filter_map(|(domain, at)| Some((price(offers, at, &members)?, *domain)));
                pin = pin.or_else(|| priced.min().map(|(_, domain)| (*key, domain)));
            }
            if pin.is_some() || !self.problem.input.gangs[gang].topology_required {
                for shape in &mut members {
                    shape.pin = pin;
                }
                pinned.append(&mut members);
            }
        }
        pinned
    }

    /// Places as many members as fit, and takes them off again if those are too few.
    fn place_in(
        &self,
        board: &mut Board<'a>,
        gangs: &mut Gangs,
        gang: usize,
        members: &mut [Shape<'a>],
        sites: &[usize],
    ) -> bool {
        let before: Vec<_> = members.iter().map(|shape| shape.pods.clone()).collect();
        let all: u64 = members.iter().map(Shape::left).sum();
        self.placer.place(board, members, Where::These(sites));
        let placed = all - members.iter().map(Shape::left).sum::<u64>();
        if placed >= self.wanted(gangs, gang).max(1) {
            gangs.members[gang] += u32::try_from(placed).unwrap_or(u32::MAX);
            return true;
        }
        for (shape, pods) in members.iter_mut().zip(before) {
            for pod in pods.iter().take(pods.len() - shape.pods.len()) {
                board.evict(*pod, &shape.demand);
            }
            shape.pods = pods;
        }
        false
    }
}

/// Takes off the members of gangs of which too few have a place.
pub(super) fn disband(problem: &Problem<'_>, board: &mut Board<'_>) {
    let gangs = &problem.input.gangs;
    let mut members = vec![0u32; gangs.len()];
    let nodes = problem.input.nodes.iter().flat_map(|node| &node.pods);
    for gang in nodes.filter_map(|running| problem.gang(running.pod.gang.as_ref()?)) {
        members[gang] += 1;
    }
    let gang_of = |pod: usize| problem.gang(problem.input.pods[pod].gang.as_ref()?);
    for gang in
        (0..board.places.len()).filter(|pod| board.places[*pod].is_some()).filter_map(gang_of)
    {
        members[gang] += 1;
    }
    for pod in 0..board.places.len() {
        let Some(gang) = gang_of(pod).filter(|_| board.places[pod].is_some()) else { continue };
        if members[gang] < gangs[gang].min_member {
            board.evict(pod, &Demand::new(&problem.dims, &problem.input.pods[pod]));
            board.disturbed = true;
        }
    }
}

/// By domain of a topology key: the offers there.
fn offered(board: &mut Board<'_>, offers: &Offers, key: usize) -> BTreeMap<DomainId, Vec<usize>> {
    let (name, input) = (board.groups.keys()[key].clone(), board.input);
    let mut domains: BTreeMap<DomainId, Vec<usize>> = BTreeMap::new();
    for (at, offer) in offers.all.iter().enumerate() {
        if let Some(value) = offer.label(input, &name) {
            domains.entry(board.groups.domain(key, value)).or_default().push(at);
        }
    }
    domains
}

/// What all pods would cost at the least price of each on some of these offers, alone there;
/// nothing if one of them has none.
fn price(offers: &Offers, among: &[usize], shapes: &[Shape<'_>]) -> Option<u64> {
    let of = |shape: &Shape<'_>| {
        let takes = among.iter().filter(|at| offers.takes(shape.class).has(**at));
        let each = takes.filter_map(|at| {
            let offer = &offers.all[*at];
            offer.price.checked_div(offer.room.count(&shape.demand))
        });
        each.min().map(|each| each.saturating_mul(shape.left()))
    };
    shapes.iter().map(of).sum()
}
