//! What handles, watchers and the driver share.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::Guard;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Duration, Instant};

use super::pump::Errand;
use super::stats::{Counters, Present, Stats, add};
use crate::config::Config;
use crate::core::mark::Mark;
use crate::core::pins::{Pin, Pins};
use crate::core::publication::{Publication, Reading};
use crate::core::schema::Planner;
use crate::core::sync::Held;
use crate::core::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::oracle::Violation;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) planner: Planner,
    pub(super) counters: Counters,
    pub(super) watchers: AtomicUsize,
    /// Whether there is no memory for more watchers.
    pub(super) full: AtomicBool,
    /// Watchers in pumps whose sinks are full.
    pub(super) parked: AtomicUsize,
    /// Watchers in pumps that are not level with their group for another reason.
    pub(super) behind: AtomicUsize,
    /// Nanoseconds of the last publication after `begun`.
    published_at: AtomicU64,
    begun: Instant,
    pub(super) waiters: AtomicUsize,
    pub(super) next_watcher: AtomicU64,
    pub(super) pins: Arc<Pins>,
    /// The source's store, as far as it says which that is; known once it was asked.
    pub(super) store: OnceLock<Option<Bytes>>,
    pub(super) checkpoint_error: Mutex<Option<Error>>,
    /// Whether watches are checked that begin now.
    pub(super) oracle: AtomicBool,
    pub(super) violation: OnceLock<Violation>,
    publication: Publication<View>,
    /// Tells the feed that nothing is to be trusted.
    pub(super) anew: Notify,
    /// Wakes those who read the whole log, at each publication and at the end.
    pub(super) news: watch::Sender<()>,
    pumps: Box<[mpsc::UnboundedSender<Errand>]>,
    closed: OnceLock<Error>,
}

impl Shared {
    pub(super) fn new(
        planner: Planner,
        config: Config,
        pumps: Box<[mpsc::UnboundedSender<Errand>]>,
    ) -> Self {
        Self {
            pins: Arc::default(),
            store: OnceLock::new(),
            checkpoint_error: Mutex::new(None),
            publication: Publication::new(View::new(planner.indexes.len())),
            oracle: AtomicBool::new(false),
            violation: OnceLock::new(),
            anew: Notify::new(),
            news: watch::Sender::new(()),
            pumps,
            config,
            planner,
            counters: Counters::default(),
            watchers: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            behind: AtomicUsize::new(0),
            published_at: AtomicU64::new(0),
            begun: Instant::now(),
            waiters: AtomicUsize::new(0),
            next_watcher: AtomicU64::new(0),
            closed: OnceLock::new(),
        }
    }

    /// The published state. Loading it waits for nobody, and nobody waits for who has it.
    pub(super) fn view(&self) -> Held<View> {
        self.publication.view()
    }

    /// What there is to read for a group.
    pub(super) fn read(&self, mark: Option<&Mark>) -> Reading<View> {
        self.publication.read(mark, |view| view.revision)
    }

    /// The published state, which can be read until the pin is dropped.
    pub(super) fn pinned(&self) -> (Arc<View>, Pin) {
        let Ok(pinned) = self.pin(|view| Ok::<_, Infallible>(view.root.revision));
        pinned
    }

    /// The published state, whose oldest retained revision can be read until the pin is dropped.
    pub(super) fn pinned_past(&self) -> (Arc<View>, Pin) {
        let Ok(pinned) = self.pin(|view| Ok::<_, Infallible>(view.log_floor));
        pinned
    }

    /// The published state, of which a revision can be read until the pin is dropped.
    pub(super) fn pinned_at(&self, revision: u64) -> Result<(Arc<View>, Pin)> {
        self.pin(|view| view.check(revision).map(|()| revision))
    }

    /// The published state with a pin on the revision of it that `at` says.
    fn pin<E>(&self, at: impl Fn(&View) -> Result<u64, E>) -> Result<(Arc<View>, Pin), E> {
        loop {
            let view = Guard::into_inner(self.publication.view());
            // What cannot be pinned any more has a successor that can.
            if let Some(pin) = self.pins.pin(at(&view)?) {
                return Ok((view, pin));
            }
        }
    }

    /// A checkpoint could not be read or written.
    pub(super) fn checkpoint_failed(&self, error: Error) {
        add(&self.counters.checkpoint_errors, 1);
        *self.checkpoint_error.lock() = Some(error);
    }

    /// Counters and sizes, as they are about now.
    pub(super) fn stats(&self) -> Stats {
        let get = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let present = Present {
            watchers: get(&self.watchers),
            parked: get(&self.parked),
            behind: get(&self.behind),
            waiters: get(&self.waiters),
        };
        self.counters.stats(&self.view(), &present)
    }

    /// How long ago the last publication was.
    pub(super) fn since_published(&self) -> Duration {
        let published = Duration::from_nanos(self.published_at.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(published)
    }

    /// Shows a state; what `settle` does is done before its revision is said to be settled.
    pub(super) fn publish<T>(&self, view: View, anew: bool, settle: impl FnOnce() -> T) -> T {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.published_at.store(now, Ordering::Relaxed);
        let revision = view.revision;
        let settled = self.publication.publish(view, revision, anew, settle);
        self.news.send_replace(());
        settled
    }

    /// Says why every later call fails; the first reason stays.
    pub(super) fn close(&self, reason: Error) {
        // A second reason is a consequence of the first.
        if self.closed.set(reason).is_ok() {
            self.news.send_replace(());
            for pump in &self.pumps {
                // One that is gone has told its watchers so.
                let _ = pump.send(Errand::Close);
            }
        }
    }

    /// Where the errands of a watcher go.
    pub(super) fn pump_of(&self, id: u64) -> Option<&mpsc::UnboundedSender<Errand>> {
        let count = self.pumps.len() as u64;
        let at = id.checked_rem(count)?;
        self.pumps.get(usize::try_from(at).ok()?)
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.closed.get() {
            Some(_) => Err(self.closed()),
            None => Ok(()),
        }
    }

    /// The error of a call whose driver is gone.
    pub(super) fn closed(&self) -> Error {
        let error = Error::new(ErrorKind::Closed, "the cache's driver is gone: open it again");
        match self.closed.get() {
            Some(reason) if reason.kind() != ErrorKind::Closed => error.with_source(reason.clone()),
            _ => error,
        }
    }
}

/// What a caller is told that is refused: others come and go within seconds.
const RETRY: Duration = Duration::from_secs(1);

/// What there is a limited number of.
pub(super) trait Counted {
    const WHAT: &'static str;
    /// Whether one more is refused while there is no memory.
    const IS_REFUSED_WHEN_FULL: bool;
    fn count(shared: &Shared) -> &AtomicUsize;
    fn limit(config: &Config) -> usize;
}

#[derive(Debug)]
pub(super) struct Watchers;

impl Counted for Watchers {
    const WHAT: &'static str = "watchers";
    const IS_REFUSED_WHEN_FULL: bool = true;

    fn count(shared: &Shared) -> &AtomicUsize {
        &shared.watchers
    }

    fn limit(config: &Config) -> usize {
        config.watchers
    }
}

#[derive(Debug)]
pub(super) struct Waiters;

impl Counted for Waiters {
    const WHAT: &'static str = "waiters";
    const IS_REFUSED_WHEN_FULL: bool = false;

    fn count(shared: &Shared) -> &AtomicUsize {
        &shared.waiters
    }

    fn limit(config: &Config) -> usize {
        config.waiters
    }
}

/// One of a limited number of places, given back when dropped.
#[derive(Debug)]
pub(super) struct Place<C: Counted> {
    shared: Arc<Shared>,
    of: PhantomData<C>,
}

impl<C: Counted> Place<C> {
    pub(super) fn take(shared: &Arc<Shared>) -> Result<Self> {
        if C::IS_REFUSED_WHEN_FULL && shared.full.load(Ordering::Relaxed) {
            let message = "memory_bytes is reached: retry later, or raise it";
            return Err(Error::new(ErrorKind::Exhausted, message).with_retry_after(RETRY));
        }
        let before = C::count(shared).fetch_add(1, Ordering::Relaxed);
        let place = Self { shared: Arc::clone(shared), of: PhantomData };
        let limit = C::limit(&shared.config);
        if before < limit {
            return Ok(place);
        }
        let what = C::WHAT;
        Err(Error::new(
            ErrorKind::Exhausted,
            format!("{what}: all {limit} are taken: retry later, or raise the limit"),
        )
        .with_retry_after(RETRY))
    }
}

impl<C: Counted> Drop for Place<C> {
    fn drop(&mut self) {
        C::count(&self.shared).fetch_sub(1, Ordering::Relaxed);
    }
}
