//! Who watches what: finds the watchers that a change concerns without asking the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::object::Object;
use super::predicate::Predicate;
use super::view::Post;

/// A group's place in the log, shared with its watchers.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) id: u64,
    /// The group's posts are complete above this revision.
    pub(crate) since: u64,
    /// False where the group is concerned by everything and reads the log itself.
    pub(crate) posted: bool,
    /// The newest published revision that concerned the group; 0 for none.
    head: AtomicU64,
}

impl Mark {
    /// Every revision up to one that was settled before is at this or reached from it.
    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }
}

/// All watchers of one predicate.
#[derive(Debug)]
struct Group<W> {
    predicate: Predicate,
    mark: Arc<Mark>,
    /// The newest revision that concerned it; what is published of that is in the mark.
    head: u64,
    watchers: HashMap<u64, W>,
}

/// The predicate index. A change costs a look-up for each distinct length of a watched prefix and
/// for each index, and then what it finds. Of that, each group whose predicate has a filter costs a
/// judgement of the version and of the one it replaced, however many watchers are in it.
#[derive(Debug)]
pub(crate) struct Interests<W> {
    /// Predicates that every change of the cache matches.
    everything: Option<Bytes>,
    groups: HashMap<u64, Group<W>>,
    by_predicate: HashMap<Predicate, u64>,
    by_watcher: HashMap<u64, u64>,
    by_prefix: HashMap<Bytes, Vec<u64>>,
    /// How many groups watch a prefix of each length.
    lengths: BTreeMap<usize, usize>,
    /// For each index that is watched.
    by_value: Vec<HashMap<Bytes, Vec<u64>>>,
    next: u64,
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
            groups: HashMap::new(),
            by_predicate: HashMap::new(),
            by_watcher: HashMap::new(),
            by_prefix: HashMap::new(),
            lengths: BTreeMap::new(),
            by_value: Vec::new(),
            next: 0,
        }
    }

    /// Adds a watcher; its group's mark tells how to read the log.
    pub(crate) fn add(
        &mut self,
        id: u64,
        predicate: &Predicate,
        watcher: W,
        revision: u64,
    ) -> Arc<Mark> {
        let id_of_group = match self.by_predicate.get(predicate) {
            Some(group) => *group,
            None => self.link(predicate),
        };
        let everything = self.everything.as_ref() == Some(&predicate.prefix);
        let posted = predicate.index.is_some() || predicate.filter.is_some() || !everything;
        let group = self.groups.entry(id_of_group).or_insert_with(|| Group {
            predicate: predicate.clone(),
            mark: Arc::new(Mark {
                id: id_of_group,
                since: revision,
                posted,
                head: AtomicU64::new(0),
            }),
            head: 0,
            watchers: HashMap::new(),
        });
        self.by_watcher.insert(id, id_of_group);
        group.watchers.insert(id, watcher);
        Arc::clone(&group.mark)
    }

    /// Makes a new group findable.
    fn link(&mut self, predicate: &Predicate) -> u64 {
        self.next += 1;
        let group = self.next;
        self.by_predicate.insert(predicate.clone(), group);
        if let Some((index, value)) = &predicate.index {
            if self.by_value.len() <= *index {
                self.by_value.resize_with(index + 1, HashMap::new);
            }
            if let Some(groups) = self.by_value.get_mut(*index) {
                groups.entry(value.clone()).or_default().push(group);
            }
        } else {
            self.by_prefix.entry(predicate.prefix.clone()).or_default().push(group);
            *self.lengths.entry(predicate.prefix.len()).or_default() += 1;
        }
        group
    }

    /// Removes a watcher, and its group if it was the last one.
    pub(crate) fn remove(&mut self, id: u64) {
        let Some(group_id) = self.by_watcher.remove(&id) else { return };
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        group.watchers.remove(&id);
        if group.watchers.is_empty()
            && let Some(group) = self.groups.remove(&group_id)
        {
            self.by_predicate.remove(&group.predicate);
            self.unlink(group_id, group.predicate);
        }
    }

    fn unlink(&mut self, group: u64, predicate: Predicate) {
        if let Some((index, value)) = predicate.index {
            if let Some(by_value) = self.by_value.get_mut(index)
                && let Some(groups) = by_value.get_mut(&value)
            {
                groups.retain(|other| *other != group);
                if groups.is_empty() {
                    by_value.remove(&value);
                }
            }
            return;
        }
        let length = predicate.prefix.len();
        if let Some(groups) = self.by_prefix.get_mut(&predicate.prefix) {
            groups.retain(|other| *other != group);
            if groups.is_empty() {
                self.by_prefix.remove(&predicate.prefix);
            }
        }
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
        found: &mut Vec<u64>,
    ) {
        let key = version.key();
        for length in self.lengths.range(..=key.len()).map(|(length, _)| *length) {
            let groups = key.get(..length).and_then(|prefix| self.by_prefix.get(prefix));
            let groups = groups.into_iter().flatten();
            found.extend(groups.filter(|group| self.filters(**group, version, replaced)));
        }
        for (index, by_value) in self.by_value.iter().enumerate() {
            let new = version.index_value(index);
            let old = replaced.and_then(|replaced| replaced.index_value(index));
            for value in [new, old.filter(|old| Some(*old) != new)].into_iter().flatten() {
                let groups = by_value.get(value).into_iter().flatten();
                let groups = groups.filter(|group| self.watches_key(**group, key));
                found.extend(groups.filter(|group| self.filters(**group, version, replaced)));
            }
        }
    }

    fn watches_key(&self, group: u64, key: &[u8]) -> bool {
        self.groups.get(&group).is_some_and(|group| key.starts_with(&group.predicate.prefix))
    }

    /// Whether a group's filter, if it has one, takes either side of a change.
    fn filters(&self, group: u64, version: &Object, replaced: Option<&Object>) -> bool {
        self.groups.get(&group).is_some_and(|group| {
            let new = Some(version).filter(|version| !version.is_delete());
            group.predicate.filter.is_none()
                || [new, replaced].into_iter().flatten().any(|side| group.predicate.matches(side))
        })
    }

    /// Notes that a revision concerned a group; returns what its log entry says, if the group
    /// reads that.
    pub(crate) fn post(&mut self, group: u64, revision: u64) -> Option<Post> {
        let group = self.groups.get_mut(&group)?;
        let before = std::mem::replace(&mut group.head, revision);
        group.mark.posted.then_some(Post { group: group.mark.id, before })
    }

    /// Forgets what concerned the groups: the log begins anew.
    pub(crate) fn reset(&mut self) {
        for group in self.groups.values_mut() {
            group.head = 0;
            group.mark.head.store(0, Ordering::Release);
        }
    }

    /// What concerned the group is published, and can be read.
    pub(crate) fn settle(&self, group: u64) {
        if let Some(group) = self.groups.get(&group) {
            group.mark.head.store(group.head, Ordering::Release);
        }
    }

    pub(crate) fn watchers(&self, group: u64) -> impl Iterator<Item = &W> {
        self.groups.get(&group).into_iter().flat_map(|group| group.watchers.values())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &W> {
        self.groups.values().flat_map(|group| group.watchers.values())
    }
}
