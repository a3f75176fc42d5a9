//! Daemons, best-effort room, what can be had, limits, and what could take a launch's place.

use binpack::{
    CapacityType, Effect, InstanceType, MinValues, Offering, Pod, Requirement, Resources, Rule,
    Taint, Toleration, Volume, key,
};

use crate::case::{Case, pod, sold};
use crate::fixture::GIB;

fn small() -> InstanceType {
    sold("small", 2_000, 100, &["a"])
}

#[test]
fn daemons_that_run_on_a_launch_are_its_overhead() {
    let requests = Resources::new(300, GIB);
    let with = |daemon: Pod| {
        Case::launching([small()])
            .but(|input, _| {
                input.pools[0].taints.push(Taint::new("t", "", Effect::NoSchedule));
                input.daemons.push(daemon);
            })
            .launch("small", "a", [pod("1").tolerate(Toleration::exists("t"))])
    };
    let daemon = || Pod::new("logs", requests.clone());
    let tolerant = || daemon().tolerate(Toleration::exists("t"));
    let in_zone = |zone: &str| vec![Requirement::is_in(key::ZONE, [zone])];
    for runs in [tolerant(), tolerant().or_require(in_zone("b")).or_require(in_zone("a"))] {
        with(runs.clone()).breaks(Rule::Launch);
        with(runs).overhead(0, &requests).keeps_all();
    }
    let edge = tolerant().require(Requirement::exists("edge"));
    for doesnt in [daemon(), edge, tolerant().or_require(in_zone("b"))] {
        with(doesnt.clone()).keeps_all();
        with(doesnt).overhead(0, &requests).breaks(Rule::Launch);
    }
}

#[test]
fn best_effort_room_is_a_part_of_the_allocatable() {
    let best_effort = Pod::new("batch", Resources::new(900, GIB).best_effort());
    let case = |percent: u32| {
        let it = small().with_allocatable(Resources::new(1_800, 4 * GIB).with_pods(10));
        Case::launching([it])
            .but(|input, _| input.pools[0].best_effort_percent = 50)
            .launch("small", "a", [best_effort.clone()])
            .but(|_, plan| {
                let launch = &mut plan.launches[0];
                launch.allocatable = launch.allocatable.clone().with_best_effort_percent(percent);
            })
    };
    case(50).keeps_all();
    case(60).breaks(Rule::Launch);
}

#[test]
fn no_more_is_launched_than_can_be_had() {
    let reserved = |zone: &str| Offering::new(zone, CapacityType::Reserved, 50).with_available(1);
    let it = small().with_offering(reserved("a")).with_offering(reserved("b"));
    let case = Case::launching([it]);
    let one = case.launch_paid(CapacityType::Reserved, "small", "a", [pod("1")]);
    one.keeps_all();
    one.clone().launch_paid(CapacityType::Reserved, "small", "b", [pod("2")]).keeps_all();
    one.clone().launch("small", "a", [pod("2")]).launch("small", "a", [pod("3")]).keeps_all();
    one.launch_paid(CapacityType::Reserved, "small", "a", [pod("2")]).breaks(Rule::Available);
}

#[test]
fn limits_hold_for_storage_and_extended_resources() {
    let capacity = Resources::new(2_000, 8 * GIB)
        .with_pods(20)
        .with_ephemeral_bytes(10 * GIB)
        .with_extended("fpga", 2);
    let it = InstanceType::new("fpga", capacity).with_offering(Offering::new(
        "a",
        CapacityType::OnDemand,
        100,
    ));
    let case = Case::launching([it]).launch("fpga", "a", [pod("1")]);
    let limited = |storage, fpga| {
        case.clone().but(|input, _| {
            input.pools[0].limits.ephemeral_bytes = Some(storage);
            input.pools[0].limits.extended.insert("fpga".into(), fpga);
            input.pools[0].limits.extended.insert("other".into(), 0);
        })
    };
    limited(10 * GIB, 2).keeps_all();
    limited(10 * GIB - 1, 2).breaks(Rule::Limits);
    limited(10 * GIB, 1).breaks(Rule::Limits);
}

/// A launch of a small machine that has room for its pod on each of the other types, too.
fn choice() -> Case {
    let mut disks = sold("no-disks", 4_000, 300, &["a"]);
    disks.volume_limits.insert("ebs".into(), 0);
    let gone = Offering::new("a", CapacityType::OnDemand, 300).with_available(0);
    let types = [
        small(),
        sold("medium", 3_000, 150, &["a"]).with_label("family", "m"),
        sold("large", 4_000, 200, &["a"]).with_label("family", "l"),
        sold("tiny", 999, 300, &["a"]),
        sold("elsewhere", 4_000, 300, &["b"]),
        sold("gone", 4_000, 300, &[]).with_offering(gone),
        sold("unwanted", 4_000, 300, &["a"]).with_label("unwanted", "yes"),
        sold("arm", 4_000, 300, &["a"]).with_label(key::ARCH, "arm64"),
        sold("old", 4_000, 300, &["a"]).with_label("generation", "1"),
        disks,
    ];
    let pod = Pod::new("1", Resources::new(1_000, GIB))
        .require(Requirement::not_in(key::ARCH, ["arm64"]))
        .with_volume(
            Volume::new("ebs", "v").reached_where(vec![Requirement::not_in("generation", ["1"])]),
        );
    Case::launching(types)
        .but(|input, _| {
            input.pools[0].requirements.push(Requirement::does_not_exist("unwanted"));
        })
        .launch("small", "a", [pod])
}

fn or(names: &[&str]) -> Case {
    choice().but(|_, plan| {
        plan.launches[0].alternatives = names.iter().map(|name| (*name).into()).collect();
    })
}

#[test]
fn alternatives_could_take_the_launchs_place() {
    or(&[]).keeps_all();
    or(&["medium", "large"]).keeps_all();
    or(&["large", "medium"]).breaks(Rule::Alternatives);
    or(&["medium", "medium"]).breaks(Rule::Alternatives);
    let no_match =
        ["small", "tiny", "elsewhere", "gone", "unwanted", "arm", "old", "no-disks", "stranger"];
    for name in no_match {
        or(&["medium", "large", name]).breaks(Rule::Alternatives);
    }
}

#[test]
fn alternatives_have_room_for_the_daemons_that_run_on_them() {
    let with = |daemon: Pod| or(&["medium"]).but(|input, _| input.daemons.push(daemon));
    let on_m =
        |cpu| Pod::new("m", Resources::new(cpu, 0)).require(Requirement::is_in("family", ["m"]));
    with(on_m(2_000)).keeps_all();
    with(on_m(2_001)).breaks(Rule::Alternatives);
}

#[test]
fn alternatives_have_the_devices_that_are_bound() {
    let gpus = |name: &str, number: u64, price| {
        let capacity = Resources::new(4_000, GIB).with_pods(9).with_gpu_milli(number * 1_000);
        InstanceType::new(name, capacity).with_offering(Offering::new(
            "a",
            CapacityType::OnDemand,
            price,
        ))
    };
    let share = |name: &str| Pod::new(name, Resources::new(100, 1).with_gpu_milli(600));
    let bound_to = |gpu| {
        Case::launching([gpus("four", 4, 400), gpus("two", 2, 200)])
            .launch("four", "a", [share("1"), share("2")])
            .but(|_, plan| {
                plan.bindings[0].gpus = vec![0];
                plan.bindings[1].gpus = vec![gpu];
                plan.launches[0].alternatives = vec!["two".into()];
            })
    };
    bound_to(1).keeps_all();
    bound_to(2).breaks(Rule::Alternatives);
}

#[test]
fn alternatives_are_not_too_many() {
    let case = |number: usize| {
        let names: Vec<String> = (0..number).map(|i| format!("t{i}")).collect();
        let others = names.iter().map(|name| sold(name, 2_000, 100, &["a"]));
        let case = Case::launching(others.chain([small()])).launch("small", "a", [pod("1")]);
        case.but(|_, plan| {
            plan.launches[0].alternatives = names.iter().map(|name| name.as_str().into()).collect();
        })
    };
    case(binpack::Launch::MAX_ALTERNATIVES).keeps_all();
    case(binpack::Launch::MAX_ALTERNATIVES + 1).breaks(Rule::Alternatives);
}

#[test]
fn a_launch_chooses_among_as_many_values_as_its_pool_wants() {
    let wants = |key: &str, count: u32, names: &[&str]| {
        or(names).but(|input, _| {
            input.pools[0].min_values.push(MinValues { key: key.into(), count });
        })
    };
    wants(key::INSTANCE_TYPE, 1, &[]).keeps_all();
    wants(key::INSTANCE_TYPE, 2, &[]).breaks(Rule::MinValues);
    wants(key::INSTANCE_TYPE, 3, &["medium", "large"]).keeps_all();
    wants(key::INSTANCE_TYPE, 4, &["medium", "large"]).breaks(Rule::MinValues);
    wants("family", 2, &["medium", "large"]).keeps_all();
    wants("family", 2, &["medium"]).breaks(Rule::MinValues);
}
