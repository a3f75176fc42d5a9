//! What the packer decides, case by case.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

mod fixture;

use binpack::{
    CapacityType, Config, Effect, Input, Node, NodePool, Offering, Plan, Pod, ReasonKind,
    Requirement, Resources, Taint, Target, key, plan,
};
use fixture::{GIB, answer, pods, question, types};

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

#[test]
fn labels_of_a_pool_don_t_make_a_machine_what_it_is_not() {
    let arm = Requirement::is_in(key::ARCH, ["arm64"]);
    let mut input =
        question(vec![Pod::new("arm", Resources::new(1_000, GIB)).require(arm)], vec![]);
    let [small, large] = types();
    let [x86, arm] =
        [large.with_label(key::ARCH, "amd64"), small.clone().with_label(key::ARCH, "arm64")];
    input.pools[0] = NodePool::new("p").with_label(key::ARCH, "arm64");
    input.instance_types = [x86.clone()].into();
    assert_eq!(answer(&input).unplaced.len(), 1, "an amd64 machine is not made arm64 by a label");
    input.instance_types = [x86, arm].into();
    assert_eq!(&*answer(&input).launches[0].instance_type, "small");
    input.instance_types = [small].into();
    assert_eq!(answer(&input).launches.len(), 1, "a type that says nothing takes the pool's word");

    let other_zone = Offering::new("zone-b", CapacityType::OnDemand, 300);
    let mut input = question(pods(1, &Resources::new(1_000, GIB)), vec![]);
    input.instance_types = types().map(|it| it.with_offering(other_zone.clone())).into();
    input.pools[0] = NodePool::new("p").with_label(key::ZONE, "zone-b");
    assert_eq!(&*answer(&input).launches[0].zone, "zone-b");
    for own in [key::INSTANCE_TYPE, key::CAPACITY_TYPE, key::NODE_POOL] {
        input.pools[0] = NodePool::new("p").with_label(own, "other");
        assert_eq!(answer(&input).unplaced.len(), 1, "{own}");
    }
}

#[test]
fn a_limit_that_is_exceeded_stops_only_what_adds_to_it() {
    let gpus = Node::new("n", Resources::new(100, 0).with_pods(9).with_gpu_milli(4_000))
        .with_label(key::NODE_POOL, "p");
    let mut input = question(pods(1, &Resources::new(1_000, GIB)), vec![gpus]);
    input.pools[0].limits.gpu_milli = Some(1_000);
    assert_eq!(answer(&input).launches.len(), 1);
    input.pools[0].limits.cpu_milli = Some(100);
    assert_eq!(answer(&input).unplaced[0].reason.kind, ReasonKind::Limits);
}

#[test]
fn daemons_count_in_every_dimension() {
    let mut input = question(pods(2, &Resources::new(1_000, GIB)), vec![]);
    input.pools[0].daemon_overhead = Resources::new(1, 0);
    let plan = answer(&input);
    assert_eq!(plan.launches.len(), 2, "with a daemon only one of them fits on the small machine");
    input.pools[0].daemon_overhead = Resources::default().with_pods(29);
    assert_eq!(&*answer(&input).launches[0].instance_type, "large");
    input.pools[0].daemon_overhead = Resources::default().with_extended("widget", 1);
    assert_eq!(answer(&input).unplaced.len(), 2, "no type has what the daemons need");
}

#[test]
fn absent_labels_satisfy_not_in_and_does_not_exist_alone() {
    let placed = |requirement: Requirement| {
        let pod = Pod::new("p", Resources::new(1_000, GIB)).require(requirement);
        answer(&question(vec![pod], vec![])).unplaced.is_empty()
    };
    assert!(placed(Requirement::not_in("disk", ["ssd"])));
    assert!(placed(Requirement::does_not_exist("disk")));
    assert!(!placed(Requirement::is_in("disk", [""])));
    assert!(!placed(Requirement::exists("disk")));
    assert!(!placed(Requirement::greater_than("disk", i64::MIN)));
    assert!(!placed(Requirement::less_than("disk", i64::MAX)));
    assert!(!placed(Requirement::does_not_exist(key::ZONE)), "a launch has its offering's zone");
}
