//! Small instances against the cheapest launches there are, found by trying all.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panic")]

use binpack::{
    CapacityType, Config, Input, InstanceType, LabelSelector, NodePool, Offering, Pod, Resources,
    breaches, plan, verify,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const GIB: u64 = 1 << 30;

/// Instances of each kind: the seed is fixed, so that the share of optimal plans is too.
const INSTANCES: usize = 400;

fn any_type() -> impl Strategy<Value = (u64, u64, u64, u64)> {
    (1..9u64, 1..17u64, 1..7u64, 10..1_000u64)
}

fn any_input(apart: bool) -> impl Strategy<Value = Input> {
    let types = prop::collection::vec(any_type(), 1..5);
    let app = if apart { select(vec!["x", "y", "none"]) } else { select(vec!["none"]) };
    let pod = (select(vec![100, 500, 900, 1_500, 2_000, 3_000]), 0..6u64, app);
    (types, prop::collection::vec(pod, 1..7)).prop_map(|(types, pods)| {
        let types = types.into_iter().enumerate().map(|(i, (cores, gib, pods, price))| {
            let capacity = Resources::new(cores * 1_000, gib * GIB).with_pods(pods);
            let sold = Offering::new("a", CapacityType::OnDemand, price * 1_000);
            InstanceType::new(format!("t{i}"), capacity).with_offering(sold)
        });
        let pods = pods.into_iter().enumerate().map(|(i, (cpu, gib, app))| {
            let pod = Pod::new(format!("p{i}"), Resources::new(cpu, gib * GIB));
            if app == "none" {
                return pod;
            }
            pod.with_label("app", app).alone_among(LabelSelector::labels([("app", app)]))
        });
        Input {
            pods: pods.collect(),
            pools: vec![NodePool::new("pool")],
            instance_types: types.collect(),
            ..Input::default()
        }
    })
}

/// The price of the cheapest type that holds these pods together, by the bits of a mask; `None`
/// where none does.
fn price(input: &Input, mask: usize) -> Option<u64> {
    let pods: Vec<&Pod> =
        input.pods.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, p)| p).collect();
    let together = pods.iter().enumerate().all(|(i, one)| {
        let others = pods.iter().take(i);
        one.pod_anti_affinity.is_empty()
            || others.into_iter().all(|other| one.labels != other.labels)
    });
    let none = Resources::default();
    let sum = pods.iter().fold(none, |sum, pod| {
        sum.checked_add(&pod.requests.clone().with_pods(1)).expect("small amounts")
    });
    let holding = input.instance_types.iter().filter(|it| sum.fits_within(&it.allocatable));
    holding.map(|it| it.offerings[0].price_micros).min().filter(|_| together)
}

/// The least that launches for all pods cost, over every way of putting them together.
fn optimum(input: &Input) -> Option<u64> {
    let all = 1usize << input.pods.len();
    let prices: Vec<Option<u64>> = (0..all).map(|mask| price(input, mask)).collect();
    let mut best = vec![Some(0u64)];
    for mask in 1..all {
        let first = 1 << mask.trailing_zeros();
        let with_first = (1..=mask).filter(|part| part & !mask == 0 && part & first != 0);
        let costs = with_first.filter_map(|part| Some(prices[part]? + best[mask ^ part]?));
        best.push(costs.min());
    }
    best[all - 1]
}

/// How many of the instances for which there is a plan have an optimal one, and how many there are.
fn optimal(apart: bool, config: &Config) -> (usize, usize) {
    let mut runner = TestRunner::deterministic();
    let strategy = any_input(apart);
    let (mut hits, mut all) = (0, 0);
    for _ in 0..INSTANCES {
        let input = strategy.new_tree(&mut runner).expect("nothing is rejected").current();
        let plan = plan(&input, config).expect("well formed");
        assert_eq!(breaches(&input, &plan), vec![]);
        let Some(least) = optimum(&input) else {
            assert!(!plan.unplaced.is_empty(), "a pod is placed that fits nowhere");
            continue;
        };
        assert!(plan.unplaced.is_empty(), "{:?}\n{input:#?}", plan.unplaced);
        let verified = verify(&input, &plan).expect("the certificate holds");
        let cost = plan.cost_per_hour_micros;
        assert!(least <= cost, "a plan for {cost} where the least is {least}\n{input:#?}");
        let bound = verified.lower_bound_micros;
        assert!(bound <= least, "a bound of {bound} where the least is {least}\n{input:#?}");
        hits += usize::from(cost == least);
        all += 1;
    }
    assert!(all > INSTANCES / 4, "only {all} instances have a plan");
    (hits, all)
}

fn quick() -> Config {
    let mut config = Config::default();
    config.iterations = 0;
    config
}

/// Fails unless so many of a hundred plans are optimal.
fn expect_optimal(percent: usize, apart: bool, config: &Config) {
    let (hits, all) = optimal(apart, config);
    println!("{hits} of {all} plans are optimal");
    assert!(hits * 100 >= all * percent, "{hits} of {all} plans are optimal");
}

#[test]
fn most_plans_of_free_pods_are_optimal() {
    expect_optimal(98, false, &Config::default());
}

#[test]
fn most_plans_of_pods_that_are_apart_are_optimal() {
    expect_optimal(98, true, &Config::default());
}

#[test]
fn many_quick_plans_are_optimal() {
    expect_optimal(95, false, &quick());
    expect_optimal(95, true, &quick());
}
