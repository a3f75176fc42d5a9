//! Who of a pump watches the same, and where each of them is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use slab::Slab;

use super::super::cursor::{Backlog, Cursor, Slot};
use super::super::sink::Member;
use crate::core::predicate::Predicate;

/// All of a pump who watch the same.
pub(super) struct Group {
    pub(super) predicate: Arc<Predicate>,
    /// The driver's name for it.
    pub(super) id: u64,
    pub(super) slot: Arc<Slot>,
    /// Where those are who are level. It means nothing while there are none.
    pub(super) cursor: Cursor,
    pub(super) bookmarked: u64,
    /// Those who have everything up to the cursor.
    pub(super) level: Vec<Member>,
    /// How many are behind, or in their initial events.
    pub(super) behind: u32,
}

/// One who is not level with its group.
pub(super) struct Behind {
    pub(super) member: Member,
    pub(super) group: u32,
    pub(super) cursor: Cursor,
    pub(super) backlog: Option<Box<Backlog>>,
    /// Where it has missed something from, of which it was told what is before the cursor.
    pub(super) missed: Option<u64>,
    /// Whether its sink was full, and nobody has said since that it is not.
    pub(super) parked: bool,
}

/// Where somebody is.
enum Place {
    Level { group: u32, at: u32 },
    Behind(Box<Behind>),
}

/// All groups of a pump, and all who are in them.
#[derive(Default)]
pub(super) struct Groups {
    all: Slab<Group>,
    by_predicate: HashMap<Arc<Predicate>, u32>,
    places: HashMap<u64, Place>,
    parked: usize,
}

impl Groups {
    pub(super) fn find(&self, predicate: &Predicate) -> Option<u32> {
        self.by_predicate.get(predicate).copied()
    }

    /// The key that the next group will have.
    pub(super) fn next_key(&self) -> u32 {
        // There is no room in memory for so many.
        u32::try_from(self.all.vacant_key()).unwrap_or(u32::MAX)
    }

    pub(super) fn insert(&mut self, group: Group) -> u32 {
        let predicate = Arc::clone(&group.predicate);
        let key = self.next_key();
        self.all.insert(group);
        self.by_predicate.insert(predicate, key);
        key
    }

    pub(super) fn get(&mut self, group: u32) -> Option<&mut Group> {
        self.all.get_mut(group as usize)
    }

    pub(super) fn keys(&self) -> Vec<u32> {
        self.all.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect()
    }

    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// One who comes, and is behind.
    pub(super) fn join(&mut self, behind: Behind) {
        let Some(group) = self.all.get_mut(behind.group as usize) else { return };
        group.behind += 1;
        if behind.member.bookmarks {
            group.slot.bookmarks.store(true, Ordering::Relaxed);
        }
        self.places.insert(behind.member.id, Place::Behind(Box::new(behind)));
    }

    /// One who is behind, with its group.
    pub(super) fn behind(&mut self, id: u64) -> Option<(&mut Behind, &mut Group)> {
        let Some(Place::Behind(behind)) = self.places.get_mut(&id) else { return None };
        let group = self.all.get_mut(behind.group as usize)?;
        Some((behind, group))
    }

    /// One who is behind has the same now as its group.
    pub(super) fn level(&mut self, id: u64) {
        let Some(place) = self.places.get_mut(&id) else { return };
        let Place::Behind(behind) = place else { return };
        let key = behind.group;
        let Some(group) = self.all.get_mut(key as usize) else { return };
        let at = u32::try_from(group.level.len()).unwrap_or(u32::MAX);
        let level = Place::Level { group: key, at };
        if let Place::Behind(behind) = std::mem::replace(place, level) {
            group.behind -= 1;
            if group.level.is_empty() {
                group.level.reserve_exact(1);
            }
            group.level.push(behind.member);
        }
    }

    /// One for whom the log does not go on after `cursor`.
    pub(super) fn fall_behind(&mut self, group: u32, cursor: Cursor) -> Option<u64> {
        let member = self.take_level(group, 0)?;
        let id = member.id;
        self.join(Behind { member, group, cursor, backlog: None, missed: None, parked: false });
        Some(id)
    }

    /// One whose sink refused what came after `cursor`.
    pub(super) fn park_level(&mut self, group: u32, at: u32, cursor: Cursor) {
        let Some(member) = self.take_level(group, at) else { return };
        let behind = Behind { member, group, cursor, backlog: None, missed: None, parked: true };
        self.parked += 1;
        self.join(behind);
    }

    /// One who is behind, and whose sink refused what came next.
    pub(super) fn park(&mut self, id: u64) {
        if let Some(Place::Behind(behind)) = self.places.get_mut(&id) {
            self.parked += usize::from(!behind.parked);
            behind.parked = true;
        }
    }

    /// Whether this is one who was parked, and is not any more.
    pub(super) fn resume(&mut self, id: u64) -> bool {
        let Some(Place::Behind(behind)) = self.places.get_mut(&id) else { return false };
        let parked = std::mem::replace(&mut behind.parked, false);
        self.parked -= usize::from(parked);
        parked
    }

    /// Takes out one who is level; the last of the group takes its place.
    fn take_level(&mut self, key: u32, at: u32) -> Option<Member> {
        let group = self.all.get_mut(key as usize)?;
        if at as usize >= group.level.len() {
            return None;
        }
        let member = group.level.swap_remove(at as usize);
        if group.level.is_empty() {
            group.level = Vec::new();
        }
        if let Some(moved) = group.level.get(at as usize) {
            self.places.insert(moved.id, Place::Level { group: key, at });
        }
        Some(member)
    }

    /// Takes out one at a place of a group.
    pub(super) fn remove_level(&mut self, group: u32, at: u32) -> Option<Member> {
        let member = self.take_level(group, at)?;
        self.places.remove(&member.id);
        Some(member)
    }

    /// Takes out one, wherever it is, and says in which group it was.
    pub(super) fn remove(&mut self, id: u64) -> Option<(Member, u32)> {
        match self.places.remove(&id)? {
            Place::Level { group, at } => Some((self.take_level(group, at)?, group)),
            Place::Behind(behind) => {
                let Behind { member, group, parked, .. } = *behind;
                self.parked -= usize::from(parked);
                if let Some(group) = self.all.get_mut(group as usize) {
                    group.behind -= 1;
                }
                Some((member, group))
            }
        }
    }

    /// Takes out a group in which nobody is left.
    pub(super) fn remove_empty(&mut self, key: u32) -> Option<Group> {
        self.all.get(key as usize).filter(|group| group.level.is_empty() && group.behind == 0)?;
        let group = self.all.try_remove(key as usize)?;
        self.by_predicate.remove(&group.predicate);
        Some(group)
    }

    /// Everybody.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Member> {
        self.by_predicate.clear();
        self.parked = 0;
        let behind = self.places.drain().filter_map(|(_, place)| match place {
            Place::Behind(behind) => Some(behind.member),
            Place::Level { .. } => None,
        });
        self.all.drain().flat_map(|group| group.level).chain(behind)
    }
}
