//! Spreads that must hold.

use binpack::{
    Effect, NodeInclusion, NodePool, Offering, Pod, Requirement, Rule, Taint, Toleration,
    TopologySpread, key,
};

use crate::case::{Case, app, bare, node, of, runs, sold, three_zones};

fn by_zone() -> TopologySpread {
    TopologySpread::new(key::ZONE, app("web"), 1)
}

fn web(name: &str) -> Pod {
    of("web", name).spread(by_zone())
}

/// Two of the same in zone a and one in b: whether that is even depends on what else there is.
fn two_and_one(make: impl Fn(&str) -> Pod) -> Case {
    Case::on(three_zones()).bind(make("1"), "a").bind(make("2"), "a").bind(make("3"), "b")
}

#[test]
fn a_domain_has_at_most_max_skew_more_than_the_emptiest() {
    let uneven = two_and_one(web);
    uneven.breaks(Rule::Spread);
    uneven.clone().bind(web("4"), "c").keeps_all();
    uneven.bind(web("4"), "a").breaks(Rule::Spread);
    two_and_one(|name| of("web", name).spread(TopologySpread { max_skew: 2, ..by_zone() }))
        .keeps_all();
    two_and_one(|name| of("web", name).spread(by_zone().schedule_anyway())).keeps_all();
}

#[test]
fn those_that_run_count_and_those_without_the_constraint_don_t() {
    let [a, b, c] = three_zones();
    let full = Case::on([a.with_pod(runs(of("web", "old"))), b, c]);
    full.clone().bind(web("1"), "a").breaks(Rule::Spread);
    full.clone().bind(web("1"), "b").keeps_all();
    full.clone().bind(web("1").in_namespace("other"), "a").keeps_all();
    full.bind(of("db", "1").spread(by_zone()), "a").keeps_all();
    let [a, b, c] = three_zones();
    let others = a.with_pod(runs(of("db", "old-1"))).with_pod(runs(of("db", "old-2")));
    let one = Case::on([others, b.with_pod(runs(of("web", "old-3"))), c]);
    one.clone().bind(web("1"), "a").keeps_all();
    one.bind(web("1"), "b").breaks(Rule::Spread);

    let three = Case::on(three_zones());
    three.clone().bind(of("web", "0"), "a").bind(web("1"), "a").keeps_all();
    let skew_2 = TopologySpread { max_skew: 2, ..by_zone() };
    three.bind(of("web", "0").spread(skew_2), "a").bind(web("1"), "a").keeps_all();
}

#[test]
fn a_pod_that_its_own_selector_does_not_mean_goes_where_few_are() {
    let [a, b, c] = three_zones();
    let a = a.with_pod(runs(of("web", "old-1"))).with_pod(runs(of("web", "old-2")));
    let case = Case::on([a, b, c]);
    case.clone().bind(of("db", "1").spread(by_zone()), "a").breaks(Rule::Spread);
    case.bind(of("db", "1").spread(by_zone()), "b").keeps_all();
}

#[test]
fn a_node_without_the_label_takes_no_pod_that_is_spread() {
    let case = Case::on([node("a", "a"), bare("nowhere")]);
    case.clone().bind(web("1"), "a").keeps_all();
    case.bind(web("1"), "nowhere").breaks(Rule::Spread);
}

#[test]
fn with_too_few_domains_the_fewest_is_none() {
    let even = |least| {
        let spread = TopologySpread { min_domains: Some(least), ..by_zone() };
        let web = |name: &str| of("web", name).spread(spread.clone());
        two_and_one(web).bind(web("4"), "c")
    };
    even(3).keeps_all();
    even(4).breaks(Rule::Spread);
}

#[test]
fn domains_that_a_pod_can_t_use_count_as_its_policies_say() {
    let in_a_or_b = |policy| {
        two_and_one(move |name| {
            let spread = TopologySpread { node_affinity_policy: policy, ..by_zone() };
            let one = |zone: &str| vec![Requirement::is_in(key::ZONE, [zone])];
            of("web", name).spread(spread).or_require(one("a")).or_require(one("b"))
        })
    };
    in_a_or_b(NodeInclusion::Honor).keeps_all();
    in_a_or_b(NodeInclusion::Ignore).breaks(Rule::Spread);
    two_and_one(|name| web(name).require(Requirement::not_in(key::ZONE, ["c"]))).keeps_all();
    let without_ssd = |zones: &'static [usize]| {
        let case = two_and_one(|name| web(name).require(Requirement::does_not_exist("ssd")));
        case.but(|input, _| {
            for zone in zones {
                input.nodes[*zone].labels.insert("ssd".into(), "yes".into());
            }
        })
    };
    without_ssd(&[2]).keeps_all();
    without_ssd(&[]).breaks(Rule::Spread);

    let c_tainted = |policy, accepts: bool| {
        let spread = TopologySpread { node_taints_policy: policy, ..by_zone() };
        let web = |name: &str| of("web", name).spread(spread.clone());
        let case = two_and_one(|name| {
            if accepts { web(name).tolerate(Toleration::exists("x")) } else { web(name) }
        });
        case.but(|input, _| input.nodes[2].taints.push(Taint::new("x", "", Effect::NoSchedule)))
    };
    c_tainted(NodeInclusion::Honor, false).keeps_all();
    c_tainted(NodeInclusion::Honor, true).breaks(Rule::Spread);
    c_tainted(NodeInclusion::Ignore, false).breaks(Rule::Spread);
}

#[test]
fn what_a_pool_could_launch_is_a_domain() {
    let one_zone = || Case::on([node("a", "a")]).bind(web("1"), "a").bind(web("2"), "a");
    let sells = |case: Case, zone: &str| {
        let types = [sold("small", 2_000, 100, &[zone])];
        case.but(|input, _| input.instance_types = types.into())
    };
    let pool = |case: Case, pool| case.but(|input, _| input.pools.push(pool));
    one_zone().keeps_all();
    sells(one_zone(), "b").keeps_all();
    sells(pool(one_zone(), NodePool::new("p")), "a").keeps_all();
    sells(pool(one_zone(), NodePool::new("p")), "b").breaks(Rule::Spread);
    let elsewhere = NodePool::new("p").require(Requirement::not_in(key::ZONE, ["b"]));
    sells(pool(one_zone(), elsewhere), "b").keeps_all();
    let sold_out = sold("small", 2_000, 100, &[])
        .with_offering(Offering::new("b", binpack::CapacityType::Reserved, 100).with_available(0));
    pool(one_zone(), NodePool::new("p"))
        .but(|input, _| input.instance_types = [sold_out].into())
        .keeps_all();
}

#[test]
fn labels_of_pools_types_and_launches_are_domains_too() {
    let by_rack = TopologySpread::new("rack", app("web"), 1);
    let web = |name: &str| of("web", name).spread(by_rack.clone());
    let types = || [sold("small", 2_000, 100, &["a"])];
    let racks = |case: Case| {
        let pool = |name: &str| NodePool::new(name).with_label("rack", name);
        case.but(|input, _| input.pools = vec![pool("r1"), pool("r2")])
    };
    let both = |name: &str| [web(&format!("{name}-1")), web(&format!("{name}-2"))];
    racks(Case::launching(types())).launch("small", "a", both("r1")).breaks(Rule::Spread);
    let one = racks(Case::launching(types())).but(|input, _| drop(input.pools.pop()));
    one.launch("small", "a", both("r1")).keeps_all();

    let by_type = TopologySpread::new(key::INSTANCE_TYPE, app("web"), 1);
    let web = |name: &str| of("web", name).spread(by_type.clone());
    let types = [sold("small", 2_000, 100, &["a"]), sold("large", 4_000, 200, &["a"])];
    let case = Case::launching(types).launch("small", "a", [web("1"), web("2")]);
    case.breaks(Rule::Spread);
    case.launch("large", "a", [web("3")]).keeps_all();
}

#[test]
fn every_node_is_a_hostname_with_or_without_the_label() {
    let by_host = |max_skew| TopologySpread::new(key::HOSTNAME, app("web"), max_skew);
    let two = |max_skew| {
        let web = |name: &str| of("web", name).spread(by_host(max_skew));
        Case::on([bare("n")]).bind(web("1"), "n").bind(web("2"), "n")
    };
    two(1).breaks(Rule::Spread);
    two(2).keeps_all();
    let web = |name: &str| of("web", name).spread(by_host(1));
    let small = || Case::launching([sold("small", 2_000, 100, &["a"])]);
    small().launch("small", "a", [web("1")]).launch("small", "a", [web("2")]).keeps_all();
    small().launch("small", "a", [web("1"), web("2")]).breaks(Rule::Spread);
}
