//! Watches: a cursor into the shared log.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::task::AtomicWaker;

use super::run::Command;
use super::shared::{Place, Shared};
use super::{Cache, Selector};
use crate::core::event::WatchEvent;
use crate::core::interest::Mark;
use crate::core::past::Lost;
use crate::core::pins;
use crate::core::predicate::Predicate;
use crate::core::root::Root;
use crate::core::view::expired;
use crate::error::{Error, ErrorKind, Result};

/// How many revisions, or initial objects, a watcher takes from the cache at once.
const TAKE: usize = 64;

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
}

impl WatchRequest {
    /// A watch of all under `prefix` from now on, without bookmarks.
    pub fn new(prefix: impl Into<Bytes>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Only objects with `value` in the index `name`.
    #[must_use]
    pub fn index(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.selector = Selector::Index { name: name.into(), value: value.into() };
        self
    }

    /// Starts there.
    #[must_use]
    pub fn from(mut self, from: Start) -> Self {
        self.from = from;
        self
    }

    /// With bookmarks.
    #[must_use]
    pub fn bookmarks(mut self) -> Self {
        self.bookmarks = true;
        self
    }
}

/// What the driver knows of a watcher: how to wake it. Its place is free once both have let go, so
/// that who comes and goes faster than the driver sees is not without bound.
#[derive(Debug)]
pub(super) struct Slot {
    _place: Place<fn(&Shared) -> &AtomicUsize>,
    pub(super) waker: AtomicWaker,
    pub(super) mark: OnceLock<Arc<Mark>>,
    pub(super) bookmarks: bool,
    pub(super) bookmark_due: AtomicBool,
}

#[derive(Debug)]
enum Phase {
    Initial { root: Arc<Root>, after: Option<Bytes>, _pin: pins::Pin },
    Following,
    Ended,
}

/// A stream of events in the order of revisions. It ends after its first error: `Expired` when the
/// watcher fell behind the log, `Closed` when the driver is gone.
///
/// A watcher that is not read costs the others nothing, and pins nothing but its initial snapshot
/// (see [`Start::Initial`]).
/// An open watcher keeps the cache's driver going, as a handle does.
pub struct Watcher {
    cache: Cache,
    id: u64,
    slot: Arc<Slot>,
    predicate: Predicate,
    phase: Phase,
    epoch: u64,
    /// Every revision up to here was taken from the log.
    position: u64,
    bookmarked: u64,
    taken: VecDeque<WatchEvent>,
}

impl Cache {
    /// Watches objects.
    ///
    /// # Errors
    ///
    /// `Invalid` if the request is not within the cache's prefixes or names no index; `Expired` if
    /// the revision to start after left the log; `TooLarge` if it was not reached yet (see
    /// [`wait_for`](Self::wait_for)); `Unavailable` if the first listing is not in (see
    /// [`ready`](Self::ready)); `Exhausted` if there are too many watchers; `Closed` if the driver
    /// is gone.
    pub fn watch(&self, request: WatchRequest) -> Result<Watcher> {
        self.shared.check_open()?;
        let predicate = self.predicate(request.prefix, request.selector)?;
        let count: fn(&Shared) -> &AtomicUsize = |shared| &shared.watchers;
        let place = Place::take(&self.shared, self.shared.config.watchers, "watchers", count)?;
        let view = self.shared.view();
        if !view.ready {
            let message = "the first listing is not in yet: await `ready`";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let (epoch, position, phase) = match request.from {
            Start::Now => (view.epoch, view.revision, Phase::Following),
            Start::After(revision) => {
                view.check(revision)?;
                (view.epoch, revision, Phase::Following)
            }
            Start::Initial => {
                let (view, pin) = self.shared.pinned();
                let root = Arc::clone(&view.root);
                let phase = Phase::Initial { root, after: None, _pin: pin };
                (view.epoch, view.revision, phase)
            }
        };
        let watcher = Watcher {
            cache: self.clone(),
            id: self.shared.next_watcher.fetch_add(1, Ordering::Relaxed),
            slot: Arc::new(Slot {
                _place: place,
                waker: AtomicWaker::new(),
                mark: OnceLock::new(),
                bookmarks: request.bookmarks,
                bookmark_due: AtomicBool::new(false),
            }),
            predicate,
            phase,
            epoch,
            position,
            bookmarked: position,
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
            predicate: self.predicate.clone(),
            slot: Arc::clone(&self.slot),
        })
    }

    /// Takes the next initial objects.
    fn take_initial(&mut self) {
        let Phase::Initial { root, after, .. } = &mut self.phase else {
            return;
        };
        let revision = self.position;
        let part = root.select(&self.predicate, after.as_ref());
        let added = |object| WatchEvent::Added { revision, object };
        // What is pinned is not lost.
        self.taken.extend(part.filter_map(Result::ok).take(TAKE).map(added));
        let last = self.taken.back().and_then(WatchEvent::object);
        *after = last.map(|last| Bytes::copy_from_slice(last.key()));
        if self.taken.len() < TAKE {
            self.taken.push_back(WatchEvent::Bookmark { revision, initial_end: true });
            self.phase = Phase::Following;
        }
    }

    /// Takes the next revisions from the log; false if there is nothing to say.
    fn take_log(&mut self) -> Result<bool> {
        // Read before the state: what was published before the end is still delivered.
        let shared = &self.cache.shared;
        let open = shared.check_open();
        let mark = self.slot.mark.get().filter(|mark| mark.posted && self.position >= mark.since);
        // In this order: see where the driver publishes.
        let settled = shared.settled();
        let head = mark.map(|mark| mark.head());
        let view = shared.view();
        if view.epoch != self.epoch {
            return Err(expired(self.position, view.revision));
        }
        let posts = mark.zip(head).map(|(mark, head)| view.read_posts(mark, self.position, head));
        let (revisions, reached, behind) = if let Some(revisions) = posts.transpose()?.flatten() {
            (revisions, settled.max(head.unwrap_or(0)).max(self.position), false)
        } else {
            let (revisions, reached) = view.read(self.position, TAKE)?;
            (revisions, reached, reached < view.revision)
        };
        for (revision, entries) in revisions {
            for entry in entries {
                let event = self.predicate.event(revision, &entry.version);
                let event = event.map_err(|Lost| expired(self.position, shared.view().log_floor));
                self.taken.extend(event?);
            }
        }
        drop(view);
        self.position = reached;
        if self.taken.is_empty() && !behind {
            open?;
            self.bookmark();
        }
        Ok(behind || !self.taken.is_empty())
    }

    fn bookmark(&mut self) {
        if self.slot.bookmark_due.swap(false, Ordering::AcqRel) && self.position > self.bookmarked {
            self.bookmarked = self.position;
            let revision = self.position;
            self.taken.push_back(WatchEvent::Bookmark { revision, initial_end: false });
        }
    }
}

impl Stream for Watcher {
    type Item = Result<WatchEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.taken.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            match self.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Initial { .. } => self.take_initial(),
                Phase::Following => {
                    // Registered before the state is read: a later publication wakes.
                    self.slot.waker.register(cx.waker());
                    match self.take_log() {
                        Ok(true) => {}
                        Ok(false) => return Poll::Pending,
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
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
