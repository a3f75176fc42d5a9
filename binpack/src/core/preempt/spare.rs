//! Evictions that turned out not to be needed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Who;
use super::stage::Stage;
use crate::core::board::Place;
use crate::core::gangs::{Home, gang_of};
use crate::core::groups::{HOSTNAME, Kind};
use crate::core::problem::Shape;
use crate::core::room::Demand;

impl<'a> Stage<'_, 'a> {
    /// Lets those stay whom nobody needs gone any more, since others went after them: with the pods
    /// for which some went, and those of higher priority, they all fit. Returns whether there were
    /// any.
    pub(super) fn spare(&mut self) -> bool {
        let mut any = false;
        for unit in self.evicted_units() {
            let mark = self.mark();
            if self.takes_back(&unit) {
                any = true;
            } else {
                self.undo(mark);
            }
        }
        self.finish();
        any
    }

    /// Who was evicted, members of a gang of which all went together, in the order in which they
    /// may stay.
    fn evicted_units(&self) -> Vec<Vec<Who>> {
        let mut sorted: Vec<Who> = self.session.evicted.keys().copied().collect();
        sorted.sort_by_cached_key(|who| {
            let pod = self.pod(*who);
            (Reverse(pod.priority), pod.name.clone())
        });
        let mut units: Vec<Vec<Who>> = Vec::new();
        let mut broken: BTreeMap<usize, usize> = BTreeMap::new();
        for who in sorted {
            let gang = self.pod(who).gang.as_ref().and_then(|gang| self.problem.gang(gang));
            let gang = gang.filter(|gang| self.settled(*gang) == 0);
            if let Some(unit) = gang.and_then(|gang| broken.get(&gang).copied()) {
                units[unit].push(who);
            } else {
                broken.extend(gang.map(|gang| (gang, units.len())));
                units.push(vec![who]);
            }
        }
        units
    }

    /// Puts these back, and then all pods of this call on their nodes again that must have room.
    fn takes_back(&mut self, unit: &[Who]) -> bool {
        let priority = unit.iter().map(|who| self.pod(*who).priority).max().unwrap_or(i32::MIN);
        let sites: BTreeSet<usize> =
            unit.iter().filter_map(|who| Some(self.session.evicted.get(who)?.site)).collect();
        let others = self.session.evicted.iter().filter(|(who, _)| !unit.contains(who));
        let needed: BTreeSet<usize> = others.map(|(_, of)| of.by).collect();
        let mut moved: Vec<(usize, Place)> = Vec::new();
        for site in &sites {
            let fresh = self.own_on(*site).filter(|pod| self.is_fresh(Who::Own(*pod)));
            for pod in fresh.collect::<Vec<usize>>() {
                let place = self.lift(Who::Own(pod), pod);
                moved.extend(place.map(|place| (pod, place)));
            }
        }
        if unit.iter().any(|who| self.clashes(*who)) {
            return false;
        }
        for who in unit {
            let place = self.session.evicted.get(who).and_then(|of| of.place.clone());
            self.put_back(*who, place);
        }
        moved.sort_by_cached_key(|(pod, _)| {
            let must = needed.contains(pod);
            (Reverse(must), Reverse(self.pod(Who::Own(*pod)).priority), *pod)
        });
        let left = self.place_again(moved);
        let must =
            |pod: &usize| needed.contains(pod) || self.pod(Who::Own(*pod)).priority > priority;
        !left.iter().any(must)
            && !left.iter().any(|pod| self.tears(*pod))
            && unit.iter().all(|who| self.is_together(*who))
            && self.others_stay(unit, None)
    }

    /// Whether a pod that lost its place leaves too few of its gang behind.
    fn tears(&self, pod: usize) -> bool {
        gang_of(self.problem, pod).is_some_and(|gang| {
            self.gangs.members(self.board, gang) > 0
                && self.gangs.wanted(self.problem, self.board, gang) > 0
        })
    }

    /// Whether the gang of a pod, if any, is where it must be.
    fn is_together(&self, who: Who) -> bool {
        let gang = self.pod(who).gang.as_ref().and_then(|gang| self.problem.gang(gang));
        gang.is_none_or(|gang| {
            let home = |key: &usize| self.gangs.home(self.board, gang, *key);
            !self.problem.input.gangs[gang].topology_required
                || self.gangs.keys(gang).iter().any(|key| home(key) != Home::None)
        })
    }

    /// Puts pods of this call where they were, and returns those that have no room there any more.
    fn place_again(&mut self, mut moved: Vec<(usize, Place)>) -> Vec<usize> {
        loop {
            let before = moved.len();
            let mut left = Vec::new();
            for (pod, place) in moved {
                let mut shape = self.shape_of(pod, &place);
                let domains = self.placer.domains(self.board, &shape);
                let fits = self.fits(&self.needs(&shape, pod), &domains, place.site);
                if fits {
                    self.place(&mut shape, place.site);
                } else {
                    left.push((pod, place));
                }
            }
            if left.is_empty() || left.len() == before {
                return left.into_iter().map(|(pod, _)| pod).collect();
            }
            moved = left;
        }
    }

    fn shape_of(&self, pod: usize, place: &Place) -> Shape<'a> {
        let of = &self.problem.input.pods[pod];
        Shape {
            demand: Demand::new(&self.problem.dims, of),
            class: place.class,
            plain: place.plain,
            ties: place.ties.clone().unwrap_or_default(),
            ports: &of.host_ports,
            priority: of.priority,
            level: place.level,
            gang: gang_of(self.problem, pod),
            pin: None,
            pods: VecDeque::from([pod]),
        }
    }

    /// Whether pods of this call are where they would have to be apart from one that comes back.
    fn clashes(&mut self, who: Who) -> bool {
        let pod = self.pod(who);
        let Some(site) = self.session.evicted.get(&who).map(|of| of.site) else { return false };
        let carried = self.board.groups.of_running(pod);
        let mut meant = self.board.groups.meaning(&pod.namespace, &pod.labels);
        meant.retain(|group| self.board.groups.get(*group).kind() == Kind::Apart);
        if carried.is_empty() && meant.is_empty() {
            return false;
        }
        let shared = |group: &usize, other: usize| {
            let key = self.board.groups.get(*group).topology();
            if key == HOSTNAME {
                return site == other;
            }
            let domain = self.board.domain_of(site, key);
            domain.is_some() && domain == self.board.domain_of(other, key)
        };
        let places = self.session.fresh.iter().filter_map(|pod| self.board.places[*pod].as_ref());
        places.into_iter().any(|place| {
            place.ties.as_ref().is_some_and(|ties| {
                let keeps = |group: &usize| ties.carries.iter().any(|(of, _)| of == group);
                carried.iter().any(|of| ties.meant_by.contains(of) && shared(of, place.site))
                    || meant.iter().any(|of| keeps(of) && shared(of, place.site))
            })
        })
    }
}
