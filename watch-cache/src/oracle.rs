//! The guarantees of a watch, as one oracle over a recorded history.
//!
//! A test, or a drill in a running system, records what the source did and what a watcher was
//! told. [`Oracle::check`] replays both and names the first guarantee that is broken.
//!
//! ```
//! use watch_cache::oracle::{Begin, Oracle, Record};
//! use watch_cache::{Change, Revision};
//!
//! let oracle = Oracle::new([Revision { revision: 2, changes: vec![Change::Delete("a".into())] }]);
//! // Nothing was there to delete, so nothing is to be told.
//! let record = Record { begin: Begin::After(1), events: vec![], complete_to: 2 };
//! oracle.check(&record, |_| true).unwrap();
//! ```

mod follower;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::core::event::WatchEvent;
use crate::core::object::Object;
use crate::object::{Change, Revision};

pub use follower::Follower;

/// What a watcher may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// Events come in the order of their revisions, those of a revision in the order of their keys.
    Ordered,
    /// No event comes twice.
    Unique,
    /// No event is missing.
    Reliable,
    /// The events of a revision are not split by another's, nor by a bookmark.
    Atomic,
    /// A watch that starts after a revision delivers exactly what comes after it.
    Resumable,
    /// What a bookmark covers has come before it, and nothing of it comes later.
    Bookmarkable,
    /// Each event is what the revision was to this watcher: its kind, the object as it is and as it
    /// was.
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

/// How a recorded watch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// After a revision.
    After(u64),
    /// With the objects that were there at a revision.
    Initial(u64),
}

/// What a watcher was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How it began.
    pub begin: Begin,
    /// Everything it was told, in order.
    pub events: Vec<WatchEvent>,
    /// The watcher had time to hear of everything up to this revision.
    pub complete_to: u64,
}

type State = BTreeMap<Bytes, Object>;

/// What a source did.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    history: Vec<Revision>,
}

impl Oracle {
    /// A source that began empty and did this, in ascending order.
    pub fn new(history: impl IntoIterator<Item = Revision>) -> Self {
        Self { history: history.into_iter().collect() }
    }

    /// One more revision.
    pub fn push(&mut self, revision: Revision) {
        self.history.push(revision);
    }

    /// The objects at `revision` that `selects` takes, in the order of their keys.
    pub fn state_at(&self, revision: u64, selects: impl Fn(&Object) -> bool) -> Vec<Object> {
        let mut state = State::new();
        for revision in self.history.iter().take_while(|done| done.revision <= revision) {
            step(&mut state, revision, &selects);
        }
        state.into_values().filter(|object| selects(object)).collect()
    }

    /// Whether a watcher of what `selects` takes was told what it was promised.
    ///
    /// # Errors
    ///
    /// The first guarantee that is broken.
    pub fn check(
        &self,
        record: &Record,
        selects: impl Fn(&Object) -> bool,
    ) -> Result<(), Violation> {
        let (start, initial) = match record.begin {
            Begin::After(revision) => (revision, false),
            Begin::Initial(revision) => (revision, true),
        };
        let mut events =
            if initial { self.check_initial(record, start, &selects)? } else { &record.events[..] };
        let mut begin = start;
        while let Some((run, end, rest)) = first_run(events) {
            let coalesced = |event: &WatchEvent| matches!(event, WatchEvent::Coalesced { .. });
            let at = run.iter().position(coalesced).unwrap_or(run.len());
            let (before, run) = run.split_at(at);
            self.check_steps(before, begin, end.0, &selects)?;
            self.check_run(run, end, &selects)?;
            (events, begin) = (rest, end.1);
        }
        self.check_steps(events, begin, record.complete_to, &selects)
    }

    /// Every step after `start`.
    fn check_steps(
        &self,
        events: &[WatchEvent],
        start: u64,
        complete_to: u64,
        selects: &impl Fn(&Object) -> bool,
    ) -> Result<(), Violation> {
        if let Some(event) = events.iter().find(|e| matches!(e, WatchEvent::Coalesced { .. })) {
            return violated(
                Guarantee::Bookmarkable,
                format!("{event:?} is of a run without an end"),
            );
        }
        check_order(events)?;
        check_bookmarks(events)?;
        check_start(events, start)?;
        self.check_events(events, start, complete_to, selects)
    }

    /// Coalesced events lead from the state at one revision to that at another.
    fn check_run(
        &self,
        run: &[WatchEvent],
        (after, until): (u64, u64),
        selects: &impl Fn(&Object) -> bool,
    ) -> Result<(), Violation> {
        let state = |at| self.state_at(at, selects).into_iter();
        let mut held: State = state(after).map(|object| (object.key_bytes(), object)).collect();
        let mut last = (after, None);
        for event in run {
            let WatchEvent::Coalesced { revision, key, object } = event else {
                return violated(Guarantee::Exact, format!("{event:?} came among coalesced ones"));
            };
            let place = (*revision, Some(key));
            if place <= last || *revision <= after || *revision > until {
                return violated(Guarantee::Ordered, format!("{event:?} came after {last:?}"));
            }
            last = place;
            match object {
                Some(object) => held.insert(key.clone(), object.clone()),
                None => held.remove(key),
            };
        }
        let expected: Vec<Object> = state(until).collect();
        let held: Vec<Object> = held.into_values().collect();
        if held != expected {
            return violated(
                Guarantee::Reliable,
                format!("{run:?} after {after} led to {held:?}, not to {expected:?} at {until}"),
            );
        }
        Ok(())
    }

    /// The expected events of every revision above `start`.
    fn expected(&self, start: u64, selects: &impl Fn(&Object) -> bool) -> Vec<WatchEvent> {
        let mut state = State::new();
        let mut expected = Vec::new();
        for revision in &self.history {
            let events = step(&mut state, revision, selects);
            if revision.revision > start {
                expected.extend(events);
            }
        }
        expected
    }

    fn check_initial<'a>(
        &self,
        record: &'a Record,
        start: u64,
        selects: &impl Fn(&Object) -> bool,
    ) -> Result<&'a [WatchEvent], Violation> {
        let end = |event: &WatchEvent| matches!(event, WatchEvent::Bookmark { initial_end, .. } if *initial_end);
        let Some(at) = record.events.iter().position(end) else {
            return violated(Guarantee::Bookmarkable, "the initial events have no end");
        };
        let (initial, rest) = record.events.split_at(at);
        let there = self.state_at(start, selects).into_iter();
        let expected: Vec<WatchEvent> =
            there.map(|object| WatchEvent::Added { revision: start, object }).collect();
        if initial != expected {
            return violated(
                Guarantee::Exact,
                format!("the initial events at {start} are {initial:?}, not {expected:?}"),
            );
        }
        Ok(rest)
    }

    fn check_events(
        &self,
        events: &[WatchEvent],
        start: u64,
        complete_to: u64,
        selects: &impl Fn(&Object) -> bool,
    ) -> Result<(), Violation> {
        let expected = self.expected(start, selects);
        let covered = events.iter().map(WatchEvent::revision).max().unwrap_or(0).max(complete_to);
        let mut told = events.iter().filter(|event| event.object().is_some());
        for expected in expected.iter().filter(|event| event.revision() <= covered) {
            match told.next() {
                Some(event) if event == expected => {}
                Some(event) if place(event) == place(expected) => {
                    return violated(
                        Guarantee::Exact,
                        format!("{event:?} came instead of {expected:?}"),
                    );
                }
                other => {
                    return violated(
                        guarantee_of_a_missing(events, expected),
                        format!("{expected:?} did not come, but {other:?}"),
                    );
                }
            }
        }
        match told.next() {
            Some(event) => violated(Guarantee::Exact, format!("{event:?} came from nowhere")),
            None => Ok(()),
        }
    }
}

/// The events up to the end of a run, the revisions that it leads from and to, and the rest.
type Run<'a> = (&'a [WatchEvent], (u64, u64), &'a [WatchEvent]);

fn first_run(events: &[WatchEvent]) -> Option<Run<'_>> {
    let ends = |event: &WatchEvent| match event {
        WatchEvent::Resumed { after, revision } => Some((*after, *revision)),
        _ => None,
    };
    let (at, end) = events.iter().enumerate().find_map(|(at, event)| Some((at, ends(event)?)))?;
    Some((events.get(..at)?, end, events.get(at + 1..)?))
}

/// A part of a revision is worse than none of it.
fn guarantee_of_a_missing(events: &[WatchEvent], missing: &WatchEvent) -> Guarantee {
    let part =
        |event: &WatchEvent| event.object().is_some() && event.revision() == missing.revision();
    if events.iter().any(part) { Guarantee::Atomic } else { Guarantee::Reliable }
}

fn violated<T>(guarantee: Guarantee, seen: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { guarantee, seen: seen.into() })
}

/// Where an event belongs in a stream.
fn place(event: &WatchEvent) -> (u64, Option<&[u8]>) {
    (event.revision(), event.object().map(Object::key))
}

fn check_order(events: &[WatchEvent]) -> Result<(), Violation> {
    let told = events.iter().filter(|event| event.object().is_some());
    let mut seen = std::collections::BTreeSet::new();
    let mut last = None;
    for event in told {
        let place = place(event);
        if !seen.insert(place) {
            return violated(Guarantee::Unique, format!("{event:?} came twice"));
        }
        if last.is_some_and(|last| last > place) {
            return violated(Guarantee::Ordered, format!("{event:?} came after {last:?}"));
        }
        last = Some(place);
    }
    Ok(())
}

fn check_bookmarks(events: &[WatchEvent]) -> Result<(), Violation> {
    let mut told = 0;
    let mut bookmarked = 0;
    for event in events {
        let revision = event.revision();
        if event.object().is_some() {
            if revision <= bookmarked {
                let seen = format!("{event:?} came after the bookmark {bookmarked}");
                return violated(Guarantee::Bookmarkable, seen);
            }
            told = revision;
        } else {
            if revision < told.max(bookmarked) {
                let seen = format!("the bookmark {revision} came after {told} and {bookmarked}");
                return violated(Guarantee::Bookmarkable, seen);
            }
            bookmarked = revision;
        }
    }
    Ok(())
}

fn check_start(events: &[WatchEvent], start: u64) -> Result<(), Violation> {
    let told = events.iter().filter(|event| event.object().is_some());
    match told.into_iter().find(|event| event.revision() <= start) {
        Some(early) => violated(Guarantee::Resumable, format!("{early:?} came after {start}")),
        None => Ok(()),
    }
}

/// Applies a revision; returns what it is to one who watches what `selects` takes.
fn step(
    state: &mut State,
    revision: &Revision,
    selects: &impl Fn(&Object) -> bool,
) -> Vec<WatchEvent> {
    let mut changes: Vec<&Change> = revision.changes.iter().collect();
    changes.sort_by(|a, b| a.key().cmp(b.key()));
    let revision = revision.revision;
    let mut events = Vec::new();
    for change in changes {
        let (old, new) = match change {
            Change::Put(put) => {
                let new = Object::from(put);
                (state.insert(put.key.clone(), new.clone()), Some(new))
            }
            Change::Delete(key) => (state.remove(key), None),
        };
        let old = old.filter(|old| selects(old));
        events.extend(match (old, new.filter(|new| selects(new))) {
            (None, None) => None,
            (None, Some(object)) => Some(WatchEvent::Added { revision, object }),
            (Some(previous), Some(object)) => {
                Some(WatchEvent::Modified { revision, object, previous })
            }
            (Some(previous), None) => Some(WatchEvent::Deleted { revision, previous }),
        });
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::SourceObject;

    fn put(key: &str, revision: u64) -> SourceObject {
        SourceObject {
            key: Bytes::from(key.to_owned()),
            value: Bytes::new(),
            create_revision: revision,
            mod_revision: revision,
        }
    }

    fn added(key: &str, revision: u64) -> WatchEvent {
        WatchEvent::Added { revision, object: Object::from(&put(key, revision)) }
    }

    fn bookmark(revision: u64) -> WatchEvent {
        WatchEvent::Bookmark { revision, initial_end: false }
    }

    /// Revision 2 puts `a`, revision 3 puts `b` and `c`, revision 4 puts `d`.
    fn broken(begin: u64, events: Vec<WatchEvent>) -> Option<Guarantee> {
        let put = |key, revision| Change::Put(put(key, revision));
        let oracle = Oracle::new([
            Revision { revision: 2, changes: vec![put("a", 2)] },
            Revision { revision: 3, changes: vec![put("c", 3), put("b", 3)] },
            Revision { revision: 4, changes: vec![put("d", 4)] },
        ]);
        let record = Record { begin: Begin::After(begin), events, complete_to: 4 };
        oracle.check(&record, |_| true).err().map(|violation| violation.guarantee)
    }

    #[test]
    fn each_broken_guarantee_is_named() {
        let [a, b, c, d] = [added("a", 2), added("b", 3), added("c", 3), added("d", 4)];
        let all = vec![a.clone(), b.clone(), c.clone(), d.clone()];
        assert_eq!(broken(1, all.clone()), None);
        assert_eq!(broken(2, all[1..].to_vec()), None);
        assert_eq!(broken(2, all.clone()), Some(Guarantee::Resumable));
        let swapped = vec![b.clone(), c.clone(), a.clone(), d.clone()];
        assert_eq!(broken(1, swapped), Some(Guarantee::Ordered));
        let twice = vec![a.clone(), b.clone(), c.clone(), c.clone(), d.clone()];
        assert_eq!(broken(1, twice), Some(Guarantee::Unique));
        assert_eq!(broken(1, vec![b.clone(), c.clone(), d.clone()]), Some(Guarantee::Reliable));
        assert_eq!(broken(1, all[..3].to_vec()), Some(Guarantee::Reliable));
        assert_eq!(broken(1, vec![a.clone(), b.clone(), d.clone()]), Some(Guarantee::Atomic));
        let early = vec![a.clone(), bookmark(3), b.clone(), c.clone(), d.clone()];
        assert_eq!(broken(1, early), Some(Guarantee::Bookmarkable));
        let back = vec![a.clone(), b.clone(), c.clone(), bookmark(2), d.clone()];
        assert_eq!(broken(1, back), Some(Guarantee::Bookmarkable));
        let deleted = WatchEvent::Deleted { revision: 4, previous: Object::from(&put("d", 4)) };
        assert_eq!(broken(1, vec![a, b, c, deleted]), Some(Guarantee::Exact));
    }

    #[test]
    fn a_broken_run_of_coalesced_events_is_named() {
        let coalesced = |key: &str, revision| WatchEvent::Coalesced {
            revision,
            key: Bytes::from(key.to_owned()),
            object: Some(Object::from(&put(key, revision))),
        };
        let gone = WatchEvent::Coalesced { revision: 3, key: Bytes::from("x"), object: None };
        let end = |after| WatchEvent::Resumed { after, revision: 3 };
        let [a, b, c, d] = [added("a", 2), coalesced("b", 3), coalesced("c", 3), added("d", 4)];
        let good = vec![a.clone(), b.clone(), c.clone(), gone, end(2), d.clone()];
        assert_eq!(broken(1, good), None);
        let part = vec![a.clone(), b.clone(), end(2), d.clone()];
        assert_eq!(broken(1, part), Some(Guarantee::Reliable));
        let swapped = vec![a.clone(), c.clone(), b.clone(), end(2), d.clone()];
        assert_eq!(broken(1, swapped), Some(Guarantee::Ordered));
        let endless = vec![a.clone(), b.clone(), c.clone(), d.clone()];
        assert_eq!(broken(1, endless), Some(Guarantee::Bookmarkable));
        let lost = vec![b, c, end(2), d];
        assert_eq!(broken(1, lost), Some(Guarantee::Reliable));
    }
}
