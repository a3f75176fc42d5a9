//! Whether what fits on a machine with GPUs is worth more than it costs, where every share must be
//! on a device that has room for it.
//!
//! A machine is filled with contents of devices, which are columns as the patterns of Gilmore and
//! Gomory's cutting stock: a price for a device, the most that any content gains at prices of the
//! other resources, bounds the machine, and what is to be searched are the few contents that lose
//! no more against that price than the bound is above the threshold.

use super::device::{Content, Device, Share};
use super::knapsack::{Item, Knapsack, Proof, goal};
use super::prices::Prices;

/// How many times the prices are brought nearer to the best.
const ROUNDS: usize = 100;

/// How many contents are searched among.
const MOST_CONTENTS: usize = 1_000;

/// How many numbers the table of a device may have, which is what bounds memory.
const MOST_CELLS: usize = 1 << 21;

/// How many numbers of a table count as one step of work.
const CELLS_A_STEP: usize = 64;

/// Room of which devices are the last dimension.
#[derive(Debug)]
pub(super) struct ByDevice {
    /// What takes whole devices or none.
    pub(super) others: Vec<Item>,
    pub(super) shares: Vec<Share>,
    pub(super) room: Vec<u64>,
}

/// The lowest bound that was found, and the prices that give it.
struct Bound {
    prices: Prices,
    bound: u128,
}

impl ByDevice {
    /// Whether nothing that fits is worth more than `threshold` nano-dollars. Takes what it needs of
    /// `work`. What refutes is on devices by the way that it is found.
    pub(super) fn prove(&self, threshold: u64, work: &mut u64) -> Proof {
        let mut device = Device::new(&self.shares);
        if device.cells() > MOST_CELLS {
            return Proof::Open;
        }
        let Some(best) = self.bound(&mut device, goal(threshold), work) else {
            return Proof::Holds;
        };
        let price = device.price(&best.prices);
        if price == u128::MAX || best.bound == u128::MAX {
            return Proof::Open;
        }
        let spare = best.bound - goal(threshold);
        let near = device.near(self.plain(), spare, MOST_CONTENTS, work);
        match self.with(&device, &near.contents).prove(threshold, work) {
            Proof::Holds if !near.complete => Proof::Open,
            proof => proof,
        }
    }

    /// The room without devices.
    fn plain(&self) -> &[u64] {
        self.room.split_last().map_or(&[], |(_, plain)| plain)
    }

    fn devices(&self) -> u64 {
        self.room.last().copied().unwrap_or_default()
    }

    /// Column generation: contents that gain most are added until that changes no prices. `None` if
    /// some prices show that nothing comes to the goal.
    fn bound(&self, device: &mut Device<'_>, goal: u128, work: &mut u64) -> Option<Bound> {
        let cost = (device.cells() / CELLS_A_STEP + 1) as u64;
        let (mut items, mut contents) = (self.others.clone(), Vec::<Content>::new());
        let mut best: Option<Bound> = None;
        for _ in 0..ROUNDS {
            let shadow = Prices::shadow(&items, &self.room);
            let prices = shadow.ending(device.price(&shadow), &self.others);
            let bound = prices.bound(&self.room);
            if bound < goal {
                return None;
            }
            if best.as_ref().is_none_or(|best| bound < best.bound) {
                best = Some(Bound { prices, bound });
            }
            let content = device.best();
            *work = work.saturating_sub(cost);
            if *work == 0 || contents.contains(&content) {
                break;
            }
            items.push(self.item(device, &content));
            contents.push(content);
        }
        best
    }

    /// A content as an item that takes a device.
    fn item(&self, device: &Device<'_>, content: &Content) -> Item {
        let (value, need) = device.sum(content, self.plain().len());
        let times = content.iter().map(|(place, number)| self.shares[*place].item.most / number);
        let most = times.fold(self.devices(), u64::min);
        Item { value, most, need: need.iter().copied().chain([1]).collect() }
    }

    /// The knapsack with these contents. How many pods there are of a kind of which several contents
    /// have some is a dimension more.
    fn with(&self, device: &Device<'_>, contents: &[Content]) -> Knapsack {
        let mut used = vec![false; self.shares.len()];
        contents.iter().flatten().for_each(|(place, _)| used[*place] = true);
        let places: Vec<usize> = (0..used.len()).filter(|place| used[*place]).collect();
        let extended = |mut item: Item, content: &[(usize, u64)]| {
            let of = |place: &usize| content.iter().find(|(own, _)| own == place);
            let numbers = places.iter().map(|place| of(place).map_or(0, |(_, number)| *number));
            item.need = item.need.iter().copied().chain(numbers).collect();
            item
        };
        let others = self.others.iter().map(|item| extended(item.clone(), &[]));
        let all = contents.iter().map(|content| extended(self.item(device, content), content));
        let caps = places.iter().map(|place| self.shares[*place].item.most);
        Knapsack::new(others.chain(all).collect(), self.room.iter().copied().chain(caps).collect())
    }
}
