//! Where pods may go with respect to other pods, counted as Karpenter counts.

use std::collections::HashMap;
use std::sync::Arc;

use binpack::{
    LabelSelector, Labels, Namespaces, NodeInclusion, Pod, PodAffinityTerm, TopologySpread,
    WhenUnsatisfiable, key,
};

use crate::kv_journal::Outcome;

/// A rule that pods share, and where the pods are that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rule {
    kind: Kind,
    by_host: bool,
    namespace: Arc<str>,
    selector: LabelSelector,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Spread {
        max_skew: u32,
        min_domains: Option<u32>,
    },
    Near,
    /// Its pods keep off those that it means.
    Apart,
    /// Those that it means keep off its pods.
    ApartFromOwners,
}

#[derive(Debug, Clone)]
struct Group {
    rule: Rule,
    /// By zone.
    zones: Vec<u32>,
    /// By claim; a claim beyond the end has none.
    hosts: Vec<u32>,
    total: u32,
}

/// What a pod has to do with groups.
#[derive(Debug, Clone, Default)]
struct Ties {
    /// Groups that say where it may go, and whether they mean it.
    obeys: Vec<(usize, bool)>,
    /// Groups that count it.
    counted: Vec<usize>,
}

pub(super) struct Topology {
    groups: Vec<Group>,
    ties: Vec<Ties>,
    /// By pod: its place among `ties`.
    ties_of: Vec<usize>,
}

/// What tells pods apart here.
#[derive(PartialEq, Eq, Hash)]
struct Class<'p> {
    namespace: &'p str,
    labels: &'p Labels,
    rules: Vec<Rule>,
}

impl Topology {
    pub(super) fn of(pods: &[Pod], zones: &[Arc<str>]) -> Outcome<Self> {
        let mut classes: HashMap<Class<'_>, usize> = HashMap::new();
        let mut known: HashMap<Rule, usize> = HashMap::new();
        let (mut groups, mut owned, mut ties_of) = (Vec::new(), Vec::new(), Vec::new());
        for pod in pods {
            let class =
                Class { namespace: &pod.namespace, labels: &pod.labels, rules: rules(pod)? };
            let next = classes.len();
            if !classes.contains_key(&class) {
                let of = class.rules.iter().map(|rule| {
                    *known.entry(rule.clone()).or_insert_with(|| {
                        groups.push(Group::new(rule.clone(), zones.len()));
                        groups.len() - 1
                    })
                });
                owned.push((of.collect::<Vec<usize>>(), pod));
            }
            ties_of.push(*classes.entry(class).or_insert(next));
        }
        let ties = owned.iter().map(|(owned, pod)| Ties::of(pod, owned, &groups)).collect();
        Ok(Self { groups, ties, ties_of })
    }

    /// The zones, of `zones`, in which a pod may be on this claim; `None` if in none.
    pub(super) fn zones(&self, pod: usize, zones: u64, claim: usize) -> Option<u64> {
        let mut left = zones;
        for (group, means) in &self.ties[self.ties_of[pod]].obeys {
            let of = &self.groups[*group];
            if !of.rule.by_host {
                left &= of.zones(zones, *means);
            } else if !of.allows_host(claim, *means) {
                return None;
            }
        }
        (left != 0).then_some(left)
    }

    /// Counts a pod on a claim that may be in these zones.
    pub(super) fn record(&mut self, pod: usize, zones: u64, claim: usize) {
        for group in &self.ties[self.ties_of[pod]].counted {
            self.groups[*group].record(zones, claim);
        }
    }
}

fn rules(pod: &Pod) -> Outcome<Vec<Rule>> {
    let by_host = |topology_key: &str| match topology_key {
        key::HOSTNAME => Ok(true),
        key::ZONE => Ok(false),
        other => Err(format!("the rules are known for zones and hostnames, not for {other}")),
    };
    let mut rules = Vec::new();
    for spread in &pod.topology_spread {
        let TopologySpread { max_skew, min_domains, .. } = *spread;
        let strict = spread.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule;
        let usual = spread.node_affinity_policy == NodeInclusion::Honor
            && spread.node_taints_policy == NodeInclusion::Ignore;
        if !strict || !usual {
            return Err(
                format!("the rules are not known for the spread of pod {}", pod.name).into()
            );
        }
        rules.push(Rule {
            kind: Kind::Spread { max_skew, min_domains },
            by_host: by_host(&spread.topology_key)?,
            namespace: pod.namespace.clone(),
            selector: spread.selector.clone(),
        });
    }
    let near = pod.pod_affinity.iter().map(|term| (term, Kind::Near));
    let apart = pod.pod_anti_affinity.iter().flat_map(|term| {
        [Kind::Apart, Kind::ApartFromOwners].into_iter().map(move |kind| (term, kind))
    });
    for (PodAffinityTerm { topology_key, selector, namespaces }, kind) in near.chain(apart) {
        if *namespaces != Namespaces::Own {
            return Err(format!(
                "the rules are known for own namespaces, not for pod {}",
                pod.name
            )
            .into());
        }
        let by_host = by_host(topology_key)?;
        let (namespace, selector) = (pod.namespace.clone(), selector.clone());
        rules.push(Rule { kind, by_host, namespace, selector });
    }
    Ok(rules)
}

impl Rule {
    fn means(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace && self.selector.matches(&pod.labels)
    }
}

impl Ties {
    fn of(pod: &Pod, owned: &[usize], groups: &[Group]) -> Self {
        let mut ties = Self::default();
        for (at, group) in groups.iter().enumerate() {
            let (means, owns) = (group.rule.means(pod), owned.contains(&at));
            let inverse = group.rule.kind == Kind::ApartFromOwners;
            if if inverse { means } else { owns } {
                ties.obeys.push((at, means));
            }
            if if inverse { owns } else { means } {
                ties.counted.push(at);
            }
        }
        ties
    }
}

impl Group {
    fn new(rule: Rule, zones: usize) -> Self {
        Self { rule, zones: vec![0; zones], hosts: Vec::new(), total: 0 }
    }

    /// The zones, of those of a claim, that a pod may be in; `means` is whether the group counts
    /// it. The claim's other rules don't matter: it is tried in the zone that is named here, or not
    /// at all.
    fn zones(&self, zones: u64, means: bool) -> u64 {
        let here = || (0..self.zones.len()).filter(|zone| zones & 1 << zone != 0);
        let those = |which: &dyn Fn(u32) -> bool| {
            let right = here().filter(|zone| which(self.zones[*zone]));
            right.fold(0, |all, zone| all | 1_u64 << zone)
        };
        match self.rule.kind {
            Kind::Spread { max_skew, min_domains } => {
                let known = u32::try_from(self.zones.len()).unwrap_or(u32::MAX);
                let least = match min_domains {
                    Some(domains) if known < domains => 0,
                    _ => self.zones.iter().copied().min().unwrap_or(0),
                };
                let even = |zone: &usize| self.zones[*zone] + u32::from(means) <= least + max_skew;
                let first = here().filter(even).min_by_key(|zone| (self.zones[*zone], *zone));
                first.map_or(0, |zone| 1 << zone)
            }
            Kind::Near => match those(&|count| count > 0) {
                // The first of its like chooses.
                0 if means && self.total == 0 => here().next().map_or(0, |zone| 1 << zone),
                found => found,
            },
            Kind::Apart | Kind::ApartFromOwners => those(&|count| count == 0),
        }
    }

    fn allows_host(&self, claim: usize, means: bool) -> bool {
        let count = self.hosts.get(claim).copied().unwrap_or(0);
        match self.rule.kind {
            // A new host is always possible, so the emptiest has none.
            Kind::Spread { max_skew, .. } => count + u32::from(means) <= max_skew,
            Kind::Near => count > 0 || means && self.total == 0,
            Kind::Apart | Kind::ApartFromOwners => count == 0,
        }
    }

    /// Where the zone is not decided, only who keeps off is: off all that are possible.
    fn record(&mut self, zones: u64, claim: usize) {
        if self.rule.by_host {
            if self.hosts.len() <= claim {
                self.hosts.resize(claim + 1, 0);
            }
            self.hosts[claim] += 1;
            self.total += 1;
            return;
        }
        let apart = matches!(self.rule.kind, Kind::Apart | Kind::ApartFromOwners);
        if apart || zones.is_power_of_two() {
            let here = self.zones.iter_mut().enumerate().filter(|(zone, _)| zones & 1 << zone != 0);
            here.for_each(|(_, count)| *count += 1);
            self.total += 1;
        }
    }
}
