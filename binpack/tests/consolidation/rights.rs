//! What must not be disturbed.

use binpack::{Budget, Disruption, KeptKind, LabelSelector, NodeCount, PodDisruptionBudget};

use crate::world::{decided, input, node, pod, pool, removed, running, with};

fn two() -> binpack::Input {
    let web = |name: &str| pod(name, 500).with_label("app", "web");
    input(vec![
        node("a", 4).with_pod(running(web("web-1"))).with_pod(running(web("web-2"))),
        node("b", 4).with_pod(running(web("web-3"))).with_pod(running(web("web-4"))),
    ])
}

#[test]
fn budgets_of_pods_are_counted_over_all_nodes() {
    let mut input = two();
    let web = LabelSelector::labels([("app", "web")]);
    for (allowed, nodes) in [(0, 0), (1, 0), (2, 1), (4, 2)] {
        input.disruption_budgets = vec![PodDisruptionBudget::new("web", web.clone(), allowed)];
        let answer = decided(&input);
        // Two pods of half a core want one machine of 2 cores, and the other node's as well.
        assert!(answer.removed.len() <= nodes, "{allowed}: {answer}");
        assert_eq!(answer.removed.is_empty(), nodes == 0);
        if nodes == 0 {
            assert_eq!(answer.kept[0].kind, KeptKind::PodDisruptionBudget);
            assert!(answer.kept[0].message.contains("budget web allows no further eviction"));
        }
    }
    let other = PodDisruptionBudget::new("web", web, 0).in_namespace("other");
    input.disruption_budgets = vec![other];
    assert!(!decided(&input).is_empty(), "it protects pods of its own namespace");
}

#[test]
fn pods_nodes_and_gangs_that_must_stay_do() {
    let all_kept = |input: &binpack::Input, kind| {
        let answer = decided(input);
        assert!(answer.is_empty(), "{answer}");
        assert!(answer.kept.iter().all(|kept| kept.kind == kind), "{:?}", answer.kept);
    };
    let mut input = two();
    for node in &mut input.nodes {
        node.pods[1].pod.do_not_disrupt = true;
    }
    all_kept(&input, KeptKind::Pod);
    let mut input = two();
    input.nodes.iter_mut().for_each(|node| node.do_not_disrupt = true);
    all_kept(&input, KeptKind::DoNotDisrupt);
    let mut input = two();
    for node in &mut input.nodes {
        node.pods[0].pod.gang = Some("ring".into());
    }
    all_kept(&input, KeptKind::Gang);
    let mut input = two();
    input.nodes.iter_mut().for_each(|node| node.disrupting = true);
    all_kept(&input, KeptKind::Disrupting);
    let mut input = two();
    input.nodes.iter_mut().for_each(|node| node.labels.clear());
    all_kept(&input, KeptKind::NoPool);
    let mut input = two();
    input.nodes.iter_mut().for_each(|node| node.used.cpu_milli += 1);
    all_kept(&input, KeptKind::Unlisted);
    let mut input = two();
    input.nodes.iter_mut().for_each(|node| node.price_micros = None);
    all_kept(&input, KeptKind::Unpriced);
}

#[test]
fn nothing_is_moved_to_a_node_on_its_way_out() {
    let mut input = input(vec![with(node("a", 4), &[500]), node("b", 4)]);
    input.instance_types = Vec::new().into();
    input.nodes[1].disrupting = true;
    assert!(decided(&input).is_empty());
    input.pods = vec![pod("waits", 3_900)];
    assert_eq!(decided(&input).plan.unplaced.len(), 1, "nor is what waits");
}

#[test]
fn what_daemons_of_the_pool_use_is_known() {
    let mut input = two();
    for node in &mut input.nodes {
        node.used.cpu_milli += 100;
        node.used.pods += 1;
    }
    input.pools[0].daemon_overhead = binpack::Resources::new(100, 0).with_pods(1);
    assert!(!decided(&input).is_empty());
    // Beside daemons that are listed it would be something else.
    for (at, node) in input.nodes.iter_mut().enumerate() {
        let mut agent = running(pod(&format!("agent-{at}"), 100));
        agent.daemon = true;
        *node = node.clone().with_pod(agent);
    }
    assert!(decided(&input).is_empty());
}

#[test]
fn the_cheapest_evictions_come_first_where_not_all_are_allowed() {
    let mut nodes = vec![
        with(node("a", 4), &[1_000]),
        with(node("b", 4), &[1_000]),
        with(node("c", 4), &[1_000]),
    ];
    for (node, cost) in nodes.iter_mut().zip([1 << 30, 0, 1 << 28]) {
        node.pods[0].pod = node.pods[0].pod.clone().with_deletion_cost(cost);
    }
    let mut input = input(nodes);
    input.instance_types = Vec::new().into();
    let budget = Budget::new(NodeCount::Count(1));
    input.pools = vec![pool().with_disruption(Disruption::default().with_budget(budget))];
    let answer = decided(&input);
    assert_eq!((removed(&answer), answer.eviction_cost_milli), (vec!["b"], 1_000));
}
