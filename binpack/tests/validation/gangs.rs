//! Gangs.

use binpack::{Gang, Pod, Rule, key};

use crate::case::{Case, bare, node, pod, runs};

fn member(name: &str) -> Pod {
    pod(name).in_gang("g")
}

fn ask(case: Case, gang: Gang) -> Case {
    case.but(|input, _| input.gangs.push(gang))
}

#[test]
fn enough_members_have_a_place_or_none() {
    let case = ask(Case::on([bare("n").with_pod(runs(pod("old")))]), Gang::new("g", 2));
    case.clone().leave(member("1")).leave(member("2")).keeps_all();
    case.clone().bind(member("1"), "n").leave(member("2")).breaks(Rule::Gang);
    case.clone().bind(member("1"), "n").bind(member("2"), "n").leave(member("3")).keeps_all();
    let other = ask(case, Gang::new("h", 1));
    other.bind(member("1"), "n").bind(pod("2").in_gang("h"), "n").breaks(Rule::Gang);
}

#[test]
fn members_that_run_count() {
    let case = |gang| ask(Case::on([bare("n").with_pod(runs(member("old")))]), gang);
    case(Gang::new("g", 2)).bind(member("1"), "n").keeps_all();
    case(Gang::new("g", 3)).bind(member("1"), "n").breaks(Rule::Gang);
    // Too few that run are not the plan's doing.
    case(Gang::new("g", 3)).leave(member("1")).keeps_all();
}

#[test]
fn members_share_a_domain_where_they_must() {
    let nodes = || {
        [
            node("a-1", "a").with_label("rack", "1"),
            node("a-2", "a").with_label("rack", "2"),
            node("b", "b").with_label("rack", "1"),
            bare("x"),
        ]
    };
    let two = |gang: Gang, first: &str, second: &str| {
        ask(Case::on(nodes()), gang).bind(member("1"), first).bind(member("2"), second)
    };
    let zonal = || Gang::new("g", 2).within(key::ZONE);
    two(zonal(), "a-1", "a-2").keeps_all();
    two(zonal(), "a-1", "b").breaks(Rule::Gang);
    two(zonal(), "x", "x").breaks(Rule::Gang);
    two(zonal().within("rack"), "a-1", "b").keeps_all();
    two(zonal().within("rack"), "a-2", "b").breaks(Rule::Gang);
    two(Gang::new("g", 2).within(key::HOSTNAME), "x", "x").keeps_all();
    two(Gang::new("g", 2).within(key::HOSTNAME), "a-1", "a-2").breaks(Rule::Gang);
    let mut preferred = zonal();
    preferred.topology_required = false;
    two(preferred, "a-1", "b").keeps_all();
}

#[test]
fn members_that_run_have_the_domain_already() {
    let nodes = [node("a", "a").with_pod(runs(member("old"))), node("b", "b")];
    let case = ask(Case::on(nodes), Gang::new("g", 2).within(key::ZONE));
    case.clone().bind(member("1"), "a").keeps_all();
    case.bind(member("1"), "b").breaks(Rule::Gang);
}
