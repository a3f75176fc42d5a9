//! Column generation: the linear programme over all fillings of all machines, of which only those
//! are made that it asks for (Gilmore and Gomory 1961), with a bound at every step (Farley 1990)
//! and smoothed duals (Wentges 1997).

use std::collections::HashSet;

use super::filler::{Filling, Site};
use super::job::{Job, Numbers, Pattern, float};
use super::pricing::{AT_ONCE, Fill, Known};
use super::search::Search;
use super::simplex::{Column, Simplex};

/// The gap between programme and bound at which the programme counts as solved.
const SOLVED: f64 = 3e-4;

/// How much of the best duals so far there is in those that are priced.
const SMOOTHING: f64 = 0.7;

/// Search steps to begin with.
const FIRST_STEPS: u64 = 8;

/// Pivots per round: far more than a round takes.
const MAX_PIVOTS: u32 = 20_000;

/// Relative to the bound: more than what rounding adds up to.
const SAFE: f64 = 1e-9;

/// The programme for what is left of a job.
#[derive(Clone)]
pub(super) struct Generation<'j> {
    pub(super) job: &'j Job,
    pub(super) numbers: &'j Numbers,
    /// The rows of the programme, as rows of the job.
    pub(super) active: Vec<usize>,
    /// By row of the job.
    left: Vec<u64>,
    simplex: Simplex,
    columns: Vec<(usize, Pattern)>,
    seen: HashSet<(usize, Pattern)>,
    known: Known,
    pass: Option<Pass>,
    best: Bound,
    smoothing: f64,
    /// Search steps for each machine, more of them as less is found.
    steps: u64,
}

/// A lower bound on the price of what is left, and the values that prove it.
#[derive(Debug, Clone, Default)]
pub(in crate::core) struct Bound {
    pub(in crate::core) value: f64,
    /// By row of the job. No filling of any machine is worth more than its price.
    pub(in crate::core) duals: Vec<f64>,
}

/// All machines being filled at the same values.
#[derive(Debug, Clone)]
struct Pass {
    /// By row of the job: the programme's duals.
    out: Vec<f64>,
    /// The values, where they are not these duals.
    smoothed: Option<Vec<f64>>,
    /// The machine to fill next, and the search of it that is paused.
    next: usize,
    paused: Option<Search>,
    /// By how much values exceed prices at most.
    ratio: f64,
    found: Vec<(usize, Pattern)>,
}

impl Pass {
    fn new(out: Vec<f64>, smoothed: Option<Vec<f64>>) -> Self {
        Self { out, smoothed, next: 0, paused: None, ratio: 0.0, found: Vec::new() }
    }

    fn values(&self) -> &[f64] {
        self.smoothed.as_ref().unwrap_or(&self.out)
    }

    /// Takes the filling of the next machine, at this price.
    fn take(&mut self, filling: Filling, price: f64) {
        self.ratio = self.ratio.max(filling.bound / price);
        if filling.value > price * (1.0 + 1e-7) {
            let all = std::iter::once(filling.pattern).chain(filling.more);
            self.found.extend(all.map(|pattern| (self.next, pattern)));
        }
        self.next += 1;
    }
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    Improved,
    /// The programme is solved, or as good as.
    Solved,
}

impl<'j> Generation<'j> {
    /// Every row with pods left must fit on some machine.
    pub(super) fn new(job: &'j Job, numbers: &'j Numbers, left: Vec<u64>) -> Self {
        let active: Vec<usize> = (0..left.len()).filter(|row| left[*row] > 0).collect();
        let mut columns = Vec::with_capacity(active.len());
        for row in &active {
            columns.push(single(job, numbers, *row, left[*row]));
        }
        let local = Local::of(&active, left.len());
        let start = columns.iter().map(|(m, pattern)| local.column(job, *m, pattern)).collect();
        let demand = active.iter().map(|row| float(left[*row])).collect();
        Self {
            job,
            numbers,
            simplex: Simplex::new(demand, start),
            seen: columns.iter().cloned().collect(),
            columns,
            known: Known::new(job.machines.len()),
            pass: None,
            best: Bound { value: 0.0, duals: vec![0.0; left.len()] },
            smoothing: SMOOTHING,
            steps: FIRST_STEPS,
            active,
            left,
        }
    }

    /// Adds a filling that somebody else found.
    pub(super) fn suggest(&mut self, machine: usize, pattern: Pattern) {
        if !self.fits(&pattern) || !self.seen.insert((machine, pattern.clone())) {
            return;
        }
        let local = Local::of(&self.active, self.left.len());
        self.simplex.add(local.column(self.job, machine, &pattern));
        self.columns.push((machine, pattern));
    }

    /// The same, copied only if it is of use.
    pub(super) fn suggest_borrowed(&mut self, machine: usize, pattern: &[(usize, u64)]) {
        if self.fits(pattern) {
            self.suggest(machine, pattern.to_vec());
        }
    }

    fn fits(&self, pattern: &[(usize, u64)]) -> bool {
        !pattern.is_empty() && pattern.iter().all(|(row, n)| self.left[*row] >= *n)
    }

    pub(super) fn solve(&mut self) {
        self.simplex.primal(MAX_PIVOTS);
    }

    pub(super) fn objective(&self) -> f64 {
        self.simplex.objective()
    }

    pub(super) fn bound(&self) -> &Bound {
        &self.best
    }

    pub(super) fn columns(&self) -> &[(usize, Pattern)] {
        &self.columns
    }

    /// The fillings in use and how often.
    pub(super) fn solution(&self) -> impl Iterator<Item = (&(usize, Pattern), f64)> {
        self.simplex.solution().into_iter().map(|(column, level)| (&self.columns[column], level))
    }

    /// Says that less is left, of the same rows. False if the programme could not be mended.
    pub(super) fn reduce(&mut self, left: &[u64]) -> bool {
        self.left.copy_from_slice(left);
        self.best.value = 0.0;
        self.pass = None;
        let demand = self.active.iter().map(|row| float(left[*row])).collect();
        self.simplex.cover(demand, MAX_PIVOTS)
    }

    /// One round of pricing, with at most so many search steps for each machine.
    pub(super) fn round(&mut self, most_steps: u64) -> Round {
        loop {
            if let Some(round) = self.step(most_steps) {
                return round;
            }
        }
    }

    /// A part of a round. `None` as long as it goes on.
    pub(super) fn step(&mut self, most_steps: u64) -> Option<Round> {
        let pass = self.pass.take().unwrap_or_else(|| {
            let out = self.duals();
            let smoothed = self.smoothed(&out);
            Pass::new(out, smoothed)
        });
        let pass = self.fill(pass, most_steps);
        if pass.next < self.job.machines.len() {
            self.pass = Some(pass);
            return None;
        }
        self.prove(&pass);
        let added = self.add(&pass.out, pass.found);
        if added == 0 && pass.smoothed.is_some() {
            // What was found is of no use to the programme: its own duals tell what is.
            self.smoothing *= 0.5;
            self.pass = Some(Pass::new(pass.out, None));
            return None;
        }
        self.solve();
        Some(self.judge(added, most_steps))
    }

    fn judge(&mut self, added: usize, most_steps: u64) -> Round {
        if self.is_proved() {
            return Round::Solved;
        }
        if added == 0 {
            if self.steps >= most_steps {
                return Round::Solved;
            }
            self.steps = (self.steps * 4).min(most_steps);
        }
        Round::Improved
    }

    /// The values that prove the best bound, or those of the programme as it is without one.
    pub(super) fn values(&self) -> Vec<f64> {
        if self.best.value > 0.0 { self.best.duals.clone() } else { self.duals() }
    }

    /// Whether the bound has as good as reached the programme.
    pub(super) fn is_proved(&self) -> bool {
        self.objective() - self.best.value <= SOLVED * self.objective()
    }

    fn duals(&self) -> Vec<f64> {
        let mut duals = vec![0.0; self.left.len()];
        for (row, dual) in self.active.iter().zip(self.simplex.duals()) {
            duals[*row] = dual.max(0.0);
        }
        duals
    }

    fn smoothed(&self, out: &[f64]) -> Option<Vec<f64>> {
        if self.best.value <= 0.0 || self.smoothing < 0.01 {
            return None;
        }
        let mix = |(best, out): (&f64, &f64)| self.smoothing * best + (1.0 - self.smoothing) * out;
        Some(self.best.duals.iter().zip(out).map(mix).collect())
    }

    /// Fills machines until that took some steps.
    fn fill(&mut self, mut pass: Pass, most_steps: u64) -> Pass {
        let mut steps = 0;
        while pass.next < self.job.machines.len() && steps < AT_ONCE {
            let paused = pass.paused.take();
            let (machine, values) = (pass.next, pass.values());
            let Self { job, numbers, left, .. } = self;
            let of = Site { job, numbers, machine, left, values };
            match self.known.fill(of, self.steps, most_steps, paused) {
                Fill::Paused(search) => {
                    pass.paused = Some(search);
                    return pass;
                }
                Fill::Done(filling) => {
                    steps += 1 + filling.steps.min(AT_ONCE);
                    let price = of.price();
                    pass.take(filling, price);
                }
            }
        }
        pass
    }

    /// Takes the bound that filling all machines proves.
    fn prove(&mut self, pass: &Pass) {
        let values = pass.values();
        let worth: f64 = self.active.iter().map(|row| values[*row] * float(self.left[*row])).sum();
        let ratio = pass.ratio * (1.0 + SAFE);
        if ratio > 0.0 && worth / ratio > self.best.value {
            let duals = values.iter().map(|value| value / ratio).collect();
            self.best = Bound { value: worth / ratio, duals };
            self.smoothing = SMOOTHING;
        }
    }

    /// How many of these fillings improve the programme at its own duals.
    fn add(&mut self, out: &[f64], found: Vec<(usize, Pattern)>) -> usize {
        let mut added = 0;
        for (machine, pattern) in found {
            let value: f64 = pattern.iter().map(|(row, n)| out[*row] * float(*n)).sum();
            let price = float(self.job.machines[machine].price).max(1.0);
            if value > price * (1.0 + 1e-9) && !self.seen.contains(&(machine, pattern.clone())) {
                self.suggest(machine, pattern);
                added += 1;
            }
        }
        added
    }
}

/// Rows of the job as rows of the programme.
struct Local(Vec<usize>);

impl Local {
    fn of(active: &[usize], rows: usize) -> Self {
        let mut local = vec![usize::MAX; rows];
        active.iter().enumerate().for_each(|(at, row)| local[*row] = at);
        Self(local)
    }

    fn column(&self, job: &Job, machine: usize, pattern: &Pattern) -> Column {
        let rows = pattern.iter().map(|(row, n)| (self.0[*row], float(*n)));
        Column { cost: float(job.machines[machine].price).max(1.0), rows: rows.collect() }
    }
}

/// The machine that carries pods of one row alone at the least price each.
fn single(job: &Job, numbers: &Numbers, row: usize, left: u64) -> (usize, Pattern) {
    let mut best: Option<(f64, usize, u64)> = None;
    for machine in (0..job.machines.len()).filter(|m| job.machines[*m].rows.has(row)) {
        let n = super::job::Load::new(job, numbers, machine).count(row, left);
        if n == 0 {
            continue;
        }
        let each = float(job.machines[machine].price) / float(n);
        if best.is_none_or(|(least, ..)| each < least) {
            best = Some((each, machine, n));
        }
    }
    best.map_or((0, vec![(row, 1)]), |(_, machine, n)| (machine, vec![(row, n)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{carries, counts, job, optimum};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bounds_are_below_the_programme_and_the_optimum(job in job()) {
            let numbers = Numbers::of(&job);
            let optimum = float(optimum(&job));
            let mut programme = Generation::new(&job, &numbers, counts(&job));
            programme.solve();
            for _ in 0..60 {
                let round = programme.round(200);
                let bound = programme.bound();
                prop_assert!(bound.value <= optimum * (1.0 + 1e-9), "{} above {optimum}", bound.value);
                prop_assert!(bound.value <= programme.objective() * (1.0 + 1e-6));
                let worth: f64 =
                    bound.duals.iter().zip(counts(&job)).map(|(dual, n)| dual * float(n)).sum();
                prop_assert!((worth - bound.value).abs() <= worth * 1e-9, "the duals prove it");
                if round == Round::Solved {
                    break;
                }
            }
            for (machine, pattern) in programme.columns() {
                prop_assert!(carries(&job, *machine, pattern));
            }
            let mut covered = vec![0.0; job.rows.len()];
            for ((_, pattern), level) in programme.solution() {
                for (row, n) in pattern {
                    covered[*row] += level * float(*n);
                }
            }
            for (covered, count) in covered.iter().zip(counts(&job)) {
                prop_assert!(*covered >= float(count) - 1e-6);
            }
        }
    }
}
