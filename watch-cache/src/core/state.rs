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

/// What a kept root pins for each change since the one before, in each tree: the nodes on one path,
/// copied. An estimate; the versions of the objects are pinned by the log, and counted there.
const PATH_BYTES: usize = 2048;
/// What one posting takes, with its part of a node.
const POSTING_BYTES: usize = 64;
/// More gaps than that are not told apart.
const GAPS: usize = 256;

/// What to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) log_revisions: usize,
    pub(crate) log_bytes: usize,
    pub(crate) snapshot_revisions: usize,
    pub(crate) snapshot_bytes: usize,
    pub(crate) snapshot_changes: usize,
}

/// A revision in the log, with what it pins and the groups that have postings of it.
#[derive(Debug)]
struct Logged {
    revision: u64,
    bytes: usize,
    groups: Vec<u64>,
}

/// A kept root, with what it pins.
#[derive(Debug)]
struct Kept {
    revision: u64,
    bytes: usize,
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
    log: VecDeque<Logged>,
    log_bytes: usize,
    roots: VecDeque<Kept>,
    roots_bytes: usize,
    /// Changes since the newest kept root.
    unkept: usize,
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
            unkept: 0,
        }
    }

    /// What was last sealed, with the revision of what came since.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The state as it is to be published. What is applied next copies the paths that it changes;
    /// what was applied since the last time shared its copies.
    pub(crate) fn seal(&mut self) -> View {
        if self.view.root.revision != self.root.revision {
            self.view.root = Arc::new(self.root.clone());
        }
        self.view.clone()
    }

    /// What the log and the kept roots pin.
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
        // A big revision lies between two roots, so that it is never the way to another.
        if self.unkept + revision.changes.len() > self.retention.snapshot_changes {
            self.keep_root();
        }
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
        self.keep_root();
        let changes = self.merge(listing);
        let consistent = revision > before || (revision == before && changes.is_empty());
        if !(self.view.ready && trusted && consistent) {
            return self.restart(revision);
        }
        if revision > before + 1 {
            let gap = Gap { after: before, until: revision };
            self.add_gap(gap);
        }
        self.commit(revision, changes);
    }

    /// Where there are too many gaps, the oldest two become one: what was known between is not
    /// told any more, which is no lie.
    fn add_gap(&mut self, gap: Gap) {
        let mut gaps: Vec<Gap> = self.view.gaps.iter().copied().chain([gap]).collect();
        if let [first, second, ..] = gaps[..]
            && gaps.len() > GAPS
        {
            gaps.splice(..2, [Gap { after: first.after, until: second.until }]);
        }
        self.view.gaps = gaps.into();
    }

    fn restart(&mut self, revision: u64) {
        self.root.revision = revision;
        self.view = View {
            ready: true,
            epoch: self.view.epoch + u64::from(self.view.ready),
            revision,
            root: Arc::new(self.root.clone()),
            oldest: revision,
            log_floor: revision,
            ..View::new(self.indexes.len())
        };
        self.log.clear();
        self.log_bytes = 0;
        self.roots.clear();
        self.roots_bytes = 0;
        self.unkept = 0;
        self.view.roots.insert(revision, Arc::clone(&self.view.root));
        self.roots.push_back(Kept { revision, bytes: 0 });
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
        let postings = groups.len() * POSTING_BYTES;
        let bytes = changes.iter().map(version_bytes).sum::<usize>() + postings;
        self.unkept += changes.len();
        let entry = Arc::new(Entry { revision, changes });
        for group in &groups {
            self.view.postings.insert((*group, revision), Arc::clone(&entry));
        }
        self.view.log.insert(revision, entry);
        self.log.push_back(Logged { revision, bytes, groups });
        self.log_bytes += bytes;
        self.root.revision = revision;
        if self.unkept >= self.retention.snapshot_changes {
            self.keep_root();
        }
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

    /// Keeps the current root, if something changed since the last was kept.
    fn keep_root(&mut self) {
        if self.unkept == 0 {
            return;
        }
        let revision = self.root.revision;
        self.view.root = Arc::new(self.root.clone());
        self.view.roots.insert(revision, Arc::clone(&self.view.root));
        let bytes = self.unkept * PATH_BYTES * (1 + self.indexes.len());
        self.roots.push_back(Kept { revision, bytes });
        self.roots_bytes += bytes;
        self.unkept = 0;
    }

    fn trim_log(&mut self) {
        let Retention { log_revisions, log_bytes, .. } = self.retention;
        while self.log.len() > log_revisions || self.log_bytes > log_bytes {
            let Some(logged) = self.log.pop_front() else {
                return;
            };
            self.log_bytes -= logged.bytes;
            self.view.log.remove(&logged.revision);
            self.view.log_floor = logged.revision;
            for group in logged.groups {
                self.view.postings.remove(&(group, logged.revision));
                // Before the view without the posting is published: who misses it knows why.
                if let Some(mark) = self.interests.mark(group) {
                    mark.trim(logged.revision);
                }
            }
        }
    }

    /// Raises the oldest revision that can be listed exactly as far as the bounds ask for, and
    /// drops the roots that no such revision is made from. The current one can always be listed.
    fn trim_roots(&mut self) {
        let Retention { snapshot_revisions, snapshot_bytes, .. } = self.retention;
        // A state is made with what the log has after it.
        let mut oldest = self.view.oldest.max(self.view.log_floor);
        let beyond = self.log.len().checked_sub(snapshot_revisions);
        if let Some(logged) = beyond.and_then(|beyond| self.log.get(beyond)) {
            oldest = oldest.max(logged.revision);
        }
        while let Some(first) = self.roots.front() {
            if self.roots_bytes > snapshot_bytes {
                oldest = oldest.max(first.revision + 1).min(self.view.revision);
            } else if first.revision >= oldest {
                break;
            }
            self.view.roots.remove(&first.revision);
            self.roots_bytes -= first.bytes;
            self.roots.pop_front();
        }
        self.view.oldest = oldest;
        let floor = self.view.log_floor;
        if self.view.gaps.first().is_some_and(|gap| gap.until <= floor) {
            self.view.gaps =
                self.view.gaps.iter().filter(|gap| gap.until > floor).copied().collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn retention() -> Retention {
        let most = 1 << 30;
        Retention {
            log_revisions: most,
            log_bytes: most,
            snapshot_revisions: most,
            snapshot_bytes: most,
            snapshot_changes: 8,
        }
    }

    fn state(retention: Retention) -> State<()> {
        let by_value = Index::new("value", |object: &Object| Some(object.value.clone()));
        let mut state = State::new(&[Bytes::new()], Arc::new([by_value]), retention);
        state.relist(1, vec![], true);
        state
    }

    fn put(key: u64, revision: u64) -> Arc<Object> {
        let value = Bytes::from(format!("{}", revision % 3));
        let key = Bytes::from(format!("{key:04}"));
        Arc::new(Object { key, value, create_revision: 1, mod_revision: revision })
    }

    /// A revision of `size` changes, some of which delete.
    fn revision(revision: u64, size: u64) -> Revision {
        let change = |key| match (key * 7 + revision) % 5 {
            0 => Change::Delete(format!("{key:04}").into()),
            _ => Change::Put(put(key, revision)),
        };
        let first = revision * 3 % 11;
        Revision { revision, changes: (first..first + size).map(change).collect() }
    }

    fn content(root: &Root) -> (Vec<Arc<Object>>, Vec<Vec<Arc<Object>>>) {
        let select = |value: &'static str| Predicate {
            prefix: Bytes::new(),
            index: Some((0, Bytes::from_static(value.as_bytes()))),
        };
        let listed = |value| root.select(&select(value), None).iter().cloned().collect();
        let all = root.objects().map(|indexed| Arc::clone(&indexed.object)).collect();
        (all, ["0", "1", "2"].map(listed).to_vec())
    }

    /// Whatever the sizes of revisions and the moments of publishing, each state is rebuilt as it
    /// was, from a root that is near.
    #[test]
    fn every_state_is_rebuilt_from_near() {
        let mut state = state(retention());
        let mut expected = vec![(1, content(&state.root))];
        for number in 2..200 {
            let size = if number % 17 == 0 { 40 } else { number % 4 };
            if number == 100 {
                let listing = (0..50).map(|key| put(key, number)).collect();
                state.relist(number, listing, true);
            } else {
                state.apply(revision(number, size));
            }
            expected.push((number, content(&state.root)));
            if number % 5 == 0 {
                state.seal();
            }
        }
        let view = state.seal();
        assert_eq!(view.oldest, 1);
        let mut rebuilt = 0;
        for (number, expected) in expected {
            let made_by = view.state_at(number).unwrap();
            assert_eq!(content(&view.rebuild(made_by)), expected, "at {number}");
            let nearest = view.nearest(made_by).revision;
            let between = view.log.range(made_by + 1..=nearest);
            let distance: usize = between.map(|(_, entry)| entry.changes.len()).sum();
            assert!(distance < 8, "{number} is {distance} changes from {nearest}");
            rebuilt += usize::from(distance > 0);
        }
        assert!(rebuilt > 50, "{rebuilt}");
    }

    #[test]
    fn what_is_kept_agrees_with_what_can_be_listed() {
        let most = retention();
        for retention in [
            Retention { snapshot_revisions: 10, ..most },
            Retention { snapshot_revisions: 1, ..most },
            Retention { log_revisions: 20, ..most },
            Retention { log_bytes: 3_000, ..most },
            Retention { snapshot_bytes: 200_000, ..most },
            Retention { snapshot_bytes: 1, ..most },
        ] {
            let mut state = state(retention);
            for number in 2..300 {
                state.apply(revision(number, number % 4));
                let view = state.seal();
                assert!(view.oldest >= view.log_floor && view.oldest <= view.revision);
                assert!(view.snapshots() <= retention.snapshot_revisions);
                for at in [view.oldest, view.revision] {
                    let made_by = view.state_at(at).unwrap();
                    assert_eq!(view.rebuild(made_by).revision, made_by);
                }
                assert!(view.state_at(view.oldest - 1).is_err());
                let (log, roots) = state.pinned_bytes();
                assert!(log <= retention.log_bytes && roots <= retention.snapshot_bytes);
                assert_eq!(view.roots.len(), state.roots.len());
                assert!(view.roots.keys().all(|root| *root >= view.oldest), "a useless root");
            }
            let count = retention.snapshot_revisions.min(retention.log_revisions + 1);
            assert!(count > 100 || state.view().snapshots() == count);
        }
    }

    #[test]
    fn postings_go_with_the_last_watcher_of_their_group() {
        let mut state = state(retention());
        let predicate = Predicate { prefix: Bytes::from("00"), index: None };
        state.add_watcher(1, &predicate, ());
        state.add_watcher(2, &predicate, ());
        let other = Predicate { prefix: Bytes::from("000"), index: None };
        state.add_watcher(3, &other, ());
        state.apply(revision(2, 3));
        state.apply(revision(3, 3));
        assert_eq!(state.view().postings.len(), 4);
        state.remove_watcher(1);
        assert_eq!(state.view().postings.len(), 4);
        state.remove_watcher(2);
        assert_eq!(state.view().postings.len(), 2);
        state.remove_watcher(3);
        assert_eq!(state.view().postings.len(), 0);
        state.apply(revision(4, 3));
        assert_eq!((state.view().postings.len(), state.view().log.len()), (0, 3));
        assert_eq!(state.interests.all().count(), 0);
    }

    #[test]
    fn gaps_are_bounded_and_never_known() {
        let mut state = state(retention());
        for number in 1..2000 {
            state.relist(number * 10, vec![], true);
        }
        let view = state.view();
        assert_eq!(view.gaps.len(), GAPS);
        for number in 2..2000 {
            assert!(view.check_resume(number * 10 - 5).is_err());
        }
        assert!(view.check_resume(19_990).is_ok() && view.check_resume(1).is_ok());
    }
}
