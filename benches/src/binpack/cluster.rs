//! Clusters that have room, and pods to put there.

use binpack::{BuiltinCatalogue, workload};
use binpack::{
    CapacityType, ConsolidationPolicy, Disruption, Gang, Input, LabelSelector, Node, NodePool, Pod,
    Resources, RunningPod, TopologySpread, key,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::karpenter::{CPU_MILLI, MEMORY_MIB};
use crate::SEED;

const MIB: u64 = 1 << 20;
const ZONES: [&str; 3] = ["zone-1", "zone-2", "zone-3"];
/// How many pods a deployment has.
pub const REPLICAS: usize = 100;

/// `pods` of the built-in mix, `nodes` empty nodes of 32 cores of which every fourth has 8 GPUs,
/// and the built-in catalogue.
#[must_use]
pub fn mixed(pods: usize, nodes: usize) -> Input {
    let node = |i: usize| {
        let gpus = if i.is_multiple_of(4) { 8_000 } else { 0 };
        let all = Resources::new(32_000, 128 << 30).with_pods(110).with_gpu_milli(gpus);
        Node::new(format!("node-{i}"), all).with_label(key::ARCH, "amd64")
    };
    Input {
        pods: workload::mix(pods, SEED),
        nodes: (0..nodes).map(node).collect(),
        pools: vec![NodePool::linux_amd64_on_demand("default")],
        instance_types: BuiltinCatalogue::new().types(),
        ..Input::default()
    }
}

/// `pods` without constraints, each of one of 30 shapes, on `nodes` nodes.
#[must_use]
pub fn plain(pods: usize, nodes: usize) -> Input {
    let mut random = StdRng::seed_from_u64(SEED);
    let nodes = used(nodes, &mut random);
    let pod = |i: usize| Pod::new(format!("pod-{i}"), shape(random.random_range(0..30)));
    Input { pods: (0..pods).map(pod).collect(), nodes, ..Input::default() }
}

/// `pods` of deployments of 100, each spread over zones with skew 1 and alone among its like on a
/// node, on `nodes` nodes. The deployments have 30 shapes in turns.
#[must_use]
pub fn tied(pods: usize, nodes: usize) -> Input {
    let nodes = used(nodes, &mut StdRng::seed_from_u64(SEED));
    Input { pods: deployments(pods), nodes, ..Input::default() }
}

/// The pods of [`tied`].
#[must_use]
pub fn deployments(pods: usize) -> Vec<Pod> {
    let pod = |i: usize| {
        let deployment = i / REPLICAS;
        let app = format!("app-{deployment}");
        let alike = LabelSelector::labels([("app", app.as_str())]);
        Pod::new(format!("{app}-{}", i % REPLICAS), shape(deployment % 30))
            .with_label("app", app.as_str())
            .spread(TopologySpread::new(key::ZONE, alike.clone(), 1))
            .alone_among(alike)
    };
    (0..pods).map(pod).collect()
}

/// How many members a gang has, and how many nodes a rack.
pub const MEMBERS: usize = 8;
const RACK: usize = 32;

/// `gangs` of 8 pods of 4 cores, each within one rack of 32 nodes, on `nodes` nodes.
#[must_use]
pub fn gangs(gangs: usize, nodes: usize) -> Input {
    let racked = used(nodes, &mut StdRng::seed_from_u64(SEED)).into_iter().enumerate();
    let racked = racked.map(|(i, node)| node.with_label("rack", format!("rack-{}", i / RACK)));
    let member = |i: usize| {
        let gang = format!("gang-{}", i / MEMBERS);
        let requests = Resources::new(4_000, 8 << 30);
        Pod::new(format!("{gang}-{}", i % MEMBERS), requests).in_gang(gang)
    };
    let least = u32::try_from(MEMBERS).unwrap_or(u32::MAX);
    Input {
        pods: (0..gangs * MEMBERS).map(member).collect(),
        nodes: racked.collect(),
        gangs: (0..gangs).map(|i| Gang::new(format!("gang-{i}"), least).within("rack")).collect(),
        ..Input::default()
    }
}

/// How many pods run on each node of [`running`].
pub const PODS: usize = 12;
/// Of how many shapes they are.
const SHAPES: usize = 30;

/// `nodes` of 16 cores and 64 GiB at slightly different prices in three zones, with [`PODS`] pods
/// of up to `percent` of their average room each. With `spread` every other shape's pods are
/// spread over zones with skew 5. Nothing limits how many nodes go at once.
#[must_use]
pub fn running(nodes: usize, percent: u64, spread: bool) -> Input {
    let mut random = StdRng::seed_from_u64(SEED);
    let pods = PODS as u64;
    let (cpu, memory) = (16_000 * percent / 100 / pods, (64 << 10) * percent / 100 / pods);
    // Evenly from a third of the mean to five thirds.
    let shapes: Vec<Resources> = (0..SHAPES)
        .map(|_| {
            let cpu = random.random_range(cpu / 3..=5 * cpu / 3) / 10 * 10;
            Resources::new(cpu, random.random_range(memory / 3..=5 * memory / 3) * MIB)
        })
        .collect();
    let pod = |name: String, random: &mut StdRng| {
        let shape = random.random_range(0..SHAPES);
        let app = format!("app-{shape}");
        let pod = Pod::new(name, shapes[shape].clone()).with_label("app", app.as_str());
        if spread && shape.is_multiple_of(2) {
            let alike = LabelSelector::labels([("app", app.as_str())]);
            return pod.spread(TopologySpread::new(key::ZONE, alike, 5));
        }
        pod
    };
    let node = |i: usize, random: &mut StdRng| {
        let all = Resources::new(16_000, 64 << 30).with_pods(110);
        let mut node = Node::new(format!("node-{i}"), all)
            .with_label(key::OS, "linux")
            .with_label(key::ARCH, "amd64")
            .with_label(key::CAPACITY_TYPE, CapacityType::OnDemand.as_str())
            .with_label(key::NODE_POOL, "default")
            .with_label(key::ZONE, ZONES[i % ZONES.len()])
            .with_price_micros(768_000 + random.random_range(0..1_000));
        let mut free = (16_000, 64 << 30);
        for n in 0..PODS {
            let pod = pod(format!("pod-{i}-{n}"), random);
            let needs = (pod.requests.cpu_milli, pod.requests.memory_bytes);
            // Draws that are too many for one node leave it with fewer pods.
            if needs.0 <= free.0 && needs.1 <= free.1 {
                free = (free.0 - needs.0, free.1 - needs.1);
                node = node.with_pod(RunningPod::new(pod));
            }
        }
        node
    };
    let nodes = (0..nodes).map(|i| node(i, &mut random)).collect();
    let pool = NodePool::linux_amd64_on_demand("default")
        .with_disruption(Disruption::unlimited(ConsolidationPolicy::default()));
    let instance_types = BuiltinCatalogue::new().types();
    Input { nodes, pools: vec![pool], instance_types, ..Input::default() }
}

/// Nodes of 16 cores and 64 GiB in three zones, of which up to a half is used.
fn used(nodes: usize, random: &mut StdRng) -> Vec<Node> {
    let node = |i: usize| {
        let mut node =
            Node::new(format!("node-{i}"), Resources::new(16_000, 64 << 30).with_pods(110))
                .with_label(key::OS, "linux")
                .with_label(key::ARCH, "amd64")
                .with_label(key::CAPACITY_TYPE, CapacityType::OnDemand.as_str())
                .with_label(key::ZONE, ZONES[i % ZONES.len()]);
        let memory = random.random_range(0..=32_768) * MIB;
        node.used = Resources::new(random.random_range(0..=80) * 100, memory).with_pods(10);
        node
    };
    (0..nodes).map(node).collect()
}

fn shape(at: usize) -> Resources {
    let (cpu, memory) = (at % CPU_MILLI.len(), at / CPU_MILLI.len() % MEMORY_MIB.len());
    Resources::new(CPU_MILLI[cpu], MEMORY_MIB[memory] * MIB)
}
