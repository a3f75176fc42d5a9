//! A persistent log: entries in ascending order of their places, added at one end and forgotten at
//! the other.

use std::fmt;
use std::iter;
use std::sync::Arc;

use crate::Tree;

/// Where an entry of a [`Log`] belongs: a revision, a sequence number.
pub trait Place {
    /// The entry's place; entries that were added together have the same one.
    fn place(&self) -> u64;
}

/// A segment has so many entries, or those of a single place. With 8 bytes for each and the counts
/// beside them they take 512 bytes.
const SEGMENT: usize = 62;

/// A persistent append-only log of entries by their places. Cloning it counts two references, and
/// a clone is a snapshot that no later push or trim changes.
///
/// Most places have one entry, so entries are kept in segments one after the other, and each knows
/// its place itself. Only the last segment grows, and only the first one shrinks.
///
/// ```
/// use cow_tree::{Log, Place};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct Event(u64, &'static str);
///
/// impl Place for Event {
///     fn place(&self) -> u64 {
///         self.0
///     }
/// }
///
/// let mut log = Log::new();
/// log.push([Event(2, "a")]);
/// log.push([Event(5, "b"), Event(5, "c")]);
/// let snapshot = log.clone();
/// log.trim(5);
/// assert_eq!(log.at(5), [Event(5, "b"), Event(5, "c")]);
/// assert_eq!(log.at(2), []);
/// assert_eq!(snapshot.from(1).count(), 2);
/// ```
pub struct Log<T> {
    /// By the first place of each. A place is in one segment.
    full: Tree<u64, Arc<[T]>>,
    last: Arc<Vec<T>>,
}

impl<T: Place + Clone> Log<T> {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self { full: Tree::new(), last: Arc::default() }
    }

    /// Adds entries, all of one place, which is above all places before.
    pub fn push(&mut self, entries: impl IntoIterator<Item = T>) {
        if self.last.len() >= SEGMENT
            && let Some(first) = self.last.first()
        {
            let place = first.place();
            let full = Arc::try_unwrap(std::mem::take(&mut self.last));
            let full = full.map_or_else(|shared| shared.as_slice().into(), Arc::from);
            self.full.insert(place, full);
        }
        if let Some(last) = Arc::get_mut(&mut self.last) {
            last.reserve_exact(SEGMENT.saturating_sub(last.len()));
            last.extend(entries);
        } else {
            let mut last = Vec::with_capacity(SEGMENT);
            last.extend_from_slice(&self.last);
            last.extend(entries);
            self.last = Arc::new(last);
        }
    }

    /// Forgets what is before a place.
    pub fn trim(&mut self, first: u64) {
        while let Some((&begins, segment)) = self.full.first_key_value() {
            let rest = &segment[before(segment, first)..];
            if rest.len() == segment.len() {
                return;
            }
            let rest = rest.first().map(|entry| (entry.place(), Arc::from(rest)));
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

    /// Forgets some entries: those of the first segment at or behind a place for which `keep` is
    /// false. Returns where to go on, or none if that was the last segment; the newest entries are
    /// left alone. A segment that has become small enough is joined to the one before.
    pub fn sweep(&mut self, place: u64, mut keep: impl FnMut(&T) -> bool) -> Option<u64> {
        let (&begins, segment) = self.full.range(place..).next()?;
        let kept: Vec<T> = segment.iter().filter(|entry| keep(entry)).cloned().collect();
        let next = segment.last().map_or(begins, Place::place) + 1;
        if kept.len() < segment.len() {
            self.full.remove(&begins);
            self.join(kept);
        }
        Some(next)
    }

    /// Puts a segment back, with the one before it if both have room in one.
    fn join(&mut self, entries: Vec<T>) {
        let Some(first) = entries.first() else { return };
        let before = self.full.range(..first.place()).next_back();
        let before = before.filter(|(_, before)| before.len() + entries.len() <= SEGMENT);
        let before = before.map(|(begins, before)| (*begins, Arc::clone(before)));
        match before {
            Some((begins, before)) => {
                let joined: Vec<T> = before.iter().cloned().chain(entries).collect();
                self.full.insert(begins, joined.into());
            }
            None => {
                self.full.insert(first.place(), entries.into());
            }
        }
    }

    /// The entries of a place; none if it has none or was forgotten. `O(log n)`.
    #[must_use]
    pub fn at(&self, place: u64) -> &[T] {
        let found = self.from(place).next().filter(|(found, _)| *found == place);
        found.map_or(&[], |(_, entries)| entries)
    }

    /// Each place from this one on that has entries, with them, in ascending order.
    pub fn from(&self, place: u64) -> impl Iterator<Item = (u64, &[T])> {
        let in_last = self.last.first().is_some_and(|first| first.place() <= place);
        let full = (!in_last).then(|| {
            let segment = self.full.range(..=place).next_back();
            let begins = segment.map_or(place, |(begins, _)| *begins);
            self.full.range(begins..).map(|(_, segment)| &segment[..])
        });
        let segments = full.into_iter().flatten().chain(iter::once(&self.last[..]));
        let entries = segments.map(move |segment| &segment[before(segment, place)..]);
        let places = entries.flat_map(|entries| entries.chunk_by(|a, b| a.place() == b.place()));
        places.filter_map(|entries| Some((entries.first()?.place(), entries)))
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self { full: self.full.clone(), last: Arc::clone(&self.last) }
    }
}

impl<T: Place + Clone> Default for Log<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Log<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = self.full.values().flat_map(|segment| segment.iter());
        f.debug_list().entries(full.chain(self.last.iter())).finish()
    }
}

/// How many entries of a segment have places before this one.
fn before<T: Place>(segment: &[T], place: u64) -> usize {
    let Some(first) = segment.first() else { return 0 };
    if place <= first.place() {
        return 0;
    }
    // Where each place has one entry, and none is left out.
    let likely = usize::try_from(place - first.place()).unwrap_or(usize::MAX);
    let is_before = |at: usize| segment.get(at).is_some_and(|entry| entry.place() < place);
    let is_here =
        likely == segment.len() || segment.get(likely).is_some_and(|entry| entry.place() == place);
    if is_here && is_before(likely - 1) {
        return likely;
    }
    segment.partition_point(|entry| entry.place() < place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A place, and where in it; counted, so that what is forgotten can be told.
    #[derive(Clone, Debug)]
    struct Entry(Arc<(u64, usize)>);

    impl Place for Entry {
        fn place(&self) -> u64 {
            self.0.0
        }
    }

    fn entries(place: u64, count: usize) -> Vec<Entry> {
        (0..count).map(|n| Entry(Arc::new((place, n)))).collect()
    }

    type Model = BTreeMap<u64, usize>;

    fn told<'a>(places: impl Iterator<Item = (u64, &'a [Entry])>) -> Vec<(u64, usize)> {
        places
            .map(|(place, entries)| {
                let of_it = |(n, entry): (usize, &Entry)| *entry.0 == (place, n);
                assert!(entries.iter().enumerate().all(of_it), "{place}");
                (place, entries.len())
            })
            .collect()
    }

    fn check(log: &Log<Entry>, model: &Model, newest: u64) {
        for from in 0..newest + 3 {
            let expected: Vec<_> = model.range(from..).map(|(at, count)| (*at, *count)).collect();
            assert_eq!(told(log.from(from)), expected, "from {from}");
            assert_eq!(log.at(from).len(), model.get(&from).copied().unwrap_or(0), "at {from}");
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// So many entries, so far after the last.
        Push(usize, u64),
        Trim(prop::sample::Index),
        /// From there on, what is not divided by this.
        Sweep(prop::sample::Index, u64),
        Keep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let count = prop_oneof![20 => Just(1usize), 3 => 2..5usize, 1 => 50..150usize];
        let gap = prop_oneof![20 => Just(1u64), 1 => 2..9u64];
        let step = prop_oneof![
            12 => (count, gap).prop_map(|(count, gap)| Step::Push(count, gap)),
            1 => any::<prop::sample::Index>().prop_map(Step::Trim),
            2 => (any::<prop::sample::Index>(), 2..4u64).prop_map(|(at, by)| Step::Sweep(at, by)),
            1 => Just(Step::Keep),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_log_and_its_clones_are_what_was_pushed_and_not_trimmed(steps in steps()) {
            let (mut log, mut model, mut newest) = (Log::new(), Model::new(), 1);
            let mut kept = Vec::new();
            for step in steps {
                match step {
                    Step::Push(count, gap) => {
                        newest += gap;
                        log.push(entries(newest, count));
                        model.insert(newest, count);
                    }
                    Step::Trim(at) => {
                        let first = at.index(usize::try_from(newest).unwrap() + 2) as u64;
                        log.trim(first);
                        model = model.split_off(&first);
                    }
                    Step::Sweep(at, by) => {
                        let first = at.index(usize::try_from(newest).unwrap() + 2) as u64;
                        let mut swept = Vec::new();
                        let next = log.sweep(first, |entry| {
                            swept.push(entry.place());
                            !entry.place().is_multiple_of(by)
                        });
                        let last = swept.last().copied();
                        assert_eq!(next, last.map(|last| last + 1));
                        assert!(swept.first().is_none_or(|place| *place >= first));
                        let begins = model.range(first..).next().map(|(place, _)| *place);
                        // All but the newest, which have no segment yet.
                        assert!(swept.is_empty() || swept.first() >= begins.as_ref());
                        model.retain(|place, _| {
                            !(swept.contains(place) && place.is_multiple_of(by))
                        });
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
        let all: Vec<_> = (2..400).flat_map(|place| entries(place, 1)).collect();
        for entry in &all {
            log.push([entry.clone()]);
        }
        log.trim(101);
        let held = all.iter().filter(|entry| Arc::strong_count(&entry.0) > 1).count();
        assert_eq!(held, 299);
    }

    #[test]
    fn a_segment_fits_its_memory() {
        assert_eq!(SEGMENT * size_of::<Entry>() + 2 * size_of::<usize>(), 512);
    }
}
