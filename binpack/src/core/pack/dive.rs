//! From a fractional programme to whole machines: fix what is whole, then the largest fraction,
//! and solve what is left anew (a diving heuristic with column generation; Sadykov et al. 2019).

use super::columns::{Generation, Round};
use super::job::{Batch, Job, Numbers, Pattern, float, take, whole};

/// Rounds of pricing after each decision.
const ROUNDS: u32 = 4;

/// How much of a whole machine may be missing for a filling to be used once more: fewer decisions,
/// or more careful ones. Which finds more differs from job to job.
pub(super) const MISSING: [f64; 2] = [0.2, 1e-6];

/// Search steps for each machine in them.
const STEPS: u64 = 30;

/// A descent that is under way.
pub(super) struct Dive<'j> {
    programme: Generation<'j>,
    /// By row: the pods without a machine.
    left: Vec<u64>,
    batches: Vec<Batch>,
    spent: f64,
    /// What it may cost.
    most: f64,
    /// One of [`MISSING`].
    missing: f64,
    /// Rounds of pricing before the next decision.
    rounds: u32,
}

/// How far a descent is.
pub(super) enum Progress {
    Going,
    /// Whole machines for all that was left.
    Done(Vec<Batch>),
    /// It costs too much, or the programme could not be mended.
    Failed,
}

impl<'j> Dive<'j> {
    pub(super) fn new(programme: Generation<'j>, left: Vec<u64>, most: f64, missing: f64) -> Self {
        Self { programme, left, batches: Vec::new(), spent: 0.0, most, missing, rounds: 0 }
    }

    pub(super) fn run(mut self) -> Option<Vec<Batch>> {
        loop {
            match self.step() {
                Progress::Going => {}
                Progress::Done(batches) => return Some(batches),
                Progress::Failed => return None,
            }
        }
    }

    /// A decision, or a part of the pricing before it.
    pub(super) fn step(&mut self) -> Progress {
        if self.rounds == 0 {
            return self.decide();
        }
        match self.programme.step(STEPS) {
            None => {}
            Some(Round::Improved) => self.rounds -= 1,
            Some(Round::Solved) => self.rounds = 0,
        }
        Progress::Going
    }

    fn decide(&mut self) -> Progress {
        let (job, numbers) = (self.programme.job, self.programme.numbers);
        let decided = decide(&self.programme, &self.left, self.missing);
        if decided.is_empty() {
            return Progress::Failed;
        }
        for (machine, pattern, copies) in decided {
            let batch = cheapest(job, numbers, Batch { machine, pattern, copies });
            self.spent += float(job.machines[batch.machine].price) * float(copies);
            take(&mut self.left, &batch.pattern, copies);
            self.batches.push(batch);
        }
        if self.spent > self.most {
            return Progress::Failed;
        }
        if self.left.iter().all(|n| *n == 0) {
            return Progress::Done(std::mem::take(&mut self.batches));
        }
        if !self.programme.reduce(&self.left) {
            self.programme = Generation::new(job, numbers, self.left.clone());
            self.programme.solve();
        }
        self.rounds = ROUNDS;
        Progress::Going
    }
}

/// The fillings to fix next: all that are used once or nearly so, else the one that is used most.
fn decide(programme: &Generation<'_>, left: &[u64], missing: f64) -> Vec<(usize, Pattern, u64)> {
    let mut decided = rounded(programme, left, missing);
    if decided.is_empty() {
        let used = programme.solution().max_by(|a, b| a.1.total_cmp(&b.1));
        let trimmed = used.map(|((machine, pattern), _)| (*machine, trim(pattern, left), 1));
        decided.extend(trimmed.filter(|(_, pattern, _)| !pattern.is_empty()));
    }
    decided
}

/// The fillings in use as often as they are used, rounded up if no more than that is missing, and
/// as far as there are pods for them.
pub(super) fn rounded(
    programme: &Generation<'_>,
    left: &[u64],
    missing: f64,
) -> Vec<(usize, Pattern, u64)> {
    let mut left = left.to_vec();
    let mut used: Vec<_> = programme.solution().collect();
    used.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut decided = Vec::new();
    for ((machine, pattern), level) in used {
        let fits = pattern.iter().map(|(row, n)| left[*row] / n).min().unwrap_or(0);
        let copies = whole(level + missing).min(fits);
        if copies > 0 {
            take(&mut left, pattern, copies);
            decided.push((*machine, pattern.clone(), copies));
        }
    }
    decided
}

fn trim(pattern: &Pattern, left: &[u64]) -> Pattern {
    let trimmed = pattern.iter().map(|(row, n)| (*row, (*n).min(left[*row])));
    trimmed.filter(|(_, n)| *n > 0).collect()
}

/// The same pods on the cheapest machine that holds them.
pub(super) fn cheapest(job: &Job, numbers: &Numbers, batch: Batch) -> Batch {
    let own = (job.machines[batch.machine].price, batch.machine);
    let machine = job.cheapest(numbers, &batch.pattern, own).unwrap_or(batch.machine);
    Batch { machine, ..batch }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check, counts, job};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn descents_place_every_pod(job in job(), rounds in 0..20, kind in 0..2usize) {
            let numbers = Numbers::of(&job);
            let mut programme = Generation::new(&job, &numbers, counts(&job));
            programme.solve();
            (0..rounds).for_each(|_| {
                programme.round(STEPS);
            });
            let batches = Dive::new(programme.clone(), counts(&job), f64::INFINITY, MISSING[kind]).run();
            prop_assert!(batches.is_some());
            let batches = batches.unwrap_or_default();
            check(&job, &batches)?;
            let least = float(job.cost(&batches)) - 1.0;
            if let Some(cheaper) = Dive::new(programme, counts(&job), least, MISSING[kind]).run() {
                prop_assert!(float(job.cost(&cheaper)) <= least);
            }
        }
    }
}
