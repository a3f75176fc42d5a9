//! The quick way: the machine that carries the most value for its price, again and again.
//!
//! Each row has a value, what a pod of it is worth. It begins as the part of the cheapest machine
//! that the pod uses, and moves towards what packings really paid for it, which is how duals
//! behave in column generation at a fraction of the work.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::job::{Batch, Job, Load, Numbers, Pattern, float, take};
use super::join::join;

/// The most rows that the careful way of filling chooses among: it takes time with their number
/// times the pods of a machine, and so many fill any machine well.
const CROWD: usize = 48;

/// Above so many rows one round is made.
const MANY: usize = 512;

/// After so many fillings of machines, rounds that save next to nothing end the packing.
const FILLINGS: u64 = 20_000;

/// So many of them one after the other.
const PATIENCE: u32 = 3;

/// Relative to the best: what counts as a saving.
const SAVING: f64 = 1e-3;

/// Batches, and the pods that stay without a place because a budget is used up.
#[derive(Debug, Clone, Default)]
pub(in crate::core) struct Packing {
    pub(in crate::core) batches: Vec<Batch>,
    pub(in crate::core) waiting: u64,
    pub(in crate::core) cost: u64,
}

/// Packs up to `rounds` times, each with the values that the last one showed, and keeps the best.
pub(super) fn pack(job: &Job, numbers: &Numbers, left: &[u64], rounds: u32) -> Packing {
    let mut packer = Packer::new(job, numbers);
    let mut best = Packing { waiting: u64::MAX, ..Packing::default() };
    let crowded = left.iter().filter(|n| **n > 0).count() > MANY;
    let mut patience = PATIENCE;
    for _ in 0..if crowded { 1 } else { rounds } {
        let packing = packer.pack(left.to_vec());
        packer.learn(&packing.batches);
        let saves = float(packing.cost) < (1.0 - SAVING) * float(best.cost);
        let better = packing.waiting < best.waiting || saves;
        patience = if better { PATIENCE } else { patience.saturating_sub(1) };
        if (packing.waiting, packing.cost) < (best.waiting, best.cost) {
            best = packing;
        }
        if patience == 0 && packer.fillings > FILLINGS {
            break;
        }
    }
    if best.waiting > 0 && !job.budgets.is_empty() {
        // Where budgets run out, what a machine draws from them is its price.
        packer.scarce = true;
        let packing = packer.pack(left.to_vec());
        if (packing.waiting, packing.cost) < (best.waiting, best.cost) {
            best = packing;
        }
    }
    join(job, numbers, &mut best);
    best
}

/// The same with values that are known to be good.
pub(super) fn pack_by(job: &Job, numbers: &Numbers, left: &[u64], values: &[f64]) -> Packing {
    let mut packer = Packer::new(job, numbers);
    packer.worth.copy_from_slice(values);
    packer.sort();
    packer.pack(left.to_vec())
}

struct Packer<'j> {
    job: &'j Job,
    numbers: &'j Numbers,
    worth: Vec<f64>,
    /// All rows, the dearest first.
    order: Vec<usize>,
    /// Whether machines are judged by what they draw from budgets, and not by their price.
    scarce: bool,
    /// Of machines, until now.
    fillings: u64,
    /// The least that any row needs of each resource.
    least: Vec<f64>,
}

impl<'j> Packer<'j> {
    fn new(job: &'j Job, numbers: &'j Numbers) -> Self {
        let mut worth = vec![f64::INFINITY; job.rows.len()];
        for (machine, of) in job.machines.iter().enumerate() {
            let scales = scales(numbers.have(machine));
            for (row, worth) in worth.iter_mut().enumerate().filter(|(row, _)| of.rows.has(*row)) {
                let parts = numbers.need(row).iter().zip(&scales).map(|(need, s)| need * s);
                *worth = worth.min(parts.fold(0.0, f64::max) * float(of.price.max(1)));
            }
        }
        let order = (0..worth.len()).collect();
        let least = |dim: usize| {
            (0..job.rows.len()).map(|row| numbers.need(row)[dim]).fold(f64::INFINITY, f64::min)
        };
        let least = (0..numbers.dims).map(least).collect();
        let mut packer = Self { job, numbers, order, worth, scarce: false, fillings: 0, least };
        packer.sort();
        packer
    }

    fn sort(&mut self) {
        let worth = &self.worth;
        self.order.sort_by(|a, b| worth[*b].total_cmp(&worth[*a]).then(a.cmp(b)));
    }

    /// Moves every row's value half-way to what was paid for it: a machine's price, shared among
    /// its pods by their values so far.
    fn learn(&mut self, batches: &[Batch]) {
        let mut sums = vec![(0.0, 0.0); self.worth.len()];
        for batch in batches {
            let value: f64 =
                batch.pattern.iter().map(|(row, n)| self.worth[*row] * float(*n)).sum();
            let price = float(self.job.machines[batch.machine].price.max(1));
            for (row, n) in &batch.pattern {
                let pods = float(n * batch.copies);
                sums[*row].0 += pods * self.worth[*row] * price / value;
                sums[*row].1 += pods;
            }
        }
        for (worth, (paid, pods)) in self.worth.iter_mut().zip(sums) {
            if pods > 0.0 {
                *worth = f64::midpoint(*worth, paid / pods);
            }
        }
        self.sort();
    }

    fn pack(&mut self, mut left: Vec<u64>) -> Packing {
        let mut budgets = self.job.budgets.clone();
        let mut queue = BinaryHeap::new();
        let mut open: Vec<usize> = self.order.iter().copied().filter(|r| left[*r] > 0).collect();
        // The quick way of filling tells which machines to look at first.
        for machine in 0..self.job.machines.len() {
            let fill = self.by_worth(machine, &self.waiting(machine, &open), &left);
            queue.push((self.yields(&fill, machine), Reverse(machine)));
        }
        let mut packing = Packing::default();
        // By machine: the filling that it was judged by. It stays right as long as its pods wait.
        let mut fills: Vec<Pattern> = vec![Pattern::new(); self.job.machines.len()];
        while let Some((promised, Reverse(machine))) = queue.pop() {
            let fill = std::mem::take(&mut fills[machine]);
            if fill.is_empty() || fill.iter().any(|(row, n)| left[*row] < *n) {
                let fill = self.fill(machine, &open, &left);
                self.fillings += 1;
                if !fill.is_empty() {
                    queue.push((self.yields(&fill, machine), Reverse(machine)));
                    fills[machine] = fill;
                }
                continue;
            }
            let draws = &self.job.machines[machine].draws;
            let affordable =
                draws.iter().filter_map(|(budget, each)| budgets[*budget].checked_div(*each)).min();
            let copies = fill.iter().map(|(row, n)| left[*row] / n).min().unwrap_or(0);
            let copies = copies.min(affordable.unwrap_or(u64::MAX));
            if copies == 0 {
                continue;
            }
            take(&mut left, &fill, copies);
            open.retain(|row| left[*row] > 0);
            take(&mut budgets, draws, copies);
            packing.batches.push(self.cheapest(Batch { machine, pattern: fill, copies }));
            queue.push((promised, Reverse(machine)));
        }
        packing.waiting = left.iter().sum();
        packing.cost = self.job.cost(&packing.batches);
        packing
    }

    fn cheapest(&self, batch: Batch) -> Batch {
        if !self.job.budgets.is_empty() {
            return batch;
        }
        super::dive::cheapest(self.job, self.numbers, batch)
    }

    /// Value for money, as a number that sorts like it.
    fn yields(&self, fill: &Pattern, machine: usize) -> u64 {
        let of = &self.job.machines[machine];
        let parts = of
            .draws
            .iter()
            .map(|(budget, each)| float(*each) / float(self.job.budgets[*budget]).max(1.0));
        let price = if self.scarce {
            parts.fold(f64::MIN_POSITIVE, f64::max)
        } else {
            float(of.price.max(1))
        };
        // Bits of floats that are not negative sort as the floats do.
        (self.value(fill) / price).to_bits()
    }

    fn value(&self, fill: &Pattern) -> f64 {
        // From a positive zero, which an empty sum is not.
        fill.iter().map(|(row, n)| self.worth[*row] * float(*n)).fold(0.0, |sum, one| sum + one)
    }

    /// The better of two ways to fill this machine.
    fn fill(&self, machine: usize, open: &[usize], left: &[u64]) -> Pattern {
        let waiting = self.waiting(machine, open);
        let sized = self.by_worth(machine, &waiting, left);
        let dense = self.by_density(machine, self.densest(machine, waiting), left);
        if self.value(&sized) > self.value(&dense) { sized } else { dense }
    }

    /// The rows with pods left that the machine takes, the dearest first.
    fn waiting(&self, machine: usize, open: &[usize]) -> Vec<usize> {
        let rows = &self.job.machines[machine].rows;
        open.iter().copied().filter(|row| rows.has(*row)).collect()
    }

    /// Those of them that are worth most for the room that they take, if they are too many.
    fn densest(&self, machine: usize, mut waiting: Vec<usize>) -> Vec<usize> {
        if waiting.len() > CROWD {
            let scales = scales(self.numbers.have(machine));
            waiting.sort_by_cached_key(|row| {
                let density = self.density(*row, &scales);
                // Bits of floats that are not negative sort as the floats do.
                (Reverse(density.to_bits()), *row)
            });
            waiting.truncate(CROWD);
        }
        waiting
    }

    fn density(&self, row: usize, scales: &[f64]) -> f64 {
        let parts = self.numbers.need(row).iter().zip(scales).map(|(need, scale)| need * scale);
        self.worth[row] / parts.sum::<f64>()
    }

    /// The dearest row first, as many as fit.
    fn by_worth(&self, machine: usize, waiting: &[usize], left: &[u64]) -> Pattern {
        let mut load = Load::new(self.job, self.numbers, machine);
        let mut pattern = Pattern::new();
        for row in waiting {
            let n = load.count(*row, left[*row]);
            if n > 0 {
                load.add(*row, n);
                pattern.push((*row, n));
                if self.is_full(&load) {
                    break;
                }
            }
        }
        pattern.sort_unstable();
        pattern
    }

    /// Whether no row has room, whichever it is.
    fn is_full(&self, load: &Load<'_>) -> bool {
        load.free.iter().zip(&self.least).any(|(free, least)| free < least)
    }

    /// Always the row that is worth most for the part of the remaining room that it takes.
    fn by_density(&self, machine: usize, waiting: Vec<usize>, left: &[u64]) -> Pattern {
        let mut load = Load::new(self.job, self.numbers, machine);
        let mut pattern = Pattern::new();
        let waiting = waiting.into_iter().map(|row| (row, left[row]));
        let mut waiting: Vec<(usize, u64)> = waiting.collect();
        loop {
            waiting.retain(|(row, n)| *n > 0 && load.count(*row, 1) > 0);
            let scales = scales(&load.free);
            let keyed = waiting.iter().enumerate();
            let keyed = keyed.map(|(at, (row, _))| (self.density(*row, &scales), at));
            let best = keyed.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
            let Some((_, best)) = best else { break };
            let (row, most) = waiting[best];
            // An eighth at a time: the ratio of what is left changes as the machine fills.
            let n = load.count(row, u64::MAX).div_ceil(8).min(most);
            load.add(row, n);
            waiting[best].1 -= n;
            match pattern.iter_mut().find(|(known, _)| *known == row) {
                Some((_, pods)) => *pods += n,
                None => pattern.push((row, n)),
            }
            if self.is_full(&load) {
                break;
            }
        }
        pattern.sort_unstable();
        pattern
    }
}

/// One over what is free, for quick ratios.
fn scales(free: &[f64]) -> Vec<f64> {
    free.iter().map(|free| 1.0 / free.max(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{check, counts, job};
    use super::*;

    proptest! {
        #[test]
        fn packings_place_every_pod(job in job(), values in prop::collection::vec(1..90u32, 4)) {
            let numbers = Numbers::of(&job);
            let values: Vec<f64> = values.into_iter().map(f64::from).take(job.rows.len()).collect();
            let by_value = pack_by(&job, &numbers, &counts(&job), &values);
            for packing in [pack(&job, &numbers, &counts(&job), 3), by_value] {
                prop_assert_eq!(packing.waiting, 0);
                check(&job, &packing.batches)?;
                prop_assert_eq!(packing.cost, job.cost(&packing.batches));
            }
        }

        /// Pods stay without a place only when the budget is used up.
        #[test]
        fn budgets_leave_pods_waiting(job in job(), budget in 0..3u64) {
            let mut job = job;
            job.budgets = vec![budget];
            job.machines.iter_mut().for_each(|machine| machine.draws = vec![(0, 1)]);
            let packing = pack(&job, &Numbers::of(&job), &counts(&job), 2);
            let machines: u64 = packing.batches.iter().map(|batch| batch.copies).sum();
            prop_assert!(machines <= budget);
            let pods: u64 = packing.batches.iter()
                .flat_map(|batch| batch.pattern.iter().map(|(_, n)| n * batch.copies)).sum();
            prop_assert_eq!(pods + packing.waiting, counts(&job).iter().sum::<u64>());
            prop_assert!(packing.waiting == 0 || machines == budget);
        }
    }
}
