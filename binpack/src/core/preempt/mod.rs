//! Room for pods of higher priority: which pods of lower priority have to go.
//!
//! It is kube-scheduler's default preemption (`pkg/scheduler/framework/plugins/defaultpreemption`;
//! KEP-268), for a whole plan at once. It comes last, when neither a node has room for a pod nor
//! anything can be launched for it, with all its preferences given up. On each node all pods of
//! lower priority are taken off, and if the pod fits then, as many as possible are put back: first
//! those whose disruption budget would be violated, then by priority. Of the nodes the one is taken
//! where the fewest budgets are violated, then where the highest priority that goes is lowest, then
//! the sum of priorities, then their number, then by name. When pods began is not known, so it does
//! not count. All nodes are looked at, not a sample. Pods on other nodes are not evicted for the
//! sake of a spread or an anti-affinity, as there.
//!
//! Beyond it: pods that this plan has placed and that don't run yet go before any that runs, and are
//! then placed anew. A gang evicts for all its members or for none, in one domain of its topology,
//! which is chosen by the same order, summed up. And members of a gang that would fall below its
//! minimum go with all others of it. Neighbours that pods of this plan must have, or have been given
//! since they prefer them, are not evicted.

mod gang;
mod node;
mod search;
mod spare;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use self::node::Resident;
use super::board::Place;
use super::control::Control;
use super::gangs::gang_of;
use super::hash::QuickMap;
use super::problem::Shape;
use super::relax::Level;
use super::run::Run;
use crate::config::Preemption;
use crate::error::Result;
use crate::model::{Eviction, PreemptionPolicy, Preemptor};

/// A pod that has its place on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Who {
    /// The pod at this place of [`Node::pods`](crate::Node::pods) of a node.
    Running(usize, usize),
    /// A pod of the input.
    Own(usize),
}

/// Where a pod was that has to go, and the pod for which it does.
#[derive(Debug, Clone)]
pub(super) struct Evicted {
    site: usize,
    by: usize,
    /// Its place, if it is a pod of the input.
    place: Option<Place>,
}

/// What has been done in one call.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Pods of this call: what they have is not carried out yet.
    fresh: BTreeSet<usize>,
    /// Who has been evicted, where, and for which pod.
    evicted: BTreeMap<Who, Evicted>,
    /// By site: the pods that ran there before this call.
    residents: QuickMap<usize, Vec<Resident>>,
    /// Whether pods of this call have lost their places.
    lifted: bool,
}

impl<'a> Run<'a> {
    /// Evicts pods for those of these that have no place.
    pub(super) fn preempt(&mut self, pods: &[usize], control: &mut Control<'_>) -> Result<()> {
        let waits = |pod: &&usize| self.board.places[**pod].is_none();
        if self.config.preemption == Preemption::Never || !pods.iter().any(|pod| waits(&pod)) {
            return Ok(());
        }
        let mut session = Session { fresh: pods.iter().copied().collect(), ..Session::default() };
        self.seat(pods);
        let mut above = None;
        while let Some(priority) = self.next_priority(pods, above) {
            above = Some(priority);
            if session.lifted {
                let wave = self.waiting_at(pods, priority..=i32::MAX, Run::first_level);
                self.replace(&wave, control)?;
            }
            let wave = self.waiting_at(pods, priority..=priority, Run::last_level);
            let shapes = self.problem.shapes(&wave, &mut self.board.groups)?;
            self.evict_for(&mut session, shapes, priority);
        }
        if !session.evicted.is_empty() || session.lifted {
            self.settle(&mut session, pods, control)?;
        }
        self.evictions = self.report(&session);
        Ok(())
    }

    /// Puts those in that have room now, and spares whom nobody needs gone, until both is done.
    fn settle(
        &mut self,
        session: &mut Session,
        pods: &[usize],
        control: &mut Control<'_>,
    ) -> Result<()> {
        loop {
            let waiting = pods.iter().copied().filter(|pod| self.board.places[*pod].is_none());
            let wave: Vec<(usize, Level)> =
                waiting.map(|pod| (pod, self.first_level(pod))).collect();
            self.replace(&wave, control)?;
            if !self.stage(session).spare() {
                return Ok(());
            }
        }
    }

    /// Whether pods of this call that have nothing to do with a wave have what they must have.
    fn others_stay(&mut self, wave: &[usize]) -> bool {
        if self.board.groups.is_empty() {
            return true;
        }
        let wave: BTreeSet<usize> = wave.iter().copied().collect();
        let others: Vec<usize> =
            self.call.iter().copied().filter(|pod| !wave.contains(pod)).collect();
        others.into_iter().all(|pod| self.board.stays(&self.problem, &self.offers, pod))
    }

    /// Places pods as at the start.
    fn replace(&mut self, wave: &[(usize, Level)], control: &mut Control<'_>) -> Result<()> {
        for (pod, level) in wave {
            self.levels[*pod] = *level;
        }
        let shapes = self.problem.shapes(wave, &mut self.board.groups)?;
        self.waves(shapes, control)?;
        let pods: Vec<usize> = wave.iter().map(|(pod, _)| *pod).collect();
        if !self.others_stay(&pods) {
            // Those that have their places go first: what has to do with others waits.
            self.take_off_tied(&pods);
        }
        self.seat(&pods);
        Ok(())
    }

    /// The highest priority of pods that wait, below another one.
    fn next_priority(&self, pods: &[usize], below: Option<i32>) -> Option<i32> {
        let waiting = pods.iter().filter(|pod| self.board.places[**pod].is_none());
        let priorities = waiting.map(|pod| self.rank(*pod));
        priorities.filter(|priority| below.is_none_or(|below| *priority < below)).max()
    }

    /// The priority at which a pod is looked at: a member of a gang with the last of its members.
    fn rank(&self, pod: usize) -> i32 {
        let own = self.problem.input.pods[pod].priority;
        let Some(gang) = gang_of(&self.problem, pod) else { return own };
        let members = self.gangs.own(gang);
        members.map(|pod| self.problem.input.pods[pod].priority).min().unwrap_or(own)
    }

    fn waiting_at(
        &self,
        pods: &[usize],
        priorities: RangeInclusive<i32>,
        level: impl Fn(&Self, usize) -> Level,
    ) -> Vec<(usize, Level)> {
        let waiting = pods.iter().copied().filter(|pod| self.board.places[*pod].is_none());
        let own = waiting.filter(|pod| priorities.contains(&self.rank(*pod)));
        own.map(|pod| (pod, level(self, pod))).collect()
    }

    /// The level at which a pod asks for nothing but what it must have.
    fn last_level(&self, pod: usize) -> Level {
        self.problem.levels(&self.problem.input.pods[pod]) - 1
    }

    /// Evicts for shapes of one priority, each shape once.
    fn evict_for(&mut self, session: &mut Session, mut shapes: Vec<Shape<'a>>, priority: i32) {
        let mut stage = self.stage(session);
        let willing = |pod: usize| {
            let policy = stage.problem.input.pods[pod].preemption_policy;
            policy == PreemptionPolicy::LowerPriority
        };
        // A gang comes as a whole: where one of it evicts nobody, none does.
        shapes.retain(|shape| match shape.gang {
            Some(gang) => stage.gangs.own(gang).all(willing),
            None => shape.pods.iter().copied().all(willing),
        });
        let mut parties: Vec<Vec<Shape<'a>>> = Vec::new();
        let mut party_of: QuickMap<usize, usize> = QuickMap::default();
        for shape in shapes {
            let known = shape.gang.and_then(|gang| party_of.get(&gang).copied());
            if let Some(party) = known {
                parties[party].push(shape);
            } else {
                party_of.extend(shape.gang.map(|gang| (gang, parties.len())));
                parties.push(vec![shape]);
            }
        }
        while !parties.is_empty() {
            let before = stage.mark();
            for party in &parties {
                stage.evict_for_party(party.clone(), priority);
            }
            // Who has to do with others may have a place now that some of those are elsewhere.
            let progress = stage.mark() > before;
            for shape in parties.iter_mut().flatten() {
                shape.pods.retain(|pod| stage.board.places[*pod].is_none());
            }
            let tied = |shape: &Shape<'_>| shape.left() > 0 && !shape.ties.is_empty();
            parties.retain(|party| progress && party.iter().any(tied));
        }
        stage.finish();
    }

    /// Notes where pods have their places.
    fn seat(&mut self, pods: &[usize]) {
        for pod in pods {
            if let Some(place) = &self.board.places[*pod] {
                self.own.entry(place.site).or_default().insert(*pod);
            }
        }
    }

    fn report(&self, session: &Session) -> Vec<Eviction> {
        let input = self.problem.input;
        let mut all: Vec<(usize, Who, usize)> =
            session.evicted.iter().map(|(who, of)| (of.site, *who, of.by)).collect();
        all.sort_unstable();
        let mut allowed = node::allowed(input);
        let evictions = all.into_iter().map(|(site, who, by)| {
            let pod = match who {
                Who::Running(site, at) => &input.nodes[site].pods[at].pod,
                Who::Own(pod) => &input.pods[pod],
            };
            let by = &input.pods[by];
            let preemptor = match &by.gang {
                Some(gang) => Preemptor::Gang(gang.clone()),
                None => Preemptor::Pod(by.name.clone()),
            };
            let node = input.nodes[site].name.clone();
            let violates_budget = node::violates(&mut allowed, &node::budgets_of(input, pod));
            let of = Eviction::new(pod.name.clone(), node, preemptor, pod.priority);
            Eviction { violates_budget, ..of }
        });
        evictions.collect()
    }
}
