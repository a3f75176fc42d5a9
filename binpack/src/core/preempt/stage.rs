//! The board while it is tried who has to go: what was done can be undone, step by step.

use std::collections::BTreeSet;

use super::{Evicted, Session, Who};
use crate::core::board::{Board, Counted, Place};
use crate::core::existing::{Domains, Placer};
use crate::core::gangs::Gangs;
use crate::core::groups::{Kind, Spread, Ties};
use crate::core::hash::QuickMap;
use crate::core::offers::Offers;
use crate::core::problem::{Problem, Shape};
use crate::core::room::{Demand, Dims, Room};
use crate::core::run::Run;
use crate::model::{HostPort, Node, Pod, Volume};

pub(super) struct Stage<'r, 'a> {
    pub(super) problem: &'r Problem<'a>,
    pub(super) offers: &'r Offers,
    pub(super) placer: Placer<'r, 'a>,
    pub(super) board: &'r mut Board<'a>,
    pub(super) gangs: &'r mut Gangs,
    own: &'r mut QuickMap<usize, BTreeSet<usize>>,
    pub(super) session: &'r mut Session,
    /// By site that was touched: what is free of each resource, less than nothing where more is
    /// used than there is.
    ledger: QuickMap<usize, Vec<i64>>,
    steps: Vec<Step>,
}

enum Step {
    /// A pod was taken off a site.
    Lifted(Who, Option<Place>),
    /// A pod of the input was put there.
    Placed(usize),
    /// One that was evicted for a pod came back.
    Returned(Who, Option<Evicted>),
}

/// What a pod asks of a node beside its class.
pub(super) struct Needs<'n> {
    pub(super) demand: &'n Demand,
    pub(super) ties: &'n Ties,
    pub(super) ports: &'n [HostPort],
    pub(super) volumes: &'n [Volume],
}

impl<'a> Run<'a> {
    pub(super) fn stage<'r>(&'r mut self, session: &'r mut Session) -> Stage<'r, 'a> {
        Stage {
            problem: &self.problem,
            offers: &self.offers,
            placer: Placer::new(&self.problem, &self.offers, self.config.fit),
            board: &mut self.board,
            gangs: &mut self.gangs,
            own: &mut self.own,
            session,
            ledger: QuickMap::default(),
            steps: Vec::new(),
        }
    }
}

impl<'a> Stage<'_, 'a> {
    pub(super) fn pod(&self, who: Who) -> &'a Pod {
        match who {
            Who::Running(site, at) => &self.problem.input.nodes[site].pods[at].pod,
            Who::Own(pod) => &self.problem.input.pods[pod],
        }
    }

    /// The pods of the input that have their place on a site.
    pub(super) fn own_on(&self, site: usize) -> impl Iterator<Item = usize> {
        self.own.get(&site).into_iter().flatten().copied()
    }

    pub(super) fn site_of(&self, who: Who) -> Option<usize> {
        match who {
            Who::Running(site, _) => Some(site),
            Who::Own(pod) => self.board.places[pod].as_ref().map(|place| place.site),
        }
    }

    /// Whether it is of this call, so that nothing is evicted if it goes.
    pub(super) fn is_fresh(&self, who: Who) -> bool {
        matches!(who, Who::Own(pod) if self.session.fresh.contains(&pod))
    }

    /// How much was done so far.
    pub(super) fn mark(&self) -> usize {
        self.steps.len()
    }

    /// Takes everything back that was done since.
    pub(super) fn undo(&mut self, mark: usize) {
        while self.steps.len() > mark {
            match self.steps.pop() {
                Some(Step::Lifted(who, place)) => {
                    self.add(who, place);
                    self.session.evicted.remove(&who);
                }
                Some(Step::Placed(pod)) => _ = self.take(Who::Own(pod)),
                Some(Step::Returned(who, evicted)) => {
                    self.take(who);
                    self.session.evicted.extend(evicted.map(|evicted| (who, evicted)));
                }
                None => {}
            }
        }
    }

    /// Takes a pod off its site. Where it ran, it is evicted for a pod.
    pub(super) fn lift(&mut self, who: Who, by: usize) -> Option<Place> {
        let site = self.site_of(who)?;
        let place = self.take(who);
        if !self.is_fresh(who) {
            let place = place.clone();
            self.session.evicted.insert(who, Evicted { site, by, place });
        }
        self.steps.push(Step::Lifted(who, place.clone()));
        place
    }

    /// Puts a pod back where it was.
    pub(super) fn put_back(&mut self, who: Who, place: Option<Place>) {
        let evicted = self.session.evicted.remove(&who);
        self.add(who, place);
        self.steps.push(Step::Returned(who, evicted));
    }

    /// Puts the next pod of a shape on a site, which must have room for it.
    pub(super) fn place(&mut self, shape: &mut Shape<'a>, site: usize) -> Option<usize> {
        let pod = shape.pods.front().copied()?;
        self.open(site);
        self.board.put(shape, 1, site, Counted::All);
        self.own.entry(site).or_default().insert(pod);
        self.book(site, &shape.demand.amounts.clone(), false);
        self.steps.push(Step::Placed(pod));
        Some(pod)
    }

    /// Tells the board what has become of the sites that were touched.
    pub(super) fn finish(&mut self) {
        for site in self.ledger.keys() {
            self.board.refresh(*site);
        }
        self.steps.clear();
    }

    fn demand(&self, pod: &Pod) -> Demand {
        Demand::new(&self.problem.dims, pod)
    }

    /// Takes a pod off its site, with all that is counted of it.
    fn take(&mut self, who: Who) -> Option<Place> {
        let pod = self.pod(who);
        let demand = self.demand(pod);
        match who {
            Who::Own(index) => {
                let place = self.board.places[index].clone()?;
                self.open(place.site);
                self.board.take_off(index, &demand, &pod.host_ports);
                if let Some(own) = self.own.get_mut(&place.site) {
                    own.remove(&index);
                }
                self.book(place.site, &demand.amounts, true);
                Some(place)
            }
            Who::Running(site, at) => {
                self.open(site);
                // For whom is noted by who asked.
                self.session.evicted.insert(who, Evicted { site, by: usize::MAX, place: None });
                self.board.count_one(pod, site, true);
                self.gangs.count(self.problem, pod, site, true);
                self.board.free_ports(site, &pod.host_ports);
                let gpus = &self.problem.input.nodes[site].pods[at].gpus;
                self.board.free_gpus(site, &demand, gpus);
                self.book(site, &demand.amounts, true);
                None
            }
        }
    }

    /// Puts a pod where it was.
    fn add(&mut self, who: Who, place: Option<Place>) {
        let pod = self.pod(who);
        let demand = self.demand(pod);
        match (who, place) {
            (Who::Own(index), Some(place)) => {
                let site = place.site;
                self.open(site);
                self.board.put_back(index, place, &demand, &pod.host_ports);
                self.own.entry(site).or_default().insert(index);
                self.book(site, &demand.amounts, false);
            }
            (Who::Own(_), None) => {}
            (Who::Running(site, at), _) => {
                self.open(site);
                self.session.evicted.remove(&who);
                self.board.count_one(pod, site, false);
                self.gangs.count(self.problem, pod, site, false);
                self.board.take_ports(site, &pod.host_ports);
                let gpus = &self.problem.input.nodes[site].pods[at].gpus;
                self.board.take_gpus(site, &demand, gpus);
                self.book(site, &demand.amounts, false);
            }
        }
    }

    /// Begins to keep books of a site.
    fn open(&mut self, site: usize) {
        let Some(node) = self.problem.input.nodes.get(site) else { return };
        if self.ledger.contains_key(&site) {
            return;
        }
        let dims = &self.problem.dims;
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let (all, used) = (dims.amounts(&node.allocatable), dims.amounts(&node.used));
        let mut free: Vec<i64> =
            all.iter().zip(&used).map(|(all, used)| signed(*all) - signed(*used)).collect();
        let mut change = |demand: &Demand, sign: i64| {
            let amounts = demand.amounts.iter().zip(&mut free);
            amounts.for_each(|(need, free)| *free += sign * signed(*need));
        };
        for (at, running) in node.pods.iter().enumerate() {
            if self.session.evicted.contains_key(&Who::Running(site, at)) {
                change(&self.demand(&running.pod), 1);
            }
        }
        for pod in self.own_on(site) {
            change(&self.demand(self.pod(Who::Own(pod))), -1);
        }
        self.ledger.insert(site, free);
    }

    /// Notes a change of what is free, and makes the room of it.
    fn book(&mut self, site: usize, amounts: &[u64], back: bool) {
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        if let Some(free) = self.ledger.get_mut(&site) {
            for (free, amount) in free.iter_mut().zip(amounts) {
                *free += if back { signed(*amount) } else { -signed(*amount) };
            }
        }
        if self.problem.input.nodes.get(site).is_none_or(Node::is_leaving) {
            return;
        }
        let Some(ledger) = self.ledger.get(&site) else { return };
        let mut free: Box<[u64]> =
            ledger.iter().map(|free| u64::try_from(*free).unwrap_or(0)).collect();
        if self.problem.dims.has_volumes() {
            self.limit_volumes(site, &mut free);
        }
        self.board.set_free(site, free);
    }

    /// How many volumes more a node takes: those of pods that still run count once each, those of
    /// pods of the input each time.
    fn limit_volumes(&self, site: usize, free: &mut Box<[u64]>) {
        let node = &self.problem.input.nodes[site];
        let stays = |at: &usize| !self.session.evicted.contains_key(&Who::Running(site, *at));
        let running = (0..node.pods.len()).filter(stays).map(|at| &node.pods[at].pod);
        let dims: &Dims = &self.problem.dims;
        let mut room = Room { free: std::mem::take(free), gpus: Box::default() };
        dims.limit_volumes(&mut room, &node.volume_limits, running);
        for pod in self.own_on(site) {
            let demand = self.demand(self.pod(Who::Own(pod)));
            dims.take_volumes(&mut room, &demand);
        }
        *free = room.free;
    }

    /// Whether a pod of a shape has room on a site, and the pods there and around it let it in.
    pub(super) fn fits(&self, needs: &Needs<'_>, domains: &Domains, site: usize) -> bool {
        let least = |group: usize, spread: Spread| domains.fewest(self.board, group, spread);
        self.has_room(needs, site)
            && self.board.admits(needs.ties, needs.ports, site)
            && self.board.permits(needs.ties, self.board.site_tuple(site), &least)
    }

    /// Whether a site has room. Volumes that are attached there already take none: nobody is evicted
    /// because they were counted twice.
    fn has_room(&self, needs: &Needs<'_>, site: usize) -> bool {
        let room = &self.board.rooms[site];
        if needs.volumes.is_empty() || !self.problem.dims.has_volumes() {
            return room.fits(needs.demand);
        }
        room.fits(&self.problem.dims.without_volumes(needs.demand))
            && self.attaches(needs.volumes, site)
    }

    /// Whether a node may have these volumes attached beside those of its pods.
    fn attaches(&self, volumes: &[Volume], site: usize) -> bool {
        let node = &self.problem.input.nodes[site];
        let running = (0..node.pods.len()).map(|at| Who::Running(site, at));
        let running = running.filter(|who| !self.session.evicted.contains_key(who));
        let pods = running.chain(self.own_on(site).map(Who::Own)).map(|who| self.pod(who));
        let name = |volume: &'a Volume| (&*volume.driver, &*volume.handle);
        let there: BTreeSet<(&str, &str)> = pods.flat_map(|pod| &pod.volumes).map(name).collect();
        let new = volumes.iter().map(|volume| (&*volume.driver, &*volume.handle));
        let new: BTreeSet<(&str, &str)> = new.filter(|volume| !there.contains(volume)).collect();
        new.iter().all(|(driver, _)| {
            let all = there.iter().chain(&new).filter(|(of, _)| of == driver).count();
            node.volume_limits.get(*driver).is_none_or(|limit| all as u64 <= u64::from(*limit))
        })
    }

    /// Whether pods of this call still have what they must have of others, now that these are gone.
    /// Those below a priority that don't are taken off too, gangs apart.
    pub(super) fn others_stay(&mut self, gone: &[Who], below: Option<i32>) -> bool {
        if !gone.iter().any(|who| self.is_missed(*who)) {
            return true;
        }
        let fresh: Vec<usize> = self.session.fresh.iter().copied().collect();
        loop {
            let mut again = false;
            for pod in &fresh {
                if self.board.stays(self.problem, self.offers, *pod) {
                    continue;
                }
                let of = self.pod(Who::Own(*pod));
                if of.gang.is_some() || below.is_none_or(|below| of.priority >= below) {
                    return false;
                }
                self.lift(Who::Own(*pod), *pod);
                self.session.lifted = true;
                again = true;
            }
            if !again {
                return true;
            }
        }
    }

    /// Whether somebody may need the pod near, or in the count of a spread.
    fn is_missed(&self, who: Who) -> bool {
        let pod = self.pod(who);
        let groups = &self.board.groups;
        let meaning = groups.meaning(&pod.namespace, &pod.labels);
        meaning.into_iter().map(|group| groups.get(group)).any(|group| {
            matches!(group.kind(), Kind::Near | Kind::Spread(_)) && group.total().holders > 0
        })
    }
}
