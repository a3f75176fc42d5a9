//! The packer where it may evict: plans keep the rules, are the same again, and nobody waits who
//! could have made room.

use binpack::{
    Binding, Config, ErrorKind, Eviction, GPU_MILLI, Gang, Input, LabelSelector, Node, Plan, Pod,
    PodDisruptionBudget, Preemption, PreemptionPolicy, Preemptor, Reason, ReasonKind, Rule, Target,
    TopologySpread, Unplaced, WhenUnsatisfiable, breaches, plan, verify,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::cluster::any_input;
use crate::language::print::Question;
use crate::pods::any_pods;
use crate::{Setting, few, is_simple};

/// What is added to a cluster: priorities of pods that run and that wait, members of gangs among
/// both, who evicts nobody, and what budgets allow.
fn any_question() -> impl Strategy<Value = Question> {
    let priorities = prop::collection::vec(-1..4i32, 1..12);
    let members = prop::collection::vec(select(vec![None, None, None, Some(0), Some(1)]), 1..12);
    let gangs = (1..4u32, 1..4u32, select(vec!["", "prefers", "within"]));
    let budgets = prop::collection::vec((select(vec!["x", "y"]), 0..3u32), 0..3);
    let launches = select(vec![false, false, true]);
    (any_input(any_pods()), priorities, members, gangs, (budgets, launches)).prop_map(
        |(mut input, priorities, members, (least, other, topology), (budgets, launches))| {
            // Where anything can be launched few are evicted.
            input.pools.truncate(usize::from(launches));
            let running = input.nodes.iter_mut().flat_map(|node| &mut node.pods);
            let all = running.map(|running| &mut running.pod).chain(&mut input.pods);
            let choices = priorities.iter().cycle().zip(members.iter().cycle());
            for (at, (pod, (priority, gang))) in all.zip(choices).enumerate() {
                pod.priority = *priority;
                pod.gang = gang.map(|gang: u32| format!("g{gang}").into());
                if at % 7 == 6 {
                    pod.preemption_policy = PreemptionPolicy::Never;
                }
            }
            let mut first = Gang::new("g0", least);
            if !topology.is_empty() {
                first = first.within(binpack::key::ZONE);
                first.topology_required = topology == "within";
            }
            input.gangs = vec![first, Gang::new("g1", other)];
            for (at, (app, allowed)) in budgets.into_iter().enumerate() {
                let of = LabelSelector::labels([("app", app)]);
                let budget = PodDisruptionBudget::new(format!("b{at}"), of, allowed);
                input.disruption_budgets.push(budget);
            }
            Question(input)
        },
    )
}

fn config(setting: Setting) -> Config {
    let mut config = setting.config();
    config.preemption = Preemption::Lower;
    config
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn every_plan_that_evicts_keeps_the_rules(question in any_question(), setting in Setting::any()) {
        let plan = plan(&question.0, &config(setting)).unwrap();
        prop_assert_eq!(breaches(&question.0, &plan), vec![]);
        if let Err(error) = verify(&question.0, &plan) {
            prop_assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error);
        }
    }

    #[test]
    fn the_same_pods_go_again(question in any_question(), setting in Setting::any()) {
        let one = plan(&question.0, &config(setting)).unwrap();
        prop_assert_eq!(one, plan(&question.clone().0, &config(setting)).unwrap());
    }

    #[test]
    fn nobody_waits_who_could_make_room(question in any_question(), setting in Setting::any()) {
        let input = &question.0;
        let made = plan(input, &config(setting)).unwrap();
        prop_assume!(breaches(input, &made).is_empty());
        // A neighbour that a pod prefers and was given is kept.
        let choosy = |pod: &Pod| {
            let anyway = |s: &TopologySpread| {
                s.when_unsatisfiable == WhenUnsatisfiable::ScheduleAnyway
            };
            !pod.preferences.pod_affinity.is_empty() || pod.topology_spread.iter().any(anyway)
        };
        if input.pods.iter().any(choosy) {
            return Ok(());
        }
        for unplaced in &made.unplaced {
            let pod = input.pods.iter().find(|pod| pod.name == unplaced.pod).unwrap();
            let may = pod.preemption_policy == PreemptionPolicy::LowerPriority;
            if !may || pod.gang.is_some() || !is_simple(pod) {
                continue;
            }
            for node in &input.nodes {
                let with = emptied(input, &made, node, pod);
                let found = breaches(input, &with);
                let fits = found.iter().all(|breach| breach.rule == Rule::EvictionNeeded);
                prop_assert!(!fits, "{} could have {}", pod.name, node.name);
            }
        }
    }
}

/// The plan with a pod on a node from which all of lower priority have gone, members of gangs apart.
fn emptied(input: &Input, plan: &Plan, node: &Node, pod: &Pod) -> Plan {
    let mut plan = plan.clone();
    let there = Target::Existing(node.name.clone());
    let low = |name: &str| {
        let of = input.pods.iter().find(|pod| *pod.name == *name).unwrap();
        of.priority < pod.priority && of.gang.is_none()
    };
    let gone: Vec<Binding> =
        plan.bindings.iter().filter(|b| b.target == there && low(&b.pod)).cloned().collect();
    plan.bindings.retain(|binding| !gone.contains(binding));
    plan.relaxed.retain(|of| !gone.iter().any(|binding| binding.pod == of.pod));
    plan.unplaced.retain(|of| of.pod != pod.name);
    let reason = || Reason::new(ReasonKind::Resources, "it made room");
    plan.unplaced.extend(gone.iter().map(|b| Unplaced::new(b.pod.clone(), reason())));
    // Who went for them goes for the pod now.
    for eviction in &mut plan.evictions {
        let of_gone = gone.iter().any(|b| Preemptor::Pod(b.pod.clone()) == eviction.preemptor);
        if of_gone {
            eviction.preemptor = Preemptor::Pod(pod.name.clone());
        }
    }
    for running in &node.pods {
        let of = &running.pod;
        let known = plan.evictions.iter().any(|eviction| eviction.pod == of.name);
        if of.priority < pod.priority && of.gang.is_none() && !known {
            let by = Preemptor::Pod(pod.name.clone());
            plan.evictions.push(Eviction::new(of.name.clone(), node.name.clone(), by, of.priority));
        }
    }
    mark_violations(input, &mut plan);
    let gpus = free_gpus(input, &plan, node, pod);
    plan.bindings.push(Binding::new(pod.name.clone(), there, gpus));
    plan
}

fn mark_violations(input: &Input, plan: &mut Plan) {
    let budgets = &input.disruption_budgets;
    let mut left: Vec<u32> = budgets.iter().map(|budget| budget.disruptions_allowed).collect();
    let running: Vec<&Pod> =
        input.nodes.iter().flat_map(|node| &node.pods).map(|running| &running.pod).collect();
    for eviction in &mut plan.evictions {
        let pod = running.iter().find(|pod| pod.name == eviction.pod).unwrap();
        eviction.violates_budget = false;
        for (budget, left) in budgets.iter().zip(&mut left).filter(|(b, _)| b.covers(pod)) {
            eviction.violates_budget |= *left == 0;
            let _ = budget;
            *left = left.saturating_sub(1);
        }
    }
}

/// The devices that suit a pod best on a node once the plan is carried out.
fn free_gpus(input: &Input, plan: &Plan, node: &Node, pod: &Pod) -> Vec<u32> {
    let mut after = node.clone();
    for running in &node.pods {
        if plan.evictions.iter().any(|eviction| eviction.pod == running.pod.name) {
            after.release(&running.pod.requests, &running.gpus);
        }
    }
    let devices = usize::try_from(node.allocatable.gpu_milli / GPU_MILLI).unwrap();
    let mut used = after.gpu_used_milli.clone();
    used.resize(devices.max(used.len()), 0);
    for binding in &plan.bindings {
        if binding.target == Target::Existing(node.name.clone()) {
            let of = input.pods.iter().find(|pod| pod.name == binding.pod).unwrap();
            let each = of.requests.gpu_milli.min(GPU_MILLI);
            binding.gpus.iter().for_each(|gpu| used[*gpu as usize] += each);
        }
    }
    let milli = pod.requests.gpu_milli;
    let each = milli.min(GPU_MILLI);
    let mut free: Vec<usize> = (0..devices).filter(|gpu| used[*gpu] + each <= GPU_MILLI).collect();
    free.sort_by_key(|gpu| std::cmp::Reverse(used[*gpu]));
    free.truncate(usize::try_from(milli.div_ceil(GPU_MILLI)).unwrap());
    let mut free: Vec<u32> = free.into_iter().map(|gpu| u32::try_from(gpu).unwrap()).collect();
    free.sort_unstable();
    free
}
