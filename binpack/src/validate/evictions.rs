//! Pods that make room: each may go, for somebody of higher priority who needs it gone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::crowd::Crowd;
use super::state::{Placed, SiteId, State};
use super::{Breach, Rule, attachments, bindings, rules};
use crate::model::{
    Eviction, Input, Node, Plan, Pod, PreemptionPolicy, Preemptor, Reason, ReasonKind, RunningPod,
    Target, Unplaced,
};

pub(super) fn evictions(state: &State<'_>) -> Vec<Breach> {
    if state.plan.evictions.is_empty() {
        return Vec::new();
    }
    let all = Evictions::of(state);
    let mut found = all.victims();
    found.extend(all.preemptors());
    found.extend(all.gangs());
    found.extend(all.budgets());
    if found.is_empty() {
        found.extend(all.needless());
    }
    found
}

struct Evictions<'s, 'a> {
    state: &'s State<'a>,
    /// Pods that run before the plan is carried out, by node and name.
    running: HashMap<(&'a str, &'a str), &'a RunningPod>,
    nodes: HashMap<&'a str, &'a Node>,
    /// Pods that the plan binds, by name and by gang.
    bound: HashMap<&'a str, &'s Placed<'a>>,
    members: HashMap<&'a str, Vec<&'s Placed<'a>>>,
    /// By gang: how many members go on running.
    left: HashMap<&'a str, usize>,
}

impl<'s, 'a> Evictions<'s, 'a> {
    fn of(state: &'s State<'a>) -> Self {
        let nodes = &state.input.nodes;
        let running = nodes.iter().flat_map(|node| {
            node.pods.iter().map(|running| ((&*node.name, &*running.pod.name), running))
        });
        let mut all = Self {
            state,
            running: running.collect(),
            nodes: nodes.iter().map(|node| (&*node.name, node)).collect(),
            bound: HashMap::new(),
            members: HashMap::new(),
            left: HashMap::new(),
        };
        for placed in state.placed() {
            let gang = placed.pod.gang.as_deref();
            if placed.bound() {
                all.bound.insert(&placed.pod.name, placed);
                if let Some(gang) = gang {
                    all.members.entry(gang).or_default().push(placed);
                }
            } else if let Some(gang) = gang {
                *all.left.entry(gang).or_default() += 1;
            }
        }
        all
    }

    fn all(&self) -> &'a [Eviction] {
        &self.state.plan.evictions
    }

    fn victim(&self, of: &Eviction) -> Option<&'a Pod> {
        self.running.get(&(&*of.node, &*of.pod)).map(|running| &running.pod)
    }

    /// Each runs where it is said to, and goes once.
    fn victims(&self) -> Vec<Breach> {
        let mut seen = HashSet::new();
        self.breaches(|of| match self.victim(of) {
            None => Some("does not run there".into()),
            Some(_) if !seen.insert(&of.pod) => Some("goes twice".into()),
            Some(pod) if pod.priority != of.priority => {
                Some(format!("has priority {}", pod.priority))
            }
            Some(_) => None,
        })
    }

    /// Who takes its place has one there, is of higher priority, and may evict.
    fn preemptors(&self) -> Vec<Breach> {
        self.breaches(|of| {
            let members = self.members(&of.preemptor);
            let placed = self.placed(&of.preemptor);
            if placed.is_empty() {
                return Some("is evicted for nobody who has a place".into());
            }
            if members.iter().any(|pod| pod.preemption_policy == PreemptionPolicy::Never) {
                return Some("is evicted for a pod that evicts nobody".into());
            }
            let victim = self.victim(of)?;
            if members.iter().any(|pod| pod.priority <= victim.priority) {
                return Some("is evicted for a pod of no higher priority".into());
            }
            let there = |at: &Eviction| {
                at.preemptor == of.preemptor
                    && placed.iter().any(|pod| pod.site == SiteId::Node(&at.node))
            };
            let gang = victim.gang.as_ref();
            let with_it = |other: &&Eviction| {
                gang.is_some() && self.victim(other).is_some_and(|pod| pod.gang.as_ref() == gang)
            };
            let all_go = gang.is_some_and(|gang| self.left_of(gang) == 0);
            let near = there(of) || all_go && self.all().iter().filter(with_it).any(there);
            (!near).then(|| "is evicted for a pod on another node".into())
        })
    }

    /// Of a gang either enough are left, or none.
    fn gangs(&self) -> Vec<Breach> {
        let mut least: BTreeMap<&str, u32> = BTreeMap::new();
        for gang in &self.state.input.gangs {
            least.insert(&gang.name, gang.min_member);
        }
        let torn = |of: &Eviction| {
            let gang = self.victim(of)?.gang.as_ref()?;
            let running = self.left_of(gang);
            let bound = self.members.get(&**gang).map_or(0, Vec::len);
            let (left, least) = (running + bound, *least.get(&**gang)? as usize);
            let torn = running > 0 && left < least;
            torn.then(|| format!("leaves {left} members of gang {gang}, it takes {least}"))
        };
        self.breaches(torn)
    }

    /// How many members of a gang go on running.
    fn left_of(&self, gang: &str) -> usize {
        self.left.get(gang).copied().unwrap_or(0)
    }

    /// What is said of disruption budgets is so.
    fn budgets(&self) -> Vec<Breach> {
        let budgets = &self.state.input.disruption_budgets;
        let mut left: Vec<u32> = budgets.iter().map(|budget| budget.disruptions_allowed).collect();
        self.breaches(|of| {
            let pod = self.victim(of)?;
            let mut violates = false;
            for (budget, left) in budgets.iter().zip(&mut left) {
                if budget.covers(pod) {
                    violates |= *left == 0;
                    *left = left.saturating_sub(1);
                }
            }
            let wrong = violates != of.violates_budget;
            wrong.then(|| format!("violates_budget should be {violates}"))
        })
    }

    /// With one of them back on its node, or a gang back on its nodes, those who took its place and
    /// all of higher priority don't have room.
    fn needless(&self) -> Vec<Breach> {
        let mut found = Vec::new();
        for unit in self.units() {
            let without = self.without(&unit);
            let alone = unit.iter().map(|of| &*of.node).collect::<BTreeSet<_>>();
            let full = alone.iter().any(|node| self.is_full(node, &without));
            if !full && fits(self.state.input, &without) {
                let names: Vec<&str> = unit.iter().map(|of| &*of.pod).collect();
                let message = format!("{} need not go: all else fits", names.join(", "));
                found.push(Breach::new(Rule::EvictionNeeded, message));
            }
        }
        found
    }

    /// Those that stay or go together.
    fn units(&self) -> Vec<Vec<&'a Eviction>> {
        let mut units: Vec<Vec<&Eviction>> = Vec::new();
        let mut gangs: HashMap<&str, usize> = HashMap::new();
        for of in self.all() {
            let gang = self.victim(of).and_then(|pod| pod.gang.as_deref());
            let Some(gang) = gang.filter(|gang| self.left_of(gang) == 0) else {
                units.push(vec![of]);
                continue;
            };
            let unit = *gangs.entry(gang).or_insert(units.len());
            if unit == units.len() {
                units.push(Vec::new());
            }
            if let Some(unit) = units.get_mut(unit) {
                unit.push(of);
            }
        }
        units
    }

    /// The plan without these evictions, and without pods on those nodes that are no more important
    /// and for which nobody goes.
    fn without(&self, unit: &[&Eviction]) -> Plan {
        let mut plan = self.state.plan.clone();
        plan.evictions.retain(|of| !unit.contains(&of));
        let priority = unit.iter().map(|of| of.priority).max().unwrap_or(i32::MIN);
        let mut needed: HashSet<&str> = HashSet::new();
        for of in self.all().iter().filter(|of| !unit.contains(of)) {
            needed.extend(self.placed(&of.preemptor).iter().map(|placed| &*placed.pod.name));
        }
        let nodes: HashSet<&str> = unit.iter().map(|of| &*of.node).collect();
        let pods = &self.state.pods;
        let mut gone: HashSet<&str> = HashSet::new();
        for binding in &self.state.plan.bindings {
            let there =
                matches!(&binding.target, Target::Existing(node) if nodes.contains(&**node));
            let low = pods.get(&*binding.pod).is_some_and(|pod| pod.priority <= priority);
            if there && low && !needed.contains(&*binding.pod) {
                gone.insert(&binding.pod);
            }
        }
        plan.bindings.retain(|binding| !gone.contains(&*binding.pod));
        plan.relaxed.retain(|relaxed| !gone.contains(&*relaxed.pod));
        let waits = |pod: &&str| Unplaced::new(*pod, Reason::new(ReasonKind::Resources, "gone"));
        plan.unplaced.extend(gone.iter().map(waits));
        plan
    }

    /// Whether a node alone has no room for what a plan puts there.
    fn is_full(&self, node: &str, plan: &Plan) -> bool {
        let Some(node) = self.nodes.get(node) else { return false };
        let there = |target: &Target| *target == Target::Existing(node.name.clone());
        let bindings: Vec<_> =
            plan.bindings.iter().filter(|binding| there(&binding.target)).cloned().collect();
        let pods = bindings.iter().filter_map(|of| self.state.pods.get(&*of.pod).copied().cloned());
        let input =
            Input { pods: pods.collect(), nodes: vec![(*node).clone()], ..Input::default() };
        let evictions = plan.evictions.iter().filter(|of| of.node == node.name);
        let plan = Plan { bindings, evictions: evictions.cloned().collect(), ..Plan::default() };
        let state = State::new(&input, &plan);
        let checks = [bindings::nodes, attachments::host_ports, attachments::volumes];
        checks.into_iter().any(|check| !check(&state).is_empty())
    }

    /// The pods of the input that are meant.
    fn members(&self, preemptor: &Preemptor) -> Vec<&'a Pod> {
        match preemptor {
            Preemptor::Pod(name) => self.state.pods.get(&**name).copied().into_iter().collect(),
            Preemptor::Gang(name) => {
                let pods = self.state.input.pods.iter();
                pods.filter(|pod| pod.gang.as_ref() == Some(name)).collect()
            }
        }
    }

    /// Those of them that have a place.
    fn placed(&self, preemptor: &Preemptor) -> Vec<&'s Placed<'a>> {
        match preemptor {
            Preemptor::Pod(name) => self.bound.get(&**name).copied().into_iter().collect(),
            Preemptor::Gang(name) => self.members.get(&**name).cloned().unwrap_or_default(),
        }
    }

    fn breaches(&self, mut problem: impl FnMut(&'a Eviction) -> Option<String>) -> Vec<Breach> {
        let found = self.all().iter().filter_map(|of| Some((of, problem(of)?)));
        let breach = |(of, problem): (&Eviction, String)| {
            Breach::new(Rule::Eviction, format!("pod {} on node {}: {problem}", of.pod, of.node))
        };
        found.map(breach).collect()
    }
}

/// Whether a plan keeps all rules, those on evictions apart.
fn fits(input: &Input, plan: &Plan) -> bool {
    let state = State::new(input, plan);
    rules(&state, &Crowd::of(&state)).is_empty()
}
