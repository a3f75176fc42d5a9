//! How long a run goes on.

use super::pack::Packer;

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
    /// What was proved before the packing at hand.
    bound: f64,
}

/// How far a programme may be from its bound, relative to it, when only a bound is wanted.
const ENOUGH: f64 = 1e-3;

impl<'s> Control<'s> {
    pub(super) fn new(most: u32, stop: &'s mut dyn FnMut(&Progress) -> bool) -> Self {
        Self { most, done: 0, stop, cut_short: false, bound: 0.0 }
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
        self.is_over(cost_per_hour_micros, 0.0)
    }

    /// Improves packings that have nothing to do with each other, in turns, until nothing is left
    /// to do, the steps are over or the caller stops it.
    pub(super) fn run(&mut self, packers: &mut [Packer<'_>]) {
        let mut busy = vec![true; packers.len()];
        for _ in 0..self.most {
            for at in 0..packers.len() {
                if !busy[at] {
                    continue;
                }
                let bounds = packers.iter().map(|p| p.bound().map_or(0.0, |bound| bound.value));
                let (bound, costs) = (bounds.sum(), packers.iter().map(|p| p.best().cost));
                let cost = costs.fold(0, u64::saturating_add);
                if self.is_over(cost, bound) {
                    return;
                }
                busy[at] = packers[at].step();
                self.done = self.done.saturating_add(1);
            }
            if busy.iter().all(|busy| !busy) {
                return;
            }
        }
    }

    /// Takes steps until the programme is solved.
    pub(super) fn solve(&mut self, packer: &mut Packer<'_>) {
        for _ in 0..self.most {
            let bound = packer.bound().map_or(0.0, |bound| bound.value);
            let solved = packer.is_solved() || packer.slack() <= ENOUGH;
            if self.is_over(packer.best().cost, bound) || solved || !packer.step() {
                break;
            }
            self.done = self.done.saturating_add(1);
        }
        self.bound = packer.bound().map_or(0.0, |bound| bound.value);
    }

    fn is_over(&mut self, cost_per_hour_micros: u64, bound: f64) -> bool {
        let progress = Progress {
            iterations: self.done,
            cost_per_hour_micros,
            lower_bound_micros: floor(bound.max(self.bound)),
        };
        self.cut_short = self.cut_short || (self.stop)(&progress);
        self.cut_short
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is what is meant"
)]
fn floor(value: f64) -> u64 {
    value as u64
}
