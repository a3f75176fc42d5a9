//! The most valuable filling of a machine with several devices: branch and bound over the pods
//! that take several of them, and below it a search over what single devices carry.

use std::collections::BinaryHeap;

use super::devices::Devices;
use super::filler::{Decision, Filler, Filling, wanted};
use super::job::{Job, Numbers, Pattern};
use super::relaxed::Relaxed;
use super::search::{Branch, Effort};

/// The most contents of devices that a filling is searched among.
const MOST_CONTENTS: usize = 400;

/// Search steps that a relaxation over contents is worth.
const STEPS_EACH: u64 = 8;

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

impl<'j> Site<'j> {
    pub(super) fn devices(&self) -> Devices<'j> {
        let rows = wanted(self.job, self.machine, self.left, self.values);
        Devices::new(self.job, self.numbers, &rows, |row| self.left[row])
    }

    fn filler(&self, decisions: &[Decision]) -> Filler<'j> {
        let Self { job, numbers, machine, left, values } = *self;
        Filler::by_device(job, numbers, machine, left, values, decisions)
    }

    /// What these prices of resources prove, once devices have the price that they then need.
    pub(super) fn bound_at(&self, prices: &[f64], devices: &mut Devices<'_>) -> Option<f64> {
        let (_, amounts) = prices.split_last()?;
        let mut prices = prices.to_vec();
        prices[amounts.len()] = devices.price(self.values, amounts);
        Some(self.filler(&[]).bound_at(&prices))
    }
}

/// A search that is under way.
pub(super) struct Search<'s, 'j> {
    of: Site<'j>,
    devices: Devices<'j>,
    /// Contents that relaxations asked for lately.
    contents: &'s mut Vec<Pattern>,
    effort: Effort,
    queue: BinaryHeap<Branch>,
    best: Filling,
    /// What may be found in nodes that were given up.
    open: f64,
}

impl<'s, 'j> Search<'s, 'j> {
    pub(super) fn new(
        of: Site<'j>,
        devices: Devices<'j>,
        contents: &'s mut Vec<Pattern>,
        effort: Effort,
    ) -> Self {
        let (queue, best) = (BinaryHeap::new(), Filling::default());
        Self { of, devices, contents, effort, queue, best, open: 0.0 }
    }

    /// The filling if the relaxation of the whole machine gives it, and that there is none above
    /// the threshold if it proves that.
    pub(super) fn root(&mut self, prices: &mut Vec<f64>) -> Option<Filling> {
        let (filler, relaxed) = self.relaxed(&[]);
        prices.clone_from(&relaxed.prices);
        if relaxed.bound <= self.effort.threshold {
            return Some(Filling { bound: relaxed.bound, ..Filling::default() });
        }
        self.best = filler.rounded(&relaxed);
        if self.best.value > self.effort.threshold {
            return Some(std::mem::take(&mut self.best));
        }
        self.expand(&filler, Branch { bound: relaxed.bound, decisions: Vec::new() }, &relaxed);
        None
    }

    fn relaxed(&mut self, decisions: &[Decision]) -> (Filler<'j>, Relaxed) {
        let mut filler = self.of.filler(decisions);
        for content in self.contents.iter() {
            filler.add_content(content, self.of.values);
        }
        let relaxed = filler.relaxed_by_device(&mut self.devices, self.of.values);
        *self.contents = filler.contents_in(&relaxed.amounts);
        (filler, relaxed)
    }

    /// Goes on where most may still be found.
    pub(super) fn run(mut self) -> Filling {
        let mut steps = 1 + self.effort.steps / STEPS_EACH;
        while let Some(branch) = self.queue.pop() {
            if branch.bound <= self.sought() {
                break;
            }
            if steps == 0 {
                self.open = self.open.max(branch.bound);
                break;
            }
            steps -= 1;
            let (filler, relaxed) = self.relaxed(&branch.decisions);
            let bound = branch.bound.min(relaxed.bound);
            if bound > self.sought() {
                self.expand(&filler, Branch { bound, ..branch }, &relaxed);
            }
        }
        self.best.bound = self.open.max(self.sought());
        self.best
    }

    /// The value to exceed.
    fn sought(&self) -> f64 {
        self.effort.threshold.max(self.best.value)
    }

    fn expand(&mut self, filler: &Filler<'j>, branch: Branch, relaxed: &Relaxed) {
        let Some((row, below)) = filler.divided(&relaxed.amounts) else {
            self.search(&branch, relaxed);
            return;
        };
        for decision in [Decision::Limit(row, below), Decision::Take(row, below + 1)] {
            let decisions = branch.decisions.iter().copied().chain([decision]).collect();
            self.queue.push(Branch { bound: branch.bound, decisions });
        }
    }

    /// A search among the contents that are in fillings that are sought, as far as they are few.
    fn search(&mut self, branch: &Branch, relaxed: &Relaxed) {
        let sought = self.sought();
        let Some(device) = relaxed.prices.last() else { return };
        let spare = branch.bound - sought;
        let contents = self.devices.contents(*device, spare, MOST_CONTENTS);
        let mut filler = self.of.filler(&branch.decisions);
        for content in &contents.patterns {
            filler.add_content(content, self.of.values);
        }
        let inner = filler.relaxed(sought);
        let effort = Effort { threshold: sought, ..self.effort };
        let filling = filler.search(&inner, effort);
        if std::env::var("DBG").is_ok() {
            let price = self.of.job.machines[self.of.machine].price as f64;
            eprintln!("m {} devices {} depth {} bound {:.4} spare {:.4} contents {} complete {:.4} inner {:.4} steps {} -> value {:.4} bound {:.4}", self.of.machine,
                self.of.job.machines[self.of.machine].room.gpus.len(), branch.decisions.len(), relaxed.bound / price, spare / price, contents.patterns.len(), contents.complete / price, inner.bound / price, self.effort.steps, filling.value / price, filling.bound / price);
        }
        self.open = self.open.max(filling.bound.max(if contents.complete < spare { relaxed.bound - contents.complete } else { 0.0 }));
        if filling.value > self.best.value {
            self.best = filling;
        }
    }
}
