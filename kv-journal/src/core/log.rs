//! The changes of every retained revision, from which watchers and compaction work.

use std::iter;
use std::sync::Arc;

use cow_tree::Tree;

use super::mvcc::State;
use super::value::{Event, KeyValue};

/// A segment has so many changes, or those of a single revision: with the counts beside them they
/// take 512 bytes.
const SEGMENT: usize = 62;

/// The changes of every retained revision, in their order. Cloning counts two references.
///
/// Most revisions have one change, so their place is all that is worth remembering: they are kept
/// in segments one after the other, and each knows its revision itself. Only the last segment
/// grows, and only the first one shrinks.
#[derive(Clone)]
pub(crate) struct Log {
    /// By the first revision of each. A revision is in one segment.
    full: Tree<u64, Arc<[KeyValue]>>,
    last: Arc<Vec<KeyValue>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { full: Tree::new(), last: Arc::default() }
    }

    /// Adds what the next revision changed, if anything.
    pub(super) fn push(&mut self, changes: impl IntoIterator<Item = KeyValue>) {
        if self.last.len() >= SEGMENT
            && let Some(first) = self.last.first()
        {
            let revision = first.mod_revision();
            let full = Arc::try_unwrap(std::mem::take(&mut self.last));
            let full = full.map_or_else(|shared| shared.as_slice().into(), Arc::from);
            self.full.insert(revision, full);
        }
        if let Some(last) = Arc::get_mut(&mut self.last) {
            last.reserve_exact(SEGMENT.saturating_sub(last.len()));
            last.extend(changes);
        } else {
            let mut last = Vec::with_capacity(SEGMENT);
            last.extend_from_slice(&self.last);
            last.extend(changes);
            self.last = Arc::new(last);
        }
    }

    /// Forgets what is before a revision.
    pub(super) fn trim(&mut self, first: u64) {
        while let Some((&begins, segment)) = self.full.first_key_value() {
            let rest = &segment[before(segment, first)..];
            if rest.len() == segment.len() {
                return;
            }
            let rest = rest.first().map(|change| (change.mod_revision(), Arc::from(rest)));
            self.full.remove(&begins);
            if let Some((begins, rest)) = rest {
                self.full.insert(begins, rest);
                return;
            }
        }
        let forgotten = before(&self.last, first);
        if forgotten > 0 {
            self.last = Arc::new(self.last[forgotten..].to_vec());
        }
    }

    /// What a revision changed; nothing if it is not retained.
    pub(super) fn at(&self, revision: u64) -> &[KeyValue] {
        let found = self.from(revision).next().filter(|(found, _)| *found == revision);
        found.map_or(&[], |(_, changes)| changes)
    }

    /// Revisions from this one on, and what each changed.
    pub(super) fn from(&self, revision: u64) -> impl Iterator<Item = (u64, &[KeyValue])> {
        let in_last = self.last.first().is_some_and(|first| first.mod_revision() <= revision);
        let full = (!in_last).then(|| {
            let segment = self.full.range(..=revision).next_back();
            let begins = segment.map_or(revision, |(begins, _)| *begins);
            self.full.range(begins..).map(|(_, segment)| &segment[..])
        });
        let segments = full.into_iter().flatten().chain(iter::once(&self.last[..]));
        let changes = segments.map(move |segment| &segment[before(segment, revision)..]);
        let revisions = changes
            .flat_map(|changes| changes.chunk_by(|a, b| a.mod_revision() == b.mod_revision()));
        revisions.filter_map(|changes| Some((changes.first()?.mod_revision(), changes)))
    }
}

/// How many changes of a segment are of revisions before this one.
fn before(segment: &[KeyValue], revision: u64) -> usize {
    let Some(first) = segment.first() else { return 0 };
    if revision <= first.mod_revision() {
        return 0;
    }
    // Where each revision has one change.
    let likely = usize::try_from(revision - first.mod_revision()).unwrap_or(usize::MAX);
    let is_before =
        |at: usize| segment.get(at).is_some_and(|change| change.mod_revision() < revision);
    if likely == segment.len() && is_before(likely - 1) {
        return likely;
    }
    if segment.get(likely).is_some_and(|change| change.mod_revision() == revision)
        && is_before(likely - 1)
    {
        return likely;
    }
    segment.partition_point(|change| change.mod_revision() < revision)
}

/// A revision as it is told to watchers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged<'a> {
    pub(crate) revision: u64,
    pub(crate) changes: &'a [KeyValue],
    /// Whether what was before can be told: at the compact revision it is gone.
    has_previous: bool,
}

impl Logged<'_> {
    /// All of it.
    pub(crate) fn events(&self) -> Arc<[Event]> {
        self.changes.iter().map(|change| self.event(change, true)).collect()
    }

    /// One of its changes, with the version before if that is wanted.
    pub(crate) fn event(&self, change: &KeyValue, prev_kv: bool) -> Event {
        let prev_kv = if prev_kv && self.has_previous { change.past().prev() } else { None };
        Event {
            kind: change.kind(),
            kv: change.clone(),
            prev_kv: prev_kv.filter(|prev| !prev.is_delete()),
        }
    }
}

impl State {
    /// The retained revisions from `revision` on.
    pub(crate) fn log(&self, revision: u64) -> impl Iterator<Item = Logged<'_>> {
        let compact_revision = self.compact_revision();
        self.log.from(revision).map(move |(revision, changes)| Logged {
            revision,
            changes,
            has_previous: revision > compact_revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::value::Meta;
    use super::*;

    fn changes(revision: u64, count: usize) -> Vec<KeyValue> {
        let meta = Meta { mod_revision: revision, version: 1, ..Meta::default() };
        let kv = |n: usize| KeyValue::new(&n.to_be_bytes(), b"v", meta);
        (0..count).map(kv).collect()
    }

    type Model = BTreeMap<u64, usize>;

    fn told<'a>(revisions: impl Iterator<Item = (u64, &'a [KeyValue])>) -> Vec<(u64, usize)> {
        revisions
            .map(|(revision, changes)| {
                let of_it = |(n, change): (usize, &KeyValue)| {
                    change.mod_revision() == revision && change.key() == n.to_be_bytes()
                };
                assert!(changes.iter().enumerate().all(of_it), "{revision}");
                (revision, changes.len())
            })
            .collect()
    }

    fn check(log: &Log, model: &Model, newest: u64) {
        for from in 0..newest + 3 {
            let expected: Vec<_> = model.range(from..).map(|(at, count)| (*at, *count)).collect();
            assert_eq!(told(log.from(from)), expected, "from {from}");
            assert_eq!(log.at(from).len(), model.get(&from).copied().unwrap_or(0), "at {from}");
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Trim(prop::sample::Index),
        Keep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let count = prop_oneof![20 => Just(1usize), 3 => 2..5usize, 1 => 50..150usize];
        let step = prop_oneof![
            12 => count.prop_map(Step::Push),
            1 => any::<prop::sample::Index>().prop_map(Step::Trim),
            1 => Just(Step::Keep),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_log_and_its_copies_are_what_was_pushed_and_not_trimmed(steps in steps()) {
            let (mut log, mut model, mut newest) = (Log::new(), Model::new(), 1);
            let mut kept = Vec::new();
            for step in steps {
                match step {
                    Step::Push(count) => {
                        newest += 1;
                        log.push(changes(newest, count));
                        model.insert(newest, count);
                    }
                    Step::Trim(at) => {
                        let first = at.index(usize::try_from(newest).unwrap() + 2) as u64;
                        log.trim(first);
                        model = model.split_off(&first);
                    }
                    Step::Keep => kept.push((log.clone(), model.clone(), newest)),
                }
            }
            kept.push((log, model, newest));
            for (log, model, newest) in &kept {
                check(log, model, *newest);
            }
        }
    }

    #[test]
    fn what_is_trimmed_is_freed() {
        let mut log = Log::new();
        let versions: Vec<_> = (2..400).flat_map(|revision| changes(revision, 1)).collect();
        for change in &versions {
            log.push([change.clone()]);
        }
        log.trim(101);
        let held = versions.iter().filter(|change| !change.is_last()).count();
        assert_eq!(held, 299);
    }

    #[test]
    fn a_segment_fits_its_memory() {
        assert_eq!(size_of::<KeyValue>(), 8);
        assert_eq!(SEGMENT * size_of::<KeyValue>() + 2 * size_of::<usize>(), 512);
    }
}
