//! Nodes, pools and types from the universes of the pods.

use binpack::{
    CapacityType, Effect, GPU_MILLI, Input, InstanceType, Node, NodeGroup, NodePool, Offering, Pod,
    PoolLimits, Requirement, Resources, RunningPod, Taint, Toleration, key,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::pods::{any_requirement, any_running};

const GIB: u64 = 1 << 30;

fn any_taint() -> impl Strategy<Value = Taint> {
    prop_oneof![
        Just(Taint::new("team", "x", Effect::NoSchedule)),
        Just(Taint::new("team", "y", Effect::NoExecute)),
        Just(Taint::new("soft", "", Effect::PreferNoSchedule)),
    ]
}

fn few_taints() -> impl Strategy<Value = Vec<Taint>> {
    prop_oneof![3 => Just(Vec::new()), 1 => any_taint().prop_map(|taint| vec![taint])]
}

fn any_capacity() -> impl Strategy<Value = Resources> {
    let gpus = prop_oneof![3 => Just(0), 1 => 1..3u64];
    (1..9u64, 1..17u64, 2..9u64, gpus, 0..3u64).prop_map(|(cores, gib, pods, gpus, widgets)| {
        let fixed = Resources::new(cores * 1_000, gib * GIB).with_pods(pods);
        fixed.with_gpu_milli(gpus * GPU_MILLI).with_extended("x/widget", widgets)
    })
}

/// Labels that both nodes and types have, and how many volumes they take.
fn machine_facts() -> impl Strategy<Value = (Option<&'static str>, Option<u32>, Option<u32>, u64)> {
    (
        select(vec![None, Some("ssd"), Some("hdd")]),
        prop::option::of(1..5u32),
        prop::option::of(0..3u32),
        select(vec![0, 0, 100]),
    )
}

fn any_node() -> impl Strategy<Value = Node> {
    let running = prop::collection::vec((any_running(), 0..2u32, any::<bool>()), 0..3);
    let place = (select(vec![None, Some("a"), Some("b")]), any::<bool>());
    let over = prop_oneof![9 => Just(0), 1 => Just(20_000u64)];
    (any_capacity(), machine_facts(), place, few_taints(), running, over).prop_map(
        |(capacity, (disk, generation, volumes, kept), (zone, pooled), taints, running, over)| {
            let allocatable = capacity.saturating_sub(&Resources::new(kept, 0));
            let mut node = Node::new("", allocatable).with_capacity(capacity);
            let generation = generation.map(|generation| generation.to_string());
            let labels = [
                (key::ZONE, zone.map(Into::into)),
                ("disk", disk.map(Into::into)),
                ("generation", generation),
                (key::NODE_POOL, pooled.then(|| "pool0".into())),
            ];
            for (key, value) in labels {
                if let Some(value) = value {
                    node = node.with_label(key, value);
                }
            }
            node.taints = taints;
            node.volume_limits.extend(volumes.map(|limit| ("d1".into(), limit)));
            node.used.cpu_milli = over;
            for (pod, gpu, daemon) in running {
                let devices = u32::try_from(pod.requests.gpu_milli.div_ceil(GPU_MILLI)).unwrap();
                let mut running = RunningPod::new(pod);
                running.gpus = (gpu..gpu + devices).collect();
                running.daemon = daemon;
                node = node.with_pod(running);
            }
            node
        },
    )
}

fn any_type() -> impl Strategy<Value = InstanceType> {
    let place = (
        select(vec!["a", "b", "c"]),
        select(vec![CapacityType::OnDemand, CapacityType::Spot, CapacityType::Reserved]),
    );
    let price = prop_oneof![19 => 1..1_000u64, 1 => Just(0)];
    let available = prop_oneof![4 => Just(None), 1 => (0..3u32).prop_map(Some)];
    let sold = prop::collection::btree_map(place, (price, available), 1..4);
    (any_capacity(), machine_facts(), sold).prop_map(
        |(capacity, (disk, generation, volumes, kept), sold)| {
            let allocatable = capacity.saturating_sub(&Resources::new(kept, 0));
            let mut it = InstanceType::new("", capacity).with_allocatable(allocatable);
            if let Some(disk) = disk {
                it = it.with_label("disk", disk);
            }
            if let Some(generation) = generation {
                it = it.with_label("generation", generation.to_string());
            }
            it.volume_limits.extend(volumes.map(|limit| ("d1".into(), limit)));
            for ((zone, how), (price, available)) in sold {
                let mut offering = Offering::new(zone, how, price * 1_000);
                offering.available = available;
                it.offerings.push(offering);
            }
            it
        },
    )
}

fn any_limits() -> impl Strategy<Value = PoolLimits> {
    let one = select(vec!["cpu", "memory", "gpu", "nodes", "x/widget"]);
    prop_oneof![
        3 => Just(PoolLimits::default()),
        1 => (one, 0..8u64).prop_map(|(what, most)| {
            let mut limits = PoolLimits::default();
            match what {
                "cpu" => limits.cpu_milli = Some(most * 2_000),
                "memory" => limits.memory_bytes = Some(most * 4 * GIB),
                "gpu" => limits.gpu_milli = Some(most * 500),
                "nodes" => limits.nodes = Some(most),
                extended => _ = limits.extended.insert(extended.into(), most),
            }
            limits
        }),
    ]
}

/// Without minimum values: the planner counts the types that are beside one whatever pods ask for,
/// so where pods' own requirements narrow them its plans may be refused.
fn any_pool() -> impl Strategy<Value = NodePool> {
    let label = prop_oneof![
        5 => Just(None),
        1 => Just(Some(("disk", "ssd"))),
        1 => Just(Some((key::ZONE, "b"))),
    ];
    (
        prop::collection::vec(any_requirement(), 0..2),
        few_taints(),
        select(vec![0, 0, 10]),
        any_limits(),
        select(vec![0, 0, 300]),
        (label, select(vec![0, 0, 100])),
    )
        .prop_map(|(requirements, taints, weight, limits, daemons, (label, lent))| {
            let mut pool = NodePool::new("").with_weight(weight);
            pool.labels.extend(label.map(|(key, value)| (key.into(), value.into())));
            if daemons > 0 {
                pool.daemon_overhead = Resources::new(daemons, daemons << 20).with_pods(1);
            }
            pool.best_effort_percent = lent;
            (pool.requirements, pool.taints, pool.limits) = (requirements, taints, limits);
            pool
        })
}

/// What a group is like, apart from its template.
type GroupFacts = ((u32, u32), i32, bool, Vec<Taint>);

/// The numbers of a type and of one of its offerings, and what the group is like.
fn any_group() -> impl Strategy<Value = (usize, usize, GroupFacts)> {
    let sizes = prop_oneof![
        3 => (Just(0), 0..4u32),
        1 => (0..3u32, 0..3u32).prop_map(|(min, more)| (min, min + more)),
    ];
    let facts = (sizes, select(vec![0, 0, 5, -5]), any::<bool>(), few_taints());
    (0..8usize, 0..8usize, facts)
}

/// Groups of types that are there.
fn groups(types: &[InstanceType], all: Vec<(usize, usize, GroupFacts)>) -> Vec<NodeGroup> {
    let known = all.into_iter().enumerate().filter(|_| !types.is_empty());
    let group = known.map(|(at, (it, offering, (sizes, priority, labelled, taints)))| {
        let it = &types[it % types.len()];
        let sold = &it.offerings[offering % it.offerings.len()];
        let group = NodeGroup::new(format!("g{at}"), it.name.clone(), sold.zone.clone());
        let group = group.with_capacity_type(sold.capacity_type).with_priority(priority);
        let mut group = group.with_sizes(sizes.0, sizes.1);
        if labelled && !it.labels.contains_key("disk") {
            group = group.with_label("disk", "ssd");
        }
        group.taints = taints;
        group
    });
    group.collect()
}

fn any_daemon() -> impl Strategy<Value = Pod> {
    let zone = prop::option::of(select(vec!["a", "b"]));
    (select(vec![100, 1_000]), zone, any::<bool>(), any::<bool>()).prop_map(
        |(cpu, zone, everywhere, port)| {
            let mut daemon = Pod::new("", Resources::new(cpu, 0));
            if let Some(zone) = zone {
                daemon = daemon.require(Requirement::is_in(key::ZONE, [zone]));
            }
            if everywhere {
                daemon = daemon.tolerate(Toleration::everything());
            }
            if port {
                daemon = daemon.with_host_port(binpack::HostPort::tcp(80));
            }
            daemon
        },
    )
}

/// A whole cluster with pods from this strategy.
pub(crate) fn any_input(pods: impl Strategy<Value = Vec<Pod>>) -> impl Strategy<Value = Input> {
    let nodes = prop::collection::vec(any_node(), 0..4);
    let types = prop::collection::vec(any_type(), 0..5);
    let pools = prop::collection::vec(any_pool(), 0..3);
    let daemons = prop::collection::vec(any_daemon(), 0..2);
    let few = prop_oneof![1 => Just(0..1), 1 => Just(0..4usize)];
    let grouped = few.prop_flat_map(|few| prop::collection::vec(any_group(), few));
    let members = prop::collection::vec(prop::option::of(0..3usize), 4);
    let grouped = (grouped, members);
    (pods, nodes, pools, types, daemons, grouped).prop_map(|all| {
        let (pods, nodes, pools, mut types, daemons, (grouped, members)) = all;
        let mut input = Input { pods, nodes, pools, daemons, ..Input::default() };
        types.iter_mut().enumerate().for_each(|(i, of)| of.name = format!("t{i}").into());
        input.node_groups = groups(&types, grouped);
        for (i, node) in input.nodes.iter_mut().enumerate() {
            node.name = format!("node{i}").into();
            let group = members[i].and_then(|group| input.node_groups.get(group));
            if let Some(group) = group {
                node.group = Some(group.name.clone());
                node.labels.remove(key::NODE_POOL);
            }
            for (r, running) in node.pods.iter_mut().enumerate() {
                running.pod.name = format!("run{i}-{r}").into();
            }
        }
        input.pools.iter_mut().enumerate().for_each(|(i, of)| of.name = format!("pool{i}").into());
        input.daemons.iter_mut().enumerate().for_each(|(i, of)| of.name = format!("ds{i}").into());
        input.instance_types = types.into();
        input
    })
}
