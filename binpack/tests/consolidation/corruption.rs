//! The checker refuses every consolidation that breaks a rule.

use binpack::{
    Budget, Consolidation, ConsolidationPolicy, Disruption, DisruptionReason, Input, LabelSelector,
    NodeCount, PodAffinityTerm, PodDisruptionBudget, Rule, Target, TopologySpread,
    consolidation_breaches, key, validate_consolidation,
};

use crate::world::{decided, input, node, pod, running, with};

/// `a` goes to a launch, `b` and `c` stay full; `c` is in zone b.
fn valid() -> (Input, Consolidation) {
    let web = |name: &str, milli| running(pod(name, milli).with_label("app", "web"));
    let mut far = node("c", 4).with_pod(web("web-3", 3_500)).with_pod(web("web-4", 400));
    far.labels.insert(key::ZONE.into(), "zone-b".into());
    let nodes = vec![
        node("a", 16).with_pod(web("web-1", 1_500)).with_pod(web("web-2", 200)),
        node("b", 4).with_pod(web("web-5", 3_600)),
        far,
    ];
    let input = input(nodes);
    let answer = decided(&input);
    assert_eq!((answer.removed.len(), answer.moves.len(), answer.launches.len()), (1, 2, 1));
    (input, answer)
}

fn refused(rule: Rule, change: impl FnOnce(&mut Input, &mut Consolidation)) {
    let (mut input, mut answer) = valid();
    change(&mut input, &mut answer);
    let rules: Vec<Rule> =
        consolidation_breaches(&input, &answer).into_iter().map(|breach| breach.rule).collect();
    assert!(rules.contains(&rule), "{rule:?} is not among {rules:?}");
    let error = validate_consolidation(&input, &answer).unwrap_err().to_string();
    assert!(error.contains("don't carry it out"), "{error}");
}

#[test]
fn removals_without_ground_are_refused() {
    refused(Rule::Removal, |_, answer| answer.removed[0].node = "x".into());
    refused(Rule::Removal, |_, answer| answer.removed.push(answer.removed[0].clone()));
    refused(Rule::Removal, |_, answer| answer.removed[0].saved_micros += 1);
    for reason in DisruptionReason::ALL {
        if reason != DisruptionReason::Underutilized {
            refused(Rule::Removal, |_, answer| answer.removed[0].reason = reason);
        }
    }
    refused(Rule::Removal, |input, _| input.nodes[0].disrupting = true);
    refused(Rule::Removal, |input, _| input.nodes[0].do_not_disrupt = true);
    refused(Rule::Removal, |input, _| input.nodes[0].pods[0].pod.do_not_disrupt = true);
    refused(Rule::Removal, |input, _| input.nodes[0].pods[0].pod.gang = Some("g".into()));
    refused(Rule::Removal, |input, _| input.nodes[0].used.pods += 1);
    refused(Rule::Removal, |input, _| input.nodes[0].labels.clear());
    refused(Rule::Removal, |input, _| input.nodes[0].price_micros = None);
    refused(Rule::Removal, |input, _| {
        input.pools[0].disruption.policy = ConsolidationPolicy::WhenEmpty;
    });
}

#[test]
fn moves_that_lead_nowhere_are_refused() {
    refused(Rule::Move, |_, answer| answer.moves.truncate(1));
    refused(Rule::Move, |_, answer| answer.moves.push(answer.moves[0].clone()));
    refused(Rule::Move, |_, answer| answer.moves[0].pod = "x".into());
    refused(Rule::Move, |_, answer| answer.moves[0].from = "b".into());
    refused(Rule::Move, |_, answer| answer.moves[0].to = Target::Launch(1));
    refused(Rule::Move, |_, answer| answer.moves[0].to = Target::Existing("a".into()));
    refused(Rule::Move, |_, answer| answer.moves[0].to = Target::Existing("x".into()));
    refused(Rule::Move, |input, answer| {
        input.nodes[2].interrupted = true;
        answer.moves[1].to = Target::Existing("c".into());
    });
    refused(Rule::Move, |_, answer| answer.removed.clear());
    refused(Rule::Move, |input, _| input.nodes[0].pods[0].daemon = true);
    refused(Rule::Move, |_, answer| {
        let lost = binpack::Reason::new(binpack::ReasonKind::Resources, "lost");
        answer.unplaced = vec![binpack::Unplaced::new("web-1", lost)];
        answer.moves.remove(0);
    });
}

#[test]
fn budgets_that_are_overdrawn_are_refused() {
    refused(Rule::DisruptionBudget, |input, _| {
        let none = Budget::new(NodeCount::Count(0)).for_reason(DisruptionReason::Underutilized);
        input.pools[0].disruption = Disruption::default().with_budget(none);
    });
    refused(Rule::DisruptionBudget, |input, _| {
        input.pools[0].disruption = Disruption::default();
        input.nodes[2].disrupting = true;
    });
    refused(Rule::PodDisruptionBudget, |input, _| {
        let web = LabelSelector::labels([("app", "web")]);
        input.disruption_budgets = vec![PodDisruptionBudget::new("web", web, 1)];
    });
}

#[test]
fn sums_that_are_wrong_are_refused() {
    refused(Rule::Cost, |_, answer| answer.cost_before_micros += 1);
    refused(Rule::Cost, |_, answer| answer.cost_after_micros -= 1);
    refused(Rule::Cost, |_, answer| answer.eviction_cost_milli = 0);
    refused(Rule::Cost, |input, answer| {
        // It costs more in the end.
        input.nodes[0].price_micros = Some(1);
        answer.removed[0].saved_micros = 1;
        answer.cost_before_micros = 320_001;
        answer.cost_after_micros = 320_000 + 80_000;
    });
    refused(Rule::Plan, |_, answer| answer.plan.cost_per_hour_micros += 1);
}

#[test]
fn an_end_that_breaks_a_rule_of_plans_is_refused() {
    refused(Rule::Capacity, |_, answer| {
        for of in &mut answer.moves {
            of.to = Target::Existing("b".into());
        }
        answer.launches.clear();
        answer.cost_after_micros -= 80_000;
    });
    refused(Rule::Requested, |_, answer| answer.launches[0].requested.cpu_milli += 1);
    refused(Rule::Launch, |_, answer| {
        answer.launches[0].taints.push(binpack::Taint::new("k", "v", binpack::Effect::NoSchedule));
    });
    refused(Rule::Gpus, |_, answer| answer.moves[0].gpus = vec![0]);
    refused(Rule::Requirements, |input, _| {
        let pod = &mut input.nodes[0].pods[0].pod;
        *pod = pod.clone().require(binpack::Requirement::exists("nowhere"));
    });
    refused(Rule::Limits, |input, _| input.pools[0].limits.nodes = Some(2));
    refused(Rule::PodAntiAffinity, |input, _| {
        let pod = &mut input.nodes[0].pods[1].pod;
        let web = LabelSelector::labels([("app", "web")]);
        *pod = pod.clone().alone_among(web);
    });
}

#[test]
fn pods_that_stay_and_suffer_are_refused() {
    // Of zone a's three pods two move to zone b, which has two.
    let move_away = |input: &mut Input, answer: &mut Consolidation| {
        answer.moves[1].to = Target::Launch(0);
        answer.launches[0].zone = "zone-b".into();
        answer.launches[0].labels.insert(key::ZONE.into(), "zone-b".into());
        input.nodes[2].do_not_disrupt = true;
    };
    refused(Rule::Spread, |input, answer| {
        move_away(input, answer);
        let spread = TopologySpread::new(key::ZONE, LabelSelector::labels([("app", "web")]), 1);
        let stays = &mut input.nodes[2].pods[0].pod;
        *stays = stays.clone().spread(spread);
    });
    refused(Rule::PodAffinity, |input, answer| {
        move_away(input, answer);
        let near = PodAffinityTerm::new(key::ZONE, LabelSelector::labels([("app", "web")]));
        let mut client = pod("client", 100).near(near);
        client.labels.clear();
        input.nodes[1].pods[0].pod.labels.clear();
        input.nodes[1] = input.nodes[1].clone().with_pod(running(client));
    });
}

#[test]
fn what_takes_a_pod_that_waited_must_stay() {
    let mut input = input(vec![with(node("a", 4), &[500]), with(node("b", 4), &[500])]);
    input.pods = vec![pod("waits", 3_000)];
    let mut answer = decided(&input);
    let Target::Existing(taker) = answer.plan.bindings[0].target.clone() else { panic!("it fits") };
    answer.removed[0].node = taker;
    let rules: Vec<Rule> =
        consolidation_breaches(&input, &answer).into_iter().map(|breach| breach.rule).collect();
    assert!(rules.contains(&Rule::Removal) && rules.contains(&Rule::Move), "{rules:?}");
}
