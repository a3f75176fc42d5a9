//! The most valuable filling of one machine, by branch and bound.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::enumerate::{Enumeration, Outcome};
use super::job::{Job, Load, Numbers, Pattern, float, whole};
use super::relaxed::{Knapsack, Relaxed};

/// A filling, and a value that no filling exceeds.
#[derive(Debug, Clone, Default)]
pub(super) struct Filling {
    pub(super) pattern: Pattern,
    pub(super) value: f64,
    pub(super) bound: f64,
    /// Others above the threshold that were found on the way.
    pub(super) more: Vec<Pattern>,
}

/// One machine and the rows that may go on it, ready to be filled at changing values.
pub(super) struct Filler<'j> {
    job: &'j Job,
    numbers: &'j Numbers,
    machine: usize,
    pub(super) rows: Vec<usize>,
    /// Resources, and after them the cuts.
    pub(super) dims: usize,
    have: Vec<f64>,
    pub(super) need: Vec<f64>,
    most: Vec<f64>,
    pub(super) value: Vec<f64>,
    left: &'j [u64],
}

/// The most cuts of one machine.
const MOST_CUTS: usize = 8;

/// By how much a cut must be broken to be of use.
const VIOLATED: f64 = 0.01;

/// The finest dual feasible function: it sees that of pods above a thirteenth of a machine there
/// are at most twelve.
const FINEST: u32 = 12;

/// u(k) of Fekete and Schepers ("New classes of fast lower bounds for bin packing problems", 2001):
/// parts of a whole that fit together have images which sum up to at most 1. Where rounding leaves
/// in doubt on which side of a step a part is, the lower image is taken.
fn dual_feasible(part: f64, k: u32) -> f64 {
    let steps = part * f64::from(k + 1);
    let near = steps.round();
    let step = if (steps - near).abs() < 1e-9 { near - 1.0 } else { steps.floor() };
    step.max(0.0) / f64::from(k)
}

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

impl<'j> Filler<'j> {
    /// `left` is how many pods of each row there are.
    pub(super) fn new(
        job: &'j Job,
        numbers: &'j Numbers,
        machine: usize,
        left: &'j [u64],
        values: &[f64],
    ) -> Self {
        let wanted = |row: &usize| {
            left[*row] > 0 && values[*row] > 0.0 && job.machines[machine].rows.has(*row)
        };
        let rows: Vec<usize> = (0..job.rows.len()).filter(wanted).collect();
        let empty = Load::new(job, numbers, machine);
        let most = rows.iter().map(|row| float(empty.count(*row, left[*row]))).collect();
        let need = rows.iter().flat_map(|row| numbers.need(*row).iter().copied()).collect();
        let value = rows.iter().map(|row| values[*row]).collect();
        let have = numbers.have(machine).to_vec();
        Self { job, numbers, machine, rows, dims: numbers.dims, have, need, most, value, left }
    }

    fn knapsack(&self) -> Knapsack<'_> {
        Knapsack {
            dims: self.dims,
            have: &self.have,
            need: &self.need,
            value: &self.value,
            most: &self.most,
        }
    }

    /// The relaxation, with cuts as long as the bound is above the threshold and they lower it.
    pub(super) fn relaxed(&mut self, threshold: f64) -> Relaxed {
        let mut relaxed = self.knapsack().solve();
        for _ in 0..MOST_CUTS {
            if relaxed.bound <= threshold {
                break;
            }
            let Some(cut) = self.violated(&relaxed.amounts) else { break };
            self.add(cut);
            relaxed = self.knapsack().solve();
        }
        relaxed
    }

    /// The dual feasible function of a resource that fractions of pods break most.
    fn violated(&self, amounts: &[f64]) -> Option<(usize, u32)> {
        let used = |dim: usize, k: u32| -> f64 {
            let parts = amounts.iter().enumerate().filter(|(_, n)| **n > 0.0);
            parts.map(|(i, n)| n * dual_feasible(self.part(i, dim), k)).sum()
        };
        let all = (0..self.numbers.plain).flat_map(|dim| (1..=FINEST).map(move |k| (dim, k)));
        let most = all.map(|(dim, k)| (used(dim, k), dim, k)).max_by(|a, b| a.0.total_cmp(&b.0));
        most.filter(|(used, ..)| *used > 1.0 + VIOLATED).map(|(_, dim, k)| (dim, k))
    }

    /// What a pod takes of all that there is of a resource.
    fn part(&self, candidate: usize, dim: usize) -> f64 {
        self.need[candidate * self.dims + dim] / self.have[dim].max(1.0)
    }

    fn add(&mut self, (dim, k): (usize, u32)) {
        let mut need = Vec::with_capacity(self.rows.len() * (self.dims + 1));
        for candidate in 0..self.rows.len() {
            need.extend(&self.need[candidate * self.dims..(candidate + 1) * self.dims]);
            need.push(dual_feasible(self.part(candidate, dim), k));
        }
        self.need = need;
        self.have.push(1.0);
        self.dims += 1;
    }

    /// What a pod is worth beyond the resources that it takes, at these prices.
    pub(super) fn gain(&self, candidate: usize, prices: &[f64]) -> f64 {
        self.knapsack().gain(candidate, prices)
    }

    /// What these resource prices prove of the machine.
    pub(super) fn bound_at(&self, prices: &[f64]) -> f64 {
        self.knapsack().bound(prices)
    }

    /// Guided by the relaxation: take what is whole in it, or one pod of the largest fraction, and
    /// solve it anew for what is left.
    pub(super) fn rounded(&self, relaxed: &Relaxed) -> Filling {
        let mut load = Load::new(self.job, self.numbers, self.machine);
        let mut free = self.have.clone();
        let mut most = self.most.clone();
        let mut amounts = relaxed.amounts.clone();
        let mut value = 0.0;
        loop {
            let before = value;
            for (i, amount) in amounts.iter().enumerate().filter(|(_, amount)| **amount > 0.999) {
                value += self.put(&mut load, &mut free, i, whole(amount + 1e-3));
            }
            if value <= before {
                let largest = amounts.iter().enumerate().filter(|(_, amount)| **amount > 1e-6);
                let mut largest: Vec<(usize, f64)> = largest.map(|(i, n)| (i, *n)).collect();
                largest.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                for (i, _) in largest {
                    value += self.put(&mut load, &mut free, i, 1);
                    if value > before {
                        break;
                    }
                }
            }
            for (most, row) in most.iter_mut().zip(&self.rows) {
                *most = float(load.count(*row, self.left[*row] - load.taken[*row]));
            }
            if most.iter().all(|most| *most == 0.0) {
                break;
            }
            let (need, values) = (&self.need, &self.value);
            let knapsack =
                Knapsack { dims: self.dims, have: &free, need, value: values, most: &most };
            let solved = knapsack.solve();
            if value <= before && solved.bound <= 0.0 {
                break;
            }
            amounts = solved.amounts;
        }
        Filling { pattern: load.pattern(), value, bound: relaxed.bound, more: Vec::new() }
    }

    pub(super) fn put(
        &self,
        load: &mut Load<'_>,
        free: &mut [f64],
        candidate: usize,
        n: u64,
    ) -> f64 {
        let row = self.rows[candidate];
        let n = load.count(row, n.min(self.left[row] - load.taken[row]));
        if n > 0 {
            load.add(row, n);
            let need = &self.need[candidate * self.dims..(candidate + 1) * self.dims];
            free.iter_mut().zip(need).for_each(|(free, need)| *free -= need * float(n));
        }
        self.value[candidate] * float(n)
    }

    /// The best filling above the threshold that so many steps find, or one that is good enough.
    /// The bound holds whether or not they were enough.
    ///
    /// It branches on a candidate of which the relaxation takes a fraction: one more whole pod of
    /// it, or none (Land and Doig 1960), and goes on where most may still be found.
    pub(super) fn search(&self, relaxed: &Relaxed, effort: Effort) -> Filling {
        let rounded = self.rounded(relaxed);
        let sought = effort.threshold.max(rounded.value);
        if relaxed.bound <= sought {
            return rounded;
        }
        let good = effort.threshold + GOOD_ENOUGH * (relaxed.bound - effort.threshold);
        let (threshold, queue) = (effort.threshold, BinaryHeap::new());
        let mut search =
            Search { filler: self, queue, best: rounded, threshold, sought, open: 0.0 };
        search.queue.push(Branch { bound: relaxed.bound, decisions: Vec::new() });
        let mut steps = effort.steps;
        while let Some(branch) = search.queue.pop() {
            if branch.bound <= search.sought {
                break;
            }
            if steps == 0 || search.best.value >= good {
                search.best.bound = branch.bound.max(search.open);
                return search.best;
            }
            steps -= 1;
            search.visit(&branch);
        }
        search.best.bound = search.sought.max(search.open);
        search.best
    }
}

/// What was decided of a candidate.
#[derive(Debug, Clone, Copy)]
enum Decision {
    /// So many pods of it are taken, and more may be.
    Take(usize, u64),
    /// At most so many pods beyond those that are taken.
    Limit(usize, u64),
}

struct Branch {
    /// Nothing in it is worth more.
    bound: f64,
    decisions: Vec<Decision>,
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
            let taken = load.taken[filler.rows[i]];
            reached += filler.put(&mut load, &mut free, i, n);
            if load.taken[filler.rows[i]] - taken < n {
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

/// A machine after some decisions.
pub(super) struct State<'j> {
    pub(super) load: Load<'j>,
    /// What is left of each resource and cut.
    pub(super) free: Vec<f64>,
    /// By candidate: how many more pods of it may be taken.
    pub(super) most: Vec<f64>,
    pub(super) value: f64,
    /// Whether all that was decided could be taken.
    pub(super) taken: bool,
}

impl<'j> State<'j> {
    fn of(filler: &Filler<'j>, decisions: &[Decision]) -> Self {
        let mut load = Load::new(filler.job, filler.numbers, filler.machine);
        let (mut free, mut most) = (filler.have.clone(), filler.most.clone());
        let (mut value, mut taken) = (0.0, true);
        for decision in decisions {
            match *decision {
                Decision::Take(i, n) => {
                    let put = filler.put(&mut load, &mut free, i, n);
                    taken &= put >= filler.value[i] * float(n);
                    value += put;
                    most[i] -= float(n);
                }
                Decision::Limit(i, n) => most[i] = most[i].min(float(n)),
            }
        }
        for (most, row) in most.iter_mut().zip(&filler.rows).filter(|(most, _)| **most > 0.0) {
            *most = float(load.reach(*row, whole(*most)));
        }
        Self { load, free, most, value, taken }
    }

    fn relaxed(&self, filler: &Filler<'_>) -> Relaxed {
        let (need, value) = (&filler.need, &filler.value);
        Knapsack { dims: filler.dims, have: &self.free, need, value, most: &self.most }.solve()
    }
}
