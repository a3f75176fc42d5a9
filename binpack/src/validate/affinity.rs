//! Pods near other pods, and pods apart from them.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr;

use super::crowd::{Crowd, Term};
use super::state::{Domain, Placed, State};
use super::{Breach, Rule};

/// Every term with the pods that have it.
type Terms<'s, 'a> = BTreeMap<Term<'a>, Vec<&'s Placed<'a>>>;

/// Every bound pod has those near it that it must have, or is the first of its like: nobody else
/// with the same term is elsewhere, and nobody that it means runs.
pub(super) fn together(state: &State<'_>, crowd: &Crowd<'_, '_>) -> Vec<Breach> {
    let mut terms = Terms::new();
    for placed in state.placed().filter(|placed| placed.bound()) {
        for term in &placed.pod.pod_affinity {
            terms.entry(Term::new(term, placed.pod)).or_default().push(placed);
        }
    }
    let mut found = Vec::new();
    for (term, pods) in terms {
        let key = &*term.term.topology_key;
        let mut near: BTreeMap<Domain<'_>, u64> = BTreeMap::new();
        crowd.meant(term).filter_map(|meant| meant.domain(key)).for_each(|domain| {
            *near.entry(domain).or_default() += 1;
        });
        // A pending pod without the term comes after those that have it, as with spreads: it keeps
        // none of them from being the first.
        let runs = crowd.meant(term).any(|meant| !meant.bound() && meant.domain(key).is_some());
        let alike = pods.iter().filter(|of| term.means(&of.pod.namespace, &of.pod.labels));
        let homes: BTreeSet<Option<Domain<'_>>> = alike.map(|pod| pod.domain(key)).collect();
        for placed in pods {
            let pod = placed.pod;
            let itself = u64::from(term.means(&pod.namespace, &pod.labels));
            let problem = match placed.domain(key) {
                None => format!("the node has no {key}"),
                Some(domain) => {
                    let others = near.get(&domain).copied().unwrap_or(0).saturating_sub(itself);
                    if others > 0 || (itself == 1 && homes.len() == 1 && !runs) {
                        continue;
                    }
                    format!("none of the pods that it must be near is in {domain}")
                }
            };
            let message = format!("pod {} on {}: {problem}", pod.name, placed.site);
            found.push(Breach::new(Rule::PodAffinity, message));
        }
    }
    found
}

/// No pod is where one that it must be apart from is, whichever of the two asks for it. Two that
/// ran there before are not the plan's doing.
pub(super) fn apart(state: &State<'_>, crowd: &Crowd<'_, '_>) -> Vec<Breach> {
    let mut terms = Terms::new();
    for placed in state.placed() {
        for term in &placed.pod.pod_anti_affinity {
            terms.entry(Term::new(term, placed.pod)).or_default().push(placed);
        }
    }
    let mut found = Vec::new();
    for (term, pods) in terms {
        let key = &*term.term.topology_key;
        let asking = by_domain(pods.into_iter(), key);
        let meant = by_domain(crowd.meant(term), key);
        let shared = asking.iter().filter_map(|(domain, asking)| {
            let (one, other) = clash(asking, meant.get(domain)?)?;
            Some((domain, &one.pod.name, &other.pod.name))
        });
        found.extend(shared.map(|(domain, one, other)| {
            let message = format!("pod {one} must be apart from pod {other}, both are in {domain}");
            Breach::new(Rule::PodAntiAffinity, message)
        }));
    }
    found
}

fn by_domain<'s, 'a>(
    pods: impl Iterator<Item = &'s Placed<'a>>,
    key: &str,
) -> BTreeMap<Domain<'a>, Vec<&'s Placed<'a>>> {
    let mut domains: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for placed in pods {
        if let Some(domain) = placed.domain(key) {
            domains.entry(domain).or_default().push(placed);
        }
    }
    domains
}

/// Two different pods, one that asks and one that is meant, of which the plan binds at least one.
fn clash<'s, 'a>(
    asking: &[&'s Placed<'a>],
    meant: &[&'s Placed<'a>],
) -> Option<(&'s Placed<'a>, &'s Placed<'a>)> {
    let other_than = |pods: &[&'s Placed<'a>], pod: &Placed<'a>| {
        pods.iter().copied().find(|other| !ptr::eq(*other, pod))
    };
    let asks = asking.iter().copied().filter(|pod| pod.bound());
    let is_meant = meant.iter().copied().filter(|pod| pod.bound());
    let mut asks = asks.filter_map(|pod| Some((pod, other_than(meant, pod)?)));
    let mut is_meant = is_meant.filter_map(|pod| Some((other_than(asking, pod)?, pod)));
    asks.next().or_else(|| is_meant.next())
}
