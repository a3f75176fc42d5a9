//! Nodes that come, go, and take no more pods.

use std::sync::Arc;

use binpack::{
    CapacityType, Config, ErrorKind, Fit, Gang, Input, InstanceType, LabelSelector, Labels, Node,
    NodePool, Offering, Pod, PodDisruptionBudget, PoolLimits, Preemption, Resources, RunningPod,
    Scheduled, Scheduler, Target, Unplaced, key,
};

fn node(name: &str, cpu: u64) -> Node {
    Node::new(name, Resources::new(cpu * 1_000, 16 << 30).with_pods(10))
}

fn pod(name: &str, cpu: u64) -> Pod {
    Pod::new(name, Resources::new(cpu * 1_000, 1 << 30))
}

fn scheduler(nodes: Vec<Node>) -> Scheduler {
    let mut config = Config::default();
    config.fit = Fit::First;
    Scheduler::new(Input { nodes, ..Input::default() }, config).unwrap()
}

fn targets(done: &Scheduled) -> Vec<(&str, Target)> {
    done.bindings.iter().map(|binding| (&*binding.pod, binding.target.clone())).collect()
}

fn on(node: &str) -> Target {
    Target::Existing(node.into())
}

fn waits(done: &Scheduled) -> Vec<&str> {
    done.unplaced.iter().map(|Unplaced { pod, .. }| &**pod).collect()
}

#[test]
fn pods_of_a_node_that_goes_wait_in_the_order_in_which_they_came() {
    let mut of = scheduler(vec![node("a", 4)]);
    of.schedule(vec![pod("gone", 1), pod("first", 1)]).unwrap();
    assert_eq!(of.remove(["gone"]), 1);
    // It takes the place in memory of the one that has gone, and came last.
    of.schedule(vec![pod("second", 1)]).unwrap();
    let lost = of.remove_nodes(["a"]).unwrap();
    assert_eq!(lost, [Arc::from("first"), Arc::from("second")]);
    assert_eq!((of.waiting(), of.reschedule().unwrap().bindings.len()), (2, 0));
    of.add_nodes(vec![node("b", 1)]).unwrap();
    let done = of.reschedule().unwrap();
    assert_eq!(targets(&done), [("first", on("b"))]);
    assert_eq!(waits(&done), ["second"]);
}

#[test]
fn a_scheduler_may_begin_without_nodes_and_get_thousands() {
    let mut of = scheduler(Vec::new());
    let done = of.schedule(vec![pod("p", 1)]).unwrap();
    assert!(done.unplaced[0].reason.message.contains("there is no node"), "{done:?}");
    for batch in 0..20 {
        of.add_nodes((0..100).map(|i| node(&format!("n{batch}-{i}"), 2)).collect()).unwrap();
    }
    assert_eq!(of.reschedule().unwrap().bindings.len(), 1);
    let pods = (0..2_000).map(|i| pod(&format!("p{i}"), 2)).collect();
    assert_eq!(of.schedule(pods).unwrap().bindings.len(), 1_999, "all but the node of the first");
}

#[test]
fn what_ran_on_a_node_goes_with_it_and_its_names_are_free() {
    let old = node("a", 4).with_pod(RunningPod::new(pod("old", 3)));
    let mut of = scheduler(vec![old.clone()]);
    assert!(of.schedule(vec![pod("old", 1)]).is_err());
    assert_eq!(of.remove_nodes(["a"]).unwrap(), Vec::<Arc<str>>::new());
    of.schedule(vec![pod("old", 1)]).unwrap();
    let error = of.add_nodes(vec![old]).unwrap_err();
    assert_eq!(error.to_string(), "pod old: name is given twice: rename one");
    of.add_nodes(vec![node("a", 1)]).unwrap();
    assert_eq!(targets(&of.reschedule().unwrap()), [("old", on("a"))]);
}

#[test]
fn a_cordoned_node_keeps_its_pods_and_takes_no_others() {
    let mut of = scheduler(vec![node("a", 4), node("b", 1)]);
    of.schedule(vec![pod("stays", 2), pod("leaves", 2)]).unwrap();
    of.cordon(["a"]).unwrap();
    assert_eq!(of.remove(["leaves"]), 1);
    let done = of.schedule(vec![pod("x", 1), pod("y", 1)]).unwrap();
    assert_eq!((targets(&done), waits(&done)), (vec![("x", on("b"))], vec!["y"]));
    of.cordon(["a"]).unwrap();
    of.uncordon(["a"]).unwrap();
    of.uncordon(["a"]).unwrap();
    assert_eq!(targets(&of.reschedule().unwrap()), [("y", on("a"))]);
    let done = of.schedule(vec![pod("z", 1), pod("w", 1)]).unwrap();
    assert_eq!(done.bindings.len(), 1, "4 CPUs less 2 and 1");
    of.cordon(["b"]).unwrap();
    assert_eq!(of.remove_nodes(["b"]).unwrap().len(), 1);
    of.add_nodes(vec![node("b", 1)]).unwrap();
    assert_eq!(of.reschedule().unwrap().bindings.len(), 1, "a new node is not cordoned");
}

#[test]
fn names_that_are_wrong_are_said_and_nothing_changes() {
    let mut of = scheduler(vec![node("a", 4)]);
    of.schedule(vec![pod("p", 1)]).unwrap();
    let mut absurd = node("c", 1);
    absurd.capacity = Resources::default();
    let running = |of: &str| node(of, 1).with_pod(RunningPod::new(pod("r", 1)));
    let cases = [
        (of.add_nodes(vec![node("b", 1), node("a", 1)]).err(), "node a: name is given twice"),
        (of.add_nodes(vec![node("b", 1), node("b", 1)]).err(), "node b: name is given twice"),
        (of.add_nodes(vec![node("b", 1), node("", 1)]).err(), "node : name is empty"),
        (of.add_nodes(vec![node("b", 1), absurd]).err(), "node c: allocatable is above"),
        (of.add_nodes(vec![running("b"), running("c")]).err(), "pod r: name is given twice"),
        (of.remove_nodes(["a", "x"]).err(), "node x: is not known"),
        (of.remove_nodes(["a", "a"]).err(), "node a: is named twice"),
        (of.cordon(["a", "x"]).err(), "node x: is not known"),
        (of.uncordon(["a", "a"]).err(), "node a: is named twice"),
        (of.registered(0, node("b", 1)).err(), "launch 0: is no launch"),
    ];
    for (error, expected) in cases {
        let error = error.expect(expected);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let done = of.schedule(vec![pod("q", 3)]).unwrap();
    assert_eq!(targets(&done), [("q", on("a"))], "it is there and open, and there is no other");
    assert_eq!(of.schedule(vec![pod("s", 1)]).unwrap().unplaced.len(), 1);
}

fn with_pool(limits: PoolLimits) -> Scheduler {
    let it = InstanceType::new("t", Resources::new(4_000, 16 << 30).with_pods(10))
        .with_offering(Offering::new("a", CapacityType::OnDemand, 100_000));
    let mut pool = NodePool::new("p");
    pool.limits = limits;
    let input = Input { pools: vec![pool], instance_types: [it].into(), ..Input::default() };
    Scheduler::new(input, Config::default()).unwrap()
}

#[test]
fn a_launch_becomes_a_node_with_its_pods() {
    let mut two = PoolLimits::default();
    two.nodes = Some(2);
    let mut of = with_pool(two);
    let done = of.schedule(vec![pod("a", 3), pod("b", 3)]).unwrap();
    assert_eq!(done.launches.len(), 2);
    let (first, launch) = &done.launches[0];
    assert!(of.registered(*first, launch.node("m")).unwrap().is_empty());
    assert!(of.registered(*first, launch.node("n")).is_err(), "it is a node already");
    let done = of.schedule(vec![pod("c", 1), pod("d", 1), pod("e", 1)]).unwrap();
    let mut where_to: Vec<Target> = done.bindings.iter().map(|b| b.target.clone()).collect();
    where_to.sort_unstable();
    assert_eq!(where_to, [on("m"), Target::Launch(1)], "{done:?}");
    assert_eq!(waits(&done), ["e"], "the limit is reached with the node as it was without");
    // With the node its part of the limit comes back.
    assert_eq!(of.remove_nodes(["m"]).unwrap().len(), 2);
    let done = of.reschedule().unwrap();
    assert_eq!((done.bindings.len(), done.launches.len()), (2, 1));
    assert_eq!(done.launches[0].0, 2, "numbers are never used again");
}

#[test]
fn a_node_that_is_less_than_its_launch_keeps_what_fits() {
    let mut of = with_pool(PoolLimits::default());
    let launches = of.schedule(vec![pod("a", 2), pod("b", 2)]).unwrap().launches;
    let lost = of.registered(launches[0].0, node("small", 3)).unwrap();
    assert_eq!(lost, [Arc::from("b")]);
    assert_eq!(of.waiting(), 1);
    let zoned = pod("z", 1).require(binpack::Requirement::is_in(key::ZONE, ["a"]));
    let launches = of.schedule(vec![zoned]).unwrap().launches;
    let mut bare = launches[0].1.node("bare");
    bare.labels = Labels::new();
    assert_eq!(of.registered(launches[0].0, bare).unwrap(), [Arc::from("z")]);
}

#[test]
fn resources_that_nobody_asked_for_before_are_counted() {
    let widgets = |n: u64| Resources::new(4_000, 16 << 30).with_pods(10).with_extended("x/w", n);
    let ask =
        |name: &str, n: u64| Pod::new(name, Resources::new(100, 1 << 20).with_extended("x/w", n));
    let mut of = scheduler(vec![Node::new("a", widgets(3)), node("b", 4)]);
    of.schedule(vec![pod("plain", 1)]).unwrap();
    let done = of.schedule(vec![ask("p", 2), ask("q", 2)]).unwrap();
    assert_eq!((targets(&done), waits(&done)), (vec![("p", on("a"))], vec!["q"]));
    of.add_nodes(vec![Node::new("c", widgets(2))]).unwrap();
    assert_eq!(targets(&of.reschedule().unwrap()), [("q", on("c"))]);
}

#[test]
fn a_gang_that_lost_members_needs_as_many_again() {
    let member = |i: usize| pod(&format!("g-{i}"), 1).in_gang("g");
    let nodes = vec![node("a", 2), node("b", 2)];
    let input = Input { nodes, gangs: vec![Gang::new("g", 3)], ..Input::default() };
    let mut of = Scheduler::new(input, Config::default()).unwrap();
    assert_eq!(of.schedule((0..3).map(member).collect()).unwrap().bindings.len(), 3);
    assert_eq!(of.remove(["g-0", "g-1", "g-2"]), 3);
    let done = of.schedule(vec![member(3), member(4)]).unwrap();
    assert_eq!(done.unplaced.len(), 2, "the three that were there are no more");
    assert_eq!(of.schedule(vec![member(5)]).unwrap().unplaced.len(), 1, "the others wait");
    assert_eq!(of.reschedule().unwrap().bindings.len(), 3);
    assert_eq!(of.remove_nodes(["a"]).unwrap().len(), 2);
    assert_eq!(of.waiting(), 2);
}

fn preempting(nodes: Vec<Node>) -> Scheduler {
    let mut config = Config::default();
    config.preemption = Preemption::Lower;
    Scheduler::new(Input { nodes, ..Input::default() }, config).unwrap()
}

#[test]
fn its_own_pods_that_are_evicted_wait_and_others_are_forgotten() {
    let old = pod("old", 2).with_priority(-1);
    let mut of = preempting(vec![node("a", 2).with_pod(RunningPod::new(old)), node("b", 2)]);
    assert_eq!(of.schedule(vec![pod("own", 2)]).unwrap().evictions, []);
    let done = of.schedule(vec![pod("high", 2).with_priority(5)]).unwrap();
    assert_eq!(targets(&done), [("high", on("a"))], "whose pod is of lower priority");
    assert_eq!(&*done.evictions[0].pod, "old");
    let done = of.schedule(vec![pod("higher", 2).with_priority(4)]).unwrap();
    assert_eq!((targets(&done), &*done.evictions[0].pod), (vec![("higher", on("b"))], "own"));
    assert_eq!(of.waiting(), 1);
    assert!(of.reschedule().unwrap().bindings.is_empty());
    of.schedule(vec![pod("old", 9)]).expect("its name is free");
    assert_eq!(of.remove(["high"]), 1);
    assert_eq!(targets(&of.reschedule().unwrap()), [("own", on("a"))]);
}

#[test]
fn room_that_was_made_is_kept_from_those_who_come_later() {
    let mut of = preempting(vec![node("a", 2).with_pod(RunningPod::new(pod("old", 2)))]);
    let done = of.schedule(vec![pod("high", 2).with_priority(5)]).unwrap();
    assert_eq!(done.evictions.len(), 1);
    let done = of.schedule(vec![pod("middle", 1).with_priority(4)]).unwrap();
    assert_eq!((done.bindings.len(), done.evictions.len()), (0, 0));
}

#[test]
fn disruption_budgets_count_down_until_they_are_set_anew() {
    let web = |name: &str| pod(name, 1).with_label("app", "web");
    let runs = ["a", "b", "c"].map(|name| RunningPod::new(web(name)));
    let full = runs.into_iter().fold(node("n", 3), Node::with_pod);
    let mut of = preempting(vec![full]);
    let budget = |allowed| {
        let pods = LabelSelector::labels([("app", "web")]);
        vec![PodDisruptionBudget::new("web", pods, allowed)]
    };
    of.set_disruption_budgets(budget(1)).unwrap();
    let violates = |name: &str, of: &mut Scheduler| {
        let done = of.schedule(vec![pod(name, 1).with_priority(5)]).unwrap();
        done.evictions[0].violates_budget
    };
    assert!(!violates("x", &mut of));
    assert!(violates("y", &mut of));
    of.set_disruption_budgets(budget(1)).unwrap();
    assert!(!violates("z", &mut of));
    assert!(
        of.set_disruption_budgets(vec![PodDisruptionBudget::new("", LabelSelector::default(), 0)])
            .is_err()
    );
}
