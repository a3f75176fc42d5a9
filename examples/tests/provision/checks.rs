//! What the program makes of plans that are wrong, which its planner should never make.

use binpack::{BuiltinCatalogue, Certificate, Config, Input, NodePool, Plan, Pod, Resources, plan};

use crate::check::{Bound, Checked};

fn planned() -> (Input, Plan) {
    let pods = (0..20).map(|i| Pod::new(format!("web-{i}"), Resources::new(900, 1 << 30)));
    let input = Input {
        pods: pods.collect(),
        pools: vec![NodePool::linux_amd64_on_demand("default")],
        instance_types: BuiltinCatalogue::new().types(),
        ..Input::default()
    };
    let plan = plan(&input, &Config::default()).unwrap();
    (input, plan)
}

#[test]
fn a_good_plan_is_trusted() {
    let (input, mut plan) = planned();
    let checked = Checked::of(&input, &plan);
    assert!(checked.broken().is_none() && matches!(checked.bound, Bound::Proved(_)));
    assert!(checked.to_string().starts_with("every rule is kept; the lower bound is proved ("));
    plan.certificate = None;
    let checked = Checked::of(&input, &plan);
    assert!(checked.broken().is_none() && matches!(checked.bound, Bound::None));
    assert_eq!(checked.to_string(), "every rule is kept; there is no lower bound");
}

#[test]
fn a_breach_is_told() {
    let (input, mut plan) = planned();
    plan.bindings.pop();
    let checked = Checked::of(&input, &plan);
    let broken = checked.broken().unwrap().to_string();
    assert!(broken.contains("EveryPodOnce") || broken.contains("Requested"), "{broken}");
    assert!(checked.to_string().starts_with("A RULE IS BROKEN; "), "{checked}");
}

#[test]
fn a_bound_that_is_refuted_is_told() {
    let (input, mut plan) = planned();
    let cost = plan.cost_per_hour_micros;
    // Each pod is said to be worth all machines together.
    let values = vec![cost * 1_000; input.pods.len()];
    plan.certificate = Some(Certificate::new(cost, values, Vec::new()));
    let checked = Checked::of(&input, &plan);
    assert!(matches!(checked.bound, Bound::Refuted(_)), "{checked}");
    let broken = checked.broken().unwrap().to_string();
    assert!(broken.contains("the values are too high"), "{broken}");
    assert!(checked.to_string().ends_with("THE LOWER BOUND IS REFUTED"), "{checked}");
}
