//! The nodes that there are once a plan has been carried out, and what is on each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use binpack::{CapacityType, Input, Launch, Node, Plan, Pod, Resources, Target, key};

/// A node: one that exists, or one that comes of a launch.
#[derive(Debug, Clone)]
pub(crate) struct Machine<'a> {
    pub(crate) origin: Origin<'a>,
    /// The pods that the plan puts there, in the order of the input, and their GPUs by index.
    pub(crate) pods: Vec<(&'a Pod, &'a [u32])>,
    /// What the plan's certificate says that these pods are worth, in thousandths of a millionth of
    /// a dollar per hour.
    pub(crate) worth_nanos: u64,
    /// What is used of it, daemons and what ran before included.
    pub(crate) used: Resources,
    /// What was used of it before the plan: by daemons, and on a node that exists by all that runs
    /// and goes on running.
    pub(crate) before: Resources,
}

/// Where a node comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin<'a> {
    Existing(&'a Node),
    /// The launch at this index of the plan.
    Launch(usize, &'a Launch),
}

impl<'a> Machine<'a> {
    /// All nodes: those that exist in the order of the input, then the launches in the plan's.
    pub(crate) fn all(input: &'a Input, plan: &'a Plan) -> Vec<Self> {
        let gone: HashSet<(&str, &str)> =
            plan.evictions.iter().map(|of| (&*of.node, &*of.pod)).collect();
        let existing = input.nodes.iter().map(|node| {
            let goes = |name: &str| gone.contains(&(&*node.name, name));
            let pods = node.pods.iter().map(|running| &running.pod).filter(|pod| goes(&pod.name));
            let less = |used: Resources, pod: &Pod| {
                used.saturating_sub(&pod.requests.clone().with_pods(1))
            };
            Self::new(Origin::Existing(node), &pods.fold(node.used.clone(), less))
        });
        let launches = plan.launches.iter().enumerate();
        let launches = launches.map(|(index, launch)| {
            Self::new(Origin::Launch(index, launch), &launch.daemon_overhead)
        });
        let mut machines: Vec<Self> = existing.chain(launches).collect();
        let names = input.nodes.iter().enumerate().map(|(at, node)| (&*node.name, at));
        let nodes: HashMap<&str, usize> = names.collect();
        let pods: HashMap<&str, usize> =
            input.pods.iter().enumerate().map(|(at, pod)| (&*pod.name, at)).collect();
        let values = plan.certificate.as_ref().map(|certificate| &*certificate.values_nanos);
        for binding in &plan.bindings {
            let at = match &binding.target {
                Target::Existing(name) => nodes.get(&**name).copied(),
                Target::Launch(index) => Some(input.nodes.len() + index),
            };
            let pod = pods.get(&*binding.pod).copied();
            // What names no node or pod is a breach, which the checks tell of.
            if let Some((pod, machine)) = pod.zip(at.and_then(|at| machines.get_mut(at))) {
                let worth = values.and_then(|values| values.get(pod)).copied().unwrap_or(0);
                machine.add(&input.pods[pod], &binding.gpus, worth);
            }
        }
        machines
    }

    fn new(origin: Origin<'a>, used: &Resources) -> Self {
        let (used, before) = (used.clone(), used.clone());
        Self { origin, pods: Vec::new(), worth_nanos: 0, used, before }
    }

    fn add(&mut self, pod: &'a Pod, gpus: &'a [u32], worth: u64) {
        self.pods.push((pod, gpus));
        self.worth_nanos = self.worth_nanos.saturating_add(worth);
        if let Some(sum) = self.used.checked_add(&pod.requests.clone().with_pods(1)) {
            self.used = sum;
        }
    }

    pub(crate) fn launch(&self) -> Option<&'a Launch> {
        match self.origin {
            Origin::Existing(_) => None,
            Origin::Launch(_, launch) => Some(launch),
        }
    }

    /// What it offers to pods and daemons.
    pub(crate) fn allocatable(&self) -> &'a Resources {
        match self.origin {
            Origin::Existing(node) => &node.allocatable,
            Origin::Launch(_, launch) => &launch.allocatable,
        }
    }

    /// In millionths of a dollar per hour; of a node that exists it may not be known.
    pub(crate) fn price_micros(&self) -> Option<u64> {
        match self.origin {
            Origin::Existing(node) => node.price_micros,
            Origin::Launch(_, launch) => Some(launch.price_micros),
        }
    }

    pub(crate) fn pool(&self) -> Option<&'a str> {
        match self.origin {
            Origin::Existing(node) => label(node, key::NODE_POOL),
            Origin::Launch(_, launch) => launch.group.is_none().then_some(&*launch.pool),
        }
    }

    pub(crate) fn group(&self) -> Option<&'a str> {
        match self.origin {
            Origin::Existing(node) => node.group.as_deref(),
            Origin::Launch(_, launch) => launch.group.as_deref(),
        }
    }

    pub(crate) fn instance_type(&self) -> Option<&'a str> {
        match self.origin {
            Origin::Existing(node) => label(node, key::INSTANCE_TYPE),
            Origin::Launch(_, launch) => Some(&launch.instance_type),
        }
    }

    pub(crate) fn zone(&self) -> Option<&'a str> {
        match self.origin {
            Origin::Existing(node) => label(node, key::ZONE),
            Origin::Launch(_, launch) => Some(&launch.zone),
        }
    }

    pub(crate) fn capacity_type(&self) -> Option<&'a str> {
        match self.origin {
            Origin::Existing(node) => label(node, key::CAPACITY_TYPE),
            Origin::Launch(_, launch) => Some(CapacityType::as_str(launch.capacity_type)),
        }
    }
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.labels.get(key).map(Arc::as_ref)
}
