//! Seeded workloads for `binpack`, and a rival: Karpenter's manner of packing in short.

use binpack::{
    BuiltinCatalogue, CapacityType, Input, InstanceType, Node, NodePool, Pod, Resources, key,
    workload,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::SEED;

const MIB: u64 = 1 << 20;

fn pools() -> Vec<NodePool> {
    vec![NodePool::linux_amd64_on_demand("default")]
}

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
        pools: pools(),
        instance_types: BuiltinCatalogue::new().types(),
        ..Input::default()
    }
}

/// Pods as the generic fifth of Karpenter's scheduling benchmark draws them, without nodes.
#[must_use]
pub fn plain(pods: usize) -> Input {
    let mut random = StdRng::seed_from_u64(SEED);
    let cpu = [100, 250, 500, 1_000, 1_500];
    let memory = [100, 256, 512, 1_024, 2_048, 4_096];
    let mut pod = |i: usize| {
        let (cpu, memory) =
            (cpu[random.random_range(0..cpu.len())], memory[random.random_range(0..memory.len())]);
        Pod::new(format!("pod-{i}"), Resources::new(cpu, memory * MIB))
    };
    Input {
        pods: (0..pods).map(&mut pod).collect(),
        pools: pools(),
        instance_types: BuiltinCatalogue::new().types(),
        ..Input::default()
    }
}

/// What Karpenter's manner of packing would cost, in millionths of a dollar per hour: pods by CPU
/// and memory descending, each onto the open node with the fewest pods that can still be some
/// machine that holds all of it, and at the end the cheapest such machine. It is a re-statement of
/// those rules for pods without constraints, not Karpenter; pods that no machine holds and GPU
/// sharing are left out (a share counts as a whole GPU, as in Kubernetes).
#[must_use]
pub fn first_fit_baseline(input: &Input) -> u64 {
    let sold = sold(&input.instance_types);
    let mut pods: Vec<Resources> = input.pods.iter().map(|pod| whole_gpus(&pod.requests)).collect();
    pods.sort_by_key(|r| std::cmp::Reverse((r.cpu_milli, r.memory_bytes)));
    let mut open: Vec<Resources> = Vec::new();
    for pod in pods {
        open.sort_by_key(|node| node.pods);
        let room = open.iter_mut().find_map(|node| {
            let with = node.checked_add(&pod)?;
            cheapest(&sold, &with).is_some().then_some((node, with))
        });
        match room {
            Some((node, with)) => *node = with,
            None if cheapest(&sold, &pod).is_some() => open.push(pod),
            None => {}
        }
    }
    open.iter().filter_map(|node| cheapest(&sold, node)).sum()
}

fn whole_gpus(requests: &Resources) -> Resources {
    requests.clone().with_pods(1).with_gpu_milli(requests.gpu_milli.next_multiple_of(1_000))
}

/// What the pool may launch, by price.
fn sold(types: &[InstanceType]) -> Vec<(u64, &Resources)> {
    let amd64 =
        types.iter().filter(|it| it.labels.get(key::ARCH).is_some_and(|arch| &**arch == "amd64"));
    let mut sold: Vec<_> = amd64
        .filter_map(|it| {
            let offering =
                it.offerings.iter().find(|o| o.capacity_type == CapacityType::OnDemand)?;
            Some((offering.price_micros, &it.allocatable))
        })
        .collect();
    sold.sort_by_key(|(price, _)| *price);
    sold
}

fn cheapest(sold: &[(u64, &Resources)], needed: &Resources) -> Option<u64> {
    sold.iter().find(|(_, has)| needed.fits_within(has)).map(|(price, _)| *price)
}
