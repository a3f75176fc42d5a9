//! Nodes, and the pods that run there.

use serde::Deserialize;

use super::amounts::{Amounts, Rounding};
use super::decode::List;
use super::object::Object;
use super::pod_spec::TaintSpec;
use super::pods::taints;
use super::world::World;
use crate::error::Result;
use crate::model::{Effect, GPU_MILLI, Input, Node, Resources, RunningPod, Taint};

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeBody {
    spec: NodeSpec,
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    taints: List<TaintSpec>,
    unschedulable: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    capacity: Option<Amounts>,
    allocatable: Option<Amounts>,
    conditions: List<Condition>,
}

/// An element of `status.conditions`.
#[derive(Deserialize)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) name: String,
    pub(super) status: String,
}

/// The node, or `None` if it is not ready or about to go.
pub(super) fn node(object: &Object, world: &mut World) -> Result<Option<Node>> {
    let NodeBody { spec, status } = object.body()?;
    let not_ready = |c: &Condition| c.name == "Ready" && c.status != "True";
    if status.conditions.iter().any(not_ready) || object.meta.deletion_timestamp.is_some() {
        world.say("nodes that are not ready or being deleted");
        return Ok(None);
    }
    let (capacity, allocatable) = match (&status.capacity, &status.allocatable) {
        (Some(capacity), Some(allocatable)) => (capacity, allocatable),
        (Some(only), None) | (None, Some(only)) => (only, only),
        (None, None) => {
            let problem = "are both missing: write what the node has";
            return Err(object.origin.wrong("status.capacity and status.allocatable", problem));
        }
    };
    let allocatable = resources(allocatable, object, "status.allocatable")?;
    let capacity = resources(capacity, object, "status.capacity")?;
    let mut node = Node::new(object.name(), allocatable).with_capacity(capacity);
    node.labels = object.meta.labels.labels();
    node.taints = taints(&spec.taints, &object.origin, "spec.taints")?;
    if spec.unschedulable == Some(true) && !node.taints.iter().any(|t| &*t.key == UNSCHEDULABLE) {
        node.taints.push(Taint::new(UNSCHEDULABLE, "", Effect::NoSchedule));
    }
    let limits = world.storage.limits(object.name());
    node.volume_limits = limits.map(|(driver, count)| (driver.into(), count)).collect();
    world.add_node(object.id(), &node.labels);
    object.origin.check(&Input { nodes: vec![node.clone()], ..Input::default() })?;
    Ok(Some(node))
}

/// What there is, at `path` of an object.
pub(super) fn resources(amounts: &Amounts, object: &Object, path: &str) -> Result<Resources> {
    let wrong = |(name, problem)| object.origin.wrong(format_args!("{path}.{name}"), problem);
    amounts.resources(Rounding::Down).map_err(wrong)
}

/// Adds a pod that runs on the node, on the first GPUs that are free: which ones it has, no
/// manifest says. What it requests counts even where the node has less.
pub(super) fn run(node: &mut Node, mut running: RunningPod, object: &Object) -> Result<()> {
    if !occupy(node, &mut running) {
        let requests = &running.pod.requests;
        let gpu_milli = running.gpus.len() as u64 * GPU_MILLI;
        let counted = requests.clone().with_pods(1).with_gpu_milli(gpu_milli);
        node.used = node.used.checked_add(&counted).ok_or_else(|| {
            let problem = format!("run more than can be counted on {}: correct them", node.name);
            object.origin.wrong("its requests and those of others", problem)
        })?;
        for gpu in &running.gpus {
            let gpu = *gpu as usize;
            if node.gpu_used_milli.len() <= gpu {
                node.gpu_used_milli.resize(gpu + 1, 0);
            }
            node.gpu_used_milli[gpu] = GPU_MILLI;
        }
    }
    node.pods.push(running);
    Ok(())
}

/// Gives a pod its GPUs of the node and counts what it requests. Returns whether it fits; where it
/// doesn't, the node is unchanged.
pub(super) fn occupy(node: &mut Node, running: &mut RunningPod) -> bool {
    running.gpus = free_gpus(node, running.pod.requests.gpu_milli / GPU_MILLI);
    node.take(&running.pod.requests, &running.gpus)
}

/// Counts daemons that the node will have and that do not run there yet.
pub(super) fn reserve(node: &mut Node, daemons: &Resources) {
    let running = node.pods.iter().filter(|running| running.daemon);
    let missing = running.fold(daemons.clone(), |left, running| {
        left.saturating_sub(&running.pod.requests.clone().with_pods(1))
    });
    if let Some(used) = node.used.checked_add(&missing) {
        node.used = used;
    }
}

/// Leaves nothing of the node free.
pub(super) fn fill(node: &mut Node) {
    let devices = usize::try_from(node.allocatable.gpu_milli / GPU_MILLI).unwrap_or_default();
    node.gpu_used_milli = vec![GPU_MILLI; devices];
    node.used = node.allocatable.clone();
}

/// At most so many GPUs of the node that nobody uses.
fn free_gpus(node: &Node, count: u64) -> Vec<u32> {
    let all = u32::try_from(node.allocatable.gpu_milli / GPU_MILLI).unwrap_or(u32::MAX);
    let used = |gpu: &u32| node.gpu_used_milli.get(*gpu as usize).is_some_and(|used| *used > 0);
    let free = (0..all).filter(|gpu| !used(gpu));
    free.take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
}
