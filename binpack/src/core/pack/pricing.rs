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
pub(super) const AT_ONCE: u64 = 50;

/// How many times more search steps a machine gets at most that is still open.
const MOST_OPEN: u64 = 4;

/// Search steps at most where the search is not paused.
const MOST_BY_DEVICE: u64 = 512;

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
            let effort = Effort { steps: effort.steps.min(MOST_BY_DEVICE), ..effort };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::job::{Numbers, float};
    use super::super::testing::{carries, counts, job, patterns, value};
    use super::*;

    fn fill(known: &mut Known, of: Site<'_>, steps: u64) -> Filling {
        let mut paused = None;
        loop {
            match known.fill(of, steps, steps, paused.take()) {
                Fill::Done(filling) => return filling,
                Fill::Paused(search) => paused = Some(search),
            }
        }
    }

    proptest! {
        #[test]
        fn fillings_and_bounds_agree_with_all_patterns(
            job in job(),
            values in prop::collection::vec(1..30u32, 4),
            steps in prop_oneof![Just(1u64), Just(3), Just(1_000)],
        ) {
            let numbers = Numbers::of(&job);
            let left = counts(&job);
            let values: Vec<f64> = values[..job.rows.len()].iter().map(|v| f64::from(*v) * 1e6).collect();
            let mut known = Known::new(job.machines.len());
            // The second time, what is known from the first is put to use.
            for scale in [1.0, 1.1] {
                let values: Vec<f64> = values.iter().map(|value| value * scale).collect();
                for machine in 0..job.machines.len() {
                    let of = Site { job: &job, numbers: &numbers, machine, left: &left, values: &values };
                    let filling = fill(&mut known, of, steps);
                    let all = patterns(&job, machine, &left);
                    let best = all.iter().map(|p| value(p, &values)).fold(0.0, f64::max);
                    prop_assert!(filling.bound >= best * (1.0 - 1e-9), "{} below {best}", filling.bound);
                    for pattern in filling.more.iter().chain([&filling.pattern]) {
                        prop_assert!(carries(&job, machine, pattern), "{pattern:?} on {machine}");
                        prop_assert!(pattern.iter().all(|(row, n)| *n <= left[*row]));
                    }
                    prop_assert!((value(&filling.pattern, &values) - filling.value).abs() <= 1e-3);
                    let price = float(job.machines[machine].price);
                    let gpus = &job.machines[machine].room.gpus;
                    let simple = gpus.len() < 2 || of.is_by_device();
                    if steps == 1_000 && simple && best > price * (1.0 + 2.0 * TOLERANCE) {
                        prop_assert!(filling.value > price, "{} misses {best}", filling.value);
                    }
                }
            }
        }
    }
}
