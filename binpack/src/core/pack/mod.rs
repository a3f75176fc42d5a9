//! Which machines to launch for pods that wait: quickly, and then ever cheaper, with a bound.

mod assign;
mod by_device;
mod columns;
mod devices;
mod dive;
mod enumerate;
mod filler;
mod greedy;
mod improve;
mod job;
mod join;
mod merge;
mod parts;
mod pricing;
mod relaxed;
mod search;
mod simplex;
#[cfg(test)]
mod testing;

pub(super) use assign::assign;
pub(super) use columns::Bound;
use greedy::Packing;
pub(super) use job::{Batch, Group, Job, Machine, Numbers, Pattern, Row, float, whole};
pub(super) use parts::Part;

use columns::{Generation, Round};
use dive::{Dive, Progress};
use improve::Improver;
use job::take;

/// Search steps for each machine, at most, until the programme counts as solved; and in the end,
/// when the bound is what counts.
const STEPS: [u64; 2] = [2_048, 65_536];

/// Rounds of pricing before the first look at whether a descent is worth while. Before each further
/// one they are half as many more.
const FIRST_LOOK: u64 = 16;

/// Relative to the programme: a descent from one that may still fall by more is of little use.
const NEARLY_SOLVED: f64 = 0.03;

/// Relative to the programme: a descent is worth while if the packing is that far above it.
const WORTH_WHILE: f64 = 1e-3;

/// Every so many steps what promises less has its turn.
const SELDOM: u64 = 4;

/// Fillings of the programme that miss no more of a whole machine are rounded up.
const ROUNDED_UP: f64 = 0.4;

/// By machine: a value that no filling of it exceeds, at these values of rows.
pub(super) fn most_valuable(job: &Job, values: &[f64]) -> Vec<f64> {
    let numbers = Numbers::of(job);
    let bound = |machine: usize| {
        let rows = job.machines[machine].rows.iter();
        let rows: Vec<usize> = rows.filter(|row| values[*row] > 0.0).collect();
        let (have, dims) = (numbers.have(machine), numbers.dims);
        let need: Vec<f64> = rows.iter().flat_map(|row| numbers.need(*row)).copied().collect();
        let value: Vec<f64> = rows.iter().map(|row| values[*row]).collect();
        let most: Vec<f64> = rows.iter().map(|row| float(job.rows[*row].count)).collect();
        relaxed::Knapsack { dims, have, need: &need, value: &value, most: &most }.solve().bound
    };
    (0..job.machines.len()).map(bound).collect()
}

/// A packer that can be stopped between any two steps and has a plan all the time.
pub(super) struct Packer<'j> {
    job: &'j Job,
    numbers: &'j Numbers,
    left: Vec<u64>,
    best: Packing,
    programme: Option<Box<Generation<'j>>>,
    /// Whether the programme is solved, or as good as.
    solved: bool,
    /// Search steps for each machine, at most. None once nothing more can be proved.
    most_steps: Option<u64>,
    /// Rounds of pricing until now.
    rounds: u64,
    /// Those after which there is a look at whether a descent is worth while.
    look_at: u64,
    dive: Option<Box<Dive<'j>>>,
    /// Descents that were begun.
    dives: usize,
    improver: Option<Improver<'j>>,
    /// Steps until now.
    steps: u64,
}

impl<'j> Packer<'j> {
    /// Packs quickly, `rounds` times, and stands ready for more. Every row must fit on some
    /// machine.
    pub(super) fn new(job: &'j Job, numbers: &'j Numbers, rounds: u32) -> Self {
        let left: Vec<u64> = job.rows.iter().map(|row| row.count).collect();
        let best = greedy::pack(job, numbers, &left, rounds);
        Self {
            job,
            numbers,
            left,
            best,
            programme: None,
            solved: false,
            most_steps: Some(STEPS[0]),
            rounds: 0,
            look_at: FIRST_LOOK,
            dive: None,
            dives: 0,
            improver: None,
            steps: 0,
        }
    }

    /// The cheapest packing so far.
    pub(super) fn best(&self) -> &Packing {
        &self.best
    }

    /// Makes the programme, which is not needed for the quick packing.
    fn programme(&mut self) -> Option<Box<Generation<'j>>> {
        if self.programme.is_none() && self.left.iter().any(|n| *n > 0) {
            let mut programme = Generation::new(self.job, self.numbers, self.left.clone());
            for batch in &self.best.batches {
                programme.suggest(batch.machine, batch.pattern.clone());
            }
            programme.solve();
            return Some(Box::new(programme));
        }
        self.programme.take()
    }

    /// With values of pods, by row, and fillings that are known to be good where less is asked for:
    /// it begins with a descent.
    pub(super) fn seeded(
        job: &'j Job,
        numbers: &'j Numbers,
        rounds: u32,
        values: &[f64],
        known: Vec<(usize, Pattern)>,
    ) -> Self {
        let mut packer = Self::new(job, numbers, rounds);
        let by_value = greedy::pack_by(job, numbers, &packer.left, values);
        if (by_value.waiting, by_value.cost) < (packer.best.waiting, packer.best.cost) {
            packer.best = by_value;
        }
        if let Some(mut programme) = packer.programme() {
            for (machine, pattern) in known {
                programme.suggest(machine, job.allowed(numbers, machine, &pattern));
            }
            programme.solve();
            packer.begin_dive(&programme);
            packer.programme = Some(programme);
        }
        packer
    }

    /// One step towards a better bound alone. False once nothing is left to do.
    pub(super) fn prove(&mut self) -> bool {
        let Some(mut programme) = self.programme() else { return false };
        self.round(&mut programme);
        self.programme = Some(programme);
        self.most_steps.is_some()
    }

    /// Whether the programme is solved.
    pub(super) fn is_solved(&self) -> bool {
        self.solved
    }

    /// How far the programme is from its bound, relative to it.
    pub(super) fn slack(&self) -> f64 {
        let of = |programme: &Generation<'_>| programme.objective() / programme.bound().value - 1.0;
        self.programme.as_ref().map_or(f64::INFINITY, |programme| of(programme))
    }

    /// The fillings that were found.
    pub(super) fn fillings(&self) -> &[(usize, Pattern)] {
        self.programme.as_ref().map_or(&[], |programme| programme.columns())
    }

    /// What is proved so far about any packing of all pods.
    pub(super) fn bound(&self) -> Option<&Bound> {
        self.programme.as_ref().map(|programme| programme.bound())
    }

    /// One step towards a cheaper packing or a better bound. False once nothing is left to do.
    pub(super) fn step(&mut self) -> bool {
        let Some(mut programme) = self.programme() else { return false };
        self.steps += 1;
        if let Some(dive) = self.dive.take() {
            self.descend(&programme, dive);
        } else if self.improves(&programme) {
            self.improve(&programme);
        } else {
            self.price(&mut programme);
        }
        let open = self.dive.is_some() || self.improver.is_some() || self.most_steps.is_some();
        let more = open && self.improvable(programme.bound().value);
        self.programme = Some(programme);
        more
    }

    /// Whether the packing is improved next, and not the programme: most of the time that of which
    /// more may still come.
    fn improves(&self, programme: &Generation<'j>) -> bool {
        let objective = programme.objective();
        let packing = float(self.best.cost) - objective > objective - programme.bound().value;
        let seldom = self.steps.is_multiple_of(SELDOM);
        self.improver.is_some() && (self.most_steps.is_none() || packing != seldom)
    }

    fn descend(&mut self, programme: &Generation<'j>, mut dive: Box<Dive<'j>>) {
        let before = self.best.cost;
        match dive.step() {
            Progress::Going => {
                self.dive = Some(dive);
                return;
            }
            Progress::Done(batches) => self.offer(batches),
            Progress::Failed => {}
        }
        if self.best.waiting == 0 && (self.best.cost < before || self.improver.is_none()) {
            let values = programme.values();
            let batches = &self.best.batches;
            self.improver =
                Some(Improver::new(self.job, self.numbers, batches, values, self.rounds));
        }
        if self.solved && !self.dives.is_multiple_of(dive::MISSING.len()) {
            self.begin_dive(programme);
        }
    }

    fn improve(&mut self, programme: &Generation<'j>) {
        let Some(mut improver) = self.improver.take() else { return };
        if improver.step(programme.columns()) {
            self.offer(improver.batches());
        }
        self.improver = Some(improver);
    }

    /// A part of a round of pricing, after which a descent may begin.
    fn price(&mut self, programme: &mut Generation<'j>) {
        let Some(round) = self.round(programme) else { return };
        if self.rounds >= self.look_at || round == Round::Solved {
            self.look_at = self.rounds + self.rounds / 2;
            self.look(programme);
        }
    }

    /// A part of a round of pricing: what the round came to if it is over, until the programme was
    /// solved before.
    fn round(&mut self, programme: &mut Generation<'j>) -> Option<Round> {
        let most_steps = self.most_steps?;
        let round = programme.step(most_steps)?;
        if round == Round::Solved && self.solved {
            let more = (most_steps * 4).min(STEPS[1]);
            self.most_steps = (more > most_steps && !programme.is_proved()).then_some(more);
            return None;
        }
        self.rounds += 1;
        self.solved |= round == Round::Solved;
        Some(round)
    }

    /// Packs by the values that the programme shows, and begins a descent if it is worth while.
    fn look(&mut self, programme: &Generation<'j>) {
        let objective = programme.objective();
        let far = float(self.best.cost) > objective * (1.0 + WORTH_WHILE);
        if !far && !self.solved {
            return;
        }
        self.round_off(programme);
        if self.solved || programme.bound().value > objective * (1.0 - NEARLY_SOLVED) {
            self.begin_dive(programme);
        }
    }

    fn begin_dive(&mut self, programme: &Generation<'j>) {
        let most = if self.best.waiting == 0 { float(self.best.cost) } else { f64::INFINITY };
        let missing = dive::MISSING[self.dives % dive::MISSING.len()];
        let dive = Dive::new(programme.clone(), self.left.clone(), most, missing);
        self.dive = Some(Box::new(dive));
        self.dives += 1;
    }

    /// What the programme uses nearly whole, and the rest packed by the values that it shows.
    fn round_off(&mut self, programme: &Generation<'j>) {
        let mut left = self.left.clone();
        let mut batches = Vec::new();
        for (machine, pattern, copies) in dive::rounded(programme, &left, ROUNDED_UP) {
            take(&mut left, &pattern, copies);
            batches.push(Batch { machine, pattern, copies });
        }
        let rest = greedy::pack_by(self.job, self.numbers, &left, &programme.bound().duals);
        if rest.waiting == 0 {
            batches.extend(rest.batches);
            self.offer(batches);
        }
    }

    /// Whole dollars apart there is nothing to gain.
    fn improvable(&self, bound: f64) -> bool {
        self.best.waiting > 0 || float(self.best.cost) > bound + 1.0
    }

    fn offer(&mut self, batches: Vec<Batch>) {
        let cost = self.job.cost(&batches);
        if (self.best.waiting > 0 || cost < self.best.cost) && self.job.affords(&batches) {
            self.best = Packing { batches, waiting: 0, cost };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{check, job, optimum};
    use super::*;

    /// The packing after each of so many steps, and the bound.
    fn run(job: &Job, steps: usize) -> Vec<(Packing, f64)> {
        let numbers = Numbers::of(job);
        let mut packer = Packer::new(job, &numbers, 2);
        let state = |packer: &Packer<'_>| {
            (packer.best().clone(), packer.bound().map_or(0.0, |bound| bound.value))
        };
        let mut states = vec![state(&packer)];
        while states.len() <= steps && packer.step() {
            states.push(state(&packer));
        }
        states.push(state(&packer));
        states
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_packing_on_the_way_is_whole_and_the_bound_below_the_optimum(job in job()) {
            let optimum = optimum(&job);
            let mut before = u64::MAX;
            for (packing, bound) in run(&job, 150) {
                prop_assert_eq!(packing.waiting, 0);
                check(&job, &packing.batches)?;
                prop_assert_eq!(packing.cost, job.cost(&packing.batches));
                prop_assert!(packing.cost <= before);
                prop_assert!(bound <= float(optimum) * (1.0 + 1e-9), "{bound} above {optimum}");
                prop_assert!(packing.cost >= optimum);
                before = packing.cost;
            }
            // Far below what one more machine would cost: the small jobs are packed well.
            prop_assert!(before <= optimum * 3 / 2, "{before} of {optimum}");
        }

        #[test]
        fn runs_are_alike(job in job()) {
            let costs = |run: Vec<(Packing, f64)>| -> Vec<_> {
                run.into_iter().map(|(packing, bound)| (packing.batches, bound.to_bits())).collect()
            };
            prop_assert_eq!(costs(run(&job, 40)), costs(run(&job, 40)));
        }

        /// What has no place keeps waiting, and what has one is not lost.
        #[test]
        fn pods_wait_where_budgets_are_used_up(job in job(), budget in 0..3u64) {
            let mut job = job;
            job.budgets = vec![budget];
            job.machines.iter_mut().for_each(|machine| machine.draws = vec![(0, 1)]);
            for (packing, _) in run(&job, 200) {
                prop_assert!(job.affords(&packing.batches));
                let pods = |batch: &Batch| {
                    batch.copies * batch.pattern.iter().map(|(_, n)| n).sum::<u64>()
                };
                let placed: u64 = packing.batches.iter().map(pods).sum();
                let all: u64 = job.rows.iter().map(|row| row.count).sum();
                prop_assert_eq!(placed + packing.waiting, all);
            }
        }

        #[test]
        fn budgets_are_kept(job in job(), budget in 1..4u64) {
            let mut job = job;
            job.budgets = vec![budget];
            job.machines[0].draws = vec![(0, 1)];
            for (packing, _) in run(&job, 60) {
                prop_assert_eq!(packing.waiting, 0);
                check(&job, &packing.batches)?;
            }
        }
    }
}
