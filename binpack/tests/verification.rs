//! The verifier: a certificate that proves its bound passes, and one that doesn't is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

mod fixture;

use std::fs::File;

use binpack::{
    Binding, CapacityType, Certificate, Config, CsvCatalogue, Effect, ErrorKind, Input,
    InstanceType, LabelSelector, Node, NodeGroup, NodePool, Offering, Plan, Pod, Reason,
    ReasonKind, Requirement, Resources, Taint, Target, Toleration, TopologySpread, Unplaced,
    Verified, key, plan, verify, workload,
};
use fixture::{GIB, pods};
use proptest::prelude::*;

/// A machine of this size, sold on demand in one zone.
fn machine(name: &str, has: Resources, price_micros: u64) -> InstanceType {
    let sold = Offering::new("zone-a", CapacityType::OnDemand, price_micros);
    InstanceType::new(name, has).with_offering(sold)
}

fn asking(pods: Vec<Pod>, types: Vec<InstanceType>) -> Input {
    let pools = vec![NodePool::new("p")];
    Input { pods, pools, instance_types: types.into(), ..Input::default() }
}

/// A plan with this certificate that binds all pods of value, at a cost that contradicts no bound.
fn certified(input: &Input, bound: u64, values: &[u64]) -> Plan {
    let mut plan = Plan::default();
    for (pod, value) in input.pods.iter().zip(values) {
        if *value > 0 {
            plan.bindings.push(Binding::new(pod.name.clone(), Target::Launch(0), vec![]));
        } else {
            let reason = Reason::new(ReasonKind::Resources, "too large");
            plan.unplaced.push(Unplaced::new(pod.name.clone(), reason));
        }
    }
    plan.cost_per_hour_micros = u64::MAX;
    plan.certificate = Some(Certificate::new(bound, values.to_vec(), vec![]));
    plan
}

/// Each pod at the same value, and the bound that is their sum.
fn equal(input: &Input, value: u64) -> Plan {
    let values = vec![value; input.pods.len()];
    certified(input, values.iter().sum::<u64>() / 1_000, &values)
}

#[track_caller]
fn refused(input: &Input, plan: &Plan) -> String {
    let error = verify(input, plan).expect_err("it proves nothing");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

/// The greatest equal value is exactly this.
#[track_caller]
fn holds_up_to(input: &Input, value: u64) -> Verified {
    let found = refused(input, &equal(input, value + 1));
    assert!(found.contains("can carry pods worth"), "{found}");
    verify(input, &equal(input, value)).expect("it is proven")
}

#[test]
fn values_hold_up_to_the_price_and_no_further() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let input = asking(pods(8, &Resources::new(1_000, GIB)), vec![machine("four", has, 4)]);
    let verified = holds_up_to(&input, 1_000);
    assert_eq!((verified.lower_bound_micros, verified.offers_checked), (8, 1));
    let message = refused(&input, &equal(&input, 1_010));
    assert!(message.contains("four (on-demand in zone-a, pool p) costs 4000"), "{message}");
    assert!(message.contains("worth 4040"), "{message}");
}

#[test]
fn the_machines_of_groups_are_priced_whatever_their_sizes() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let taint = Taint::new("gpu", "", Effect::NoSchedule);
    let tolerant = pods(8, &Resources::new(1_000, GIB)).into_iter();
    let tolerant = tolerant.map(|pod| pod.tolerate(Toleration::exists("gpu"))).collect();
    let mut input = asking(tolerant, vec![machine("four", has, 4)]);
    input.pools.clear();
    let group = NodeGroup::new("g", "four", "zone-a").with_sizes(0, 1).with_taint(taint);
    input.node_groups = vec![group];
    assert_eq!(holds_up_to(&input, 1_000).offers_checked, 1);
    let found = refused(&input, &equal(&input, 1_001));
    assert!(found.contains("node group g"), "{found}");
    // Whom the taint keeps out may be worth more: no machine carries them.
    input.pods.iter_mut().for_each(|pod| pod.tolerations.clear());
    assert!(verify(&input, &equal(&input, 5_000)).is_ok());
    let pool = Requirement::is_in(key::NODE_POOL, ["g"]);
    input.node_groups[0].taints.clear();
    input.pods.iter_mut().for_each(|pod| pod.requirements = vec![pool.clone()]);
    assert!(verify(&input, &equal(&input, 5_000)).is_ok(), "a group is no pool");
}

#[test]
fn pods_are_not_divisible() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let input = asking(pods(5, &Resources::new(3_000, GIB)), vec![machine("four", has, 4)]);
    assert_eq!(holds_up_to(&input, 4_000).lower_bound_micros, 20);
    // Two sizes of which one of each fits, and nothing more: 5 + 3 of 9.
    let mut mixed = pods(6, &Resources::new(5_000, GIB));
    mixed.extend((0..6).map(|i| Pod::new(format!("q{i}"), Resources::new(3_000, GIB))));
    let has = Resources::new(8_900, 16 * GIB).with_pods(10);
    let input = asking(mixed, vec![machine("nine", has, 9)]);
    let values = |five: u64, three: u64| -> Vec<u64> { [[five; 6], [three; 6]].concat() };
    verify(&input, &certified(&input, 54, &values(4_500, 4_500))).expect("two are 9 in any way");
    refused(&input, &certified(&input, 54, &values(4_500, 4_501)));
    verify(&input, &certified(&input, 54, &values(6_000, 3_000))).expect("5 + 3");
    refused(&input, &certified(&input, 54, &values(6_001, 3_000)));
}

#[test]
fn a_machine_takes_only_so_many_pods() {
    let has = Resources::new(64_000, 64 * GIB).with_pods(5);
    let input = asking(pods(9, &Resources::new(100, 1)), vec![machine("few", has, 10)]);
    holds_up_to(&input, 2_000);
    let input = asking(pods(3, &Resources::new(100, 1)), input.instance_types.to_vec());
    holds_up_to(&input, 3_333);
}

#[test]
fn shares_of_gpus_are_on_devices() {
    let has = Resources::new(96_000, 96 * GIB).with_pods(200).with_gpu_milli(8_000);
    let shares = [(810, 8), (501, 8), (500, 16), (470, 16), (334, 16), (320, 24), (251, 24)];
    // No dual feasible function of few steps tells these.
    let smaller = [(190, 40), (140, 56), (111, 72), (67, 112)];
    for (share, most) in shares.into_iter().chain(smaller) {
        let of = Resources::new(100, 1).with_gpu_milli(share);
        let input = asking(pods(120, &of), vec![machine("gpus", has.clone(), most * 100)]);
        holds_up_to(&input, 100_000);
    }
    let two = Resources::new(100, 1).with_gpu_milli(2_000);
    holds_up_to(&asking(pods(9, &two), vec![machine("gpus", has, 400)]), 100_000);
}

/// Each device holds one of 470 with one of 530, and three of 320 with nothing else: what the sums
/// let fit of the three together doesn't.
#[test]
fn shares_of_several_sizes_are_on_devices() {
    let has = Resources::new(96_000, 96 * GIB).with_pods(200).with_gpu_milli(4_000);
    let mut input = asking(vec![], vec![machine("gpus", has, 8)]);
    for (share, number) in [(470, 9), (530, 9), (320, 9), (1_000, 1)] {
        let pod = |i| {
            let requests = Resources::new(100, 1).with_gpu_milli(share);
            Pod::new(format!("{share}-{i}"), requests)
        };
        input.pods.extend((0..number).map(pod));
    }
    let values = |three: u64, whole: u64| -> Vec<u64> {
        [vec![1_000; 18], vec![three; 9], vec![whole]].concat()
    };
    let passes = |three, whole| {
        let values = values(three, whole);
        verify(&input, &certified(&input, values.iter().sum::<u64>() / 1_000, &values)).is_ok()
    };
    // Four devices at 2000 each, whatever is on them: 320 goes with 470 or 530 or with two others.
    assert!(passes(666, 2_000));
    assert!(!passes(667, 2_000) && !passes(666, 2_001));
    let message = refused(&input, &certified(&input, 24, &values(667, 2_000)));
    // One to three devices with three of 320 each, and pairs.
    let worth = ["8001:", "8002:", "8003:"].map(|worth| format!("can carry pods worth {worth}"));
    assert!(worth.iter().any(|worth| message.contains(worth)), "{message}");
}

#[test]
fn pods_that_keep_apart_share_no_machine() {
    let has = Resources::new(64_000, 64 * GIB).with_pods(50);
    let web = || LabelSelector::labels([("app", "web")]);
    let spread = TopologySpread::new(key::HOSTNAME, web(), 2);
    let small = Resources::new(100, GIB);
    let web_pods = |change: &dyn Fn(Pod) -> Pod| -> Input {
        let one = |pod: Pod| change(pod.with_label("app", "web"));
        asking(pods(9, &small).into_iter().map(one).collect(), vec![machine("m", has.clone(), 6)])
    };
    holds_up_to(&web_pods(&|pod| pod.spread(spread.clone())), 3_000);
    holds_up_to(&web_pods(&|pod| pod.alone_among(web())), 6_000);
    // What is only preferred, or means other pods or other domains, bounds nothing.
    let zonal = TopologySpread::new(key::ZONE, web(), 1);
    let others = LabelSelector::labels([("app", "db")]);
    holds_up_to(&web_pods(&|pod| pod.spread(spread.clone().schedule_anyway())), 666);
    holds_up_to(&web_pods(&|pod| pod.spread(zonal.clone()).alone_among(others.clone())), 666);
    // A group that pods of different size share, in one namespace.
    let sizes = |pod: Pod| {
        let odd = pod.name.ends_with(['1', '3', '5', '7']);
        let mut pod = pod;
        pod.requests.cpu_milli += if odd { 100 } else { 0 };
        pod.alone_among(web())
    };
    holds_up_to(&web_pods(&sizes), 6_000);
    let spaces = |pod: Pod| if pod.name.ends_with('1') { pod.in_namespace("b") } else { pod };
    holds_up_to(&web_pods(&|pod| sizes(spaces(pod))), 3_000);
}

#[test]
fn what_may_not_enter_needs_no_price() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let cheap = machine("cheap", has.clone(), 1).with_label(key::ARCH, "arm64");
    let dear = machine("dear", has, 4).with_label(key::ARCH, "amd64");
    let bare = pods(8, &Resources::new(1_000, GIB));
    let with = |change: &dyn Fn(Pod) -> Pod| {
        asking(bare.iter().cloned().map(change).collect(), vec![cheap.clone(), dear.clone()])
    };
    holds_up_to(&with(&|pod| pod), 250);
    let amd64 = || Requirement::is_in(key::ARCH, ["amd64"]);
    holds_up_to(&with(&|pod| pod.require(amd64())), 1_000);
    let large = Requirement::is_in(key::INSTANCE_TYPE, ["dear"]);
    holds_up_to(&with(&|pod| pod.or_require(vec![large.clone()]).or_require(vec![amd64()])), 1_000);
    holds_up_to(
        &with(&|pod| {
            pod.or_require(vec![amd64()])
                .or_require(vec![Requirement::is_in(key::ZONE, ["zone-a"])])
        }),
        250,
    );

    let mut tainted = with(&|pod| pod);
    tainted.pools = vec![NodePool::new("p").require(amd64())];
    tainted.pools.push(NodePool::new("arm").with_taint(Taint::new("t", "", Effect::NoSchedule)));
    holds_up_to(&tainted, 1_000);
    tainted.pools[1].taints[0].effect = Effect::PreferNoSchedule;
    holds_up_to(&tainted, 250);
    tainted.pools[1].taints[0].effect = Effect::NoExecute;
    tainted.pods.iter_mut().for_each(|pod| pod.tolerations.push(Toleration::exists("t")));
    holds_up_to(&tainted, 250);
    tainted.pools[1] = NodePool::new("arm").with_label(key::ARCH, "amd64");
    assert_eq!(holds_up_to(&tainted, 1_000).offers_checked, 1, "the label contradicts the type");
}

#[test]
fn what_is_sold_out_needs_no_price() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let sold_out = |left| {
        let sold = Offering::new("zone-a", CapacityType::OnDemand, 1).with_available(left);
        InstanceType::new("cheap", has.clone()).with_offering(sold)
    };
    let of = |left| {
        let types = vec![sold_out(left), machine("dear", has.clone(), 4)];
        asking(pods(8, &Resources::new(1_000, GIB)), types)
    };
    assert_eq!(holds_up_to(&of(0), 1_000).offers_checked, 1);
    holds_up_to(&of(1), 250);
}

#[test]
fn daemons_take_room_and_best_effort_gives_some() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let mut input = asking(pods(8, &Resources::new(1_000, GIB)), vec![machine("four", has, 12)]);
    input.pools[0].daemon_overhead = Resources::new(1, 0);
    holds_up_to(&input, 4_000);
    let daemon = Pod::new("d", Resources::new(1_000, 0));
    input.daemons =
        vec![Pod::new("e", Resources::new(9_000, 0)).require(Requirement::exists("absent"))];
    holds_up_to(&input, 4_000);
    input.daemons.push(daemon);
    holds_up_to(&input, 6_000);
    input.pools[0].daemon_overhead = Resources::new(4_000, 0);
    let verified = verify(&input, &equal(&input, 1 << 40)).expect("nothing can be launched");
    assert_eq!((verified.offers_checked, verified.offers_spared), (0, 0));

    input =
        asking(pods(40, &Resources::new(1_000, GIB).best_effort()), input.instance_types.to_vec());
    verify(&input, &equal(&input, 1 << 40)).expect("there is no room for best-effort pods");
    input.pools[0].best_effort_percent = 150;
    holds_up_to(&input, 2_000);
}

#[test]
fn nodes_that_exist_may_carry_a_part() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let mut input =
        asking(pods(8, &Resources::new(1_000, GIB)), vec![machine("four", has.clone(), 4)]);
    let values = [1_000; 8];
    let proves = |input: &Input, bound: u64| {
        verify(input, &certified(input, bound, &values)).expect("it is proven");
        let message = refused(input, &certified(input, bound + 1, &values));
        assert!(message.contains(&format!("the values prove {bound}")), "{message}");
    };
    proves(&input, 8);
    let node = |name| {
        let mut node = Node::new(name, has.clone());
        node.used = Resources::new(1_500, 0);
        node
    };
    input.nodes = vec![node("n0"), node("n1")];
    proves(&input, 4);
    input.nodes.push(node("n2"));
    proves(&input, 2);
    input.nodes[0].taints = vec![Taint::new("t", "", Effect::NoSchedule)];
    proves(&input, 4);
    input.nodes[1].used.cpu_milli = 9_000;
    proves(&input, 6);
    input.nodes[2].disrupting = true;
    proves(&input, 8);
    input.nodes[2].disrupting = false;
    input.nodes.extend(["n3", "n4", "n5", "n6", "n7", "n8"].map(node));
    proves(&input, 0);
}

#[test]
fn every_corruption_is_refused() {
    let has = Resources::new(4_000, 16 * GIB).with_pods(10);
    let mut input = asking(pods(8, &Resources::new(1_000, GIB)), vec![machine("four", has, 4)]);
    input.pods.push(Pod::new("huge", Resources::new(5_000, GIB)));
    let values = [1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 0];
    let valid = certified(&input, 8, &values);
    verify(&input, &valid).expect("it is valid");
    let corrupt = |change: &dyn Fn(&mut Plan, &mut Certificate)| {
        let (mut plan, mut certificate) = (valid.clone(), valid.certificate.clone().unwrap());
        change(&mut plan, &mut certificate);
        plan.certificate = Some(certificate);
        refused(&input, &plan)
    };
    for pod in 0..8 {
        assert!(corrupt(&|_, c| c.values_nanos[pod] += 1).contains("worth 4001"));
    }
    assert!(corrupt(&|_, c| c.lower_bound_micros += 1).contains("the values prove 8"));
    assert!(corrupt(&|_, c| c.values_nanos[0] -= 1).contains("the values prove 7"));
    assert!(corrupt(&|_, c| c.values_nanos[8] = 1).contains("pod huge, which has no place"));
    assert!(corrupt(&|p, _| p.bindings.truncate(7)).contains("pod p7, which has no place"));
    assert!(corrupt(&|_, c| c.values_nanos.truncate(8)).contains("8 values for 9 pods"));
    assert!(corrupt(&|_, c| c.values_nanos.push(0)).contains("10 values for 9 pods"));
    assert!(corrupt(&|p, _| p.cost_per_hour_micros = 7).contains("above the plan's cost of 7"));
    assert!(corrupt(&|_, c| c.values_nanos[0] = u64::MAX).contains("worth 18446744073709551615"));
    let mut none = valid.clone();
    none.certificate = None;
    assert!(refused(&input, &none).contains("has no certificate"));
    let twice = Input { pods: [input.pods.clone(), input.pods.clone()].concat(), ..input.clone() };
    assert!(refused(&twice, &valid).contains("given twice"));
}

/// Kinds of pods as CPU, memory, number and value, and machines as CPU, memory and pods.
type Small = (Vec<(u64, u64, usize, u64)>, Vec<(u64, u64, u64)>);

fn any_small() -> impl Strategy<Value = Small> {
    let kinds = prop::collection::vec((0..9u64, 0..9u64, 1..6usize, 1..60u64), 1..5);
    (kinds, prop::collection::vec((0..30u64, 0..30u64, 0..12u64), 1..5))
}

fn small(kinds: &[(u64, u64, usize, u64)], types: Vec<InstanceType>) -> (Input, Vec<u64>) {
    let mut all = Vec::new();
    for (k, (cpu, memory, number, value)) in kinds.iter().enumerate() {
        let pod = |i| Pod::new(format!("{k}-{i}"), Resources::new(*cpu, *memory));
        all.extend((0..*number).map(|i| (pod(i), value * 1_000)));
    }
    let (pods, values) = all.into_iter().unzip();
    (asking(pods, types), values)
}

/// The most that fits, by trying everything.
fn most(kinds: &[(u64, u64, usize, u64)], (cpu, memory, pods): (u64, u64, u64)) -> u64 {
    let Some(((c, m, number, value), rest)) = kinds.split_first() else {
        return 0;
    };
    let tries = (0..=*number as u64).take_while(|n| n * c <= cpu && n * m <= memory && *n <= pods);
    tries
        .map(|n| n * value + most(rest, (cpu - n * c, memory - n * m, pods - n)))
        .max()
        .unwrap_or(0)
}

fn any_cluster() -> impl Strategy<Value = Input> {
    let gpu = prop::sample::select(vec![0, 0, 200, 334, 470, 500, 600, 1_000, 2_000]);
    let kind = (0..8u64, 0..8u64, gpu, any::<bool>(), 1..6u32);
    let size = || (1..24u64, 1..24u64, 1..9u64, 0..4u64);
    let resources = |(cpu, memory, pods, gpus): (u64, u64, u64, u64)| {
        Resources::new(cpu, memory).with_pods(pods).with_gpu_milli(gpus * 1_000)
    };
    let types = prop::collection::vec((size(), 1..2_000u64, any::<bool>()), 1..4);
    let nodes = prop::collection::vec((size(), any::<bool>()), 0..3);
    let kinds = prop::collection::vec(kind, 1..5);
    (kinds, types, nodes, 0..2u64).prop_map(move |(kinds, types, nodes, daemons)| {
        let disk = || Requirement::exists("disk");
        let mut pods = Vec::new();
        for (k, (cpu, memory, gpu, picky, number)) in kinds.into_iter().enumerate() {
            let requests = Resources::new(cpu, memory).with_gpu_milli(gpu);
            let pod = |i| Pod::new(format!("{k}-{i}"), requests.clone());
            pods.extend((0..number).map(|i| if picky { pod(i).require(disk()) } else { pod(i) }));
        }
        let types = types.into_iter().enumerate().map(|(i, (size, price, has_disk))| {
            let it = machine(&format!("t{i}"), resources(size), price);
            if has_disk { it.with_label("disk", "ssd") } else { it }
        });
        let mut input = asking(pods, types.collect());
        input.pools[0].daemon_overhead = Resources::new(daemons, daemons);
        input.nodes = nodes
            .into_iter()
            .enumerate()
            .map(|(i, (size, has_disk))| {
                let node = Node::new(format!("n{i}"), resources(size));
                if has_disk { node.with_label("disk", "ssd") } else { node }
            })
            .collect();
        input
    })
}

/// The greatest number up to `limit` for which something holds that holds for 0 and for all below.
fn greatest(limit: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut yes, mut no) = (0, limit + 1);
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if holds(middle) { yes = middle } else { no = middle }
    }
    yes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_is_worth_more_than_its_price_is_refused((kinds, sizes) in any_small(), cut in any::<prop::sample::Index>()) {
        let worth: Vec<u64> = sizes.iter().map(|size| most(&kinds, *size)).collect();
        let sold = |prices: &[u64]| -> Vec<InstanceType> {
            let each = sizes.iter().zip(prices).enumerate();
            each.map(|(i, ((cpu, memory, pods), price))| {
                machine(&format!("t{i}"), Resources::new(*cpu, *memory).with_pods(*pods), *price)
            }).collect()
        };
        let (input, values) = small(&kinds, sold(&worth));
        let bound = values.iter().sum::<u64>() / 1_000;
        let verified = verify(&input, &certified(&input, bound, &values)).expect("no price is exceeded");
        prop_assert_eq!(verified.lower_bound_micros, bound);
        prop_assert_eq!(verified.offers_checked + verified.offers_spared, sizes.len());

        let cut = cut.index(sizes.len());
        if worth[cut] > 0 {
            let mut prices = worth.clone();
            prices[cut] -= 1;
            let (input, values) = small(&kinds, sold(&prices));
            let message = refused(&input, &certified(&input, bound, &values));
            let expected = format!("t{cut} (on-demand in zone-a, pool p) costs {} nano-dollars an \
                hour and can carry pods worth {}:", prices[cut] * 1_000, worth[cut] * 1_000);
            prop_assert!(message.contains(&expected), "{}", message);
        }
    }

    #[test]
    fn no_bound_that_passes_is_above_the_cost_of_a_plan(input in any_cluster(), raw in prop::collection::vec(1..1_000u64, 4)) {
        let packed = plan(&input, &Config::default()).expect("well formed");
        let unplaced = |pod: &Pod| packed.unplaced.iter().any(|one| one.pod == pod.name);
        let values = |scale: u64| -> Vec<u64> {
            let of = |pod: &Pod| if unplaced(pod) { 0 } else { raw[usize::from(pod.name.as_bytes()[0] - b'0')] * scale };
            input.pods.iter().map(of).collect()
        };
        // As high as the prices allow, and the greatest bound that this proves.
        let scale = greatest(100_000, |scale| verify(&input, &certified(&input, 0, &values(scale))).is_ok());
        let values = values(scale);
        let all = values.iter().sum::<u64>() / 1_000;
        let bound = greatest(all, |bound| verify(&input, &certified(&input, bound, &values)).is_ok());
        prop_assert!(bound <= packed.cost_per_hour_micros, "{} is above {}", bound, packed.cost_per_hour_micros);
    }

    #[test]
    fn arbitrary_certificates_never_panic(
        input in any_cluster(),
        values in prop::collection::vec(prop_oneof![any::<u64>(), 0..100_000u64, Just(0)], 0..30),
        bound in prop_oneof![any::<u64>(), 0..1_000u64],
        fit in any::<bool>(),
    ) {
        let values = if fit { values.into_iter().chain(std::iter::repeat(7)).take(input.pods.len()).collect() } else { values };
        let plan = certified(&input, bound, &values);
        if let Ok(verified) = verify(&input, &plan) {
            let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
            prop_assert!(values.len() == input.pods.len() && u128::from(verified.lower_bound_micros) * 1_000 <= sum);
        }
    }
}

/// A real trace on a real catalogue, at values that hold for any mix of resources: a pod's part of
/// the mix on the machine that sells it cheapest.
#[test]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values are rounded down, well within their slack"
)]
fn values_of_a_real_trace_hold_on_a_real_catalogue() {
    let Some(folder) = std::env::var_os("TRESTLE_DATA") else {
        eprintln!(
            "SKIPPED: values_of_a_real_trace_hold_on_a_real_catalogue wants the trace and the \
                   catalogue: set TRESTLE_DATA to the folder of the data files"
        );
        return;
    };
    let file =
        |name: &str| File::open(std::path::Path::new(&folder).join(name)).expect("it is there");
    let pods = workload::openb(file("openb_pod_list_default.csv")).expect("it is well formed");
    let types =
        CsvCatalogue::read(file("aws_instance_types.csv")).expect("it is well formed").types();
    let sold: Vec<(&Resources, u64)> = types
        .iter()
        .filter(|it| &*it.labels[key::ARCH] == "amd64")
        .filter_map(|it| {
            let on_demand = |o: &&Offering| o.capacity_type == CapacityType::OnDemand;
            Some((&it.allocatable, it.offerings.iter().find(on_demand)?.price_micros))
        })
        .collect();
    let part = |need: u64, has: u64| if need == 0 { 0.0 } else { need as f64 / has.max(1) as f64 };
    let value = |pod: &Pod, [cpu, memory, gpu]: [f64; 3]| -> u64 {
        let need = &pod.requests;
        let on = |(has, price): &(&Resources, u64)| {
            let parts = cpu * part(need.cpu_milli, has.cpu_milli)
                + memory * part(need.memory_bytes, has.memory_bytes)
                + gpu * part(need.gpu_milli, has.gpu_milli);
            parts * *price as f64 * 1_000.0
        };
        let fitting = sold.iter().filter(|(has, _)| need.fits_within(has));
        fitting.map(on).reduce(f64::min).map_or(0, |value| (value * (1.0 - 1e-9)) as u64)
    };
    let pools = vec![NodePool::linux_amd64_on_demand("default")];
    let input = Input { pods, pools, instance_types: types.clone(), ..Input::default() };
    let mut searched = 0;
    for mix in [[0.6, 0.4, 0.0], [0.3, 0.2, 0.5]] {
        let values: Vec<u64> = input.pods.iter().map(|pod| value(pod, mix)).collect();
        let bound = values.iter().sum::<u64>() / 1_000;
        let verified = verify(&input, &certified(&input, bound, &values)).expect("it is proven");
        assert!(verified.lower_bound_micros > 1_000_000_000, "{verified:?}");
        assert!(verified.offers_spared > 5 * verified.offers_checked, "{verified:?}");
        // As much higher as the sizes of pods leave machines partly empty, in steps of 1/1000.
        let raised = |by: u64| -> Vec<u64> {
            values.iter().map(|value| value + value * by / 1_000).collect()
        };
        let passes = |by| verify(&input, &certified(&input, bound, &raised(by)));
        let most = greatest(1_000, |by| passes(by).is_ok());
        let verified = passes(most).expect("it passed before");
        searched += verified.search_nodes;
        // One more is refused; where devices are shared, it may take twice as much to be sure.
        let refused = if mix[2] > 0.0 { 1_000 } else { most + 1 };
        assert_eq!(passes(refused).unwrap_err().kind(), ErrorKind::Invalid);
        println!("{mix:?}: {most} thousandths more, {verified:?}");
    }
    assert!(searched > 0, "simple bounds alone don't suffice");
}
