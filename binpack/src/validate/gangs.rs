//! Gangs: together or not at all.

use std::collections::HashMap;

use super::state::{Placed, State};
use super::{Breach, Rule};
use crate::model::Gang;

pub(super) fn gangs(state: &State<'_>) -> Vec<Breach> {
    let mut members: HashMap<&str, Vec<&Placed<'_>>> = HashMap::new();
    for placed in state.placed() {
        if let Some(gang) = &placed.pod.gang {
            members.entry(gang).or_default().push(placed);
        }
    }
    let of = |gang: &Gang| members.get(&*gang.name).map(Vec::as_slice).unwrap_or_default();
    let problem = |gang| Some((gang, torn(gang, of(gang))?));
    let torn = state.input.gangs.iter().filter_map(problem);
    torn.map(|(gang, problem)| Breach::new(Rule::Gang, format!("gang {}: {problem}", gang.name)))
        .collect()
}

/// What is wrong with the places of a gang's members.
fn torn(gang: &Gang, members: &[&Placed<'_>]) -> Option<String> {
    if !members.iter().any(|member| member.bound()) {
        return None;
    }
    let number = members.len() as u64;
    if number < u64::from(gang.min_member) {
        return Some(format!("{number} members have a place, it takes {}", gang.min_member));
    }
    let together = gang.topology_keys.iter().any(|key| {
        let mut domains = members.iter().map(|member| member.domain(key));
        let first = domains.next().flatten();
        first.is_some() && domains.all(|domain| domain == first)
    });
    (gang.topology_required && !together)
        .then(|| format!("its members share no value of {}", gang.topology_keys.join(" or ")))
}
