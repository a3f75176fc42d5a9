//! Pods that make room.

use binpack::{
    Eviction, Gang, LabelSelector, Node, Pod, PodDisruptionBudget, Preemptor, Resources, Rule,
    RunningPod, breaches, validate,
};

use crate::case::{Case, bare, pod};

trait Refused {
    /// Breaks this rule, and perhaps others.
    fn is_refused(&self, rule: Rule);
}

impl Refused for Case {
    #[track_caller]
    fn is_refused(&self, rule: Rule) {
        self.input.check().unwrap();
        let found = breaches(&self.input, &self.plan);
        assert!(found.iter().any(|breach| breach.rule == rule), "{found:#?}");
    }
}

/// A pod of two CPUs of this priority.
fn big(name: &str, priority: i32) -> Pod {
    Pod::new(name, Resources::new(2_000, 1)).with_priority(priority)
}

/// A node of so many CPUs with these pods.
fn full(name: &str, cpu: u64, pods: impl IntoIterator<Item = Pod>) -> Node {
    let empty = Node::new(name, Resources::new(cpu * 1_000, 1 << 30).with_pods(20));
    pods.into_iter().fold(empty, |node, pod| node.with_pod(RunningPod::new(pod)))
}

fn evict(case: Case, pod: &str, node: &str, by: &Preemptor) -> Case {
    let priority = case.input.nodes.iter().flat_map(|of| &of.pods);
    let priority = priority.into_iter().find(|of| *of.pod.name == *pod).map(|of| of.pod.priority);
    let eviction = Eviction::new(pod, node, by.clone(), priority.unwrap_or(0));
    case.but(|_, plan| plan.evictions.push(eviction))
}

fn by(name: &str) -> Preemptor {
    Preemptor::Pod(name.into())
}

/// One pod goes for another one.
fn right() -> Case {
    let case = Case::on([full("n", 2, [big("old", 1)]), full("m", 2, [])]);
    evict(case.bind(big("high", 5), "n"), "old", "n", &by("high"))
}

#[test]
fn who_goes_runs_there_and_goes_once() {
    right().keeps_all();
    right().but(|_, plan| plan.evictions.clear()).is_refused(Rule::Capacity);
    right().but(|_, plan| plan.evictions[0].node = "m".into()).is_refused(Rule::Eviction);
    right().but(|_, plan| plan.evictions[0].pod = "nobody".into()).is_refused(Rule::Eviction);
    right().but(|_, plan| plan.evictions[0].priority = 0).is_refused(Rule::Eviction);
    evict(right(), "old", "n", &by("high")).is_refused(Rule::Eviction);
}

#[test]
fn whom_it_goes_for_is_more_important_and_has_its_place() {
    right().but(|input, _| input.pods[0].priority = 1).is_refused(Rule::Eviction);
    right().but(|input, _| input.pods[0].priority = 2).keeps_all();
    right().but(|_, plan| plan.evictions[0].preemptor = by("nobody")).is_refused(Rule::Eviction);
    let shy = right().but(|input, _| input.pods[0] = big("high", 5).preempting_nobody());
    shy.is_refused(Rule::Eviction);
    let waits = Case::on([full("n", 2, [big("old", 1)])]).leave(big("high", 5));
    evict(waits, "old", "n", &by("high")).is_refused(Rule::Eviction);
    let elsewhere = Case::on([full("n", 2, [big("old", 1)]), full("m", 2, [])]);
    let elsewhere = elsewhere.bind(big("high", 5), "m");
    evict(elsewhere, "old", "n", &by("high")).is_refused(Rule::Eviction);
}

#[test]
fn who_could_stay_must() {
    let roomy = Case::on([full("n", 4, [big("old", 1)])]).bind(big("high", 5), "n");
    evict(roomy, "old", "n", &by("high")).is_refused(Rule::EvictionNeeded);
    let two = Case::on([full("n", 4, [big("a", 1), big("b", 1)])]).bind(big("high", 5), "n");
    let one = evict(two, "a", "n", &by("high"));
    one.clone().keeps_all();
    evict(one.clone(), "b", "n", &by("high")).is_refused(Rule::EvictionNeeded);
    // Nobody goes for a pod that is no more important and only takes what is left.
    let filled = evict(one, "b", "n", &by("high")).bind(big("low", 1), "n");
    filled.is_refused(Rule::EvictionNeeded);
}

#[test]
fn who_keeps_another_away_is_needed_gone() {
    let web = || LabelSelector::labels([("app", "web")]);
    let node = || bare("n").with_pod(RunningPod::new(pod("old").with_label("app", "web")));
    let alone = pod("high").with_priority(5).alone_among(web());
    let case = Case::on([node()]).bind(alone.clone(), "n");
    case.clone().is_refused(Rule::PodAntiAffinity);
    evict(case, "old", "n", &by("high")).keeps_all();
    let other = Case::on([bare("n").with_pod(RunningPod::new(pod("old")))]).bind(alone, "n");
    evict(other, "old", "n", &by("high")).is_refused(Rule::EvictionNeeded);
}

#[test]
fn budgets_that_are_violated_are_said() {
    let guarded = |name: &str| big(name, 1).with_label("app", "web");
    let case = |allowed| {
        let two = Case::on([full("n", 4, [guarded("a"), guarded("b")])]);
        let huge = Pod::new("high", Resources::new(4_000, 1)).with_priority(5);
        let web = LabelSelector::labels([("app", "web")]);
        let two = two.bind(huge, "n");
        let two = evict(evict(two, "a", "n", &by("high")), "b", "n", &by("high"));
        let budget = PodDisruptionBudget::new("web", web, allowed);
        two.but(|input, _| input.disruption_budgets.push(budget))
    };
    case(2).keeps_all();
    case(1).is_refused(Rule::Eviction);
    case(1).but(|_, plan| plan.evictions[1].violates_budget = true).keeps_all();
    case(2).but(|_, plan| plan.evictions[0].violates_budget = true).is_refused(Rule::Eviction);
    case(0).but(|_, plan| plan.evictions[1].violates_budget = true).is_refused(Rule::Eviction);
}

fn gang(case: Case, least: u32) -> Case {
    case.but(|input, _| input.gangs.push(Gang::new("g", least)))
}

#[test]
fn a_gang_goes_as_a_whole_or_keeps_its_minimum() {
    let member = |name: &str| big(name, 1).in_gang("g");
    let nodes = || [full("n", 2, [member("a")]), full("m", 4, [member("b"), member("c")])];
    let one = |least| {
        let case = gang(Case::on(nodes()).bind(big("high", 5), "n"), least);
        evict(case, "a", "n", &by("high"))
    };
    one(2).keeps_all();
    one(3).is_refused(Rule::Eviction);
    let two = |least| evict(one(least), "b", "m", &by("high"));
    two(3).is_refused(Rule::Eviction);
    two(1).is_refused(Rule::Eviction);
    evict(two(3), "c", "m", &by("high")).keeps_all();
    // All of it goes, and there is room for all of it.
    let roomy = evict(two(1), "c", "m", &by("high")).but(|input, _| {
        let node = &mut input.nodes[0];
        (node.capacity.cpu_milli, node.allocatable.cpu_milli) = (4_000, 4_000);
    });
    roomy.is_refused(Rule::EvictionNeeded);
}

#[test]
fn a_gang_evicts_for_all_of_it() {
    let member = |name: &str| big(name, 5).in_gang("g");
    let nodes = || [full("n", 2, [big("a", 1)]), full("m", 2, [big("b", 1)])];
    let all = Preemptor::Gang("g".into());
    let both = || {
        let case = gang(Case::on(nodes()).bind(member("1"), "n").bind(member("2"), "m"), 2);
        evict(evict(case, "a", "n", &all), "b", "m", &all)
    };
    both().keeps_all();
    both().but(|input, _| input.pods[1].priority = 1).is_refused(Rule::Eviction);
    both()
        .but(|input, _| input.pods[1] = member("2").preempting_nobody())
        .is_refused(Rule::Eviction);
    let part = gang(Case::on(nodes()).bind(member("1"), "n").leave(member("2")), 2);
    evict(part, "a", "n", &all).is_refused(Rule::Gang);
}

#[test]
fn the_first_breach_is_told_with_its_pod_and_node() {
    let case = right().but(|_, plan| plan.evictions[0].priority = 0);
    let found = breaches(&case.input, &case.plan);
    assert_eq!(found[0].to_string(), "Eviction: pod old on node n: has priority 1");
    assert!(validate(&case.input, &case.plan).is_err());
}
