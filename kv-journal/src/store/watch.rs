//! Watchers: a cursor each, over the one log of revisions that the state retains.
//!
//! Nothing is queued for a watcher, so a slow one costs nothing and stalls nobody. It loses
//! nothing either, until a compaction passes its cursor; then it is told so and ends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::sync::{Notify, watch as channel};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::sequencer::yield_once;
use super::shared::{Shared, Watermark};
use crate::core::{Event, EventKind, KeyRange, State, check_range, without_previous};
use crate::error::{Error, ErrorKind, Result};

/// Revisions looked at before other tasks get their turn.
const SCAN_STEP: usize = 1024;

/// Which events to watch, and from where.
///
/// ```
/// use kv_journal::{KeyRange, WatchRequest};
///
/// let request = WatchRequest::new(KeyRange::prefix("pods/")).from_revision(18);
/// assert_eq!(request.start_revision, 18);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchRequest {
    /// Whose events.
    pub range: KeyRange,
    /// The first revision to watch; 0 is the next one.
    pub start_revision: u64,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
    /// Send a progress notice whenever the watcher has caught up and the last revisions held
    /// nothing for it. Many revisions give one notice.
    pub progress_on_advance: bool,
    /// Send a progress notice after every such interval, if the watcher has caught up.
    pub progress_interval: Option<Duration>,
}

impl WatchRequest {
    /// Every event of `range` from the next revision on.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            start_revision: 0,
            no_put: false,
            no_delete: false,
            progress_on_advance: false,
            progress_interval: None,
        }
    }

    /// The same watch, from `revision` on; 0 is the next one.
    #[must_use]
    pub fn from_revision(mut self, revision: u64) -> Self {
        self.start_revision = revision;
        self
    }

    /// The same watch without puts.
    #[must_use]
    pub fn no_put(mut self) -> Self {
        self.no_put = true;
        self
    }

    /// The same watch without deletes.
    #[must_use]
    pub fn no_delete(mut self) -> Self {
        self.no_delete = true;
        self
    }

    /// The same watch with a progress notice whenever revisions passed that held nothing for it.
    #[must_use]
    pub fn progress_on_advance(mut self) -> Self {
        self.progress_on_advance = true;
        self
    }

    /// The same watch with a progress notice every `interval`.
    #[must_use]
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.progress_interval = Some(interval);
        self
    }

    fn wants(&self, event: &Event) -> bool {
        let filtered = match event.kind {
            EventKind::Put => self.no_put,
            EventKind::Delete => self.no_delete,
        };
        !filtered && self.range.contains(&event.kv.key)
    }
}

impl From<KeyRange> for WatchRequest {
    fn from(range: KeyRange) -> Self {
        Self::new(range)
    }
}

/// Everything that one revision holds for a watcher, or a progress notice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchBatch {
    /// The revision. The watcher has seen everything up to and including it.
    pub revision: u64,
    /// Its events in the order of their transaction; never a part of a revision. None in a
    /// progress notice.
    pub events: Arc<[Event]>,
}

impl WatchBatch {
    /// Whether this only says how far the watcher has come.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        self.events.is_empty()
    }
}

/// A [`Stream`] of the events of a range: each revision once, whole, in order.
///
/// It fails once and then ends: with `Compacted` if a compaction passed it, with `Closed` once the
/// driver has ended and everything published before was delivered. It does not keep the store
/// open.
pub struct Watcher {
    batches: Pin<Box<dyn Stream<Item = Result<WatchBatch>> + Send>>,
    asked: Arc<Notify>,
}

impl Watcher {
    pub(super) fn new(
        request: &WatchRequest,
        shared: Arc<Shared>,
        moved: channel::Receiver<Watermark>,
    ) -> Result<Self> {
        check_watch(request)?;
        let state = shared.state();
        let next = match request.start_revision {
            0 => state.revision() + 1,
            start if start < state.compact_revision() => return Err(state.compacted(start)),
            start => start,
        };
        let asked = Arc::new(Notify::new());
        let cursor = Cursor {
            request: request.clone(),
            shared,
            moved,
            asked: Arc::clone(&asked),
            ticks: request.progress_interval.map(ticks),
            next,
            told: next - 1,
            ended: false,
        };
        let batches = futures_util::stream::unfold(cursor, |mut cursor| async move {
            cursor.next().await.map(|batch| (batch, cursor))
        });
        Ok(Self { batches: Box::pin(batches.fuse()), asked })
    }

    /// Asks for a progress notice, which comes once the watcher has caught up. Several requests
    /// may get one answer; a watcher whose start lies in the future gets none until then.
    pub fn request_progress(&self) {
        self.asked.notify_one();
    }
}

impl Stream for Watcher {
    type Item = Result<WatchBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

fn check_watch(request: &WatchRequest) -> Result<()> {
    check_range(&request.range)?;
    if request.range.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "watch: the range is empty"));
    }
    if request.progress_interval.is_some_and(|interval| interval.is_zero()) {
        return Err(Error::new(ErrorKind::Invalid, "watch: the progress interval is zero"));
    }
    Ok(())
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

struct Cursor {
    request: WatchRequest,
    shared: Arc<Shared>,
    moved: channel::Receiver<Watermark>,
    asked: Arc<Notify>,
    ticks: Option<Interval>,
    /// The next revision to look at.
    next: u64,
    /// The consumer knows that it has seen everything up to here.
    told: u64,
    ended: bool,
}

/// What a look at the log found.
enum Scan {
    Batch(WatchBatch),
    /// There is more to look at.
    Unfinished,
    /// Everything published was looked at.
    CaughtUp,
}

/// What woke a watcher that had caught up.
enum Wake {
    Moved,
    ProgressDue,
    Closed,
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<WatchBatch>> {
        if self.ended {
            return None;
        }
        let batch = self.next_batch().await;
        self.ended = batch.is_err();
        Some(batch)
    }

    async fn next_batch(&mut self) -> Result<WatchBatch> {
        loop {
            // Seen before the state is taken, so that nothing published after it goes unnoticed.
            self.moved.borrow_and_update();
            let state = self.shared.state();
            match self.scan(&state)? {
                Scan::Batch(batch) => return Ok(batch),
                Scan::Unfinished => {
                    yield_once().await;
                    continue;
                }
                Scan::CaughtUp => {}
            }
            // An idle watcher keeps no state alive.
            drop(state);
            if self.request.progress_on_advance && self.next - 1 > self.told {
                return Ok(self.progress());
            }
            match self.wait().await {
                Wake::ProgressDue if self.past_start() => return Ok(self.progress()),
                Wake::ProgressDue | Wake::Moved => {}
                Wake::Closed => return Err(self.shared.closed_error()),
            }
        }
    }

    fn scan(&mut self, state: &State) -> Result<Scan> {
        if self.next < state.compact_revision() {
            return Err(state.compacted(self.next));
        }
        for (looked_at, (revision, events)) in state.log(self.next).enumerate() {
            if looked_at == SCAN_STEP {
                return Ok(Scan::Unfinished);
            }
            self.next = revision + 1;
            if let Some(events) = self.wanted(events) {
                self.told = revision;
                let compacted = revision <= state.compact_revision();
                let events = if compacted { without_previous(&events) } else { events };
                return Ok(Scan::Batch(WatchBatch { revision, events }));
            }
        }
        Ok(Scan::CaughtUp)
    }

    /// The events of one revision that this watcher wants. If it wants all, they are shared.
    fn wanted(&self, events: &Arc<[Event]>) -> Option<Arc<[Event]>> {
        let count = events.iter().filter(|event| self.request.wants(event)).count();
        match count {
            0 => None,
            all if all == events.len() => Some(Arc::clone(events)),
            _ => Some(events.iter().filter(|event| self.request.wants(event)).cloned().collect()),
        }
    }

    async fn wait(&mut self) -> Wake {
        let Self { moved, asked, ticks, .. } = self;
        let tick = async {
            match ticks {
                Some(ticks) => {
                    ticks.tick().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            moved = moved.changed() => if moved.is_ok() { Wake::Moved } else { Wake::Closed },
            () = asked.notified() => Wake::ProgressDue,
            () = tick => Wake::ProgressDue,
        }
    }

    /// Whether the watcher, which has caught up, began at a revision that exists by now.
    fn past_start(&self) -> bool {
        self.next <= self.moved.borrow().revision + 1
    }

    fn progress(&mut self) -> WatchBatch {
        self.told = self.next - 1;
        WatchBatch { revision: self.told, events: Arc::default() }
    }
}
