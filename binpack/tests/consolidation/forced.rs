//! Nodes that have to go.

use binpack::{
    Budget, Disruption, DisruptionReason, KeptKind, LabelSelector, NodeCount, PodDisruptionBudget,
    Target, TopologySpread, key,
};

use crate::world::{decided, input, launched, node, pod, pool, removed, running, types, with};

#[test]
fn a_drifted_node_is_replaced_even_by_a_dearer_one() {
    let mut old = with(node("old", 4), &[3_500]);
    (old.drifted, old.price_micros) = (true, Some(10));
    let answer = decided(&input(vec![old]));
    assert_eq!(answer.removed[0].reason, DisruptionReason::Drifted);
    assert_eq!(launched(&answer), ["c4"]);
    assert_eq!((answer.cost_before_micros, answer.cost_after_micros), (10, 160_000));
    assert_eq!(answer.saved_micros(), 0);
}

#[test]
fn a_node_expires_at_its_pools_age() {
    let mut input = input(vec![with(node("old", 4), &[3_500]), with(node("new", 4), &[3_500])]);
    input.pools[0].expire_after_secs = Some(1_000);
    (input.nodes[0].age_secs, input.nodes[1].age_secs) = (Some(1_000), Some(999));
    let answer = decided(&input);
    assert_eq!(removed(&answer), ["old"]);
    assert_eq!(answer.removed[0].reason, DisruptionReason::Expired);
}

#[test]
fn what_must_be_replaced_keeps_budgets_and_says_what_stands_against_it() {
    let mut nodes: Vec<_> = (0..4).map(|at| with(node(&format!("n{at}"), 4), &[3_500])).collect();
    for node in &mut nodes {
        node.drifted = true;
    }
    nodes[2].pods[0].pod.do_not_disrupt = true;
    let mut input = input(nodes);
    let budget = Budget::new(NodeCount::Count(2)).for_reason(DisruptionReason::Drifted);
    let few = Disruption { budgets: vec![budget], ..Disruption::default() };
    input.pools = vec![pool().with_disruption(few)];
    let answer = decided(&input);
    assert_eq!(removed(&answer), ["n0", "n1"]);
    let kinds: Vec<_> = answer.kept.iter().map(|kept| kept.kind).collect();
    assert_eq!(kinds, [KeptKind::Pod, KeptKind::Budget]);
}

#[test]
fn one_that_can_t_be_replaced_does_not_hold_up_the_others() {
    let mut nodes: Vec<_> = (0..5).map(|at| with(node(&format!("n{at}"), 4), &[3_500])).collect();
    for node in &mut nodes {
        node.drifted = true;
    }
    let lost = nodes[3].pods[0].pod.clone();
    nodes[3].pods[0].pod = lost.require(binpack::Requirement::exists("nowhere"));
    let answer = decided(&input(nodes));
    assert_eq!(removed(&answer), ["n0", "n1", "n2", "n4"]);
    assert_eq!(answer.kept[0].kind, KeptKind::NoPlace);
    assert!(answer.kept[0].message.contains("pod n3-0 has no place"));
}

#[test]
fn an_interrupted_node_goes_whatever_stands_against_it() {
    let mut going = node("spot", 4)
        .with_pod(running(pod("web", 1_000).with_label("app", "web").do_not_disrupt()))
        .with_pod(running(pod("lost", 1_000).require(binpack::Requirement::exists("nowhere"))));
    going.interrupted = true;
    going.do_not_disrupt = true;
    going.labels.remove(key::NODE_POOL);
    let mut input = input(vec![going, with(node("there", 4), &[2_500])]);
    let none = PodDisruptionBudget::new("web", LabelSelector::labels([("app", "web")]), 0);
    input.disruption_budgets = vec![none];
    let no_nodes = Disruption::default().with_budget(Budget::new(NodeCount::Count(0)));
    input.pools = vec![pool().with_disruption(no_nodes)];
    let answer = decided(&input);
    assert_eq!(removed(&answer), ["spot"]);
    assert_eq!(answer.removed[0].reason, DisruptionReason::Interrupted);
    assert_eq!(answer.moves.len(), 1);
    assert_eq!(answer.moves[0].to, Target::Existing("there".into()));
    assert_eq!(&*answer.unplaced[0].pod, "lost");
}

#[test]
fn what_is_launched_for_some_counts_in_limits_and_is_used_for_others() {
    let like = || LabelSelector::labels([("app", "web")]);
    let apart = || TopologySpread::new(key::HOSTNAME, like(), 1).schedule_anyway();
    let web = |at| pod(&format!("web-{at}"), 1_500).with_label("app", "web").spread(apart());
    let mut going = node("spot", 8);
    for at in 0..4 {
        going = going.with_pod(running(web(at)));
    }
    going.interrupted = true;
    let mut input = input(vec![going]);
    input.instance_types = types().into_iter().filter(|it| &*it.name == "c4").collect();
    input.pools[0].limits.nodes = Some(1);
    let answer = decided(&input);
    assert_eq!(launched(&answer), ["c4"]);
    assert_eq!((answer.moves.len(), answer.unplaced.len()), (2, 2));
}

#[test]
fn preferences_give_way_only_where_a_node_has_to_go() {
    let ssd = binpack::Weighted::new(1, vec![binpack::Requirement::is_in("disk", ["ssd"])]);
    let mut wants = pod("wants", 500);
    wants.preferences.node_affinity = vec![ssd];
    let fast = node("fast", 4).with_label("disk", "ssd").with_pod(running(wants));
    let mut input = input(vec![fast, with(node("slow", 4), &[2_500])]);
    input.instance_types = Vec::new().into();
    // The other one's pod fits on the fast node, which goes on.
    assert_eq!(removed(&decided(&input)), ["slow"]);
    input.nodes[1].do_not_disrupt = true;
    assert!(decided(&input).is_empty());
    input.nodes[0].drifted = true;
    assert_eq!(removed(&decided(&input)), ["fast"]);
}
