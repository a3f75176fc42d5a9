//! Groups of nodes: what goes, and what their least and greatest sizes keep.

use binpack::{
    ConsolidationPolicy, Disruption, Input, KeptKind, Node, NodeGroup, Removal, Rule,
    consolidation_breaches, key,
};

use crate::world::{carried_out, decided, input, launched, node, removed, with};

/// A node of the group, of 8 cores.
fn member(name: &str, sizes: &[u64]) -> Node {
    let mut node = node(name, 8);
    node.labels.remove(key::NODE_POOL);
    with(node.with_group("workers"), sizes)
}

/// A cluster with the group `workers` of machines of 8 cores, of so many nodes.
fn grouped(nodes: Vec<Node>, min: u32, max: u32) -> Input {
    let disruption = Disruption::unlimited(ConsolidationPolicy::default());
    let group = NodeGroup::new("workers", "c8", "zone-a").with_sizes(min, max);
    Input { node_groups: vec![group.with_disruption(disruption)], ..input(nodes) }
}

fn kinds(input: &Input) -> Vec<KeptKind> {
    decided(input).kept.iter().map(|kept| kept.kind).collect()
}

#[test]
fn nodes_of_a_group_go_down_to_its_least_size_and_no_further() {
    let nodes = |pods: &[u64]| vec![member("a", pods), member("b", pods), member("c", pods)];
    for pods in [&[][..], &[500]] {
        for min in 0..4 {
            let input = grouped(nodes(pods), min, 5);
            let gone = decided(&input).removed.len();
            let most = if pods.is_empty() { 3 } else { 2 };
            assert_eq!(gone, most.min(3 - min as usize), "{min} at least");
        }
    }
    let all = kinds(&grouped(nodes(&[]), 3, 5));
    assert_eq!(all, [KeptKind::MinSize; 3], "and the least size is said to keep them");
}

#[test]
fn a_node_that_must_go_is_replaced_by_one_of_its_group() {
    let mut old = member("old", &[7_000]);
    old.drifted = true;
    let mut without_pools = grouped(vec![old.clone(), member("b", &[7_000])], 2, 2);
    without_pools.pools.clear();
    let answer = decided(&without_pools);
    assert_eq!(removed(&answer), ["old"]);
    assert_eq!(launched(&answer), ["c8"]);
    assert_eq!(answer.launches[0].group.as_deref(), Some("workers"));
    let after = carried_out(&without_pools, &answer);
    assert_eq!(after.node_groups[0].size(&after), 2);

    // Empty it would be replaced by nothing.
    let mut empty = member("old", &[]);
    empty.drifted = true;
    let input = grouped(vec![empty, member("b", &[7_000])], 2, 2);
    assert!(decided(&input).removed.is_empty());
}

#[test]
fn a_replacement_needs_room_in_its_group() {
    // The pods would fit on one node of the group, which is full, and no pool has any.
    let lone = |name: &str| with(node(name, 16), &[2_000]);
    let with_max = |max| {
        let mut input = grouped(vec![lone("x"), lone("y"), member("g", &[8_000])], 0, max);
        input.nodes[1].labels.insert(key::ZONE.into(), "zone-b".into());
        input.pools[0].limits.nodes = Some(2);
        input
    };
    let spacious = decided(&with_max(2));
    assert!(spacious.launches.iter().any(|launch| launch.group.is_some()), "{spacious}");
    let full = decided(&with_max(1));
    assert!(full.launches.iter().all(|launch| launch.group.is_none()), "{full}");
}

#[test]
fn a_group_is_brought_up_to_its_least_size_and_keeps_it() {
    let input = grouped(vec![member("a", &[500])], 3, 5);
    let answer = decided(&input);
    assert!(answer.removed.is_empty());
    assert_eq!(answer.plan.launches.len(), 2);
    let after = carried_out(&input, &answer);
    assert!(decided(&after).is_empty());
}

#[test]
fn an_interrupted_node_goes_below_the_least_size() {
    let mut spot = member("spot", &[500]);
    spot.interrupted = true;
    let input = grouped(vec![spot, member("b", &[500])], 2, 2);
    assert_eq!(removed(&decided(&input)), ["spot"]);
}

#[test]
fn the_policy_of_a_group_keeps_its_nodes() {
    let mut input = grouped(vec![member("a", &[]), member("b", &[])], 0, 5);
    input.node_groups[0].disruption.policy = ConsolidationPolicy::Never;
    assert_eq!(kinds(&input), [KeptKind::Policy; 2]);
    input.node_groups[0].disruption = Disruption::default();
    assert_eq!(decided(&input).removed.len(), 1, "a tenth of the nodes at a time, rounded up");
}

#[test]
fn what_takes_a_group_below_its_least_size_is_refused() {
    let input = grouped(vec![member("a", &[]), member("b", &[]), member("c", &[])], 2, 5);
    let mut answer = decided(&input);
    assert_eq!(answer.removed.len(), 1);
    let gone = answer.removed[0].clone();
    let other = input.nodes.iter().find(|node| node.name != gone.node).expect("three");
    answer.removed.push(Removal::new(other.name.clone(), gone.reason, gone.saved_micros));
    answer.cost_after_micros -= gone.saved_micros;
    let rules: Vec<Rule> =
        consolidation_breaches(&input, &answer).iter().map(|breach| breach.rule).collect();
    assert_eq!(rules, [Rule::GroupSize]);
}
