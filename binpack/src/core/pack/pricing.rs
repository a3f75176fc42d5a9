//! The most valuable filling of every machine, one machine after the other.

use super::by_device;
use super::filler::{Filler, Filling, Site};
use super::job::Pattern;
use super::relaxed::Relaxed;
use super::search::{Effort, Search};

/// Relative to the price: fillings worth no more above it are not looked for, and the bound gives
/// as much away.
pub(super) const TOLERANCE: f64 = 2e-4;

/// Search steps after which filling machines is interrupted.
pub(super) const AT_ONCE: u64 = 100;

/// How many times more search steps a machine gets at most that is still open.
const MOST_OPEN: u64 = 16;

/// What is known of machines from the last time that they were filled.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// By machine: the resource prices that bounded it last.
    prices: Vec<Vec<f64>>,
    /// By machine: what devices carried in the relaxation.
    contents: Vec<Vec<Pattern>>,
    /// By machine: how many times more search steps it gets than others.
    open: Vec<u64>,
}

impl Known {
    pub(super) fn new(machines: usize) -> Self {
        Self {
            prices: vec![Vec::new(); machines],
            contents: vec![Vec::new(); machines],
            open: vec![1; machines],
        }
    }

    /// The best filling of a machine, or one above its price, that so many search steps find; up to
    /// `most` where few have found nothing and proved nothing. The search is paused after a while,
    /// and goes on when it is handed over again.
    pub(super) fn fill(
        &mut self,
        of: Site<'_>,
        steps: u64,
        most: u64,
        paused: Option<Search>,
    ) -> Fill {
        let threshold = of.price() * (1.0 + TOLERANCE);
        let open = self.open[of.machine];
        let effort = Effort { threshold, steps: (steps * open).min(most) };
        let fill = self.fill_by(of, effort, paused);
        if let Fill::Done(filling) = &fill {
            let is_open = filling.value <= threshold && filling.bound > threshold;
            let next = if is_open { (open * 2).min(MOST_OPEN) } else { (open / 2).max(1) };
            self.open[of.machine] = next;
        }
        fill
    }

    fn fill_by(&mut self, of: Site<'_>, effort: Effort, paused: Option<Search>) -> Fill {
        let prices = &mut self.prices[of.machine];
        if of.is_by_device() {
            let contents = &mut self.contents[of.machine];
            return Fill::Done(by_device::fill(of, effort, prices, contents));
        }
        if !prices.is_empty() && paused.is_none() {
            let bound = of.bound_at(prices);
            if bound <= of.price() {
                return Fill::Done(Filling { bound, ..Filling::default() });
            }
        }
        let mut filler = Filler::new(of, &[]);
        let relaxed = filler.relaxed(effort.threshold);
        if relaxed.prices.len() == of.numbers.dims {
            prices.clone_from(&relaxed.prices);
        }
        if relaxed.bound <= effort.threshold {
            return Fill::Done(Filling { bound: relaxed.bound, ..Filling::default() });
        }
        let search = paused.map_or_else(|| begin(&filler, &relaxed, effort), Ok);
        search.map_or_else(Fill::Done, |search| go_on(search, &filler, effort))
    }
}

/// What filling a machine came to.
pub(super) enum Fill {
    Done(Filling),
    Paused(Search),
}

/// A search, or a filling that needs none.
fn begin(filler: &Filler<'_>, relaxed: &Relaxed, effort: Effort) -> Result<Search, Filling> {
    let rounded = filler.rounded(relaxed);
    if rounded.value > effort.threshold {
        return Err(rounded);
    }
    Ok(Search::new(rounded, relaxed, effort.threshold))
}

fn go_on(mut search: Search, filler: &Filler<'_>, effort: Effort) -> Fill {
    let steps = effort.steps.min(search.steps() + AT_ONCE);
    if search.run(filler, steps) && steps < effort.steps {
        return Fill::Paused(search);
    }
    Fill::Done(search.finish())
}
