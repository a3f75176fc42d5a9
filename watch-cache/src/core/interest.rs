//! Who watches what: finds the watchers that a change concerns without asking the others.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;
use slab::Slab;

use super::mark::Mark;
use super::object::Object;
use super::predicate::Predicate;
use super::view::Post;

/// All watchers of one predicate.
#[derive(Debug)]
struct Group<W> {
    predicate: Arc<Predicate>,
    mark: Arc<Mark>,
    /// The newest revision that concerned it; what is published of that is in the mark.
    head: u64,
    watchers: Vec<(u64, W)>,
}

/// The groups, and how they are found. There may be one for each watcher, so that a group is kept in
/// one place and the tables have no more than its number.
#[derive(Debug)]
struct Groups<W> {
    all: Slab<Group<W>>,
    by_predicate: HashTable<u32>,
    /// Those that read no index, by their prefix.
    by_prefix: HashTable<u32>,
    /// The others, by the index and the value.
    by_value: HashTable<u32>,
    hasher: RandomState,
}

/// The predicate index. A change costs a look-up for each distinct length of a watched prefix and
/// for each index, and then what it finds. Of that, each group whose predicate has a filter costs a
/// judgement of the version and of the one it replaced, however many watchers are in it.
#[derive(Debug)]
pub(crate) struct Interests<W> {
    /// Predicates that every change of the cache matches.
    everything: Option<Bytes>,
    groups: Groups<W>,
    /// The group of a watcher, and where in it.
    by_watcher: HashMap<u64, (u32, u32)>,
    /// How many groups watch a prefix of each length.
    lengths: BTreeMap<usize, usize>,
    /// How many groups read each index.
    by_index: Vec<usize>,
}

impl<W> Groups<W> {
    fn new() -> Self {
        Self {
            all: Slab::new(),
            by_predicate: HashTable::new(),
            by_prefix: HashTable::new(),
            by_value: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    fn get(&self, id: u32) -> Option<&Group<W>> {
        self.all.get(id as usize)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Group<W>> {
        self.all.get_mut(id as usize)
    }

    fn find(&self, predicate: &Predicate) -> Option<u32> {
        let same = |id: &u32| self.get(*id).is_some_and(|group| *group.predicate == *predicate);
        self.by_predicate.find(self.hasher.hash_one(predicate), same).copied()
    }

    /// Those that read no index and have this prefix.
    fn of_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = (u32, &Group<W>)> {
        let found = self.by_prefix.iter_hash(hash_of_prefix(&self.hasher, prefix));
        let groups = found.filter_map(|id| Some((*id, self.get(*id)?)));
        groups.filter(move |(_, group)| group.predicate.prefix == prefix)
    }

    /// Those that read this value of an index.
    fn of_value(&self, index: usize, value: &[u8]) -> impl Iterator<Item = (u32, &Group<W>)> {
        let found = self.by_value.iter_hash(hash_of_value(&self.hasher, index, value));
        let groups = found.filter_map(|id| Some((*id, self.get(*id)?)));
        groups.filter(move |(_, group)| {
            let own = group.predicate.index.as_ref();
            own.is_some_and(|(of, own)| *of == index && *own == value)
        })
    }

    fn insert(&mut self, group: Group<W>) -> u32 {
        let predicate = Arc::clone(&group.predicate);
        // There is no room in memory for so many.
        let id = u32::try_from(self.all.insert(group)).unwrap_or(u32::MAX);
        let Self { all, by_predicate, by_prefix, by_value, hasher } = self;
        let hasher = &*hasher;
        let of = |id: &u32| all.get(*id as usize).map(|group| &*group.predicate);
        let hash_of = |id: &u32| of(id).map_or(0, |predicate| hasher.hash_one(predicate));
        by_predicate.insert_unique(hasher.hash_one(&*predicate), id, hash_of);
        let table = if predicate.index.is_some() { by_value } else { by_prefix };
        let hash_of = |id: &u32| of(id).map_or(0, |predicate| hash_of_place(hasher, predicate));
        table.insert_unique(hash_of_place(hasher, &predicate), id, hash_of);
        id
    }

    fn remove(&mut self, id: u32) -> Option<Group<W>> {
        let group = self.all.try_remove(id as usize)?;
        let predicate = &*group.predicate;
        let place = hash_of_place(&self.hasher, predicate);
        let table =
            if predicate.index.is_some() { &mut self.by_value } else { &mut self.by_prefix };
        for (table, hash) in
            [(&mut self.by_predicate, self.hasher.hash_one(predicate)), (table, place)]
        {
            if let Ok(entry) = table.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
        }
        Some(group)
    }
}

fn hash_of_prefix(hasher: &RandomState, prefix: &[u8]) -> u64 {
    hasher.hash_one(prefix)
}

fn hash_of_value(hasher: &RandomState, index: usize, value: &[u8]) -> u64 {
    hasher.hash_one((index, value))
}

/// Of what the predicate is found by.
fn hash_of_place(hasher: &RandomState, predicate: &Predicate) -> u64 {
    match &predicate.index {
        Some((index, value)) => hash_of_value(hasher, *index, value),
        None => hash_of_prefix(hasher, &predicate.prefix),
    }
}

impl<W> Interests<W> {
    /// No watchers yet, of a cache that holds `prefixes`.
    pub(crate) fn new(prefixes: &[Bytes]) -> Self {
        let everything = match prefixes {
            [one] => Some(one.clone()),
            _ => None,
        };
        Self {
            everything,
            groups: Groups::new(),
            by_watcher: HashMap::new(),
            lengths: BTreeMap::new(),
            by_index: Vec::new(),
        }
    }

    /// Adds a watcher; its group's mark tells how to read the log.
    pub(crate) fn add(
        &mut self,
        id: u64,
        predicate: &Arc<Predicate>,
        watcher: W,
        revision: u64,
    ) -> Arc<Mark> {
        let found = self.groups.find(predicate);
        let group_id = found.unwrap_or_else(|| self.open(predicate, revision));
        let Some(group) = self.groups.get_mut(group_id) else {
            return Arc::new(Mark::new(group_id, revision, false));
        };
        let at = u32::try_from(group.watchers.len()).unwrap_or(u32::MAX);
        if at == 0 {
            group.watchers.reserve_exact(1);
        }
        group.watchers.push((id, watcher));
        self.by_watcher.insert(id, (group_id, at));
        Arc::clone(&group.mark)
    }

    fn open(&mut self, predicate: &Arc<Predicate>, revision: u64) -> u32 {
        let everything = self.everything.as_ref() == Some(&predicate.prefix);
        let posted = predicate.index.is_some() || predicate.filter.is_some() || !everything;
        match &predicate.index {
            Some((index, _)) => {
                if self.by_index.len() <= *index {
                    self.by_index.resize(index + 1, 0);
                }
                self.by_index.iter_mut().skip(*index).take(1).for_each(|count| *count += 1);
            }
            None => *self.lengths.entry(predicate.prefix.len()).or_default() += 1,
        }
        // The number that it gets next.
        let id = u32::try_from(self.groups.all.vacant_key()).unwrap_or(u32::MAX);
        let mark = Arc::new(Mark::new(id, revision, posted));
        let predicate = Arc::clone(predicate);
        self.groups.insert(Group { predicate, mark, head: 0, watchers: Vec::new() })
    }

    /// Removes a watcher, and its group if it was the last one.
    pub(crate) fn remove(&mut self, id: u64) {
        let Some((group_id, at)) = self.by_watcher.remove(&id) else { return };
        let Some(group) = self.groups.get_mut(group_id) else { return };
        group.watchers.swap_remove(at as usize);
        if let Some((moved, _)) = group.watchers.get(at as usize) {
            self.by_watcher.insert(*moved, (group_id, at));
        }
        if group.watchers.is_empty()
            && let Some(group) = self.groups.remove(group_id)
        {
            self.close(&group.predicate);
        }
    }

    fn close(&mut self, predicate: &Predicate) {
        if let Some((index, _)) = &predicate.index {
            self.by_index.iter_mut().skip(*index).take(1).for_each(|count| *count -= 1);
            return;
        }
        let length = predicate.prefix.len();
        let count = self.lengths.entry(length).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.lengths.remove(&length);
        }
    }

    /// Puts the groups that a version concerns into `found`, which may then name one twice.
    pub(crate) fn concerned(
        &self,
        version: &Object,
        replaced: Option<&Object>,
        found: &mut Vec<u32>,
    ) {
        let key = version.key();
        for length in self.lengths.range(..=key.len()).map(|(length, _)| *length) {
            let groups = key.get(..length).into_iter().flat_map(|of| self.groups.of_prefix(of));
            found.extend(groups.filter(|(_, group)| group.takes(version, replaced)).map(first));
        }
        let read = self.by_index.iter().enumerate().filter(|(_, groups)| **groups > 0);
        for index in read.map(|(index, _)| index) {
            let new = version.index_value(index);
            let old = replaced.and_then(|replaced| replaced.index_value(index));
            for value in [new, old.filter(|old| Some(*old) != new)].into_iter().flatten() {
                let groups = self.groups.of_value(index, value);
                let groups = groups.filter(|(_, group)| key.starts_with(&group.predicate.prefix));
                found.extend(groups.filter(|(_, group)| group.takes(version, replaced)).map(first));
            }
        }
    }

    /// Notes that a revision concerned a group; returns what its log entry says, if the group
    /// reads that.
    pub(crate) fn post(&mut self, group: u32, revision: u64) -> Option<Post> {
        let group = self.groups.get_mut(group)?;
        let before = std::mem::replace(&mut group.head, revision);
        group.mark.posted.then_some(Post { group: group.mark.id, before })
    }

    /// Forgets what concerned the groups: the log begins anew. What is published of them stays until
    /// [`settle_all`](Self::settle_all).
    pub(crate) fn reset(&mut self) {
        for (_, group) in &mut self.groups.all {
            group.head = 0;
        }
    }

    /// All began anew, and that is published.
    pub(crate) fn settle_all(&self) {
        for (_, group) in &self.groups.all {
            group.mark.set_head(group.head);
        }
    }

    /// What concerned the group is published, and can be read.
    pub(crate) fn settle(&self, group: u32) {
        if let Some(group) = self.groups.get(group) {
            group.mark.set_head(group.head);
        }
    }

    pub(crate) fn watchers(&self, group: u32) -> impl Iterator<Item = &W> {
        self.groups.get(group).into_iter().flat_map(Group::watchers)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &W> {
        self.groups.all.iter().flat_map(|(_, group)| group.watchers())
    }
}

fn first<W>((id, _): (u32, &Group<W>)) -> u32 {
    id
}

impl<W> Group<W> {
    fn watchers(&self) -> impl Iterator<Item = &W> {
        self.watchers.iter().map(|(_, watcher)| watcher)
    }

    /// Whether the filter, if there is one, takes either side of a change.
    fn takes(&self, version: &Object, replaced: Option<&Object>) -> bool {
        let new = Some(version).filter(|version| !version.is_delete());
        self.predicate.filter.is_none()
            || [new, replaced].into_iter().flatten().any(|side| self.predicate.matches(side))
    }
}
