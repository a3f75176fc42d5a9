//! Pods that run together or not at all.
//!
//! A gang that is bound to a topology gets the domain that holds all of it, among nodes that exist
//! before any other. The members of other gangs are placed like any pods, and those of a gang that
//! did not come together are taken off again.

use std::collections::{BTreeMap, BTreeSet};

use super::board::Board;
use super::existing::{Placer, Where};
use super::groups::DomainId;
use super::hash::QuickMap;
use super::offers::Offers;
use super::problem::{Problem, Shape};
use super::room::Demand;
use crate::model::{Gang, Pod};

/// What is known of the gangs of an input.
#[derive(Debug, Default)]
pub(super) struct Gangs {
    /// By gang: how many of its members run, by site.
    running: Vec<BTreeMap<usize, u32>>,
    /// By gang: its members among the pods of the input.
    own: Vec<BTreeSet<usize>>,
    /// By gang: the topology keys, as the board counts them.
    keys: Vec<Vec<usize>>,
}

impl Gangs {
    /// Looks at members, and makes the board know the topology keys.
    pub(super) fn new(problem: &Problem<'_>, groups: &mut super::groups::Groups) -> Self {
        let (input, all) = (problem.input, problem.input.gangs.len());
        let keys =
            |gang: &Gang| gang.topology_keys.iter().map(|key| groups.topology_of(key)).collect();
        let keys = input.gangs.iter().map(keys).collect();
        let mut gangs =
            Self { running: vec![BTreeMap::new(); all], own: vec![BTreeSet::new(); all], keys };
        for (site, node) in input.nodes.iter().enumerate() {
            node.pods.iter().for_each(|running| gangs.count(problem, &running.pod, site, false));
        }
        (0..input.pods.len()).for_each(|pod| gangs.admit(problem, pod));
        gangs
    }

    /// Counts a pod that runs on a site, or with `out` one that no longer does.
    pub(super) fn count(&mut self, problem: &Problem<'_>, pod: &Pod, site: usize, out: bool) {
        let Some(gang) = pod.gang.as_ref().and_then(|gang| problem.gang(gang)) else { return };
        let count = self.running[gang].entry(site).or_default();
        *count = if out { count.saturating_sub(1) } else { *count + 1 };
        if *count == 0 {
            self.running[gang].remove(&site);
        }
    }

    /// Takes a pod of the input in.
    pub(super) fn admit(&mut self, problem: &Problem<'_>, pod: usize) {
        if let Some(gang) = gang_of(problem, pod) {
            self.own[gang].insert(pod);
        }
    }

    /// Forgets a pod of the input.
    pub(super) fn dismiss(&mut self, problem: &Problem<'_>, pod: usize) {
        if let Some(gang) = gang_of(problem, pod) {
            self.own[gang].remove(&pod);
        }
    }

    /// Its topology keys, as the board counts them, the preferred first.
    pub(super) fn keys(&self, gang: usize) -> &[usize] {
        &self.keys[gang]
    }

    /// The members of a gang among the pods of the input.
    pub(super) fn own(&self, gang: usize) -> impl Iterator<Item = usize> {
        self.own[gang].iter().copied()
    }

    /// The sites on which members run that are no pods of the input.
    pub(super) fn sites(&self, gang: usize) -> impl Iterator<Item = usize> {
        self.running[gang].keys().copied()
    }

    /// How many members have a place.
    pub(super) fn members(&self, board: &Board<'_>, gang: usize) -> u32 {
        let placed = self.own(gang).filter(|pod| board.places[*pod].is_some()).count();
        let running: u32 = self.running[gang].values().sum();
        running.saturating_add(u32::try_from(placed).unwrap_or(u32::MAX))
    }

    /// In which domain of a topology key members must be that have no place yet.
    pub(super) fn home(&self, board: &Board<'_>, gang: usize, key: usize) -> Home {
        let placed = self.own(gang).filter_map(|pod| Some(board.places[pod].as_ref()?.site));
        let mut sites = self.sites(gang).chain(placed);
        let domain = |site: usize| board.site_tuple(site).get(key - 1).copied().flatten();
        let Some(first) = sites.next() else { return Home::Any };
        match domain(first) {
            Some(home) if sites.all(|site| domain(site) == Some(home)) => Home::One(home),
            _ => Home::None,
        }
    }

    /// How many members must come together now.
    pub(super) fn wanted(&self, problem: &Problem<'_>, board: &Board<'_>, gang: usize) -> u64 {
        let least = problem.input.gangs[gang].min_member;
        u64::from(least.saturating_sub(self.members(board, gang)))
    }
}

/// A gang's domain of a topology key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// No member has a place yet.
    Any,
    /// All that have one are here.
    One(DomainId),
    /// They are in no domain, or in several.
    None,
}

impl Home {
    pub(super) fn admits(self, domain: DomainId) -> bool {
        self == Self::Any || self == Self::One(domain)
    }
}

/// The gang of a pod of the input.
pub(super) fn gang_of(problem: &Problem<'_>, pod: usize) -> Option<usize> {
    problem.gang(problem.input.pods[pod].gang.as_ref()?)
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
        gangs: &Gangs,
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

    fn place_gang(
        &self,
        board: &mut Board<'a>,
        gangs: &Gangs,
        gang: usize,
        members: &mut [Shape<'a>],
    ) -> bool {
        let least = gangs.wanted(self.problem, board, gang).max(1);
        for key in &gangs.keys[gang] {
            let home = gangs.home(board, gang, *key);
            if self.place_within(board, *key, home, least, members) {
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
        key: usize,
        home: Home,
        least: u64,
        members: &mut [Shape<'a>],
    ) -> bool {
        let Some(largest) = members.first() else { return true };
        // Where the first shape fits tells which domains to try: without it the gang is not whole.
        let demand = largest.demand.clone();
        let all: u64 = members.iter().map(Shape::left).sum();
        let mut found: QuickMap<DomainId, (u64, Vec<usize>)> = QuickMap::default();
        let (mut order, mut from, nodes) = (Vec::new(), 0, board.input.nodes.len());
        while let Some(site) = board.next_with_room(from, nodes, &demand) {
            from = site + 1;
            let Some(domain) = board.site_tuple(site)[key - 1] else { continue };
            if !home.admits(domain) {
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
                if self.place_in(board, least, members, &sites) {
                    return true;
                }
            }
        }
        order.retain(|domain| !found[domain].1.is_empty());
        order.sort_by_key(|domain| std::cmp::Reverse(found[domain].0));
        order.into_iter().any(|domain| self.place_in(board, least, members, &found[&domain].1))
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
                let home = gangs.home(board, gang, *key);
                let open = of.iter().filter(|(domain, _)| home.admits(**domain));
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
        least: u64,
        members: &mut [Shape<'a>],
        sites: &[usize],
    ) -> bool {
        let before: Vec<_> = members.iter().map(|shape| shape.pods.clone()).collect();
        let all: u64 = members.iter().map(Shape::left).sum();
        self.placer.place(board, members, Where::These(sites));
        if all - members.iter().map(Shape::left).sum::<u64>() >= least {
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

/// Takes those of these pods off whose gangs have too few members with a place. Returns whether
/// there were any.
pub(super) fn disband(
    problem: &Problem<'_>,
    board: &mut Board<'_>,
    gangs: &Gangs,
    pods: &[usize],
) -> bool {
    let all: BTreeSet<usize> = pods.iter().filter_map(|pod| gang_of(problem, *pod)).collect();
    let torn = |gang: &usize| gangs.wanted(problem, board, *gang) > 0;
    let torn: BTreeSet<usize> = all.into_iter().filter(torn).collect();
    let mut any = false;
    for pod in pods.iter().copied() {
        let goes = board.places[pod].is_some()
            && gang_of(problem, pod).is_some_and(|gang| torn.contains(&gang));
        if goes {
            board.evict(pod, &Demand::new(&problem.dims, &problem.input.pods[pod]));
            any = true;
        }
    }
    board.disturbed |= any;
    any
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
