//! Where there is room in the order of a round.

use std::ops::Range;

use crate::core::room::{Demand, Room};
use crate::core::tree::RoomTree;

/// Sites in an order, of which the last that has room is found.
#[derive(Debug)]
pub(super) struct Index {
    sites: Vec<usize>,
    /// The rooms of the same sites, the last one first.
    tree: RoomTree,
}

impl Index {
    /// Over these sites; `rooms` are by site.
    pub(super) fn new(sites: Vec<usize>, dims: usize, rooms: &[Room]) -> Self {
        let tree = RoomTree::new(dims, sites.iter().rev().map(|site| &rooms[*site]));
        Self { sites, tree }
    }

    pub(super) fn len(&self) -> usize {
        self.sites.len()
    }

    pub(super) fn site(&self, at: usize) -> usize {
        self.sites[at]
    }

    /// Sets what the site at a place of the order has free, `None` for nothing.
    pub(super) fn set(&mut self, at: usize, room: Option<&Room>) {
        let leaf = self.len() - 1 - at;
        match room {
            Some(room) => self.tree.set(leaf, room),
            None => self.tree.clear(leaf),
        }
    }

    /// The last place of the order in a range whose site has room for a pod.
    pub(super) fn last_in(&self, range: Range<usize>, demand: &Demand) -> Option<usize> {
        let mirrored = |at: usize| self.len().saturating_sub(at);
        let leaf = self.tree.next(mirrored(range.end), mirrored(range.start), demand)?;
        Some(self.len() - 1 - leaf)
    }

    /// The first place of the order from which on a condition holds.
    pub(super) fn from(&self, holds: impl Fn(usize) -> bool) -> usize {
        self.sites.partition_point(|site| !holds(*site))
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
            let all: Vec<Room> = frees.iter().map(|(cpu, memory, _)| room((*cpu, *memory))).collect();
            let mut index = Index::new((0..all.len()).collect(), dims.len(), &all);
            let mut rooms: Vec<Option<Room>> = all.into_iter().map(Some).collect();
            for (at, _) in frees.iter().enumerate().filter(|(_, (.., there))| !there) {
                rooms[at] = None;
                index.set(at, None);
            }
            for (at, cpu, memory) in changes {
                let at = at % rooms.len();
                rooms[at] = Some(room((cpu, memory)));
                index.set(at, rooms[at].as_ref());
            }
            for (cpu, memory, start, end) in needs {
                let demand = Demand::new(&dims, &Pod::new("p", Resources::new(cpu, memory)));
                let fits = |at: &usize| rooms[*at].as_ref().is_some_and(|room| room.fits(&demand));
                let expected = (start..rooms.len().min(end)).rev().find(fits);
                prop_assert_eq!(index.last_in(start..end, &demand), expected);
            }
        }
    }
}
