//! How long a run goes on.

use super::pack::{Packer, whole};

/// How far a run has come, as its caller sees it between two steps.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Steps so far.
    pub iterations: u32,
    /// What the launches would cost together that are being optimised, in millionths of a dollar
    /// per hour.
    pub cost_per_hour_micros: u64,
    /// What they are proved to cost at least.
    pub lower_bound_micros: u64,
}

/// Runs packers within a budget of steps, and asks between any two of them whether to go on.
pub(super) struct Control<'s> {
    most: u32,
    done: u32,
    stop: &'s mut dyn FnMut(&Progress) -> bool,
    pub(super) cut_short: bool,
}

/// How far a programme may be from its bound, relative to it, before its fillings are put to use.
const ENOUGH: f64 = 5e-3;

impl<'s> Control<'s> {
    pub(super) fn new(most: u32, stop: &'s mut dyn FnMut(&Progress) -> bool) -> Self {
        Self { most, done: 0, stop, cut_short: false }
    }

    /// Whether only the quick packing is wanted.
    pub(super) fn is_quick(&self) -> bool {
        self.most == 0 || self.cut_short
    }

    /// From now on so many steps at most for each packing.
    pub(super) fn limit(&mut self, most: u32) {
        self.most = most;
    }

    pub(super) fn iterations(&self) -> u32 {
        self.done
    }

    /// Whether the caller stops it; what is at hand costs so much.
    pub(super) fn stops(&mut self, cost_per_hour_micros: u64) -> bool {
        self.is_over_at(cost_per_hour_micros, 0.0)
    }

    /// Improves packings that have nothing to do with each other, in turns, until nothing is left
    /// to do, the steps are over or the caller stops it. A prover gets its turn as well.
    pub(super) fn run(&mut self, packers: &mut [Packer<'_>], mut prover: Option<&mut Packer<'_>>) {
        let mut busy = vec![true; packers.len()];
        for _ in 0..self.most {
            for at in 0..packers.len() {
                if !busy[at] {
                    continue;
                }
                if self.is_over(packers, prover.as_deref()) {
                    return;
                }
                busy[at] = packers[at].step();
                self.done = self.done.saturating_add(1);
            }
            let proving = prover.as_mut().is_some_and(|prover| prover.prove());
            if !proving && busy.iter().all(|busy| !busy) {
                return;
            }
        }
    }

    /// Takes steps towards a bound until the programme is nearly solved.
    pub(super) fn solve(&mut self, prover: &mut Packer<'_>) {
        for _ in 0..self.most {
            let solved = prover.is_solved() || prover.slack() <= ENOUGH;
            if solved || self.is_over(&[], Some(prover)) || !prover.prove() {
                return;
            }
            self.done = self.done.saturating_add(1);
        }
    }

    fn is_over(&mut self, packers: &[Packer<'_>], prover: Option<&Packer<'_>>) -> bool {
        let bound = |packer: &Packer<'_>| packer.bound().map_or(0.0, |bound| bound.value);
        let own: f64 = packers.iter().map(bound).sum();
        let cost =
            packers.iter().chain(prover.filter(|_| packers.is_empty())).map(|p| p.best().cost);
        self.is_over_at(cost.fold(0, u64::saturating_add), prover.map_or(own, bound))
    }

    fn is_over_at(&mut self, cost_per_hour_micros: u64, bound: f64) -> bool {
        let progress = Progress {
            iterations: self.done,
            cost_per_hour_micros,
            lower_bound_micros: whole(bound),
        };
        self.cut_short = self.cut_short || (self.stop)(&progress);
        self.cut_short
    }
}
