//! Nodes that come and go while pods have their places.
//!
//! A node has a place in the list of nodes. One that goes leaves its place to the next that comes;
//! where no place is free the list grows by half, and all launches, which come after the nodes,
//! move behind it. So a change costs what the node's own pods cost, and the logarithm of the number
//! of nodes, once the moves are shared out among the nodes for which there is a place then.

use std::collections::BTreeSet;

use super::board::{Board, Place};
use super::existing::may_enter;
use super::offers::Offers;
use super::problem::Problem;
use super::room::{Demand, Room};
use super::run::Run;
use super::tree::RoomTree;
use crate::error::Result;
use crate::model::{HostPort, Node};

impl Board<'_> {
    /// Takes in a node that has come to a free place, without counting its pods.
    pub(super) fn enter(&mut self, problem: &Problem<'_>, site: usize) {
        let node = &self.input.nodes[site];
        self.gone.remove(&site);
        self.rooms[site] = problem.node_room(site);
        self.tree.set(site, &self.rooms[site]);
        let ports: Vec<HostPort> =
            node.pods.iter().flat_map(|running| running.pod.host_ports.clone()).collect();
        if !ports.is_empty() {
            self.ports.insert(site, ports);
        }
        if self.is_regional() && !self.tuples.is_empty() {
            self.tuples[site] = self.tuple(|key| node.labels.get(key).map(|value| &**value));
        }
        self.count_domains(problem, site, false);
    }

    /// Takes out a node on which nothing is counted any more.
    pub(super) fn leave(&mut self, problem: &Problem<'_>, site: usize) {
        self.count_domains(problem, site, true);
        self.gone.insert(site);
        self.cordoned.remove(&site);
        self.ports.remove(&site);
        self.rooms[site] = Room::none(&problem.dims);
        self.tree.clear(site);
    }

    /// Counts a node among the domains that count for spreads, or with `out` no longer.
    fn count_domains(&mut self, problem: &Problem<'_>, site: usize, out: bool) {
        let node = &self.input.nodes[site];
        let mut known = std::mem::take(&mut self.eligible);
        for ((key, class, any_labels, any_taints), eligible) in &mut known {
            let class = &problem.classes[*class];
            let allows = || class.allows(|key| node.labels.get(key).map(|value| &**value));
            let value = node.labels.get(&self.groups.keys()[*key]);
            let counts =
                (*any_taints || class.may_enter(&node.taints)) && (*any_labels || allows());
            let Some(value) = value.filter(|_| counts) else { continue };
            let domain = self.groups.domain(*key, value);
            let count = eligible.nodes.entry(domain).or_default();
            *count = if out { count.saturating_sub(1) } else { *count + 1 };
            match *count {
                0 => {
                    eligible.nodes.remove(&domain);
                    eligible.list.retain(|known| *known != domain);
                }
                1 if !out => eligible.list.push(domain),
                _ => {}
            }
        }
        self.eligible = known;
    }

    /// Makes places for so many nodes more behind the first `nodes`.
    fn widen(&mut self, problem: &Problem<'_>, nodes: usize, by: usize) {
        let moved = |site: usize| if site >= nodes { site + by } else { site };
        let free = std::iter::repeat_with(|| Room::none(&problem.dims)).take(by);
        self.rooms.splice(nodes..nodes, free);
        if !self.tuples.is_empty() {
            let none = vec![None; self.groups.keys().len() - 1];
            self.tuples.splice(nodes..nodes, std::iter::repeat_n(none, by));
        }
        self.ports = self.ports.drain().map(|(site, ports)| (moved(site), ports)).collect();
        for place in self.places.iter_mut().flatten() {
            place.site = moved(place.site);
        }
        self.gone.extend(nodes..nodes + by);
        self.tree = RoomTree::new(problem.dims.len(), self.rooms.iter());
    }

    /// From now on a node takes no new pods.
    pub(super) fn cordon(&mut self, problem: &Problem<'_>, site: usize) {
        if !self.cordoned.contains_key(&site) {
            let room = std::mem::replace(&mut self.rooms[site], Room::none(&problem.dims));
            self.cordoned.insert(site, room);
            self.tree.clear(site);
        }
    }

    /// From now on it takes pods again.
    pub(super) fn uncordon(&mut self, site: usize) {
        if let Some(room) = self.cordoned.remove(&site) {
            self.tree.set(site, &room);
            self.rooms[site] = room;
        }
    }

    /// Works out anew what every site has left, in dimensions that are new; `over` are
    /// the launches that are no more.
    fn measure(&mut self, problem: &Problem<'_>, offers: &Offers, over: &BTreeSet<usize>) {
        let nodes = self.input.nodes.len();
        let mut rooms: Vec<Room> = (0..nodes).map(|site| problem.node_room(site)).collect();
        rooms.extend(self.opened.iter().map(|offer| offers.all[*offer].room.clone()));
        let closed = over.iter().map(|launch| nodes + launch);
        self.gone
            .iter()
            .copied()
            .chain(closed)
            .for_each(|site| rooms[site] = Room::none(&problem.dims));
        for (pod, place) in self.places.iter().enumerate() {
            let Some(place) = place else { continue };
            let demand = Demand::new(&problem.dims, &self.input.pods[pod]);
            rooms[place.site].take_on(&demand, &devices(place));
        }
        self.rooms = rooms;
        self.tree = RoomTree::new(problem.dims.len(), self.rooms.iter());
        let sites: Vec<usize> = self.cordoned.drain().map(|(site, _)| site).collect();
        for site in sites {
            self.cordon(problem, site);
        }
    }

    /// Moves a pod, which has a place, to a node that has room for it.
    fn carry(&mut self, pod: usize, site: usize, demand: &Demand) {
        let Some(place) = self.places[pod].clone() else { return };
        let ports = &self.input.pods[pod].host_ports;
        self.take_off(pod, demand, ports);
        self.put_back(pod, Place { site, ..place }, demand, ports);
    }

    /// Gives a pod a place that it had.
    pub(super) fn put_back(
        &mut self,
        pod: usize,
        place: Place,
        demand: &Demand,
        ports: &[HostPort],
    ) {
        let site = place.site;
        self.room_mut(site).take_on(demand, &devices(&place));
        self.refresh(site);
        self.take_ports(site, ports);
        if let Some(ties) = &place.ties {
            self.count(ties, site, false);
        }
        self.places[pod] = Some(place);
    }

    /// What a site has left, whether or not it takes pods.
    fn room_mut(&mut self, site: usize) -> &mut Room {
        match self.cordoned.get_mut(&site) {
            Some(room) => room,
            None => &mut self.rooms[site],
        }
    }

    /// Gives back the devices of a pod that ran.
    pub(super) fn free_gpus(&mut self, site: usize, demand: &Demand, gpus: &[u32]) {
        if !self.input.nodes[site].is_leaving() {
            self.room_mut(site).release_gpus(demand, gpus);
        }
    }

    /// Takes them again.
    pub(super) fn take_gpus(&mut self, site: usize, demand: &Demand, gpus: &[u32]) {
        let devices: Vec<usize> = gpus.iter().map(|gpu| *gpu as usize).collect();
        if !self.input.nodes[site].is_leaving() {
            self.room_mut(site).take_devices(demand, &devices);
        }
    }

    /// Gives back ports.
    pub(super) fn free_ports(&mut self, site: usize, ports: &[HostPort]) {
        let Some(taken) = self.ports.get_mut(&site) else { return };
        for port in ports {
            if let Some(at) = taken.iter().position(|taken| taken == port) {
                taken.swap_remove(at);
            }
        }
    }

    /// Takes ports.
    pub(super) fn take_ports(&mut self, site: usize, ports: &[HostPort]) {
        if !ports.is_empty() {
            self.ports.entry(site).or_default().extend_from_slice(ports);
        }
    }

    /// Says what a node has left, devices apart; [`refresh`](Self::refresh) makes it known.
    pub(super) fn set_free(&mut self, site: usize, free: Box<[u64]>) {
        self.room_mut(site).free = free;
    }

    /// Makes known what a site has left.
    pub(super) fn refresh(&mut self, site: usize) {
        if !self.cordoned.contains_key(&site) {
            self.tree.set(site, &self.rooms[site]);
        }
    }

    /// Whether a site has these devices free, and all else that a pod needs.
    fn has_room_on(&self, site: usize, demand: &Demand, place: &Place) -> bool {
        let room = &self.rooms[site];
        let each = demand.gpu_milli().min(crate::model::GPU_MILLI);
        let free = |gpu: &u32| room.gpus.get(*gpu as usize).is_some_and(|free| *free >= each);
        room.free.iter().zip(&demand.amounts).all(|(free, need)| need <= free)
            && place.gpus.iter().all(free)
    }
}

fn devices(place: &Place) -> Vec<usize> {
    place.gpus.iter().map(|gpu| *gpu as usize).collect()
}

impl Run<'_> {
    /// Makes places for so many nodes more, which the input has already, behind the first `nodes`.
    pub(super) fn widen(&mut self, nodes: usize, by: usize) {
        self.board.widen(&self.problem, nodes, by);
        if self.board.is_regional() {
            self.board.recount(&self.offers);
        }
        let own = std::mem::take(&mut self.own);
        let moved = |site: usize| if site >= nodes { site + by } else { site };
        self.own = own.into_iter().map(|(site, pods)| (moved(site), pods)).collect();
    }

    /// Takes in nodes that have come to these places.
    pub(super) fn enter(&mut self, sites: &[usize]) {
        let input = self.problem.input;
        let running = |site: &usize| input.nodes[*site].pods.iter().map(|running| &running.pod);
        let before = self.board.groups.extent();
        sites.iter().flat_map(running).for_each(|pod| _ = self.board.groups.of_running(pod));
        let grown = self.board.groups.extent() != before;
        for site in sites {
            let node = &input.nodes[*site];
            self.problem.count_taints(node, false);
            self.budgets.count_node(input, node, false);
            self.board.enter(&self.problem, *site);
            for pod in running(site) {
                self.gangs.count(&self.problem, pod, *site, false);
                if !grown {
                    self.board.count_one(pod, *site, false);
                }
            }
        }
        if grown {
            self.board.recount(&self.offers);
        }
    }

    /// Takes out the nodes at these places, and returns the pods that had their place there.
    pub(super) fn leave(&mut self, sites: &[usize]) -> Vec<usize> {
        let input = self.problem.input;
        let mut lost = Vec::new();
        for site in sites {
            let pods: Vec<usize> = self.own.get(site).into_iter().flatten().copied().collect();
            self.remove(&pods);
            lost.extend(pods);
            let node = &input.nodes[*site];
            for running in &node.pods {
                self.gangs.count(&self.problem, &running.pod, *site, true);
                self.board.count_one(&running.pod, *site, true);
            }
            self.board.leave(&self.problem, *site);
            self.budgets.count_node(input, node, true);
            self.problem.count_taints(node, true);
        }
        lost
    }

    pub(super) fn cordon(&mut self, sites: &[usize], takes_pods: bool) {
        for site in sites {
            if takes_pods {
                self.board.uncordon(*site);
            } else {
                self.board.cordon(&self.problem, *site);
            }
        }
    }

    /// Whether this launch was made and is still under way.
    pub(super) fn is_launched(&self, launch: usize) -> bool {
        launch < self.board.opened.len() && !self.over.contains(&launch)
    }

    /// Moves the pods of a launch to the node that it has become, which has its place already.
    /// Returns those that don't fit there: they have none now.
    pub(super) fn arrive(&mut self, launch: usize, site: usize) -> Vec<usize> {
        let input = self.problem.input;
        let from = input.nodes.len() + launch;
        self.over.insert(launch);
        let mut lost = Vec::new();
        for pod in self.own.remove(&from).into_iter().flatten() {
            let demand = Demand::new(&self.problem.dims, &input.pods[pod]);
            let Some(place) = self.board.places[pod].clone() else { continue };
            let class = &self.problem.classes[place.class];
            let fits = self.board.has_room_on(site, &demand, &place)
                && may_enter(&self.board, &self.offers, class, place.class, site);
            if fits {
                self.board.carry(pod, site, &demand);
                self.own.entry(site).or_default().insert(pod);
            } else {
                self.board.evict(pod, &demand);
                lost.push(pod);
            }
        }
        self.board.close(from);
        let offer = &self.offers.all[self.board.opened[launch]];
        self.budgets.give_back(&self.budgets.pool_draws(offer, input));
        lost
    }

    /// Makes sure that all that these pods ask for is measured.
    pub(super) fn measure(&mut self, pods: &[usize]) -> Result<()> {
        let input = self.problem.input;
        if self.problem.measure(pods.iter().map(|pod| &input.pods[*pod])) {
            self.offers = Offers::new(&self.problem)?;
            self.board.measure(&self.problem, &self.offers, &self.over);
        }
        Ok(())
    }
}

/// A free place for a node.
pub(super) fn nobody() -> Node {
    Node::new("", crate::model::Resources::default())
}
