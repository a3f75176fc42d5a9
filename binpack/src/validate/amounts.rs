//! Sums of resources that can't overflow.

use std::collections::BTreeMap;

use crate::model::Resources;

/// Amounts above zero by name. An extended resource is told from a fixed one by the flag, whatever
/// it is called.
pub(super) type Amounts<'a> = BTreeMap<(bool, &'a str), u128>;

const PODS: (bool, &str) = (false, "pods");

pub(super) fn amounts(resources: &Resources) -> Amounts<'_> {
    let fixed = [
        ((false, "cpu_milli"), resources.cpu_milli),
        ((false, "memory_bytes"), resources.memory_bytes),
        (PODS, resources.pods),
        ((false, "ephemeral_bytes"), resources.ephemeral_bytes),
        ((false, "gpu_milli"), resources.gpu_milli),
    ];
    let extended = resources.extended.iter().map(|(name, amount)| ((true, &**name), *amount));
    let all = fixed.into_iter().chain(extended).filter(|(_, amount)| *amount > 0);
    all.map(|(name, amount)| (name, u128::from(amount))).collect()
}

/// Adds one pod, which takes one of `pods` whatever its requests say of that.
pub(super) fn add_pod<'a>(sum: &mut Amounts<'a>, requests: &'a Resources) {
    for (name, amount) in amounts(requests) {
        if name != PODS {
            *sum.entry(name).or_default() += amount;
        }
    }
    *sum.entry(PODS).or_default() += 1;
}

/// The first resource of which there is less than is needed.
pub(super) fn lacking<'a>(needed: &Amounts<'a>, there: &Amounts<'_>) -> Option<&'a str> {
    let mut short =
        needed.iter().filter(|(name, amount)| there.get(*name).is_none_or(|has| has < *amount));
    short.next().map(|((_, name), _)| *name)
}
