//! Pods near others, and pods apart from them.

use binpack::{Namespaces, Pod, PodAffinityTerm, Rule, key};

use crate::case::{Case, app, bare, node, of, runs, sold, three_zones};

fn by_zone(of: &str) -> PodAffinityTerm {
    PodAffinityTerm::new(key::ZONE, app(of))
}

fn by_host(of: &str) -> PodAffinityTerm {
    PodAffinityTerm::new(key::HOSTNAME, app(of))
}

fn looked_for_in(namespaces: Namespaces, term: PodAffinityTerm) -> PodAffinityTerm {
    PodAffinityTerm { namespaces, ..term }
}

#[test]
fn a_pod_is_near_one_that_runs_or_is_bound() {
    let [a, b, c] = three_zones();
    let case = Case::on([a.with_pod(runs(of("db", "old"))), b, c]);
    case.clone().bind(of("web", "1").near(by_zone("db")), "a").keeps_all();
    case.clone().bind(of("web", "1").near(by_zone("db")), "b").breaks(Rule::PodAffinity);
    case.bind(of("web", "1").near(by_zone("db")), "b").bind(of("db", "2"), "b").keeps_all();
    let pending = Case::on(three_zones()).bind(of("web", "1").near(by_zone("db")), "b");
    pending.leave(of("db", "2")).breaks(Rule::PodAffinity);
}

#[test]
fn the_first_of_its_like_starts_a_domain() {
    let web = |name: &str| of("web", name).near(by_zone("web"));
    let case = Case::on(three_zones());
    case.clone().bind(web("1"), "a").keeps_all();
    case.clone().bind(web("1"), "a").bind(web("2"), "a").keeps_all();
    let [a, b, c] = three_zones();
    let running = Case::on([a, b.with_pod(runs(of("web", "old"))), c]);
    running.clone().bind(web("1"), "a").breaks(Rule::PodAffinity);
    running.bind(web("1"), "b").keeps_all();
    // One that is nowhere by the label takes nothing from the first.
    let nowhere = Case::on([node("a", "a"), bare("x").with_pod(runs(of("web", "old")))]);
    nowhere.bind(web("1"), "a").keeps_all();
    case.bind(of("web", "1").near(by_zone("db")), "a").breaks(Rule::PodAffinity);
}

#[test]
fn a_node_without_the_label_is_near_nothing_but_a_hostname() {
    let case = Case::on([bare("n").with_pod(runs(of("db", "old"))), bare("m")]);
    case.clone().bind(of("web", "1").near(by_zone("db")), "n").breaks(Rule::PodAffinity);
    case.clone().bind(of("web", "1").near(by_host("db")), "n").keeps_all();
    case.bind(of("web", "1").near(by_host("db")), "m").breaks(Rule::PodAffinity);
}

#[test]
fn terms_look_into_their_namespaces() {
    let db = of("db", "old").in_namespace("data");
    let case = Case::on([node("a", "a").with_pod(runs(db))]);
    let web = |namespaces| of("web", "1").near(looked_for_in(namespaces, by_zone("db")));
    case.clone().bind(web(Namespaces::Own), "a").breaks(Rule::PodAffinity);
    case.clone().bind(web(Namespaces::All), "a").keeps_all();
    case.clone().bind(web(Namespaces::Listed(vec!["data".into()])), "a").keeps_all();
    case.clone()
        .bind(web(Namespaces::Listed(vec!["default".into()])), "a")
        .breaks(Rule::PodAffinity);
    case.bind(web(Namespaces::Own).in_namespace("data"), "a").keeps_all();
}

#[test]
fn two_of_which_one_must_be_apart_share_no_domain() {
    let web = |name: &str| of("web", name).apart_from(by_zone("web"));
    let case = Case::on([node("a-1", "a"), node("a-2", "a"), node("b", "b"), bare("x")]);
    case.clone().bind(web("1"), "a-1").bind(web("2"), "b").keeps_all();
    case.clone().bind(web("1"), "a-1").bind(web("2"), "a-2").breaks(Rule::PodAntiAffinity);
    case.clone().bind(web("1"), "x").bind(web("2"), "x").keeps_all();
    // It is enough that one of the two asks for it, in either order.
    case.clone().bind(web("1"), "a-1").bind(of("web", "2"), "a-2").breaks(Rule::PodAntiAffinity);
    case.clone().bind(of("web", "1"), "a-1").bind(web("2"), "a-2").breaks(Rule::PodAntiAffinity);
    case.clone().bind(web("1"), "a-1").bind(of("db", "2"), "a-2").keeps_all();
    let other = web("2").in_namespace("other");
    case.bind(web("1"), "a-1").bind(other, "a-2").keeps_all();
}

#[test]
fn what_runs_keeps_new_pods_away_and_is_kept_away() {
    let alone = |pod: Pod| pod.alone_among(app("web"));
    let asks = bare("n").with_pod(runs(alone(of("db", "old"))));
    Case::on([asks.clone()]).bind(of("web", "1"), "n").breaks(Rule::PodAntiAffinity);
    Case::on([asks, bare("m")]).bind(of("web", "1"), "m").keeps_all();
    let is_meant = bare("n").with_pod(runs(of("web", "old")));
    Case::on([is_meant]).bind(alone(of("db", "1")), "n").breaks(Rule::PodAntiAffinity);
    // Two that shared the node before are not the plan's doing.
    let before = bare("n").with_pod(runs(alone(of("web", "1")))).with_pod(runs(of("web", "2")));
    Case::on([before]).bind(of("db", "3"), "n").keeps_all();
}

#[test]
fn launches_are_hostnames_and_have_zones() {
    let case = Case::launching([sold("small", 2_000, 100, &["a", "b"])]);
    let alone = |name: &str| of("web", name).alone_among(app("web"));
    let apart = case.clone().launch("small", "a", [alone("1")]).launch("small", "a", [alone("2")]);
    apart.keeps_all();
    case.clone().launch("small", "a", [alone("1"), alone("2")]).breaks(Rule::PodAntiAffinity);
    let near = |name: &str| of("web", name).near(by_zone("web"));
    let two =
        |zone| case.clone().launch("small", "a", [near("1")]).launch("small", zone, [near("2")]);
    two("a").keeps_all();
    // One without the term comes after those that have it.
    two("b").but(|input, _| input.pods[1].pod_affinity.clear()).keeps_all();
    let follower = of("db", "1").near(by_zone("web"));
    let torn = case.clone().launch("small", "a", [follower]);
    torn.launch("small", "b", [of("web", "2")]).breaks(Rule::PodAffinity);
}
