//! From a fractional programme to whole machines: fix what is whole, then the largest fraction,
//! and solve what is left anew (a diving heuristic with column generation; Sadykov et al. 2019).

use super::columns::{Generation, Round};
use super::job::{Batch, Job, Numbers, Pattern};

/// Rounds of pricing after each decision.
const ROUNDS: u32 = 6;

/// Search steps for each machine in them.
const STEPS: u64 = 30;

/// Whole machines for all that is left, or nothing where the programme could not be mended.
pub(super) fn dive(mut programme: Generation<'_>, mut left: Vec<u64>, most: f64) -> Vec<Batch> {
    let (job, numbers) = (programme.job, programme.numbers);
    let mut batches = Vec::new();
    let mut spent = 0.0;
    while left.iter().any(|n| *n > 0) {
        let decided = decide(&programme, &left);
        if decided.is_empty() {
            return Vec::new();
        }
        for (machine, pattern, copies) in decided {
            let batch = cheapest(job, numbers, Batch { machine, pattern, copies });
            spent += super::job::float(job.machines[batch.machine].price * batch.copies);
            for (row, n) in &batch.pattern {
                left[*row] -= n * batch.copies;
            }
            batches.push(batch);
        }
        if spent > most {
            return Vec::new();
        }
        if !programme.reduce(&left) {
            programme = Generation::new(job, numbers, left.clone());
            programme.solve();
        }
        for _ in 0..ROUNDS {
            if left.iter().all(|n| *n == 0) || programme.round(STEPS) == Round::Solved {
                break;
            }
        }
    }
    batches
}

/// The fillings to fix next: all that are used once or more, else the one that is used most.
fn decide(programme: &Generation<'_>, left: &[u64]) -> Vec<(usize, Pattern, u64)> {
    let mut left = left.to_vec();
    let mut decided = Vec::new();
    let mut used: Vec<_> = programme.solution().collect();
    used.sort_by(|a, b| b.1.total_cmp(&a.1));
    for ((machine, pattern), level) in &used {
        let whole = super::job::whole(level + 1e-6);
        let fits = pattern.iter().map(|(row, n)| left[*row] / n).min().unwrap_or(0);
        let copies = whole.min(fits);
        if copies > 0 {
            pattern.iter().for_each(|(row, n)| left[*row] -= n * copies);
            decided.push((*machine, pattern.clone(), copies));
        }
    }
    if decided.is_empty() {
        let best = used.iter().find_map(|((machine, pattern), _)| {
            let trimmed = trim(pattern, &left);
            (!trimmed.is_empty()).then_some((*machine, trimmed, 1))
        });
        decided.extend(best);
    }
    decided
}

fn trim(pattern: &Pattern, left: &[u64]) -> Pattern {
    let trimmed = pattern.iter().map(|(row, n)| (*row, (*n).min(left[*row])));
    trimmed.filter(|(_, n)| *n > 0).collect()
}

/// The same pods on the cheapest machine that holds them.
pub(super) fn cheapest(job: &Job, numbers: &Numbers, batch: Batch) -> Batch {
    let price = |machine: usize| (job.machines[machine].price, machine);
    let others = (0..job.machines.len()).filter(|m| price(*m) < price(batch.machine));
    let holding = others.filter(|m| job.holds(numbers, *m, &batch.pattern));
    let machine = holding.min_by_key(|m| price(*m)).unwrap_or(batch.machine);
    Batch { machine, ..batch }
}
