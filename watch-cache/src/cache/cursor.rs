//! How a watch goes through the shared log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;

use super::Cache;
use super::pump::Errand;
use super::shared::{Place, Shared, Watchers};
use super::stats::add;
use super::validate::Validator;
use super::watch::{Start, WatchRequest};
use crate::core::bell::Bell;
use crate::core::event::WatchEvent;
use crate::core::mark::Mark;
use crate::core::past::Lost;
use crate::core::pins::Pin;
use crate::core::predicate::Predicate;
use crate::core::publication::Reading;
use crate::core::resume::Resume;
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
    Pump { pump: mpsc::UnboundedSender<Errand>, group: u32, bell: Bell },
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
        Self::new(None, Waking::Pump { pump, group, bell: Bell::new() }, false)
    }

    /// There is something to read.
    pub(super) fn wake(&self) {
        match &self.waking {
            Waking::Task(waker) => waker.wake(),
            Waking::Pump { pump, group, bell } => {
                if bell.ring() {
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
            (Waking::Pump { bell, .. }, _) => bell.answer(),
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
        let Reading { settled, head, view } = shared.read(mark.map(|mark| &**mark));
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

    /// What a watch missed that cannot go on in the log because of an error.
    ///
    /// # Errors
    ///
    /// The error, if it is another than `Expired`, the watch is to be `exact`, or what changed since
    /// is not known any more.
    pub(super) fn resume(
        self,
        shared: &Shared,
        predicate: &Predicate,
        exact: bool,
        error: Error,
    ) -> Result<Backlog> {
        if exact || !matches!(error.kind(), ErrorKind::Expired { .. }) {
            return Err(error);
        }
        let backlog = self.missed(shared, predicate, self.position).ok_or(error)?;
        add(&shared.counters.resumed, 1);
        Ok(backlog)
    }

    /// What a watch is told that was told a part of what it missed since `from`.
    ///
    /// # Errors
    ///
    /// `Expired` if it is not known any more.
    pub(super) fn resume_again(
        self,
        shared: &Shared,
        predicate: &Predicate,
        from: u64,
    ) -> Result<Backlog> {
        let oldest = || expired(self.position, shared.view().log_floor);
        self.missed(shared, predicate, from).ok_or_else(oldest)
    }

    fn missed(self, shared: &Shared, predicate: &Predicate, from: u64) -> Option<Backlog> {
        let (view, pin) = shared.pinned();
        let resume = Resume::new(&view, predicate, from, self.position);
        let resume = resume.filter(|_| view.epoch == self.epoch)?;
        let pin = Some(pin).filter(|_| resume.reads());
        Some(Backlog { tell: Tell::Missed(resume), until: view.revision, _pin: pin })
    }
}

/// What is left to tell before a watch follows the log.
#[derive(Debug)]
pub(super) struct Backlog {
    tell: Tell,
    /// The revision of the state that it leads to.
    until: u64,
    _pin: Option<Pin>,
}

#[derive(Debug)]
enum Tell {
    /// All objects, from the one after this key on.
    Initial { root: Arc<Root>, after: Option<Bytes> },
    /// What changed while the watch was behind the log.
    Missed(Resume),
}

/// Some of what is to be told.
pub(super) struct Part {
    /// There may be none, and more to come.
    pub(super) events: Vec<WatchEvent>,
    /// Every event up to here has come with these.
    pub(super) revision: u64,
    pub(super) last: bool,
    then: Then,
}

/// Where it goes on.
enum Then {
    Key(Option<Bytes>),
    Revision(u64),
}

impl Backlog {
    /// What comes next.
    pub(super) fn next(&self, predicate: &Predicate) -> Part {
        let revision = self.until;
        match &self.tell {
            Tell::Initial { root, after } => {
                let step = root.step(predicate, after.as_ref(), root.revision, TAKE, JUDGED);
                // What is pinned is not lost.
                let Step { objects, after } = step.unwrap_or_default();
                let last = after.is_none();
                let added =
                    objects.into_iter().map(|object| WatchEvent::Added { revision, object });
                let end = last.then_some(WatchEvent::Bookmark { revision, initial_end: true });
                Part { events: added.chain(end).collect(), revision, last, then: Then::Key(after) }
            }
            Tell::Missed(resume) => {
                let mut told = resume.next(predicate);
                let last = told.reached >= self.until;
                told.events.extend(last.then(|| resume.end()));
                let (events, revision) = (told.events, told.reached);
                Part { events, revision, last, then: Then::Revision(revision) }
            }
        }
    }

    /// A part was taken.
    pub(super) fn pass(&mut self, part: Part) {
        match (&mut self.tell, part.then) {
            (Tell::Initial { after, .. }, Then::Key(key)) => *after = key,
            (Tell::Missed(resume), Then::Revision(revision)) => resume.pass(revision),
            // A part is passed to where it comes from.
            (Tell::Initial { .. }, Then::Revision(_)) | (Tell::Missed(_), Then::Key(_)) => {}
        }
    }

    /// Where the watch has missed something from, and up to where it was told, of what keeps a state: it
    /// can be given up, and [begun again](Cursor::resume_again) from there.
    pub(super) fn missed(&self) -> Option<(u64, u64)> {
        match &self.tell {
            Tell::Missed(resume) => resume.reads().then(|| resume.place()),
            Tell::Initial { .. } => None,
        }
    }

    /// Whether it is of initial events.
    pub(super) fn is_initial(&self) -> bool {
        matches!(self.tell, Tell::Initial { .. })
    }

    /// Where the watch follows the log from.
    pub(super) fn end(&self, cursor: Cursor) -> Cursor {
        Cursor { position: self.until, ..cursor }
    }
}

/// A watch that is about to begin, whoever reads it.
pub(super) struct Begun {
    pub(super) id: u64,
    pub(super) place: Place<Watchers>,
    pub(super) predicate: Arc<Predicate>,
    pub(super) cursor: Cursor,
    pub(super) backlog: Option<Backlog>,
    pub(super) validator: Option<Box<Validator>>,
}

impl Cache {
    /// Begins a watch, if it can be answered and there is a place for it.
    pub(super) fn begin(&self, request: WatchRequest) -> Result<Begun> {
        self.shared.check_open()?;
        let predicate = Arc::new(self.predicate(request.prefix, request.selector)?);
        let place = Place::take(&self.shared)?;
        let (cursor, backlog) = self.place_of(request.from, request.exact, &predicate)?;
        let is_initial = backlog.as_ref().map(Backlog::is_initial);
        let validator = self.validator(&predicate, cursor, is_initial);
        let id = self.shared.next_watcher.fetch_add(1, Ordering::Relaxed);
        Ok(Begun { id, place, predicate, cursor, backlog, validator })
    }

    /// Where a watch begins, and what it has to tell before it follows the log.
    fn place_of(
        &self,
        from: Start,
        exact: bool,
        predicate: &Predicate,
    ) -> Result<(Cursor, Option<Backlog>)> {
        let view = self.shared.view();
        if !view.ready {
            let message = "the first listing is not in yet: await `ready`";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let cursor = |epoch, position| Cursor { epoch, position };
        Ok(match from {
            Start::Now => (cursor(view.epoch, view.revision), None),
            Start::After(revision) => {
                let begin = cursor(view.epoch, revision);
                match view.check(revision) {
                    Ok(()) => (begin, None),
                    Err(error) => {
                        (begin, Some(begin.resume(&self.shared, predicate, exact, error)?))
                    }
                }
            }
            Start::Initial => {
                let (view, pin) = self.shared.pinned();
                let tell = Tell::Initial { root: Arc::clone(&view.root), after: None };
                let backlog = Backlog { tell, until: view.revision, _pin: Some(pin) };
                (cursor(view.epoch, view.revision), Some(backlog))
            }
        })
    }
}
