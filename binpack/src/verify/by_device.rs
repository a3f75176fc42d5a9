//! Whether what fits on a machine with GPUs is worth more than it costs, where every share must be
//! on a device that has room for it.
//!
//! The contents of devices are columns, as patterns are in Gilmore and Gomory's cutting stock. At
//! prices of the other resources a device is worth what its best content gains, which bounds the
//! machine. What may be worth more than the threshold nonetheless has only contents that lose no
//! more than the bound is above it, and those are few.

use super::device::{Content, Device, Near, Share};
use super::knapsack::{ENTRIES_A_STEP, Item, Knapsack, Proof, goal};
use super::prices::{Prices, fine};
use crate::model::GPU_MILLI;

/// How many times the prices are brought nearer to the best.
const ROUNDS: usize = 100;

/// How many contents are searched among.
const MOST_CONTENTS: usize = 500;

/// How many numbers the table of a device and the linear programme may each have.
const MOST_CELLS: usize = 1 << 20;

/// What may be on a machine.
#[derive(Debug)]
pub(super) struct ByDevice {
    /// What takes whole devices or none.
    others: Vec<Item>,
    shares: Vec<Share>,
    /// What the machine has, then how many there are of each share that is scarce, and last how many
    /// devices: the dimensions of `others`. Those of `shares` are the same without devices.
    room: Vec<u64>,
}

/// Prices that bound the worth of what fits.
struct Bound {
    prices: Prices,
    bound: u128,
}

impl ByDevice {
    /// Of a machine with so many devices and `room` beside them. `others` give the whole devices
    /// that they take beside what they need of the room.
    pub(super) fn new(
        others: Vec<(Item, u64)>,
        mut shares: Vec<Share>,
        mut room: Vec<u64>,
        devices: u64,
    ) -> Self {
        let plain = room.len();
        let scarce = |share: &Share| share.item.most < devices * (GPU_MILLI / share.milli);
        let caps = shares.iter().filter(|share| scarce(share)).map(|share| share.item.most);
        room.extend(caps);
        let mut next = plain;
        for share in &mut shares {
            let mut need = resized(&share.item.need, room.len());
            if scarce(share) {
                need[next] = 1;
                next += 1;
            }
            share.item.need = need.into();
        }
        let other = |(item, devices): (Item, u64)| {
            let mut need = resized(&item.need, room.len());
            need.push(devices);
            Item { need: need.into(), ..item }
        };
        let others = others.into_iter().map(other).collect();
        room.push(devices);
        Self { others, shares, room }
    }

    /// Whether nothing that fits is worth more than `threshold` nano-dollars. Takes what it needs of
    /// `work`. What refutes is made of contents, so it is on devices.
    ///
    /// Where too many contents could matter it is decided first which pods take several devices:
    /// none of a kind, or one and maybe more.
    pub(super) fn prove(&self, threshold: u64, work: &mut u64) -> Proof {
        let Some(mut search) = self.search() else { return Proof::Open };
        let (others, room) = (self.others.clone(), self.room.clone());
        let mut branches = vec![Branch { others, room, threshold }];
        let mut left_open = false;
        while let Some(mut branch) = branches.pop() {
            if *work == 0 {
                return Proof::Open;
            }
            match search.look(&mut branch, work) {
                Look::Known(Proof::Holds) => {}
                Look::Known(Proof::Refuted(worth)) => {
                    return Proof::Refuted(worth.saturating_add(threshold - branch.threshold));
                }
                Look::Known(Proof::Open) => left_open = true,
                Look::Divided(place) => branches.extend(branch.divided(place)),
            }
        }
        if left_open { Proof::Open } else { Proof::Holds }
    }

    /// `None` if it would take too much memory.
    fn search(&self) -> Option<Search<'_>> {
        let (device, plain) = (Device::new(&self.shares), self.room.len() - 1);
        let columns = self.others.len() + ROUNDS;
        let cells = device.cells().max(columns.saturating_mul(self.room.len()));
        (cells <= MOST_CELLS).then(|| Search { device, plain, contents: Vec::new() })
    }
}

/// What is still to be decided, and what it must be worth more than.
struct Branch {
    others: Vec<Item>,
    room: Vec<u64>,
    threshold: u64,
}

impl Branch {
    /// Without this kind, and with one of it.
    fn divided(mut self, place: usize) -> [Self; 2] {
        let mut others = self.others.clone();
        others[place].most -= 1;
        let Item { value, need, .. } = &others[place];
        let left = self.room.iter().zip(need).map(|(room, need)| room - need);
        let (room, threshold) = (left.collect(), self.threshold - value);
        let fits = |item: &Item| item.need.iter().zip(&room).all(|(need, room)| need <= room);
        others.retain(|item| item.most > 0 && fits(item));
        self.others.swap_remove(place);
        [self, Self { others, room, threshold }]
    }

    /// Limits what can't be there so often, and finds the kind that takes several devices and loses
    /// least.
    fn reduce(&mut self, of: &Bound, spare: u128) -> Option<usize> {
        let loss = |item: &Item| of.prices.cost(&item.need).saturating_sub(fine(item.value));
        for item in &mut self.others {
            if let Some(most) = spare.checked_div(loss(item)) {
                item.most = item.most.min(u64::try_from(most).unwrap_or(u64::MAX));
            }
        }
        let threshold = self.threshold;
        self.others.retain(|item| item.most > 0 && item.value > 0);
        let several = |item: &Item| item.need.last().is_some_and(|devices| *devices > 1);
        let places = self.others.iter().enumerate();
        let places = places.filter(|(_, item)| several(item) && item.value <= threshold);
        places.min_by_key(|(_, item)| loss(item)).map(|(place, _)| place)
    }
}

/// What a look at a branch shows.
enum Look {
    Known(Proof),
    /// It is to be divided by this kind.
    Divided(usize),
}

/// A search that is under way.
struct Search<'s> {
    device: Device<'s>,
    /// How many dimensions there are without devices.
    plain: usize,
    /// Those that linear programmes asked for lately.
    contents: Vec<Content>,
}

impl Search<'_> {
    fn look(&mut self, branch: &mut Branch, work: &mut u64) -> Look {
        let goal = goal(branch.threshold);
        let Some(best) = self.bound(branch, goal, work) else {
            return Look::Known(Proof::Holds);
        };
        let several = branch.reduce(&best, best.bound - goal);
        let near = self.near(branch, &best, goal, work);
        if let Some(place) = several.filter(|_| !near.complete) {
            return Look::Divided(place);
        }
        let contents = near.contents.iter().map(|content| self.item(branch, content));
        let items = branch.others.iter().cloned().chain(contents).collect();
        let knapsack = Knapsack::new(items, branch.room.clone());
        if near.complete {
            return Look::Known(knapsack.prove(branch.threshold, work));
        }
        // A part of the contents can only refute.
        let mut part = *work / 4;
        *work -= part;
        let proof = knapsack.prove(branch.threshold, &mut part);
        *work += part;
        Look::Known(if proof == Proof::Holds { Proof::Open } else { proof })
    }

    /// Column generation: the content that gains most is added until none gains more than a device
    /// costs. `None` if some prices show that nothing comes to the goal.
    fn bound(&mut self, branch: &Branch, goal: u128, work: &mut u64) -> Option<Bound> {
        let contents = self.contents.drain(..).rev().take(ROUNDS);
        let mut contents: Vec<Content> = contents.collect();
        let mut items = branch.others.clone();
        items.extend(contents.iter().map(|content| self.item(branch, content)));
        let mut best = None::<Bound>;
        for _ in 0..ROUNDS {
            let shadow = Prices::shadow(&items, &branch.room);
            let price = self.device.price(&shadow);
            let prices = shadow.ending(price.max(shadow.last()), &branch.others);
            let bound = prices.bound(&branch.room);
            if best.as_ref().is_none_or(|best| bound < best.bound) {
                best = Some(Bound { prices, bound });
            }
            let cells = self.device.cells() + items.len() * branch.room.len();
            *work = work.saturating_sub((cells / ENTRIES_A_STEP) as u64);
            if bound < goal || *work == 0 || price <= shadow.last() {
                break;
            }
            let content = self.device.best();
            items.push(self.item(branch, &content));
            contents.push(content);
        }
        self.contents = contents;
        best.filter(|best| best.bound >= goal)
    }

    /// The contents that may be part of what comes to the goal.
    fn near(&mut self, branch: &Branch, of: &Bound, goal: u128, work: &mut u64) -> Near {
        let (price, best) = (of.prices.last(), self.device.price(&of.prices));
        if of.bound == u128::MAX || price == u128::MAX {
            // Something saturated, and what contents lose is not known.
            return Near::default();
        }
        // The best content itself may lose against the price.
        match (of.bound - goal).checked_sub(price - best) {
            Some(spare) => self.device.near(&branch.room[..self.plain], spare, MOST_CONTENTS, work),
            None => Near { contents: Vec::new(), complete: true },
        }
    }

    /// A content as an item that takes a device.
    fn item(&self, branch: &Branch, content: &Content) -> Item {
        let (value, need) = self.device.sum(content, self.plain);
        let need = need.iter().copied().chain([1]).collect();
        Item { value, most: branch.room[self.plain], need }
    }
}

fn resized(need: &[u64], dims: usize) -> Vec<u64> {
    let mut need = need.to_vec();
    need.resize(dims, 0);
    need
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Value, number, thousandths of devices, and two other needs.
    type Small = (u64, u64, u64, [u64; 2]);

    fn any_small() -> impl Strategy<Value = Vec<Small>> {
        let milli = prop_oneof![
            prop::sample::select(vec![0, 1_000, 2_000, 190, 334, 470, 500, 530, 600, 810]),
            1..1_000u64,
        ];
        let one = (1..40u64, 1..5u64, milli, [0..9u64, 0..9u64]);
        prop::collection::vec(one, 1..5)
    }

    fn machine(all: &[Small], room: [u64; 2], devices: u64) -> ByDevice {
        let (mut others, mut shares) = (Vec::new(), Vec::new());
        for (value, most, milli, need) in all.iter().filter(|(.., need)| fits(&room, need, 1)) {
            let item = Item { value: *value, most: *most, need: (*need).into() };
            if milli.is_multiple_of(GPU_MILLI) {
                others.push((item, milli / GPU_MILLI));
            } else {
                shares.push(Share { milli: *milli, item });
            }
        }
        ByDevice::new(others, shares, room.into(), devices)
    }

    fn fits(room: &[u64; 2], need: &[u64; 2], times: u64) -> bool {
        room.iter().zip(need).all(|(room, need)| need * times <= *room)
    }

    /// The most that fits, by trying every number of every kind and every device for every pod.
    fn most(all: &[Small], room: [u64; 2], devices: &[u64]) -> u64 {
        let Some((first, rest)) = all.split_first() else { return 0 };
        let (value, number, milli, need) = *first;
        let without = most(rest, room, devices);
        if number == 0 || !fits(&room, &need, 1) {
            return without;
        }
        let fewer = [&[(value, number - 1, milli, need)], rest].concat();
        let left = [room[0] - need[0], room[1] - need[1]];
        let mut placed = Vec::new();
        if milli < GPU_MILLI {
            for at in 0..devices.len() {
                // Devices with the same room are tried once.
                if devices[at] >= milli && !devices[..at].contains(&devices[at]) {
                    let mut devices = devices.to_vec();
                    devices[at] -= milli;
                    placed.push(devices);
                }
            }
        } else {
            let mut free = (0..devices.len()).filter(|at| devices[*at] == GPU_MILLI);
            let taken: Vec<usize> = free.by_ref().take((milli / GPU_MILLI) as usize).collect();
            if taken.len() as u64 == milli / GPU_MILLI {
                let after = |at: usize| if taken.contains(&at) { 0 } else { devices[at] };
                placed.push((0..devices.len()).map(after).collect());
            }
        }
        if milli == 0 {
            placed = vec![devices.to_vec()];
        }
        let with = placed.iter().map(|devices| value + most(&fewer, left, devices));
        with.max().unwrap_or(0).max(without)
    }

    proptest! {
        #[test]
        fn what_is_on_devices_is_told_exactly(
            all in any_small(),
            room in [0..30u64, 0..30u64],
            devices in 1..4usize,
        ) {
            let worth = most(&all, room, &vec![GPU_MILLI; devices]);
            let machine = machine(&all, room, devices as u64);
            let prove = |threshold| {
                let mut work = u64::MAX;
                machine.prove(threshold, &mut work)
            };
            prop_assert_eq!(prove(worth), Proof::Holds);
            if worth > 0 {
                prop_assert_eq!(prove(worth - 1), Proof::Refuted(worth));
            }
        }

        #[test]
        fn a_proof_is_never_wrong_however_little_work_it_may_take(
            all in any_small(),
            room in [0..30u64, 0..30u64],
            devices in 1..4usize,
            off in -3..4i64,
            mut work in 0..200u64,
        ) {
            let worth = most(&all, room, &vec![GPU_MILLI; devices]);
            let threshold = worth.saturating_add_signed(off);
            match machine(&all, room, devices as u64).prove(threshold, &mut work) {
                Proof::Holds => prop_assert!(worth <= threshold),
                Proof::Refuted(found) => prop_assert!(threshold < found && found <= worth),
                Proof::Open => {}
            }
        }
    }
}
