//! What changed since a revision that has left the log.

use std::sync::Arc;

use bytes::Bytes;
use cow_tree::Log;

use super::event::WatchEvent;
use super::object::Object;
use super::predicate::Predicate;
use super::root::Root;
use super::trail::Trail;
use super::view::{Entry, View};

/// So many events are told at once, of whole revisions.
const TAKE: usize = 64;
/// So many changes are looked at at once.
const JUDGED: usize = 1024;

/// The difference between two states, in the order of the last changes, so that a watch that is cut
/// meanwhile goes on after the last event that it was told.
#[derive(Debug)]
pub(crate) struct Resume {
    /// The revision that the watch comes from.
    from: u64,
    /// The revision that it comes to.
    pub(crate) until: u64,
    /// Every change up to here has been told.
    told: u64,
    changes: Changes,
}

#[derive(Debug)]
enum Changes {
    /// All that changed, one after the other.
    Trail { root: Arc<Root>, trail: Trail, log: Log<Entry> },
    /// Of what was or is under one value of an index: in the order of the revisions.
    Listed(Vec<(u64, Bytes, Option<Object>)>),
}

/// Some of what is to be told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) events: Vec<WatchEvent>,
    /// To [pass](Resume::pass) once they are taken.
    pub(crate) reached: u64,
}

impl Resume {
    /// From a revision to the state of a view, whose root has to be pinned; everything up to `told` was
    /// told before. None if what changed since is not known.
    pub(crate) fn new(view: &View, predicate: &Predicate, from: u64, told: u64) -> Option<Self> {
        let known = view.ready
            && (view.trail.since..=view.revision).contains(&told)
            && view.gap(told).is_none();
        known.then(|| {
            let changes = match &predicate.index {
                Some(_) => Changes::Listed(listed(&view.root, predicate, told)),
                None => Changes::Trail {
                    root: Arc::clone(&view.root),
                    trail: view.trail.clone(),
                    log: view.log.clone(),
                },
            };
            Self { from, until: view.revision, told, changes }
        })
    }

    /// What comes next; nothing is left once it has reached the end.
    pub(crate) fn next(&self, predicate: &Predicate) -> Told {
        let mut told = Told { events: Vec::new(), reached: self.until };
        match &self.changes {
            Changes::Trail { root, trail, log } => {
                let traces = trail.traces.from(self.told + 1);
                let traces = traces.flat_map(|(at, traces)| {
                    traces.iter().map(move |trace| (at, trace.key(), None))
                });
                let entries = log.from(self.told.max(trail.until) + 1);
                let entries = entries.flat_map(|(at, entries)| {
                    entries.iter().map(move |entry| (at, entry.version.key(), Some(&entry.version)))
                });
                let mut judged = 0;
                told.fill(traces.chain(entries), |revision, (key, logged)| {
                    judged += 1;
                    let event = self.event(root, predicate, revision, key, logged);
                    (event, judged >= JUDGED)
                });
            }
            Changes::Listed(changes) => {
                let begin = changes.partition_point(|(revision, _, _)| *revision <= self.told);
                let rest = changes.get(begin..).unwrap_or_default().iter();
                let rest = rest.map(|(revision, key, object)| (*revision, key, object));
                told.fill(rest, |revision, (key, object)| {
                    let (key, object) = (Bytes::clone(key), Option::clone(object));
                    (Some(WatchEvent::Coalesced { revision, key, object }), false)
                });
            }
        }
        told
    }

    /// Whether it reads a state, whose root has to be pinned, for as long as it is told. What is listed
    /// is not: the objects that changed under one value of an index.
    pub(crate) fn reads(&self) -> bool {
        matches!(self.changes, Changes::Trail { .. })
    }

    /// Where it comes from, and up to where everything was told.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.from, self.told)
    }

    /// What was told is taken.
    pub(crate) fn pass(&mut self, reached: u64) {
        self.told = reached;
    }

    /// The end of all.
    pub(crate) fn end(&self) -> WatchEvent {
        WatchEvent::Resumed { after: self.from, revision: self.until }
    }

    /// What a change is, unless the key has changed again.
    fn event(
        &self,
        root: &Root,
        predicate: &Predicate,
        revision: u64,
        key: &[u8],
        logged: Option<&Object>,
    ) -> Option<WatchEvent> {
        if revision > self.until || !key.starts_with(&predicate.prefix) {
            return None;
        }
        // What is pinned is not lost.
        let object = match root.get(key).ok()? {
            Some(now) if now.revision() != revision => return None,
            Some(now) if predicate.matches(&now) => Some(now),
            None if logged.is_some_and(|logged| !logged.is_delete()) => return None,
            Some(_) | None => None,
        };
        Some(WatchEvent::Coalesced { revision, key: Bytes::copy_from_slice(key), object })
    }
}

impl Told {
    /// Takes from changes in the order of their revisions until it is enough, and no revision in
    /// part.
    fn fill<K, O>(
        &mut self,
        changes: impl Iterator<Item = (u64, K, O)>,
        mut event: impl FnMut(u64, (K, O)) -> (Option<WatchEvent>, bool),
    ) {
        let mut enough = None;
        for (revision, key, object) in changes {
            if enough.is_some_and(|last| revision > last) {
                self.reached = enough.unwrap_or(self.reached);
                return;
            }
            let (event, judged) = event(revision, (key, object));
            self.events.extend(event);
            if judged || self.events.len() >= TAKE {
                enough = Some(revision);
            }
        }
    }
}

/// What changed after a revision of what is or was under a predicate's value of an index.
fn listed(root: &Root, predicate: &Predicate, from: u64) -> Vec<(u64, Bytes, Option<Object>)> {
    let mut changes = Vec::new();
    for object in root.posted(predicate).filter(|object| object.revision() > from) {
        let taken = predicate.filters(&object);
        changes.push((object.revision(), object.key_bytes(), Some(object).filter(|_| taken)));
    }
    for (key, revision) in root.posted_before(predicate).filter(|(_, ended)| *ended > from) {
        changes.push((revision, Bytes::copy_from_slice(key), None));
    }
    changes.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    changes
}
