//! The packer on whole generated clusters: every plan passes the validator, and leaves nothing
//! waiting that has a place.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

use binpack::{
    Binding, CapacityType, Config, Effect, Fit, GPU_MILLI, Input, InstanceType, Launch, Node,
    NodePool, Offering, Plan, Pod, PoolLimits, ReasonKind, Requirement, Resources, Taint, Target,
    Toleration, breaches, key, plan,
};
use proptest::prelude::*;
use proptest::sample::select;

const GIB: u64 = 1 << 30;

fn any_requirement() -> impl Strategy<Value = Requirement> {
    let zone = || select(vec!["zone-a", "zone-b", "zone-c"]);
    prop_oneof![
        zone().prop_map(|z| Requirement::is_in(key::ZONE, [z])),
        zone().prop_map(|z| Requirement::not_in(key::ZONE, [z])),
        select(vec!["amd64", "arm64"]).prop_map(|arch| Requirement::is_in(key::ARCH, [arch])),
        Just(Requirement::exists("disk")),
        Just(Requirement::does_not_exist("disk")),
        (0..9i64).prop_map(|n| Requirement::greater_than("generation", n)),
        (0..9i64).prop_map(|n| Requirement::less_than("generation", n)),
        Just(Requirement::is_in(key::CAPACITY_TYPE, ["spot"])),
    ]
}

fn any_taint() -> impl Strategy<Value = Taint> {
    let effect = select(vec![Effect::NoSchedule, Effect::PreferNoSchedule, Effect::NoExecute]);
    (select(vec!["gpu", "team"]), select(vec!["", "x"]), effect)
        .prop_map(|(k, v, effect)| Taint::new(k, v, effect))
}

fn any_toleration() -> impl Strategy<Value = Toleration> {
    prop_oneof![
        select(vec!["gpu", "team"]).prop_map(Toleration::exists),
        (select(vec!["gpu", "team"]), select(vec!["", "x"]))
            .prop_map(|(k, v)| Toleration::equal(k, v)),
        Just(Toleration::everything().for_effect(Effect::NoSchedule)),
        Just(Toleration::everything()),
    ]
}

fn any_requests() -> impl Strategy<Value = Resources> {
    let gpu = prop_oneof![
        6 => Just(0),
        3 => select(vec![200, 333, 460, 500, 600, 999]),
        2 => (1..4u64).prop_map(|n| n * GPU_MILLI),
    ];
    (select(vec![0, 100, 250, 1_000, 3_100, 9_000]), 0..9u64, gpu, 0..2u64, 0..20u64).prop_map(
        |(cpu, gib, gpu, widgets, disk)| {
            let requests =
                Resources::new(cpu, gib * GIB).with_gpu_milli(gpu).with_ephemeral_bytes(disk * GIB);
            requests.with_extended("widget", widgets)
        },
    )
}

fn any_pods() -> impl Strategy<Value = Vec<Pod>> {
    let constraints = (
        prop::collection::vec(any_requirement(), 0..3),
        prop::collection::vec(any_toleration(), 0..2),
        0..3i32,
    );
    let deployment = (any_requests(), constraints, 1..12usize);
    prop::collection::vec(deployment, 0..8).prop_map(|deployments| {
        let mut pods = Vec::new();
        for (d, (requests, (requirements, tolerations, priority), replicas)) in
            deployments.into_iter().enumerate()
        {
            for r in 0..replicas {
                let mut pod =
                    Pod::new(format!("d{d}-{r}"), requests.clone()).with_priority(priority);
                pod.requirements.clone_from(&requirements);
                pod.tolerations.clone_from(&tolerations);
                pods.push(pod);
            }
        }
        pods
    })
}

fn any_capacity() -> impl Strategy<Value = Resources> {
    (1..17u64, 1..40u64, 1..20u64, select(vec![0, 0, 1, 2, 4]), 0..4u64).prop_map(
        |(cores, gib, pods, gpus, widgets)| {
            let fixed = Resources::new(cores * 1_000, gib * GIB)
                .with_pods(pods)
                .with_ephemeral_bytes(100 * GIB);
            fixed.with_gpu_milli(gpus * GPU_MILLI).with_extended("widget", widgets)
        },
    )
}

fn any_node() -> impl Strategy<Value = Node> {
    let used = prop::collection::vec((any_requests(), 0..4u32), 0..4);
    let labels = (
        select(vec!["zone-a", "zone-b"]),
        select(vec!["amd64", "arm64"]),
        any::<bool>(),
        any::<bool>(),
    );
    let over = select(vec![0, 0, 0, 20_000]);
    let sizes = (any_capacity(), 0..500u64);
    (sizes, labels, prop::collection::vec(any_taint(), 0..2), used, over).prop_map(
        |((capacity, kept), (zone, arch, disk, pooled), taints, used, over)| {
            let allocatable = capacity.saturating_sub(&Resources::new(kept, kept << 20));
            let mut node = Node::new("", allocatable)
                .with_capacity(capacity)
                .with_label(key::ZONE, zone)
                .with_label(key::ARCH, arch);
            if disk {
                node = node.with_label("disk", "ssd");
            }
            if pooled {
                node = node.with_label(key::NODE_POOL, "pool-0");
            }
            node.taints = taints;
            for (requests, gpu) in used {
                let devices = u32::try_from(requests.gpu_milli.div_ceil(GPU_MILLI)).expect("few");
                let gpus: Vec<u32> = (gpu..gpu + devices).collect();
                node.take(&requests, &gpus);
            }
            // More may be used than there is, as after a machine's allocatable has shrunk.
            node.used.cpu_milli += over;
            node
        },
    )
}

fn any_type() -> impl Strategy<Value = InstanceType> {
    let sold = prop::collection::btree_map(
        (
            select(vec!["zone-a", "zone-b", "zone-c"]),
            select(vec![CapacityType::OnDemand, CapacityType::Spot]),
        ),
        1..1_000_000u64,
        1..4,
    );
    (any_capacity(), select(vec!["amd64", "arm64"]), 1..9u64, any::<bool>(), sold, 0..500u64)
        .prop_map(|(capacity, arch, generation, disk, sold, kept)| {
            let overhead = Resources::new(kept, kept << 20);
            let allocatable = capacity.saturating_sub(&overhead);
            let mut it = InstanceType::new("", capacity)
                .with_allocatable(allocatable)
                .with_label(key::ARCH, arch);
            it = it.with_label("generation", generation.to_string());
            if disk {
                it = it.with_label("disk", "nvme");
            }
            let offerings =
                sold.into_iter().map(|((zone, how), price)| Offering::new(zone, how, price));
            it.offerings = offerings.collect();
            it
        })
}

fn any_pool() -> impl Strategy<Value = NodePool> {
    let limits = prop_oneof![
        3 => Just(PoolLimits::default()),
        1 => (0..40_000u64, 0..4u64).prop_map(|(cpu, nodes)| {
            let mut limits = PoolLimits::default();
            limits.cpu_milli = Some(cpu);
            limits.nodes = Some(nodes);
            limits
        }),
        1 => (0..60 * GIB, 0..4_000u64).prop_map(|(memory, gpu)| {
            let mut limits = PoolLimits::default();
            limits.memory_bytes = Some(memory);
            limits.gpu_milli = Some(gpu);
            limits
        }),
    ];
    let taints = prop::collection::vec(any_taint(), 0..2);
    (
        prop::collection::vec(any_requirement(), 0..2),
        taints,
        0..2u32,
        limits,
        0..300u64,
        select(vec![
            None,
            Some(("disk", "pool")),
            Some(("disk", "nvme")),
            Some((key::ZONE, "zone-b")),
        ]),
    )
        .prop_map(|(requirements, taints, weight, limits, daemons, label)| {
            let mut pool = NodePool::new("").with_weight(weight);
            if let Some((key, value)) = label {
                pool = pool.with_label(key, value);
            }
            pool.daemon_overhead = Resources::new(daemons, daemons << 20).with_pods(1);
            (pool.requirements, pool.taints, pool.limits) = (requirements, taints, limits);
            pool
        })
}

fn any_input() -> impl Strategy<Value = Input> {
    let nodes = prop::collection::vec(any_node(), 0..8);
    let types = prop::collection::vec(any_type(), 0..8);
    let pools = prop::collection::vec(any_pool(), 0..3);
    (any_pods(), nodes, pools, types).prop_map(|(pods, mut nodes, mut pools, mut types)| {
        nodes.iter_mut().enumerate().for_each(|(i, node)| node.name = format!("node-{i}").into());
        pools.iter_mut().enumerate().for_each(|(i, pool)| pool.name = format!("pool-{i}").into());
        types.iter_mut().enumerate().for_each(|(i, it)| it.name = format!("type-{i}").into());
        Input { pods, nodes, pools, instance_types: types.into(), ..Input::default() }
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    (select(vec![Fit::First, Fit::Best]), 1..5u32).prop_map(|(fit, rounds)| {
        let mut config = Config::default();
        (config.fit, config.packing_rounds) = (fit, rounds);
        config
    })
}

/// The nodes as they are once the plan is carried out, the launches as nodes at the end.
fn after(input: &Input, plan: &Plan) -> Vec<Node> {
    let mut nodes = input.nodes.clone();
    nodes.extend(
        plan.launches
            .iter()
            .enumerate()
            .map(|(i, launch): (usize, &Launch)| launch.node(format!("new-{i}"))),
    );
    for binding in &plan.bindings {
        let at = match &binding.target {
            Target::Existing(name) => nodes.iter().position(|node| node.name == *name),
            Target::Launch(index) => Some(input.nodes.len() + index),
        };
        let pod = input.pods.iter().find(|pod| pod.name == binding.pod).expect("validated");
        assert!(nodes[at.expect("validated")].take(&pod.requests, &binding.gpus), "validated");
    }
    nodes
}

/// Whether the pod could still be bound to the node, by the validator's word.
fn could_go(pod: &Pod, node: &Node) -> bool {
    let free = |gpu: &u32| node.gpu_used_milli.get(*gpu as usize).copied().unwrap_or(0);
    let devices = u32::try_from(node.allocatable.gpu_milli / GPU_MILLI).expect("few");
    let mut by_use: Vec<u32> = (0..devices).collect();
    by_use.sort_by_key(free);
    by_use.truncate(usize::try_from(pod.requests.gpu_milli.div_ceil(GPU_MILLI)).expect("few"));
    let input = Input { pods: vec![pod.clone()], nodes: vec![node.clone()], ..Input::default() };
    let mut plan = Plan::default();
    plan.bindings.push(Binding::new(pod.name.clone(), Target::Existing(node.name.clone()), by_use));
    breaches(&input, &plan).is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_valid_and_leaves_no_pod_that_fits(input in any_input(), config in any_config()) {
        let plan = plan(&input, &config).expect("the input is well formed");
        prop_assert_eq!(breaches(&input, &plan), vec![]);
        let nodes = after(&input, &plan);
        let limited = input.pools.iter().any(|pool| pool.limits != PoolLimits::default());
        for unplaced in &plan.unplaced {
            let pod = input.pods.iter().find(|pod| pod.name == unplaced.pod).expect("validated");
            for node in &nodes {
                prop_assert!(!could_go(pod, node), "{} has room on {}: {}", pod.name, node.name, unplaced.reason);
            }
            prop_assert!(!unplaced.reason.message.is_empty());
            prop_assert!(limited || unplaced.reason.kind != ReasonKind::Limits);
            let alone = Input { pods: vec![pod.clone()], nodes: vec![], ..input.clone() };
            let alone = self::plan(&alone, &config).expect("the input is well formed");
            prop_assert!(limited || alone.bindings.is_empty(), "{} could be launched for", pod.name);
        }
    }

    #[test]
    fn the_same_question_gets_the_same_answer(input in any_input(), config in any_config()) {
        prop_assert_eq!(plan(&input, &config).unwrap(), plan(&input.clone(), &config.clone()).unwrap());
    }

    #[test]
    fn what_is_carried_out_needs_no_further_plan(input in any_input(), config in any_config()) {
        let first = plan(&input, &config).expect("the input is well formed");
        let left = |pod: &&Pod| first.unplaced.iter().any(|unplaced| unplaced.pod == pod.name);
        let pods = input.pods.iter().filter(left).cloned().collect();
        let next = Input { pods, nodes: after(&input, &first), ..input.clone() };
        let second = plan(&next, &config).expect("what a plan makes is well formed");
        prop_assert!(second.bindings.is_empty() && second.launches.is_empty(), "{:?}", second);
    }
}
