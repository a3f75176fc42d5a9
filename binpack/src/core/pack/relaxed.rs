//! The linear relaxation of filling one machine: what its resources are worth.
//!
//! Maximise the value of the pods taken, fractions of pods allowed, none more often than it may.
//! It has as many constraints as resources, so its basis is a matrix of a few rows: the bounded
//! simplex method (Dantzig 1955) on it takes microseconds.

/// A resource price vector and what it proves.
#[derive(Debug, Clone, Default)]
pub(super) struct Relaxed {
    /// By resource: its worth per unit.
    pub(super) prices: Vec<f64>,
    /// No filling of the machine is worth more.
    pub(super) bound: f64,
    /// By candidate: how many pods of it, fractions included.
    pub(super) amounts: Vec<f64>,
}

/// Rows that may go on the machine, with numbers in the order of the candidates.
pub(super) struct Knapsack<'a> {
    pub(super) dims: usize,
    /// What the machine has of each resource.
    pub(super) have: &'a [f64],
    /// By candidate: what a pod takes of each resource.
    pub(super) need: &'a [f64],
    /// By candidate: the value of a pod.
    pub(super) value: &'a [f64],
    /// By candidate: how many pods at most.
    pub(super) most: &'a [f64],
}

/// Relative to the value of a pod: gains below it are noise.
const TINY: f64 = 1e-9;

/// Pivots after which the prices are taken as they are: any prices prove a bound.
const MAX_PIVOTS: usize = 200;

struct Tableau<'k, 'a> {
    of: &'k Knapsack<'a>,
    /// One over what there is of each resource: all right-hand sides become 1.
    scale: Vec<f64>,
    /// By resource: the candidate that is basic there, or the slack.
    basis: Vec<Option<usize>>,
    inverse: Vec<f64>,
    level: Vec<f64>,
    /// The candidates that may be taken at all.
    usable: Vec<usize>,
    /// By candidate: whether it is at its most (as opposed to none).
    full: Vec<bool>,
    basic: Vec<bool>,
}

impl Knapsack<'_> {
    pub(super) fn solve(&self) -> Relaxed {
        let dims = self.dims;
        let scale = self.have.iter().map(|have| if *have > 0.0 { 1.0 / have } else { 0.0 });
        let mut inverse = vec![0.0; dims * dims];
        (0..dims).for_each(|d| inverse[d * dims + d] = 1.0);
        let mut tableau = Tableau {
            of: self,
            scale: scale.collect(),
            basis: vec![None; dims],
            inverse,
            level: vec![1.0; dims],
            usable: (0..self.value.len()).filter(|c| self.most[*c] > 0.0).collect(),
            full: vec![false; self.value.len()],
            basic: vec![false; self.value.len()],
        };
        let mut duals = vec![0.0; dims];
        for _ in 0..MAX_PIVOTS {
            tableau.duals(&mut duals);
            let Some(entering) = tableau.entering(&duals) else {
                break;
            };
            if !tableau.pivot(entering) {
                break;
            }
        }
        tableau.duals(&mut duals);
        let prices: Vec<f64> =
            duals.iter().zip(&tableau.scale).map(|(dual, scale)| dual.max(0.0) * scale).collect();
        let bound = self.bound(&prices);
        Relaxed { bound, amounts: tableau.amounts(), prices }
    }

    /// What these resource prices prove: weak duality holds whatever they are.
    pub(super) fn bound(&self, prices: &[f64]) -> f64 {
        let resources: f64 = self.have.iter().zip(prices).map(|(have, price)| have * price).sum();
        let over = (0..self.value.len()).map(|i| self.most[i] * self.gain(i, prices).max(0.0));
        resources + over.sum::<f64>()
    }

    /// What a pod is worth beyond the resources that it takes.
    pub(super) fn gain(&self, candidate: usize, prices: &[f64]) -> f64 {
        let need = &self.need[candidate * self.dims..(candidate + 1) * self.dims];
        self.value[candidate] - need.iter().zip(prices).map(|(n, p)| n * p).sum::<f64>()
    }
}

impl Tableau<'_, '_> {
    fn need(&self, candidate: usize, dim: usize) -> f64 {
        self.of.need[candidate * self.of.dims + dim] * self.scale[dim]
    }

    /// Prices of the scaled resources.
    fn duals(&self, duals: &mut [f64]) {
        let dims = self.of.dims;
        duals.fill(0.0);
        for (row, basic) in self.basis.iter().enumerate() {
            let Some(candidate) = basic else { continue };
            let value = self.of.value[*candidate];
            for (dual, inverse) in duals.iter_mut().zip(&self.inverse[row * dims..]) {
                *dual += value * inverse;
            }
        }
    }

    /// The candidate or slack that improves most for its size.
    fn entering(&self, duals: &[f64]) -> Option<Result<usize, usize>> {
        let dims = self.of.dims;
        let prices: Vec<f64> = duals.iter().zip(&self.scale).map(|(dual, s)| dual * s).collect();
        let mut best = (TINY, None);
        for candidate in self.usable.iter().copied().filter(|c| !self.basic[*c]) {
            let need = &self.of.need[candidate * dims..(candidate + 1) * dims];
            let worth: f64 = need.iter().zip(&prices).map(|(n, p)| n * p).sum();
            let value = self.of.value[candidate];
            let gain = if self.full[candidate] { worth - value } else { value - worth };
            // Most gain nothing: what it is relative to is computed for the others only.
            if gain > best.0 * value.max(worth) {
                best = (gain / value.max(worth).max(f64::MIN_POSITIVE), Some(Ok(candidate)));
            }
        }
        if best.1.is_none() {
            // A resource with a negative price is taken out of use.
            let slacks = duals.iter().enumerate().filter(|(_, dual)| **dual < -TINY);
            let least = slacks.min_by(|a, b| a.1.total_cmp(b.1));
            return least.map(|(dim, _)| Err(dim));
        }
        best.1
    }

    /// Moves a candidate or slack as far as it goes. False if it does not move anything.
    fn pivot(&mut self, entering: Result<usize, usize>) -> bool {
        let dims = self.of.dims;
        let direction: Vec<f64> = (0..dims)
            .map(|row| match entering {
                Ok(c) => (0..dims).map(|d| self.inverse[row * dims + d] * self.need(c, d)).sum(),
                Err(slack) => self.inverse[row * dims + slack],
            })
            .collect();
        let down = matches!(entering, Ok(c) if self.full[c]);
        let sign = if down { -1.0 } else { 1.0 };
        let own = entering.map_or(f64::INFINITY, |c| self.of.most[c]);
        let mut step = own;
        let mut leaving = None;
        for (row, delta) in direction.iter().enumerate() {
            let change = sign * delta;
            let most = self.basis[row].map_or(f64::INFINITY, |c| self.of.most[c]);
            let (limit, at_most) = if change > TINY {
                (self.level[row] / change, false)
            } else if change < -TINY && most.is_finite() {
                ((most - self.level[row]) / -change, true)
            } else {
                continue;
            };
            if limit.max(0.0) < step {
                step = limit.max(0.0);
                leaving = Some((row, at_most));
            }
        }
        if !step.is_finite() {
            return false;
        }
        for (level, delta) in self.level.iter_mut().zip(&direction) {
            *level -= sign * delta * step;
        }
        let Some((row, at_most)) = leaving else {
            if let Ok(candidate) = entering {
                self.full[candidate] = !down;
            }
            return true;
        };
        self.replace(row, at_most, entering, &direction, if down { own - step } else { step });
        true
    }

    fn replace(
        &mut self,
        row: usize,
        at_most: bool,
        entering: Result<usize, usize>,
        direction: &[f64],
        level: f64,
    ) {
        let dims = self.of.dims;
        if let Some(leaves) = self.basis[row] {
            self.basic[leaves] = false;
            self.full[leaves] = at_most;
        }
        if let Ok(candidate) = entering {
            self.basic[candidate] = true;
            self.full[candidate] = false;
        }
        self.basis[row] = entering.ok();
        self.level[row] = level;
        for d in 0..dims {
            self.inverse[row * dims + d] /= direction[row];
        }
        for other in (0..dims).filter(|other| *other != row) {
            for d in 0..dims {
                self.inverse[other * dims + d] -= direction[other] * self.inverse[row * dims + d];
            }
        }
    }

    fn amounts(&self) -> Vec<f64> {
        let at_most = |c: usize| if self.full[c] { self.of.most[c] } else { 0.0 };
        let mut amounts: Vec<f64> = (0..self.of.value.len()).map(at_most).collect();
        for (row, basic) in self.basis.iter().enumerate() {
            if let Some(candidate) = basic {
                amounts[*candidate] = self.level[row].max(0.0);
            }
        }
        amounts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The bound is what the fractional filling is worth, which is feasible: both are optimal.
        #[test]
        fn the_filling_is_feasible_and_worth_the_bound(
            have in prop::collection::vec(1..1_000u32, 3),
            pods in prop::collection::vec(((0..50u32, 0..50u32, 0..3u32), 1..100u32, 1..9u32), 1..12),
        ) {
            let have: Vec<f64> = have.into_iter().map(f64::from).collect();
            let need: Vec<f64> = pods.iter()
                .flat_map(|((a, b, c), _, _)| [f64::from(*a), f64::from(*b), f64::from(*c)]).collect();
            let value: Vec<f64> = pods.iter().map(|(_, value, _)| f64::from(*value)).collect();
            let most: Vec<f64> = pods.iter().map(|(_, _, most)| f64::from(*most)).collect();
            let knapsack = Knapsack { dims: 3, have: &have, need: &need, value: &value, most: &most };
            let solved = knapsack.solve();
            for dim in 0..3 {
                let used: f64 = solved.amounts.iter().enumerate().map(|(i, n)| n * need[i * 3 + dim]).sum();
                prop_assert!(used <= have[dim] * (1.0 + 1e-6), "{used} of {}", have[dim]);
            }
            for (amount, most) in solved.amounts.iter().zip(&most) {
                prop_assert!(*amount >= -1e-9 && *amount <= most + 1e-6);
            }
            let worth: f64 = solved.amounts.iter().zip(&value).map(|(n, v)| n * v).sum();
            prop_assert!((solved.bound - worth).abs() <= 1e-6 * worth.max(1.0), "{} and {worth}", solved.bound);
        }
    }
}
