//! The revised simplex method for the covering programme over columns.
//!
//! Minimise the price of machines such that every row is covered. The inverse of the basis is kept
//! explicitly: there are as many rows as shapes of pods, at most about a thousand.

/// A machine with its pods, as a column of the programme.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) cost: f64,
    /// Rows, ascending, with how many pods of each.
    pub(super) rows: Vec<(usize, f64)>,
}

/// Relative to a column's cost: what counts as an improvement.
const TINY: f64 = 1e-9;

/// Below it a pivot is not trusted.
const SMALL: f64 = 1e-9;

/// Pivots after which the inverse is computed anew.
const REFRESH: u32 = 2_000;

/// The programme and its current basis.
#[derive(Debug, Clone)]
pub(super) struct Simplex {
    rows: usize,
    /// The first `rows` columns give back a pod that is covered too often, for nothing.
    columns: Vec<Column>,
    basis: Vec<usize>,
    basic: Vec<bool>,
    inverse: Vec<f64>,
    level: Vec<f64>,
    demand: Vec<f64>,
    duals: Vec<f64>,
    pivots: u32,
}

impl Simplex {
    /// `start` has one column for each row that covers only that row.
    pub(super) fn new(demand: Vec<f64>, start: Vec<Column>) -> Self {
        let rows = demand.len();
        let surplus = (0..rows).map(|row| Column { cost: 0.0, rows: vec![(row, -1.0)] });
        let columns: Vec<Column> = surplus.chain(start).collect();
        let mut simplex = Self {
            rows,
            basic: vec![false; columns.len()],
            columns,
            basis: (rows..2 * rows).collect(),
            inverse: Vec::new(),
            level: Vec::new(),
            demand,
            duals: vec![0.0; rows],
            pivots: 0,
        };
        simplex.basis.iter().for_each(|column| simplex.basic[*column] = true);
        simplex.refresh();
        simplex
    }

    pub(super) fn add(&mut self, column: Column) {
        self.columns.push(column);
        self.basic.push(false);
    }

    pub(super) fn duals(&self) -> &[f64] {
        &self.duals
    }

    pub(super) fn objective(&self) -> f64 {
        self.basis.iter().zip(&self.level).map(|(c, level)| self.columns[*c].cost * level).sum()
    }

    /// The columns in use and how often, surplus apart. Indices are those of addition, the start's
    /// first.
    pub(super) fn solution(&self) -> Vec<(usize, f64)> {
        let used = self.basis.iter().zip(&self.level);
        let used = used.filter(|(column, level)| **column >= self.rows && **level > 1e-9);
        let mut used: Vec<_> = used.map(|(c, level)| (c - self.rows, *level)).collect();
        used.sort_unstable_by_key(|(column, _)| *column);
        used
    }

    pub(super) fn reduced(&self, column: usize) -> f64 {
        let of = &self.columns[column];
        of.cost - of.rows.iter().map(|(row, n)| self.duals[*row] * n).sum::<f64>()
    }

    /// Pivots until no column improves, or so many times.
    pub(super) fn primal(&mut self, most: u32) {
        for _ in 0..most {
            let Some(entering) = self.entering() else { return };
            let direction = self.direction(entering);
            let Some(leaving) = self.leaving(&direction) else { return };
            self.pivot(leaving, entering, &direction);
        }
    }

    fn entering(&self) -> Option<usize> {
        let mut best = (-TINY, None);
        for column in (0..self.columns.len()).filter(|column| !self.basic[*column]) {
            let of = &self.columns[column];
            let scale = if column < self.rows { self.duals[column].abs() } else { of.cost };
            let gain = self.reduced(column) / scale.max(f64::MIN_POSITIVE);
            if gain < best.0 {
                best = (gain, Some(column));
            }
        }
        best.1
    }

    /// How the levels of the basis fall as a column comes in.
    fn direction(&self, column: usize) -> Vec<f64> {
        let of = &self.columns[column].rows;
        let along = |row: usize| {
            let inverse = &self.inverse[row * self.rows..(row + 1) * self.rows];
            of.iter().map(|(at, n)| inverse[*at] * n).sum()
        };
        (0..self.rows).map(along).collect()
    }

    fn leaving(&self, direction: &[f64]) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (row, delta) in direction.iter().enumerate().filter(|(_, delta)| **delta > SMALL) {
            let ratio = (self.level[row] / delta).max(0.0);
            // Among equals the largest pivot: it is the most exact.
            let better = best.is_none_or(|(least, at)| {
                ratio < least - 1e-12 || (ratio <= least + 1e-12 && *delta > direction[at])
            });
            if better {
                best = Some((ratio, row));
            }
        }
        best.map(|(_, row)| row)
    }

    fn pivot(&mut self, leaving: usize, entering: usize, direction: &[f64]) {
        let rows = self.rows;
        let reduced = self.reduced(entering);
        let pivot = direction[leaving];
        let (before, from) = self.inverse.split_at_mut(leaving * rows);
        let (own, after) = from.split_at_mut(rows);
        for cell in own.iter_mut() {
            *cell /= pivot;
        }
        let others = before.chunks_exact_mut(rows).chain(after.chunks_exact_mut(rows));
        let factors = direction[..leaving].iter().chain(&direction[leaving + 1..]);
        for (other, factor) in others.zip(factors).filter(|(_, factor)| factor.abs() > 1e-15) {
            other.iter_mut().zip(own.iter()).for_each(|(cell, own)| *cell -= factor * own);
        }
        self.duals.iter_mut().zip(own.iter()).for_each(|(dual, own)| *dual += reduced * own);
        let step = self.level[leaving] / pivot;
        for (level, delta) in self.level.iter_mut().zip(direction) {
            *level -= delta * step;
        }
        self.level[leaving] = step;
        self.basic[self.basis[leaving]] = false;
        self.basic[entering] = true;
        self.basis[leaving] = entering;
        self.pivots += 1;
        if self.pivots.is_multiple_of(REFRESH) {
            self.refresh();
        }
    }

    /// Changes how much has to be covered, and restores the optimum by the dual method. False if
    /// the columns there are do not cover it.
    pub(super) fn cover(&mut self, demand: Vec<f64>, most: u32) -> bool {
        self.demand = demand;
        self.levels();
        for _ in 0..most {
            let negative = self.level.iter().enumerate().filter(|(_, level)| **level < -1e-7);
            let Some((leaving, _)) = negative.min_by(|a, b| a.1.total_cmp(b.1)) else {
                return true;
            };
            let Some(entering) = self.dual_entering(leaving) else { return false };
            let direction = self.direction(entering);
            if direction[leaving].abs() < SMALL {
                return false;
            }
            self.pivot(leaving, entering, &direction);
        }
        false
    }

    fn dual_entering(&self, leaving: usize) -> Option<usize> {
        let own = &self.inverse[leaving * self.rows..(leaving + 1) * self.rows];
        let mut best: Option<(f64, f64, usize)> = None;
        for column in (0..self.columns.len()).filter(|column| !self.basic[*column]) {
            let along: f64 = self.columns[column].rows.iter().map(|(row, n)| own[*row] * n).sum();
            if along >= -SMALL {
                continue;
            }
            let ratio = self.reduced(column).max(0.0) / -along;
            let better = best.is_none_or(|(least, pivot, _)| {
                ratio < least - 1e-12 || (ratio <= least + 1e-12 && along < pivot)
            });
            if better {
                best = Some((ratio, along, column));
            }
        }
        best.map(|(_, _, column)| column)
    }

    /// Computes inverse, levels and duals anew from the basis.
    fn refresh(&mut self) {
        let rows = self.rows;
        let mut matrix = vec![0.0; rows * rows];
        for (at, column) in self.basis.iter().enumerate() {
            for (row, n) in &self.columns[*column].rows {
                matrix[row * rows + at] = *n;
            }
        }
        if let Some(inverse) = invert(matrix, rows) {
            self.inverse = inverse;
        }
        self.levels();
        self.duals.fill(0.0);
        for (at, column) in self.basis.iter().enumerate() {
            let cost = self.columns[*column].cost;
            let own = &self.inverse[at * rows..(at + 1) * rows];
            self.duals.iter_mut().zip(own).for_each(|(dual, own)| *dual += cost * own);
        }
    }

    fn levels(&mut self) {
        let of = |row: usize| {
            let own = &self.inverse[row * self.rows..(row + 1) * self.rows];
            own.iter().zip(&self.demand).map(|(own, demand)| own * demand).sum()
        };
        self.level = (0..self.rows).map(of).collect();
    }
}

/// Gauss–Jordan with partial pivoting; `None` for a singular matrix.
fn invert(mut matrix: Vec<f64>, rows: usize) -> Option<Vec<f64>> {
    let mut inverse = vec![0.0; rows * rows];
    (0..rows).for_each(|at| inverse[at * rows + at] = 1.0);
    for at in 0..rows {
        let size = |row: &usize| matrix[row * rows + at].abs();
        let pivot = (at..rows).max_by(|a, b| size(a).total_cmp(&size(b)))?;
        if matrix[pivot * rows + at].abs() < 1e-12 {
            return None;
        }
        for cell in 0..rows {
            matrix.swap(at * rows + cell, pivot * rows + cell);
            inverse.swap(at * rows + cell, pivot * rows + cell);
        }
        let scale = 1.0 / matrix[at * rows + at];
        for cells in [&mut matrix, &mut inverse] {
            cells[at * rows..(at + 1) * rows].iter_mut().for_each(|cell| *cell *= scale);
        }
        for row in (0..rows).filter(|row| *row != at) {
            let factor = matrix[row * rows + at];
            if factor != 0.0 {
                subtract(&mut matrix, rows, row, at, factor);
                subtract(&mut inverse, rows, row, at, factor);
            }
        }
    }
    Some(inverse)
}

fn subtract(cells: &mut [f64], rows: usize, row: usize, from: usize, factor: f64) {
    let (low, high) = cells.split_at_mut(row.max(from) * rows);
    let (target, source) = if row > from {
        (&mut high[..rows], &low[from * rows..(from + 1) * rows])
    } else {
        (&mut low[row * rows..(row + 1) * rows], &high[..rows])
    };
    target.iter_mut().zip(source).for_each(|(cell, source)| *cell -= factor * source);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(cost: f64, rows: &[(usize, f64)]) -> Column {
        Column { cost, rows: rows.to_vec() }
    }

    #[test]
    fn mixed_columns_replace_single_ones_and_the_optimum_follows_the_demand() {
        let start = vec![column(4.0, &[(0, 2.0)]), column(4.0, &[(1, 2.0)])];
        let mut simplex = Simplex::new(vec![10.0, 10.0], start);
        assert!((simplex.objective() - 40.0).abs() < 1e-9);
        simplex.add(column(4.0, &[(0, 2.0), (1, 2.0)]));
        simplex.primal(100);
        assert!((simplex.objective() - 20.0).abs() < 1e-9);
        assert!(simplex.duals().iter().all(|dual| *dual >= -1e-9));
        assert!(simplex.cover(vec![3.0, 10.0], 100));
        assert!((simplex.objective() - 20.0).abs() < 1e-9, "{}", simplex.objective());
        assert!(simplex.cover(vec![4.0, 2.0], 100));
        assert!((simplex.objective() - 8.0).abs() < 1e-9);
        simplex.refresh();
        assert!((simplex.objective() - 8.0).abs() < 1e-9, "computed anew it is the same");
    }

    /// The least cost of all bases of three rows: columns, the start's included, and surplus.
    fn exhaustive(columns: &[Column], demand: &[f64]) -> f64 {
        let surplus = (0..3).map(|row| Column { cost: 0.0, rows: vec![(row, -1.0)] });
        let all: Vec<Column> = columns.iter().cloned().chain(surplus).collect();
        let cell = |c: usize, row: usize| -> f64 {
            all[c].rows.iter().filter(|(r, _)| *r == row).map(|(_, n)| n).sum()
        };
        let mut best = f64::INFINITY;
        for a in 0..all.len() {
            for b in 0..a {
                for c in 0..b {
                    let matrix = (0..3).flat_map(|row| [a, b, c].map(|of| cell(of, row))).collect();
                    let Some(inverse) = invert(matrix, 3) else { continue };
                    let level = |at: usize| -> f64 {
                        (0..3).map(|row| inverse[at * 3 + row] * demand[row]).sum()
                    };
                    let levels = [level(0), level(1), level(2)];
                    if levels.iter().all(|level| *level >= -1e-9) {
                        let costs = [a, b, c].map(|of| all[of].cost);
                        best = best.min(costs.iter().zip(levels).map(|(c, l)| c * l).sum());
                    }
                }
            }
        }
        best
    }

    proptest! {
        #[test]
        fn optima_are_those_of_the_best_basis(
            costs in prop::collection::vec((1..20u32, 0..4u32, 0..4u32, 0..4u32), 0..7),
            demands in prop::collection::vec((0..9u32, 0..9u32, 0..9u32), 1..4),
        ) {
            let start: Vec<Column> =
                [9.0, 10.0, 11.0].into_iter().enumerate().map(|(row, cost)| column(cost, &[(row, 2.0)])).collect();
            let more = costs.into_iter().map(|(cost, a, b, c)| {
                let rows = [a, b, c].into_iter().enumerate().filter(|(_, n)| *n > 0);
                let rows = rows.map(|(row, n)| (row, f64::from(n))).collect();
                Column { cost: f64::from(cost), rows }
            });
            let more: Vec<Column> = more.filter(|column| !column.rows.is_empty()).collect();
            let all: Vec<Column> = start.iter().chain(&more).cloned().collect();
            let of = |(a, b, c): (u32, u32, u32)| vec![f64::from(a), f64::from(b), f64::from(c)];
            let mut simplex = Simplex::new(of(demands[0]), start);
            for column in more {
                simplex.add(column);
            }
            simplex.primal(1_000);
            for (at, demand) in demands.into_iter().enumerate() {
                if at > 0 {
                    prop_assert!(simplex.cover(of(demand), 1_000));
                    simplex.primal(1_000);
                }
                let least = exhaustive(&all, &of(demand));
                let found = simplex.objective();
                prop_assert!((found - least).abs() <= 1e-6 * least.max(1.0), "{found} is not {least}");
                let worth: f64 =
                    simplex.duals().iter().zip(of(demand)).map(|(dual, n)| dual * n).sum();
                prop_assert!((found - worth).abs() <= 1e-6 * least.max(1.0), "the duals prove it");
            }
        }
    }
}
