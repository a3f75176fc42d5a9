//! Spread, affinity and anti-affinity as counts of pods by domain.
//!
//! Each constraint that pods have in common is a group. What counts is the final state: a plan
//! keeps a constraint if it holds once every pod is where the plan puts it, whatever the order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hash::QuickMap;
use super::relax::Asked;
use crate::model::{
    LabelSelector, Labels, Namespaces, NodeInclusion, Pod, PodAffinityTerm, TopologySpread,
    WhenUnsatisfiable, key,
};

/// A value of a topology key, or a site where the key is the hostname.
pub(super) type DomainId = u32;

/// The index of [`key::HOSTNAME`] among topology keys.
pub(super) const HOSTNAME: usize = 0;

/// Where a constraint looks for pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Space {
    One(Arc<str>),
    Listed(Vec<Arc<str>>),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Spread(Spread),
    Near,
    /// It keeps those that it means away, and is kept away from them.
    Apart,
    /// It would like to be away from those that it means, and does not keep them away: preferences
    /// of pods that have their place don't hold against others, as in Karpenter.
    Avoid,
}

/// The numbers of a spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Spread {
    pub(super) max_skew: u32,
    pub(super) min_domains: Option<u32>,
    /// Whether domains count that the pod's requirements, and its tolerations, exclude.
    pub(super) any_labels: bool,
    pub(super) any_taints: bool,
    /// Whether it is a preference, which counts only those that share it.
    pub(super) optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    kind: Kind,
    topology: usize,
    selector: LabelSelector,
    space: Space,
}

/// Pods in a domain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    /// That the group means. For a spread only those among them that carry it, and running ones.
    pub(super) meant: u32,
    /// That carry it.
    pub(super) holders: u32,
}

/// A constraint, and how many pods it finds in each domain.
#[derive(Debug)]
pub(super) struct Group {
    key: GroupKey,
    counts: QuickMap<DomainId, Count>,
    total: Count,
    /// How many of those that it means ran before.
    running: u32,
}

impl Group {
    pub(super) fn kind(&self) -> Kind {
        self.key.kind
    }

    pub(super) fn topology(&self) -> usize {
        self.key.topology
    }

    /// Whether it holds for pods that carry it, as opposed to being something they would like.
    pub(super) fn is_required(&self) -> bool {
        match self.key.kind {
            Kind::Spread(spread) => !spread.optional,
            Kind::Near | Kind::Apart => true,
            Kind::Avoid => false,
        }
    }

    pub(super) fn count(&self, domain: DomainId) -> Count {
        self.counts.get(&domain).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> Count {
        self.total
    }

    /// Whether any pod ran before that it means: then nobody is the first of its like.
    pub(super) fn has_running(&self) -> bool {
        self.running > 0
    }

    /// The domains in which it finds or found a pod.
    pub(super) fn domains(&self) -> impl Iterator<Item = (DomainId, Count)> {
        self.counts.iter().map(|(domain, count)| (*domain, *count))
    }

    fn means(&self, namespace: &str, labels: &Labels) -> bool {
        let here = match &self.key.space {
            Space::One(own) => **own == *namespace,
            Space::Listed(listed) => listed.iter().any(|listed| **listed == *namespace),
            Space::All => true,
        };
        here && self.key.selector.matches(labels)
    }
}

/// What a shape has to do with groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Ties {
    /// Spreads, near and apart groups that it carries, and whether each means it.
    pub(super) carries: Vec<(usize, bool)>,
    /// Near and apart groups of any pods that mean it.
    pub(super) meant_by: Vec<usize>,
}

impl Ties {
    pub(super) fn is_empty(&self) -> bool {
        self.carries.is_empty() && self.meant_by.is_empty()
    }
}

/// All groups, the topology keys that they use, and the values of those.
#[derive(Debug)]
pub(super) struct Groups {
    list: Vec<Group>,
    index: QuickMap<GroupKey, usize>,
    keys: Vec<Arc<str>>,
    values: Vec<BTreeMap<Arc<str>, DomainId>>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            index: QuickMap::default(),
            keys: vec![key::HOSTNAME.into()],
            values: vec![BTreeMap::new()],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets all counts.
    pub(super) fn reset(&mut self) {
        for group in &mut self.list {
            group.counts.clear();
            group.total = Count::default();
            group.running = 0;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many groups and topology keys there are: more of either have to be counted.
    pub(super) fn extent(&self) -> (usize, usize) {
        (self.list.len(), self.keys.len())
    }

    pub(super) fn keys(&self) -> &[Arc<str>] {
        &self.keys
    }

    pub(super) fn get(&self, group: usize) -> &Group {
        &self.list[group]
    }

    /// The number of a value of a topology key other than the hostname.
    pub(super) fn domain(&mut self, topology: usize, value: &str) -> DomainId {
        let values = &mut self.values[topology];
        if let Some(domain) = values.get(value) {
            return *domain;
        }
        let next = DomainId::try_from(values.len()).unwrap_or(DomainId::MAX - 1);
        values.insert(value.into(), next);
        next
    }

    pub(super) fn topology_of(&mut self, key: &Arc<str>) -> usize {
        if let Some(known) = self.keys.iter().position(|known| known == key) {
            return known;
        }
        self.keys.push(key.clone());
        self.values.push(BTreeMap::new());
        self.keys.len() - 1
    }

    /// The groups that a pod carries at a level, made where they are new.
    pub(super) fn carried(&mut self, pod: &Pod, asked: &Asked<'_>) -> Vec<usize> {
        let mut carried = Vec::new();
        for spread in &asked.spreads {
            carried.push(self.spread(pod, spread));
        }
        for term in &asked.near {
            carried.push(self.term(Kind::Near, pod, term));
        }
        for term in &asked.apart {
            carried.push(self.term(Kind::Apart, pod, term));
        }
        for term in &asked.avoid {
            carried.push(self.term(Kind::Avoid, pod, term));
        }
        carried.sort_unstable();
        carried.dedup();
        carried
    }

    /// The anti-affinity of a pod that runs: it keeps others away as well.
    pub(super) fn of_running(&mut self, pod: &Pod) -> Vec<usize> {
        let terms = pod.pod_anti_affinity.iter();
        terms.map(|term| self.term(Kind::Apart, pod, term)).collect()
    }

    fn spread(&mut self, pod: &Pod, spread: &TopologySpread) -> usize {
        let kind = Kind::Spread(Spread {
            max_skew: spread.max_skew,
            min_domains: spread.min_domains,
            any_labels: spread.node_affinity_policy == NodeInclusion::Ignore,
            any_taints: spread.node_taints_policy == NodeInclusion::Ignore,
            optional: spread.when_unsatisfiable == WhenUnsatisfiable::ScheduleAnyway,
        });
        let topology = self.topology_of(&spread.topology_key);
        let (space, selector) = (Space::One(pod.namespace.clone()), spread.selector.clone());
        self.intern(GroupKey { kind, topology, selector, space })
    }

    fn term(&mut self, kind: Kind, pod: &Pod, term: &PodAffinityTerm) -> usize {
        let topology = self.topology_of(&term.topology_key);
        let space = match &term.namespaces {
            Namespaces::Own => Space::One(pod.namespace.clone()),
            Namespaces::Listed(listed) => Space::Listed(listed.clone()),
            Namespaces::All => Space::All,
        };
        self.intern(GroupKey { kind, topology, selector: term.selector.clone(), space })
    }

    fn intern(&mut self, key: GroupKey) -> usize {
        if let Some(known) = self.index.get(&key) {
            return *known;
        }
        let (counts, total) = (QuickMap::default(), Count::default());
        self.list.push(Group { key: key.clone(), counts, total, running: 0 });
        self.index.insert(key, self.list.len() - 1);
        self.list.len() - 1
    }

    /// All groups that mean pods with these labels.
    pub(super) fn meaning(&self, namespace: &str, labels: &Labels) -> Vec<usize> {
        let groups = self.list.iter().enumerate();
        groups.filter(|(_, group)| group.means(namespace, labels)).map(|(at, _)| at).collect()
    }

    /// What a pod that carries these groups has to do with all of them.
    pub(super) fn ties(&self, carried: &[usize], meant_by: &[usize]) -> Ties {
        let means = |group: &usize| meant_by.binary_search(group).is_ok();
        let spread = |group: &usize| matches!(self.list[*group].kind(), Kind::Spread(_));
        Ties {
            carries: carried.iter().map(|group| (*group, means(group))).collect(),
            meant_by: meant_by.iter().copied().filter(|group| !spread(group)).collect(),
        }
    }

    /// What a pod that runs has to do with all groups: it counts for spreads that it does not
    /// carry too.
    pub(super) fn ties_of_running(&self, carried: &[usize], meant_by: &[usize]) -> Ties {
        let counts = |group: &usize| {
            !matches!(self.list[*group].kind(), Kind::Spread(_)) || !carried.contains(group)
        };
        let meant = meant_by.iter().copied().filter(counts).collect();
        Ties { meant_by: meant, ..self.ties(carried, meant_by) }
    }

    /// Counts `n` pods of a shape in, or with `out` out of, the domains that they are in: by
    /// topology key, `None` where the node has no such label.
    pub(super) fn place(
        &mut self,
        ties: &Ties,
        domain: impl Fn(usize) -> Option<DomainId>,
        n: u32,
        out: bool,
    ) {
        for (group, means) in &ties.carries {
            let spread = matches!(self.list[*group].kind(), Kind::Spread(_));
            self.change(
                *group,
                &domain,
                Count { meant: if spread && *means { n } else { 0 }, holders: n },
                out,
            );
        }
        for group in &ties.meant_by {
            self.change(*group, &domain, Count { meant: n, holders: 0 }, out);
        }
    }

    /// Counts a pod that runs in, or with `out` out of, the domains that it is in.
    pub(super) fn place_running(
        &mut self,
        carries: &[usize],
        meant_by: &[usize],
        domain: impl Fn(usize) -> Option<DomainId>,
        out: bool,
    ) {
        for group in carries {
            self.change(*group, &domain, Count { meant: 0, holders: 1 }, out);
        }
        for group in meant_by {
            self.change(*group, &domain, Count { meant: 1, holders: 0 }, out);
            let of = &mut self.list[*group];
            let here = u32::from(domain(of.topology()).is_some());
            of.running = if out { of.running.saturating_sub(here) } else { of.running + here };
        }
    }

    fn change(
        &mut self,
        group: usize,
        domain: &impl Fn(usize) -> Option<DomainId>,
        by: Count,
        out: bool,
    ) {
        let group = &mut self.list[group];
        let Some(domain) = domain(group.topology()) else { return };
        for count in [group.counts.entry(domain).or_default(), &mut group.total] {
            let changed = |count: u32, by: u32| {
                if out { count.saturating_sub(by) } else { count.saturating_add(by) }
            };
            count.meant = changed(count.meant, by.meant);
            count.holders = changed(count.holders, by.holders);
        }
    }
}
