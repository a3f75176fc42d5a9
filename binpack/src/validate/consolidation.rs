//! A second opinion on consolidations.
//!
//! The cluster as it is in the end is a plan of its own: the pods that move and those that waited
//! are bound to the nodes that stay and to all launches. It is judged as any plan is; what is said
//! here is about taking nodes away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::crowd::Crowd;
use super::evenness::uneven;
use super::state::State;
use super::{Breach, Rule, alternatives, attachments, bindings, groups, launches, validate};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Binding, Consolidation, ConsolidationPolicy, Disruption, DisruptionReason, Input, Launch, Node,
    NodePool, Plan, Removal, RunningPod, Target, key,
};

/// Whether a consolidation keeps every [`Rule`] for this input.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] with the first [`Breach`] as its source and their number.
pub fn validate_consolidation(input: &Input, consolidation: &Consolidation) -> Result<()> {
    let breaches = consolidation_breaches(input, consolidation);
    let number = breaches.len();
    match breaches.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            let message = format!(
                "the consolidation breaks {number} rules: don't carry it out; the first is {first}"
            );
            Err(Error::new(ErrorKind::Invalid, message).with_source(first))
        }
    }
}

/// Every rule that a consolidation breaks for this input, in an order that depends on the two
/// alone.
#[must_use]
pub fn consolidation_breaches(input: &Input, consolidation: &Consolidation) -> Vec<Breach> {
    let before = Before::new(input, consolidation);
    let mut found = before.plan();
    found.extend(before.removals());
    found.extend(before.moves());
    found.extend(before.budgets());
    found.extend(before.sizes());
    found.extend(before.pod_budgets());
    found.extend(before.sums());
    if found.is_empty() {
        found.extend(before.outcome());
    }
    found
}

/// The cluster before, and what is to be done to it.
struct Before<'a> {
    input: &'a Input,
    answer: &'a Consolidation,
    pools: HashMap<&'a str, &'a NodePool>,
    nodes: HashMap<&'a str, &'a Node>,
    removed: HashMap<&'a str, &'a Removal>,
    /// Pods that run, with their nodes.
    running: HashMap<&'a str, (&'a RunningPod, &'a Node)>,
}

impl<'a> Before<'a> {
    fn new(input: &'a Input, answer: &'a Consolidation) -> Self {
        let running = input.nodes.iter().flat_map(|node| {
            node.pods.iter().map(move |running| (&*running.pod.name, (running, node)))
        });
        Self {
            input,
            answer,
            pools: input.pools.iter().map(|pool| (&*pool.name, pool)).collect(),
            nodes: input.nodes.iter().map(|node| (&*node.name, node)).collect(),
            removed: answer.removed.iter().map(|removal| (&*removal.node, removal)).collect(),
            running: running.collect(),
        }
    }

    fn pool(&self, node: &Node) -> Option<&'a NodePool> {
        let own = node.labels.get(key::NODE_POOL).filter(|_| node.group.is_none());
        self.pools.get(&**own?).copied()
    }

    /// What is said of the disruption of a node, by its pool or its group.
    fn disruption(&self, node: &Node) -> Option<&'a Disruption> {
        let of = |name: &Arc<str>| self.input.node_groups.iter().find(|g| g.name == *name);
        let group = node.group.as_ref().and_then(of).map(|group| &group.disruption);
        group.or_else(|| self.pool(node).map(|pool| &pool.disruption))
    }

    /// What waited is planned by itself.
    fn plan(&self) -> Vec<Breach> {
        let problem = validate(self.input, &self.answer.plan).err();
        let breach = |error: Error| Breach::new(Rule::Plan, error.to_string());
        problem.map(breach).into_iter().collect()
    }

    /// Every removed node by itself.
    fn removals(&self) -> Vec<Breach> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for removal in &self.answer.removed {
            let problem = match self.nodes.get(&*removal.node) {
                None => Some("does not exist".into()),
                Some(_) if !seen.insert(&removal.node) => Some("is removed twice".into()),
                Some(node) => self.untouchable(node, removal),
            };
            let message = |problem: String| format!("node {}: {problem}", removal.node);
            found.extend(problem.map(|problem| Breach::new(Rule::Removal, message(problem))));
        }
        found
    }

    /// Why a node must not be removed for a reason.
    fn untouchable(&self, node: &Node, removal: &Removal) -> Option<String> {
        let price = node.price_micros.unwrap_or(0);
        if removal.saved_micros != price {
            return Some(format!("costs {price}, not {}", removal.saved_micros));
        }
        if node.disrupting {
            return Some("is on its way out already".into());
        }
        if let Some(problem) = self.groundless(node, removal.reason) {
            return Some(problem);
        }
        if removal.reason == DisruptionReason::Interrupted {
            return None;
        }
        if node.do_not_disrupt {
            return Some("has do_not_disrupt".into());
        }
        let target = Target::Existing(node.name.clone());
        if let Some(binding) = self.answer.plan.bindings.iter().find(|b| b.target == target) {
            return Some(format!("takes pod {}, which waited", binding.pod));
        }
        let pods = || node.pods.iter().filter(|running| !running.daemon);
        let kept = pods().find(|running| running.pod.do_not_disrupt || running.pod.gang.is_some());
        if let Some(kept) = kept {
            return Some(format!("runs pod {}, which must not be evicted", kept.pod.name));
        }
        let listed = node.pods.len() as u64;
        let daemons = node.pods.iter().any(|running| running.daemon);
        let spare = self.pool(node).map_or(0, |pool| pool.daemon_overhead.pods);
        let spare = if daemons { 0 } else { spare + self.input.daemons.len() as u64 };
        (node.used.pods > listed + spare).then(|| "runs pods that are not listed".into())
    }

    /// Why a reason is none.
    fn groundless(&self, node: &Node, reason: DisruptionReason) -> Option<String> {
        let empty = node.pods.iter().all(|running| running.daemon);
        let disruption = self.disruption(node);
        if disruption.is_none() && reason != DisruptionReason::Interrupted {
            return Some("belongs to no pool and no group".into());
        }
        let policy = disruption.map(|disruption| disruption.policy);
        let limit = self.pool(node).and_then(|pool| pool.expire_after_secs);
        let holds = match reason {
            DisruptionReason::Interrupted => node.interrupted,
            DisruptionReason::Expired => limit.zip(node.age_secs).is_some_and(|(l, age)| age >= l),
            DisruptionReason::Drifted => node.drifted,
            DisruptionReason::Empty => empty && policy != Some(ConsolidationPolicy::Never),
            DisruptionReason::Underutilized => {
                !empty
                    && node.price_micros.is_some()
                    && !matches!(
                        policy,
                        Some(ConsolidationPolicy::Never | ConsolidationPolicy::WhenEmpty)
                    )
            }
        };
        (!holds).then(|| format!("is not {reason}, or its pool's policy keeps it"))
    }

    /// Exactly the pods of removed nodes move, each once, to nodes that stay.
    fn moves(&self) -> Vec<Breach> {
        let mut found = Vec::new();
        let mut left: HashSet<&str> = HashSet::new();
        let unplaced: HashSet<&str> = self.answer.unplaced.iter().map(|u| &*u.pod).collect();
        for of in &self.answer.moves {
            let problem = self.misled(of.from.as_ref(), &of.pod, &of.to).or_else(|| {
                let again = !left.insert(&of.pod) || unplaced.contains(&*of.pod);
                again.then(|| "moves twice, or has no place".into())
            });
            let message = |problem: String| format!("pod {}: {problem}", of.pod);
            found.extend(problem.map(|problem| Breach::new(Rule::Move, message(problem))));
        }
        let leaving = self
            .running
            .values()
            .filter(|(running, node)| !running.daemon && self.removed.contains_key(&*node.name));
        let mut stuck: Vec<(&str, &str)> = leaving
            .filter(|(running, node)| {
                let removal = self.removed.get(&*node.name);
                let interrupted =
                    removal.is_some_and(|r| r.reason == DisruptionReason::Interrupted);
                let waits = interrupted && unplaced.contains(&*running.pod.name);
                !left.contains(&*running.pod.name) && !waits
            })
            .map(|(running, node)| (&*running.pod.name, &*node.name))
            .collect();
        stuck.sort_unstable();
        let breach = |(pod, node)| format!("pod {pod} is left behind on {node}");
        found.extend(stuck.into_iter().map(|of| Breach::new(Rule::Move, breach(of))));
        let strange = self.answer.unplaced.iter().filter(|u| !self.running.contains_key(&*u.pod));
        let breach = |pod| Breach::new(Rule::Move, format!("pod {pod} does not run"));
        found.extend(strange.map(|unplaced| breach(&unplaced.pod)));
        found
    }

    /// What is wrong with a move in itself.
    fn misled(&self, from: &str, pod: &str, to: &Target) -> Option<String> {
        let Some((running, node)) = self.running.get(pod) else {
            return Some("does not run".into());
        };
        if running.daemon {
            return Some("is a daemon, which goes with its node".into());
        }
        if *node.name != *from {
            return Some(format!("runs on {}, not on {from}", node.name));
        }
        if !self.removed.contains_key(from) {
            return Some(format!("leaves {from}, which stays"));
        }
        match to {
            Target::Launch(launch) if *launch < self.answer.launches.len() => None,
            Target::Launch(launch) => Some(format!("there is no launch {launch}")),
            Target::Existing(name) => match self.nodes.get(&**name) {
                None => Some(format!("there is no node {name}")),
                Some(node) if node.is_leaving() => {
                    Some(format!("goes to {name}, which is on its way out"))
                }
                Some(_) => {
                    let gone = self.removed.contains_key(&**name);
                    gone.then(|| format!("goes to {name}, which is removed"))
                }
            },
        }
    }

    /// No pool and no group has more nodes under way than a budget allows. Where reasons have different
    /// budgets, those with the tighter ones came first.
    fn budgets(&self) -> Vec<Breach> {
        let mut found = Vec::new();
        let pools = self.input.pools.iter().map(|pool| (&pool.name, &pool.disruption));
        let groups = self.input.node_groups.iter().map(|group| (&group.name, &group.disruption));
        for (name, disruption) in pools.chain(groups) {
            let of = |node: &&Node| {
                node.group.as_ref().or_else(|| node.labels.get(key::NODE_POOL)) == Some(name)
            };
            let nodes: Vec<&Node> = self.input.nodes.iter().filter(of).collect();
            let removals = || nodes.iter().filter_map(|node| self.removed.get(&*node.name));
            let interrupted =
                removals().filter(|r| r.reason == DisruptionReason::Interrupted).count();
            let under_way = nodes.iter().filter(|node| node.disrupting).count() + interrupted;
            let allowed = |reason: DisruptionReason| {
                let budgets = disruption.budgets.iter().filter(|b| b.holds_for(reason));
                budgets.map(|budget| budget.nodes.of(nodes.len() as u64)).min().unwrap_or(u64::MAX)
            };
            for reason in DisruptionReason::ALL {
                let (any, most) = (removals().any(|r| r.reason == reason), allowed(reason));
                if !any || reason == DisruptionReason::Interrupted {
                    continue;
                }
                let held = |r: &DisruptionReason| {
                    *r != DisruptionReason::Interrupted && allowed(*r) <= most
                };
                let number = removals().filter(|r| held(&r.reason)).count() + under_way;
                if number as u64 > most {
                    let message = format!(
                        "pool {name}: {number} nodes are under way, {most} may be that are {reason}"
                    );
                    found.push(Breach::new(Rule::DisruptionBudget, message));
                }
            }
        }
        found
    }

    /// No group falls below its least size, or further below it, by nodes that need not go.
    fn sizes(&self) -> Vec<Breach> {
        let mut found = Vec::new();
        for group in &self.input.node_groups {
            let name = &group.name;
            let of = |node: &&Node| node.group.as_ref() == Some(name);
            let goes = |node: &&Node| {
                let removal = self.removed.get(&*node.name);
                removal.is_some_and(|r| r.reason != DisruptionReason::Interrupted)
            };
            let gone = self.input.nodes.iter().filter(of).filter(goes).count() as u64;
            let own = |launch: &&Launch| launch.group.as_ref() == Some(name);
            let planned = self.answer.plan.launches.iter().filter(own).count() as u64;
            let came = self.answer.launches.iter().filter(own).count() as u64;
            let left = (group.size(self.input) + planned + came).saturating_sub(gone);
            if gone > came && left < u64::from(group.min_size) {
                let message =
                    format!("group {name}: {left} are left of {} at least", group.min_size);
                found.push(Breach::new(Rule::GroupSize, message));
            }
        }
        found
    }

    /// No more pods are evicted than their budgets allow, those of interrupted nodes apart: they
    /// go anyway.
    fn pod_budgets(&self) -> Vec<Breach> {
        let mut found = Vec::new();
        let evicted = self.answer.moves.iter().filter_map(|of| self.running.get(&*of.pod));
        let evicted: Vec<_> = evicted
            .filter(|(_, node)| {
                let removal = self.removed.get(&*node.name);
                removal.is_some_and(|r| r.reason != DisruptionReason::Interrupted)
            })
            .collect();
        for budget in &self.input.disruption_budgets {
            let number = evicted.iter().filter(|(running, _)| budget.covers(&running.pod)).count();
            let allowed = budget.disruptions_allowed;
            if number as u64 > u64::from(allowed) {
                let name = &budget.name;
                let message =
                    format!("pod disruption budget {name}: {number} are evicted, {allowed} may be");
                found.push(Breach::new(Rule::PodDisruptionBudget, message));
            }
        }
        found
    }

    /// Costs are what nodes and launches cost, and what need not go does not make it dearer.
    fn sums(&self) -> Vec<Breach> {
        let answer = self.answer;
        let nodes = self.input.nodes.iter().filter_map(|node| node.price_micros);
        let before = nodes.fold(answer.plan.cost_per_hour_micros, u64::saturating_add);
        let saved = answer.removed.iter().map(|removal| removal.saved_micros);
        let spent = answer.launches.iter().map(|launch| launch.price_micros);
        let kept = before.saturating_sub(saved.fold(0, u64::saturating_add));
        let after = spent.fold(kept, u64::saturating_add);
        let evictions = answer.moves.iter().filter_map(|of| self.running.get(&*of.pod));
        let evictions = evictions.map(|(running, _)| running.pod.eviction_cost_milli().max(0));
        let evictions: u64 = evictions.map(i64::unsigned_abs).sum();
        let wrong = [
            ("cost_before_micros", answer.cost_before_micros, before),
            ("cost_after_micros", answer.cost_after_micros, after),
            ("eviction_cost_milli", answer.eviction_cost_milli, evictions),
        ];
        let wrong = wrong.into_iter().filter(|(_, said, is)| said != is);
        let message = |(field, said, is)| format!("{field} is {said}, and should be {is}");
        let mut found: Vec<Breach> = wrong.map(|of| Breach::new(Rule::Cost, message(of))).collect();
        let forced = answer.removed.iter().any(|removal| removal.reason.is_forced());
        if after > before && !forced {
            let message = format!("it costs {after} in the end, {before} before");
            found.push(Breach::new(Rule::Cost, message));
        }
        found
    }

    /// The cluster in the end.
    fn outcome(&self) -> Vec<Breach> {
        let (input, plan) = self.end();
        let state = State::new(&input, &plan);
        let crowd = Crowd::of(&state);
        let planned = self.answer.plan.launches.len();
        [
            bindings::every_pod_once(&state),
            bindings::targets(&state),
            bindings::nodes(&state),
            launches::launches(&state),
            launches::idle(&state, |launch, _| launch < planned),
            launches::limits(&state),
            groups::greatest(&state),
            launches::available(&state),
            alternatives::alternatives(&state),
            super::affinity::together(&state, &crowd),
            super::affinity::apart(&state, &crowd),
            attachments::host_ports(&state),
            attachments::volumes(&state),
            uneven(self.input, &state, self.answer),
        ]
        .concat()
    }

    /// The input without what goes and with pods that move as waiting ones, and the plan that
    /// binds all of them.
    fn end(&self) -> (Input, Plan) {
        let answer = self.answer;
        let mut input = self.input.clone();
        input.nodes.retain(|node| !self.removed.contains_key(&*node.name));
        let moved = answer.moves.iter().filter_map(|of| self.running.get(&*of.pod));
        input.pods.extend(moved.map(|(running, _)| running.pod.clone()));
        // Whether a gang that is spread over old and new is torn is not for this to say.
        input.gangs.clear();
        input.pods.iter_mut().for_each(|pod| pod.gang = None);
        let mut plan = answer.plan.clone();
        let first = plan.launches.len();
        plan.launches.extend(answer.launches.iter().cloned());
        for of in &answer.moves {
            let target = match &of.to {
                Target::Launch(at) => Target::Launch(first.saturating_add(*at)),
                Target::Existing(name) => Target::Existing(Arc::clone(name)),
            };
            plan.bindings.push(Binding::new(of.pod.clone(), target, of.gpus.clone()));
        }
        (input, plan)
    }
}
