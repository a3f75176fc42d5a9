//! Where pods have been put so far, and what every site has left.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::class::Class;
use super::groups::{DomainId, Groups, HOSTNAME, Kind, Spread, Ties};
use super::hash::QuickMap;
use super::offers::{Offer, Offers};
use super::problem::{Problem, Shape};
use super::relax::Level;
use super::room::{Demand, Room};
use crate::model::{HostPort, Input};

/// Where a pod goes: a site, and the devices that it uses there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) site: usize,
    pub(super) gpus: Vec<u32>,
    pub(super) level: Level,
    pub(super) class: usize,
    /// What it has to do with others, where it has.
    pub(super) ties: Option<Rc<Ties>>,
}

/// Domains of the topology keys, by key; `None` where a site has no such label. The hostname's is
/// not among them.
pub(super) type Tuple = Vec<Option<DomainId>>;

/// Nodes that exist and nodes to launch, as sites: first the ones, then the others.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) input: &'a Input,
    pub(super) rooms: Vec<Room>,
    pub(super) groups: Groups<'a>,
    /// By site, where there are groups.
    tuples: Vec<Tuple>,
    ports: QuickMap<usize, Vec<&'a HostPort>>,
    /// By launch: its index among the offers.
    pub(super) opened: Vec<usize>,
    /// By pod.
    pub(super) places: Vec<Option<Place>>,
    eligible: QuickMap<(usize, usize, bool, bool), Vec<DomainId>>,
    /// Nodes that exist and go: their labels are no domain of anything.
    gone: BTreeSet<usize>,
}

impl<'a> Board<'a> {
    pub(super) fn new(problem: &Problem<'a>, groups: Groups<'a>) -> Self {
        let input = problem.input;
        let mut board = Self {
            input,
            rooms: (0..input.nodes.len()).map(|node| problem.node_room(node)).collect(),
            groups,
            tuples: Vec::new(),
            ports: QuickMap::default(),
            opened: Vec::new(),
            places: vec![None; input.pods.len()],
            eligible: QuickMap::default(),
            gone: BTreeSet::new(),
        };
        for (site, node) in input.nodes.iter().enumerate() {
            let ports: Vec<&HostPort> = node.pods.iter().flat_map(|r| &r.pod.host_ports).collect();
            if !ports.is_empty() {
                board.ports.insert(site, ports);
            }
        }
        board
    }

    /// Counts the pods that run, once it is known what is counted.
    pub(super) fn count_running(&mut self) {
        let input = self.input;
        if self.groups.is_empty() {
            return;
        }
        self.lay_out();
        for (site, node) in input.nodes.iter().enumerate() {
            for running in &node.pods {
                let pod = &running.pod;
                let meant_by = self.groups.meaning(&pod.namespace, &pod.labels);
                let carries = self.groups.of_running(pod);
                let tuple = &self.tuples[site];
                self.groups.place_running(&carries, &meant_by, |key| domain(tuple, site, key));
            }
        }
    }

    /// Works out the domains of the nodes that exist.
    pub(super) fn lay_out(&mut self) {
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

    /// Adds a node to launch, and returns its site.
    pub(super) fn open(&mut self, offers: &Offers, offer: usize) -> usize {
        let of: &Offer = &offers.all[offer];
        let input = self.input;
        self.opened.push(offer);
        self.rooms.push(of.room.clone());
        let site = self.rooms.len() - 1;
        if !self.groups.is_empty() {
            let tuple = self.tuple(|key| of.label(input, key));
            self.tuples.push(tuple);
        }
        let ports: Vec<&HostPort> = of.ports(input).collect();
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
        self.rooms[place.site].release(demand, &place.gpus);
        if let Some(taken) = self.ports.get_mut(&place.site) {
            for port in ports {
                if let Some(at) = taken.iter().position(|taken| *taken == port) {
                    taken.swap_remove(at);
                }
            }
        }
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
                return kind == Kind::Apart;
            };
            let count = self.groups.get(*group).count(own);
            match kind {
                Kind::Apart => true,
                Kind::Near => {
                    let total = self.groups.get(*group).total();
                    count.meant > u32::from(*means) || (*means && total.meant == 1)
                }
                Kind::Spread(spread) if key == HOSTNAME => count.meant <= spread.max_skew,
                Kind::Spread(spread) => {
                    let eligible = self.eligible(problem, offers, place.class, *group, spread);
                    let fewest = self.fewest(*group, spread, &eligible);
                    count.meant <= fewest.saturating_add(spread.max_skew)
                }
            }
        })
    }

    /// Whether no pod was put on a site.
    pub(super) fn is_unused(&self, site: usize) -> bool {
        !self.places.iter().flatten().any(|place| place.site == site)
    }

    /// Takes back the launch that was opened last and never used.
    pub(super) fn close_last(&mut self) {
        if self.opened.pop().is_some() {
            self.rooms.pop();
            self.ports.remove(&self.rooms.len());
            self.tuples.truncate(self.rooms.len());
        }
    }

    /// Puts the next `n` pods of a shape on a site, which must take them, and counts them in the
    /// domains of these keys.
    pub(super) fn put(&mut self, shape: &mut Shape<'a>, n: u64, site: usize, counted: Counted) {
        let (places, level, class) = (&mut self.places, shape.level, shape.class);
        let ties = (!shape.ties.is_empty()).then(|| shape.ties.clone());
        self.rooms[site].take(&shape.demand, n, |gpus| {
            if let Some(pod) = shape.pods.pop_front() {
                places[pod] = Some(Place { site, gpus, level, class, ties: ties.clone() });
            }
        });
        if !shape.ports.is_empty() {
            self.ports.entry(site).or_default().extend(shape.ports);
        }
        if !shape.ties.is_empty() {
            let count = u32::try_from(n).unwrap_or(u32::MAX);
            let tuple = &self.tuples[site];
            self.groups.place(&shape.ties, |key| counted.domain(tuple, site, key), count, false);
        }
    }

    /// Whether the pods on a site let a pod in, as far as the hostname and ports go.
    pub(super) fn admits(&self, ties: &Ties, ports: &[HostPort], site: usize) -> bool {
        let domain = DomainId::try_from(site).unwrap_or(DomainId::MAX);
        let taken = if ports.is_empty() { None } else { self.ports.get(&site) };
        let conflict = |taken: &&HostPort| ports.iter().any(|port| port.conflicts(taken));
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
                return of.kind() == Kind::Apart;
            };
            let fewest = match of.kind() {
                Kind::Spread(spread) => least(*group, spread),
                Kind::Near | Kind::Apart => 0,
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
            Kind::Apart => count.meant == 0,
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
            return known.clone();
        }
        let input = self.input;
        let name = self.groups.keys()[key].clone();
        let of = &problem.classes[class];
        let counts = |taints: &_, allows: &dyn Fn(&Class<'_>) -> bool| {
            (spread.any_taints || of.may_enter(taints)) && (spread.any_labels || allows(of))
        };
        let nodes = input.nodes.iter().enumerate().filter(|(site, node)| {
            !self.gone.contains(site)
                && counts(&node.taints, &|class| {
                    class.allows(|key| node.labels.get(key).map(|v| &**v))
                })
        });
        let mut values: Vec<&str> =
            nodes.filter_map(|(_, node)| node.labels.get(&name).map(|v| &**v)).collect();
        let offered = offers.all.iter().filter(|offer| {
            counts(&input.pools[offer.pool].taints, &|class| {
                class.allows(|key| offer.label(input, key))
            })
        });
        values.extend(offered.filter_map(|offer| offer.label(input, &name)));
        values.sort_unstable();
        values.dedup();
        let domains: Vec<DomainId> =
            values.into_iter().map(|value| self.groups.domain(key, value)).collect();
        self.eligible.insert(index, domains.clone());
        domains
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

fn domain(tuple: &[Option<DomainId>], site: usize, key: usize) -> Option<DomainId> {
    if key == HOSTNAME {
        return DomainId::try_from(site).ok();
    }
    tuple.get(key - 1).copied().flatten()
}
