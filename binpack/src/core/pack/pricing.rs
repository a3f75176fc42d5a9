//! The most valuable filling of every machine, one machine after the other.

use super::by_device;
use super::filler::{Filler, Filling, Site};
use super::job::Pattern;
use super::search::Effort;

/// Relative to the price: fillings worth no more above it are not looked for, and the bound gives
/// as much away.
pub(super) const TOLERANCE: f64 = 2e-4;

/// What is known of machines from the last time that they were filled.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// By machine: the resource prices that bounded it last.
    prices: Vec<Vec<f64>>,
    /// By machine: what devices carried in the relaxation.
    contents: Vec<Vec<Pattern>>,
}

impl Known {
    pub(super) fn new(machines: usize) -> Self {
        Self { prices: vec![Vec::new(); machines], contents: vec![Vec::new(); machines] }
    }

    /// The best filling of a machine, or one above its price, that so many steps find.
    pub(super) fn fill(&mut self, of: Site<'_>, steps: u64) -> Filling {
        let price = of.price();
        let effort = Effort { threshold: price * (1.0 + TOLERANCE), steps };
        let prices = &mut self.prices[of.machine];
        if of.is_by_device() {
            return by_device::fill(of, effort, prices, &mut self.contents[of.machine]);
        }
        let mut filler = Filler::new(of);
        if !prices.is_empty() {
            let bound = filler.bound_at(prices);
            if bound <= price {
                return Filling { bound, ..Filling::default() };
            }
        }
        let relaxed = filler.relaxed(effort.threshold);
        if relaxed.prices.len() == of.numbers.dims {
            prices.clone_from(&relaxed.prices);
        }
        if relaxed.bound <= effort.threshold {
            return Filling { bound: relaxed.bound, ..Filling::default() };
        }
        let rounded = filler.rounded(&relaxed);
        if rounded.value > effort.threshold {
            return rounded;
        }
        filler.search(rounded, &relaxed, effort)
    }
}
