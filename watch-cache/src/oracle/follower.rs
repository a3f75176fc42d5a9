//! The guarantees of one watch, checked as its events come.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{Guarantee, Violation};
use crate::core::event::WatchEvent;
use crate::core::object::Object;

/// So many events before a violation are told with it.
const HISTORY: usize = 32;

/// Follows one watch, and holds what a reader of it would: the key and the revision of each object.
///
/// Without the source's history it cannot know that an event is missing the moment it is; what it
/// holds is compared with a state that is known, by [`check_state`](Self::check_state).
///
/// ```
/// use watch_cache::oracle::{Follower, Guarantee};
/// use watch_cache::{Object, SourceObject, WatchEvent};
///
/// let mut follower = Follower::new(1, []);
/// let object: Object = (&SourceObject {
///     key: "/a".into(),
///     value: "1".into(),
///     create_revision: 2,
///     mod_revision: 2,
/// })
///     .into();
/// let added = WatchEvent::Added { revision: 2, object };
/// follower.hear(&added).unwrap();
/// assert_eq!(follower.hear(&added).unwrap_err().guarantee, Guarantee::Unique);
/// ```
#[derive(Debug)]
pub struct Follower {
    held: BTreeMap<Bytes, u64>,
    /// The place of the last event: its revision, and its key.
    last: (u64, Option<Bytes>),
    /// What a bookmark, or the start, has covered.
    covered: u64,
    /// Whether the initial events are still to come to their end.
    initial: bool,
    /// Whether a run of coalesced events is open.
    coalesced: bool,
    history: VecDeque<WatchEvent>,
}

impl Follower {
    /// Of a watch that starts after a revision, at which these objects were in it.
    pub fn new(after: u64, objects: impl IntoIterator<Item = Object>) -> Self {
        let held = objects.into_iter().map(|object| (object.key_bytes(), object.mod_revision()));
        Self {
            held: held.collect(),
            last: (after, None),
            covered: after,
            initial: false,
            coalesced: false,
            history: VecDeque::new(),
        }
    }

    /// Of a watch that starts with initial events.
    #[must_use]
    pub fn initial() -> Self {
        Self { initial: true, ..Self::new(0, []) }
    }

    /// How many objects are in the watch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no object is in the watch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// The first guarantee that it breaks, with the events before it.
    pub fn hear(&mut self, event: &WatchEvent) -> Result<(), Violation> {
        let heard = self.order(event).and_then(|()| self.change(event));
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(event.clone());
        heard.map_err(|guarantee| self.violation(guarantee, &format!("{event:?}")))
    }

    /// Compares what the watch has led to with the objects that are in it, in the order of their
    /// keys, at the revision that it has come to.
    ///
    /// # Errors
    ///
    /// `Reliable` if they are not the same.
    pub fn check_state(&self, objects: impl IntoIterator<Item = Object>) -> Result<(), Violation> {
        let mut held = self.held.iter();
        for object in objects {
            let same = held.next().is_some_and(|(key, revision)| {
                key == object.key() && *revision == object.mod_revision()
            });
            if !same {
                let seen = format!("{object:?} is there, and the watch has not led to it");
                return Err(self.violation(Guarantee::Reliable, &seen));
            }
        }
        match held.next() {
            None => Ok(()),
            Some(gone) => {
                let seen = format!("the watch has led to {gone:?}, which is not there");
                Err(self.violation(Guarantee::Reliable, &seen))
            }
        }
    }

    fn order(&mut self, event: &WatchEvent) -> Result<(), Guarantee> {
        let revision = event.revision();
        match event {
            WatchEvent::Bookmark { .. } | WatchEvent::Resumed { .. } => {
                if revision < self.last.0.max(self.covered) {
                    return Err(Guarantee::Bookmarkable);
                }
                self.covered = revision;
                self.last = (revision, None);
            }
            // Initial events are all of one revision, in the order of the keys.
            _ => {
                let place = (revision, event.key().map(Bytes::copy_from_slice));
                if place == self.last {
                    return Err(Guarantee::Unique);
                }
                if place < self.last {
                    return Err(Guarantee::Ordered);
                }
                if !self.initial && revision <= self.covered {
                    return Err(Guarantee::Bookmarkable);
                }
                self.last = place;
            }
        }
        Ok(())
    }

    fn change(&mut self, event: &WatchEvent) -> Result<(), Guarantee> {
        let as_held = |held: Option<u64>, previous: &Object| {
            if held == Some(previous.mod_revision()) { Ok(()) } else { Err(Guarantee::Exact) }
        };
        let is_end = matches!(event, WatchEvent::Resumed { .. });
        let is_coalesced = matches!(event, WatchEvent::Coalesced { .. });
        if self.coalesced && !is_coalesced && !is_end {
            return Err(Guarantee::Bookmarkable);
        }
        self.coalesced = is_coalesced;
        match event {
            WatchEvent::Added { object, .. } => {
                let held = self.held.insert(object.key_bytes(), object.mod_revision());
                if held.is_some() { Err(Guarantee::Exact) } else { Ok(()) }
            }
            WatchEvent::Modified { object, previous, .. } => {
                let held = self.held.insert(object.key_bytes(), object.mod_revision());
                as_held(held, previous)
            }
            WatchEvent::Deleted { previous, .. } => {
                as_held(self.held.remove(previous.key()), previous)
            }
            WatchEvent::Coalesced { key, object, .. } => {
                match object {
                    Some(object) => self.held.insert(key.clone(), object.mod_revision()),
                    None => self.held.remove(key),
                };
                Ok(())
            }
            WatchEvent::Bookmark { initial_end, .. } => {
                if *initial_end && !std::mem::replace(&mut self.initial, false) {
                    return Err(Guarantee::Bookmarkable);
                }
                Ok(())
            }
            WatchEvent::Resumed { .. } => Ok(()),
        }
    }

    fn violation(&self, guarantee: Guarantee, seen: &str) -> Violation {
        let before: Vec<_> = self.history.iter().collect();
        Violation { guarantee, seen: format!("{seen}; the last events were {before:?}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::SourceObject;

    fn object(key: &str, revision: u64) -> Object {
        let key = Bytes::from(key.to_owned());
        let object =
            SourceObject { key, value: Bytes::new(), create_revision: 1, mod_revision: revision };
        Object::from(&object)
    }

    fn added(key: &str, revision: u64) -> WatchEvent {
        WatchEvent::Added { revision, object: object(key, revision) }
    }

    fn modified(key: &str, from: u64, revision: u64) -> WatchEvent {
        WatchEvent::Modified {
            revision,
            object: object(key, revision),
            previous: object(key, from),
        }
    }

    fn mark(revision: u64, initial_end: bool) -> WatchEvent {
        WatchEvent::Bookmark { revision, initial_end }
    }

    fn broken(mut follower: Follower, events: &[WatchEvent]) -> Option<Guarantee> {
        let (last, before) = events.split_last().unwrap();
        for event in before {
            follower.hear(event).unwrap();
        }
        follower.hear(last).err().map(|violation| violation.guarantee)
    }

    #[test]
    fn each_broken_guarantee_is_named_when_it_is() {
        let follow = || Follower::new(1, [object("a", 1)]);
        let coalesced = |key: &str, revision| WatchEvent::Coalesced {
            revision,
            key: key.to_owned().into(),
            object: None,
        };
        let end = |revision| WatchEvent::Resumed { after: 1, revision };
        let cases: [(&[WatchEvent], Option<Guarantee>); 11] = [
            (&[modified("a", 1, 2), added("b", 2), mark(2, false), added("c", 3)], None),
            (&[added("b", 2), added("b", 2)], Some(Guarantee::Unique)),
            (&[added("c", 3), added("b", 2)], Some(Guarantee::Ordered)),
            (&[added("b", 1)], Some(Guarantee::Bookmarkable)),
            (&[added("b", 2), mark(3, false), added("c", 3)], Some(Guarantee::Bookmarkable)),
            (&[added("b", 2), mark(1, false)], Some(Guarantee::Bookmarkable)),
            (&[added("a", 2)], Some(Guarantee::Exact)),
            (&[modified("a", 7, 8)], Some(Guarantee::Exact)),
            (&[mark(2, true)], Some(Guarantee::Bookmarkable)),
            (&[coalesced("a", 4), end(4), added("a", 5)], None),
            (&[coalesced("a", 4), added("b", 5)], Some(Guarantee::Bookmarkable)),
        ];
        for (events, expected) in cases {
            assert_eq!(broken(follow(), events), expected, "{events:?}");
        }
        let initial = [added("a", 5), added("b", 5), mark(5, true), modified("a", 5, 6)];
        assert_eq!(broken(Follower::initial(), &initial), None);
    }

    #[test]
    fn what_is_missing_is_found_in_the_state_and_told_with_the_history() {
        let mut follower = Follower::new(1, [object("a", 1)]);
        follower.hear(&added("b", 2)).unwrap();
        follower.check_state([object("a", 1), object("b", 2)]).unwrap();
        for state in [&[object("a", 1)][..], &[object("a", 1), object("b", 3)], &[object("b", 2)]] {
            let violation = follower.check_state(state.iter().cloned()).unwrap_err();
            assert_eq!(violation.guarantee, Guarantee::Reliable);
            assert!(violation.seen.contains("the last events were [Added"), "{violation}");
        }
    }
}
