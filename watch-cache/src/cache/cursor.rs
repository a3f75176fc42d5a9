//! How a watch goes through the shared log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;

use super::Cache;
use super::pump::Errand;
use super::shared::{Place, Shared, Watchers};
use super::watch::Start;
use crate::core::event::WatchEvent;
use crate::core::interest::Mark;
use crate::core::past::Lost;
use crate::core::pins::Pin;
use crate::core::predicate::Predicate;
use crate::core::root::{JUDGED, Root, Step};
use crate::core::view::expired;
use crate::error::{Error, ErrorKind, Result};

/// How many revisions, or initial objects, are taken from the cache at once.
const TAKE: usize = 64;

/// What the driver knows of who reads the log: a watcher, or a pump's group of watchers.
#[derive(Debug)]
pub(super) struct Slot {
    /// Free once both have let go, so that who comes and goes faster than the driver sees is not
    /// without bound. A group's members have theirs.
    _place: Option<Place<Watchers>>,
    waking: Waking,
    /// The place of its group in the log, once the driver has heard of it.
    pub(super) mark: OnceLock<Arc<Mark>>,
    /// Whether it wants bookmarks.
    pub(super) bookmarks: AtomicBool,
    pub(super) bookmark_due: AtomicBool,
}

#[derive(Debug)]
enum Waking {
    /// A task of its own.
    Task(AtomicWaker),
    /// A pump, which is told once until it looks.
    Pump { pump: mpsc::UnboundedSender<Errand>, group: u32, told: AtomicBool },
}

impl Slot {
    fn new(place: Option<Place<Watchers>>, waking: Waking, bookmarks: bool) -> Arc<Self> {
        Arc::new(Self {
            _place: place,
            waking,
            mark: OnceLock::new(),
            bookmarks: AtomicBool::new(bookmarks),
            bookmark_due: AtomicBool::new(false),
        })
    }

    /// Of a task of its own.
    pub(super) fn of_task(place: Place<Watchers>, bookmarks: bool) -> Arc<Self> {
        Self::new(Some(place), Waking::Task(AtomicWaker::new()), bookmarks)
    }

    /// Of a group in a pump.
    pub(super) fn of_group(pump: mpsc::UnboundedSender<Errand>, group: u32) -> Arc<Self> {
        Self::new(None, Waking::Pump { pump, group, told: AtomicBool::new(false) }, false)
    }

    /// There is something to read.
    pub(super) fn wake(&self) {
        match &self.waking {
            Waking::Task(waker) => waker.wake(),
            Waking::Pump { pump, group, told } => {
                if !told.swap(true, Ordering::AcqRel) {
                    // A pump that is gone has told its watchers so.
                    let _ = pump.send(Errand::Look { group: *group });
                }
            }
        }
    }

    /// To call before reading: what is published later wakes.
    pub(super) fn before_reading(&self, waker: Option<&std::task::Waker>) {
        match (&self.waking, waker) {
            (Waking::Task(own), Some(waker)) => own.register(waker),
            (Waking::Pump { told, .. }, _) => told.store(false, Ordering::Release),
            (Waking::Task(_), None) => {}
        }
    }
}

/// A place in the log: every revision up to `position` was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    epoch: u64,
    pub(super) position: u64,
}

impl Cursor {
    /// Takes the next events of revisions up to `until`; says whether there are more to take. The
    /// mark is that of the predicate's group.
    ///
    /// # Errors
    ///
    /// `Expired` if they left the log. The cursor then is where it was.
    pub(super) fn take(
        &mut self,
        shared: &Shared,
        predicate: &Predicate,
        mark: Option<&Arc<Mark>>,
        until: u64,
        events: &mut impl Extend<WatchEvent>,
    ) -> Result<bool> {
        let mark = mark.filter(|mark| mark.posted && self.position >= mark.since);
        // In this order: see where the driver publishes.
        let settled = shared.settled();
        let head = mark.map(|mark| mark.head());
        let view = shared.view();
        if view.epoch != self.epoch {
            return Err(expired(self.position, view.revision));
        }
        let posts = mark.zip(head).map(|(mark, head)| view.read_posts(mark, self.position, head));
        let (revisions, reached, behind) = if let Some(revisions) = posts.transpose()?.flatten() {
            (revisions, settled.max(head.unwrap_or(0)), false)
        } else {
            let (revisions, reached) = view.read(self.position, TAKE)?;
            (revisions, reached, reached < view.revision.min(until))
        };
        let mut taken = Vec::new();
        for (revision, entries) in revisions.into_iter().take_while(|(at, _)| *at <= until) {
            for entry in entries {
                let event = predicate.event(revision, &entry.version);
                let event = event.map_err(|Lost| expired(self.position, shared.view().log_floor));
                taken.extend(event?);
            }
        }
        events.extend(taken);
        self.position = reached.min(until).max(self.position);
        Ok(behind)
    }
}

/// What is left of the initial events.
#[derive(Debug)]
pub(super) struct Initial {
    root: Arc<Root>,
    after: Option<Bytes>,
    _pin: Pin,
}

impl Initial {
    /// The next objects. There may be none of them, and more after.
    pub(super) fn next(&self, predicate: &Predicate) -> Step {
        let step = self.root.step(predicate, self.after.as_ref(), self.root.revision, TAKE, JUDGED);
        // What is pinned is not lost.
        step.unwrap_or_default()
    }

    /// Goes on after a step that said so.
    pub(super) fn pass(&mut self, after: Option<Bytes>) {
        self.after = after;
    }
}

impl Cache {
    /// Where a watch begins, and what it has to tell before it follows the log.
    pub(super) fn begin(&self, from: Start) -> Result<(Cursor, Option<Initial>)> {
        let view = self.shared.view();
        if !view.ready {
            let message = "the first listing is not in yet: await `ready`";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let cursor = |epoch, position| Cursor { epoch, position };
        Ok(match from {
            Start::Now => (cursor(view.epoch, view.revision), None),
            Start::After(revision) => {
                view.check(revision)?;
                (cursor(view.epoch, revision), None)
            }
            Start::Initial => {
                let (view, pin) = self.shared.pinned();
                let root = Arc::clone(&view.root);
                let initial = Initial { root, after: None, _pin: pin };
                (cursor(view.epoch, view.revision), Some(initial))
            }
        })
    }
}
