//! What a watcher was told, held against the history.

use std::collections::{BTreeMap, BTreeSet};

use super::{Guarantee, Oracle, Told, Violation};
use crate::core::{Event, EventKind};
use crate::error::Result;
use crate::store::{WatchBatch, WatchRequest};

/// The checks.
impl Oracle {
    /// Whether a watcher was told what it was promised.
    ///
    /// # Errors
    /// The first guarantee that is broken.
    pub fn check(&self, told: &Told) -> Result<(), Violation> {
        if told.batches.iter().any(|batch| batch.more) {
            return self.check_whole(&put_together(told)?);
        }
        self.check_whole(told)
    }

    fn check_whole(&self, told: &Told) -> Result<(), Violation> {
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
        let place = |key: &[u8]| found.iter().position(|event| event.kv.key() == key);
        let places: Vec<_> = expected.iter().map(|event| place(event.kv.key())).collect();
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

/// The same record with whole revisions. The last one may have broken off: it claims nothing then.
fn put_together(told: &Told) -> Result<Told, Violation> {
    let mut batches = Vec::new();
    let mut begun: Option<WatchBatch> = None;
    for batch in &told.batches {
        let batch = match begun.take() {
            None => batch.clone(),
            Some(begun) if begun.revision == batch.revision && !batch.is_progress() => {
                let events = begun.events.iter().chain(batch.events.iter()).cloned();
                WatchBatch { events: events.collect(), ..batch.clone() }
            }
            Some(begun) => {
                let seen = format!("{} broke off before {}", begun.revision, batch.revision);
                return violated(Guarantee::Atomic, seen);
            }
        };
        if batch.more { begun = Some(batch) } else { batches.push(batch) }
    }
    Ok(Told { batches, ..told.clone() })
}

fn by_revision(batch: &WatchBatch) -> (u64, &[Event]) {
    (batch.revision, &batch.events[..])
}

fn wants(request: &WatchRequest, event: &Event) -> bool {
    let left_out = match event.kind {
        EventKind::Put => request.no_put,
        EventKind::Delete => request.no_delete,
    };
    !left_out && request.range.contains(event.kv.key())
}

fn check_places(batches: &[WatchBatch]) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    let mut last = 0;
    for batch in batches.iter().filter(|batch| !batch.is_progress()) {
        for event in batch.events.iter() {
            if event.kv.mod_revision() != batch.revision {
                return violated(Guarantee::Atomic, format!("{event:?} in {}", batch.revision));
            }
            if !seen.insert((batch.revision, event.kv.key())) {
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
