//! The guarantees of a watch, as one oracle over a recorded history.
//!
//! A test, or a drill in a running system, keeps what a watcher was told and takes the history from
//! the journal's records. [`Oracle::check`] compares both and names the first guarantee that is
//! broken. The history is a map of versions that shares no code with the store's state.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use futures_util::StreamExt;
//! use kv_journal::oracle::{Oracle, Told};
//! use kv_journal::{Config, KeyRange, MemoryJournal, PutRequest, Store, WatchRequest};
//!
//! let journal = Arc::new(MemoryJournal::new());
//! let (store, driver) = Store::open(journal.clone(), Config::default()).await?;
//! tokio::spawn(driver);
//! let request = WatchRequest::new(KeyRange::prefix("pods/")).from_revision(1);
//! let mut watcher = store.watch(request.clone())?;
//! store.put(PutRequest::new("pods/a", "pending")).await?;
//!
//! let mut told = Told::new(request);
//! told.batches.extend(watcher.next().await.transpose()?);
//! told.complete_to = 2;
//! Oracle::read(&*journal).await?.check(&told)?;
//! # Ok(()) }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::core::{Event, EventKind, KeyRange, KeyValue, Mutation, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, ReadLimits};
use crate::store::{WatchBatch, WatchRequest};

/// What a watcher may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// Revisions come upwards, the events of one in the order of its transaction.
    Ordered,
    /// No event comes twice.
    Unique,
    /// No event is missing, and nobody is told of a compaction that did not concern them.
    Reliable,
    /// A batch is all that one revision holds for the watcher, and of that revision alone.
    Atomic,
    /// A watch from a revision delivers nothing from before it.
    Resumable,
    /// What a progress notice covers has come before it; nothing of it comes later, and it exists.
    Bookmarkable,
    /// Only keys of the range and kinds that were asked for come.
    Filtered,
    /// `prev_kv` is the version before, and absent only if there was none or it was compacted.
    Previous,
    /// Each event is what the revision did: kind, value, lease, version and revisions.
    Exact,
}

/// A broken guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub guarantee: Guarantee,
    /// What was seen, and where.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken: {}", self.guarantee, self.seen)
    }
}

impl std::error::Error for Violation {}

/// What one watcher was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it asked for. A start of 0 is to be replaced by the revision that was the next one.
    pub request: WatchRequest,
    /// Everything that it got, in order, progress notices too.
    pub batches: Vec<WatchBatch>,
    /// It had time to hear of everything up to this revision; 0 claims nothing.
    pub complete_to: u64,
    /// The compact revision that it was told at its end, if it ended with `Compacted`.
    pub compacted: Option<u64>,
}

impl Told {
    /// A watcher that was told nothing yet.
    #[must_use]
    pub fn new(request: WatchRequest) -> Self {
        Self { request, batches: Vec::new(), complete_to: 0, compacted: None }
    }

    /// The first revision that it has not been told of; where it would resume.
    #[must_use]
    pub fn next_revision(&self) -> u64 {
        let after = self.batches.last().map_or(0, |batch| batch.revision + 1);
        after.max(self.request.start_revision)
    }
}

/// Everything that a store did, revision by revision.
#[derive(Debug, Clone)]
pub struct Oracle {
    revision: u64,
    compact_revision: u64,
    log: BTreeMap<u64, Vec<Event>>,
    /// Every version of every key by its revision; `None` is a delete.
    versions: BTreeMap<Bytes, BTreeMap<u64, Option<Arc<KeyValue>>>>,
}

impl Default for Oracle {
    fn default() -> Self {
        Self { revision: 1, compact_revision: 0, log: BTreeMap::new(), versions: BTreeMap::new() }
    }
}

/// The history.
impl Oracle {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of which only the keys at `revision` are known. Nothing before can be checked.
    pub fn starting_with(revision: u64, kvs: impl IntoIterator<Item = Arc<KeyValue>>) -> Self {
        let mut oracle = Self { revision, compact_revision: revision, ..Self::default() };
        for kv in kvs {
            let versions = oracle.versions.entry(kv.key.clone()).or_default();
            versions.insert(kv.mod_revision, Some(kv));
        }
        oracle
    }

    /// The store that the records of `journal` describe.
    ///
    /// # Errors
    /// `Trimmed` if the journal's beginning is gone, `Corrupt` if a record does not follow from
    /// those before it, and what the journal fails with.
    pub async fn read(journal: &dyn Journal) -> Result<Self> {
        let mut oracle = Self::new();
        oracle.follow(journal, 1).await?;
        Ok(oracle)
    }

    /// Adds the records of `journal` from `seq` on and returns the number of the next one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn follow(&mut self, journal: &dyn Journal, mut seq: u64) -> Result<u64> {
        loop {
            let entries = journal.read(seq, ReadLimits::default()).await?;
            if entries.is_empty() {
                return Ok(seq);
            }
            for entry in entries {
                self.push(&Record::decode(entry.payload)?)?;
                seq += 1;
            }
        }
    }

    /// One more record.
    ///
    /// # Errors
    /// `Corrupt` if it does not follow from those before it.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Transaction { revision, mutations } => self.transaction(*revision, mutations),
            Record::Compaction { revision } => {
                if *revision <= self.compact_revision || *revision > self.revision {
                    return Err(does_not_follow(&format!("a compaction to {revision}")));
                }
                self.compact_revision = *revision;
                Ok(())
            }
            Record::LeaseGrant { .. } => Ok(()),
            Record::Import { revision } => Err(does_not_follow(&format!(
                "an import of revision {revision}, whose beginning is in a checkpoint"
            ))),
            Record::LeaseRevoke { revision, id, deleted } => self.revoke(*revision, *id, *deleted),
        }
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The last revision that was compacted to; 0 if there was none.
    #[must_use]
    pub fn compact_revision(&self) -> u64 {
        self.compact_revision
    }

    /// What `revision` did, in the order of its transaction.
    #[must_use]
    pub fn events(&self, revision: u64) -> &[Event] {
        self.log.get(&revision).map(Vec::as_slice).unwrap_or_default()
    }

    /// The version of `key` that a read at `revision` sees, compacted or not.
    #[must_use]
    pub fn get_at(&self, key: &[u8], revision: u64) -> Option<&Arc<KeyValue>> {
        newest(self.versions.get(key)?, revision)
    }

    /// The keys of `range` as of `revision`, in key order, compacted or not.
    pub fn range_at(
        &self,
        range: &KeyRange,
        revision: u64,
    ) -> impl Iterator<Item = &Arc<KeyValue>> {
        let range = (!range.is_empty()).then(|| range.bounds());
        let keys = range.into_iter().flat_map(|bounds| self.versions.range::<[u8], _>(bounds));
        keys.filter_map(move |(_, versions)| newest(versions, revision))
    }

    fn transaction(&mut self, revision: u64, mutations: &[Mutation]) -> Result<()> {
        if revision != self.revision + 1 {
            return Err(does_not_follow(&format!("revision {revision} after {}", self.revision)));
        }
        let mut events = Vec::new();
        for mutation in mutations {
            match mutation {
                Mutation::Put { key, value, lease } => {
                    let prev_kv = self.get_at(key, revision).cloned();
                    let kv = Arc::new(KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: prev_kv.as_ref().map_or(revision, |kv| kv.create_revision),
                        mod_revision: revision,
                        version: prev_kv.as_ref().map_or(1, |kv| kv.version + 1),
                        lease: *lease,
                    });
                    events.push(Event { kind: EventKind::Put, kv, prev_kv });
                    self.record_last(revision, &events);
                }
                Mutation::Delete { range, deleted } => {
                    let doomed: Vec<_> = self.range_at(range, revision).cloned().collect();
                    if doomed.len() as u64 != *deleted {
                        return Err(does_not_follow(&format!("{deleted} deletes at {revision}")));
                    }
                    for prev in doomed {
                        events.push(deletion(revision, prev));
                        self.record_last(revision, &events);
                    }
                }
            }
        }
        self.revision = revision;
        self.log.insert(revision, events);
        Ok(())
    }

    /// The keys of a lease go in one revision, which there is only if there are any.
    fn revoke(&mut self, revision: u64, id: i64, deleted: u64) -> Result<()> {
        let everything = KeyRange::all();
        let keys = self.range_at(&everything, self.revision);
        let doomed: Vec<_> = keys.filter(|kv| kv.lease == id).cloned().collect();
        let next = self.revision + u64::from(deleted > 0);
        if doomed.len() as u64 != deleted || revision != next {
            return Err(does_not_follow(&format!("a revoke of lease {id} at {revision}")));
        }
        if deleted == 0 {
            return Ok(());
        }
        let mut events = Vec::new();
        for prev in doomed {
            events.push(deletion(revision, prev));
            self.record_last(revision, &events);
        }
        self.revision = revision;
        self.log.insert(revision, events);
        Ok(())
    }

    fn record_last(&mut self, revision: u64, events: &[Event]) {
        let Some(event) = events.last() else { return };
        let version = (event.kind == EventKind::Put).then(|| Arc::clone(&event.kv));
        self.versions.entry(event.kv.key.clone()).or_default().insert(revision, version);
    }
}

fn newest(
    versions: &BTreeMap<u64, Option<Arc<KeyValue>>>,
    revision: u64,
) -> Option<&Arc<KeyValue>> {
    versions.range(..=revision).next_back()?.1.as_ref()
}

fn deletion(revision: u64, prev: Arc<KeyValue>) -> Event {
    let key = prev.key.clone();
    let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
    Event { kind: EventKind::Delete, kv: Arc::new(kv), prev_kv: Some(prev) }
}

fn does_not_follow(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the history goes on with {what}: the journal's order is broken"),
    )
}

/// The checks.
impl Oracle {
    /// Whether a watcher was told what it was promised.
    ///
    /// # Errors
    /// The first guarantee that is broken.
    pub fn check(&self, told: &Told) -> Result<(), Violation> {
        check_places(&told.batches)?;
        check_start(told)?;
        self.check_progress(told)?;
        check_filters(told)?;
        self.check_compacted(told)?;
        self.check_events(told)
    }

    fn check_progress(&self, told: &Told) -> Result<(), Violation> {
        let mut covered = told.request.start_revision.saturating_sub(1);
        let mut noticed = 0;
        for batch in &told.batches {
            let revision = batch.revision;
            if batch.is_progress() {
                if revision < covered || revision > self.revision {
                    let seen = format!("a notice of {revision} came after {covered}");
                    return violated(Guarantee::Bookmarkable, seen);
                }
                noticed = revision;
            } else if revision <= noticed {
                let seen = format!("revision {revision} came after a notice of {noticed}");
                return violated(Guarantee::Bookmarkable, seen);
            }
            covered = revision;
        }
        Ok(())
    }

    fn check_compacted(&self, told: &Told) -> Result<(), Violation> {
        match told.compacted {
            Some(at) if at > self.compact_revision || told.next_revision() >= at => violated(
                Guarantee::Reliable,
                format!("told of a compaction to {at} while at {}", told.next_revision()),
            ),
            _ => Ok(()),
        }
    }

    fn check_events(&self, told: &Told) -> Result<(), Violation> {
        let start = told.request.start_revision;
        let mut batches: BTreeMap<_, _> =
            told.batches.iter().filter(|batch| !batch.is_progress()).map(by_revision).collect();
        let covered = told.batches.last().map_or(0, |batch| batch.revision).max(told.complete_to);
        for (revision, events) in self.log.range(start..=covered.max(start)) {
            if *revision > covered {
                break;
            }
            let expected: Vec<_> =
                events.iter().filter(|event| wants(&told.request, event)).collect();
            let found = batches.remove(revision).unwrap_or_default();
            self.compare(*revision, &expected, found)?;
        }
        match batches.first_key_value() {
            Some((revision, events)) => {
                violated(Guarantee::Exact, format!("{revision} never was: {events:?}"))
            }
            None => Ok(()),
        }
    }

    fn compare(&self, at: u64, expected: &[&Event], found: &[Event]) -> Result<(), Violation> {
        let place = |key: &Bytes| found.iter().position(|event| event.kv.key == key);
        let places: Vec<_> = expected.iter().map(|event| place(&event.kv.key)).collect();
        if let Some(missing) = places.iter().zip(expected).find(|(place, _)| place.is_none()) {
            let guarantee = if found.is_empty() { Guarantee::Reliable } else { Guarantee::Atomic };
            return violated(guarantee, format!("{at} came without {:?}", missing.1));
        }
        if !places.is_sorted() {
            return violated(Guarantee::Ordered, format!("within {at}: {found:?}"));
        }
        if found.len() > expected.len() {
            return violated(Guarantee::Exact, format!("{at} came with more: {found:?}"));
        }
        for (expected, found) in expected.iter().zip(found) {
            self.compare_event(at, expected, found)?;
        }
        Ok(())
    }

    fn compare_event(&self, at: u64, expected: &Event, found: &Event) -> Result<(), Violation> {
        if (found.kind, &found.kv) != (expected.kind, &expected.kv) {
            return violated(Guarantee::Exact, format!("{found:?} came instead of {expected:?}"));
        }
        let compacted = found.prev_kv.is_none() && at <= self.compact_revision;
        if found.prev_kv != expected.prev_kv && !compacted {
            let seen = format!("{:?} instead of {:?}", found.prev_kv, expected.prev_kv);
            return violated(Guarantee::Previous, format!("at {at}: {seen}"));
        }
        Ok(())
    }
}

fn violated<T>(guarantee: Guarantee, seen: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { guarantee, seen: seen.into() })
}

fn by_revision(batch: &WatchBatch) -> (u64, &[Event]) {
    (batch.revision, &batch.events[..])
}

fn wants(request: &WatchRequest, event: &Event) -> bool {
    let left_out = match event.kind {
        EventKind::Put => request.no_put,
        EventKind::Delete => request.no_delete,
    };
    !left_out && request.range.contains(&event.kv.key)
}

fn check_places(batches: &[WatchBatch]) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    let mut last = 0;
    for batch in batches.iter().filter(|batch| !batch.is_progress()) {
        for event in batch.events.iter() {
            if event.kv.mod_revision != batch.revision {
                return violated(Guarantee::Atomic, format!("{event:?} in {}", batch.revision));
            }
            if !seen.insert((batch.revision, &event.kv.key)) {
                return violated(Guarantee::Unique, format!("{event:?} came twice"));
            }
        }
        if batch.revision < last {
            return violated(Guarantee::Ordered, format!("{} after {last}", batch.revision));
        }
        if batch.revision == last {
            return violated(Guarantee::Atomic, format!("{last} came in two parts"));
        }
        last = batch.revision;
    }
    Ok(())
}

fn check_start(told: &Told) -> Result<(), Violation> {
    let start = told.request.start_revision;
    let mut batches = told.batches.iter().filter(|batch| !batch.is_progress());
    match batches.find(|batch| batch.revision < start) {
        Some(early) => violated(
            Guarantee::Resumable,
            format!("{} came after {start} was asked", early.revision),
        ),
        None => Ok(()),
    }
}

fn check_filters(told: &Told) -> Result<(), Violation> {
    let mut events = told.batches.iter().flat_map(|batch| batch.events.iter());
    match events.find(|event| !wants(&told.request, event)) {
        Some(event) => violated(Guarantee::Filtered, format!("{event:?} was not asked for")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Mutation {
        Mutation::Put { key: key.to_owned().into(), value: value.to_owned().into(), lease: 0 }
    }

    /// Revision 2 puts `a`, 3 puts `c` and `b`, 4 puts `a` again, 5 deletes `a` and `b`.
    fn oracle() -> Oracle {
        let mut oracle = Oracle::new();
        let delete = Mutation::Delete { range: KeyRange::range("a", "c"), deleted: 2 };
        let history = [
            (2, vec![put("a", "1")]),
            (3, vec![put("c", "1"), put("b", "1")]),
            (4, vec![put("a", "2")]),
            (5, vec![delete]),
        ];
        for (revision, mutations) in history {
            oracle.push(&Record::Transaction { revision, mutations }).unwrap();
        }
        oracle
    }

    fn notice(revision: u64) -> WatchBatch {
        WatchBatch { revision, events: Arc::default(), more: false }
    }

    fn batch(revision: u64) -> WatchBatch {
        WatchBatch { revision, events: oracle().events(revision).into(), more: false }
    }

    fn told(batches: Vec<WatchBatch>) -> Told {
        let request = WatchRequest::new(KeyRange::all()).from_revision(2);
        Told { batches, complete_to: 5, ..Told::new(request) }
    }

    fn broken(told: &Told) -> Option<Guarantee> {
        oracle().check(told).err().map(|violation| violation.guarantee)
    }

    /// A correct record in which one batch's events were changed.
    fn corrupted(revision: u64, change: impl Fn(&mut Vec<Event>)) -> Option<Guarantee> {
        let mut batches: Vec<_> = (2..=5).map(batch).collect();
        let changed = batches.iter_mut().find(|batch| batch.revision == revision).unwrap();
        let mut events = changed.events.to_vec();
        change(&mut events);
        changed.events = events.into();
        broken(&told(batches))
    }

    #[test]
    fn a_correct_record_passes() {
        assert_eq!(broken(&told((2..=5).map(batch).collect())), None);
        let batches = vec![batch(2), notice(2), batch(3), batch(4), batch(5), notice(5), notice(5)];
        assert_eq!(broken(&told(batches)), None);
        let mut later = told(vec![batch(4), batch(5)]);
        later.request.start_revision = 4;
        assert_eq!(broken(&later), None);
        assert_eq!(later.next_revision(), 6);
    }

    #[test]
    fn each_broken_order_is_named() {
        let all = [batch(2), batch(3), batch(4), batch(5)];
        let pick =
            |order: &[usize]| broken(&told(order.iter().map(|at| all[*at].clone()).collect()));
        assert_eq!(pick(&[0, 2, 1, 3]), Some(Guarantee::Ordered));
        assert_eq!(pick(&[0, 1, 2, 2, 3]), Some(Guarantee::Unique));
        assert_eq!(pick(&[0, 1, 2, 3, 0]), Some(Guarantee::Unique));
        assert_eq!(pick(&[0, 2, 3]), Some(Guarantee::Reliable));
        assert_eq!(pick(&[0, 1, 2]), Some(Guarantee::Reliable));
        assert_eq!(corrupted(3, |events| events.swap(0, 1)), Some(Guarantee::Ordered));
        assert_eq!(corrupted(3, |events| events.truncate(1)), Some(Guarantee::Atomic));
        let moved = |events: &mut Vec<Event>| events.extend_from_slice(oracle().events(4));
        assert_eq!(corrupted(3, moved), Some(Guarantee::Atomic));
        let half = |at: usize| WatchBatch {
            revision: 3,
            events: [batch(3).events[at].clone()].into(),
            more: false,
        };
        let split = vec![batch(2), half(0), half(1), batch(4), batch(5)];
        assert_eq!(broken(&told(split)), Some(Guarantee::Atomic));
        let mut early = told((2..=5).map(batch).collect());
        early.request.start_revision = 3;
        assert_eq!(broken(&early), Some(Guarantee::Resumable));
    }

    #[test]
    fn each_broken_content_is_named() {
        let edit = |events: &mut Vec<Event>, change: fn(&mut KeyValue)| {
            change(Arc::make_mut(&mut events[0].kv));
        };
        assert_eq!(corrupted(4, |e| edit(e, |kv| kv.version = 1)), Some(Guarantee::Exact));
        assert_eq!(corrupted(4, |e| edit(e, |kv| kv.value = "3".into())), Some(Guarantee::Exact));
        assert_eq!(corrupted(4, |e| edit(e, |kv| kv.create_revision = 4)), Some(Guarantee::Exact));
        assert_eq!(corrupted(4, |e| e[0].kind = EventKind::Delete), Some(Guarantee::Exact));
        assert_eq!(corrupted(4, |e| e[0].prev_kv = None), Some(Guarantee::Previous));
        assert_eq!(
            corrupted(3, |e| e[0].prev_kv = Some(Arc::default())),
            Some(Guarantee::Previous)
        );
        let more = |events: &mut Vec<Event>| {
            let kv = Arc::new(KeyValue { key: "z".into(), mod_revision: 4, ..KeyValue::default() });
            events.push(Event { kind: EventKind::Put, kv, prev_kv: None });
        };
        assert_eq!(corrupted(4, more), Some(Guarantee::Exact));
        let mut invented = told((2..=5).map(batch).collect());
        let event = deletion(6, Arc::default());
        invented.batches.push(WatchBatch { revision: 6, events: [event].into(), more: false });
        assert_eq!(broken(&invented), Some(Guarantee::Exact));
    }

    #[test]
    fn each_broken_notice_is_named() {
        let named = |batches| broken(&told(batches));
        let early = vec![batch(2), notice(3), batch(3), batch(4), batch(5)];
        assert_eq!(named(early), Some(Guarantee::Bookmarkable));
        let back = vec![batch(2), batch(3), notice(2), batch(4), batch(5)];
        assert_eq!(named(back), Some(Guarantee::Bookmarkable));
        let twice_back = vec![batch(2), batch(3), batch(4), batch(5), notice(5), notice(4)];
        assert_eq!(named(twice_back), Some(Guarantee::Bookmarkable));
        let beyond = vec![batch(2), batch(3), batch(4), batch(5), notice(6)];
        assert_eq!(named(beyond), Some(Guarantee::Bookmarkable));
        assert_eq!(named(vec![notice(2)]), Some(Guarantee::Reliable)); // 2 had come before it
        let mut future = told(vec![notice(5)]);
        future.request.start_revision = 9;
        assert_eq!(broken(&future), Some(Guarantee::Bookmarkable));
    }

    #[test]
    fn each_broken_filter_is_named() {
        let mut all = told((2..=5).map(batch).collect());
        all.request.range = KeyRange::key("a");
        assert_eq!(broken(&all), Some(Guarantee::Filtered));
        all.request = WatchRequest::new(KeyRange::all()).from_revision(2).no_delete();
        assert_eq!(broken(&all), Some(Guarantee::Filtered));
        all.batches.pop();
        assert_eq!(broken(&all), None);
        all.request.no_put = true;
        assert_eq!(broken(&all), Some(Guarantee::Filtered));
    }

    #[test]
    fn what_was_compacted_may_have_no_previous_and_nothing_else() {
        let mut compacted = oracle();
        compacted.push(&Record::Compaction { revision: 4 }).unwrap();
        let without = |revision| {
            let mut batch = batch(revision);
            batch.events = crate::core::without_previous(&batch.events);
            batch
        };
        let mut from_four = told(vec![without(4), batch(5)]);
        from_four.request.start_revision = 4;
        assert_eq!(compacted.check(&from_four), Ok(()));
        from_four.batches[1] = without(5);
        let violation = compacted.check(&from_four).unwrap_err();
        assert_eq!(violation.guarantee, Guarantee::Previous);
        // Ending with `Compacted` is right below the compaction only.
        let mut ended = Told { complete_to: 0, compacted: Some(4), ..told(vec![batch(2)]) };
        assert_eq!(compacted.check(&ended), Ok(()));
        ended.batches.push(batch(3));
        assert_eq!(compacted.check(&ended).unwrap_err().guarantee, Guarantee::Reliable);
    }

    #[test]
    fn a_record_that_does_not_follow_is_refused() {
        let gap = Record::Transaction { revision: 7, mutations: vec![put("a", "3")] };
        assert_eq!(oracle().push(&gap).unwrap_err().kind(), ErrorKind::Corrupt);
        let delete = Mutation::Delete { range: KeyRange::all(), deleted: 7 };
        let wrong = Record::Transaction { revision: 6, mutations: vec![delete] };
        assert_eq!(oracle().push(&wrong).unwrap_err().kind(), ErrorKind::Corrupt);
        let ahead = Record::Compaction { revision: 6 };
        assert_eq!(oracle().push(&ahead).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_history_may_start_with_the_keys_of_a_revision() {
        let whole = oracle();
        let kvs: Vec<_> = whole.range_at(&KeyRange::all(), 3).cloned().collect();
        assert_eq!(kvs.len(), 3);
        let mut later = Oracle::starting_with(3, kvs);
        for revision in 4..=5 {
            let mutations = match revision {
                4 => vec![put("a", "2")],
                _ => vec![Mutation::Delete { range: KeyRange::range("a", "c"), deleted: 2 }],
            };
            later.push(&Record::Transaction { revision, mutations }).unwrap();
            assert_eq!(later.events(revision), whole.events(revision));
        }
        assert_eq!(later.get_at(b"a", 4).unwrap().value, "2");
        assert_eq!(later.get_at(b"a", 5), None);
    }
}
