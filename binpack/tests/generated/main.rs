//! The packer on whole generated clusters: every plan keeps every rule, proves its bound, and
//! leaves nothing waiting that has a place.
//!
//! An input that fails is shown in the language of `tests/scenarios`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

mod cluster;
#[path = "../language/mod.rs"]
mod language;
mod left;
mod pods;
mod preemption;

use binpack::{
    Config, ErrorKind, Expander, Fit, Input, Plan, Pod, PoolLimits, Preference, ReasonKind,
    breaches, plan, verify,
};
use proptest::prelude::*;
use proptest::sample::select;

use cluster::any_input;
use language::case::Case;
use language::print::{Question, text};
use left::{Left, after};
use pods::{any_loners, any_pods};

fn any_question() -> impl Strategy<Value = Question> {
    any_input(any_pods()).prop_map(Question)
}

fn any_question_of_loners() -> impl Strategy<Value = Question> {
    any_input(any_loners()).prop_map(|mut input| {
        // Pods that run keep nobody away either.
        input.nodes.iter_mut().flat_map(|node| &mut node.pods).for_each(|running| {
            running.pod.pod_anti_affinity.clear();
        });
        Question(input)
    })
}

/// The settings that differ, and show themselves.
#[derive(Debug, Clone, Copy)]
struct Setting {
    fit: Fit,
    preference: Preference,
    packing_rounds: u32,
    iterations: u32,
    expander: Expander,
}

impl Setting {
    fn any() -> impl Strategy<Value = Self> {
        let preference = prop_oneof![4 => Just(Preference::Respect), 1 => Just(Preference::Ignore)];
        let expander = select(vec![
            Expander::LeastWaste,
            Expander::MostPods,
            Expander::Price,
            Expander::Priority,
        ]);
        let fit = select(vec![Fit::Best, Fit::First]);
        (fit, 1..5u32, select(vec![0, 5, 40]), preference, expander).prop_map(
            |(fit, packing_rounds, iterations, preference, expander)| Self {
                fit,
                preference,
                packing_rounds,
                iterations,
                expander,
            },
        )
    }

    fn config(self) -> Config {
        let mut config = Config::default();
        (config.fit, config.preference) = (self.fit, self.preference);
        (config.packing_rounds, config.iterations) = (self.packing_rounds, self.iterations);
        config.expanders = vec![self.expander];
        config
    }
}

/// The plan for a question, which is well formed.
fn planned(question: &Question, setting: Setting) -> Result<Plan, TestCaseError> {
    plan(&question.0, &setting.config()).map_err(|error| TestCaseError::fail(error.to_string()))
}

/// Whether the pod asks nothing of other pods, nor of its node beside amounts, labels and taints.
fn is_simple(pod: &Pod) -> bool {
    pod.topology_spread.is_empty()
        && pod.pod_affinity.is_empty()
        && pod.pod_anti_affinity.is_empty()
        && pod.host_ports.is_empty()
        && pod.volumes.is_empty()
}

fn is_limited(input: &Input) -> bool {
    let limited = input.pools.iter().any(|pool| pool.limits != PoolLimits::default());
    let offerings = input.instance_types.iter().flat_map(|it| &it.offerings);
    let limited = limited || !input.node_groups.is_empty();
    limited || offerings.into_iter().any(|offering| offering.available.is_some())
}

fn few() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn every_plan_keeps_the_rules(question in any_question(), setting in Setting::any()) {
        let plan = planned(&question, setting)?;
        prop_assert_eq!(breaches(&question.0, &plan), vec![]);
    }

    #[test]
    fn every_certificate_holds_or_is_too_hard_to_check(question in any_question(), setting in Setting::any()) {
        let plan = planned(&question, setting)?;
        if let Err(error) = verify(&question.0, &plan) {
            prop_assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error);
        }
    }

    #[test]
    fn the_same_question_gets_the_same_answer(question in any_question(), setting in Setting::any()) {
        let again = planned(&question.clone(), setting)?;
        prop_assert_eq!(planned(&question, setting)?, again);
    }

    #[test]
    fn no_simple_pod_waits_that_has_a_place(question in any_question(), setting in Setting::any()) {
        let input = &question.0;
        let plan = planned(&question, setting)?;
        prop_assume!(breaches(input, &plan).is_empty());
        let left = Left::of(input, &plan);
        for unplaced in &plan.unplaced {
            let pod = input.pods.iter().find(|pod| pod.name == unplaced.pod).expect("validated");
            prop_assert!(!unplaced.reason.message.is_empty());
            prop_assert!(is_limited(input) || unplaced.reason.kind != ReasonKind::Limits, "{} {}", pod.name, unplaced.reason);
            if is_simple(pod) {
                let place = left.place(pod);
                prop_assert_eq!(place, None, "{} waits: {}", &pod.name, &unplaced.reason);
            }
        }
    }

    #[test]
    fn what_is_carried_out_needs_no_further_plan(question in any_question_of_loners(), setting in Setting::any()) {
        let input = &question.0;
        let first = planned(&question, setting)?;
        prop_assert_eq!(breaches(input, &first), vec![]);
        let left = |pod: &&Pod| first.unplaced.iter().any(|unplaced| unplaced.pod == pod.name);
        let pods = input.pods.iter().filter(left).cloned().collect();
        let mut next = Input { pods, nodes: after(input, &first), ..input.clone() };
        take_off_sale(&mut next, &first);
        let second = planned(&Question(next), setting)?;
        prop_assert!(second.bindings.is_empty() && second.launches.is_empty(), "{:?}", second);
    }

    #[test]
    fn an_input_that_is_shown_can_be_read_again(question in any_question()) {
        let text = format!("case it\n{}expect none placed\n", text(&question.0));
        let cases = Case::read("shown", &text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
        prop_assert_eq!(format!("{:#?}", cases[0].input), format!("{:#?}", question.0));
    }
}

/// What a plan launches can't be had once more.
fn take_off_sale(input: &mut Input, plan: &Plan) {
    let mut types = input.instance_types.to_vec();
    for launch in &plan.launches {
        let of = types.iter_mut().filter(|it| it.name == launch.instance_type);
        let sold = of.flat_map(|it| &mut it.offerings);
        let mut sold =
            sold.filter(|o| o.zone == launch.zone && o.capacity_type == launch.capacity_type);
        if let Some(available) = sold.next().and_then(|offering| offering.available.as_mut()) {
            *available -= 1;
        }
    }
    input.instance_types = types.into();
}
