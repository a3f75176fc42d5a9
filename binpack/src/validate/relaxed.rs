//! What the plan says that pods did without.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::labels::tolerated;
use super::{Breach, Rule, State};
use crate::model::{Effect, Pod, Relaxation, Relaxed, Taint, WhenUnsatisfiable};

pub(super) fn relaxed(state: &State<'_>) -> Vec<Breach> {
    let order: HashMap<&str, usize> =
        state.input.pods.iter().enumerate().map(|(i, pod)| (&*pod.name, i)).collect();
    let bound: HashSet<&str> = state.placed().filter(|p| p.bound()).map(|p| &*p.pod.name).collect();
    let soft = soft_taints(state);
    let mut found = Vec::new();
    let mut last = None;
    for entry in &state.plan.relaxed {
        let mut breach = |problem: String| {
            let message = format!("relaxed pod {}: {problem}", entry.pod);
            found.push(Breach::new(Rule::Relaxed, message));
        };
        let Some(pod) = state.pods.get(&*entry.pod).filter(|pod| bound.contains(&*pod.name)) else {
            breach("is not bound".into());
            continue;
        };
        let at = order.get(&*entry.pod).copied();
        if at <= last {
            breach("is named twice, or not in the input's order".into());
        }
        last = last.max(at);
        if let Some(problem) = overstated(entry, pod, &soft) {
            breach(problem);
        }
    }
    found
}

/// What a pod can't have given up, since it never had it so often.
fn overstated(entry: &Relaxed, pod: &Pod, soft: &BTreeSet<&Taint>) -> Option<String> {
    let mut times: BTreeMap<Relaxation, usize> = BTreeMap::new();
    for relaxation in &entry.relaxations {
        *times.entry(*relaxation).or_default() += 1;
    }
    let mut over = times.into_iter().filter(|(kind, times)| *times > most(*kind, pod, soft));
    over.next().map(|(kind, times)| format!("gave up {kind:?} {times} times, more than it has"))
}

/// How often a pod can give up a kind of preference.
fn most(kind: Relaxation, pod: &Pod, soft: &BTreeSet<&Taint>) -> usize {
    let wants = &pod.preferences;
    match kind {
        // One of the alternatives must hold, so one is left.
        Relaxation::NodeAffinityTerm => pod.node_affinity.len().saturating_sub(1),
        Relaxation::PodAffinity => wants.pod_affinity.len(),
        Relaxation::PodAntiAffinity => wants.pod_anti_affinity.len(),
        Relaxation::NodeAffinity => wants.node_affinity.len(),
        Relaxation::ScheduleAnyway => {
            let anyway = WhenUnsatisfiable::ScheduleAnyway;
            pod.topology_spread.iter().filter(|s| s.when_unsatisfiable == anyway).count()
        }
        // It stays away from all that it doesn't tolerate, or from none.
        Relaxation::PreferNoSchedule => {
            usize::from(soft.iter().any(|taint| !tolerated(taint, &pod.tolerations)))
        }
    }
}

/// All taints that ask pods to stay away.
fn soft_taints<'a>(state: &State<'a>) -> BTreeSet<&'a Taint> {
    let nodes = state.input.nodes.iter().flat_map(|node| &node.taints);
    let pools = state.input.pools.iter().flat_map(|pool| &pool.taints);
    let groups = state.input.node_groups.iter().flat_map(|group| &group.taints);
    nodes
        .chain(pools)
        .chain(groups)
        .filter(|taint| taint.effect == Effect::PreferNoSchedule)
        .collect()
}
