//! The one writer: applies whole revisions to a working copy of the view.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;

use super::checkpoint::Saved;
use super::digest::Digest;
use super::footprint::{Footprint, POSTING, TRACE, WATCHER};
use super::index::Index;
use super::interest::Interests;
use super::mark::Mark;
use super::object::{Builder, Object};
use super::pins::Pins;
use super::predicate::Predicate;
use super::root::Root;
use super::view::{Entry, Gap, Post, View};
use crate::object::{Change, Revision, SourceObject};

/// More gaps than that are not told apart.
const GAPS: usize = 256;
/// So many revisions leave the log's memory together: each time its first segment is copied.
const TRIMMED_AT_ONCE: usize = 64;
/// So many postings that ended are looked at for each change that leaves the log. A change ends one
/// in each index at most, so that they are found faster than they come.
const SWEPT_PER_CHANGE: usize = 4;

/// What to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) log_revisions: usize,
    pub(crate) log_bytes: usize,
    /// How many traces of changes are left when they leave the log.
    pub(crate) traces: usize,
    /// What everything together may take in memory.
    pub(crate) memory_bytes: usize,
}

/// The cache's state and its watchers `W`.
#[derive(Debug)]
pub(crate) struct State<W> {
    view: View,
    root: Root,
    indexes: Arc<[Index]>,
    retention: Retention,
    pub(crate) interests: Interests<W>,
    /// Whether all began anew since it was published.
    restarted: bool,
    /// The groups that something was applied for since they were last taken.
    touched: Vec<u32>,
    log_bytes: usize,
    object_bytes: usize,
    /// Of the versions that are kept for pins.
    pinned_bytes: usize,
    /// How many watchers there are, in pumps too.
    pub(crate) watchers: usize,
    builder: Builder,
    pins: Arc<Pins>,
    /// Versions whose past was left linked, by the newest revision whose pin needs it.
    kept: BTreeMap<u64, Vec<Object>>,
    /// What left the log up to here is forgotten.
    forgotten: u64,
    /// Revisions that were forgotten, and are still in the log's memory.
    untrimmed: usize,
}

impl<W> State<W> {
    pub(crate) fn new(
        prefixes: &[Bytes],
        indexes: Arc<[Index]>,
        retention: Retention,
        pins: Arc<Pins>,
    ) -> Self {
        Self {
            view: View::new(indexes.len()),
            root: Root::new(indexes.len()),
            indexes,
            retention,
            interests: Interests::new(prefixes),
            restarted: false,
            touched: Vec::new(),
            log_bytes: 0,
            object_bytes: 0,
            pinned_bytes: 0,
            watchers: 0,
            builder: Builder::default(),
            pins,
            kept: BTreeMap::new(),
            forgotten: 0,
            untrimmed: 0,
        }
    }

    /// What was last sealed, with the revision of what came since.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The state as it is to be published. What is applied next copies the paths that it changes;
    /// what was applied since the last time shared its copies.
    ///
    /// What has to leave the log leaves this view, and is forgotten when it is published.
    pub(crate) fn seal(&mut self) -> View {
        self.leave();
        if self.view.root.revision != self.root.revision {
            self.view.root = Arc::new(self.root.clone());
        }
        self.view.clone()
    }

    /// What the parts take in memory.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint {
            traces: TRACE * (self.view.trail.len() + self.root.ended()),
            log: self.log_bytes,
            watchers: WATCHER * self.watchers,
            pinned: self.pinned_bytes,
            indexes: POSTING * self.root.postings(),
            objects: self.object_bytes,
        }
    }

    /// What was sealed is published: the groups that it concerns can read it. Returns them.
    pub(crate) fn settle(&mut self) -> Vec<u32> {
        self.forget();
        if std::mem::take(&mut self.restarted) {
            self.interests.settle_all();
        }
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for group in &touched {
            self.interests.settle(*group);
        }
        touched
    }

    pub(crate) fn add_watcher(
        &mut self,
        id: u64,
        predicate: &Arc<Predicate>,
        watcher: W,
    ) -> Arc<Mark> {
        self.interests.add(id, predicate, watcher, self.view.revision)
    }

    pub(crate) fn remove_watcher(&mut self, id: u64) {
        self.interests.remove(id);
    }

    /// Applies one revision, which must be above the current one.
    pub(crate) fn apply(&mut self, revision: Revision) {
        let Revision { revision, mut changes } = revision;
        // Events of one revision come in the order of their keys, whatever the source's order.
        changes.sort_by(|a, b| a.key().cmp(b.key()));
        let versions = changes.into_iter().filter_map(|change| match change {
            Change::Put(object) => {
                Some(self.root.put(&object, &self.indexes, revision, &mut self.builder))
            }
            Change::Delete(key) => self.root.delete(&key, revision),
        });
        let versions = versions.collect();
        self.commit(revision, versions);
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
    pub(crate) fn relist(&mut self, revision: u64, listing: Vec<Object>, trusted: bool) {
        let before = self.view.revision;
        let consistent = revision > before
            || (revision == before && self.root.newest().eq(listing.iter().cloned()));
        if !(self.view.ready && trusted && consistent) {
            return self.restart(revision, listing);
        }
        if revision > before + 1 {
            let gap = Gap { after: before, until: revision };
            self.add_gap(gap);
        }
        let versions = self.merge(revision, listing);
        self.commit(revision, versions);
    }

    /// Begins with what a checkpoint has.
    pub(crate) fn restore(&mut self, saved: Saved) {
        let Saved { head, objects, log } = saved;
        self.restart(head.floor, objects);
        self.view.gaps = head.gaps.into();
        for revision in log {
            self.apply(revision);
        }
        self.progress(head.revision);
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

    fn restart(&mut self, revision: u64, listing: Vec<Object>) {
        self.object_bytes = listing.iter().map(Object::bytes).sum();
        let mut digest = Digest::default();
        for object in &listing {
            digest.add(object.key(), object.mod_revision());
        }
        self.pinned_bytes = 0;
        self.root = Root::of_listing(revision, listing, self.indexes.len());
        self.view = View {
            ready: true,
            epoch: self.view.epoch + u64::from(self.view.ready),
            revision,
            root: Arc::new(self.root.clone()),
            digest,
            log_floor: revision,
            ..View::new(self.indexes.len())
        };
        self.log_bytes = 0;
        // Snapshots from before have versions of their own.
        self.kept.clear();
        self.pins.restart(revision);
        self.forgotten = revision;
        self.untrimmed = 0;
        self.view.trail.restart(revision);
        self.interests.reset();
        self.restarted = true;
    }

    /// Turns the objects into those of a listing, in one ordered walk over both.
    fn merge(&mut self, revision: u64, listing: Vec<Object>) -> Vec<Object> {
        let before = self.root.clone();
        let mut old = before.newest().peekable();
        let mut versions = Vec::new();
        for object in listing {
            while let Some(gone) = next_below(&mut old, object.key()) {
                versions.extend(self.root.delete(gone.key(), revision));
            }
            let same = old.next_if(|old| old.key() == object.key());
            if same.is_none_or(|old| old != object) {
                // Once more, with a link to what was before.
                let object = SourceObject::from(&object);
                let put = self.root.put(&object, &self.indexes, revision, &mut self.builder);
                versions.push(put);
            }
        }
        for gone in old {
            versions.extend(self.root.delete(gone.key(), revision));
        }
        versions
    }

    fn commit(&mut self, revision: u64, versions: Vec<Object>) {
        self.view.revision = revision;
        if versions.is_empty() {
            return;
        }
        let mut posts = Some(self.post(revision, &versions)).filter(|posts| !posts.is_empty());
        for version in &versions {
            let replaced = version.replaced().ok().flatten();
            self.log_bytes += pinned_bytes(version, replaced.as_ref());
            let replaced_bytes = replaced.as_ref().map_or(0, Object::bytes);
            let new_bytes = if version.is_delete() { 0 } else { version.bytes() };
            if !version.is_delete() {
                self.view.digest.add(version.key(), version.mod_revision());
            }
            self.object_bytes = (self.object_bytes + new_bytes).saturating_sub(replaced_bytes);
            if let Some(replaced) = &replaced {
                self.view.digest.remove(replaced.key(), replaced.mod_revision());
                self.view.trail.replaced(replaced);
            }
        }
        self.view.log.push(versions.into_iter().map(|version| Entry {
            revision,
            version,
            posts: posts.take().map(Arc::from),
        }));
        self.view.log_revisions += 1;
        self.root.revision = revision;
    }

    /// Finds the groups that the versions concern; returns what those need that read posts.
    fn post(&mut self, revision: u64, versions: &[Object]) -> Vec<Post> {
        let mut found = Vec::new();
        for version in versions {
            let replaced = version.replaced().unwrap_or(None);
            self.interests.concerned(version, replaced.as_ref(), &mut found);
        }
        if versions.len() > 1 || found.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        self.touched.extend(&found);
        found.into_iter().filter_map(|group| self.interests.post(group, revision)).collect()
    }

    /// Lets revisions leave the log as far as the bounds ask for.
    fn leave(&mut self) {
        let Retention { log_revisions, log_bytes, memory_bytes, .. } = self.retention;
        // Postings that ended are swept out a little later.
        let others = self.footprint().lasting() + TRACE * self.root.ended();
        let log_bytes = log_bytes.min(memory_bytes.saturating_sub(others));
        let mut leaving = self.view.log.from(self.view.log_floor + 1);
        while self.view.log_revisions > log_revisions || self.log_bytes > log_bytes {
            let Some((revision, entries)) = leaving.next() else { break };
            for Entry { version, .. } in entries {
                self.log_bytes -= pinned_bytes(version, version.replaced().ok().flatten().as_ref());
            }
            self.view.log_floor = revision;
            self.view.log_revisions -= 1;
        }
        // Whoever comes from a gap cannot be told what changed either.
        let floor = self.view.log_floor.min(self.view.trail.since);
        if self.view.gaps.first().is_some_and(|gap| gap.until <= floor) {
            self.view.gaps =
                self.view.gaps.iter().filter(|gap| gap.until > floor).copied().collect();
        }
    }

    /// Forgets what left the log, unless somebody sets a pin just now: then the next time.
    fn forget(&mut self) {
        let floor = self.view.log_floor;
        let released = self.kept.keys().next().is_some();
        if self.forgotten >= floor && !released {
            return self.forget_trail(0);
        }
        let Some(pins) = self.pins.raise(floor) else { return };
        let log = self.view.log.clone();
        let left = log.from(self.forgotten + 1).take_while(|(revision, _)| *revision <= floor);
        let mut count = 0;
        for (revision, entries) in left {
            self.view.trail.leave(revision, entries.iter().map(|entry| &entry.version));
            for entry in entries {
                self.root.forget_delete(&entry.version);
                self.unlink(&entry.version, &pins);
            }
            self.untrimmed += 1;
            count += entries.len();
        }
        drop(log);
        self.forget_trail(count);
        self.forgotten = self.forgotten.max(floor);
        if self.untrimmed >= TRIMMED_AT_ONCE || self.view.log_revisions == 0 {
            self.untrimmed = 0;
            self.view.log.trim(floor + 1);
        }
        let released: Vec<u64> =
            self.kept.keys().copied().filter(|pin| pins.binary_search(pin).is_err()).collect();
        for pin in released {
            for version in self.kept.remove(&pin).unwrap_or_default() {
                self.pinned_bytes = self.pinned_bytes.saturating_sub(version.bytes());
                self.unlink(&version, &pins);
            }
        }
    }

    /// Keeps to the limit of what is known beyond the log, after so many changes left that.
    fn forget_trail(&mut self, count: usize) {
        let footprint = self.footprint();
        let others = footprint.log + footprint.lasting();
        let room = self.retention.memory_bytes.saturating_sub(others) / TRACE;
        let most = self.retention.traces.min(room);
        // Half of it is for postings that ended, where there are so many.
        let ended = self.root.ended().min(most / 2);
        self.view.trail.keep_to(most - ended);
        self.root.sweep_ended(self.view.trail.since, SWEPT_PER_CHANGE * count);
    }

    /// Lets go of what was before a version but for what a pin needs.
    fn unlink(&mut self, version: &Object, pins: &[u64]) {
        while let Some(begins) = version.past().begins() {
            let below = pins.partition_point(|pin| *pin < version.revision());
            let last = below.checked_sub(1).and_then(|last| pins.get(last));
            if let Some(pin) = last.filter(|pin| **pin >= begins) {
                // As large as the one that is kept, about.
                self.pinned_bytes += version.bytes();
                self.kept.entry(*pin).or_default().push(version.clone());
                return;
            }
            version.past().skip();
        }
    }
}

fn next_below(old: &mut Peekable<impl Iterator<Item = Object>>, key: &[u8]) -> Option<Object> {
    old.next_if(|old| old.key() < key)
}

/// What is in memory because a version is in the log: what it replaced, or a delete itself.
fn pinned_bytes(version: &Object, replaced: Option<&Object>) -> usize {
    let delete = if version.is_delete() { version.bytes() } else { 0 };
    size_of::<Entry>() + replaced.map_or(0, Object::bytes) + delete
}

#[cfg(test)]
mod tests {
    use super::super::event::WatchEvent;
    use super::super::resume::Resume;
    use super::*;

    fn retention() -> Retention {
        let most = 1 << 30;
        Retention { log_revisions: most, log_bytes: most, traces: most, memory_bytes: most }
    }

    fn state(retention: Retention) -> State<()> {
        let by_value = Index::new("value", |object| Some((&object.value[..]).into()));
        let pins = Arc::default();
        let mut state = State::new(&[Bytes::new()], Arc::new([by_value]), retention, pins);
        state.relist(1, vec![], true);
        state
    }

    fn put(key: u64, revision: u64) -> SourceObject {
        let value = Bytes::from(format!("{}", revision % 3));
        let key = Bytes::from(format!("{key:04}"));
        SourceObject { key, value, create_revision: 1, mod_revision: revision }
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

    fn predicates() -> Vec<Predicate> {
        let value = |value: &'static str| Some((0, Bytes::from_static(value.as_bytes())));
        let indexes = [None, value("0"), value("1"), value("2")];
        let prefixes = ["", "000", "0009"];
        let of = |prefix: &'static str| {
            indexes.clone().map(|index| Predicate {
                prefix: Bytes::from(prefix),
                index,
                filter: None,
            })
        };
        prefixes.into_iter().flat_map(of).collect()
    }

    /// What each predicate selects now.
    fn content(root: &Root) -> Vec<Vec<Object>> {
        predicates()
            .iter()
            .map(|predicate| root.select(predicate, None).map(Result::unwrap).collect())
            .collect()
    }

    /// What each predicate selected at a revision.
    fn content_at(view: &View, revision: u64) -> Vec<Vec<Object>> {
        predicates()
            .iter()
            .map(|predicate| {
                let whole: Vec<_> = view
                    .root
                    .select_at(predicate, None, revision)
                    .collect::<Result<_, _>>()
                    .unwrap();
                if let [first, rest @ ..] = &whole[..] {
                    let after = view.root.select_at(predicate, Some(&first.key_bytes()), revision);
                    assert!(after.map(Result::unwrap).eq(rest.iter().cloned()));
                }
                whole
            })
            .collect()
    }

    /// Whatever the sizes of revisions and the moments of publishing, each state is read as it was.
    #[test]
    fn every_retained_state_is_read_as_it_was() {
        let mut state = state(retention());
        let mut expected = vec![(1, content(&state.root))];
        for number in 2..200 {
            let size = if number % 17 == 0 { 40 } else { number % 4 };
            if number == 100 {
                let listing = (0..50).map(|key| Object::from(&put(key, number))).collect();
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
        assert_eq!(view.log_floor, 1);
        for (number, expected) in expected {
            view.check(number).unwrap();
            let of = |objects: &Vec<Object>| {
                let add = |digest: Digest, object: &Object| {
                    digest.with(object.key(), object.mod_revision())
                };
                objects.iter().fold(Digest::default(), add)
            };
            // The first of the predicates selects all.
            assert_eq!(view.digest_at(number), Ok(of(&expected[0])), "at {number}");
            assert_eq!(content_at(&view, number), expected, "at {number}");
        }
    }

    #[test]
    fn the_log_keeps_to_its_limits_and_what_left_it_leaves_nothing() {
        let most = Retention { traces: 0, ..retention() };
        for retention in [
            Retention { log_revisions: 20, ..most },
            Retention { log_revisions: 1, ..most },
            Retention { log_bytes: 3_000, ..most },
            Retention { log_bytes: 0, ..most },
        ] {
            let mut state = state(retention);
            let mut expected = vec![(1, content(&state.root))];
            for number in 2..300 {
                state.apply(revision(number, number % 4));
                expected.push((number, content(&state.root)));
                let view = state.seal();
                state.settle();
                assert!(view.log_floor <= view.revision);
                assert!(view.log_revisions <= retention.log_revisions);
                assert!(state.log_bytes <= retention.log_bytes);
                assert_eq!(view.log.from(view.log_floor + 1).count(), view.log_revisions);
                assert!(view.check(view.log_floor - 1).is_err());
                for (at, expected) in expected.iter().rev().take(25) {
                    if view.check(*at).is_ok() {
                        assert_eq!(&content_at(&view, *at), expected, "{at} at {number}");
                    }
                }
            }
            let changed = state.view.log.from(state.view.log_floor + 1);
            let changed = changed.map(|(_, entries)| entries.len()).sum::<usize>();
            let (deleted, past) = state.root.kept_for_the_past();
            // Those that ended are swept out a little later.
            assert!(
                deleted <= changed && past <= 2 * changed + 16,
                "{deleted} {past} of {changed}"
            );
            let view = state.seal();
            state.settle();
            // One that nobody changed leaves the log empty of what was before.
            (300..360).for_each(|number| {
                state.apply(Revision {
                    revision: number,
                    changes: vec![Change::Put(put(999, 3 * number))],
                });
                state.seal();
                state.settle();
            });
            if retention.log_revisions == 20 {
                assert_eq!(state.root.kept_for_the_past(), (0, 0));
            }
            // Who still has an older state is told what is lost, and not something else.
            for (at, expected) in &expected {
                for (predicate, expected) in predicates().iter().zip(expected) {
                    let found = view.root.select_at(predicate, None, *at);
                    if let Ok(found) = found.collect::<Result<Vec<_>, _>>()
                        && view.check(*at).is_ok()
                    {
                        assert_eq!(&found, expected);
                    }
                }
            }
        }
    }

    /// From every revision since which what changed is known, that leads to the newest state.
    #[test]
    fn what_changed_beyond_the_log_is_known_as_far_as_there_are_traces() {
        for (traces, first) in [(0, 250), (40, 240), (1 << 20, 1)] {
            let mut state = state(Retention { log_revisions: 7, traces, ..retention() });
            let mut contents = vec![content(&state.root)];
            for number in 2..260 {
                if number == 100 {
                    let listing = (0..12).map(|key| Object::from(&put(key, number))).collect();
                    state.relist(number, listing, true);
                } else {
                    state.apply(revision(number, number % 4));
                }
                contents.push(content(&state.root));
                if number % 3 == 0 {
                    state.seal();
                    state.settle();
                }
            }
            let view = state.seal();
            let mut known = Vec::new();
            for (from, content) in (1..).zip(&contents) {
                for (at, predicate) in predicates().iter().enumerate() {
                    let resume = Resume::new(&view, predicate, from, from);
                    assert_eq!(resume.is_some(), from >= view.trail.since);
                    let Some(resume) = resume else { continue };
                    known.push(from);
                    let now = resumed(resume, predicate, &content[at]);
                    assert_eq!(now, contents[258][at], "{predicate:?} from {from}");
                }
            }
            assert!(known[0] <= first, "{traces}: {}", known[0]);
        }
    }

    /// What one who held these has after all that is told.
    fn resumed(mut resume: Resume, predicate: &Predicate, held: &[Object]) -> Vec<Object> {
        let named = |object: &Object| (object.key_bytes(), object.clone());
        let mut held: BTreeMap<Bytes, Object> = held.iter().map(named).collect();
        let mut reached = 0;
        while reached < resume.until {
            let told = resume.next(predicate);
            for event in told.events {
                let WatchEvent::Coalesced { revision, key, object } = event else { panic!() };
                assert!(revision > reached && revision <= told.reached);
                match object {
                    Some(object) => held.insert(key, object),
                    None => held.remove(&key),
                };
            }
            reached = told.reached;
            resume.pass(reached);
        }
        held.into_values().collect()
    }

    #[test]
    fn what_was_written_again_leaves_no_trace() {
        let mut state = state(Retention { log_revisions: 7, ..retention() });
        for number in 2..60_000 {
            let key = number % 50;
            state
                .apply(Revision { revision: number, changes: vec![Change::Put(put(key, number))] });
            state.seal();
            state.settle();
        }
        let traces = state.view.trail.traces.from(0).count();
        assert!((43..15_000).contains(&traces), "{traces}");
    }

    /// Whatever is published between the changes, and however large the indexes are beside each other.
    #[test]
    fn what_ended_in_an_index_is_swept_out_of_each() {
        const TRACES: usize = 64;
        let first = |len: usize| {
            Index::new(format!("first {len}"), move |object: &SourceObject| {
                object.value.get(..len).map(Into::into)
            })
        };
        let (indexes, retention) =
            ([first(1), first(8)], Retention { log_revisions: 7, traces: TRACES, ..retention() });
        let mut state: State<()> =
            State::new(&[Bytes::new()], Arc::new(indexes), retention, Arc::default());
        state.relist(1, vec![], true);
        for number in 1..5_000_u64 {
            // Values in no order, so that what ended long ago is anywhere among the others.
            let value = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let key = format!("{:04}", number % 50).into();
            let object = SourceObject {
                key,
                value: value.into(),
                create_revision: 1,
                mod_revision: 3 * number,
            };
            state.apply(Revision { revision: 3 * number, changes: vec![Change::Put(object)] });
            state.seal();
            state.settle();
            state.progress(3 * number + 1);
            state.seal();
            state.settle();
        }
        assert!(state.root.ended() < 16 * TRACES, "{}", state.root.ended());
    }

    /// Versions that can be reached, beyond those that are live or were replaced in the log.
    fn beyond_the_log<W>(state: &State<W>) -> usize {
        let floor = state.view.log_floor;
        let beyond = |newest: Object| {
            let mut at = newest;
            let mut beyond = 0;
            while at.past().begins().is_some() {
                let Ok(Some(before)) = at.past().towards(0) else { break };
                beyond += usize::from(at.revision() <= floor);
                at = before;
            }
            beyond
        };
        state.root.newest().map(beyond).sum()
    }

    /// Who holds a snapshot finds all as it was; when it is let go of, nothing of it is left.
    #[test]
    fn held_snapshots_stay_as_they_are_and_leave_nothing() {
        for log_revisions in [1, 3, 20] {
            let mut state = state(Retention { log_revisions, ..retention() });
            let mut held = Vec::new();
            for number in 2..400 {
                state.apply(revision(number, number % 4));
                if number % 3 == 0 {
                    let view = state.seal();
                    state.settle();
                    if number % 2 == 0 {
                        let pin = state.pins.pin(view.root.revision).unwrap();
                        held.push((content(&view.root), view, pin));
                    }
                    if number % 5 == 0 && !held.is_empty() {
                        held.remove(usize::try_from(number * 7).unwrap() % held.len());
                    }
                }
                for (expected, view, _pin) in &held {
                    assert_eq!(&content(&view.root), expected, "{} at {number}", view.revision);
                }
            }
            assert!(held.len() > 5 && beyond_the_log(&state) > 0);
            held.clear();
            state.seal();
            state.settle();
            assert_eq!((beyond_the_log(&state), state.kept.len()), (0, 0));
        }
    }

    #[test]
    fn posts_lead_a_group_to_what_concerns_it() {
        for log_revisions in [1000, 30] {
            let mut state = state(Retention { log_revisions, ..retention() });
            let mut marks = Vec::new();
            for (id, predicate) in (0..).zip(predicates()) {
                // Each joins at another time.
                state.apply(revision(2 + id, 2));
                let predicate = Arc::new(predicate);
                marks.push((state.add_watcher(id, &predicate, ()), predicate));
            }
            for number in 20..120 {
                state.apply(revision(number, number % 3));
            }
            let view = state.seal();
            let touched = state.settle();
            assert!(!touched.is_empty() && state.settle().is_empty());
            for (mark, predicate) in marks {
                assert_eq!(mark.posted, !predicate.prefix.is_empty() || predicate.index.is_some());
                for position in mark.since.max(view.log_floor)..=view.revision {
                    let (all, reached) = view.read(position, usize::MAX).unwrap();
                    assert_eq!(reached, view.revision);
                    let events = |logged: &[super::super::view::Logged<'_>]| -> Vec<_> {
                        let of = logged.iter().flat_map(|(at, entries)| {
                            entries
                                .iter()
                                .map(|entry| predicate.event(*at, &entry.version).unwrap())
                        });
                        of.flatten().collect()
                    };
                    if mark.posted {
                        let posts = view.read_posts(&mark, position, mark.head()).unwrap().unwrap();
                        assert_eq!(events(&posts), events(&all));
                    }
                }
                if mark.posted && mark.head() > view.log_floor && log_revisions == 30 {
                    let early = view.read_posts(&mark, mark.since, mark.head());
                    assert!(early.is_err(), "{predicate:?}");
                }
            }
        }
    }

    #[test]
    fn groups_go_with_their_last_watcher() {
        let mut state = state(retention());
        let prefix = Bytes::from("00");
        let predicate = Arc::new(Predicate { prefix, index: None, filter: None });
        let mark = state.add_watcher(1, &predicate, ());
        state.add_watcher(2, &predicate, ());
        state.apply(revision(2, 3));
        state.settle();
        assert_eq!(mark.head(), 2);
        state.remove_watcher(1);
        state.apply(revision(3, 3));
        state.settle();
        assert_eq!(mark.head(), 3);
        state.remove_watcher(2);
        state.apply(revision(4, 3));
        assert!(state.settle().is_empty());
        assert_eq!((mark.head(), state.interests.all().count()), (3, 0));
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
            assert!(view.check(number * 10 - 5).is_err());
        }
        assert!(view.check(19_990).is_ok() && view.check(1).is_ok());
    }
}
