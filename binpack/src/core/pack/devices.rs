//! What one device may carry: the shares of pods that fit on it together.
//!
//! At given values of pods and prices of the other resources, the best content of a device is a
//! knapsack over its thousandths, which a dynamic programme solves exactly (Bellman 1957).

use super::filler::Site;
use super::job::{Pattern, float};
use crate::core::room::Gpu;

/// Rows of shares that may go on the devices of a machine.
pub(super) struct Devices<'j> {
    of: Site<'j>,
    /// Units of a device.
    units: usize,
    /// Rows, with the units that a pod takes and how many pods at most.
    rows: Vec<(usize, usize, u64)>,
    /// By place in `rows`: what a pod is worth beyond the resources that it takes, devices apart.
    gains: Vec<f64>,
    /// By place in `rows` and by free units: the most that the rows from there on gain.
    table: Vec<f64>,
}

/// Contents of a device.
pub(super) struct Contents {
    pub(super) patterns: Vec<Pattern>,
    /// No other content gains as much as this less than the price.
    pub(super) complete: f64,
}

/// Halvings after which contents that are too many are cut off.
const HALVINGS: u32 = 12;

impl<'j> Devices<'j> {
    pub(super) fn new(of: Site<'j>) -> Self {
        let units = of.numbers.device_units();
        let share = |row: usize| match of.job.rows[row].demand.gpu {
            Gpu::Share(milli) => {
                let each = of.numbers.units(milli);
                let most = of.left[row].min(of.job.rows[row].cap).min((units / each) as u64);
                (most > 0).then_some((row, each, most))
            }
            Gpu::None | Gpu::Whole(_) => None,
        };
        let rows = of.rows().filter_map(share).collect();
        Self { of, units, rows, gains: Vec::new(), table: Vec::new() }
    }

    /// The most that a device gains at these prices of amounts.
    pub(super) fn price(&mut self, prices: &[f64]) -> f64 {
        let Site { numbers, values, .. } = self.of;
        let gain = |(row, ..): &(usize, usize, u64)| {
            let need = &numbers.need(*row)[..numbers.plain];
            values[*row] - need.iter().zip(prices).map(|(n, p)| n * p).sum::<f64>()
        };
        self.gains = self.rows.iter().map(gain).collect();
        let width = self.units + 1;
        self.table.clear();
        self.table.resize((self.rows.len() + 1) * width, 0.0);
        for (at, (_, each, most)) in self.rows.iter().enumerate().rev() {
            let (from, to) = self.table.split_at_mut((at + 1) * width);
            fill(&mut from[at * width..], &to[..width], *each, *most, self.gains[at]);
        }
        self.reaches(0, self.units)
    }

    /// The most that rows from a place on gain with so many units.
    fn reaches(&self, at: usize, units: usize) -> f64 {
        self.table[at * (self.units + 1) + units]
    }

    /// The content that gains most at the prices given last.
    pub(super) fn best(&self) -> Pattern {
        let mut units = self.units;
        let mut pattern = Pattern::new();
        for (at, (row, each, most)) in self.rows.iter().enumerate() {
            let worth = |n: u64| {
                let taken = usize::try_from(n).ok()?.checked_mul(*each)?;
                let free = units.checked_sub(taken)?;
                Some((free, float(n) * self.gains[at] + self.reaches(at + 1, free)))
            };
            let all = (0..=*most).filter_map(|n| worth(n).map(|(free, gain)| (gain, n, free)));
            let Some((_, n, free)) = all.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
            else {
                continue;
            };
            units = free;
            if n > 0 {
                pattern.push((*row, n));
            }
        }
        pattern
    }

    /// All contents whose gain is within `spare` of `price`, or about the best `most` of them.
    pub(super) fn contents(&self, price: f64, spare: f64, most: usize) -> Contents {
        let mut complete = spare;
        let mut patterns = Vec::new();
        for _ in 0..HALVINGS {
            let (least, pattern) = (price - complete, Pattern::new());
            let mut walk = Walk { of: self, least, most, pattern, found: Vec::new() };
            if walk.visit(0, self.units, 0.0) {
                return Contents { patterns: walk.found, complete };
            }
            patterns = walk.found;
            complete /= 2.0;
        }
        Contents { patterns, complete: 0.0 }
    }

    fn foes(&self, row: usize, pattern: &Pattern) -> bool {
        self.of
            .job
            .foes
            .get(row)
            .is_some_and(|foes| pattern.iter().any(|(other, _)| foes.has(*other)))
    }
}

/// The table of one more row: `to` is what the rows after it gain.
fn fill(from: &mut [f64], to: &[f64], each: usize, most: u64, gain: f64) {
    from.copy_from_slice(to);
    if gain <= 0.0 {
        return;
    }
    let mut worth = 0.0;
    for n in 1..=usize::try_from(most).unwrap_or(usize::MAX) {
        let Some(rest) = from.len().checked_sub(n * each) else { return };
        worth += gain;
        let taken = from[n * each..].iter_mut().zip(&to[..rest]);
        taken.for_each(|(best, to)| *best = best.max(to + worth));
    }
}

/// A depth-first walk over contents, which the table cuts to those that gain enough.
struct Walk<'d, 'j> {
    of: &'d Devices<'j>,
    least: f64,
    most: usize,
    pattern: Pattern,
    found: Vec<Pattern>,
}

impl Walk<'_, '_> {
    /// False if there are too many.
    fn visit(&mut self, at: usize, units: usize, gain: f64) -> bool {
        if gain >= self.least && !self.pattern.is_empty() {
            if self.found.len() == self.most {
                return false;
            }
            self.found.push(self.pattern.clone());
        }
        let of = self.of;
        for next in at..of.rows.len() {
            if gain + of.reaches(next, units) < self.least {
                return true;
            }
            let (row, each, most) = of.rows[next];
            if of.foes(row, &self.pattern) {
                continue;
            }
            for n in 1..=most.min((units / each) as u64) {
                let free = units - usize::try_from(n).unwrap_or(usize::MAX) * each;
                let reached = gain + float(n) * of.gains[next];
                if reached + of.reaches(next + 1, free) >= self.least {
                    self.pattern.push((row, n));
                    let few = self.visit(next + 1, free, reached);
                    self.pattern.pop();
                    if !few {
                        return false;
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::job::Numbers;
    use super::super::testing::{counts, job, value};
    use super::*;

    /// All contents of a device, whatever else the machine has.
    fn all(of: Site<'_>) -> Vec<Pattern> {
        let share = |row: usize| match of.job.rows[row].demand.gpu {
            Gpu::Share(milli) => milli,
            Gpu::None | Gpu::Whole(_) => 0,
        };
        let mut all = vec![Pattern::new()];
        for row in of.rows().filter(|row| share(*row) > 0) {
            let most = of.left[row].min(of.job.rows[row].cap);
            let with = |(pattern, n): (&Pattern, u64)| -> Pattern {
                pattern.iter().copied().chain([(row, n)]).collect()
            };
            let more =
                all.iter().flat_map(|pattern| (1..=most).map(move |n| (pattern, n))).map(with);
            let fits = |p: &Pattern| p.iter().map(|(row, n)| share(*row) * n).sum::<u64>() <= 1_000;
            let more: Vec<Pattern> = more.filter(fits).collect();
            all.extend(more);
        }
        let foes =
            |pattern: &Pattern| {
                let has = |row: usize| pattern.iter().any(|(r, _)| *r == row);
                of.job.foes.iter().enumerate().any(|(row, foes)| {
                    has(row) && pattern.iter().any(|(other, _)| foes.has(*other))
                })
            };
        all.into_iter().filter(|pattern| !pattern.is_empty() && !foes(pattern)).collect()
    }

    proptest! {
        #[test]
        fn the_best_and_all_near_it_are_found(
            job in job(),
            values in prop::collection::vec(1..30u32, 4),
            prices in prop::collection::vec(0..3u32, 3),
            spare in 0..20u32,
        ) {
            let numbers = Numbers::of(&job);
            let left = counts(&job);
            let values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            let prices: Vec<f64> = prices.iter().map(|p| f64::from(*p)).collect();
            let machine = job.machines.len() - 1;
            let of = Site { job: &job, numbers: &numbers, machine, left: &left, values: &values };
            let mut devices = Devices::new(of);
            let price = devices.price(&prices);
            let gain = |pattern: &Pattern| {
                let need = |(row, n): &(usize, u64)| {
                    let need = &numbers.need(*row)[..numbers.plain];
                    float(*n) * need.iter().zip(&prices).map(|(n, p)| n * p).sum::<f64>()
                };
                value(pattern, &values) - pattern.iter().map(need).sum::<f64>()
            };
            let all = all(of);
            let best = all.iter().map(gain).fold(0.0, f64::max);
            prop_assert!(price >= best);
            if job.foes.is_empty() {
                prop_assert!((price - best).abs() < 1e-9, "{price} is not {best}");
                prop_assert!((gain(&devices.best()) - best).abs() < 1e-9);
            }
            let spare = f64::from(spare);
            let near: BTreeSet<_> =
                all.into_iter().filter(|p| gain(p) >= price - spare).collect();
            let contents = devices.contents(price, spare, usize::MAX);
            prop_assert!(contents.complete >= spare);
            prop_assert_eq!(&contents.patterns.into_iter().collect::<BTreeSet<_>>(), &near);
            let few = devices.contents(price, spare, 3);
            prop_assert!(few.patterns.len() <= 3);
            let missing = near.iter().filter(|p| !few.patterns.contains(p));
            let nearest = missing.map(|p| price - gain(p)).fold(f64::INFINITY, f64::min);
            prop_assert!(nearest >= few.complete, "{nearest} within {}", few.complete);
        }
    }
}
