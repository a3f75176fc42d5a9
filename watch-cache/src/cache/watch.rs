//! Watches: a cursor into the shared log.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use super::Cache;
use super::cursor::{Backlog, Begun, Cursor, Slot};
use super::run::Command;
use super::validate::Validator;
use crate::core::event::WatchEvent;
use crate::core::predicate::Predicate;
use crate::core::selector::Selector;
use crate::error::Result;

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With what happens from now on.
    #[default]
    Now,
    /// With what happened after this revision.
    After(u64),
    /// With an `Added` for each object that is there now, then a bookmark with `initial_end`, then
    /// with what happens after that.
    ///
    /// Until the bookmark is read the watcher holds the state that it began with, and so every
    /// version of an object that was replaced since, outside of all limits in [`Config`]: read it
    /// on, or drop it.
    ///
    /// [`Config`]: crate::Config
    Initial,
}

/// What to watch.
///
/// ```
/// use watch_cache::{Start, WatchRequest};
///
/// let request = WatchRequest::new("/pods/").index("spec.nodeName", "n1").from(Start::Initial);
/// assert!(!request.bookmarks);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchRequest {
    /// The keys to watch start with it.
    pub prefix: Bytes,
    /// What to select among them.
    pub selector: Selector,
    /// Where to start.
    pub from: Start,
    /// Whether to be told now and then how far the watch has come.
    pub bookmarks: bool,
    /// Whether to be told `Expired` once steps left the log, instead of what changed since as
    /// [`Coalesced`](WatchEvent::Coalesced).
    pub exact: bool,
}

impl WatchRequest {
    /// A watch of all under `prefix` from now on, without bookmarks.
    pub fn new(prefix: impl Into<Bytes>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Only objects with `value` in the index `name`.
    #[must_use]
    pub fn index(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.selector = self.selector.index(name, value);
        self
    }

    /// Only what this selects.
    #[must_use]
    pub fn select(mut self, selector: Selector) -> Self {
        self.selector = selector;
        self
    }

    /// Starts there.
    #[must_use]
    pub fn from(mut self, from: Start) -> Self {
        self.from = from;
        self
    }

    /// Every step, or `Expired`.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// With bookmarks.
    #[must_use]
    pub fn bookmarks(mut self) -> Self {
        self.bookmarks = true;
        self
    }
}

#[derive(Debug)]
enum Phase {
    Behind(Backlog),
    Following,
    Ended,
}

/// A stream of events in the order of revisions. It ends after its first error: `Expired` when the
/// watcher fell behind the log and is to be exact, or what changed since is not known; `Closed` when the
/// driver is gone.
///
/// A watcher that is not read costs the others nothing, and pins nothing but its initial snapshot
/// (see [`Start::Initial`]).
/// An open watcher keeps the cache's driver going, as a handle does.
pub struct Watcher {
    cache: Cache,
    id: u64,
    slot: Arc<Slot>,
    predicate: Arc<Predicate>,
    phase: Phase,
    cursor: Cursor,
    exact: bool,
    validator: Option<Box<Validator>>,
    bookmarked: u64,
    taken: VecDeque<WatchEvent>,
}

impl Cache {
    /// Watches objects.
    ///
    /// # Errors
    ///
    /// `Invalid` if the request is not within the cache's prefixes, names no index, or selects what
    /// only a codec could tell and there is none; `Expired` if the revision to start after left the
    /// log, and the watch is to be exact or what changed since is not known; `TooLarge` if it was not reached yet (see [`wait_for`](Self::wait_for)); `Unavailable` if
    /// the first listing is not in (see [`ready`](Self::ready)); `Exhausted` if there are too many
    /// watchers; `Closed` if the driver is gone.
    pub fn watch(&self, request: WatchRequest) -> Result<Watcher> {
        let (bookmarks, exact) = (request.bookmarks, request.exact);
        let Begun { id, place, predicate, cursor, backlog, validator } = self.begin(request)?;
        let watcher = Watcher {
            cache: self.clone(),
            id,
            slot: Slot::of_task(place, bookmarks),
            predicate,
            phase: backlog.map_or(Phase::Following, Phase::Behind),
            exact,
            validator,
            cursor,
            bookmarked: cursor.position,
            taken: VecDeque::new(),
        };
        watcher.register()?;
        Ok(watcher)
    }
}

impl Watcher {
    fn register(&self) -> Result<()> {
        self.cache.send(Command::Register {
            id: self.id,
            predicate: Arc::clone(&self.predicate),
            slot: Arc::clone(&self.slot),
        })
    }

    /// Takes what comes next of what is told before the log.
    fn take_backlog(&mut self) {
        let Phase::Behind(backlog) = &mut self.phase else {
            return;
        };
        let mut part = backlog.next(&self.predicate);
        self.taken.extend(part.events.drain(..));
        if part.last {
            self.cursor = backlog.end(self.cursor);
            self.bookmarked = self.cursor.position;
            self.phase = Phase::Following;
        } else {
            backlog.pass(part);
        }
    }

    /// Takes the next revisions from the log; false if there is nothing to say.
    fn take_log(&mut self) -> Result<bool> {
        // Read before the state: what was published before the end is still delivered.
        let shared = &self.cache.shared;
        let open = shared.check_open();
        let mark = self.slot.mark.get();
        let behind = self.cursor.take(shared, &self.predicate, mark, u64::MAX, &mut self.taken)?;
        if self.taken.is_empty() && !behind {
            open?;
            self.bookmark();
        }
        Ok(behind || !self.taken.is_empty())
    }

    fn validate(&mut self, event: &WatchEvent) -> Result<()> {
        let Some(validator) = &mut self.validator else { return Ok(()) };
        let level = self.taken.is_empty() && matches!(self.phase, Phase::Following);
        validator.hear(std::slice::from_ref(event), level.then_some(self.cursor.position))
    }

    fn bookmark(&mut self) {
        let revision = self.cursor.position;
        if self.slot.bookmark_due.swap(false, Ordering::AcqRel) && revision > self.bookmarked {
            self.bookmarked = revision;
            self.taken.push_back(WatchEvent::Bookmark { revision, initial_end: false });
        }
    }
}

impl Stream for Watcher {
    type Item = Result<WatchEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.taken.pop_front() {
                if let Err(error) = self.validate(&event) {
                    self.phase = Phase::Ended;
                    self.taken.clear();
                    return Poll::Ready(Some(Err(error)));
                }
                return Poll::Ready(Some(Ok(event)));
            }
            match self.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Behind(_) => {
                    self.take_backlog();
                    if self.taken.is_empty() {
                        // Much was judged and nothing selected: other tasks have their turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Phase::Following => {
                    // Registered before the state is read: a later publication wakes.
                    self.slot.before_reading(Some(cx.waker()));
                    match self.take_log() {
                        Ok(true) => {}
                        Ok(false) => return Poll::Pending,
                        Err(error) => {
                            let shared = &self.cache.shared;
                            match self.cursor.resume(shared, &self.predicate, self.exact, error) {
                                Ok(backlog) => self.phase = Phase::Behind(backlog),
                                Err(error) => {
                                    self.phase = Phase::Ended;
                                    return Poll::Ready(Some(Err(error)));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Without a driver there is nobody who would wake this watcher.
        let _ = self.cache.send(Command::Unregister { id: self.id });
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("predicate", &self.predicate)
            .field("position", &self.cursor.position)
            .finish_non_exhaustive()
    }
}
