//! Two machines become one where that costs no more.
//!
//! A packer that fills one machine after the other leaves some with little on them in the end.

use std::cmp::Ordering;

use super::greedy::Packing;
use super::job::{Batch, Job, Numbers, Pattern, float};

/// So many batches are looked at, and so many partners of each: those whose machines are used
/// least.
const LOOKED_AT: usize = 64;

/// Joins what can be joined. Where machines draw from budgets nothing is.
pub(super) fn join(job: &Job, numbers: &Numbers, packing: &mut Packing) {
    if !job.budgets.is_empty() {
        return;
    }
    let batches = &mut packing.batches;
    batches.sort_by(|a, b| slack(numbers, b).total_cmp(&slack(numbers, a)));
    for at in 0..batches.len().min(LOOKED_AT) {
        let mut tried = 0;
        let mut with = at + 1;
        while batches[at].copies > 0 && with < batches.len() && tried < LOOKED_AT {
            if batches[with].copies > 0
                && let Some(pattern) = together(job, numbers, &batches[at], &batches[with])
            {
                tried += 1;
                if let Some(joint) = joined(job, numbers, pattern, &batches[at], &batches[with]) {
                    batches[at].copies -= joint.copies;
                    batches[with].copies -= joint.copies;
                    batches.push(joint);
                }
            }
            with += 1;
        }
    }
    batches.retain(|batch| batch.copies > 0);
    packing.cost = job.cost(&packing.batches);
}

/// The part of a machine that is not used of what is used least.
fn slack(numbers: &Numbers, batch: &Batch) -> f64 {
    let used = |dim: usize| -> f64 {
        let pods = batch.pattern.iter();
        pods.map(|(row, n)| numbers.need(*row)[dim] * float(*n)).sum()
    };
    let have = numbers.have(batch.machine);
    let parts = have.iter().enumerate().filter(|(_, have)| **have > 0.0);
    parts.map(|(dim, have)| 1.0 - used(dim) / have).fold(0.0, f64::max)
}

/// The pods of two machines, if they go together on any.
fn together(job: &Job, numbers: &Numbers, a: &Batch, b: &Batch) -> Option<Pattern> {
    let foes = |(row, _): &(usize, u64)| {
        let foes = job.foes.get(*row);
        foes.is_some_and(|foes| b.pattern.iter().any(|(other, _)| foes.has(*other)))
    };
    if a.pattern.iter().any(foes) {
        return None;
    }
    let pattern = sum(&a.pattern, &b.pattern);
    let mut in_groups: Vec<(usize, u64)> = Vec::new();
    for (row, n) in &pattern {
        if *n > job.rows[*row].cap {
            return None;
        }
        for group in &numbers.groups_of[*row] {
            let at = in_groups.iter().position(|(known, _)| known == group);
            let at = at.unwrap_or(in_groups.len());
            if at == in_groups.len() {
                in_groups.push((*group, 0));
            }
            in_groups[at].1 += n;
            if in_groups[at].1 > job.groups[*group].cap {
                return None;
            }
        }
    }
    Some(pattern)
}

/// Both, ascending by row.
fn sum(a: &Pattern, b: &Pattern) -> Pattern {
    let (mut all, mut rest) = (Pattern::with_capacity(a.len() + b.len()), b.as_slice());
    for (row, n) in a {
        while let Some((first, others)) = rest.split_first()
            && first.0 < *row
        {
            all.push(*first);
            rest = others;
        }
        match rest.split_first() {
            Some((first, others)) if first.0.cmp(row) == Ordering::Equal => {
                all.push((*row, n + first.1));
                rest = others;
            }
            _ => all.push((*row, *n)),
        }
    }
    all.extend_from_slice(rest);
    all
}

/// One machine for two, as often as there are both, if it costs no more.
fn joined(job: &Job, numbers: &Numbers, pattern: Pattern, a: &Batch, b: &Batch) -> Option<Batch> {
    let price = |batch: &Batch| job.machines[batch.machine].price;
    let both = price(a).saturating_add(price(b));
    let machine = job.cheapest(numbers, &pattern, (both.saturating_add(1), 0))?;
    Some(Batch { machine, pattern, copies: a.copies.min(b.copies) })
}
