//! The most valuable filling of a machine with several devices: branch and bound over the pods
//! that take several of them, and below it a search over what single devices carry.

use std::collections::BinaryHeap;

use super::devices::Devices;
use super::filler::{Decision, Filler, Filling, Site};
use super::job::Pattern;
use super::relaxed::Relaxed;
use super::search::{Branch, Effort};

/// The most contents of devices that a filling is searched among.
const MOST_CONTENTS: usize = 400;

/// Search steps that a relaxation over all contents is worth.
const STEPS_EACH: u64 = 8;

/// The best filling above the threshold, or one that is good enough. `prices` are those that
/// bounded it last, and `contents` what devices carried then; both are brought up to date.
pub(super) fn fill(
    of: Site<'_>,
    effort: Effort,
    prices: &mut Vec<f64>,
    contents: &mut Vec<Pattern>,
) -> Filling {
    let mut devices = Devices::new(of);
    if let Some(bound) = bound_at(of, prices, &mut devices)
        && bound <= of.price()
    {
        return Filling { bound, ..Filling::default() };
    }
    let (queue, best) = (BinaryHeap::new(), Filling::default());
    let mut search = Search { of, devices, contents, effort, queue, best, open: 0.0, steps: 0 };
    let (filler, relaxed) = search.relaxed(&[]);
    prices.clone_from(&relaxed.prices);
    if relaxed.bound <= effort.threshold {
        return Filling { bound: relaxed.bound, ..Filling::default() };
    }
    search.best = filler.rounded(&relaxed);
    if search.best.value > effort.threshold {
        return search.best;
    }
    search.expand(&filler, &Branch { bound: relaxed.bound, decisions: Vec::new() }, &relaxed);
    search.run()
}

/// What these prices of resources prove, once devices have the price that they then need.
fn bound_at(of: Site<'_>, prices: &[f64], devices: &mut Devices<'_>) -> Option<f64> {
    let (_, amounts) = prices.split_last()?;
    let device = devices.price(amounts);
    let prices: Vec<f64> = amounts.iter().copied().chain([device]).collect();
    Some(of.bound_at(&prices))
}

/// A search that is under way.
struct Search<'s, 'j> {
    of: Site<'j>,
    devices: Devices<'j>,
    /// Contents that relaxations asked for lately.
    contents: &'s mut Vec<Pattern>,
    effort: Effort,
    queue: BinaryHeap<Branch>,
    best: Filling,
    /// What may be found in branches that were given up.
    open: f64,
    steps: u64,
}

impl<'j> Search<'_, 'j> {
    fn relaxed(&mut self, decisions: &[Decision]) -> (Filler<'j>, Relaxed) {
        let mut filler = Filler::new(self.of, decisions);
        let relaxed = filler.relaxed_by_device(&mut self.devices, self.contents);
        *self.contents = filler.contents_in(&relaxed.amounts);
        (filler, relaxed)
    }

    /// Goes on where most may still be found.
    fn run(mut self) -> Filling {
        while let Some(branch) = self.queue.pop() {
            if branch.bound <= self.sought() {
                break;
            }
            if self.steps >= self.effort.steps {
                self.open = self.open.max(branch.bound);
                break;
            }
            self.steps += STEPS_EACH;
            let (filler, relaxed) = self.relaxed(&branch.decisions);
            let bound = branch.bound.min(relaxed.bound);
            if bound > self.sought() {
                self.expand(&filler, &Branch { bound, ..branch }, &relaxed);
            }
        }
        self.best.bound = self.open.max(self.sought());
        self.best.steps = self.steps;
        self.best
    }

    /// The value to exceed.
    fn sought(&self) -> f64 {
        self.effort.threshold.max(self.best.value)
    }

    fn expand(&mut self, filler: &Filler<'j>, branch: &Branch, relaxed: &Relaxed) {
        let Some((row, below)) = filler.divided(&relaxed.amounts) else {
            self.search(branch, relaxed);
            return;
        };
        for decision in [Decision::Limit(row, below), Decision::Take(row, below + 1)] {
            let decisions = branch.decisions.iter().copied().chain([decision]).collect();
            self.queue.push(Branch { bound: branch.bound, decisions });
        }
    }

    /// A search among the contents that are in fillings that are sought, as far as they are few.
    fn search(&mut self, branch: &Branch, relaxed: &Relaxed) {
        let Some(device) = relaxed.prices.last() else { return };
        let sought = self.sought();
        let spare = relaxed.bound - sought;
        let contents = self.devices.contents(*device, spare, MOST_CONTENTS);
        let mut filler = Filler::new(self.of, &branch.decisions);
        contents.patterns.iter().for_each(|content| filler.add_content(content));
        let inner = filler.relaxed(sought);
        let rounded = filler.rounded(&inner);
        let steps = self.effort.steps.saturating_sub(self.steps).max(STEPS_EACH);
        let filling = filler.search(rounded, &inner, Effort { threshold: sought, steps });
        self.steps += filling.steps;
        self.open = self.open.max(filling.bound);
        if contents.complete < spare {
            // A filling with another content loses at least so much on its device.
            self.open = self.open.max(relaxed.bound - contents.complete);
        }
        if filling.value > self.best.value {
            self.best = filling;
        }
    }
}
