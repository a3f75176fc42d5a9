//! What one GPU may carry: shares that fit on it together.
//!
//! At given prices of the other resources, the best content of a device is a knapsack over its
//! thousandths, which dynamic programming solves exactly (Bellman, "Dynamic Programming", 1957).

use super::knapsack::{Item, gcd};
use super::prices::{Prices, fine};
use crate::model::GPU_MILLI;

/// Pods of one kind that take a share of a device.
#[derive(Debug, Clone)]
pub(super) struct Share {
    /// Thousandths of a device, below 1000.
    pub(super) milli: u64,
    /// Their value and number, and what one needs of everything but devices.
    pub(super) item: Item,
}

/// Shares that fit on one device: which, by place, and how many of each.
pub(super) type Content = Vec<(usize, u64)>;

/// How often what contents may lose is halved, if those that lose no more are too many.
const HALVINGS: u32 = 12;

/// A device at prices of the other resources.
#[derive(Debug)]
pub(super) struct Device<'s> {
    shares: &'s [Share],
    /// How many units it has: all shares are multiples of a unit.
    units: usize,
    /// By share: the units that one takes.
    takes: Vec<usize>,
    /// By share: what one is worth.
    gains: Vec<Gain>,
    /// By share and by free units: the most that the shares from there on gain.
    table: Vec<u128>,
}

/// Value less the cost of what is needed: one of them is 0.
#[derive(Debug, Clone, Copy)]
struct Gain {
    above: u128,
    below: u128,
}

/// The contents that lose little against the best.
#[derive(Debug, Default)]
pub(super) struct Near {
    pub(super) contents: Vec<Content>,
    /// Whether these are all that lose no more than they may.
    pub(super) complete: bool,
}

impl<'s> Device<'s> {
    /// Of shares above 0.
    pub(super) fn new(shares: &'s [Share]) -> Self {
        let unit = shares.iter().fold(0, |unit, share| gcd(unit, share.milli)).max(1);
        let whole = |milli: u64| usize::try_from(milli / unit).unwrap_or(usize::MAX);
        let takes = shares.iter().map(|share| whole(share.milli)).collect();
        Self { shares, units: whole(GPU_MILLI), takes, gains: Vec::new(), table: Vec::new() }
    }

    /// How many numbers its table has.
    pub(super) fn cells(&self) -> usize {
        (self.shares.len() + 1).saturating_mul(self.units + 1)
    }

    /// The most that a content gains at these prices, exactly.
    pub(super) fn price(&mut self, prices: &Prices) -> u128 {
        let gain = |share: &Share| {
            let (value, cost) = (fine(share.item.value), prices.cost(&share.item.need));
            Gain { above: value.saturating_sub(cost), below: cost.saturating_sub(value) }
        };
        self.gains = self.shares.iter().map(gain).collect();
        self.table.clear();
        self.table.resize(self.cells(), 0);
        for place in (0..self.shares.len()).rev() {
            self.fill(place);
        }
        self.reaches(0, self.units)
    }

    /// The table of one more share, of which there are 1, 2, 4, … together and the rest of its
    /// number.
    fn fill(&mut self, place: usize) {
        let (each, gain) = (self.takes[place], self.gains[place].above);
        let mut left = if gain > 0 { self.most(place, self.units) } else { 0 };
        let width = self.units + 1;
        let (head, rest) = self.table.split_at_mut((place + 1) * width);
        let row = &mut head[place * width..];
        row.copy_from_slice(&rest[..width]);
        let mut together = 1;
        while left > 0 {
            let number = left.min(together);
            let (taken, worth) = (number * each, gain.saturating_mul(number as u128));
            for units in (taken..width).rev() {
                row[units] = row[units].max(row[units - taken].saturating_add(worth));
            }
            left -= number;
            together *= 2;
        }
    }

    /// How many of a share there may be in so many units.
    fn most(&self, place: usize, units: usize) -> usize {
        let number = usize::try_from(self.shares[place].item.most).unwrap_or(usize::MAX);
        number.min(units / self.takes[place])
    }

    /// The most that the shares from a place on gain in so many units.
    fn reaches(&self, place: usize, units: usize) -> u128 {
        self.table[place * (self.units + 1) + units]
    }

    /// A content that gains most at the prices given last.
    pub(super) fn best(&self) -> Content {
        let (mut units, mut content) = (self.units, Content::new());
        for place in 0..self.shares.len() {
            let reached = self.reaches(place, units);
            let makes = |number: &usize| self.lost(place, *number, units, reached) == 0;
            let number = (0..=self.most(place, units)).find(makes).unwrap_or(0);
            units -= number * self.takes[place];
            if number > 0 {
                content.push((place, number as u64));
            }
        }
        content
    }

    /// What is lost of `reached` if there are so many of a share in so many units, and then the
    /// best of those after it.
    fn lost(&self, place: usize, number: usize, units: usize, reached: u128) -> u128 {
        let (gain, after) = (self.gains[place], units - number * self.takes[place]);
        let of = |each: u128| each.saturating_mul(number as u128);
        let then = self.reaches(place + 1, after).saturating_add(of(gain.above));
        reached.saturating_add(of(gain.below)).saturating_sub(then)
    }

    /// The contents that fit in `room`, devices apart, and lose no more than `spare` against the
    /// best, or about the best `most` of them. Takes what it needs of `work`.
    pub(super) fn near(&self, room: &[u64], spare: u128, most: usize, work: &mut u64) -> Near {
        let mut near = Near::default();
        for halving in 0..HALVINGS {
            let mut walk = Walk { of: self, room, most, work, content: vec![], found: vec![] };
            let all = walk.visit(0, self.units, spare >> halving);
            near.contents = walk.found;
            if all {
                near.complete = halving == 0;
                break;
            }
        }
        near
    }

    /// What a content is worth and needs, devices apart.
    pub(super) fn sum(&self, content: &[(usize, u64)], dims: usize) -> (u64, Box<[u64]>) {
        let (mut value, mut sum) = (0u64, vec![0u64; dims]);
        for (place, number) in content {
            let item = &self.shares[*place].item;
            value = value.saturating_add(item.value.saturating_mul(*number));
            for (sum, need) in sum.iter_mut().zip(&item.need) {
                *sum = sum.saturating_add(need.saturating_mul(*number));
            }
        }
        (value, sum.into())
    }
}

/// A depth-first walk over contents, which the table cuts to those that lose little.
struct Walk<'d, 's> {
    of: &'d Device<'s>,
    room: &'d [u64],
    most: usize,
    work: &'d mut u64,
    content: Content,
    found: Vec<Content>,
}

impl Walk<'_, '_> {
    /// Goes on with the shares from a place on, of which none was taken yet. False if the contents
    /// are too many, or the work ran out.
    fn visit(&mut self, from: usize, units: usize, spare: u128) -> bool {
        let of = self.of;
        let reached = of.reaches(from, units);
        if reached <= spare && !self.content.is_empty() && self.fits() {
            if self.found.len() == self.most {
                return false;
            }
            self.found.push(self.content.clone());
        }
        for place in from..of.shares.len() {
            let Some(left) = spare.checked_sub(reached - of.reaches(place, units)) else { break };
            for number in 1..=of.most(place, units) {
                let Some(work) = self.work.checked_sub(1) else { return false };
                *self.work = work;
                let lost = of.lost(place, number, units, of.reaches(place, units));
                let Some(left) = left.checked_sub(lost) else { continue };
                self.content.push((place, number as u64));
                let all = self.visit(place + 1, units - number * of.takes[place], left);
                self.content.pop();
                if !all {
                    return false;
                }
            }
        }
        true
    }

    fn fits(&self) -> bool {
        let (_, need) = self.of.sum(&self.content, self.room.len());
        need.iter().zip(self.room).all(|(need, room)| need <= room)
    }
}
