//! Which machines to launch for pods that wait: quickly, and then ever cheaper, with a bound.

mod columns;
mod dive;
mod enumerate;
mod greedy;
mod improve;
mod job;
mod parts;
mod relaxed;
mod search;
mod simplex;

pub(super) use columns::Bound;
pub(super) use greedy::Packing;
use job::Batch;
pub(super) use job::{Group, Job, Machine, Numbers, Pattern, Row, float};

use columns::{Generation, Round};
use improve::Improver;

/// Search steps for each machine, at most: at the end the bound is what counts.
const STEPS: u64 = 2_000;

/// By machine: a value that no filling of it exceeds, at these values of rows.
pub(super) fn most_valuable(job: &Job, values: &[f64]) -> Vec<f64> {
    let numbers = Numbers::of(job);
    let left: Vec<u64> = job.rows.iter().map(|row| row.count).collect();
    let bound = |machine: usize| {
        search::Filler::new(job, &numbers, machine, &left, values).relaxed(f64::INFINITY).bound
    };
    (0..job.machines.len()).map(bound).collect()
}

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
    /// It is solved, or as good as, and is to be rounded to whole machines.
    Solved(Box<Generation<'j>>),
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

    /// With values of pods, by row, and fillings that are known to be good.
    pub(super) fn seeded(
        job: &'j Job,
        numbers: &'j Numbers,
        rounds: u32,
        values: &[f64],
        known: Vec<(usize, Pattern)>,
    ) -> Self {
        let left: Vec<u64> = job.rows.iter().map(|row| row.count).collect();
        let mut best = greedy::pack(job, numbers, &left, rounds);
        let by_value = greedy::pack_by(job, numbers, &left, values);
        if (by_value.waiting, by_value.cost) < (best.waiting, best.cost) {
            best = by_value;
        }
        let mut programme = Generation::new(job, numbers, left.clone());
        for batch in &best.batches {
            programme.suggest(batch.machine, batch.pattern.clone());
        }
        for (machine, pattern) in known {
            programme.suggest(machine, pattern);
        }
        programme.solve();
        let state = State::Solved(Box::new(programme));
        Self { job, numbers, left, best, state }
    }

    /// Whether the programme is solved, and only whole machines are left to improve.
    pub(super) fn is_solved(&self) -> bool {
        !matches!(self.state, State::Solving(_))
    }

    /// How far the programme is from its bound, relative to it.
    pub(super) fn slack(&self) -> f64 {
        match &self.state {
            State::Solving(programme) => programme.objective() / programme.bound().value - 1.0,
            State::Solved(_) | State::Improving(..) | State::Done => 0.0,
        }
    }

    /// The fillings that were found.
    pub(super) fn fillings(&self) -> &[(usize, Pattern)] {
        match &self.state {
            State::Solving(programme)
            | State::Solved(programme)
            | State::Improving(programme, _) => programme.columns(),
            State::Done => &[],
        }
    }

    /// What is proved so far about any packing of all pods.
    pub(super) fn bound(&self) -> Option<&Bound> {
        match &self.state {
            State::Solving(programme)
            | State::Solved(programme)
            | State::Improving(programme, _) => Some(programme.bound()),
            State::Done => None,
        }
    }

    /// One step towards a cheaper packing or a better bound. False once nothing is left to do.
    pub(super) fn step(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Solving(mut programme) => {
                self.state = match programme.round(STEPS) {
                    Round::Improved => State::Solving(programme),
                    Round::Solved => State::Solved(programme),
                };
                true
            }
            State::Solved(programme) => {
                self.state = self.round_off(programme);
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
        let values = programme.values();
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
