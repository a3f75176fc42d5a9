//! The most valuable filling of one machine, by branch and bound.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::enumerate::{Enumeration, Outcome};
use super::filler::{Decision, Filler, Filling, State};
use super::job::{Pattern, float, whole};
use super::relaxed::Relaxed;

/// How thoroughly a machine is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Fillings worth no more than this are of no interest.
    pub(super) threshold: f64,
    /// How many relaxations are solved at most.
    pub(super) steps: u64,
}

/// Between the threshold and what the relaxation of the whole machine proves, a filling above this
/// part is good enough.
const GOOD_ENOUGH: f64 = 0.5;

impl Filler<'_> {
    /// The best filling above the threshold that so many steps find, or one that is good enough.
    /// The bound holds whether or not they were enough.
    ///
    /// `rounded` is one to begin with. It branches on a candidate of which the relaxation takes a fraction: one more whole pod of
    /// it, or none (Land and Doig 1960), and goes on where most may still be found.
    pub(super) fn search(&self, rounded: Filling, relaxed: &Relaxed, effort: Effort) -> Filling {
        let sought = effort.threshold.max(rounded.value);
        if relaxed.bound <= sought {
            return rounded;
        }
        let good = effort.threshold + GOOD_ENOUGH * (relaxed.bound - effort.threshold);
        let (threshold, queue) = (effort.threshold, BinaryHeap::new());
        let mut search =
            Search { filler: self, queue, best: rounded, threshold, sought, open: 0.0 };
        search.queue.push(Branch { bound: relaxed.bound, decisions: Vec::new() });
        while let Some(branch) = search.queue.pop() {
            if branch.bound <= search.sought {
                break;
            }
            if search.best.steps == effort.steps || search.best.value >= good {
                search.best.bound = branch.bound.max(search.open);
                return search.best;
            }
            search.best.steps += 1;
            search.visit(&branch);
        }
        search.best.bound = search.sought.max(search.open);
        search.best
    }
}

/// Fillings that keep to some decisions.
pub(super) struct Branch {
    /// Nothing in it is worth more.
    pub(super) bound: f64,
    pub(super) decisions: Vec<Decision>,
}

impl Ord for Branch {
    fn cmp(&self, other: &Self) -> Ordering {
        let deeper = self.decisions.len().cmp(&other.decisions.len());
        self.bound.total_cmp(&other.bound).then(deeper)
    }
}

impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Branch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Branch {}

struct Search<'f, 'j> {
    filler: &'f Filler<'j>,
    queue: BinaryHeap<Branch>,
    best: Filling,
    threshold: f64,
    /// The value to exceed.
    sought: f64,
    /// What may be found in branches that were given up.
    open: f64,
}

impl<'j> Search<'_, 'j> {
    fn visit(&mut self, branch: &Branch) {
        let filler = self.filler;
        let mut state = State::of(filler, &branch.decisions);
        let relaxed = state.relaxed(filler);
        let bound = branch.bound.min(state.value + relaxed.bound);
        if bound <= self.sought || self.closes(&mut state, &relaxed.prices, bound) {
            return;
        }
        let Some(candidate) = self.round_down(&state, &relaxed.amounts) else {
            // All of it is whole: it was taken and is the best, unless devices kept it from that.
            if bound > self.sought * (1.0 + 1e-9) {
                self.open = self.open.max(bound);
            }
            return;
        };
        let below = whole(relaxed.amounts[candidate] - 1e-6);
        let decide = |decision| {
            let decisions = branch.decisions.iter().copied().chain([decision]).collect();
            Branch { bound, decisions }
        };
        self.queue.push(decide(Decision::Limit(candidate, below)));
        if float(below + 1) <= state.most[candidate] {
            self.queue.push(decide(Decision::Take(candidate, below + 1)));
        }
    }

    /// Whether all fillings of a branch can be gone through in a few steps.
    fn closes(&mut self, state: &mut State<'j>, prices: &[f64], bound: f64) -> bool {
        let reached = state.value;
        match Enumeration::new(self.filler, state, prices, bound, self.sought).run() {
            Outcome::Nothing => true,
            Outcome::Best(pattern, value) => {
                self.keep(pattern, reached + value);
                true
            }
            Outcome::Unknown => false,
        }
    }

    fn keep(&mut self, pattern: Pattern, value: f64) {
        let best = &mut self.best;
        if value <= best.value {
            best.more.push(pattern);
            return;
        }
        let before = std::mem::replace(&mut best.pattern, pattern);
        if best.value > self.threshold {
            best.more.push(before);
        }
        best.value = value;
        self.sought = self.sought.max(value);
    }

    /// Takes what is whole of a relaxation and whatever still fits, and keeps it if it is the best.
    /// Then the candidate to branch on: the one whose fraction is worth most.
    fn round_down(&mut self, state: &State<'_>, amounts: &[f64]) -> Option<usize> {
        let filler = self.filler;
        let mut load = state.load.clone();
        let mut free = state.free.clone();
        let mut reached = state.value;
        let mut refused = None;
        let mut fractions = Vec::new();
        for (i, amount) in amounts.iter().enumerate().filter(|(_, amount)| **amount > 1e-7) {
            let n = whole(amount + 1e-6);
            let put = filler.put(&mut load, &mut free, i, n);
            reached += put;
            if put < filler.value[i] * float(n) {
                refused = refused.or(Some(i));
            }
            if amount - float(n) > 1e-6 {
                fractions.push((i, (amount - float(n)) * filler.value[i]));
            }
        }
        fractions.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (i, _) in &fractions {
            reached += filler.put(&mut load, &mut free, *i, 1);
        }
        if reached > self.threshold {
            self.keep(load.pattern(), reached);
        }
        fractions.first().map(|(i, _)| *i).or(refused)
    }
}
