//! A scheduler follows pods and nodes that come and go, and stays as good as a plan made at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panic"
)]

mod model;
mod nodes;

use std::collections::BTreeMap;

use binpack::{
    CapacityType, Config, Fit, Input, InstanceType, LabelSelector, Node, NodePool, Offering, Pod,
    Resources, RunningPod, Scheduler, Target, TopologySpread, breaches, key, plan,
};
use proptest::prelude::*;

fn nodes(n: usize) -> Vec<Node> {
    let node = |i: usize| {
        let zone = ["a", "b", "c"][i % 3];
        Node::new(format!("n{i}"), Resources::new(4_000, 16 << 30).with_pods(10))
            .with_label(key::ZONE, zone)
    };
    (0..n).map(node).collect()
}

fn config(fit: Fit) -> Config {
    let mut config = Config::default();
    config.fit = fit;
    config
}

fn pod(name: &str, cpu: u64) -> Pod {
    Pod::new(name, Resources::new(cpu, 1 << 30))
}

#[test]
fn what_is_removed_makes_room_for_what_waits() {
    let input = Input { nodes: nodes(1), ..Input::default() };
    let mut scheduler = Scheduler::new(input, config(Fit::First)).unwrap();
    let done = scheduler.schedule(vec![pod("a", 3_000), pod("b", 3_000)]).unwrap();
    assert_eq!((done.bindings.len(), done.unplaced.len(), scheduler.waiting()), (1, 1, 1));
    assert!(scheduler.reschedule().unwrap().bindings.is_empty());
    assert_eq!(scheduler.remove(["a", "nobody"]), 1);
    assert_eq!(&*scheduler.reschedule().unwrap().bindings[0].pod, "b");
    assert_eq!(scheduler.waiting(), 0);
}

#[test]
fn names_and_gangs_are_checked_and_nothing_changes() {
    let running = nodes(1).remove(0).with_pod(RunningPod::new(pod("old", 100)));
    let input = Input { nodes: vec![running], ..Input::default() };
    let mut scheduler = Scheduler::new(input, Config::default()).unwrap();
    for wrong in [pod("old", 1), pod("x", 1).in_gang("nobody"), pod("", 1)] {
        assert!(scheduler.schedule(vec![pod("y", 100), wrong]).is_err());
        assert_eq!(scheduler.waiting(), 0);
    }
    assert_eq!(scheduler.schedule(vec![pod("y", 100)]).unwrap().bindings.len(), 1);
    assert!(scheduler.schedule(vec![pod("y", 100)]).is_err(), "it is there already");
    assert_eq!(scheduler.remove(["old"]), 0, "what ran before is not its own");
}

#[test]
fn constraints_that_are_new_see_what_was_placed_before() {
    let input = Input { nodes: nodes(3), ..Input::default() };
    let mut scheduler = Scheduler::new(input, config(Fit::First)).unwrap();
    let web = |name: &str| pod(name, 100).with_label("app", "web");
    scheduler.schedule(vec![web("w0"), web("w1")]).unwrap();
    let alone = pod("alone", 100).alone_among(LabelSelector::labels([("app", "web")]));
    let done = scheduler.schedule(vec![alone]).unwrap();
    assert_eq!(done.bindings[0].target, Target::Existing("n1".into()), "n0 has web pods");
    let next = scheduler.schedule(vec![web("w2")]).unwrap();
    assert_eq!(next.bindings[0].target, Target::Existing("n0".into()), "and n1 keeps them away");
}

#[test]
fn launches_are_numbered_through_and_have_room_for_later_pods() {
    let it = InstanceType::new("t", Resources::new(4_000, 16 << 30).with_pods(10))
        .with_offering(Offering::new("a", CapacityType::OnDemand, 100_000));
    let pools = vec![NodePool::new("p")];
    let input = Input { pools, instance_types: [it].into(), ..Input::default() };
    let mut scheduler = Scheduler::new(input, config(Fit::First)).unwrap();
    let first = scheduler.schedule(vec![pod("a", 3_000)]).unwrap();
    assert_eq!((first.launches.len(), first.launches[0].0), (1, 0));
    let second = scheduler.schedule(vec![pod("b", 3_000), pod("c", 1_000)]).unwrap();
    assert_eq!((second.launches.len(), second.launches[0].0), (1, 1));
    assert_eq!(second.bindings.len(), 2);
    let third = scheduler.schedule(vec![pod("d", 500)]).unwrap();
    assert!(third.launches.is_empty() && third.bindings.len() == 1);
}

#[derive(Debug, Clone)]
enum Change {
    Add(u64, bool),
    Remove(usize),
    Retry,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (1..30u64, any::<bool>()).prop_map(|(cpu, spread)| Change::Add(cpu * 100, spread)),
        2 => (0..20usize).prop_map(Change::Remove),
        1 => Just(Change::Retry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever comes and goes, what is placed keeps every rule, and nobody waits who would have a
    /// place.
    #[test]
    fn a_scheduler_keeps_the_rules(
        fit in prop_oneof![Just(Fit::First), Just(Fit::Best)],
        changes in prop::collection::vec(change(), 1..40),
    ) {
        let input = Input { nodes: nodes(6), ..Input::default() };
        let mut scheduler = Scheduler::new(input.clone(), config(fit)).unwrap();
        let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
        let mut placed: BTreeMap<String, binpack::Binding> = BTreeMap::new();
        for (i, change) in changes.into_iter().enumerate() {
            let done = match change {
                Change::Add(cpu, spread) => {
                    let mut pod = pod(&format!("p{i}"), cpu).with_label("app", "web");
                    if spread {
                        let web = LabelSelector::labels([("app", "web")]);
                        pod = pod.spread(TopologySpread::new(key::HOSTNAME, web, 1));
                    }
                    pods.insert(pod.name.to_string(), pod.clone());
                    scheduler.schedule(vec![pod]).unwrap()
                }
                Change::Remove(nth) => {
                    if let Some(name) = pods.keys().nth(nth).cloned() {
                        prop_assert_eq!(scheduler.remove([name.as_str()]), 1);
                        pods.remove(&name);
                        placed.remove(&name);
                    }
                    continue;
                }
                Change::Retry => scheduler.reschedule().unwrap(),
            };
            placed.extend(done.bindings.into_iter().map(|b| (b.pod.to_string(), b)));
            prop_assert_eq!(pods.len() - placed.len(), scheduler.waiting());
            // The same as a plan: what is bound, and the rest unplaced.
            let all = Input { pods: pods.values().cloned().collect(), ..input.clone() };
            let mut whole = plan(&Input::default(), &Config::default()).unwrap();
            whole.certificate = None;
            whole.bindings = placed.values().cloned().collect();
            let reason = || binpack::Reason::new(binpack::ReasonKind::Resources, "it waits");
            let waits = pods.keys().filter(|name| !placed.contains_key(*name));
            whole.unplaced = waits.map(|name| binpack::Unplaced::new(name.as_str(), reason())).collect();
            let found = breaches(&all, &whole);
            prop_assert!(found.is_empty(), "{:?}", found);
        }
    }
}
