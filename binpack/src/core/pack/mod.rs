//! Which machines to launch for pods that wait: quickly, and then ever cheaper, with a bound.

mod by_device;
mod columns;
mod devices;
mod dive;
mod enumerate;
mod filler;
mod greedy;
mod improve;
mod job;
mod merge;
mod parts;
mod pricing;
mod relaxed;
mod search;
mod simplex;

pub(super) use columns::Bound;
pub(super) use greedy::Packing;
pub(super) use job::{Group, Job, Machine, Numbers, Pattern, Row, float};

use columns::{Generation, Round};
use dive::{Dive, Progress};
use improve::Improver;
use job::Batch;

/// Search steps for each machine, at most: at the end the bound is what counts.
const STEPS: u64 = 2_048;

/// Rounds of pricing before the first look at whether a descent is worth while. Before each further
/// one they are half as many more.
const FIRST_LOOK: u64 = 16;

/// Relative to the programme: a descent from one that may still fall by more is of little use.
const NEARLY_SOLVED: f64 = 0.03;

/// Relative to the programme: a descent is worth while if the packing is that far above it.
const WORTH_WHILE: f64 = 1e-3;

/// Fillings of the programme that miss no more of a whole machine are rounded up.
const ROUNDED_UP: f64 = 0.4;

/// By machine: a value that no filling of it exceeds, at these values of rows.
pub(super) fn most_valuable(job: &Job, values: &[f64]) -> Vec<f64> {
    let numbers = Numbers::of(job);
    let left: Vec<u64> = job.rows.iter().map(|row| row.count).collect();
    let bound = |machine: usize| {
        let site = filler::Site { job, numbers: &numbers, machine, left: &left, values };
        filler::Filler::new(site, &[]).relaxed(f64::INFINITY).bound
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
    /// Whether the programme is solved.
    solved: bool,
    /// Rounds of pricing until now.
    rounds: u64,
    /// Those after which there is a look at whether a descent is worth while.
    look_at: u64,
    dive: Option<Box<Dive<'j>>>,
    improver: Option<Improver<'j>>,
    /// Whether the packing is improved next, and not the programme.
    improves: bool,
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
            rounds: 0,
            look_at: FIRST_LOOK,
            dive: None,
            improver: None,
            improves: false,
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

    /// With values of pods, by row, and fillings that are known to be good: it begins with a
    /// descent.
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
                programme.suggest(machine, pattern);
            }
            programme.solve();
            let dive = Dive::new((*programme).clone(), packer.left.clone(), f64::INFINITY);
            packer.dive = Some(Box::new(dive));
            packer.programme = Some(programme);
        }
        packer
    }

    /// One step towards a better bound alone. False once nothing is left to do.
    pub(super) fn prove(&mut self) -> bool {
        let Some(mut programme) = self.programme() else { return false };
        self.solved = self.solved || programme.step(STEPS) == Some(Round::Solved);
        self.programme = Some(programme);
        !self.solved
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
        if let Some(dive) = self.dive.take() {
            self.descend(&programme, dive);
        } else if self.improves {
            self.improve(&programme);
            self.improves = self.solved;
        } else {
            self.price(&mut programme);
            self.improves = self.improver.is_some();
        }
        let more = self.improvable(programme.bound().value);
        self.programme = Some(programme);
        more
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
        if self.best.cost < before || self.improver.is_none() {
            let values = programme.values();
            let batches = &self.best.batches;
            self.improver =
                Some(Improver::new(self.job, self.numbers, batches, values, self.rounds));
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
        match programme.step(STEPS) {
            None => return,
            Some(Round::Improved) => {}
            Some(Round::Solved) => self.solved = true,
        }
        self.rounds += 1;
        if self.rounds >= self.look_at || self.solved {
            self.look_at = self.rounds + self.rounds / 2;
            self.look(programme);
        }
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
            let most = if self.best.waiting == 0 { float(self.best.cost) } else { f64::INFINITY };
            let dive = Dive::new(programme.clone(), self.left.clone(), most);
            self.dive = Some(Box::new(dive));
        }
    }

    /// What the programme uses nearly whole, and the rest packed by the values that it shows.
    fn round_off(&mut self, programme: &Generation<'j>) {
        let mut left = self.left.clone();
        let mut batches = Vec::new();
        for (machine, pattern, copies) in dive::rounded(programme, &left, ROUNDED_UP) {
            pattern.iter().for_each(|(row, n)| left[*row] -= n * copies);
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
