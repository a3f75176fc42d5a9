//! What a plan says that pods did without.

use binpack::{
    Effect, Pod, PodAffinityTerm, Relaxation, Relaxed, Requirement, Rule, Taint, Toleration,
    TopologySpread, Weighted, key,
};

use crate::case::{Case, app, node, pod};

fn says(case: Case, pod: &str, relaxations: &[Relaxation]) -> Case {
    case.but(|_, plan| plan.relaxed.push(Relaxed::new(pod, relaxations.to_vec())))
}

/// A pod that wants one thing of every kind, on a node that asks it to stay away.
fn wishful() -> Case {
    let soft = Taint::new("soft", "", Effect::PreferNoSchedule);
    Case::on([node("a", "a").with_taint(soft)]).bind(wishes("1"), "a")
}

fn wishes(name: &str) -> Pod {
    let near = Weighted::new(1, PodAffinityTerm::new(key::ZONE, app("db")));
    let mut pod = pod(name)
        .or_require(vec![Requirement::is_in(key::ZONE, ["z"])])
        .or_require(vec![Requirement::is_in(key::ZONE, ["a"])])
        .spread(TopologySpread::new(key::ZONE, app("web"), 1).schedule_anyway());
    pod.preferences.pod_affinity = vec![near.clone()];
    pod.preferences.pod_anti_affinity = vec![near];
    pod.preferences.node_affinity = vec![Weighted::new(1, vec![Requirement::exists("ssd")])];
    pod
}

const EVERYTHING: [Relaxation; 6] = [
    Relaxation::NodeAffinityTerm,
    Relaxation::PodAffinity,
    Relaxation::PodAntiAffinity,
    Relaxation::NodeAffinity,
    Relaxation::ScheduleAnyway,
    Relaxation::PreferNoSchedule,
];

#[test]
fn a_pod_gives_up_what_it_has_and_no_more() {
    wishful().keeps_all();
    says(wishful(), "1", &EVERYTHING).keeps_all();
    for kind in EVERYTHING {
        says(wishful(), "1", &[kind]).keeps_all();
        says(wishful(), "1", &[kind, kind]).breaks(Rule::Relaxed);
        let plain = wishful().bind(pod("2").tolerate(Toleration::exists("soft")), "a");
        says(plain, "2", &[kind]).breaks(Rule::Relaxed);
    }
    let hard = wishful().but(|input, _| input.nodes[0].taints.clear());
    says(hard, "1", &[Relaxation::PreferNoSchedule]).breaks(Rule::Relaxed);
}

#[test]
fn what_must_hold_is_not_given_up() {
    let must = pod("1").spread(TopologySpread::new(key::ZONE, app("web"), 1));
    let case = Case::on([node("a", "a")]).bind(must, "a");
    says(case, "1", &[Relaxation::ScheduleAnyway]).breaks(Rule::Relaxed);
    let one_left = says(wishful(), "1", &[Relaxation::NodeAffinityTerm]);
    one_left
        .but(|input, _| drop(input.pods[0].node_affinity.pop()))
        .but(|input, _| input.pods[0].node_affinity[0] = vec![Requirement::exists(key::ZONE)])
        .breaks(Rule::Relaxed);
}

#[test]
fn it_is_said_of_bound_pods_once_and_in_order() {
    let one = [Relaxation::NodeAffinity];
    let three = wishful().bind(wishes("2"), "a").leave(wishes("3"));
    says(says(three.clone(), "1", &one), "2", &one).keeps_all();
    says(says(three.clone(), "2", &one), "1", &one).breaks(Rule::Relaxed);
    says(says(three.clone(), "1", &one), "1", &one).breaks(Rule::Relaxed);
    says(three.clone(), "3", &one).breaks(Rule::Relaxed);
    says(three, "stranger", &one).breaks(Rule::Relaxed);
}
