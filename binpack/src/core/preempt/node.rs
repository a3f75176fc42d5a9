//! Who has to go on one node.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Who;
use super::stage::{Needs, Stage};
use crate::core::board::Place;
use crate::core::existing::Domains;
use crate::core::gangs::gang_of;
use crate::model::{Input, Pod};

/// A pod that may have to go.
#[derive(Debug, Clone)]
pub(super) struct Resident {
    pub(super) who: Who,
    priority: i32,
    name: Arc<str>,
    gang: Option<usize>,
    /// The disruption budgets that protect it.
    budgets: Vec<usize>,
}

/// What it costs that pods go: the least first, as kube-scheduler compares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    violations: u32,
    /// The highest priority that goes.
    highest: Option<i32>,
    /// The sum of priorities, each from 1 up, so that more pods cost more.
    sum: i64,
    evictions: u32,
    /// The highest priority of those that don't run yet, and their number.
    lifted: (Option<i32>, u32),
}

impl Cost {
    pub(super) fn add(&mut self, other: &Self) {
        self.violations += other.violations;
        self.highest = self.highest.max(other.highest);
        self.sum = self.sum.saturating_add(other.sum);
        self.evictions += other.evictions;
        self.lifted.0 = self.lifted.0.max(other.lifted.0);
        self.lifted.1 += other.lifted.1;
    }

    fn evict(&mut self, priority: i32, violates: bool) {
        self.violations += u32::from(violates);
        self.highest = self.highest.max(Some(priority));
        let from_one = i64::from(priority) + i64::from(i32::MAX) + 2;
        self.sum = self.sum.saturating_add(from_one);
        self.evictions += 1;
    }

    fn lift(&mut self, priority: i32) {
        self.lifted.0 = self.lifted.0.max(Some(priority));
        self.lifted.1 += 1;
    }
}

/// By disruption budget: how many evictions are left.
pub(super) fn allowed(input: &Input) -> Vec<u32> {
    input.disruption_budgets.iter().map(|budget| budget.disruptions_allowed).collect()
}

/// The disruption budgets that protect a pod.
pub(super) fn budgets_of(input: &Input, pod: &Pod) -> Vec<usize> {
    let all = input.disruption_budgets.iter().enumerate();
    all.filter(|(_, budget)| budget.covers(pod)).map(|(at, _)| at).collect()
}

/// Counts an eviction, and says whether some budget had none left.
pub(super) fn violates(allowed: &mut [u32], budgets: &[usize]) -> bool {
    let mut violates = false;
    for budget in budgets {
        violates |= allowed[*budget] == 0;
        allowed[*budget] = allowed[*budget].saturating_sub(1);
    }
    violates
}

/// Pods that stay or go together, and where they were.
struct Unit {
    residents: Vec<(Resident, Option<Place>)>,
    gang: Option<usize>,
    /// Whether they don't run yet.
    fresh: bool,
}

impl Stage<'_, '_> {
    /// All who could go for a pod of this priority.
    fn candidates(&mut self, pod: usize, site: usize, priority: i32) -> Vec<Resident> {
        let running = self.running(site).iter().filter(|of| of.priority < priority);
        let mut all: Vec<Resident> = running.cloned().collect();
        all.retain(|of| !self.session.evicted.contains_key(&of.who));
        let own = self.own_on(site).map(Who::Own).filter(|who| self.pod(*who).priority < priority);
        all.extend(own.map(|who| self.resident(who)).collect::<Vec<_>>());
        let mine = gang_of(self.problem, pod);
        all.retain(|of| of.gang.is_none() || of.gang != mine);
        all
    }

    /// The pods that the input says run on a site.
    fn running(&mut self, site: usize) -> &[Resident] {
        if !self.session.residents.contains_key(&site) {
            let pods = 0..self.problem.input.nodes[site].pods.len();
            let all = pods.map(|at| self.resident(Who::Running(site, at))).collect();
            self.session.residents.insert(site, all);
        }
        self.session.residents.get(&site).map_or(&[], |all| all)
    }

    pub(super) fn resident(&self, who: Who) -> Resident {
        let pod = self.pod(who);
        let gang = match who {
            Who::Own(pod) => gang_of(self.problem, pod),
            Who::Running(..) => pod.gang.as_ref().and_then(|gang| self.problem.gang(gang)),
        };
        let (priority, name) = (pod.priority, pod.name.clone());
        let budgets =
            if self.is_fresh(who) { Vec::new() } else { budgets_of(self.problem.input, pod) };
        Resident { who, priority, name, gang, budgets }
    }

    /// The members of a gang that have a place.
    pub(super) fn members(&self, gang: usize) -> Vec<Who> {
        let own = self.gangs.own(gang).filter(|pod| self.board.places[*pod].is_some());
        let mut all: Vec<Who> = own.map(Who::Own).collect();
        let name = &self.problem.input.gangs[gang].name;
        for site in self.gangs.sites(gang) {
            let pods = self.problem.input.nodes[site].pods.iter().enumerate();
            let members = pods.filter(|(_, running)| running.pod.gang.as_ref() == Some(name));
            let members = members.map(|(at, _)| Who::Running(site, at));
            all.extend(members.filter(|who| !self.session.evicted.contains_key(who)));
        }
        all
    }

    /// How many members of a gang ran before this call.
    pub(super) fn settled(&self, gang: usize) -> usize {
        self.members(gang).into_iter().filter(|who| !self.is_fresh(*who)).count()
    }

    /// Whether these members of a gang may all go: they are of lower priority, and on nodes or not
    /// there yet.
    fn may_go(&self, members: &[Who], priority: i32) -> bool {
        let nodes = self.problem.input.nodes.len();
        let there = |who: Who| self.is_fresh(who) || self.site_of(who).is_some_and(|s| s < nodes);
        members.iter().all(|who| self.pod(*who).priority < priority && there(*who))
    }

    /// Finds out who has to go so that a pod fits on a node, takes them off for it, and says what
    /// that costs. `None`, and nothing is changed, if it does not fit whoever goes.
    pub(super) fn make_room(
        &mut self,
        pod: usize,
        needs: &Needs<'_>,
        domains: &Domains,
        site: usize,
        priority: i32,
    ) -> Option<(Cost, Vec<Who>)> {
        if self.fits(needs, domains, site) {
            return Some((Cost::default(), Vec::new()));
        }
        let mark = self.mark();
        let mut candidates = self.candidates(pod, site, priority);
        if candidates.is_empty() {
            return None;
        }
        let violating = self.violating(&mut candidates);
        let mut units = self.units(candidates, &violating, (pod, priority));
        if !self.fits(needs, domains, site) {
            self.undo(mark);
            return None;
        }
        let mut gone: Vec<Resident> = Vec::new();
        for unit in &mut units {
            let Some(broken) = self.reprieve(unit, (pod, priority), needs, domains, site) else {
                self.undo(mark);
                return None;
            };
            gone.extend(unit.residents.drain(..).map(|(resident, _)| resident));
            for who in broken {
                let resident = self.resident(who);
                self.lift(who, pod);
                gone.push(resident);
            }
        }
        let all: Vec<Who> = gone.iter().map(|of| of.who).collect();
        Some((self.cost(&mut gone), all))
    }

    /// Puts back as many of a unit as the pod leaves room for. Of a gang either enough stay, or all
    /// go: then its members on other nodes are returned, or those of this call if no other goes.
    /// `None` if some of them may not go.
    fn reprieve(
        &mut self,
        unit: &mut Unit,
        (pod, priority): (usize, i32),
        needs: &Needs<'_>,
        domains: &Domains,
        site: usize,
    ) -> Option<Vec<Who>> {
        let mark = self.mark();
        let (mut gone, mut back) = (Vec::new(), Vec::new());
        for (resident, place) in unit.residents.drain(..) {
            self.put_back(resident.who, place.clone());
            if self.fits(needs, domains, site) {
                back.push((resident, place));
            } else {
                self.lift(resident.who, pod);
                gone.push((resident, place));
            }
        }
        unit.residents = gone;
        let Some(gang) = unit.gang else { return Some(Vec::new()) };
        if unit.fresh {
            // Where they are too few now, all that have just come go, and those that run go on as
            // they did before the plan.
            let torn = self.gangs.wanted(self.problem, self.board, gang) > 0;
            let mut come = if torn { self.members(gang) } else { Vec::new() };
            come.retain(|who| self.is_fresh(*who));
            return self.may_go(&come, priority).then_some(come);
        }
        // Members that don't run yet save none that does: they may have to go later.
        let least = self.problem.input.gangs[gang].min_member as usize;
        if unit.residents.is_empty() || self.settled(gang) >= least {
            return Some(Vec::new());
        }
        self.undo(mark);
        unit.residents.append(&mut back);
        let rest = self.members(gang);
        self.may_go(&rest, priority).then_some(rest)
    }

    /// Takes all off, and says in which order they are put back, those of a gang together that run,
    /// and those that don't yet: first
    /// gangs of which not all could go.
    fn units(
        &mut self,
        candidates: Vec<Resident>,
        violating: &BTreeSet<Who>,
        (by, priority): (usize, i32),
    ) -> Vec<Unit> {
        let mut sorted = candidates;
        sorted.sort_by_cached_key(|of| {
            let fresh = self.is_fresh(of.who);
            let loose = of.gang.is_none_or(|gang| {
                let mut with_it = self.members(gang);
                with_it.retain(|who| !fresh || self.is_fresh(*who));
                self.may_go(&with_it, priority)
            });
            (loose, fresh, !violating.contains(&of.who), Reverse(of.priority), of.name.clone())
        });
        let mut units: Vec<Unit> = Vec::new();
        let mut unit_of: BTreeMap<(usize, bool), usize> = BTreeMap::new();
        for resident in sorted {
            let place = self.lift(resident.who, by);
            let (gang, fresh) = (resident.gang, self.is_fresh(resident.who));
            let key = gang.map(|gang| (gang, fresh));
            if let Some(unit) = key.and_then(|key| unit_of.get(&key).copied()) {
                units[unit].residents.push((resident, place));
                continue;
            }
            unit_of.extend(key.map(|key| (key, units.len())));
            units.push(Unit { residents: vec![(resident, place)], gang, fresh });
        }
        units
    }

    /// Those whose budgets would be violated if all went, the more important ones counted first.
    fn violating(&self, candidates: &mut [Resident]) -> BTreeSet<Who> {
        let mut allowed = self.allowed();
        candidates
            .sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
        let over = candidates.iter().filter(|of| violates(&mut allowed, &of.budgets));
        over.map(|of| of.who).collect()
    }

    /// What budgets still allow.
    fn allowed(&self) -> Vec<u32> {
        let mut allowed = allowed(self.problem.input);
        if !allowed.is_empty() {
            for who in self.session.evicted.keys() {
                violates(&mut allowed, &budgets_of(self.problem.input, self.pod(*who)));
            }
        }
        allowed
    }

    fn cost(&self, gone: &mut [Resident]) -> Cost {
        let mut allowed = allowed(self.problem.input);
        if !allowed.is_empty() {
            let now: BTreeSet<Who> = gone.iter().map(|of| of.who).collect();
            for who in self.session.evicted.keys().filter(|who| !now.contains(who)) {
                violates(&mut allowed, &budgets_of(self.problem.input, self.pod(*who)));
            }
        }
        gone.sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
        let mut cost = Cost::default();
        for of in gone {
            if self.is_fresh(of.who) {
                cost.lift(of.priority);
            } else {
                cost.evict(of.priority, violates(&mut allowed, &of.budgets));
            }
        }
        cost
    }
}
