//! The rules by hand, and by the planner's validator.

use binpack::{
    Binding, CapacityType, InstanceType, LabelSelector, Node, NodePool, Offering, Plan,
    PodAffinityTerm, Resources, Target, TopologySpread, key, validate,
};

use super::*;
use crate::binpack::cluster::deployments;
use crate::binpack::karpenter;

fn pod(name: &str, cpu: u64) -> Pod {
    Pod::new(name, Resources::new(cpu, 1))
}

fn sold(name: &str, cpu: u64, price: u64, zones: &[&str]) -> InstanceType {
    zones
        .iter()
        .fold(InstanceType::new(name, Resources::new(cpu, 1 << 30).with_pods(100)), |it, zone| {
            it.with_offering(Offering::new(*zone, CapacityType::OnDemand, price))
        })
}

fn input(pods: Vec<Pod>, types: Vec<InstanceType>) -> Input {
    let pools = vec![NodePool::new("default")];
    Input { pods, pools, instance_types: types.into(), ..Input::default() }
}

/// By machine: its type, its zone and its pods.
fn named(input: &Input) -> Vec<(&str, &str, Vec<&str>)> {
    let packed = pack(input).unwrap();
    assert_eq!(packed.unplaced, 0);
    let named = packed.machines.into_iter().map(|machine| {
        let it = &input.instance_types[machine.instance_type];
        let pods = machine.pods.iter().map(|pod| &*input.pods[*pod].name).collect();
        (&*it.name, &*it.offerings[machine.offering].zone, pods)
    });
    named.collect()
}

#[test]
fn a_claim_grows_while_any_type_fits_whatever_it_costs() {
    let types = vec![sold("small", 1_000, 10, &["z"]), sold("large", 3_000, 1_000, &["z"])];
    let pods = vec![pod("a", 1_000), pod("b", 1_000), pod("c", 500), pod("d", 1_000)];
    let input = input(pods, types);
    assert_eq!(named(&input), [("large", "z", vec!["a", "b", "d"]), ("small", "z", vec!["c"])]);
    assert_eq!(pack(&input).unwrap().cost_micros(), 1_010);
}

#[test]
fn the_claim_with_the_fewest_pods_comes_first() {
    let apart = |name: &str, cpu| pod(name, cpu).with_label("app", "x");
    let alone =
        |name: &str, cpu| apart(name, cpu).alone_among(LabelSelector::labels([("app", "x")]));
    let pods = vec![alone("a", 900), alone("b", 800), pod("c", 700), pod("d", 600), pod("e", 500)];
    let input = input(pods, vec![sold("large", 10_000, 1, &["z"])]);
    // `a` is behind `b` since it had more pods, and stays there once they have as many.
    assert_eq!(
        named(&input),
        [("large", "z", vec!["a", "c"]), ("large", "z", vec!["b", "d", "e"])]
    );
}

#[test]
fn who_is_kept_off_by_others_keeps_off() {
    let loner = pod("loner", 100).alone_among(LabelSelector::labels([("app", "x")]));
    let pods = vec![loner, pod("x", 50).with_label("app", "x"), pod("y", 20)];
    let input = input(pods, vec![sold("large", 10_000, 1, &["z"])]);
    assert_eq!(named(&input), [("large", "z", vec!["loner", "y"]), ("large", "z", vec!["x"])]);
}

#[test]
fn zones_are_pinned_by_who_needs_them_in_the_order_of_names() {
    let spread = |name: &str, cpu| {
        let alike = LabelSelector::labels([("app", "x")]);
        pod(name, cpu).with_label("app", "x").spread(TopologySpread::new(key::ZONE, alike, 1))
    };
    let pods = vec![pod("free", 900), spread("a", 800), spread("b", 700), spread("c", 600)];
    let types = vec![sold("t", 2_000, 1, &["z2", "z1"]), sold("u", 5_000, 9, &["z1", "z2"])];
    // The free pod's machine is pinned by `a`; `b` must be in the other zone, `c` may be anywhere
    // and takes the machine with fewer pods.
    assert_eq!(
        named(&input(pods, types)),
        [("t", "z1", vec!["free", "a"]), ("t", "z2", vec!["b", "c"]),]
    );
}

#[test]
fn who_must_be_near_others_waits_for_them() {
    let near = pod("near", 900)
        .near(PodAffinityTerm::new(key::ZONE, LabelSelector::labels([("app", "x")])));
    let only_z2 = pod("x", 100).with_label("app", "x").spread(TopologySpread::new(
        key::ZONE,
        LabelSelector::labels([("app", "x")]),
        1,
    ));
    let found = input(vec![near.clone(), only_z2], vec![sold("t", 2_000, 1, &["z2"])]);
    assert_eq!(named(&found), [("t", "z2", vec!["x", "near"])]);
    let lonely = input(vec![near], vec![sold("t", 2_000, 1, &["z2"])]);
    assert_eq!(pack(&lonely).unwrap().unplaced, 1);
}

#[test]
fn limits_count_the_largest_that_a_claim_may_be() {
    let mut input = input(
        vec![pod("a", 900).with_label("app", "x").alone_among(LabelSelector::default()); 3],
        vec![sold("small", 1_000, 1, &["z"]), sold("large", 4_000, 4, &["z"])],
    );
    input.pools[0].limits.cpu_milli = Some(5_500);
    // 4,000 for the first, then 1,000 for a small one; 500 are left.
    let packed = pack(&input).unwrap();
    assert_eq!((packed.machines.len(), packed.unplaced), (2, 1));
}

#[test]
fn what_is_not_known_is_refused() {
    let host_port = binpack::HostPort::tcp(80);
    let refused = input(vec![pod("a", 1).with_host_port(host_port)], Vec::new());
    assert!(pack(&refused).unwrap_err().to_string().contains("pod a"));
    assert!(pack(&karpenter::preferring(1)).is_err());
}

/// What the rules come to, as a plan for the same pods on nodes that exist.
fn as_plan(input: &Input, packed: &Packed) -> (Input, Plan) {
    let mut on = Input { pods: input.pods.clone(), ..Input::default() };
    let mut bindings = vec![None; input.pods.len()];
    for (at, machine) in packed.machines.iter().enumerate() {
        let it = &input.instance_types[machine.instance_type];
        let name = format!("node-{at}");
        for pod in &machine.pods {
            let target = Target::Existing(name.as_str().into());
            bindings[*pod] = Some(Binding::new(input.pods[*pod].name.clone(), target, Vec::new()));
        }
        let zone = it.offerings[machine.offering].zone.clone();
        on.nodes.push(Node::new(name, it.allocatable.clone()).with_label(key::ZONE, zone));
    }
    let mut plan = Plan::default();
    plan.bindings = bindings.into_iter().flatten().collect();
    (on, plan)
}

#[test]
fn spread_and_anti_affinity_hold_where_they_were_followed() {
    let input = Input { pods: deployments(600), ..karpenter::diverse(0) };
    let packed = pack(&input).unwrap();
    assert_eq!(packed.unplaced, 0);
    let (on, mut plan) = as_plan(&input, &packed);
    validate(&on, &plan).unwrap();
    // The check can fail: all on one node is refused.
    for binding in &mut plan.bindings {
        binding.target = Target::Existing("node-0".into());
    }
    assert!(validate(&on, &plan).is_err());
}

#[test]
fn karpenters_benchmark_takes_a_node_for_each_pod_that_must_be_alone() {
    let packed = pack(&karpenter::diverse(500)).unwrap();
    assert_eq!((packed.machines.len(), packed.unplaced), (100, 0));
}
