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
    NodePool, Offering, Plan, Pod, PoolLimits, ReasonKind, Requirement, Resources, Rule, Taint,
    Target, Toleration, breaches, key, plan, validate,
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
    (any_capacity(), labels, prop::collection::vec(any_taint(), 0..2), used).prop_map(
        |(allocatable, (zone, arch, disk, pooled), taints, used)| {
            let mut node =
                Node::new("", allocatable).with_label(key::ZONE, zone).with_label(key::ARCH, arch);
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
    ];
    let taints = prop::collection::vec(any_taint(), 0..2);
    (
        prop::collection::vec(any_requirement(), 0..2),
        taints,
        0..2u32,
        limits,
        0..300u64,
        any::<bool>(),
    )
        .prop_map(|(requirements, taints, weight, limits, daemons, disk)| {
            let mut pool = NodePool::new("").with_weight(weight);
            if disk {
                pool = pool.with_label("disk", "pool");
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
        Input { pods, nodes, pools, instance_types: types.into() }
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

fn types() -> [InstanceType; 2] {
    let sold = |price| Offering::new("zone-a", CapacityType::OnDemand, price);
    [
        InstanceType::new("small", Resources::new(2_000, 8 * GIB).with_pods(29))
            .with_offering(sold(100)),
        InstanceType::new("large", Resources::new(16_000, 64 * GIB).with_pods(234))
            .with_offering(sold(700)),
    ]
}

fn question(pods: Vec<Pod>, nodes: Vec<Node>) -> Input {
    Input { pods, nodes, pools: vec![NodePool::new("p")], instance_types: types().into() }
}

fn answer(input: &Input) -> Plan {
    let plan = plan(input, &Config::default()).expect("well formed");
    validate(input, &plan).expect("valid");
    plan
}

fn pods(n: u32, requests: &Resources) -> Vec<Pod> {
    (0..n).map(|i| Pod::new(format!("p{i}"), requests.clone())).collect()
}

#[test]
fn nodes_that_exist_come_before_launches() {
    let node = Node::new("n", Resources::new(2_000, 8 * GIB).with_pods(10));
    let plan = answer(&question(pods(3, &Resources::new(1_000, GIB)), vec![node]));
    let existing =
        plan.bindings.iter().filter(|b| b.target == Target::Existing("n".into())).count();
    assert_eq!((existing, plan.launches.len(), plan.cost_per_hour_micros), (2, 1, 100));
}

#[test]
fn the_price_of_what_is_packed_decides_and_not_the_size() {
    let plan = answer(&question(pods(16, &Resources::new(1_000, GIB)), vec![]));
    assert_eq!(
        (plan.launches.len(), &*plan.launches[0].instance_type, plan.cost_per_hour_micros),
        (1, "large", 700)
    );
    let plan = answer(&question(pods(4, &Resources::new(1_000, GIB)), vec![]));
    assert_eq!(
        (plan.launches.len(), &*plan.launches[0].instance_type, plan.cost_per_hour_micros),
        (2, "small", 200)
    );
}

#[test]
fn shares_that_don_t_fit_one_gpu_go_to_two() {
    let share = |name: &str, milli| Pod::new(name, Resources::new(1, 1).with_gpu_milli(milli));
    let node = Node::new("n", Resources::new(8_000, GIB).with_pods(9).with_gpu_milli(1_000));
    let input = question(vec![share("a", 460), share("b", 600), share("c", 540)], vec![node]);
    let plan = answer(&input);
    let placed: Vec<&str> = plan.bindings.iter().map(|b| &*b.pod).collect();
    assert_eq!(
        (placed, plan.unplaced.len()),
        (vec!["b"], 2),
        "the largest share first, and no other beside it"
    );
}

#[test]
fn pods_of_higher_priority_get_what_is_scarce() {
    let node = Node::new("n", Resources::new(1_000, GIB).with_pods(1));
    let mut two = pods(2, &Resources::new(500, 1));
    two[1].priority = 5;
    let plan = answer(&Input { pods: two, nodes: vec![node], ..Input::default() });
    assert_eq!((&*plan.bindings[0].pod, &*plan.unplaced[0].pod), ("p1", "p0"));

    let mut four = pods(4, &Resources::new(2_000, 1));
    four[3].priority = 5;
    let mut input = question(four, vec![]);
    input.pools[0].limits.cpu_milli = Some(2_000);
    let plan = answer(&input);
    assert_eq!((plan.bindings.len(), &*plan.bindings[0].pod), (1, "p3"));
    assert!(plan.unplaced.iter().all(|unplaced| unplaced.reason.kind == ReasonKind::Limits));
}

#[test]
fn pools_of_higher_weight_are_used_first_and_overflow() {
    let mut input = question(pods(4, &Resources::new(2_000, GIB)), vec![]);
    input.pools.push(
        NodePool::new("heavy")
            .with_weight(10)
            .require(Requirement::is_in(key::INSTANCE_TYPE, ["small"])),
    );
    input.pools[1].limits.nodes = Some(3);
    let plan = answer(&input);
    let of = |name: &str| plan.launches.iter().filter(|launch| &*launch.pool == name).count();
    assert_eq!((of("heavy"), of("p"), plan.bindings.len()), (3, 1, 4));
}

#[test]
fn nodes_that_ask_to_stay_away_come_last() {
    let node = |name: &str| Node::new(name, Resources::new(1_000, GIB).with_pods(9));
    let shy = node("shy").with_taint(Taint::new("team", "x", Effect::PreferNoSchedule));
    let one = Input {
        pods: pods(1, &Resources::new(1_000, 1)),
        nodes: vec![shy, node("open")],
        ..Input::default()
    };
    assert_eq!(answer(&one).bindings[0].target, Target::Existing("open".into()));
    let two = Input { pods: pods(2, &Resources::new(1_000, 1)), ..one };
    assert_eq!(answer(&two).bindings.len(), 2);
}

#[test]
fn every_kind_of_reason_is_given_in_words() {
    let requests = || Resources::new(1_000, 1);
    let zone = |zone: &str| Requirement::is_in(key::ZONE, [zone]);
    let mut input = question(
        vec![
            Pod::new("torn", requests()).require(zone("zone-a")).require(zone("zone-b")),
            Pod::new("lost", requests()).require(zone("zone-z")),
            Pod::new("huge", Resources::new(17_000, 1)),
            Pod::new("gpu", Resources::new(1, 1).with_gpu_milli(2_000)),
            Pod::new("share", Resources::new(1, 1).with_gpu_milli(200)),
        ],
        vec![],
    );
    let said = |plan: &Plan| -> Vec<(ReasonKind, String)> {
        plan.unplaced.iter().map(|u| (u.reason.kind, u.reason.to_string())).collect()
    };
    let expected = [
        (
            ReasonKind::Contradiction,
            "its requirements on topology.kubernetes.io/zone contradict each other",
        ),
        (ReasonKind::Requirements, "satisfies its requirement on topology.kubernetes.io/zone"),
        (
            ReasonKind::Resources,
            "it needs cpu_milli 17000, and the largest that may be launched or is free has 16000",
        ),
        (ReasonKind::Resources, "it needs 2 whole GPUs"),
        (ReasonKind::Resources, "it needs 200 thousandths of one GPU"),
    ];
    for ((kind, words), (expected_kind, expected)) in
        said(&answer(&input)).into_iter().zip(expected)
    {
        assert_eq!(kind, expected_kind);
        assert!(words.contains(expected), "{words}");
    }
    input.pods = vec![Pod::new("shut-out", requests())];
    input.pools[0].taints.push(Taint::new("team", "x", Effect::NoSchedule));
    let tainted = said(&answer(&input));
    assert!(
        tainted[0].0 == ReasonKind::Taints && tainted[0].1.contains("team=x:NoSchedule"),
        "{tainted:?}"
    );
    input.pools.clear();
    assert!(said(&answer(&input))[0].1.contains("there is no node"));
}

#[test]
fn bad_input_is_an_error_and_no_plan() {
    let twice =
        question([pods(1, &Resources::default()), pods(1, &Resources::default())].concat(), vec![]);
    assert_eq!(
        plan(&twice, &Config::default()).unwrap_err().to_string(),
        "pod p0: name is given twice: rename one"
    );
}

/// Packs two machines of each kind, so that every rule has something to break.
fn valid() -> (Input, Plan) {
    let gpu_node =
        Node::new("gpu", Resources::new(8_000, 8 * GIB).with_pods(9).with_gpu_milli(2_000))
            .with_taint(Taint::new("gpu", "", Effect::NoSchedule))
            .with_label(key::ZONE, "zone-a");
    let share = Pod::new("share", Resources::new(100, 1).with_gpu_milli(600))
        .tolerate(Toleration::exists("gpu"));
    let zonal = Pod::new("zonal", Resources::new(1_500, GIB))
        .require(Requirement::is_in(key::ZONE, ["zone-a"]));
    let mut input =
        question(vec![share, zonal, Pod::new("huge", Resources::new(99_000, 1))], vec![gpu_node]);
    input.pools[0].limits.nodes = Some(3);
    let plan = answer(&input);
    assert_eq!((plan.bindings.len(), plan.launches.len(), plan.unplaced.len()), (2, 1, 1));
    (input, plan)
}

#[track_caller]
fn refused(rule: Rule, corrupt: impl FnOnce(&mut Input, &mut Plan)) {
    let (mut input, mut plan) = valid();
    corrupt(&mut input, &mut plan);
    let found = breaches(&input, &plan);
    assert!(found.iter().any(|breach| breach.rule == rule), "{rule:?} was broken, found {found:?}");
    assert!(validate(&input, &plan).is_err());
}

#[test]
fn the_validator_refuses_every_corruption() {
    refused(Rule::EveryPodOnce, |_, plan| plan.bindings.push(plan.bindings[0].clone()));
    refused(Rule::EveryPodOnce, |_, plan| drop(plan.unplaced.pop()));
    refused(Rule::EveryPodOnce, |_, plan| plan.bindings[0].pod = "stranger".into());
    refused(Rule::TargetExists, |_, plan| {
        plan.bindings[0].target = Target::Existing("nowhere".into());
    });
    refused(Rule::TargetExists, |_, plan| plan.bindings[1].target = Target::Launch(1));
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements[0] = Requirement::is_in(key::ZONE, ["zone-b"]);
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::exists("disk"));
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::does_not_exist(key::ZONE));
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::not_in(key::ZONE, ["zone-a"]));
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::greater_than("disk", 1));
    });
    refused(Rule::Taints, |input, _| input.pods[0].tolerations.clear());
    refused(Rule::Taints, |input, _| {
        input.nodes[0].taints.push(Taint::new("gone", "", Effect::NoExecute));
    });
    refused(Rule::Capacity, |input, _| input.pods[0].requests.cpu_milli = 8_001);
    refused(Rule::Capacity, |input, _| input.pods[1].requests.memory_bytes = 65 * GIB);
    refused(Rule::Capacity, |input, _| input.nodes[0].allocatable.pods = 0);
    refused(Rule::Capacity, |input, _| {
        input.pods[0].requests = Resources::default().with_extended("widget", 1);
    });
    refused(Rule::Gpus, |_, plan| plan.bindings[0].gpus.clear());
    refused(Rule::Gpus, |_, plan| plan.bindings[0].gpus = vec![2]);
    refused(Rule::Gpus, |_, plan| plan.bindings[0].gpus = vec![0, 1]);
    refused(Rule::Gpus, |input, plan| {
        input.nodes[0].gpu_used_milli = vec![460, 0];
        plan.bindings[0].gpus = vec![0];
    });
    refused(Rule::Gpus, |input, plan| {
        input.pods[0].requests.gpu_milli = 2_000;
        plan.bindings[0].gpus = vec![0, 0];
    });
}

#[test]
fn the_validator_refuses_every_corrupt_launch() {
    refused(Rule::Launch, |_, plan| plan.launches[0].pool = "stranger".into());
    refused(Rule::Launch, |_, plan| plan.launches[0].instance_type = "stranger".into());
    refused(Rule::Launch, |_, plan| plan.launches[0].zone = "zone-b".into());
    refused(Rule::Launch, |_, plan| plan.launches[0].capacity_type = CapacityType::Spot);
    refused(Rule::Launch, |_, plan| plan.launches[0].price_micros -= 1);
    refused(Rule::Launch, |_, plan| plan.launches[0].allocatable.cpu_milli += 1);
    refused(Rule::Launch, |_, plan| plan.launches[0].daemon_overhead.cpu_milli += 1);
    refused(Rule::Launch, |_, plan| {
        drop(plan.launches[0].labels.insert("disk".into(), "ssd".into()));
    });
    refused(Rule::Launch, |_, plan| {
        plan.launches[0].taints.push(Taint::new("x", "", Effect::NoSchedule));
    });
    refused(Rule::Launch, |input, _| input.pools[0].requirements.push(Requirement::exists("disk")));
    refused(Rule::Requested, |_, plan| plan.launches[0].requested.cpu_milli += 1);
    refused(Rule::Requested, |_, plan| plan.launches.push(plan.launches[0].clone()));
    refused(Rule::Limits, |input, _| input.pools[0].limits.nodes = Some(0));
    refused(Rule::Limits, |input, _| input.pools[0].limits.memory_bytes = Some(1));
    refused(Rule::Cost, |_, plan| plan.cost_per_hour_micros += 1);
}
