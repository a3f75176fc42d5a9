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
mod pricing;
mod relaxed;
mod search;
mod simplex;

pub(super) use columns::Bound;
pub(super) use greedy::Packing;
pub(super) use job::{Batch, Group, Job, Machine, Numbers, Pattern, Row};

use columns::{Generation, Round};
use improve::Improver;

/// Search steps for each machine, at most: at the end the bound is what counts.
const STEPS: u64 = 512;

/// A packer that can be stopped between any two steps and has a plan all the time.
pub(super) struct Packer<'j> {
    job: &'j Job,
    numbers: &'j Numbers,
    left: Vec<u64>,
    best: Packing,
    state: State<'j>,
}

enum State<'j> {
    /// The programme is being solved.
    Solving(Box<Generation<'j>>),
    /// Machines are whole, and a few at a time are packed anew.
    Improving(Box<Generation<'j>>, Improver<'j>),
    Done,
}

impl<'j> Packer<'j> {
    /// Packs quickly, `rounds` times, and stands ready for more. Every row must fit on some
    /// machine.
    pub(super) fn new(job: &'j Job, numbers: &'j Numbers, rounds: u32) -> Self {
        let left: Vec<u64> = job.rows.iter().map(|row| row.count).collect();
        let best = greedy::pack(job, numbers, &left, rounds);
        let state = if left.iter().all(|n| *n == 0) {
            State::Done
        } else {
            let mut programme = Generation::new(job, numbers, left.clone());
            for batch in &best.batches {
                programme.suggest(batch.machine, batch.pattern.clone());
            }
            programme.solve();
            State::Solving(Box::new(programme))
        };
        Self { job, numbers, left, best, state }
    }

    /// The cheapest packing so far.
    pub(super) fn best(&self) -> &Packing {
        &self.best
    }

    pub(super) fn objective(&self) -> f64 {
        match &self.state {
            State::Solving(p) | State::Improving(p, _) => p.objective(),
            State::Done => 0.0,
        }
    }
    pub(super) fn improving(&self) -> bool {
        matches!(self.state, State::Improving(..))
    }

    /// What is proved so far about any packing of all pods.
    pub(super) fn bound(&self) -> Option<&Bound> {
        match &self.state {
            State::Solving(programme) | State::Improving(programme, _) => Some(programme.bound()),
            State::Done => None,
        }
    }

    /// One step towards a cheaper packing or a better bound. False once nothing is left to do.
    pub(super) fn step(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Solving(mut programme) => {
                self.state = match programme.round(STEPS) {
                    Round::Improved => State::Solving(programme),
                    Round::Solved => self.round_off(programme),
                };
                true
            }
            State::Improving(programme, mut improver) => {
                if improver.step(programme.columns()) {
                    self.offer(improver.batches());
                }
                let more = self.improvable(programme.bound().value);
                self.state = State::Improving(programme, improver);
                more
            }
            State::Done => false,
        }
    }

    /// From the solved programme to whole machines.
    fn round_off(&mut self, programme: Box<Generation<'j>>) -> State<'j> {
        let values = programme.bound().duals.clone();
        let by_value = greedy::pack_by(self.job, self.numbers, &self.left, &values);
        if by_value.waiting == 0 {
            self.offer(by_value.batches);
        }
        let dived = dive::dive((*programme).clone(), self.left.clone(), f64::INFINITY);
        if !dived.is_empty() {
            self.offer(dived);
        }
        let improver = Improver::new(self.job, self.numbers, &self.best.batches, values);
        State::Improving(programme, improver)
    }

    /// Whole dollars apart there is nothing to gain.
    fn improvable(&self, bound: f64) -> bool {
        self.best.waiting == 0 && job::float(self.best.cost) > bound + 1.0
    }

    fn offer(&mut self, batches: Vec<Batch>) {
        let cost = self.job.cost(&batches);
        if (self.best.waiting > 0 || cost < self.best.cost) && self.job.affords(&batches) {
            self.best = Packing { batches, waiting: 0, cost };
        }
    }
}
