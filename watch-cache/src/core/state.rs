//! The one writer: applies whole revisions to a working copy of the view.

use std::collections::{BTreeSet, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{Index, Indexed};
use super::interest::{Interests, Mark};
use super::predicate::Predicate;
use super::root::Root;
use super::view::{Applied, Entry, Gap, View};
use crate::object::{Change, Object, Revision};

/// What a change pins beyond the versions of its objects, in each tree that it touches: the nodes
/// on one path, copied. An estimate.
const PATH_BYTES: usize = 2048;

/// What to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) log_revisions: usize,
    pub(crate) log_bytes: usize,
    pub(crate) snapshot_revisions: usize,
    pub(crate) snapshot_bytes: usize,
}

/// A revision in the log or among the roots, with what it pins.
#[derive(Debug)]
struct Kept {
    revision: u64,
    bytes: usize,
    groups: Vec<u64>,
}

/// The cache's state and its watchers `W`.
#[derive(Debug)]
pub(crate) struct State<W> {
    view: View,
    root: Root,
    indexes: Arc<[Index]>,
    retention: Retention,
    pub(crate) interests: Interests<W>,
    /// The groups that something was applied for since they were last taken.
    touched: BTreeSet<u64>,
    log: VecDeque<Kept>,
    log_bytes: usize,
    roots: VecDeque<Kept>,
    roots_bytes: usize,
}

impl<W> State<W> {
    pub(crate) fn new(prefixes: &[Bytes], indexes: Arc<[Index]>, retention: Retention) -> Self {
        Self {
            view: View::new(indexes.len()),
            root: Root::new(indexes.len()),
            indexes,
            retention,
            interests: Interests::new(prefixes),
            touched: BTreeSet::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            roots: VecDeque::new(),
            roots_bytes: 0,
        }
    }

    /// The state as it is to be published.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// What the log and the older roots pin.
    pub(crate) fn pinned_bytes(&self) -> (usize, usize) {
        (self.log_bytes, self.roots_bytes)
    }

    /// The groups to wake after publishing.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.touched)
    }

    pub(crate) fn add_watcher(&mut self, id: u64, predicate: &Predicate, watcher: W) -> Arc<Mark> {
        self.interests.add(id, predicate, watcher, self.view.revision)
    }

    pub(crate) fn remove_watcher(&mut self, id: u64) {
        let Some(group) = self.interests.remove(id) else {
            return;
        };
        let range = self.view.postings.range((group, 0)..=(group, u64::MAX));
        let postings: Vec<(u64, u64)> = range.map(|(posting, _)| *posting).collect();
        for posting in postings {
            self.view.postings.remove(&posting);
        }
    }

    /// Applies one revision, which must be above the current one.
    pub(crate) fn apply(&mut self, revision: Revision) {
        let changes = revision.changes.into_iter().filter_map(|change| match change {
            Change::Put(object) => Some(self.put(object)),
            Change::Delete(key) => self.delete(&key),
        });
        let changes: Vec<Applied> = collect_by_key(changes);
        self.commit(revision.revision, changes);
    }

    /// Nothing under the cache's prefixes changed up to `revision`.
    pub(crate) fn progress(&mut self, revision: u64) {
        self.view.revision = self.view.revision.max(revision);
    }

    /// Goes to a listing. What is different becomes one revision of the log, so that watchers lose
    /// nothing but the steps between.
    ///
    /// That needs what was said before to be true. If it is known not to be, as `trusted` or a
    /// listing says that differs at the same revision, then history, log and the watchers'
    /// positions are worth nothing and go.
    pub(crate) fn relist(&mut self, revision: u64, listing: Vec<Arc<Object>>, trusted: bool) {
        let before = self.view.revision;
        let changes = self.merge(listing);
        let consistent = revision > before || (revision == before && changes.is_empty());
        if !(self.view.ready && trusted && consistent) {
            return self.restart(revision);
        }
        if revision > before + 1 {
            let gap = Gap { after: before, until: revision };
            self.view.gaps = self.view.gaps.iter().copied().chain([gap]).collect();
        }
        self.commit(revision, changes);
    }

    fn restart(&mut self, revision: u64) {
        self.view = View {
            ready: true,
            epoch: self.view.epoch + u64::from(self.view.ready),
            revision,
            log_floor: revision,
            ..View::new(self.indexes.len())
        };
        self.log.clear();
        self.log_bytes = 0;
        self.roots.clear();
        self.roots_bytes = 0;
        self.keep_root(revision, 0);
    }

    /// Turns the objects into those of a listing, in one ordered walk over both.
    fn merge(&mut self, listing: Vec<Arc<Object>>) -> Vec<Applied> {
        let before = self.root.clone();
        let mut old = before.objects().map(|old| &old.object).peekable();
        let mut changes = Vec::new();
        for object in listing {
            while let Some(gone) = next_below(&mut old, &object.key) {
                changes.extend(self.delete(&gone.key));
            }
            let same = old.next_if(|old| old.key == object.key);
            if same.is_none_or(|old| **old != *object) {
                changes.push(self.put(object));
            }
        }
        for gone in old {
            changes.extend(self.delete(&gone.key));
        }
        changes
    }

    fn put(&mut self, object: Arc<Object>) -> Applied {
        let new = Indexed::new(object, &self.indexes);
        let old = self.root.insert(&new);
        Applied { old, new: Some(new) }
    }

    /// A delete of what is not there changes nothing.
    fn delete(&mut self, key: &Bytes) -> Option<Applied> {
        let old = self.root.remove(key)?;
        Some(Applied { old: Some(old), new: None })
    }

    fn commit(&mut self, revision: u64, changes: Vec<Applied>) {
        self.view.revision = revision;
        if changes.is_empty() {
            return;
        }
        let groups = self.groups_of(&changes);
        let versions: usize = changes.iter().map(version_bytes).sum();
        let paths = changes.len() * PATH_BYTES * (1 + self.indexes.len());
        let entry = Arc::new(Entry { revision, changes });
        for group in &groups {
            self.view.postings.insert((*group, revision), Arc::clone(&entry));
        }
        self.view.log.insert(revision, entry);
        self.log.push_back(Kept { revision, bytes: versions, groups });
        self.log_bytes += versions;
        self.keep_root(revision, versions + paths);
        self.trim_log();
        self.trim_roots();
    }

    /// Notes the groups that the changes concern as touched; returns those that read postings.
    fn groups_of(&mut self, changes: &[Applied]) -> Vec<u64> {
        let mut found = Vec::new();
        for change in changes {
            self.interests.concerned(change, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        self.touched.extend(&found);
        found.retain(|group| self.interests.mark(*group).is_some_and(|mark| mark.posted));
        found
    }

    fn keep_root(&mut self, revision: u64, bytes: usize) {
        self.root.revision = revision;
        self.view.root = Arc::new(self.root.clone());
        self.view.roots.insert(revision, Arc::clone(&self.view.root));
        self.roots.push_back(Kept { revision, bytes, groups: Vec::new() });
        self.roots_bytes += bytes;
    }

    fn trim_log(&mut self) {
        let Retention { log_revisions, log_bytes, .. } = self.retention;
        while self.log.len() > log_revisions || self.log_bytes > log_bytes {
            let Some(kept) = self.log.pop_front() else {
                return;
            };
            self.log_bytes -= kept.bytes;
            self.view.log.remove(&kept.revision);
            self.view.log_floor = kept.revision;
            for group in kept.groups {
                self.view.postings.remove(&(group, kept.revision));
                // Before the view without the posting is published: who misses it knows why.
                if let Some(mark) = self.interests.mark(group) {
                    mark.trim(kept.revision);
                }
            }
        }
    }

    /// The current root always stays.
    fn trim_roots(&mut self) {
        let Retention { snapshot_revisions, snapshot_bytes, .. } = self.retention;
        while self.roots.len() > 1
            && (self.roots.len() > snapshot_revisions || self.roots_bytes > snapshot_bytes)
        {
            let Some(kept) = self.roots.pop_front() else {
                return;
            };
            self.roots_bytes -= kept.bytes;
            self.view.roots.remove(&kept.revision);
        }
        let oldest = self.view.oldest().min(self.view.log_floor);
        if self.view.gaps.first().is_some_and(|gap| gap.until <= oldest) {
            self.view.gaps =
                self.view.gaps.iter().filter(|gap| gap.until > oldest).copied().collect();
        }
    }
}

fn next_below<'a>(
    old: &mut Peekable<impl Iterator<Item = &'a Arc<Object>>>,
    key: &Bytes,
) -> Option<&'a Arc<Object>> {
    old.next_if(|old| old.key < *key)
}

/// Events of one revision come in the order of their keys, whatever the source's order.
fn collect_by_key(changes: impl Iterator<Item = Applied>) -> Vec<Applied> {
    let mut changes: Vec<Applied> = changes.collect();
    changes.sort_by(|a, b| key_of(a).cmp(&key_of(b)));
    changes
}

fn key_of(change: &Applied) -> Option<&Bytes> {
    change.new.as_ref().or(change.old.as_ref()).map(|side| &side.object.key)
}

fn version_bytes(change: &Applied) -> usize {
    let old = change.old.as_ref().map_or(0, |old| old.bytes());
    let new = change.new.as_ref().map_or(0, |new| new.bytes());
    old + new
}
