//! Gangs come together in one domain, or not at all.

#![allow(clippy::expect_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use binpack::{
    CapacityType, Config, Gang, Input, InstanceType, Node, NodePool, Offering, Plan, Pod,
    ReasonKind, Resources, RunningPod, Target, breaches, key, plan,
};
use proptest::prelude::*;

const RACK: &str = "rack";

fn node(name: &str, rack: &str, cpu: u64) -> Node {
    Node::new(name, Resources::new(cpu * 1_000, 64 << 30).with_pods(20)).with_label(RACK, rack)
}

fn members(gang: &str, n: usize, cpu: u64) -> impl Iterator<Item = Pod> {
    let gang = gang.to_owned();
    (0..n).map(move |i| {
        Pod::new(format!("{gang}-{i}"), Resources::new(cpu * 1_000, 1 << 30)).in_gang(&*gang)
    })
}

fn planned(input: &Input) -> Plan {
    let plan = plan(input, &Config::default()).expect("the input is well formed");
    let found = breaches(input, &plan);
    assert!(found.is_empty(), "{found:?}");
    plan
}

fn racks_of(input: &Input, plan: &Plan, gang: &str) -> BTreeSet<String> {
    let racks: BTreeMap<_, _> =
        input.nodes.iter().map(|node| (&node.name, node.labels[RACK].to_string())).collect();
    let own = plan.bindings.iter().filter(|binding| binding.pod.starts_with(&format!("{gang}-")));
    own.map(|binding| match &binding.target {
        Target::Existing(name) => racks[name].clone(),
        Target::Launch(_) => "launched".into(),
    })
    .collect()
}

#[test]
fn a_gang_gets_the_rack_that_holds_all_of_it() {
    let nodes =
        vec![node("a1", "a", 4), node("a2", "a", 2), node("b1", "b", 4), node("b2", "b", 4)];
    let gangs = vec![Gang::new("train", 8).within(RACK)];
    let input = Input { pods: members("train", 8, 1).collect(), nodes, gangs, ..Input::default() };
    let plan = planned(&input);
    assert_eq!(plan.bindings.len(), 8);
    assert_eq!(racks_of(&input, &plan, "train"), BTreeSet::from(["b".into()]));
}

#[test]
fn a_gang_that_fits_nowhere_as_a_whole_waits_and_takes_no_room() {
    let nodes = vec![node("a1", "a", 4), node("b1", "b", 4)];
    let gangs = vec![Gang::new("train", 6).within(RACK)];
    let mut pods: Vec<Pod> = members("train", 6, 1).map(|pod| pod.with_priority(9)).collect();
    pods.extend((0..8).map(|i| Pod::new(format!("web-{i}"), Resources::new(1_000, 1 << 30))));
    let input = Input { pods, nodes, gangs, ..Input::default() };
    let plan = planned(&input);
    assert_eq!(plan.unplaced.len(), 6);
    assert!(plan.unplaced.iter().all(|of| of.reason.kind == ReasonKind::Gang), "{plan:?}");
    assert_eq!(plan.bindings.len(), 8, "its room is left to others");
}

#[test]
fn a_gang_without_a_topology_may_go_anywhere_and_still_not_in_part() {
    let nodes = vec![node("a1", "a", 4), node("b1", "b", 4)];
    let of = |min| {
        let gangs = vec![Gang::new("train", min)];
        let pods = members("train", 10, 1).collect();
        planned(&Input { pods, nodes: nodes.clone(), gangs, ..Input::default() }).bindings.len()
    };
    assert_eq!(of(8), 8, "more than the least get a place if they can");
    assert_eq!(of(9), 0);
}

#[test]
fn nodes_that_exist_and_launches_of_one_zone_hold_a_gang_together() {
    let sold = |zone: &str, price| Offering::new(zone, CapacityType::OnDemand, price);
    let it = InstanceType::new("t", Resources::new(4_000, 16 << 30).with_pods(20))
        .with_offering(sold("z1", 100_000))
        .with_offering(sold("z2", 110_000));
    let exists = Node::new("n", Resources::new(2_000, 16 << 30).with_pods(20));
    let input = Input {
        pods: members("train", 6, 1).collect(),
        nodes: vec![exists.with_label(key::ZONE, "z2")],
        pools: vec![NodePool::new("p")],
        instance_types: [it].into(),
        gangs: vec![Gang::new("train", 6).within(key::ZONE)],
        ..Input::default()
    };
    let plan = planned(&input);
    assert_eq!((plan.bindings.len(), plan.unplaced.len()), (6, 0));
    let zones: BTreeSet<_> = plan.launches.iter().map(|launch| launch.zone.clone()).collect();
    let on_existing = plan.bindings.iter().any(|b| matches!(b.target, Target::Existing(_)));
    assert!(zones.len() == 1 && (!on_existing || zones.contains("z2")), "{zones:?}");
}

#[test]
fn members_that_run_count_and_keep_the_others_with_them() {
    let mut home = node("a1", "a", 4);
    home = home.with_pod(RunningPod::new(members("train", 1, 1).next().unwrap()));
    let nodes = vec![node("b1", "b", 8), home, node("a2", "a", 2)];
    let gangs = vec![Gang::new("train", 4).within(RACK)];
    let pods = members("train", 5, 1).skip(1).collect();
    let input = Input { pods, nodes, gangs, ..Input::default() };
    let plan = planned(&input);
    assert_eq!(racks_of(&input, &plan, "train"), BTreeSet::from(["a".into()]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_gang_comes_in_part(
        nodes in prop::collection::vec((0..3usize, 1..6u64), 1..12),
        gangs in prop::collection::vec((1..6u32, 1..6usize, 1..4u64, any::<bool>(), any::<bool>()), 1..6),
    ) {
        let name = |i: usize| format!("n{i}");
        let nodes = nodes.iter().enumerate()
            .map(|(i, (rack, cpu))| node(&name(i), ["a", "b", "c"][*rack], *cpu)).collect();
        let mut input = Input { nodes, ..Input::default() };
        for (i, (min, n, cpu, bound, required)) in gangs.iter().enumerate() {
            let mut gang = Gang::new(format!("g{i}"), *min);
            if *bound {
                gang = gang.within(RACK);
                gang.topology_required = *required;
            }
            input.pods.extend(members(&gang.name, *n, *cpu));
            input.gangs.push(gang);
        }
        let plan = planned(&input);
        for gang in &input.gangs {
            let prefix = format!("{}-", gang.name);
            let bound = plan.bindings.iter().filter(|b| b.pod.starts_with(&prefix)).count();
            prop_assert!(bound == 0 || bound >= gang.min_member as usize);
            if gang.topology_required {
                prop_assert!(racks_of(&input, &plan, &gang.name).len() <= 1);
            }
        }
    }
}
