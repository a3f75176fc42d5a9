//! Where pods have been put so far, and what every site has left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::class::Class;
use super::groups::{DomainId, Groups, HOSTNAME, Kind, Spread, Ties};
use super::hash::QuickMap;
use super::offers::{Offer, Offers};
use super::problem::{Problem, Shape};
use super::relax::Level;
use super::room::{Demand, Room};
use super::tree::RoomTree;
use crate::model::{HostPort, Input, Pod};

/// Where a pod goes: a site, and the devices that it uses there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) site: usize,
    pub(super) gpus: Vec<u32>,
    pub(super) level: Level,
    pub(super) class: usize,
    pub(super) plain: usize,
    /// What it has to do with others, where it has.
    pub(super) ties: Option<Arc<Ties>>,
}

/// Domains of the topology keys, by key; `None` where a site has no such label. The hostname's is
/// not among them.
pub(super) type Tuple = Vec<Option<DomainId>>;

/// Nodes that exist and nodes to launch, as sites: first the ones, then the others.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) input: &'a Input,
    pub(super) rooms: Vec<Room>,
    /// The same as a tree.
    pub(super) tree: RoomTree,
    pub(super) groups: Groups,
    /// By site, where there are groups.
    pub(super) tuples: Vec<Tuple>,
    pub(super) ports: QuickMap<usize, Vec<HostPort>>,
    /// By launch: its index among the offers.
    pub(super) opened: Vec<usize>,
    /// By pod.
    pub(super) places: Vec<Option<Place>>,
    pub(super) eligible: QuickMap<EligibleKey, Eligible>,
    /// Whether pods were taken out of domains, so that others' constraints may no longer hold.
    pub(super) disturbed: bool,
    /// Nodes that exist and go, and places for nodes that are free: their labels are no domain of
    /// anything.
    pub(super) gone: BTreeSet<usize>,
    /// What nodes have left that take no new pods: to all others they are full.
    pub(super) cordoned: QuickMap<usize, Room>,
    /// Launches that were closed for good.
    closed: BTreeSet<usize>,
}

/// A topology key, a class, and whether any labels and any taints count.
pub(super) type EligibleKey = (usize, usize, bool, bool);

/// The domains that count for spreads, and of each how many nodes are in it, what may be launched
/// counted once.
#[derive(Debug, Default)]
pub(super) struct Eligible {
    pub(super) nodes: BTreeMap<DomainId, u32>,
    pub(super) list: Vec<DomainId>,
}

impl<'a> Board<'a> {
    pub(super) fn new(problem: &Problem<'a>, groups: Groups) -> Self {
        let input = problem.input;
        let rooms: Vec<Room> = (0..input.nodes.len()).map(|node| problem.node_room(node)).collect();
        let mut board = Self {
            input,
            tree: RoomTree::new(problem.dims.len(), rooms.iter()),
            rooms,
            groups,
            tuples: Vec::new(),
            ports: QuickMap::default(),
            opened: Vec::new(),
            places: vec![None; input.pods.len()],
            eligible: QuickMap::default(),
            disturbed: false,
            gone: BTreeSet::new(),
            closed: BTreeSet::new(),
            cordoned: QuickMap::default(),
        };
        for (site, node) in input.nodes.iter().enumerate() {
            let ports: Vec<HostPort> =
                node.pods.iter().flat_map(|r| r.pod.host_ports.clone()).collect();
            if !ports.is_empty() {
                board.ports.insert(site, ports);
            }
        }
        board
    }

    /// The same for another input, of which nodes, pools, types and daemons are equal.
    pub(super) fn on(self, input: &Input) -> Board<'_> {
        let Board {
            rooms,
            tree,
            groups,
            tuples,
            ports,
            opened,
            places,
            eligible,
            disturbed,
            gone,
            cordoned,
            closed,
            ..
        } = self;
        Board {
            input,
            rooms,
            tree,
            groups,
            tuples,
            ports,
            opened,
            places,
            eligible,
            disturbed,
            gone,
            cordoned,
            closed,
        }
    }

    /// Counts everything anew, because groups or topology keys came to be that were not counted.
    pub(super) fn recount(&mut self, offers: &Offers) {
        self.tuples.clear();
        self.eligible.clear();
        self.groups.reset();
        self.count_running();
        let input = self.input;
        for at in 0..self.opened.len() {
            let offer = &offers.all[self.opened[at]];
            let tuple = self.tuple(|key| offer.label(input, key));
            self.tuples.push(tuple);
        }
        for pod in 0..self.places.len() {
            let Some(place) = self.places[pod].clone() else { continue };
            let of = &input.pods[pod];
            let carried = place.ties.iter().flat_map(|ties| &ties.carries).map(|(group, _)| *group);
            let carried: Vec<usize> = carried.collect();
            let ties = self.groups.ties(&carried, &self.groups.meaning(&of.namespace, &of.labels));
            self.count(&ties, place.site, false);
            if let Some(place) = &mut self.places[pod] {
                place.ties = (!ties.is_empty()).then(|| Arc::new(ties));
            }
        }
    }

    /// Counts the pods that run, once it is known what is counted.
    pub(super) fn count_running(&mut self) {
        let input = self.input;
        if !self.is_regional() {
            return;
        }
        self.lay_out();
        for (site, node) in input.nodes.iter().enumerate() {
            node.pods.iter().for_each(|running| self.count_one(&running.pod, site, false));
        }
    }

    /// Counts a pod that runs on a site, or with `out` one that no longer does.
    pub(super) fn count_one(&mut self, pod: &Pod, site: usize, out: bool) {
        if self.groups.is_empty() {
            return;
        }
        let meant_by = self.groups.meaning(&pod.namespace, &pod.labels);
        let carries = self.groups.of_running(pod);
        let tuple = &self.tuples[site];
        self.groups.place_running(&carries, &meant_by, |key| domain(tuple, site, key), out);
    }

    /// Whether domains of sites matter to anything.
    pub(super) fn is_regional(&self) -> bool {
        !self.groups.is_empty() || self.groups.keys().len() > 1
    }

    /// Numbers the domains by name, so that what is decided between equals does not depend on
    /// which nodes come first.
    pub(super) fn order_domains(&mut self, offers: &Offers) {
        let input = self.input;
        for (key, name) in self.groups.keys().to_vec().iter().enumerate().skip(1) {
            let nodes = input.nodes.iter().filter_map(|node| node.labels.get(name));
            let launched = offers.all.iter().filter_map(|offer| offer.label(input, name));
            let values: BTreeSet<&str> = nodes.map(|value| &**value).chain(launched).collect();
            for value in values {
                self.groups.domain(key, value);
            }
        }
    }

    /// Works out the domains of the nodes that exist, where any matter.
    pub(super) fn lay_out(&mut self) {
        if !self.is_regional() {
            return;
        }
        for node in &self.input.nodes {
            let tuple = self.tuple(|key| node.labels.get(key).map(|value| &**value));
            self.tuples.push(tuple);
        }
    }

    /// From now on these nodes are gone.
    pub(super) fn forget(&mut self, gone: BTreeSet<usize>) {
        self.gone = gone;
        self.eligible.clear();
    }

    /// Counts a pod in, or with `out` out of, the domains of a site.
    pub(super) fn count(&mut self, ties: &Ties, site: usize, out: bool) {
        if ties.is_empty() {
            return;
        }
        let tuple = &self.tuples[site];
        self.groups.place(ties, |key| domain(tuple, site, key), 1, out);
    }

    /// Takes room on a site for a pod that has its place there already, with its devices.
    pub(super) fn claim(&mut self, site: usize, demand: &Demand, devices: &[usize]) {
        self.rooms[site].take_on(demand, devices);
        self.tree.set(site, &self.rooms[site]);
    }

    /// The domain of a site by a topology key.
    pub(super) fn domain_of(&self, site: usize, key: usize) -> Option<DomainId> {
        domain(self.site_tuple(site), site, key)
    }

    pub(super) fn tuple<'l>(&mut self, label: impl Fn(&str) -> Option<&'l str>) -> Tuple {
        let keys = self.groups.keys().to_vec();
        let rest = keys.iter().enumerate().skip(1);
        rest.map(|(key, name)| label(name).map(|value| self.groups.domain(key, value))).collect()
    }

    pub(super) fn site_tuple(&self, site: usize) -> &[Option<DomainId>] {
        self.tuples.get(site).map_or(&[], |tuple| tuple)
    }

    /// Whether a site is in a domain of a topology key, if any is asked for.
    pub(super) fn is_within(&self, site: usize, pin: Option<(usize, DomainId)>) -> bool {
        pin.is_none_or(|(key, domain)| self.site_tuple(site).get(key - 1) == Some(&Some(domain)))
    }

    /// Adds a node to launch, and returns its site.
    pub(super) fn open(&mut self, offers: &Offers, offer: usize) -> usize {
        let of: &Offer = &offers.all[offer];
        let input = self.input;
        self.opened.push(offer);
        self.rooms.push(of.room.clone());
        let site = self.rooms.len() - 1;
        self.tree.set(site, &of.room);
        if self.is_regional() {
            let tuple = self.tuple(|key| of.label(input, key));
            self.tuples.push(tuple);
        }
        let ports: Vec<HostPort> = of.ports(input).cloned().collect();
        if !ports.is_empty() {
            self.ports.insert(site, ports);
        }
        site
    }

    /// Takes a pod off its site again.
    pub(super) fn evict(&mut self, pod: usize, demand: &Demand) {
        let ports: &[HostPort] = &self.input.pods[pod].host_ports;
        self.take_off(pod, demand, ports);
    }

    /// The same for a pod that has these ports. Returns the site.
    pub(super) fn take_off(
        &mut self,
        pod: usize,
        demand: &Demand,
        ports: &[HostPort],
    ) -> Option<usize> {
        let place = self.places[pod].take()?;
        if let Some(room) = self.cordoned.get_mut(&place.site) {
            room.release(demand, &place.gpus);
        } else {
            self.rooms[place.site].release(demand, &place.gpus);
            self.tree.set(place.site, &self.rooms[place.site]);
        }
        self.free_ports(place.site, ports);
        if let Some(ties) = &place.ties {
            self.count(ties, place.site, true);
        }
        Some(place.site)
    }

    /// Whether a pod that has a place keeps its spreads and is near whom it must be near, now that
    /// all others have theirs.
    pub(super) fn stays(&mut self, problem: &Problem<'a>, offers: &Offers, pod: usize) -> bool {
        let Some(place) = self.places[pod].clone() else { return true };
        let Some(ties) = place.ties else { return true };
        ties.carries.iter().all(|(group, means)| {
            let (kind, key) = (self.groups.get(*group).kind(), self.groups.get(*group).topology());
            let Some(own) = domain(&self.tuples[place.site], place.site, key) else {
                return matches!(kind, Kind::Apart | Kind::Avoid);
            };
            let count = self.groups.get(*group).count(own);
            match kind {
                Kind::Apart | Kind::Avoid => true,
                Kind::Near => {
                    // The first of its like stays as long as none of them is elsewhere, or ran before.
                    let of = self.groups.get(*group);
                    let alone = of.total().holders == count.holders;
                    let first = *means && alone && !of.has_running();
                    count.meant > u32::from(*means) || first
                }
                Kind::Spread(spread) if key == HOSTNAME => count.meant <= spread.max_skew,
                Kind::Spread(spread) => {
                    let eligible = self.eligible(problem, offers, place.plain, *group, spread);
                    let fewest = self.fewest(*group, spread, &eligible);
                    count.meant <= fewest.saturating_add(spread.max_skew)
                }
            }
        })
    }

    /// The first site from `from` on, and before `to`, that has room for a pod.
    pub(super) fn next_with_room(&self, from: usize, to: usize, demand: &Demand) -> Option<usize> {
        self.tree.next(from, to, demand)
    }

    /// Whether no pod was put on a site.
    pub(super) fn is_unused(&self, site: usize) -> bool {
        !self.places.iter().flatten().any(|place| place.site == site)
    }

    /// Closes a launch without pods for good.
    pub(super) fn close(&mut self, site: usize) {
        let room = &mut self.rooms[site];
        room.free.fill(0);
        room.gpus.fill(0);
        self.tree.clear(site);
        self.closed.insert(site);
    }

    /// Launches that were not closed, by site.
    pub(super) fn open_launches(&self) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let first = self.input.nodes.len();
        let all = (0..self.opened.len()).map(move |launch| first + launch);
        all.filter(|site| !self.closed.contains(site))
    }

    /// Takes back the launch that was opened last and never used.
    pub(super) fn close_last(&mut self) {
        if self.opened.pop().is_some() {
            self.rooms.pop();
            self.tree.clear(self.rooms.len());
            self.ports.remove(&self.rooms.len());
            self.tuples.truncate(self.rooms.len());
        }
    }

    /// Puts the next `n` pods of a shape on a site, which must take them, and counts them in the
    /// domains of these keys.
    pub(super) fn put(&mut self, shape: &mut Shape<'a>, n: u64, site: usize, counted: Counted) {
        let mut devices = Vec::new();
        self.rooms[site].take(&shape.demand, n, |gpus| devices.push(gpus));
        self.settle(shape, site, counted, devices);
    }

    /// The same for as many pods as devices are given for.
    pub(super) fn put_on(
        &mut self,
        shape: &mut Shape<'a>,
        site: usize,
        counted: Counted,
        devices: &[Vec<usize>],
    ) {
        let index = |device: &usize| u32::try_from(*device).unwrap_or(u32::MAX);
        for of in devices {
            self.rooms[site].take_on(&shape.demand, of);
        }
        let devices = devices.iter().map(|of| of.iter().map(index).collect());
        self.settle(shape, site, counted, devices.collect());
    }

    /// Writes down where the next pods of a shape are, and their devices there.
    fn settle(
        &mut self,
        shape: &mut Shape<'a>,
        site: usize,
        counted: Counted,
        devices: Vec<Vec<u32>>,
    ) {
        let n = devices.len();
        let (level, class, plain) = (shape.level, shape.class, shape.plain);
        let ties = (!shape.ties.is_empty()).then(|| shape.ties.clone());
        for gpus in devices {
            if let Some(pod) = shape.pods.pop_front() {
                let ties = ties.clone();
                self.places[pod] = Some(Place { site, gpus, level, class, plain, ties });
            }
        }
        self.tree.set(site, &self.rooms[site]);
        if !shape.ports.is_empty() {
            self.ports.entry(site).or_default().extend_from_slice(shape.ports);
        }
        if !shape.ties.is_empty() {
            let count = u32::try_from(n).unwrap_or(u32::MAX);
            let tuple = &self.tuples[site];
            self.groups.place(&shape.ties, |key| counted.domain(tuple, site, key), count, false);
            // One that was the first of its like alone may be so no longer.
            self.disturbed |= shape.ties.carries.iter().any(|(group, means)| {
                let of = self.groups.get(*group);
                let here = domain(tuple, site, of.topology()).map(|domain| of.count(domain));
                let scattered = here.is_some_and(|here| here.holders < of.total().holders);
                *means && of.kind() == Kind::Near && scattered
            });
        }
    }

    /// Whether the pods on a site let a pod in, as far as the hostname and ports go.
    pub(super) fn admits(&self, ties: &Ties, ports: &[HostPort], site: usize) -> bool {
        let domain = DomainId::try_from(site).unwrap_or(DomainId::MAX);
        let taken = if ports.is_empty() { None } else { self.ports.get(&site) };
        let conflict = |taken: &HostPort| ports.iter().any(|port| port.conflicts(taken));
        if taken.is_some_and(|taken| taken.iter().any(conflict)) {
            return false;
        }
        let hostname = |group: usize| self.groups.get(group).topology() == HOSTNAME;
        let carried = ties.carries.iter().filter(|(group, _)| hostname(*group));
        let mut meant_by = ties.meant_by.iter().filter(|group| hostname(**group));
        carried.into_iter().all(|(group, means)| self.keeps(*group, *means, domain, 0))
            && meant_by.all(|group| self.lets_in(*group, domain))
    }

    /// Whether a pod may go to the domains of a tuple, hostname apart; `least` tells the fewest
    /// pods in any domain that counts for a spread.
    pub(super) fn permits(
        &self,
        ties: &Ties,
        tuple: &[Option<DomainId>],
        least: &impl Fn(usize, Spread) -> u32,
    ) -> bool {
        let carried = ties.carries.iter().all(|(group, means)| {
            let of = self.groups.get(*group);
            if of.topology() == HOSTNAME {
                return true;
            }
            let Some(domain) = tuple[of.topology() - 1] else {
                // Without the label nothing is near and nothing is spread, but all are apart.
                return matches!(of.kind(), Kind::Apart | Kind::Avoid);
            };
            let fewest = match of.kind() {
                Kind::Spread(spread) => least(*group, spread),
                Kind::Near | Kind::Apart | Kind::Avoid => 0,
            };
            self.keeps(*group, *means, domain, fewest)
        });
        carried
            && ties.meant_by.iter().all(|group| {
                let key = self.groups.get(*group).topology();
                let domain = (key != HOSTNAME).then(|| tuple[key - 1]).flatten();
                domain.is_none_or(|domain| self.lets_in(*group, domain))
            })
    }

    /// Whether a pod that carries a group keeps it in a domain.
    fn keeps(&self, group: usize, means: bool, domain: DomainId, fewest: u32) -> bool {
        let of = self.groups.get(group);
        let count = of.count(domain);
        match of.kind() {
            Kind::Spread(spread) => {
                count.meant + u32::from(means) <= fewest.saturating_add(spread.max_skew)
            }
            Kind::Near => count.meant > 0 || (means && of.total().meant == 0),
            Kind::Apart | Kind::Avoid => count.meant == 0,
        }
    }

    /// Whether no pod in a domain wants to be apart from those that a group means.
    fn lets_in(&self, group: usize, domain: DomainId) -> bool {
        let of = self.groups.get(group);
        of.kind() != Kind::Apart || of.count(domain).holders == 0
    }

    /// The fewest pods of a spread in any domain that counts for a class.
    pub(super) fn fewest(&self, group: usize, spread: Spread, eligible: &[DomainId]) -> u32 {
        let enough =
            spread.min_domains.is_none_or(|least| eligible.len() as u64 >= u64::from(least));
        if !enough {
            return 0;
        }
        let of = self.groups.get(group);
        eligible.iter().map(|domain| of.count(*domain).meant).min().unwrap_or(0)
    }

    /// The domains that count for a spread of pods of a class: those of nodes and of what may be
    /// launched that its pods may enter, as far as the spread honours that.
    pub(super) fn eligible(
        &mut self,
        problem: &Problem<'a>,
        offers: &Offers,
        class: usize,
        group: usize,
        spread: Spread,
    ) -> Vec<DomainId> {
        let key = self.groups.get(group).topology();
        let index = (key, class, spread.any_labels, spread.any_taints);
        if let Some(known) = self.eligible.get(&index) {
            return known.list.clone();
        }
        let input = self.input;
        let name = self.groups.keys()[key].clone();
        let of = &problem.classes[class];
        let counts = |taints: &_, allows: &dyn Fn(&Class) -> bool| {
            (spread.any_taints || of.may_enter(taints)) && (spread.any_labels || allows(of))
        };
        let nodes = input.nodes.iter().enumerate().filter(|(site, node)| {
            !self.gone.contains(site)
                && counts(&node.taints, &|class| {
                    class.allows(|key| node.labels.get(key).map(|v| &**v))
                })
        });
        let values: Vec<&str> =
            nodes.filter_map(|(_, node)| node.labels.get(&name).map(|v| &**v)).collect();
        let offered = offers.all.iter().filter(|offer| {
            counts(&offer.source.pool.taints, &|class| class.allows(|key| offer.label(input, key)))
        });
        let offered: BTreeSet<&str> =
            offered.filter_map(|offer| offer.label(input, &name)).collect();
        let mut eligible = Eligible::default();
        for value in values.into_iter().chain(offered) {
            *eligible.nodes.entry(self.groups.domain(key, value)).or_default() += 1;
        }
        eligible.list = eligible.nodes.keys().copied().collect();
        let list = eligible.list.clone();
        self.eligible.insert(index, eligible);
        list
    }
}

/// Which domains a pod is counted in as it is put somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// All of its site's.
    All,
    /// The hostname's alone: it was assigned to the others before.
    Hostname,
}

impl Counted {
    fn domain(self, tuple: &[Option<DomainId>], site: usize, key: usize) -> Option<DomainId> {
        if self == Self::Hostname && key != HOSTNAME {
            return None;
        }
        domain(tuple, site, key)
    }
}

pub(super) fn domain(tuple: &[Option<DomainId>], site: usize, key: usize) -> Option<DomainId> {
    if key == HOSTNAME {
        return DomainId::try_from(site).ok();
    }
    tuple.get(key - 1).copied().flatten()
}
