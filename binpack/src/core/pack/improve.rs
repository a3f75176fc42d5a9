//! Local search over whole machines: take a few away and pack their pods anew, as a small job of
//! their own (large neighbourhood search; Shaw 1998).

use super::columns::{Generation, Round};
use super::dive::{Dive, MISSING};
use super::job::{Batch, Job, Numbers, Pattern, float};
use crate::random::SplitMix;

/// Rounds of pricing for a small job.
const ROUNDS: u32 = 12;

/// Search steps for each machine in them.
const STEPS: u64 = 30;

/// The most machines that are taken away together.
const MOST: u64 = 8;

/// Machines one by one, and what tells where to look.
pub(super) struct Improver<'j> {
    job: &'j Job,
    numbers: &'j Numbers,
    machines: Vec<(usize, Pattern)>,
    /// By row: the value of a pod, which shows how much of its price a machine carries.
    values: Vec<f64>,
    random: SplitMix,
}

impl<'j> Improver<'j> {
    pub(super) fn new(
        job: &'j Job,
        numbers: &'j Numbers,
        batches: &[Batch],
        values: Vec<f64>,
        seed: u64,
    ) -> Self {
        let each = |batch: &Batch| {
            let copies = usize::try_from(batch.copies).unwrap_or(usize::MAX);
            std::iter::repeat_n((batch.machine, batch.pattern.clone()), copies)
        };
        let machines = batches.iter().flat_map(each).collect();
        Self { job, numbers, machines, values, random: SplitMix::new(seed) }
    }

    pub(super) fn batches(&self) -> Vec<Batch> {
        let mut sorted = self.machines.clone();
        sorted.sort_unstable();
        let mut batches: Vec<Batch> = Vec::new();
        for (machine, pattern) in sorted {
            match batches.last_mut() {
                Some(last) if last.machine == machine && last.pattern == pattern => {
                    last.copies += 1;
                }
                _ => batches.push(Batch { machine, pattern, copies: 1 }),
            }
        }
        batches
    }

    /// Packs a few machines anew, with these fillings at hand. Whether it became cheaper.
    pub(super) fn step(&mut self, known: &[(usize, Pattern)]) -> bool {
        let chosen = self.choose();
        let mut left = vec![0; self.job.rows.len()];
        let mut cost = 0.0;
        for at in &chosen {
            let (machine, pattern) = &self.machines[*at];
            cost += float(self.job.machines[*machine].price);
            for (row, n) in pattern {
                left[*row] += n;
            }
        }
        let mut programme = Generation::new(self.job, self.numbers, left.clone());
        for at in &chosen {
            let (machine, pattern) = self.machines[*at].clone();
            programme.suggest(machine, pattern);
        }
        for (machine, pattern) in known {
            programme.suggest_borrowed(*machine, pattern);
        }
        programme.solve();
        for _ in 0..ROUNDS {
            if programme.round(STEPS) == Round::Solved {
                break;
            }
        }
        // Prices are whole numbers: a bound within one of the price proves it.
        if programme.bound().value > cost - 1.0 || programme.objective() > cost - 1.0 {
            return false;
        }
        let batches = Dive::new(programme, left, cost - 1.0, MISSING[1]).run();
        let cheaper = batches.filter(|batches| float(self.job.cost(batches)) < cost);
        cheaper.is_some_and(|batches| self.replace(chosen, batches))
    }

    fn replace(&mut self, mut chosen: Vec<usize>, batches: Vec<Batch>) -> bool {
        let before = self.machines.clone();
        chosen.sort_unstable();
        for at in chosen.into_iter().rev() {
            self.machines.swap_remove(at);
        }
        for batch in batches {
            for _ in 0..batch.copies {
                self.machines.push((batch.machine, batch.pattern.clone()));
            }
        }
        if self.job.budgets.is_empty() || self.job.affords(&self.batches()) {
            return true;
        }
        self.machines = before;
        false
    }

    /// A few machines, wasteful ones more often.
    fn choose(&mut self) -> Vec<usize> {
        let n = self.machines.len();
        let wanted = usize::try_from(2 + self.random.below(MOST - 1)).unwrap_or(2).min(n);
        let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
        for _ in 0..wanted * 4 {
            if chosen.len() == wanted {
                break;
            }
            let (a, b) = (self.random.index(n), self.random.index(n));
            let pick = if self.waste(a) > self.waste(b) { a } else { b };
            if !chosen.contains(&pick) {
                chosen.push(pick);
            }
        }
        chosen
    }

    /// The part of a machine's price that its pods are not worth.
    fn waste(&self, at: usize) -> f64 {
        let (machine, pattern) = &self.machines[at];
        let price = float(self.job.machines[*machine].price.max(1));
        let value: f64 = pattern.iter().map(|(row, n)| self.values[*row] * float(*n)).sum();
        1.0 - value / price
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check, counts, job};
    use super::super::{greedy, job::Numbers};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn steps_keep_every_pod_and_never_cost_more(job in job(), seed in 0..9u64) {
            let numbers = Numbers::of(&job);
            let packing = greedy::pack(&job, &numbers, &counts(&job), 1);
            let values = vec![1e6; job.rows.len()];
            let mut improver = Improver::new(&job, &numbers, &packing.batches, values, seed);
            let mut cost = packing.cost;
            for _ in 0..8 {
                let cheaper = improver.step(&[]);
                let batches = improver.batches();
                check(&job, &batches)?;
                let now = job.cost(&batches);
                prop_assert_eq!(now < cost, cheaper);
                prop_assert!(now <= cost);
                cost = now;
            }
        }
    }
}
