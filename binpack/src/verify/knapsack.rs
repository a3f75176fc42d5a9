//! Whether any set of pods that could share a machine is worth more than it costs.

use super::prices::{FINE, Prices, fine};

/// Pods that nothing tells apart.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// What one is worth, in nano-dollars.
    pub(super) value: u64,
    /// How many there may be at most.
    pub(super) most: u64,
    /// What one needs, by dimension.
    pub(super) need: Box<[u64]>,
}

/// What is known of the most that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is worth no more than the threshold.
    Holds,
    /// Something that fits is worth this much, which is more.
    Refuted(u64),
    /// The work ran out before it was known.
    Open,
}

/// How often what can't matter is taken out anew, as long as that shows more of it.
const REDUCTIONS: usize = 16;

/// Items of which as many are wanted as a room holds.
#[derive(Debug, Clone)]
pub(super) struct Knapsack {
    items: Vec<Item>,
    room: Vec<u64>,
}

impl Knapsack {
    pub(super) fn new(items: Vec<Item>, room: Vec<u64>) -> Self {
        let mut knapsack = Self { items, room };
        knapsack.trim();
        knapsack
    }

    /// A bound on the most that fits, in nano-dollars: that of the linear relaxation.
    pub(super) fn relaxed(&self) -> (u128, Prices) {
        let prices = Prices::shadow(&self.items, &self.room);
        (prices.bound(&self.room).div_ceil(FINE), prices)
    }

    /// Whether nothing that fits is worth more than `threshold` nano-dollars. Takes what it needs of
    /// `work`, a number of partial solutions.
    pub(super) fn prove(mut self, threshold: u64, work: &mut u64) -> Proof {
        let alone = self.items.iter().map(|item| item.value.saturating_mul(item.most)).max();
        if let Some(worth) = alone.filter(|worth| *worth > threshold) {
            return Proof::Refuted(worth);
        }
        match self.reduce(threshold) {
            None => Proof::Holds,
            Some(prices) => {
                self.order(&prices);
                Search::new(&self, &prices, threshold).run(work)
            }
        }
    }

    /// Takes out what can't be part of a solution above the threshold: an item that costs more than
    /// it is worth, at prices that bound the whole, can be there only as often as the bound stays
    /// above (reduction by Lagrangean bounds). `None` if the bound itself is not above.
    fn reduce(&mut self, threshold: u64) -> Option<Prices> {
        let goal = goal(threshold);
        let mut prices = Prices::shadow(&self.items, &self.room);
        for _ in 0..REDUCTIONS {
            let spare = prices.bound(&self.room).checked_sub(goal)?;
            let before = self.size();
            for item in &mut self.items {
                let loss = prices.cost(&item.need).saturating_sub(fine(item.value));
                if let Some(most) = spare.checked_div(loss) {
                    item.most = item.most.min(u64::try_from(most).unwrap_or(u64::MAX));
                }
            }
            self.trim();
            prices = Prices::shadow(&self.items, &self.room);
            if self.size() == before {
                break;
            }
        }
        (prices.bound(&self.room) >= goal).then_some(prices)
    }

    fn size(&self) -> u128 {
        self.items.iter().map(|item| u128::from(item.most)).sum()
    }

    /// Limits items to what fits and the room to what sums of items can be, and leaves out
    /// dimensions that stop nobody.
    fn trim(&mut self) {
        for _ in 0..REDUCTIONS {
            let room = &self.room;
            self.items.retain_mut(|item| {
                item.most = item.most.min(count(room, &item.need));
                item.most > 0 && item.value > 0
            });
            let remains = Remains::of(&self.items, room.len());
            let before = self.room.clone();
            remains.clip(&mut self.room);
            let all = self.room.iter().zip(&remains.demand);
            let stops: Vec<bool> = all.map(|(room, demand)| u128::from(*room) < *demand).collect();
            self.keep(&stops);
            if self.room == before {
                break;
            }
        }
    }

    fn keep(&mut self, dims: &[bool]) {
        if dims.iter().all(|stops| *stops) {
            return;
        }
        let kept = |of: &[u64]| -> Vec<u64> {
            of.iter().zip(dims).filter(|(_, stops)| **stops).map(|(amount, _)| *amount).collect()
        };
        self.room = kept(&self.room);
        self.items.iter_mut().for_each(|item| item.need = kept(&item.need).into());
    }

    /// What is worth most for what it needs comes first: after that, room that is left is lost.
    fn order(&mut self, prices: &Prices) {
        self.items.sort_by(|a, b| {
            let of = |item: &Item, other: &Item| {
                prices.cost(&other.need).max(1).saturating_mul(item.value.into())
            };
            of(b, a).cmp(&of(a, b)).then(b.value.cmp(&a.value)).then(a.need.cmp(&b.need))
        });
    }
}

/// The least worth above the threshold, as bounds are counted: worths are whole nano-dollars.
fn goal(threshold: u64) -> u128 {
    fine(threshold).saturating_add(FINE)
}

/// How many times this need fits.
fn count(room: &[u64], need: &[u64]) -> u64 {
    let times = room.iter().zip(need).filter_map(|(room, need)| room.checked_div(*need));
    times.min().unwrap_or(u64::MAX)
}

/// What the items that are still to come can use of a room.
#[derive(Debug)]
struct Remains {
    /// What all of them need.
    demand: Vec<u128>,
    /// What the sum of any of them is a multiple of.
    unit: Vec<u64>,
}

impl Remains {
    fn none(dims: usize) -> Self {
        Self { demand: vec![0; dims], unit: vec![0; dims] }
    }

    fn of(items: &[Item], dims: usize) -> Self {
        let mut all = Self::none(dims);
        for item in items {
            all.add(item);
        }
        all
    }

    fn add(&mut self, item: &Item) {
        for ((demand, unit), need) in self.demand.iter_mut().zip(&mut self.unit).zip(&item.need) {
            *demand += u128::from(item.most) * u128::from(*need);
            *unit = gcd(*unit, *need);
        }
    }

    /// Takes off what nothing can use.
    fn clip(&self, room: &mut [u64]) {
        for ((room, demand), unit) in room.iter_mut().zip(&self.demand).zip(&self.unit) {
            *room = u64::try_from(*demand).unwrap_or(u64::MAX).min(*room);
            *room -= room.checked_rem(*unit).unwrap_or(0);
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// What is known of the items from one on.
#[derive(Debug)]
struct Level {
    remains: Remains,
    bounds: Vec<Prices>,
}

impl Level {
    /// Whether no way to use this room reaches `goal`.
    fn hopeless(&self, room: &[u64], goal: u128) -> bool {
        self.bounds.iter().any(|prices| prices.bound(room) < goal)
    }
}

/// How many levels have shadow prices of their own.
const SHADOWS: usize = 32;

/// Branch and bound, an item at a time, over all partial solutions at once: those that leave the
/// same room are one, and count with what the best of them is worth. Room that the items to come
/// can't use is no difference. Source: Nemhauser and Ullmann, "Discrete dynamic programming and
/// capital allocation", Management Science 15 (1969).
struct Search<'k> {
    knapsack: &'k Knapsack,
    threshold: u64,
    /// By the number of items that are decided.
    levels: Vec<Level>,
}

/// What is left of the room, and what was put into the rest.
type Partial = (Box<[u64]>, u64);

impl<'k> Search<'k> {
    fn new(knapsack: &'k Knapsack, root: &Prices, threshold: u64) -> Self {
        let (items, dims) = (&knapsack.items, knapsack.room.len());
        let every = items.len().div_ceil(SHADOWS).max(1);
        let mut levels = Vec::with_capacity(items.len() + 1);
        let mut shadow = root.clone();
        for first in 0..=items.len() {
            let rest = &items[first..];
            if first.is_multiple_of(every) {
                shadow = Prices::shadow(rest, &knapsack.room);
            }
            let single = (0..dims).filter_map(|dim| Prices::of_one(dim, rest, dims));
            let mut bounds = vec![root.covering(rest), shadow.covering(rest), shadow.again(rest)];
            bounds.extend(single);
            levels.push(Level { remains: Remains::of(rest, dims), bounds });
        }
        Self { knapsack, threshold, levels }
    }

    fn run(&self, work: &mut u64) -> Proof {
        let mut partial: Vec<Partial> = vec![(self.knapsack.room.clone().into(), 0)];
        for (item, level) in self.knapsack.items.iter().zip(self.levels.iter().skip(1)) {
            let mut next = Vec::new();
            for (room, worth) in &partial {
                for times in 0..=item.most.min(count(room, &item.need)) {
                    let worth = item.value.saturating_mul(times).saturating_add(*worth);
                    if worth > self.threshold {
                        return Proof::Refuted(worth);
                    }
                    let Some(left) = work.checked_sub(1) else {
                        return Proof::Open;
                    };
                    *work = left;
                    let room = level.remains.after(room, item, times);
                    if !level.hopeless(&room, goal(self.threshold) - fine(worth)) {
                        next.push((room, worth));
                    }
                }
            }
            // The best of those with the same room stays.
            next.sort_unstable_by(|a: &Partial, b: &Partial| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            next.dedup_by(|later, first| later.0 == first.0);
            partial = next;
        }
        Proof::Holds
    }
}

impl Remains {
    /// What is left of a room for the items to come once an item is there so many times.
    fn after(&self, room: &[u64], item: &Item, times: u64) -> Box<[u64]> {
        let left = room.iter().zip(&item.need).map(|(room, need)| room - need * times);
        let mut left: Box<[u64]> = left.collect();
        self.clip(&mut left);
        left
    }
}
