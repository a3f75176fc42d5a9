//! That what is taken away leaves pods spread as evenly as they must be, or as they were, and with
//! the neighbours that they had.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::crowd::Term;
use super::labels::selects;
use super::places::{Places, Wants};
use super::state::{Domain, Placed, State};
use super::{Breach, Rule};
use crate::model::{
    Consolidation, DisruptionReason, Input, Plan, Pod, TopologySpread, WhenUnsatisfiable, key,
};

/// Spreads of pods that move, and of those that they count for, are no more uneven than they may be
/// or were; pods that stay are not left alone.
pub(super) fn uneven(input: &Input, after: &State<'_>, answer: &Consolidation) -> Vec<Breach> {
    let nothing = Plan::default();
    // Pods of interrupted nodes are lost to their neighbours whatever is done.
    let interrupted = answer.removed.iter().filter(|r| r.reason == DisruptionReason::Interrupted);
    let lost: HashSet<&str> = interrupted.map(|removal| &*removal.node).collect();
    let mut left = input.clone();
    left.nodes.retain(|node| !lost.contains(&*node.name));
    let before = State::new(&left, &nothing);
    let moved: HashSet<&str> = answer.moves.iter().map(|of| &*of.pod).collect();
    let running = input.nodes.iter().flat_map(|node| &node.pods).map(|running| &running.pod);
    let movers: Vec<&Pod> = running.filter(|pod| moved.contains(&*pod.name)).collect();
    let mut found = spreads(&before, after, &movers);
    found.extend(alone(&before, after));
    found
}

fn spreads(before: &State<'_>, after: &State<'_>, movers: &[&Pod]) -> Vec<Breach> {
    let groups = groups(after);
    let mut then = Places::of(before, groups.keys().map(|(_, spread)| *spread));
    let mut now = Places::of(after, groups.keys().map(|(_, spread)| *spread));
    let mut found = Vec::new();
    for ((namespace, spread), carriers) in &groups {
        let counts = |pod: &Pod| {
            *pod.namespace == **namespace && selects(&spread.selector, &pod.labels)
                || carriers.contains(&*pod.name)
        };
        if !movers.iter().any(|pod| counts(pod)) {
            continue;
        }
        let wants: HashSet<Wants<'_>> = after
            .placed()
            .filter(|placed| carriers.contains(&*placed.pod.name))
            .map(|placed| Wants::of(placed.pod, spread))
            .collect();
        for wants in wants {
            let was = worst(before, &mut then, namespace, spread, carriers, wants);
            let is = worst(after, &mut now, namespace, spread, carriers, wants);
            if is > was.max(u64::from(spread.max_skew)) {
                let message = format!(
                    "pods of {namespace} by {}: {is} more in one domain than in another, {} may be",
                    spread.topology_key,
                    was.max(u64::from(spread.max_skew))
                );
                found.push(Breach::new(Rule::Spread, message));
            }
        }
    }
    found
}

/// Every spread that must hold, with the pods that have it.
fn groups<'a>(state: &State<'a>) -> BTreeMap<(&'a str, &'a TopologySpread), BTreeSet<&'a str>> {
    let mut groups: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for placed in state.placed() {
        let pod = placed.pod;
        let hard = |s: &&TopologySpread| s.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule;
        for spread in pod.topology_spread.iter().filter(hard) {
            groups.entry((&*pod.namespace, spread)).or_default().insert(&*pod.name);
        }
    }
    groups
}

/// How many more pods are in the fullest domain with a carrier than in the emptiest.
fn worst<'a>(
    state: &State<'a>,
    places: &mut Places<'a>,
    namespace: &str,
    spread: &'a TopologySpread,
    carriers: &BTreeSet<&str>,
    wants: Wants<'a>,
) -> u64 {
    let mut counts: BTreeMap<Domain<'_>, (u64, bool)> = BTreeMap::new();
    for placed in state.placed() {
        let pod = placed.pod;
        let Some(domain) = placed.domain(&spread.topology_key) else { continue };
        let meant = *pod.namespace == *namespace && selects(&spread.selector, &pod.labels);
        let (count, carried) = counts.entry(domain).or_default();
        *count += u64::from(meant);
        *carried |= carriers.contains(&*pod.name);
    }
    let fewest = if *spread.topology_key == *key::HOSTNAME {
        0
    } else {
        let domains = places.domains(&spread.topology_key, wants);
        let count = |value: &Arc<str>| counts.get(&Domain::Value(value)).map_or(0, |(n, _)| *n);
        let few = spread.min_domains.is_some_and(|least| (domains.len() as u64) < least.into());
        if few { 0 } else { domains.iter().map(count).min().unwrap_or(0) }
    };
    let carried = counts.values().filter(|(_, carried)| *carried);
    carried.map(|(count, _)| count.saturating_sub(fewest)).max().unwrap_or(0)
}

/// Pods that stay and had a neighbour that they need, and have none any more; the last of its like
/// needs none.
fn alone(before: &State<'_>, after: &State<'_>) -> Vec<Breach> {
    let mut terms: BTreeMap<Term<'_>, Vec<&Placed<'_>>> = BTreeMap::new();
    for placed in after.placed().filter(|placed| !placed.bound()) {
        for term in &placed.pod.pod_affinity {
            terms.entry(Term::new(term, placed.pod)).or_default().push(placed);
        }
    }
    let mut found = Vec::new();
    for (term, pods) in terms {
        let (then, now) = (meant_by_domain(before, term), meant_by_domain(after, term));
        for placed in pods {
            let pod = placed.pod;
            let Some(domain) = placed.domain(&term.term.topology_key) else { continue };
            let itself = u64::from(term.means(&pod.namespace, &pod.labels));
            let others = |counts: &BTreeMap<Domain<'_>, u64>| {
                counts.get(&domain).copied().unwrap_or(0).saturating_sub(itself)
            };
            let last = itself == 1 && now.values().sum::<u64>() == 1;
            if others(&then) > 0 && others(&now) == 0 && !last {
                let message = format!("pod {} stays, and none that it must be near does", pod.name);
                found.push(Breach::new(Rule::PodAffinity, message));
            }
        }
    }
    found
}

/// How many pods that a term means are in each domain.
fn meant_by_domain<'a>(state: &State<'a>, term: Term<'_>) -> BTreeMap<Domain<'a>, u64> {
    let mut counts = BTreeMap::new();
    let meant = state.placed().filter(|p| term.means(&p.pod.namespace, &p.pod.labels));
    for domain in meant.filter_map(|placed| placed.domain(&term.term.topology_key)) {
        *counts.entry(domain).or_default() += 1;
    }
    counts
}
