//! How evenly pods are spread.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::crowd::Crowd;
use super::labels::selects;
use super::places::{Places, Wants};
use super::state::{Domain, Placed, State};
use super::{Breach, Rule};
use crate::model::{TopologySpread, WhenUnsatisfiable, key};

/// A constraint in a namespace: pods that have it are spread together.
type Group<'a> = (&'a str, &'a TopologySpread);

/// In no domain of a bound pod are more of its like than the constraint allows.
pub(super) fn spread(state: &State<'_>, crowd: &Crowd<'_, '_>) -> Vec<Breach> {
    let groups = groups(state);
    let mut places = Places::of(state, groups.keys().map(|(_, spread)| *spread));
    let mut found = Vec::new();
    for ((namespace, spread), pods) in groups {
        let counts = counts(crowd, namespace, spread, &pods);
        let (mut least, mut full) = (HashMap::new(), BTreeSet::new());
        for placed in &pods {
            let pod = placed.pod;
            let mut breach = |problem| {
                let message = format!("pod {} on {}: {problem}", pod.name, placed.site);
                found.push(Breach::new(Rule::Spread, message));
            };
            let Some(domain) = placed.domain(&spread.topology_key) else {
                breach(format!("the node has no {}", spread.topology_key));
                continue;
            };
            let here = counts.get(&domain).copied().unwrap_or(0);
            let wants = Wants::of(pod, spread);
            let fewest = || fewest(&mut places, spread, wants, &counts);
            let most = *least.entry(wants).or_insert_with(fewest) + u64::from(spread.max_skew);
            // One breach tells of all pods of its domain.
            if here > most && full.insert(domain) {
                breach(format!("{here} of its like are in {domain}, at most {most} may be"));
            }
        }
    }
    found
}

/// The constraints that must hold, each with the bound pods that have it.
fn groups<'s, 'a>(state: &'s State<'a>) -> BTreeMap<Group<'a>, Vec<&'s Placed<'a>>> {
    let mut groups: BTreeMap<Group<'a>, Vec<&Placed<'a>>> = BTreeMap::new();
    for placed in state.placed().filter(|placed| placed.bound()) {
        let pod = placed.pod;
        let hard = |s: &&TopologySpread| s.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule;
        let constraints: BTreeSet<_> = pod.topology_spread.iter().filter(hard).collect();
        for spread in constraints {
            groups.entry((&pod.namespace, spread)).or_default().push(placed);
        }
    }
    groups
}

/// How many pods of a group each domain has: those that run and are meant, and those with the
/// constraint that are meant.
fn counts<'a>(
    crowd: &Crowd<'_, 'a>,
    namespace: &str,
    spread: &TopologySpread,
    pods: &[&Placed<'a>],
) -> BTreeMap<Domain<'a>, u64> {
    let running = crowd.selected(&spread.selector, namespace).filter(|placed| !placed.bound());
    let bound = pods.iter().copied();
    let bound = bound.filter(|placed| selects(&spread.selector, &placed.pod.labels));
    let mut counts = BTreeMap::new();
    for domain in running.chain(bound).filter_map(|placed| placed.domain(&spread.topology_key)) {
        *counts.entry(domain).or_default() += 1;
    }
    counts
}

/// How many the emptiest of the domains has among which a pod that wants this is spread.
fn fewest<'a>(
    places: &mut Places<'a>,
    spread: &'a TopologySpread,
    wants: Wants<'a>,
    counts: &BTreeMap<Domain<'_>, u64>,
) -> u64 {
    // A node can always be launched, which is a hostname without pods.
    if *spread.topology_key == *key::HOSTNAME {
        return 0;
    }
    let domains = places.domains(&spread.topology_key, wants);
    if spread.min_domains.is_some_and(|least| (domains.len() as u64) < u64::from(least)) {
        return 0;
    }
    let count = |value: &Arc<str>| counts.get(&Domain::Value(value)).copied().unwrap_or(0);
    domains.iter().map(count).min().unwrap_or(0)
}
