//! A cluster in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Cluster, ClusterState};
use crate::error::Result;
use crate::model::{Binding, Launch, Node, NodeGroup, Plan, Pod, Target};

/// A cluster in memory: for simulations and tests, and the reference for other adapters.
///
/// A launch becomes a node at once, named `<pool>-<number>`.
#[derive(Debug, Default)]
pub struct MemoryCluster {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: ClusterState,
    bound: BTreeMap<Arc<str>, Arc<str>>,
    launched: u64,
}

impl MemoryCluster {
    /// A cluster in this state.
    #[must_use]
    pub fn new(state: ClusterState) -> Self {
        Self { inner: Mutex::new(Inner { state, ..Inner::default() }) }
    }

    /// Adds a pending pod; the caller then triggers the provisioner.
    pub fn add_pod(&self, pod: Pod) {
        self.inner.lock().state.pending.push(pod);
    }

    /// Which node each pod that was bound is on.
    #[must_use]
    pub fn bound(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        self.inner.lock().bound.clone()
    }
}

#[async_trait]
impl Cluster for MemoryCluster {
    async fn state(&self) -> Result<ClusterState> {
        Ok(self.inner.lock().state.clone())
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        self.inner.lock().apply(plan);
        Ok(())
    }
}

impl Inner {
    fn apply(&mut self, plan: &Plan) {
        self.evict(plan);
        let nodes = &self.state.nodes;
        let by_name: BTreeMap<_, _> =
            nodes.iter().enumerate().map(|(i, node)| (node.name.clone(), i)).collect();
        let mut pending: BTreeMap<_, _> = self
            .state
            .pending
            .drain(..)
            .enumerate()
            .map(|(i, pod)| (pod.name.clone(), (i, pod)))
            .collect();
        let mut launched: Vec<Option<usize>> = vec![None; plan.launches.len()];
        for binding in &plan.bindings {
            let Some((_, pod)) = pending.get(&binding.pod) else {
                continue;
            };
            let node = match &binding.target {
                Target::Existing(name) => by_name.get(name).copied(),
                Target::Launch(index) => self.launch(plan, *index, &mut launched),
            };
            if node.is_some_and(|node| self.bind(node, pod, binding)) {
                pending.remove(&binding.pod);
            }
        }
        self.launch_idle(plan, &mut launched);
        let mut left: Vec<(usize, Pod)> = pending.into_values().collect();
        left.sort_by_key(|(i, _)| *i);
        self.state.pending = left.into_iter().map(|(_, pod)| pod).collect();
    }

    /// Takes the pods off that make room. Here nobody makes them anew.
    fn evict(&mut self, plan: &Plan) {
        for eviction in &plan.evictions {
            let mut nodes = self.state.nodes.iter_mut();
            let Some(node) = nodes.find(|node| node.name == eviction.node) else { continue };
            let at = node.pods.iter().position(|running| running.pod.name == eviction.pod);
            if let Some(at) = at {
                let gone = node.pods.remove(at);
                node.release(&gone.pod.requests, &gone.gpus);
            }
        }
    }

    fn launch(
        &mut self,
        plan: &Plan,
        index: usize,
        launched: &mut [Option<usize>],
    ) -> Option<usize> {
        let slot = launched.get_mut(index)?;
        if slot.is_none() {
            let launch: &Launch = plan.launches.get(index)?;
            let node = launch.node(self.free_name(&launch.pool));
            self.state.nodes.push(node);
            *slot = Some(self.state.nodes.len() - 1);
        }
        *slot
    }

    /// Brings groups up to their least sizes by launches to which the plan binds no pod.
    fn launch_idle(&mut self, plan: &Plan, launched: &mut [Option<usize>]) {
        let bound: BTreeSet<&Target> = plan.bindings.iter().map(|b| &b.target).collect();
        for (index, launch) in plan.launches.iter().enumerate() {
            let own = |of: &&NodeGroup| launch.group.as_ref() == Some(&of.name);
            let Some(group) = self.state.node_groups.iter().find(own) else { continue };
            let nodes = self.state.nodes.iter().filter(|n| n.group.as_ref() == Some(&group.name));
            let lacks = (nodes.count() as u64) < u64::from(group.min_size);
            if lacks && !bound.contains(&Target::Launch(index)) {
                self.launch(plan, index, launched);
            }
        }
    }

    fn free_name(&mut self, pool: &str) -> String {
        loop {
            self.launched += 1;
            let name = format!("{pool}-{}", self.launched);
            if !self.state.nodes.iter().any(|node| *node.name == *name) {
                return name;
            }
        }
    }

    fn bind(&mut self, node: usize, pod: &Pod, binding: &Binding) -> bool {
        let Some(node): Option<&mut Node> = self.state.nodes.get_mut(node) else {
            return false;
        };
        let fits = node.take(&pod.requests, &binding.gpus);
        if fits {
            self.bound.insert(pod.name.clone(), node.name.clone());
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Preemption};
    use crate::core::plan;
    use crate::model::{CapacityType, Input, InstanceType, Offering, Resources, RunningPod};

    #[test]
    fn a_group_is_brought_up_to_its_least_size_once() {
        let it = InstanceType::new("m", Resources::new(1_000, 1 << 30).with_pods(10))
            .with_offering(Offering::new("a", CapacityType::OnDemand, 100));
        let input = Input {
            pods: vec![Pod::new("p", Resources::new(600, 1))],
            node_groups: vec![NodeGroup::new("g", "m", "a").with_sizes(3, 5)],
            instance_types: [it].into(),
            ..Input::default()
        };
        let plan = plan(&input, &Config::default()).expect("well formed");
        let node_groups = input.node_groups.clone();
        let state = ClusterState { pending: input.pods, node_groups, ..ClusterState::default() };
        let mut inner = Inner { state, ..Inner::default() };
        for _ in 0..2 {
            inner.apply(&plan);
            let groups = inner.state.nodes.iter().map(|node| node.group.as_deref());
            assert_eq!(groups.collect::<Vec<_>>(), [Some("g"); 3]);
            assert!(inner.state.pending.is_empty() && inner.bound.len() == 1);
        }
    }

    #[test]
    fn who_makes_room_is_gone_before_others_are_bound() {
        let pod = |name: &str| Pod::new(name, Resources::new(1_000, 1));
        let node = Node::new("n", Resources::new(1_000, 1 << 20).with_pods(9));
        let nodes = vec![node.with_pod(RunningPod::new(pod("old")))];
        let pending = vec![pod("high").with_priority(1)];
        let input = Input { pods: pending.clone(), nodes: nodes.clone(), ..Input::default() };
        let config = Config { preemption: Preemption::Lower, ..Config::default() };
        let plan = plan(&input, &config).expect("the input is well formed");
        let state = ClusterState { pending, nodes, ..ClusterState::default() };
        let mut inner = Inner { state, ..Inner::default() };
        inner.apply(&plan);
        assert!(inner.state.pending.is_empty() && inner.bound.contains_key("high"));
        assert!(inner.state.nodes[0].pods.is_empty(), "the old one is gone");
        assert_eq!(inner.state.nodes[0].used.cpu_milli, 1_000);
    }
}
