//! Why pods have no place, and why each type was chosen, as far as the plan's data say.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use binpack::{InstanceType, Launch};

use crate::check::Bound;
use crate::machine::Machine;
use crate::report::{Grief, Outcome, Sum};
use crate::text::{counted, dollars, percent, thousands};

/// How many pods of a reason are named.
const NAMED: usize = 5;
/// How many of the other types of a line are named.
const OTHERS: usize = 3;
/// Thousandths of a millionth of a dollar in a millionth.
const NANOS_PER_MICRO: u64 = 1_000;

/// The explanation, in lines.
pub(crate) fn of(outcome: &Outcome<'_>) -> String {
    let mut out = String::new();
    for Grief { kind, message, pods } in outcome.griefs() {
        // Writing into a string can't fail.
        let _ = writeln!(
            out,
            "\nno place for {} ({kind:?}): {message}\n  {}",
            counted(pods.len() as u64, "pod"),
            some_of(&pods)
        );
    }
    let types: HashMap<&str, &InstanceType> =
        outcome.input.instance_types.iter().map(|it| (&*it.name, it)).collect();
    for (line, machines) in outcome.lines() {
        let _ = writeln!(
            out,
            "\n{} ({}, {}): {} at {:.4} $/h",
            line.instance_type,
            line.pool,
            line.capacity_type,
            counted(machines.len() as u64, "node"),
            dollars(line.price_micros)
        );
        let others = others(&types, &machines);
        for reason in
            [fullest(&machines), worth(outcome, &machines), Some(others)].into_iter().flatten()
        {
            let _ = writeln!(out, "  {reason}");
        }
        let _ = writeln!(out, "  in {}", zones(&machines));
    }
    out
}

fn some_of(pods: &[&str]) -> String {
    let mut said = pods.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if pods.len() > NAMED {
        let _ = write!(said, " and {} more", thousands((pods.len() - NAMED) as u64));
    }
    said
}

/// Of which resource the pods take most: it decided how many fit.
fn fullest(machines: &[&Machine<'_>]) -> Option<String> {
    let Sum { used, allocatable, .. } = Sum::of(machines.iter().copied());
    let whole: HashMap<&str, u64> = allocatable.amounts().collect();
    let shares = used.amounts().filter_map(|(name, used)| {
        Some((name, percent(used, whole.get(name).copied().unwrap_or(0))?))
    });
    let (name, share) = shares.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let name = match name {
        "cpu_milli" => "CPU",
        "memory_bytes" => "memory",
        "ephemeral_bytes" => "disk",
        "gpu_milli" => "GPUs",
        other => other,
    };
    Some(format!("its pods take {share:.1} % of its {name}, more than of anything else"))
}

/// What the values that prove the lower bound say of these pods alone. Where nodes exist, they might
/// carry some of them for nothing, so it is not said.
fn worth(outcome: &Outcome<'_>, machines: &[&Machine<'_>]) -> Option<String> {
    let holds = matches!(outcome.checked.bound, Bound::Proved(_));
    if !holds || !outcome.input.nodes.is_empty() {
        return None;
    }
    let worth = machines.iter().fold(0_u64, |sum, m| sum.saturating_add(m.worth_nanos));
    let prices = machines.iter().filter_map(|machine| machine.price_micros());
    let price = prices.fold(0_u64, u64::saturating_add).saturating_mul(NANOS_PER_MICRO);
    let share = percent(worth, price).filter(|_| worth > 0)?;
    Some(format!(
        "by the lower bound its pods can't be had for less than {share:.1} % of its price"
    ))
}

/// The types that would hold the same pods, and how much more the cheapest of them costs.
fn others(types: &HashMap<&str, &InstanceType>, machines: &[&Machine<'_>]) -> String {
    let mut cheapest: BTreeMap<String, u64> = BTreeMap::new();
    let mut none = 0;
    for launch in machines.iter().filter_map(|machine| machine.launch()) {
        match launch.alternatives.first().and_then(|other| beside(types, launch, other)) {
            Some(other) => *cheapest.entry(other).or_default() += 1,
            None => none += 1,
        }
    }
    let mut cheapest: Vec<_> = cheapest.into_iter().collect();
    cheapest.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    let mut said: Vec<String> = cheapest
        .iter()
        .take(OTHERS)
        .map(|(other, nodes)| format!("{other} for {}", counted(*nodes, "node")))
        .collect();
    let more: u64 = cheapest.iter().skip(OTHERS).map(|(_, nodes)| nodes).sum();
    if more > 0 {
        said.push(format!("others for {}", counted(more, "node")));
    }
    if none > 0 {
        said.push(format!("none for {}", counted(none, "node")));
    }
    format!("the next cheapest type that would hold the same pods: {}", said.join(", "))
}

/// A type beside a launch: its name and how much more it costs in the same zone.
fn beside(types: &HashMap<&str, &InstanceType>, launch: &Launch, other: &str) -> Option<String> {
    let same =
        |o: &&binpack::Offering| o.zone == launch.zone && o.capacity_type == launch.capacity_type;
    let offering = types.get(other)?.offerings.iter().find(same)?;
    let more = percent(offering.price_micros, launch.price_micros)? - 100.0;
    Some(format!("{other} ({more:+.1} %)"))
}

/// How many nodes each zone gets.
fn zones(machines: &[&Machine<'_>]) -> String {
    let mut zones: BTreeMap<&str, u64> = BTreeMap::new();
    for zone in machines.iter().filter_map(|machine| machine.zone()) {
        *zones.entry(zone).or_default() += 1;
    }
    let each = zones.iter().map(|(zone, nodes)| format!("{zone}: {}", thousands(*nodes)));
    each.collect::<Vec<_>>().join(", ")
}
