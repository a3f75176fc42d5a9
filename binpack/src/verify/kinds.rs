//! The pods of value, grouped by what tells them apart.

use std::collections::{BTreeMap, HashMap};

use super::dims::Dims;
use super::knapsack::Item;
use crate::model::{
    GPU_MILLI, Input, Namespaces, Pod, PodAffinityTerm, Requirement, Resources, Toleration,
    TopologySpread, WhenUnsatisfiable, key,
};

/// Pods with the same needs, conditions and value.
#[derive(Debug)]
pub(super) struct Kind {
    /// Which of [`Kinds::classes`] it belongs to.
    pub(super) class: usize,
    /// What one is worth, in nano-dollars.
    pub(super) value: u64,
    /// How many of them can be on one machine, as far as their number and their own caps say.
    pub(super) most: u64,
    /// What one needs, by dimension.
    pub(super) need: Box<[u64]>,
}

impl Kind {
    pub(super) fn item(&self) -> Item {
        Item { value: self.value, most: self.most, need: self.need.clone() }
    }
}

/// All pods of value.
#[derive(Debug)]
pub(super) struct Kinds<'a> {
    pub(super) all: Vec<Kind>,
    /// One pod for each set of conditions on nodes.
    pub(super) classes: Vec<&'a Pod>,
    dims: Dims<'a>,
    /// How many pods of a group that spans kinds may share a machine: dimensions after the others.
    caps: Vec<u64>,
    /// What all pods of value need, by dimension: more room makes no difference.
    demand: Vec<u64>,
    /// How many GPUs all pods of value could use.
    pub(super) devices: usize,
}

type ClassKey<'a> = (&'a [Requirement], &'a [Vec<Requirement>], &'a [Toleration]);
type KindKey = (usize, Vec<u64>, Vec<usize>, u64);

impl<'a> Kinds<'a> {
    /// Of the pods whose value is above 0.
    pub(super) fn new(input: &'a Input, values: &[u64]) -> Self {
        let of_value = || input.pods.iter().zip(values).filter(|(_, value)| **value > 0);
        let dims = Dims::of(of_value().map(|(pod, _)| &pod.requests));
        let mut classes = Vec::new();
        let mut class_of: HashMap<ClassKey<'a>, usize> = HashMap::new();
        let mut groups = Groups::default();
        let mut kinds: BTreeMap<KindKey, u64> = BTreeMap::new();
        for (pod, value) in of_value() {
            let conditions: ClassKey<'a> =
                (&pod.requirements, &pod.node_affinity, &pod.tolerations);
            let class = *class_of.entry(conditions).or_insert_with(|| {
                classes.push(pod);
                classes.len() - 1
            });
            let kind = (class, dims.need(&pod.requests), groups.of(pod), *value);
            *kinds.entry(kind).or_default() += 1;
        }
        let (shared, alone) = groups.split(kinds.keys().map(|(_, _, groups, _)| &**groups));
        let kind = |((class, mut need, groups, value), number): (KindKey, u64)| {
            let caps = groups.iter().filter_map(|group| alone.get(group)).copied();
            let most = caps.fold(number, u64::min);
            need.extend(shared.keys().map(|group| u64::from(groups.contains(group))));
            Kind { class, value, most, need: need.into() }
        };
        let all: Vec<Kind> = kinds.into_iter().map(kind).collect();
        let caps = shared.into_values().collect();
        let devices = all.iter().fold(0u64, |sum, kind| {
            let (_, milli) = dims.without_gpus(&kind.need);
            sum.saturating_add(milli.div_ceil(GPU_MILLI).saturating_mul(kind.most))
        });
        let devices = usize::try_from(devices).unwrap_or(usize::MAX);
        Self { demand: demand(&all), devices, all, classes, dims, caps }
    }

    /// All kinds, as if they could go anywhere.
    pub(super) fn items(&self) -> Vec<Item> {
        self.all.iter().map(Kind::item).collect()
    }

    /// A need or room without its GPUs, and the thousandths of them.
    pub(super) fn without_gpus(&self, amounts: &[u64]) -> (Vec<u64>, u64) {
        self.dims.without_gpus(amounts)
    }

    /// What a machine offers that has `free`, of which `devices` are thousandths of each GPU.
    pub(super) fn room(&self, free: &Resources, devices: &[u64]) -> Vec<u64> {
        let room = self.dims.room(free, devices).into_iter().chain(self.caps.iter().copied());
        room.zip(&self.demand).map(|(room, demand)| room.min(*demand)).collect()
    }
}

fn demand(kinds: &[Kind]) -> Vec<u64> {
    let mut sums = vec![0u64; kinds.first().map_or(0, |kind| kind.need.len())];
    for kind in kinds {
        for (sum, need) in sums.iter_mut().zip(&kind.need) {
            *sum = sum.saturating_add(need.saturating_mul(kind.most));
        }
    }
    sums
}

/// Pods of which only so many may be on one node, whatever node it is.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Group<'a> {
    /// Those with the same spread over nodes, which mean each other.
    Spread(&'a str, &'a TopologySpread),
    /// Those that keep apart from each other. The namespace is given where the term means it.
    Apart(Option<&'a str>, &'a PodAffinityTerm),
}

/// Groups by number, and how many of each may share a node.
#[derive(Debug, Default)]
struct Groups<'a> {
    numbers: HashMap<Group<'a>, usize>,
    caps: Vec<u64>,
}

impl<'a> Groups<'a> {
    /// The groups that a pod belongs to, in order.
    fn of(&mut self, pod: &'a Pod) -> Vec<usize> {
        let mut groups = Vec::new();
        for spread in &pod.topology_spread {
            let binds = spread.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule
                && &*spread.topology_key == key::HOSTNAME;
            if binds && spread.selector.matches(&pod.labels) {
                let group = Group::Spread(&pod.namespace, spread);
                groups.push(self.number(group, spread.max_skew.into()));
            }
        }
        for term in &pod.pod_anti_affinity {
            let namespace = match &term.namespaces {
                Namespaces::Own => Some(&*pod.namespace),
                Namespaces::Listed(names) if !names.contains(&pod.namespace) => continue,
                Namespaces::Listed(_) | Namespaces::All => None,
            };
            if &*term.topology_key == key::HOSTNAME && term.selector.matches(&pod.labels) {
                groups.push(self.number(Group::Apart(namespace, term), 1));
            }
        }
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn number(&mut self, group: Group<'a>, cap: u64) -> usize {
        let next = self.caps.len();
        let number = *self.numbers.entry(group).or_insert(next);
        if number == next {
            self.caps.push(cap);
        }
        number
    }

    /// The caps of the groups that several kinds share, and of those that one kind has alone.
    fn split<'k>(
        &self,
        kinds: impl Iterator<Item = &'k [usize]>,
    ) -> (BTreeMap<usize, u64>, BTreeMap<usize, u64>) {
        let mut kinds_of = vec![0; self.caps.len()];
        kinds.flatten().for_each(|group| kinds_of[*group] += 1);
        self.caps.iter().copied().enumerate().partition(|(group, _)| kinds_of[*group] > 1)
    }
}
