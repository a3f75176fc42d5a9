//! Groups of nodes: their templates and their sizes.

use binpack::{
    CapacityType, Config, Effect, Input, Launch, Node, NodeGroup, Offering, Plan, Resources, Rule,
    Taint, breaches, key, plan,
};

use crate::case::{pod, sold};

/// A group of at least one and at most two machines, which has one node, and a plan that launches
/// the other one for a pod.
fn valid() -> (Input, Plan) {
    let group = NodeGroup::new("g", "m", "a").with_sizes(1, 2).with_label("team", "x");
    let full = Resources::new(1_000, 1 << 20).with_pods(1);
    let mut node = Node::new("n", full.clone()).with_group("g");
    node.used = full;
    let input = Input {
        pods: vec![pod("p")],
        nodes: vec![node],
        node_groups: vec![group.with_taint(Taint::new("soft", "", Effect::PreferNoSchedule))],
        instance_types: [sold("m", 4_000, 100, &["a", "b"])].into(),
        ..Input::default()
    };
    let plan = plan(&input, &Config::default()).expect("well formed");
    assert_eq!((plan.launches.len(), plan.bindings.len()), (1, 1));
    (input, plan)
}

#[track_caller]
fn breaks(rules: &[Rule], change: impl FnOnce(&mut Input, &mut Plan)) {
    let (mut input, mut plan) = valid();
    assert_eq!(breaches(&input, &plan), vec![]);
    change(&mut input, &mut plan);
    let found = breaches(&input, &plan);
    let broken: Vec<Rule> = found.iter().map(|breach| breach.rule).collect();
    assert_eq!(broken, rules, "{found:#?}");
}

fn resize(input: &mut Input, min: u32, max: u32) {
    let group = &mut input.node_groups[0];
    (group.min_size, group.max_size) = (min, max);
}

fn idle(plan: &Plan) -> Launch {
    let mut idle = plan.launches[0].clone();
    idle.requested = idle.daemon_overhead.clone();
    idle
}

fn add(plan: &mut Plan, launch: Launch) {
    plan.cost_per_hour_micros += launch.price_micros;
    plan.launches.push(launch);
}

#[test]
fn more_nodes_than_a_group_may_have_are_refused() {
    breaks(&[Rule::GroupSize], |input, _| resize(input, 1, 1));
    breaks(&[Rule::GroupSize], |input, _| resize(input, 0, 0));
    breaks(&[Rule::Requested, Rule::GroupSize], |_, plan| {
        let idle = idle(plan);
        add(plan, idle);
    });
    breaks(&[], |input, plan| {
        let two = [input.pods[0].clone(), pod("q")];
        input.pods = two.to_vec();
        resize(input, 0, 3);
        *plan = binpack::plan(input, &Config::default()).expect("well formed");
    });
}

#[test]
fn fewer_nodes_than_a_group_must_have_are_refused() {
    breaks(&[Rule::GroupSize], |input, _| resize(input, 3, 3));
    // Where no more can be had, it is not the plan's doing.
    breaks(&[], |input, _| {
        resize(input, 3, 3);
        let mut it = input.instance_types[0].clone();
        it.offerings[0] = Offering::new("a", CapacityType::OnDemand, 100).with_available(1);
        input.instance_types = [it].into();
    });
}

#[test]
fn a_node_without_pods_needs_a_least_size() {
    let more = |min| {
        move |input: &mut Input, plan: &mut Plan| {
            resize(input, min, 5);
            let idle = idle(plan);
            add(plan, idle);
        }
    };
    breaks(&[], more(3));
    breaks(&[Rule::Requested], more(2));
    breaks(&[Rule::Requested], |_, plan| plan.launches[0].requested.cpu_milli += 1);
}

#[test]
fn a_machine_that_is_not_the_groups_is_refused() {
    breaks(&[Rule::Launch], |_, plan| plan.launches[0].zone = "b".into());
    breaks(&[Rule::Launch], |_, plan| plan.launches[0].capacity.cpu_milli += 1);
    breaks(&[Rule::Launch], |_, plan| plan.launches[0].taints.clear());
    breaks(&[Rule::Launch], |_, plan| drop(plan.launches[0].labels.remove("team")));
    breaks(&[Rule::Launch], |_, plan| {
        drop(plan.launches[0].labels.insert(key::NODE_POOL.into(), "g".into()));
    });
    breaks(&[Rule::Launch], |_, plan| plan.launches[0].pool = "other".into());
    breaks(&[Rule::Launch], |_, plan| plan.launches[0].group = None);
    breaks(&[Rule::Launch, Rule::GroupSize], |input, _| {
        input.node_groups[0].instance_type = "n".into();
        resize(input, 0, 1);
    });
    breaks(&[Rule::Alternatives], |input, plan| {
        let other = sold("n", 8_000, 300, &["a"]);
        input.instance_types = [input.instance_types[0].clone(), other].into();
        plan.launches[0].alternatives = vec!["n".into()];
    });
}
