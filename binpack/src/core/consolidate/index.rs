//! Where there is room: trees of maxima over the free amounts of sites.

use std::ops::Range;

use crate::core::room::{Demand, Room};

/// Sites in an order, and over them a tree whose inner nodes hold the most that any site below has
/// free of each resource. The last site in the order that has room is found in the time that it
/// takes to go down the tree, as long as no two resources contradict each other below a node.
#[derive(Debug)]
pub(super) struct Index {
    sites: Vec<usize>,
    /// Leaves; a power of two.
    size: usize,
    dims: usize,
    /// By tree node, the root being 1: the maxima.
    most: Vec<u64>,
}

/// A demand in the form in which the index compares it: GPUs are one more amount.
pub(super) fn amounts_of(demand: &Demand) -> Vec<u64> {
    demand.amounts.iter().copied().chain([demand.gpu_milli()]).collect()
}

impl Index {
    /// Over these sites, of which none has room yet.
    pub(super) fn new(sites: Vec<usize>, dims: usize) -> Self {
        let size = sites.len().next_power_of_two();
        Self { sites, size, dims: dims + 1, most: vec![0; 2 * size * (dims + 1)] }
    }

    pub(super) fn len(&self) -> usize {
        self.sites.len()
    }

    pub(super) fn site(&self, at: usize) -> usize {
        self.sites[at]
    }

    /// Sets what the site at a place of the order has free, `None` for nothing, without what is
    /// above it in the tree: [`Self::raise`] has to follow.
    pub(super) fn put(&mut self, at: usize, room: Option<&Room>) {
        let leaf = (self.size + at) * self.dims;
        let leaf = &mut self.most[leaf..leaf + self.dims];
        match room {
            Some(room) => {
                let amounts = room.free.iter().copied().chain([room.gpu_free()]);
                leaf.iter_mut().zip(amounts).for_each(|(to, amount)| *to = amount);
            }
            None => leaf.fill(0),
        }
    }

    /// The maxima of the whole tree.
    pub(super) fn raise(&mut self) {
        (1..self.size).rev().for_each(|node| {
            self.raise_one(node);
        });
    }

    /// Sets what one site has free.
    pub(super) fn set(&mut self, at: usize, room: Option<&Room>) {
        self.put(at, room);
        let mut node = (self.size + at) >> 1;
        while node > 0 && self.raise_one(node) {
            node /= 2;
        }
    }

    /// Whether anything changed.
    fn raise_one(&mut self, node: usize) -> bool {
        let (upper, lower) = self.most.split_at_mut(2 * node * self.dims);
        let (left, right) = lower[..2 * self.dims].split_at(self.dims);
        let own = &mut upper[node * self.dims..(node + 1) * self.dims];
        let mut changed = false;
        for ((own, left), right) in own.iter_mut().zip(left).zip(right) {
            let most = *left.max(right);
            changed |= *own != most;
            *own = most;
        }
        changed
    }

    /// The last place of the order in a range whose site has so much of everything.
    pub(super) fn last_in(&self, range: &Range<usize>, need: &[u64]) -> Option<usize> {
        self.search(1, 0..self.size, range, need)
    }

    /// The first place of the order from which on a condition holds.
    pub(super) fn from(&self, holds: impl Fn(usize) -> bool) -> usize {
        self.sites.partition_point(|site| !holds(*site))
    }

    fn search(
        &self,
        node: usize,
        below: Range<usize>,
        range: &Range<usize>,
        need: &[u64],
    ) -> Option<usize> {
        let most = &self.most[node * self.dims..(node + 1) * self.dims];
        let outside = below.start >= range.end || below.end <= range.start;
        if outside || !need.iter().zip(most).all(|(need, most)| need <= most) {
            return None;
        }
        if node >= self.size {
            return Some(below.start);
        }
        let middle = usize::midpoint(below.start, below.end);
        self.search(2 * node + 1, middle..below.end, range, need)
            .or_else(|| self.search(2 * node, below.start..middle, range, need))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::room::Dims;
    use crate::model::{Input, Pod, Resources};

    proptest! {
        #[test]
        fn what_is_found_is_the_last_that_has_room(
            frees in prop::collection::vec((0..9u64, 0..9u64, any::<bool>()), 1..40),
            changes in prop::collection::vec((0..40usize, 0..9u64, 0..9u64), 0..20),
            needs in prop::collection::vec((0..9u64, 0..9u64, 0..9usize, 0..41usize), 1..10),
        ) {
            let dims = Dims::of(&Input::default());
            let room = |(cpu, memory): (u64, u64)| {
                let free = Resources::new(cpu, memory).with_pods(1);
                Room::new(&dims, &free, &Resources::default(), &[])
            };
            let mut index = Index::new((0..frees.len()).collect(), dims.len());
            let mut rooms = Vec::new();
            for (at, (cpu, memory, there)) in frees.iter().enumerate() {
                rooms.push(there.then(|| room((*cpu, *memory))));
                index.put(at, rooms[at].as_ref());
            }
            index.raise();
            for (at, cpu, memory) in changes {
                let at = at % rooms.len();
                rooms[at] = Some(room((cpu, memory)));
                index.set(at, rooms[at].as_ref());
            }
            for (cpu, memory, start, end) in needs {
                let demand = Demand::new(&dims, &Pod::new("p", Resources::new(cpu, memory)));
                let fits = |at: &usize| rooms[*at].as_ref().is_some_and(|room| room.fits(&demand));
                let expected = (start..rooms.len().min(end)).rev().find(fits);
                prop_assert_eq!(index.last_in(&(start..end), &amounts_of(&demand)), expected);
            }
        }
    }
}
