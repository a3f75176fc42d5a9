//! The cluster as it is when a plan has been carried out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::machine::daemons_of;
use crate::model::{
    Binding, Input, InstanceType, Labels, Launch, Node, NodePool, Plan, Pod, RunningPod, Taint,
    Target, key,
};

/// Which node it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SiteId<'a> {
    /// One that exists, by its name.
    Node(&'a str),
    /// One that is launched, by the index of its launch.
    Launch(usize),
}

impl fmt::Display for SiteId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node {name}"),
            Self::Launch(index) => write!(f, "launch {index}"),
        }
    }
}

/// Nodes that count as one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Domain<'a> {
    /// A node by itself: every one is a hostname.
    Site(SiteId<'a>),
    /// Those with this value of a label.
    Value(&'a str),
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(site) => site.fmt(f),
            Self::Value(value) => f.write_str(value),
        }
    }
}

/// A pod on its node.
pub(super) struct Placed<'a> {
    pub(super) pod: &'a Pod,
    pub(super) site: SiteId<'a>,
    site_labels: &'a Labels,
    /// What binds it; `None` where it runs already.
    pub(super) binding: Option<&'a Binding>,
}

impl<'a> Placed<'a> {
    pub(super) fn bound(&self) -> bool {
        self.binding.is_some()
    }

    /// Where it is by a label of nodes; `None` where its node doesn't have the label.
    pub(super) fn domain(&self, topology_key: &str) -> Option<Domain<'a>> {
        if topology_key == key::HOSTNAME {
            return Some(Domain::Site(self.site));
        }
        self.site_labels.get(topology_key).map(|value| Domain::Value(value))
    }
}

/// A node that exists or is launched.
pub(super) struct Site<'a> {
    pub(super) id: SiteId<'a>,
    pub(super) labels: &'a Labels,
    pub(super) taints: &'a [Taint],
    /// The volumes of each driver that may be attached.
    pub(super) volume_limits: Option<&'a BTreeMap<Arc<str>, u32>>,
    /// The daemons that a launch brings with it.
    pub(super) daemons: Vec<&'a Pod>,
    /// The pods that run there, then those that the plan binds.
    pub(super) pods: Vec<Placed<'a>>,
}

impl<'a> Site<'a> {
    fn node(node: &'a Node, evicted: &HashSet<(&str, &str)>) -> Self {
        let mut site = Self {
            id: SiteId::Node(&node.name),
            labels: &node.labels,
            taints: &node.taints,
            volume_limits: Some(&node.volume_limits),
            daemons: Vec::new(),
            pods: Vec::new(),
        };
        for running in &node.pods {
            if !evicted.contains(&(&*node.name, &*running.pod.name)) {
                site.put(&running.pod, None);
            }
        }
        site
    }

    fn put(&mut self, pod: &'a Pod, binding: Option<&'a Binding>) {
        self.pods.push(Placed { pod, site: self.id, site_labels: self.labels, binding });
    }

    /// The pods that the plan binds here.
    pub(super) fn bound(&self) -> impl Iterator<Item = &Placed<'a>> {
        self.pods.iter().filter(|placed| placed.bound())
    }
}

/// What the input and the plan make together.
pub(super) struct State<'a> {
    pub(super) input: &'a Input,
    pub(super) plan: &'a Plan,
    pub(super) pods: HashMap<&'a str, &'a Pod>,
    pub(super) pools: HashMap<&'a str, &'a NodePool>,
    pub(super) types: HashMap<&'a str, &'a InstanceType>,
    nodes: HashMap<&'a str, usize>,
    /// Pods that make room, by node and name.
    evicted: HashSet<(&'a str, &'a str)>,
    /// The nodes, then the launches.
    pub(super) sites: Vec<Site<'a>>,
}

impl<'a> State<'a> {
    pub(super) fn new(input: &'a Input, plan: &'a Plan) -> Self {
        let evicted = plan.evictions.iter().map(|of| (&*of.node, &*of.pod)).collect();
        let mut state = Self {
            input,
            plan,
            pods: input.pods.iter().map(|pod| (&*pod.name, pod)).collect(),
            pools: input.pools.iter().map(|pool| (&*pool.name, pool)).collect(),
            types: input.instance_types.iter().map(|it| (&*it.name, it)).collect(),
            nodes: input.nodes.iter().enumerate().map(|(i, node)| (&*node.name, i)).collect(),
            sites: input.nodes.iter().map(|node| Site::node(node, &evicted)).collect(),
            evicted,
        };
        for (index, launch) in plan.launches.iter().enumerate() {
            let site = state.launch_site(index, launch);
            state.sites.push(site);
        }
        for binding in &plan.bindings {
            let pod = state.pods.get(&*binding.pod).copied();
            let site = state.site(&binding.target);
            if let Some((pod, site)) = pod.zip(site.and_then(|site| state.sites.get_mut(site))) {
                site.put(pod, Some(binding));
            }
        }
        state
    }

    fn launch_site(&self, index: usize, launch: &'a Launch) -> Site<'a> {
        let it = self.types.get(&*launch.instance_type);
        Site {
            id: SiteId::Launch(index),
            labels: &launch.labels,
            taints: &launch.taints,
            volume_limits: it.map(|it| &it.volume_limits),
            daemons: daemons_of(self.input, &launch.taints, &launch.labels),
            pods: Vec::new(),
        }
    }

    /// The pods of a node that make room.
    pub(super) fn evicted<'n>(&self, node: &'n Node) -> impl Iterator<Item = &'n RunningPod> {
        let goes = |of: &&RunningPod| self.evicted.contains(&(&*node.name, &*of.pod.name));
        node.pods.iter().filter(goes)
    }

    /// The index of a binding's node among the sites.
    pub(super) fn site(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Existing(name) => self.nodes.get(&**name).copied(),
            Target::Launch(index) => {
                (*index < self.plan.launches.len()).then(|| self.input.nodes.len() + index)
            }
        }
    }

    /// Every pod that has a node.
    pub(super) fn placed(&self) -> impl Iterator<Item = &Placed<'a>> {
        self.sites.iter().flat_map(|site| &site.pods)
    }

    /// Every launch with its index and its site.
    pub(super) fn launches(&self) -> impl Iterator<Item = (usize, &'a Launch, &Site<'a>)> {
        let sites = self.sites.iter().skip(self.input.nodes.len());
        self.plan
            .launches
            .iter()
            .enumerate()
            .zip(sites)
            .map(|((i, launch), site)| (i, launch, site))
    }
}
