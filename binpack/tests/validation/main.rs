//! The validator: a plan that breaks a rule does not pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

mod against_all_pairs;
mod attachments;
mod case;
mod evictions;
#[path = "../fixture/mod.rs"]
mod fixture;
mod gangs;
mod groups;
mod launches;
mod neighbours;
mod relaxed;
mod spread;

use binpack::{
    CapacityType, Effect, Gang, Input, Node, Plan, Pod, Requirement, Resources, Rule, RunningPod,
    Taint, Target, Toleration, breaches, key, validate,
};
use fixture::{GIB, answer, question};

/// Packs two machines of each kind, so that every rule has something to break.
fn valid() -> (Input, Plan) {
    let gpu_node =
        Node::new("gpu", Resources::new(8_000, 8 * GIB).with_pods(9).with_gpu_milli(2_000))
            .with_taint(Taint::new("gpu", "", Effect::NoSchedule))
            .with_label(key::ZONE, "zone-a");
    let share = Pod::new("share", Resources::new(100, 1).with_gpu_milli(600))
        .tolerate(Toleration::exists("gpu"));
    let zonal = Pod::new("zonal", Resources::new(1_500, GIB))
        .require(Requirement::is_in(key::ZONE, ["zone-a"]));
    let mut input =
        question(vec![share, zonal, Pod::new("huge", Resources::new(99_000, 1))], vec![gpu_node]);
    input.pools[0].limits.nodes = Some(3);
    let plan = answer(&input);
    assert_eq!((plan.bindings.len(), plan.launches.len(), plan.unplaced.len()), (2, 1, 1));
    (input, plan)
}

#[track_caller]
fn refused(rule: Rule, corrupt: impl FnOnce(&mut Input, &mut Plan)) {
    let (mut input, mut plan) = valid();
    corrupt(&mut input, &mut plan);
    let found = breaches(&input, &plan);
    assert!(found.iter().any(|breach| breach.rule == rule), "{rule:?} was broken, found {found:?}");
    assert!(validate(&input, &plan).is_err());
}

#[test]
fn the_validator_refuses_every_corruption() {
    refused(Rule::EveryPodOnce, |_, plan| plan.bindings.push(plan.bindings[0].clone()));
    refused(Rule::EveryPodOnce, |_, plan| drop(plan.unplaced.pop()));
    refused(Rule::EveryPodOnce, |_, plan| plan.bindings[0].pod = "stranger".into());
    refused(Rule::TargetExists, |_, plan| {
        plan.bindings[0].target = Target::Existing("nowhere".into());
    });
    refused(Rule::TargetExists, |_, plan| plan.bindings[1].target = Target::Launch(1));
    refused(Rule::TargetExists, |input, _| input.nodes[0].interrupted = true);
    refused(Rule::TargetExists, |input, _| input.nodes[0].disrupting = true);
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements[0] = Requirement::is_in(key::ZONE, ["zone-b"]);
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::exists("disk"));
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::does_not_exist(key::ZONE));
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::not_in(key::ZONE, ["zone-a"]));
    });
    refused(Rule::Requirements, |input, _| {
        input.pods[1].requirements.push(Requirement::greater_than("disk", 1));
    });
    refused(Rule::Taints, |input, _| input.pods[0].tolerations.clear());
    refused(Rule::Taints, |input, _| {
        input.nodes[0].taints.push(Taint::new("gone", "", Effect::NoExecute));
    });
    refused(Rule::Capacity, |input, _| input.pods[0].requests.cpu_milli = 8_001);
    refused(Rule::Capacity, |input, _| input.pods[1].requests.memory_bytes = 65 * GIB);
    refused(Rule::Capacity, |input, _| input.nodes[0].allocatable.pods = 0);
    refused(Rule::Capacity, |input, _| {
        input.pods[0].requests = Resources::default().with_extended("widget", 1);
    });
    refused(Rule::Gpus, |_, plan| plan.bindings[0].gpus.clear());
    refused(Rule::Gpus, |_, plan| plan.bindings[0].gpus = vec![2]);
    refused(Rule::Gpus, |_, plan| plan.bindings[0].gpus = vec![0, 1]);
    refused(Rule::Gpus, |input, plan| {
        input.nodes[0].gpu_used_milli = vec![460, 0];
        plan.bindings[0].gpus = vec![0];
    });
    refused(Rule::Gpus, |input, plan| {
        input.pods[0].requests.gpu_milli = 2_000;
        plan.bindings[0].gpus = vec![0, 0];
    });
}

#[test]
fn the_validator_refuses_every_corrupt_launch() {
    refused(Rule::Launch, |_, plan| plan.launches[0].pool = "stranger".into());
    refused(Rule::Launch, |_, plan| plan.launches[0].instance_type = "stranger".into());
    refused(Rule::Launch, |_, plan| plan.launches[0].zone = "zone-b".into());
    refused(Rule::Launch, |_, plan| plan.launches[0].capacity_type = CapacityType::Spot);
    refused(Rule::Launch, |_, plan| plan.launches[0].price_micros -= 1);
    refused(Rule::Launch, |_, plan| plan.launches[0].allocatable.cpu_milli += 1);
    refused(Rule::Launch, |_, plan| plan.launches[0].capacity.cpu_milli += 1);
    refused(Rule::Launch, |_, plan| plan.launches[0].daemon_overhead.cpu_milli += 1);
    refused(Rule::Launch, |_, plan| {
        drop(plan.launches[0].labels.insert("disk".into(), "ssd".into()));
    });
    refused(Rule::Launch, |_, plan| {
        plan.launches[0].taints.push(Taint::new("x", "", Effect::NoSchedule));
    });
    refused(Rule::Launch, |input, _| input.pools[0].requirements.push(Requirement::exists("disk")));
    refused(Rule::Requested, |_, plan| plan.launches[0].requested.cpu_milli += 1);
    refused(Rule::Requested, |_, plan| plan.launches.push(plan.launches[0].clone()));
    refused(Rule::Limits, |input, _| input.pools[0].limits.nodes = Some(0));
    refused(Rule::Limits, |input, _| input.pools[0].limits.memory_bytes = Some(1));
    refused(Rule::Cost, |_, plan| plan.cost_per_hour_micros += 1);
}

#[test]
fn names_that_two_objects_share_are_refused() {
    refused(Rule::EveryPodOnce, |input, _| input.pods.push(input.pods[0].clone()));
    refused(Rule::EveryPodOnce, |input, _| {
        input.nodes[0].pods.push(RunningPod::new(input.pods[0].clone()));
    });
    refused(Rule::Gang, |input, _| input.gangs = vec![Gang::new("g", 1); 2]);
    refused(Rule::TargetExists, |input, _| input.nodes.push(input.nodes[0].clone()));
    refused(Rule::Launch, |input, _| input.pools.push(input.pools[0].clone()));
    refused(Rule::Launch, |input, _| {
        input.instance_types =
            input.instance_types.iter().chain(&*input.instance_types).cloned().collect();
    });
}

#[test]
fn what_looks_like_room_or_a_share_and_is_none_is_refused() {
    // An extended resource that is called like a fixed one lends it nothing.
    refused(Rule::Capacity, |input, _| {
        input.pods[0].requests.cpu_milli = 8_001;
        input.nodes[0].allocatable.extended.insert("cpu_milli".into(), 1 << 40);
    });
    refused(Rule::Capacity, |input, _| {
        input.pods[0].requests.extended.insert("pods".into(), 1);
    });
    // One and a half GPUs are neither.
    refused(Rule::Gpus, |input, _| input.pods[0].requests.gpu_milli = 1_500);
}

#[test]
fn labels_that_a_pool_forces_on_a_machine_are_refused() {
    refused(Rule::Launch, |input, plan| {
        input.instance_types = input
            .instance_types
            .iter()
            .map(|it| it.clone().with_label(key::ARCH, "amd64"))
            .collect();
        input.pools[0].labels.insert(key::ARCH.into(), "arm64".into());
        plan.launches[0].labels.insert(key::ARCH.into(), "arm64".into());
    });
    refused(Rule::Launch, |input, plan| {
        input.pools[0].labels.insert(key::ZONE.into(), "zone-b".into());
        plan.launches[0].labels.insert(key::ZONE.into(), "zone-b".into());
    });
}

#[test]
fn what_was_over_before_is_not_the_plans_doing() {
    let (mut input, plan) = valid();
    let pods = &mut input.pods;
    pods[0].requests.ephemeral_bytes = 0;
    input.nodes[0].used.ephemeral_bytes = 5;
    input.nodes[0].labels.insert(key::NODE_POOL.into(), "p".into());
    input.pools[0].limits.gpu_milli = Some(1_000);
    assert_eq!(breaches(&input, &plan), vec![], "neither the disk nor the pool's GPUs are touched");
    input.pods[0].requests.ephemeral_bytes = 1;
    assert_eq!(breaches(&input, &plan)[0].rule, Rule::Capacity);
}
