//! Where a pod could be: the domains among which it is spread.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::labels::{all_satisfied, alternative_left, repelled};
use super::machine::{Launcher, Machine};
use super::state::State;
use crate::model::{
    Labels, NodeInclusion, Pod, Requirement, Taint, Toleration, TopologySpread, key,
};

/// What a pod asks of the nodes that count as places for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Wants<'a> {
    requirements: &'a [Requirement],
    node_affinity: &'a [Vec<Requirement>],
    /// The taints that it accepts; `None` where taints don't matter.
    tolerations: Option<&'a [Toleration]>,
}

impl<'a> Wants<'a> {
    pub(super) fn of(pod: &'a Pod, spread: &TopologySpread) -> Self {
        let labels_matter = spread.node_affinity_policy == NodeInclusion::Honor;
        let taints_matter = spread.node_taints_policy == NodeInclusion::Honor;
        Self {
            requirements: if labels_matter { &pod.requirements } else { &[] },
            node_affinity: if labels_matter { &pod.node_affinity } else { &[] },
            tolerations: taints_matter.then_some(&pod.tolerations),
        }
    }

    fn admits(self, labels: &Labels, taints: &[Taint]) -> bool {
        all_satisfied(self.requirements, labels)
            && alternative_left(self.node_affinity, labels)
            && self.tolerations.is_none_or(|tolerations| repelled(taints, tolerations).is_none())
    }
}

/// Every node that exists or is launched, and every machine that a pool could launch, by what
/// pods that are spread ask of it.
pub(super) struct Places<'a> {
    all: BTreeSet<(Labels, &'a [Taint])>,
    known: HashMap<(&'a str, Wants<'a>), BTreeSet<Arc<str>>>,
}

impl<'a> Places<'a> {
    /// The places that differ for pods with these constraints.
    pub(super) fn of<'t>(
        state: &State<'a>,
        spreads: impl Iterator<Item = &'t TopologySpread>,
    ) -> Self {
        let keys = spreads.map(|spread| &*spread.topology_key);
        let mut asked: BTreeSet<&str> = keys.filter(|key| *key != key::HOSTNAME).collect();
        let mut all = BTreeSet::new();
        if !asked.is_empty() {
            let running = state.placed().map(|placed| placed.pod);
            let spread = state.input.pods.iter().chain(running);
            let spread = spread.filter(|pod| !pod.topology_spread.is_empty());
            asked.extend(spread.flat_map(asks).map(|requirement| &*requirement.key));
            let seen = |labels: &Labels| {
                let pairs = asked.iter().filter_map(|key| labels.get_key_value(*key));
                pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
            };
            let sites = state.sites.iter();
            all.extend(sites.map(|site| (seen(site.labels), site.taints)));
            for_each_machine(state, |machine| {
                all.insert((seen(&machine.labels), machine.launcher.taints()));
            });
        }
        Self { all, known: HashMap::new() }
    }

    /// The values of a label over the places that admit a pod that wants this.
    pub(super) fn domains(&mut self, key: &'a str, wants: Wants<'a>) -> &BTreeSet<Arc<str>> {
        let all = &self.all;
        self.known.entry((key, wants)).or_insert_with(|| {
            let mut domains = BTreeSet::new();
            for (labels, taints) in all {
                let value = labels.get(key).filter(|value| !domains.contains(*value));
                if let Some(value) = value.filter(|_| wants.admits(labels, taints)) {
                    domains.insert(value.clone());
                }
            }
            domains
        })
    }
}

fn asks(pod: &Pod) -> impl Iterator<Item = &Requirement> {
    pod.requirements.iter().chain(pod.node_affinity.iter().flatten())
}

/// Every machine that a pool or a group could have.
fn for_each_machine<'a>(state: &State<'a>, mut with: impl FnMut(&Machine<'a>)) {
    let input = state.input;
    for pool in &input.pools {
        for it in &*input.instance_types {
            for offering in &it.offerings {
                let (zone, capacity_type) = (&offering.zone, offering.capacity_type);
                let of = Launcher::Pool(pool);
                let machine = Machine::of(input, of, it, zone, capacity_type);
                if let Some(machine) = machine.ok().filter(Machine::is_possible) {
                    with(&machine);
                }
            }
        }
    }
    for group in &input.node_groups {
        let Some(it) = state.types.get(&*group.instance_type) else { continue };
        let of = Launcher::Group(group);
        let machine = Machine::of(input, of, it, &group.zone, group.capacity_type);
        if let Some(machine) = machine.ok().filter(Machine::is_possible) {
            with(&machine);
        }
    }
}
