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

/// How many entries of a linear programme, which is solved on the way, count as a step of work.
pub(super) const ENTRIES_A_STEP: usize = 8;

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

    /// A bound on what fits: that of the linear relaxation.
    pub(super) fn relaxed(&self) -> u128 {
        Prices::shadow(&self.items, &self.room).bound(&self.room)
    }

    /// How many entries the linear relaxation has.
    pub(super) fn entries(&self) -> usize {
        self.items.len() * self.room.len()
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
                Search::new(&self, &prices, threshold).run(&self.room, work)
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
pub(super) fn goal(threshold: u64) -> u128 {
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

pub(super) fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// How many partial solutions of a level are asked for the shadow prices of what they leave.
const SAMPLES: usize = 8;

/// How many amounts the partial solutions of a level may hold together, which is what bounds memory.
const HELD: usize = 1 << 24;

/// Fewer are carried on as they are.
const FEW: usize = 16;

/// Branch and bound, an item at a time, over all partial solutions at once: those that leave the
/// same room are one, and count with what the best of them is worth. Room that the items to come
/// can't use is no difference. Source: Nemhauser and Ullmann, "Discrete dynamic programming and
/// capital allocation", Management Science 15 (1969).
///
/// A partial solution goes on if no prices bound it below the goal. The prices are those of some of
/// the partial solutions of this level and the last, so they fit the room that is left there.
struct Search<'k> {
    items: &'k [Item],
    threshold: u64,
    root: &'k Prices,
    /// By the number of items that are decided.
    remains: Vec<Remains>,
}

/// What is left of the room, and what was put into the rest.
type Partial = (Box<[u64]>, u64);

impl<'k> Search<'k> {
    fn new(knapsack: &'k Knapsack, root: &'k Prices, threshold: u64) -> Self {
        let items = &knapsack.items;
        let rest = |first: usize| Remains::of(&items[first..], knapsack.room.len());
        let remains = (0..=items.len()).map(rest).collect();
        Self { items, threshold, root, remains }
    }

    fn run(&self, room: &[u64], work: &mut u64) -> Proof {
        let mut partial: Vec<Partial> = vec![(room.into(), 0)];
        let mut samples: Vec<Prices> = vec![self.root.clone()];
        for (decided, item) in (1..).zip(self.items) {
            let rest = &self.items[decided..];
            let bounds = self.bounds(rest, room.len(), &samples);
            let mut next = Vec::new();
            for (room, worth) in &partial {
                for times in 0..=item.most.min(count(room, &item.need)) {
                    let worth = item.value.saturating_mul(times).saturating_add(*worth);
                    if worth > self.threshold {
                        return Proof::Refuted(worth);
                    }
                    if *work == 0 || next.len() * room.len() > HELD {
                        return Proof::Open;
                    }
                    *work -= 1;
                    let one = (self.remains[decided].after(room, item, times), worth);
                    if bounds.iter().all(|prices| self.hopeful(prices, &one)) {
                        next.push(one);
                    }
                }
            }
            // The best of those with the same room stays.
            next.sort_unstable_by(|a: &Partial, b: &Partial| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            next.dedup_by(|later, first| later.0 == first.0);
            samples = self.sift(rest, &mut next);
            let entries = samples.len() * rest.len() * room.len();
            *work = work.saturating_sub((entries / ENTRIES_A_STEP) as u64);
            partial = next;
        }
        Proof::Holds
    }

    /// Prices for the items to come, the quickest to rule something out first.
    fn bounds(&self, rest: &[Item], dims: usize, samples: &[Prices]) -> Vec<Prices> {
        let mut bounds: Vec<Prices> = samples.iter().map(|prices| prices.again(rest)).collect();
        bounds.push(self.root.covering(rest));
        bounds.extend((0..dims).filter_map(|dim| Prices::of_one(dim, rest, dims)));
        bounds
    }

    /// Whether these prices leave open that a partial solution comes to be worth more than the
    /// threshold.
    fn hopeful(&self, prices: &Prices, (room, worth): &Partial) -> bool {
        prices.bound(room).saturating_add(fine(*worth)) >= goal(self.threshold)
    }

    /// Rules out what the shadow prices of a few of them rule out, and returns those prices.
    fn sift(&self, rest: &[Item], partial: &mut Vec<Partial>) -> Vec<Prices> {
        let mut samples = Vec::new();
        for sample in 0..SAMPLES {
            if partial.len() < FEW && sample > 0 {
                break;
            }
            if let Some((room, _)) = partial.get(partial.len() * (2 * sample + 1) / (2 * SAMPLES)) {
                let prices = Prices::shadow(rest, room);
                partial.retain(|one| self.hopeful(&prices, one));
                samples.push(prices);
            }
        }
        samples
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

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::verify) fn any_items() -> impl Strategy<Value = Vec<Item>> {
        let item = (1..40u64, 1..5u64, prop::collection::vec(0..9u64, 3));
        let item = item.prop_map(|(value, most, need)| Item { value, most, need: need.into() });
        prop::collection::vec(item, 1..6)
    }

    /// The most that fits, by trying everything.
    pub(in crate::verify) fn most(items: &[Item], room: &[u64]) -> u64 {
        let Some((item, rest)) = items.split_first() else {
            return 0;
        };
        let tries = 0..=item.most.min(count(room, &item.need));
        let worth = tries.map(|times| {
            let left: Vec<u64> =
                room.iter().zip(&item.need).map(|(room, need)| room - need * times).collect();
            times * item.value + most(rest, &left)
        });
        worth.max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn a_proof_is_never_wrong_however_little_work_it_may_take(
            items in any_items(),
            room in prop::collection::vec(0..40u64, 3),
            off in -3..4i64,
            mut work in prop_oneof![0..40u64, Just(u64::MAX)],
        ) {
            let worth = most(&items, &room);
            let threshold = worth.saturating_add_signed(off);
            let given = work;
            let proof = Knapsack::new(items, room).prove(threshold, &mut work);
            match proof {
                Proof::Holds => prop_assert!(worth <= threshold),
                Proof::Refuted(found) => prop_assert!(threshold < found && found <= worth),
                Proof::Open => prop_assert!(given < u64::MAX && work == 0),
            }
        }
    }

    #[test]
    fn what_the_work_does_not_suffice_for_stays_open() {
        let item = |value, need: [u64; 2]| Item { value, most: 9, need: need.into() };
        let items = vec![item(50, [5, 7]), item(61, [7, 6]), item(81, [8, 9]), item(33, [3, 4])];
        let knapsack = Knapsack::new(items.clone(), vec![31, 31]);
        let worth = most(&items, &[31, 31]);
        let (mut none, mut all) = (0, u64::MAX);
        assert_eq!(knapsack.clone().prove(worth, &mut none), Proof::Open);
        assert_eq!(knapsack.clone().prove(worth, &mut all), Proof::Holds);
        assert_eq!(knapsack.prove(worth - 1, &mut all), Proof::Refuted(worth));
    }
}
