//! Shadow prices of the linear relaxation of a knapsack.

use super::knapsack::Item;

/// Where rounding alone may be what is left.
const TINY: f64 = 1e-11;

/// Whoever isn't done by then has prices that are good enough.
const MOST_PIVOTS: usize = 1_000;

/// What one more unit of each dimension of `room` would be worth, if items could be taken in
/// parts. Found in floating point, so it is near and not exact; none is below zero.
pub(super) fn shadow_prices(items: &[Item], room: &[u64]) -> Vec<f64> {
    let worth = items.iter().map(|item| float(item.value)).fold(1.0, f64::max);
    let mut tableau = Tableau::new(items, room, worth);
    for _ in 0..MOST_PIVOTS {
        match tableau.best() {
            Some((column, step)) => tableau.take(column, step),
            None => break,
        }
    }
    tableau.prices(room, worth)
}

/// What stops a variable that grows.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// Its own limit.
    Itself,
    /// The variable of this row, which falls to zero.
    Empty(usize),
    /// The variable of this row, which comes to its limit.
    Full(usize),
}

/// The primal simplex method with bounded variables: a row says what a basic variable is, as
/// `right` less the sum of its entries times the variables of the columns, which are all at zero. A
/// variable that is at its limit is replaced by what it lacks of it.
///
/// Rows are in parts of the room and profits in parts of the greatest value, so that one `TINY`
/// serves all. Source: Chvátal, "Linear Programming" (1983), chapters 2 and 8.
struct Tableau {
    rows: Vec<Vec<f64>>,
    right: Vec<f64>,
    profit: Vec<f64>,
    /// By row and by column: the variable, an item or (after the items) what is left of the room.
    basic: Vec<Variable>,
    free: Vec<Variable>,
    items: usize,
}

#[derive(Debug, Clone, Copy)]
struct Variable {
    number: usize,
    limit: f64,
}

impl Tableau {
    fn new(items: &[Item], room: &[u64], worth: f64) -> Self {
        let row = |(dim, has): (usize, &u64)| {
            let part = |item: &Item| float(item.need[dim]) / float(*has).max(1.0);
            items.iter().map(part).collect()
        };
        let variable =
            |(number, item): (usize, &Item)| Variable { number, limit: float(item.most) };
        let slack = |dim| Variable { number: items.len() + dim, limit: f64::INFINITY };
        Self {
            rows: room.iter().enumerate().map(row).collect(),
            right: room.iter().map(|has| if *has > 0 { 1.0 } else { 0.0 }).collect(),
            profit: items.iter().map(|item| float(item.value) / worth).collect(),
            basic: (0..room.len()).map(slack).collect(),
            free: items.iter().enumerate().map(variable).collect(),
            items: items.len(),
        }
    }

    /// The column that gains most when it grows as far as it can; `None` if none gains.
    fn best(&self) -> Option<(usize, Stop)> {
        let mut best: Option<(f64, usize, Stop)> = None;
        for (column, profit) in self.profit.iter().enumerate() {
            if *profit > TINY {
                let (by, stop) = self.growth(column);
                let gain = profit * by;
                if gain.is_finite() && best.is_none_or(|(most, ..)| gain > most) {
                    best = Some((gain, column, stop));
                }
            }
        }
        best.map(|(_, column, stop)| (column, stop))
    }

    fn growth(&self, column: usize) -> (f64, Stop) {
        let mut least = (self.free[column].limit, Stop::Itself);
        for (row, entries) in self.rows.iter().enumerate() {
            let entry = entries[column];
            let (by, stop) = if entry > TINY {
                (self.right[row] / entry, Stop::Empty(row))
            } else if entry < -TINY {
                ((self.basic[row].limit - self.right[row]) / -entry, Stop::Full(row))
            } else {
                continue;
            };
            if by < least.0 {
                least = (by.max(0.0), stop);
            }
        }
        least
    }

    fn take(&mut self, column: usize, stop: Stop) {
        match stop {
            Stop::Itself => {
                let limit = self.free[column].limit;
                for (entries, right) in self.rows.iter_mut().zip(&mut self.right) {
                    *right -= entries[column] * limit;
                    entries[column] = -entries[column];
                }
                self.profit[column] = -self.profit[column];
            }
            Stop::Empty(row) => self.pivot(row, column),
            Stop::Full(row) => {
                self.right[row] = self.basic[row].limit - self.right[row];
                self.rows[row].iter_mut().for_each(|entry| *entry = -*entry);
                self.pivot(row, column);
            }
        }
    }

    /// The variables of a row and of a column change places.
    fn pivot(&mut self, row: usize, column: usize) {
        let mut pivot = std::mem::take(&mut self.rows[row]);
        let by = 1.0 / pivot[column];
        for entry in &mut pivot {
            *entry *= by;
        }
        pivot[column] = by;
        self.right[row] *= by;
        let right = self.right[row];
        for (other, entries) in self.rows.iter_mut().enumerate().filter(|(other, _)| *other != row)
        {
            let factor = entries.get(column).copied().unwrap_or(0.0);
            subtract(entries, &pivot, column, factor);
            self.right[other] -= factor * right;
        }
        let factor = self.profit[column];
        subtract(&mut self.profit, &pivot, column, factor);
        self.rows[row] = pivot;
        std::mem::swap(&mut self.basic[row], &mut self.free[column]);
    }

    fn prices(&self, room: &[u64], worth: f64) -> Vec<f64> {
        let mut prices = vec![0.0; room.len()];
        for (variable, profit) in self.free.iter().zip(&self.profit) {
            if let Some(dim) = variable.number.checked_sub(self.items) {
                prices[dim] = (-profit).max(0.0) * worth / float(room[dim]).max(1.0);
            }
        }
        prices
    }
}

fn subtract(entries: &mut [f64], pivot: &[f64], column: usize, factor: f64) {
    if factor == 0.0 {
        return;
    }
    for (entry, pivot) in entries.iter_mut().zip(pivot) {
        *entry -= factor * pivot;
    }
    entries[column] = -factor * pivot[column];
}

#[expect(clippy::cast_precision_loss, reason = "the result is near in any case")]
fn float(amount: u64) -> f64 {
    amount as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(items: &[(u64, u64, &[u64])], room: &[u64]) -> Vec<f64> {
        let item = |(value, most, need): &(u64, u64, &[u64])| Item {
            value: *value,
            most: *most,
            need: (*need).into(),
        };
        shadow_prices(&items.iter().map(item).collect::<Vec<_>>(), room)
    }

    #[track_caller]
    fn near(found: &[f64], expected: &[f64]) {
        let off = found.iter().zip(expected).any(|(a, b)| (a - b).abs() > 1e-9);
        assert!(!off && found.len() == expected.len(), "{found:?} is not {expected:?}");
    }

    #[test]
    fn the_item_that_is_cut_sets_the_price() {
        near(&prices(&[(6, 1, &[1]), (10, 1, &[2]), (12, 1, &[3])], &[5]), &[4.0]);
        near(&prices(&[(6, 1, &[1]), (10, 1, &[2]), (12, 1, &[3])], &[6]), &[0.0]);
        near(&prices(&[(6, 9, &[1]), (10, 9, &[2])], &[5]), &[6.0]);
    }

    #[test]
    fn two_items_set_two_prices_and_room_to_spare_is_free() {
        // 3a + b = 9 and a + 2b = 8, at the values that the needs cost at prices 2 and 3.
        let items: [(u64, u64, &[u64]); 3] = [(9, 9, &[3, 1]), (8, 9, &[1, 2]), (4, 9, &[1, 1])];
        near(&prices(&items, &[9, 8]), &[2.0, 3.0]);
        near(&prices(&items, &[8, 800]), &[8.0, 0.0]);
        near(&prices(&[], &[9, 8]), &[0.0, 0.0]);
    }
}
