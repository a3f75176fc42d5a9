//! Pods and nodes as one snapshot of the cache holds them, in the planner's terms.

use std::collections::BTreeMap;

use binpack::{Node, Plan, Target};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use watch_cache::{Object, Snapshot};

use crate::objects::{NODES, NodeObject, PODS, PodObject, decode, encode, node_key, pod_key};

/// A pod and the revision of its last change.
#[derive(Debug, Clone)]
pub struct SeenPod {
    /// The pod.
    pub object: PodObject,
    /// The revision that a write must name to replace it.
    pub mod_revision: u64,
}

/// An object to write if its last change is still the one that was seen.
#[derive(Debug, Clone)]
pub struct Write {
    /// The object's key.
    pub key: Bytes,
    /// The revision of the change that was seen; 0 if the object is new.
    pub seen_revision: u64,
    /// The object's new bytes.
    pub value: Bytes,
}

/// What a plan changes.
#[derive(Debug, Default)]
pub struct Changes {
    /// Nodes to create, which must be there before their pods.
    pub nodes: Vec<Write>,
    /// Pods to bind.
    pub pods: Vec<Write>,
}

/// Everything that planning and checking look at.
#[derive(Debug, Default)]
pub struct ClusterView {
    /// Pods without a node, by name.
    pub pending: BTreeMap<String, SeenPod>,
    /// Pods with a node, by name.
    pub bound: BTreeMap<String, SeenPod>,
    /// Nodes by name, with what their daemons and pods use.
    pub nodes: BTreeMap<String, Node>,
    /// What the nodes cost together, in millionths of a dollar per hour.
    pub cost_micros: u64,
    /// Bound pods whose node is not there or has no room for them, and objects that can't be read.
    pub wrong: Vec<String>,
}

impl ClusterView {
    /// Reads a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut view = Self::default();
        for object in snapshot.range(NODES.as_bytes()) {
            view.read(&object, Self::add_node);
        }
        for object in snapshot.range(PODS.as_bytes()) {
            view.read(&object, Self::add_pod);
        }
        view
    }

    /// What has to be written to carry out a plan. Pods that are not pending any more, and bindings
    /// to nodes that are gone or full, are left out; so is a launch without a pod.
    ///
    /// # Errors
    /// If an object can't be encoded.
    pub fn carry_out(mut self, plan: &Plan) -> serde_json::Result<Changes> {
        let mut changes = Changes::default();
        let mut launched = BTreeMap::new();
        for binding in &plan.bindings {
            let Some(mut pod) = self.pending.remove(&*binding.pod) else { continue };
            let name = match &binding.target {
                Target::Existing(name) => name.to_string(),
                Target::Launch(index) => {
                    let Some(launch) = plan.launches.get(*index) else { continue };
                    // A revision belongs to one pod, so the name is new, and the same plan carried
                    // out twice gives the same name.
                    let name = || format!("node-{}", pod.mod_revision);
                    let node = launched
                        .entry(*index)
                        .or_insert_with(|| NodeObject::launched(launch, &name()));
                    self.nodes.entry(node.metadata.name.clone()).or_insert_with(|| node.node());
                    node.metadata.name.clone()
                }
            };
            let room = self.nodes.get_mut(&name);
            if !room.is_some_and(|room| room.take(&pod.object.requests(), &binding.gpus)) {
                continue;
            }
            pod.object.spec.node_name = Some(name);
            pod.object.spec.gpus.clone_from(&binding.gpus);
            let (key, value) = (pod_key(&binding.pod), encode(&pod.object)?);
            changes.pods.push(Write { key, seen_revision: pod.mod_revision, value });
        }
        for node in launched.values() {
            let (key, value) = (node_key(&node.metadata.name), encode(node)?);
            changes.nodes.push(Write { key, seen_revision: 0, value });
        }
        Ok(changes)
    }

    fn read<T: DeserializeOwned>(&mut self, object: &Object, add: fn(&mut Self, T, u64)) {
        match decode(object.value()) {
            Ok(decoded) => add(self, decoded, object.mod_revision()),
            Err(error) => {
                let key = String::from_utf8_lossy(object.key());
                self.wrong.push(format!("{key} can't be read: {error}"));
            }
        }
    }

    fn add_node(&mut self, object: NodeObject, _mod_revision: u64) {
        self.cost_micros += object.price_micros();
        let node = object.node();
        self.nodes.insert(object.metadata.name, node);
    }

    fn add_pod(&mut self, object: PodObject, mod_revision: u64) {
        let name = object.metadata.name.clone();
        let pod = SeenPod { object, mod_revision };
        let Some(node_name) = pod.object.spec.node_name.as_deref() else {
            self.pending.insert(name, pod);
            return;
        };
        let node = self.nodes.get_mut(node_name);
        if !node.is_some_and(|node| node.take(&pod.object.requests(), &pod.object.spec.gpus)) {
            self.wrong
                .push(format!("pod {name} does not fit on {node_name}, or that is not there"));
        }
        self.bound.insert(name, pod);
    }
}
