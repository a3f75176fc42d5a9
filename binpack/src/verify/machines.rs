//! What may be launched and what exists, as room for kinds of pods.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::by_device::ByDevice;
use super::device::Share;
use super::kinds::{Kind, Kinds};
use super::knapsack::{Item, Knapsack, Proof, goal};
use crate::model::{
    Effect, GPU_MILLI, Input, InstanceType, Labels, Node, NodeGroup, NodePool, Offering, Pod,
    Requirement, Resources, Taint, TolerationOperator, key,
};

/// Room, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Machine {
    room: Vec<u64>,
    /// How many GPUs have room, as far as all pods of value could use them.
    devices: usize,
    /// By class.
    may: Rc<[bool]>,
}

impl Machine {
    /// What it has, by dimension.
    pub(super) fn room(&self) -> &[u64] {
        &self.room
    }

    /// The kinds that may enter and fit.
    fn kinds<'k>(&self, kinds: &'k Kinds<'_>) -> impl Iterator<Item = &'k Kind> {
        kinds.all.iter().filter(|kind| {
            kind.need.iter().zip(&self.room).all(|(need, room)| need <= room)
                && self.may[kind.class]
        })
    }

    /// What fits as far as linear dimensions tell.
    pub(super) fn knapsack(&self, kinds: &Kinds<'_>) -> Knapsack {
        Knapsack::new(self.kinds(kinds).map(Kind::item).collect(), self.room.clone())
    }

    /// A bound on what fits: that of linear relaxations. Takes what it needs of `work`.
    pub(super) fn relaxed(&self, kinds: &Kinds<'_>, work: &mut u64) -> u128 {
        let bound = self.knapsack(kinds).relaxed();
        let by_device = self.by_device(kinds).and_then(|of| of.relaxed(work));
        by_device.map_or(bound, |by_device| bound.min(by_device))
    }

    /// Whether nothing that fits is worth more than `threshold` nano-dollars, if all its GPUs are
    /// free. Takes what it needs of `work`.
    pub(super) fn prove(&self, kinds: &Kinds<'_>, threshold: u64, work: &mut u64) -> Proof {
        let knapsack = self.knapsack(kinds);
        let Some(by_device) = self.by_device(kinds) else {
            return knapsack.prove(threshold, work);
        };
        if knapsack.relaxed() < goal(threshold) {
            return Proof::Holds;
        }
        let half = *work / 2;
        *work -= half;
        let proof = by_device.prove(threshold, work);
        *work += half;
        match proof {
            // What linear dimensions let fit needn't be on devices, so they refute nothing.
            Proof::Open if knapsack.prove(threshold, work) == Proof::Holds => Proof::Holds,
            proof => proof,
        }
    }

    /// What fits as far as devices tell; `None` if no share of a device does.
    fn by_device(&self, kinds: &Kinds<'_>) -> Option<ByDevice> {
        let (mut others, mut shares) = (Vec::new(), Vec::new());
        for kind in self.kinds(kinds) {
            let (need, milli) = kinds.without_gpus(&kind.need);
            let item = Item { need: need.into(), ..kind.item() };
            if milli.is_multiple_of(GPU_MILLI) {
                others.push((item, milli / GPU_MILLI));
            } else {
                shares.push(Share { milli, item });
            }
        }
        let (room, _) = kinds.without_gpus(&self.room);
        (!shares.is_empty()).then(|| ByDevice::new(others, shares, room, self.devices as u64))
    }

    /// Whether what fits on the other one fits here.
    fn covers(&self, other: &Self) -> bool {
        self.room.iter().zip(&other.room).all(|(mine, others)| mine >= others)
            && self.devices >= other.devices
            && self.may.iter().zip(&*other.may).all(|(mine, others)| *mine || !*others)
    }
}

/// Something that may be launched.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) of: Launcher<'a>,
    pub(super) instance_type: &'a InstanceType,
    pub(super) offering: &'a Offering,
    pub(super) machine: Machine,
}

/// Who launches.
#[derive(Debug, Clone, Copy)]
pub(super) enum Launcher<'a> {
    Pool(&'a NodePool),
    Group(&'a NodeGroup),
}

impl<'a> Launcher<'a> {
    fn labels(self) -> &'a Labels {
        match self {
            Self::Pool(pool) => &pool.labels,
            Self::Group(group) => &group.labels,
        }
    }

    fn taints(self) -> &'a [Taint] {
        match self {
            Self::Pool(pool) => &pool.taints,
            Self::Group(group) => &group.taints,
        }
    }
}

/// Every pool × instance type × offering that the pool allows and that is not sold out, and every
/// group's machine, however many of it there are, by price.
pub(super) fn offers<'a>(input: &'a Input, kinds: &Kinds<'a>) -> Vec<Offer<'a>> {
    let mut admission = Admission::new(kinds);
    let mut all = Vec::new();
    for pool in &input.pools {
        for instance_type in &*input.instance_types {
            let sold = instance_type.offerings.iter().filter(|sold| sold.available != Some(0));
            all.extend(sold.filter_map(|offering| {
                let of = Launcher::Pool(pool);
                let launched = Launched { of, instance_type, offering };
                let machine = launched.machine(input, kinds, &mut admission)?;
                Some(Offer { of, instance_type, offering, machine })
            }));
        }
    }
    for group in &input.node_groups {
        let sold = group.template(&input.instance_types);
        let sold = sold.filter(|(_, offering)| offering.available != Some(0));
        all.extend(sold.and_then(|(instance_type, offering)| {
            let of = Launcher::Group(group);
            let launched = Launched { of, instance_type, offering };
            let machine = launched.machine(input, kinds, &mut admission)?;
            Some(Offer { of, instance_type, offering, machine })
        }));
    }
    all.sort_by_key(|offer| offer.offering.price_micros);
    all
}

/// The offers without those that cost no less than another one that carries all that they do: what
/// holds for that one holds for them.
pub(super) fn undominated(offers: Vec<Offer<'_>>) -> Vec<Offer<'_>> {
    let mut kept: Vec<Offer<'_>> = Vec::new();
    for offer in offers {
        if !kept.iter().any(|cheaper| cheaper.machine.covers(&offer.machine)) {
            kept.push(offer);
        }
    }
    kept
}

/// The nodes that may take pods, those that are alike once, with their number.
pub(super) fn nodes<'a>(input: &'a Input, kinds: &Kinds<'a>) -> Vec<(Machine, u64)> {
    let mut admission = Admission::new(kinds);
    let mut number_of: HashMap<Machine, usize> = HashMap::new();
    let mut all: Vec<(Machine, u64)> = Vec::new();
    for node in input.nodes.iter().filter(|node| !node.is_leaving()) {
        let devices = devices(node);
        let room = kinds.room(&node.allocatable.saturating_sub(&node.used), &devices);
        let devices = devices.iter().filter(|free| **free > 0).count().min(kinds.devices);
        let label = |key: &str| node.labels.get(key).map(|value| &**value);
        let may = admission.classes(label, &node.taints);
        let machine = Machine { room, devices, may };
        let number = *number_of.entry(machine).or_insert_with_key(|machine| {
            all.push((machine.clone(), 0));
            all.len() - 1
        });
        all[number].1 += 1;
    }
    all
}

/// What is left of each GPU of a node. Of what is used beyond its end, nothing is.
fn devices(node: &Node) -> Vec<u64> {
    let used = |gpu: usize| node.gpu_used_milli.get(gpu).copied().unwrap_or(0);
    (0..gpus(&node.allocatable)).map(|gpu| GPU_MILLI.saturating_sub(used(gpu))).collect()
}

fn gpus(allocatable: &Resources) -> usize {
    usize::try_from(allocatable.gpu_milli / GPU_MILLI).unwrap_or(usize::MAX)
}

/// A node that a launch would make.
#[derive(Clone, Copy)]
struct Launched<'a> {
    of: Launcher<'a>,
    instance_type: &'a InstanceType,
    offering: &'a Offering,
}

impl<'a> Launched<'a> {
    /// Its room, or `None` if it may not be launched or its daemons don't fit.
    fn machine(
        self,
        input: &'a Input,
        kinds: &Kinds<'a>,
        admission: &mut Admission<'a>,
    ) -> Option<Machine> {
        let label = |key: &str| self.label(key);
        let (mut daemons, mut all) = (Resources::default(), self.instance_type.allocatable.clone());
        if let Launcher::Pool(pool) = self.of {
            if self.contradicts() || !all_hold(&pool.requirements, &label) {
                return None;
            }
            daemons.clone_from(&pool.daemon_overhead);
            if pool.best_effort_percent > 0 {
                all = all.with_best_effort_percent(pool.best_effort_percent);
            }
        }
        for daemon in input.daemons.iter().filter(|pod| enters(pod, &label, self.of.taints())) {
            daemons = daemons.checked_add(&daemon.requests.clone().with_pods(1))?;
        }
        // Daemons hold no GPU.
        let devices = vec![GPU_MILLI; gpus(&all)];
        let room = kinds.room(&all.checked_sub(&daemons)?, &devices);
        let may = admission.classes(label, self.of.taints());
        Some(Machine { room, devices: gpus(&all).min(kinds.devices), may })
    }

    /// A label that the launch gives to the node, or its machine has.
    fn own(self, wanted: &str) -> Option<&'a str> {
        match wanted {
            key::ZONE => Some(&self.offering.zone),
            key::CAPACITY_TYPE => Some(self.offering.capacity_type.as_str()),
            key::INSTANCE_TYPE => Some(&self.instance_type.name),
            key::NODE_POOL => match self.of {
                Launcher::Pool(pool) => Some(&pool.name),
                Launcher::Group(_) => None,
            },
            _ => self.instance_type.labels.get(wanted).map(|value| &**value),
        }
    }

    fn label(self, wanted: &str) -> Option<&'a str> {
        self.own(wanted).or_else(|| self.of.labels().get(wanted).map(|value| &**value))
    }

    /// Whether the pool's labels say what the machine is not: then it is not launched.
    fn contradicts(self) -> bool {
        let mut labels = self.of.labels().iter();
        labels.any(|(key, value)| self.own(key).is_some_and(|own| own != &**value))
    }
}

type Conditions<'a> = (Vec<Option<&'a str>>, &'a [Taint]);

/// Which classes may enter: asked once for all machines that look the same to them.
struct Admission<'a> {
    classes: Vec<&'a Pod>,
    /// The labels that some class asks for.
    keys: Vec<&'a str>,
    known: HashMap<Conditions<'a>, Rc<[bool]>>,
}

impl<'a> Admission<'a> {
    fn new(kinds: &Kinds<'a>) -> Self {
        let conditions = |pod: &&'a Pod| {
            let pod: &'a Pod = pod;
            pod.requirements.iter().chain(pod.node_affinity.iter().flatten())
        };
        let keys = kinds.classes.iter().flat_map(conditions).map(|r| &*r.key);
        let keys: HashSet<&str> = keys.collect();
        Self {
            classes: kinds.classes.clone(),
            keys: keys.into_iter().collect(),
            known: HashMap::new(),
        }
    }

    fn classes(
        &mut self,
        label: impl Fn(&str) -> Option<&'a str>,
        taints: &'a [Taint],
    ) -> Rc<[bool]> {
        let seen = self.keys.iter().map(|key| label(key)).collect();
        let may = self.known.entry((seen, taints)).or_insert_with(|| {
            self.classes.iter().map(|pod| enters(pod, &label, taints)).collect()
        });
        may.clone()
    }
}

/// Whether a node's labels and taints let a pod in.
fn enters<'a>(pod: &Pod, label: &impl Fn(&str) -> Option<&'a str>, taints: &[Taint]) -> bool {
    let affinity = &pod.node_affinity;
    taints.iter().all(|taint| ignores(pod, taint))
        && all_hold(&pod.requirements, label)
        && (affinity.is_empty() || affinity.iter().any(|term| all_hold(term, label)))
}

fn all_hold<'a>(conditions: &[Requirement], label: &impl Fn(&str) -> Option<&'a str>) -> bool {
    conditions.iter().all(|condition| condition.holds(label(&condition.key)))
}

/// Whether a taint doesn't keep a pod out.
fn ignores(pod: &Pod, taint: &Taint) -> bool {
    let tolerated = pod.tolerations.iter().any(|toleration| {
        toleration.key.as_ref().is_none_or(|key| *key == taint.key)
            && toleration.effect.is_none_or(|effect| effect == taint.effect)
            && match &toleration.operator {
                TolerationOperator::Exists => true,
                TolerationOperator::Equal(value) => *value == taint.value,
            }
    });
    tolerated || taint.effect == Effect::PreferNoSchedule
}
