//! One machine that is to be filled at given values of pods.

use super::devices::Devices;
use super::job::{Job, Load, Numbers, Pattern, float, whole};
use super::relaxed::{Knapsack, Relaxed};
use crate::core::room::Gpu;
use crate::model::GPU_MILLI;

/// A filling, and a value that no filling exceeds.
#[derive(Debug, Clone, Default)]
pub(super) struct Filling {
    pub(super) pattern: Pattern,
    pub(super) value: f64,
    pub(super) bound: f64,
    /// Others above the threshold that were found on the way.
    pub(super) more: Vec<Pattern>,
    /// Steps that the search took.
    pub(super) steps: u64,
}

/// One machine, and what it is filled with.
#[derive(Clone, Copy)]
pub(super) struct Site<'j> {
    pub(super) job: &'j Job,
    pub(super) numbers: &'j Numbers,
    pub(super) machine: usize,
    /// By row: how many pods there are.
    pub(super) left: &'j [u64],
    /// By row: the value of a pod.
    pub(super) values: &'j [f64],
}

impl Site<'_> {
    pub(super) fn price(&self) -> f64 {
        float(self.job.machines[self.machine].price).max(1.0)
    }

    /// Whether devices are filled one by one: several, each with all of it free. A single one is
    /// an amount like others.
    pub(super) fn is_by_device(&self) -> bool {
        let gpus = &self.job.machines[self.machine].room.gpus;
        self.numbers.shares && gpus.len() > 1 && gpus.iter().all(|free| *free == GPU_MILLI)
    }

    /// The rows that the machine may take some of.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        let rows = &self.job.machines[self.machine].rows;
        let wanted = |row: &usize| self.left[*row] > 0 && self.values[*row] > 0.0 && rows.has(*row);
        (0..self.job.rows.len()).filter(wanted)
    }

    /// What these prices of resources prove of the machine, what single devices carry apart.
    pub(super) fn bound_at(&self, prices: &[f64]) -> f64 {
        let empty = self.load();
        let over = self.singles().map(|row| {
            let need = self.need(row);
            let gain = self.values[row] - need.iter().zip(prices).map(|(n, p)| n * p).sum::<f64>();
            if gain <= 0.0 {
                return 0.0;
            }
            gain * float(empty.count_item(&[(row, 1)], need, self.left[row]))
        });
        over.sum::<f64>() + empty.free.iter().zip(prices).map(|(f, p)| f * p).sum::<f64>()
    }
}

impl<'j> Site<'j> {
    fn load(&self) -> Load<'j> {
        if self.is_by_device() {
            Load::by_device(self.job, self.numbers, self.machine)
        } else {
            Load::new(self.job, self.numbers, self.machine)
        }
    }

    /// The rows whose pods are candidates.
    fn singles(&self) -> impl Iterator<Item = usize> {
        let by_device = self.is_by_device();
        let is_share = |row: usize| matches!(self.job.rows[row].demand.gpu, Gpu::Share(_));
        self.rows().filter(move |row| !by_device || !is_share(*row))
    }

    fn need(&self, row: usize) -> &'j [f64] {
        if self.is_by_device() { self.numbers.need_by_device(row) } else { self.numbers.need(row) }
    }
}

/// A machine and the candidates that may go on it.
///
/// A candidate is an item: a pod of a row, or all that one device carries.
pub(super) struct Filler<'j> {
    of: Site<'j>,
    /// The machine with what was decided before.
    base: Load<'j>,
    /// What that is worth.
    pub(super) base_value: f64,
    items: Vec<(usize, u64)>,
    /// By candidate: where its part of the items begins; and where the last one ends.
    starts: Vec<usize>,
    /// Resources, and after them the cuts.
    pub(super) dims: usize,
    have: Vec<f64>,
    need: Vec<f64>,
    most: Vec<f64>,
    pub(super) value: Vec<f64>,
}

/// The most cuts of one machine.
const MOST_CUTS: usize = 8;

/// By how much a cut must be broken to be of use.
const VIOLATED: f64 = 0.01;

/// The most contents of devices that the relaxation asks for at a time.
const MOST_CONTENTS: usize = 60;

/// Relative to the bound: how exactly the price of a device is known.
const SETTLED: f64 = 1e-6;

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

impl<'j> Filler<'j> {
    /// Rows are candidates, as far as `decisions` about them allow. Where devices are filled one by
    /// one, what they carry is added later instead of rows that take shares.
    pub(super) fn new(of: Site<'j>, decisions: &[Decision]) -> Self {
        let mut base = of.load();
        let mut limits = vec![u64::MAX; of.left.len()];
        let mut value = 0.0;
        for decision in decisions {
            match *decision {
                Decision::Take(row, n) => {
                    base.add_item(&[(row, 1)], of.need(row), n);
                    value += of.values[row] * float(n);
                    limits[row] = limits[row].saturating_sub(n);
                }
                Decision::Limit(row, n) => limits[row] = limits[row].min(n),
            }
        }
        let mut filler = Self { base_value: value, ..Self::empty(of, base) };
        for row in of.singles() {
            filler.push(&[(row, 1)], of.need(row), of.values[row], limits[row]);
        }
        filler
    }

    fn empty(of: Site<'j>, base: Load<'j>) -> Self {
        Self {
            of,
            items: Vec::new(),
            starts: vec![0],
            dims: base.free.len(),
            have: base.free.clone(),
            base,
            base_value: 0.0,
            need: Vec::new(),
            most: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Adds what a device may carry as a candidate, if the machine takes it. No cuts yet.
    pub(super) fn add_content(&mut self, content: &[(usize, u64)]) {
        let (need, value) = self.content(content);
        self.push(content, &need, value, u64::MAX);
    }

    /// The same for a relaxation, which may take a part of what the machine does not take whole.
    fn add_relaxed(&mut self, content: &[(usize, u64)]) {
        let (need, value) = self.content(content);
        let devices = whole(self.have[self.dims - 1]);
        let most = self.remaining(&self.base, content, devices);
        self.push_most(content, &need, value, most);
    }

    /// What a device needs with a content, and what it is worth.
    fn content(&self, content: &[(usize, u64)]) -> (Vec<f64>, f64) {
        let Site { numbers, values, .. } = self.of;
        let mut need = vec![0.0; self.dims];
        let mut value = 0.0;
        for (row, n) in content {
            let each = &numbers.need(*row)[..numbers.plain];
            need.iter_mut().zip(each).for_each(|(need, each)| *need += each * float(*n));
            value += values[*row] * float(*n);
        }
        need[self.dims - 1] = 1.0;
        (need, value)
    }

    fn push(&mut self, item: &[(usize, u64)], need: &[f64], value: f64, most: u64) {
        let most = self.remaining(&self.base, item, most);
        let most = self.base.count_item(item, need, most);
        self.push_most(item, need, value, most);
    }

    fn push_most(&mut self, item: &[(usize, u64)], need: &[f64], value: f64, most: u64) {
        if most == 0 {
            return;
        }
        self.items.extend_from_slice(item);
        self.starts.push(self.items.len());
        self.need.extend_from_slice(need);
        self.most.push(float(most));
        self.value.push(value);
    }

    /// What devices carry in a relaxation.
    pub(super) fn contents_in(&self, amounts: &[f64]) -> Vec<Pattern> {
        let is_share = |row: usize| matches!(self.of.job.rows[row].demand.gpu, Gpu::Share(_));
        let used = (0..self.len()).filter(|i| amounts.get(*i).is_some_and(|n| *n > 0.0));
        let items = used.map(|i| self.item(i)).filter(|item| is_share(item[0].0));
        items.map(<[_]>::to_vec).collect()
    }

    /// The row of a candidate that is a pod with several devices, if any is taken in part.
    pub(super) fn divided(&self, amounts: &[f64]) -> Option<(usize, u64)> {
        let several = |row: usize| matches!(self.of.job.rows[row].demand.gpu, Gpu::Whole(2..));
        let part = |i: usize| (amounts[i] - amounts[i].round()).abs();
        let all = (0..self.len()).map(|i| (part(i), i, self.item(i)[0].0));
        let most = all.filter(|(part, _, row)| *part > 1e-6 && several(*row));
        let most = most.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        most.map(|(_, i, row)| (row, whole(amounts[i])))
    }

    /// How many candidates there are.
    pub(super) fn len(&self) -> usize {
        self.value.len()
    }

    pub(super) fn item(&self, candidate: usize) -> &[(usize, u64)] {
        &self.items[self.starts[candidate]..self.starts[candidate + 1]]
    }

    pub(super) fn need(&self, candidate: usize) -> &[f64] {
        &self.need[candidate * self.dims..(candidate + 1) * self.dims]
    }

    fn knapsack(&self) -> Knapsack<'_> {
        self.knapsack_of(&self.have, &self.most)
    }

    fn knapsack_of<'a>(&'a self, have: &'a [f64], most: &'a [f64]) -> Knapsack<'a> {
        Knapsack { dims: self.dims, have, need: &self.need, value: &self.value, most }
    }

    /// The relaxation, with cuts as long as the bound is above the threshold and they lower it.
    pub(super) fn relaxed(&mut self, threshold: f64) -> Relaxed {
        let mut relaxed = self.knapsack().solve();
        for _ in 0..MOST_CUTS {
            if self.base_value + relaxed.bound <= threshold {
                break;
            }
            let Some(cut) = self.violated(&relaxed.amounts) else { break };
            self.add(cut);
            relaxed = self.knapsack().solve();
        }
        relaxed.bound += self.base_value;
        relaxed
    }

    /// The relaxation over everything that devices may carry, of which the candidates get what it
    /// asks for, beginning with those that are known. Its bound holds for all others too.
    pub(super) fn relaxed_by_device(
        &mut self,
        devices: &mut Devices<'_>,
        known: &[Pattern],
    ) -> Relaxed {
        let device = self.dims - 1;
        for content in known {
            self.add_relaxed(content);
        }
        let mut relaxed = self.knapsack().solve();
        for _ in 0..MOST_CONTENTS {
            let price = devices.price(&relaxed.prices[..device]);
            let known = relaxed.prices[device];
            relaxed.prices[device] = known.max(price);
            relaxed.bound = self.knapsack().bound(&relaxed.prices);
            if price <= known + SETTLED * relaxed.bound {
                break;
            }
            let before = self.len();
            self.add_relaxed(&devices.best());
            if self.len() == before {
                break;
            }
            relaxed = self.knapsack().solve();
        }
        relaxed.bound += self.base_value;
        relaxed
    }

    /// The dual feasible function of a resource that fractions of pods break most.
    fn violated(&self, amounts: &[f64]) -> Option<(usize, u32)> {
        let used = |dim: usize, k: u32| -> f64 {
            let parts = amounts.iter().enumerate().filter(|(_, n)| **n > 0.0);
            parts.map(|(i, n)| n * dual_feasible(self.part(i, dim), k)).sum()
        };
        let all = (0..self.of.numbers.plain).flat_map(|dim| (1..=FINEST).map(move |k| (dim, k)));
        let most = all.map(|(dim, k)| (used(dim, k), dim, k)).max_by(|a, b| a.0.total_cmp(&b.0));
        most.filter(|(used, ..)| *used > 1.0 + VIOLATED).map(|(_, dim, k)| (dim, k))
    }

    /// What a candidate takes of all that there is of a resource.
    fn part(&self, candidate: usize, dim: usize) -> f64 {
        self.need[candidate * self.dims + dim] / self.have[dim].max(1.0)
    }

    fn add(&mut self, (dim, k): (usize, u32)) {
        let mut need = Vec::with_capacity(self.len() * (self.dims + 1));
        for candidate in 0..self.len() {
            need.extend(self.need(candidate));
            need.push(dual_feasible(self.part(candidate, dim), k));
        }
        self.need = need;
        self.have.push(1.0);
        self.dims += 1;
    }

    /// What a candidate is worth beyond the resources that it takes, at these prices.
    pub(super) fn gain(&self, candidate: usize, prices: &[f64]) -> f64 {
        self.knapsack().gain(candidate, prices)
    }

    /// Guided by the relaxation: take what is whole in it, or one of the largest fraction, and
    /// solve it anew for what is left.
    pub(super) fn rounded(&self, relaxed: &Relaxed) -> Filling {
        let mut load = self.base.clone();
        let mut free = self.have.clone();
        let mut amounts = relaxed.amounts.clone();
        let mut value = self.base_value;
        loop {
            let before = value;
            for (i, amount) in amounts.iter().enumerate().filter(|(_, amount)| **amount > 0.999) {
                value += self.put(&mut load, &mut free, i, whole(amount + 1e-3));
            }
            if value <= before {
                value += self.put_largest(&mut load, &mut free, &amounts);
            }
            let most: Vec<f64> =
                (0..self.len()).map(|i| float(self.count(&load, i, u64::MAX))).collect();
            if most.iter().all(|most| *most == 0.0) {
                break;
            }
            let solved = self.knapsack_of(&free, &most).solve();
            if value <= before && solved.bound <= 0.0 {
                break;
            }
            amounts = solved.amounts;
        }
        let (pattern, bound) = (load.pattern(), relaxed.bound);
        Filling { pattern, value, bound, ..Filling::default() }
    }

    fn put_largest(&self, load: &mut Load<'_>, free: &mut [f64], amounts: &[f64]) -> f64 {
        let largest = amounts.iter().enumerate().filter(|(_, amount)| **amount > 1e-6);
        let mut largest: Vec<(usize, f64)> = largest.map(|(i, n)| (i, *n)).collect();
        largest.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut values = largest.into_iter().map(|(i, _)| self.put(load, free, i, 1));
        values.find(|value| *value > 0.0).unwrap_or(0.0)
    }

    /// How many times more the machine takes a candidate, at most `most`.
    pub(super) fn count(&self, load: &Load<'_>, candidate: usize, most: u64) -> u64 {
        let item = self.item(candidate);
        load.count_item(item, self.need(candidate), self.remaining(load, item, most))
    }

    /// The same without a look at single devices.
    pub(super) fn reach(&self, load: &Load<'_>, candidate: usize, most: u64) -> u64 {
        let item = self.item(candidate);
        let n = load.reach(item, self.need(candidate), most);
        if n == 0 { 0 } else { self.remaining(load, item, n) }
    }

    /// How many times more there are the pods of an item.
    fn remaining(&self, load: &Load<'_>, item: &[(usize, u64)], most: u64) -> u64 {
        let left = |row: usize| self.of.left[row].saturating_sub(load.taken[row]);
        item.iter().map(|(row, n)| left(*row) / n).fold(most, u64::min)
    }

    pub(super) fn put(
        &self,
        load: &mut Load<'_>,
        free: &mut [f64],
        candidate: usize,
        n: u64,
    ) -> f64 {
        let n = self.count(load, candidate, n);
        if n > 0 {
            let need = self.need(candidate);
            load.add_item(self.item(candidate), need, n);
            free.iter_mut().zip(need).for_each(|(free, need)| *free -= need * float(n));
        }
        self.value[candidate] * float(n)
    }
}

/// A machine after some decisions.
pub(super) struct State<'j> {
    pub(super) load: Load<'j>,
    /// What is left of each resource and cut.
    pub(super) free: Vec<f64>,
    /// By candidate: how many times more it may be taken.
    pub(super) most: Vec<f64>,
    pub(super) value: f64,
    /// Whether all that was decided could be taken.
    pub(super) taken: bool,
}

/// What was decided of a candidate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decision {
    /// It is taken so many times, and may be more often.
    Take(usize, u64),
    /// At most so many times beyond those that are taken.
    Limit(usize, u64),
}

impl<'j> State<'j> {
    pub(super) fn of(filler: &Filler<'j>, decisions: &[Decision]) -> Self {
        let mut load = filler.base.clone();
        let (mut free, mut most) = (filler.have.clone(), filler.most.clone());
        let (mut value, mut taken) = (filler.base_value, true);
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
        for (i, most) in most.iter_mut().enumerate().filter(|(_, most)| **most > 0.0) {
            *most = float(filler.reach(&load, i, whole(*most)));
        }
        Self { load, free, most, value, taken }
    }

    pub(super) fn relaxed(&self, filler: &Filler<'_>) -> Relaxed {
        filler.knapsack_of(&self.free, &self.most).solve()
    }
}
