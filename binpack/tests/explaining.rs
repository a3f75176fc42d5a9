//! Explanations name what is in the way, and the price of going without it.

#![allow(clippy::expect_used, reason = "a test may panic")]

use binpack::{
    CapacityType, Config, Constraint, Effect, Explanation, Input, InstanceType, LabelSelector,
    Node, NodeGroup, NodePool, Offering, Pod, PoolLimits, Requirement, Resources, RunningPod,
    Taint, explain, key, plan,
};

fn types() -> std::sync::Arc<[InstanceType]> {
    let it = |name: &str, cpu: u64, price| {
        InstanceType::new(name, Resources::new(cpu * 1_000, cpu << 32).with_pods(10))
            .with_offering(Offering::new("a", CapacityType::OnDemand, price))
    };
    [it("small", 2, 100_000), it("large", 8, 390_000)].into()
}

fn explained(input: &Input) -> Explanation {
    let config = Config::default();
    let plan = plan(input, &config).expect("the input is well formed");
    explain(input, &config, &plan).expect("the plan is one for this input")
}

fn pod(name: &str) -> Pod {
    Pod::new(name, Resources::new(1_000, 1 << 30))
}

fn with_pods(pods: Vec<Pod>) -> Input {
    let pools = vec![NodePool::new("p")];
    Input { pods, pools, instance_types: types(), ..Input::default() }
}

#[test]
fn the_one_constraint_in_the_way_is_found_with_its_price() {
    let stuck = pod("x").require(Requirement::is_in(key::ZONE, ["nowhere"]));
    let why = explained(&with_pods(vec![stuck]));
    let remedy = why.stuck[0].cheapest.as_ref().unwrap();
    assert_eq!(remedy.constraints, [Constraint::Requirement(key::ZONE.into())]);
    assert_eq!(remedy.price_micros, 100_000);
    assert!(why.to_string().contains("without its requirement on topology.kubernetes.io/zone"));
}

#[test]
fn of_two_ways_the_cheaper_is_named() {
    // Without the request of CPU it fits on the small type, without the taint on the node for nothing.
    let mut input = with_pods(vec![Pod::new("x", Resources::new(9_000, 1 << 30))]);
    let node = Node::new("n", Resources::new(16_000, 64 << 30).with_pods(10));
    input.nodes.push(node.with_taint(Taint::new("gpu", "", Effect::NoSchedule)));
    let why = explained(&input);
    let remedy = why.stuck[0].cheapest.as_ref().unwrap();
    assert_eq!(
        (remedy.constraints.as_slice(), remedy.price_micros),
        (&[Constraint::Taints][..], 0)
    );
}

#[test]
fn where_one_is_not_enough_two_are_found() {
    let stuck = pod("x")
        .require(Requirement::is_in(key::ZONE, ["nowhere"]))
        .require(Requirement::is_in("disk", ["ssd"]));
    let why = explained(&with_pods(vec![stuck]));
    assert_eq!(why.stuck[0].cheapest, None);
    let fewest = why.stuck[0].fewest.as_ref().unwrap();
    assert_eq!(
        fewest.constraints,
        [Constraint::Requirement("disk".into()), Constraint::Requirement(key::ZONE.into())]
    );
}

#[test]
fn limits_and_other_pods_are_constraints_too_and_equal_pods_are_told_once() {
    let mut input = with_pods((0..5).map(|i| pod(&format!("x{i}"))).collect());
    let mut limits = PoolLimits::default();
    limits.nodes = Some(0);
    input.pools[0].limits = limits;
    let why = explained(&input);
    assert_eq!((why.stuck.len(), why.stuck[0].pods), (1, 5));
    assert_eq!(why.stuck[0].cheapest.as_ref().unwrap().constraints, [Constraint::PoolLimits]);

    let web = LabelSelector::labels([("app", "web")]);
    let alone = |i| pod(&format!("w{i}")).with_label("app", "web").alone_among(web.clone());
    let node = Node::new("n", Resources::new(8_000, 32 << 30).with_pods(10));
    let input = Input { pods: (0..2).map(alone).collect(), nodes: vec![node], ..Input::default() };
    let why = explained(&input);
    // Each keeps the other away: it has to stop asking, and to stop being meant.
    assert_eq!(why.stuck[0].cheapest, None);
    let apart = Constraint::PodAntiAffinity(key::HOSTNAME.into());
    let fewest = why.stuck[0].fewest.as_ref().unwrap();
    assert_eq!(
        (&fewest.constraints[..], fewest.price_micros),
        (&[apart, Constraint::Labels][..], 0)
    );
}

#[test]
fn the_greatest_size_of_a_group_is_a_constraint_with_a_price() {
    let mut input = with_pods((0..3).map(|i| pod(&format!("x{i}"))).collect());
    let it = input.instance_types[0].clone();
    let (name, sold) = (it.name.clone(), it.offerings[0].clone());
    let group = NodeGroup::new("workers", name, sold.zone).with_capacity_type(sold.capacity_type);
    input.pools.clear();
    input.node_groups = vec![group.with_sizes(0, 0)];
    let why = explained(&input);
    let stuck = &why.stuck[0];
    assert!(stuck.reason.message.contains("group workers, whose size is 0 at a max_size of 0"));
    let cheapest = stuck.cheapest.as_ref().unwrap();
    assert_eq!(cheapest.constraints, [Constraint::PoolLimits]);
    assert_eq!(cheapest.price_micros, sold.price_micros);
    input.node_groups[0].max_size = 3;
    let why = explained(&input);
    assert_eq!(why.launches[0].group.as_deref(), Some("workers"));
    assert!(why.to_string().contains("its node group has no other type"));
}

#[test]
fn a_launch_says_what_fills_it_and_what_would_be_next() {
    let why = explained(&with_pods(vec![pod("x"), pod("y")]));
    let launch = &why.launches[0];
    assert_eq!((&*launch.instance_type, launch.fullest.1), ("small", 100));
    assert_eq!(launch.next, Some(("large".into(), 390_000)));
    assert!(why.to_string().contains("the next that holds the same pods is large at 0.3900"));
}

#[test]
fn a_pod_behind_those_of_lower_priority_says_that_they_could_go() {
    let runs = |priority| RunningPod::new(pod("old").with_priority(priority));
    let input = |priority| {
        let node = Node::new("n", Resources::new(1_000, 2 << 30).with_pods(10));
        let nodes = vec![node.with_pod(runs(priority))];
        Input { pods: vec![pod("high").with_priority(5)], nodes, ..Input::default() }
    };
    let why = explained(&input(4));
    assert!(why.stuck[0].behind_lower, "{why}");
    assert!(why.to_string().contains("allow preemption"), "{why}");
    assert!(!explained(&input(5)).stuck[0].behind_lower);
    let mut shy = input(4);
    shy.pods[0] = shy.pods[0].clone().preempting_nobody();
    assert!(!explained(&shy).stuck[0].behind_lower);
}
