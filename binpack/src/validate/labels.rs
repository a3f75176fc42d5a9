//! What labels and taints let in, in Kubernetes' own words.

use crate::model::{
    Effect, LabelSelector, Labels, Operator, Requirement, Taint, Toleration, TolerationOperator,
};

/// Whether labels satisfy a condition on one of them.
pub(super) fn satisfied(requirement: &Requirement, labels: &Labels) -> bool {
    let value = labels.get(&*requirement.key);
    let listed = value.is_some_and(|value| requirement.values.contains(value));
    let numbers = || {
        let value: i64 = value?.parse().ok()?;
        let bound: i64 = requirement.values.first()?.parse().ok()?;
        Some((value, bound))
    };
    match requirement.operator {
        Operator::In => listed,
        Operator::NotIn => !listed,
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Gt => numbers().is_some_and(|(value, bound)| value > bound),
        Operator::Lt => numbers().is_some_and(|(value, bound)| value < bound),
    }
}

/// Whether all conditions hold.
pub(super) fn all_satisfied(requirements: &[Requirement], labels: &Labels) -> bool {
    requirements.iter().all(|requirement| satisfied(requirement, labels))
}

/// Whether a pod's alternatives leave it one; without any it needs none. An alternative without
/// conditions is met by nothing, as in Kubernetes.
pub(super) fn alternative_left(node_affinity: &[Vec<Requirement>], labels: &Labels) -> bool {
    node_affinity.is_empty()
        || node_affinity.iter().any(|term| !term.is_empty() && all_satisfied(term, labels))
}

/// Whether a selector means a pod with these labels.
pub(super) fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    all_satisfied(&selector.requirements, labels)
}

/// The first taint that keeps a pod with these tolerations out.
pub(super) fn repelled<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    let mut hard = taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule);
    hard.find(|taint| !tolerated(taint, tolerations))
}

/// Whether one of the tolerations is for this taint.
pub(super) fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    for toleration in tolerations {
        let key = match &toleration.key {
            Some(key) => *key == taint.key,
            None => true,
        };
        let effect = match toleration.effect {
            Some(effect) => effect == taint.effect,
            None => true,
        };
        let value = match &toleration.operator {
            TolerationOperator::Equal(value) => *value == taint.value,
            TolerationOperator::Exists => true,
        };
        if key && effect && value {
            return true;
        }
    }
    false
}
