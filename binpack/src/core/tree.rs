//! A tree over sites that finds the next one with room.
//!
//! Each inner node holds the most that any site below has of each resource. A branch whose most is
//! too little for a pod has no site for it; so the next site that fits is found without a look at
//! those that are full.

use super::room::{Demand, Gpu, Room};
use crate::model::GPU_MILLI;

/// Maxima of free resources over a growing list of sites.
#[derive(Debug, Clone, Default)]
pub(super) struct RoomTree {
    /// Resources, and two for GPUs: the most that is free of one device, and whole devices free.
    width: usize,
    /// A power of two.
    leaves: usize,
    sites: usize,
    /// As in a heap: the root is at 1, the children of `n` are at `2n` and `2n + 1`.
    most: Vec<u64>,
}

impl RoomTree {
    pub(super) fn new<'r>(dims: usize, rooms: impl ExactSizeIterator<Item = &'r Room>) -> Self {
        let mut tree = Self { width: dims + 2, leaves: 1, sites: 0, most: vec![0; 2 * (dims + 2)] };
        let sites = rooms.len();
        tree.grow(sites);
        for (site, room) in rooms.enumerate() {
            tree.write_leaf(site, room);
        }
        tree.sites = sites;
        (1..tree.leaves).rev().for_each(|node| tree.raise(node));
        tree
    }

    fn grow(&mut self, sites: usize) {
        let leaves = sites.max(1).next_power_of_two();
        if leaves <= self.leaves {
            return;
        }
        let mut most = vec![0; 2 * leaves * self.width];
        let old = self.leaves * self.width..(self.leaves + self.sites) * self.width;
        let start = leaves * self.width;
        most[start..start + old.len()].copy_from_slice(&self.most[old]);
        self.most = most;
        self.leaves = leaves;
        (1..leaves).rev().for_each(|node| self.raise(node));
    }

    /// Says what a site has free, which may be the next new one.
    pub(super) fn set(&mut self, site: usize, room: &Room) {
        self.grow(site + 1);
        self.sites = self.sites.max(site + 1);
        self.write_leaf(site, room);
        let mut node = (self.leaves + site) >> 1;
        while node > 0 {
            self.raise(node);
            node /= 2;
        }
    }

    /// Says that a site is no more.
    pub(super) fn clear(&mut self, site: usize) {
        self.set(site, &Room { free: Box::default(), gpus: Box::default() });
    }

    fn write_leaf(&mut self, site: usize, room: &Room) {
        let at = (self.leaves + site) * self.width;
        let cells = &mut self.most[at..at + self.width];
        cells.fill(0);
        cells.iter_mut().zip(&room.free).for_each(|(cell, free)| *cell = *free);
        cells[self.width - 2] = room.gpus.iter().copied().max().unwrap_or(0);
        cells[self.width - 1] = room.gpus.iter().filter(|free| **free == GPU_MILLI).count() as u64;
    }

    fn raise(&mut self, node: usize) {
        let (own, below) = self.most.split_at_mut(2 * node * self.width);
        let own = &mut own[node * self.width..(node + 1) * self.width];
        let (left, right) = below[..2 * self.width].split_at(self.width);
        for (own, (left, right)) in own.iter_mut().zip(left.iter().zip(right)) {
            *own = *left.max(right);
        }
    }

    /// The first site from `from` on, and before `to`, that has room for a pod.
    pub(super) fn next(&self, from: usize, to: usize, demand: &Demand) -> Option<usize> {
        let to = to.min(self.sites);
        if from >= to {
            return None;
        }
        let mut node = self.leaves + from;
        loop {
            if self.fits(node, demand) {
                if node >= self.leaves {
                    let site = node - self.leaves;
                    return (site < to).then_some(site);
                }
                node *= 2;
                continue;
            }
            // To the next subtree on the right; the root's right edge is a power of two.
            node += 1;
            node >>= node.trailing_zeros();
            if node == 1 {
                return None;
            }
        }
    }

    fn fits(&self, node: usize, demand: &Demand) -> bool {
        let cells = &self.most[node * self.width..(node + 1) * self.width];
        let gpus = match demand.gpu {
            Gpu::None => true,
            Gpu::Share(milli) => cells[self.width - 2] >= milli,
            Gpu::Whole(devices) => cells[self.width - 1] >= devices,
        };
        gpus && cells.iter().zip(&demand.amounts).all(|(most, need)| need <= most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room((cpu, pods, gpus): (u64, u64, Vec<u64>)) -> Room {
        Room { free: [cpu, 0, pods, 0].into(), gpus: gpus.into() }
    }

    proptest! {
        #[test]
        fn the_next_site_is_the_first_that_fits(
            rooms in prop::collection::vec((0..9u64, 0..3u64, prop::collection::vec(0..=1_000u64, 0..3)), 0..40),
            changes in prop::collection::vec((0..45usize, (0..9u64, 0..3u64, Just(vec![1_000]))), 0..20),
            cpu in 0..9u64, gpu in prop_oneof![Just(Gpu::None), (1..1_000u64).prop_map(Gpu::Share), (1..3u64).prop_map(Gpu::Whole)],
            from in 0..50usize, to in 0..50usize,
        ) {
            let mut rooms: Vec<Room> = rooms.into_iter().map(room).collect();
            let mut tree = RoomTree::new(4, rooms.iter());
            for (site, change) in changes {
                let site = site.min(rooms.len());
                let room = room(change);
                tree.set(site, &room);
                if site == rooms.len() { rooms.push(room) } else { rooms[site] = room }
            }
            let demand = Demand { amounts: [cpu, 0, 1, 0].into(), gpu };
            let expected = (from..to.min(rooms.len())).find(|site| rooms[*site].fits(&demand));
            prop_assert_eq!(tree.next(from, to, &demand), expected);
        }
    }
}
