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
    /// `rounded` is one to begin with. The search branches on a candidate of which the relaxation
    /// takes a fraction: one more whole of it, or none (Land and Doig 1960), and goes on where most
    /// may still be found.
    pub(super) fn search(&self, rounded: Filling, relaxed: &Relaxed, effort: Effort) -> Filling {
        let mut search = Search::new(rounded, relaxed, effort.threshold);
        search.run(self, effort.steps);
        search.finish()
    }
}

/// Fillings that keep to some decisions.
#[derive(Debug, Clone)]
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

/// A search that is under way.
#[derive(Debug, Clone)]
pub(super) struct Search {
    queue: BinaryHeap<Branch>,
    best: Filling,
    threshold: f64,
    /// A value that is good enough.
    good: f64,
    /// The value to exceed.
    sought: f64,
    /// What may be found in branches that were given up.
    open: f64,
    /// What lies between bound and sought value of branches that are worth going through.
    closable: f64,
}

impl Search {
    pub(super) fn new(rounded: Filling, relaxed: &Relaxed, threshold: f64) -> Self {
        let root = Branch { bound: relaxed.bound, decisions: Vec::new() };
        Self {
            queue: BinaryHeap::from([root]),
            threshold,
            good: threshold + GOOD_ENOUGH * (relaxed.bound - threshold),
            sought: threshold.max(rounded.value),
            best: rounded,
            open: 0.0,
            closable: f64::INFINITY,
        }
    }

    /// Goes on until so many steps are made in all. Whether more of them are of use.
    pub(super) fn run(&mut self, filler: &Filler<'_>, steps: u64) -> bool {
        while self.best.steps < steps && self.is_open() {
            let Some(branch) = self.queue.pop() else { break };
            self.best.steps += 1;
            self.visit(filler, &branch);
        }
        self.is_open()
    }

    fn is_open(&self) -> bool {
        self.best.value < self.good && self.queue.peek().is_some_and(|b| b.bound > self.sought)
    }

    pub(super) fn steps(&self) -> u64 {
        self.best.steps
    }

    pub(super) fn finish(mut self) -> Filling {
        let open = self.queue.peek().map_or(0.0, |branch| branch.bound);
        self.best.bound = self.sought.max(self.open).max(open);
        self.best
    }

    fn visit(&mut self, filler: &Filler<'_>, branch: &Branch) {
        let mut state = State::of(filler, &branch.decisions);
        let relaxed = state.relaxed(filler);
        let bound = branch.bound.min(state.value + relaxed.bound);
        if bound <= self.sought || self.closes(filler, &mut state, &relaxed.prices, bound) {
            return;
        }
        let Some(candidate) = self.round_down(filler, &state, &relaxed.amounts) else {
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
    fn closes<'j>(
        &mut self,
        filler: &Filler<'j>,
        state: &mut State<'j>,
        prices: &[f64],
        bound: f64,
    ) -> bool {
        let spare = bound - self.sought;
        if spare > self.closable {
            return false;
        }
        let reached = state.value;
        let Outcome { best, complete } =
            Enumeration::new(filler, state, prices, bound, self.sought).run();
        if let Some((pattern, value)) = best {
            self.keep(pattern, reached + value);
        }
        // What went well is tried with more, what did not with less.
        self.closable = if complete { self.closable.max(spare * 2.0) } else { spare };
        complete
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
    fn round_down(
        &mut self,
        filler: &Filler<'_>,
        state: &State<'_>,
        amounts: &[f64],
    ) -> Option<usize> {
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
