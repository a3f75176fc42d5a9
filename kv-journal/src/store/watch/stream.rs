//! Many watchers in one stream, as etcd's Watch call has them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::inbox::Inbox;
use super::request::{WatchBatch, WatchRequest};
use super::roster::{Next, Roster};
use crate::error::{Error, ErrorKind, Result};
use crate::store::shared::Shared;

/// What a [`WatchStream`] tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WatchMessage {
    /// The watcher exists. It comes before anything else of that watcher.
    Created {
        /// The watcher.
        watch_id: i64,
        /// The newest revision when it was created.
        revision: u64,
    },
    /// The watcher is gone. Nothing of it comes after this, and its number is free again.
    Canceled {
        /// The watcher.
        watch_id: i64,
        /// The newest revision when it was canceled.
        revision: u64,
        /// Why: `Compacted` with the compact revision if what it had not seen was compacted; `None`
        /// if it was asked for.
        reason: Option<Error>,
    },
    /// A revision that holds something for the watcher, or a part of one if it asked for fragments.
    Events {
        /// The watcher.
        watch_id: i64,
        /// The events.
        batch: WatchBatch,
    },
    /// Everything up to a revision was told.
    Progress {
        /// To this watcher; `None`: to all watchers of the stream.
        watch_id: Option<i64>,
        /// The revision.
        revision: u64,
    },
}

/// A [`Stream`] of what many watchers see, one [`WatchMessage`] after the other.
///
/// Each watcher gets each revision that holds something for it once, whole and in order; watchers
/// that have something take turns. Nothing is queued but what watchers are there: a stream that is
/// not read costs nothing, stalls nobody and loses nothing until a compaction passes it. It fails
/// once, with `Closed`, when the store's driver has ended and everything published was told, and
/// then ends. It does not keep the store open. Dropping it drops its watchers.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use futures_util::StreamExt;
/// use kv_journal::{Config, KeyRange, MemoryJournal, PutRequest, Store, WatchMessage, WatchRequest};
///
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
/// tokio::spawn(driver);
///
/// let mut stream = store.watch_stream()?;
/// let pods = stream.create(WatchRequest::new(KeyRange::prefix("pods/")))?;
/// let node = stream.create(WatchRequest::new(KeyRange::key("nodes/a")))?;
/// store.put(PutRequest::new("nodes/a", "ready")).await?;
///
/// let mut told = Vec::new();
/// while told.len() < 3 {
///     told.extend(stream.next().await.transpose()?);
/// }
/// assert!(matches!(told[0], WatchMessage::Created { watch_id, .. } if watch_id == pods));
/// assert!(matches!(told[1], WatchMessage::Created { watch_id, .. } if watch_id == node));
/// assert!(matches!(told[2], WatchMessage::Events { watch_id, .. } if watch_id == node));
/// # Ok(()) }
/// ```
pub struct WatchStream {
    handle: WatchHandle,
    /// Runs while a progress notice is due some time.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Creates and cancels the watchers of a [`WatchStream`], from anywhere. Clones act on the same
/// stream.
#[derive(Clone)]
pub struct WatchHandle {
    desk: Arc<Desk>,
}

/// What a stream and its handles share.
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox>,
    /// The stream's number in the hub.
    pub(super) number: usize,
    pub(super) limits: Limits,
    roster: Mutex<Roster>,
}

impl WatchHandle {
    /// Adds a watcher and returns its number. It sees every event after this call, or from its
    /// start. If its start was compacted it is created and canceled at once.
    ///
    /// # Errors
    /// `Invalid` if the range is empty, the progress interval too short or the number taken: etcd
    /// answers that with created, canceled and the number -1. `Exhausted` if the stream has as many
    /// watchers as it may ([`Config::watch_stream_len`](crate::Config::watch_stream_len)), those
    /// counted whose cancellation was not read; `Closed` if the stream or the store is.
    pub fn create(&self, request: impl Into<WatchRequest>) -> Result<i64> {
        let request = request.into();
        request.check()?;
        let created = self.desk.roster.lock().create(&self.desk, &request, Instant::now());
        self.desk.inbox.nudge().wake();
        created
    }

    /// Removes a watcher, if it is there, and says whether it was. The last that comes of it is
    /// [`WatchMessage::Canceled`].
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn cancel(&self, watch_id: i64) -> bool {
        let canceled = self.desk.roster.lock().cancel_by_id(&self.desk, watch_id);
        self.desk.inbox.nudge().wake();
        canceled
    }

    /// The newest published revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.desk.shared.with_state(crate::core::State::revision)
    }

    /// Asks for a progress notice of the whole stream. It comes once everything that is published
    /// now was told to every watcher. There is none if a watcher's start lies in the future then;
    /// several requests may get one answer.
    pub fn request_progress(&self) {
        self.desk.roster.lock().ask_progress(&self.desk);
        self.desk.inbox.nudge().wake();
    }
}

impl WatchStream {
    pub(in crate::store) fn new(shared: Arc<Shared>, limits: Limits) -> Result<Self> {
        let inbox = Arc::new(Inbox::new());
        let closed = |error: Error| match error.kind() {
            ErrorKind::Closed => shared.closed_error(),
            _ => error,
        };
        let number = shared.hub.add_stream(&inbox).map_err(closed)?;
        let roster = Mutex::new(Roster::new());
        let desk = Arc::new(Desk { shared, inbox, number, limits, roster });
        Ok(Self { handle: WatchHandle { desk }, sleep: None })
    }

    /// A handle with which another task can create and cancel watchers.
    #[must_use]
    pub fn handle(&self) -> WatchHandle {
        self.handle.clone()
    }

    /// As [`WatchHandle::create`].
    ///
    /// # Errors
    /// The same.
    pub fn create(&self, request: impl Into<WatchRequest>) -> Result<i64> {
        self.handle.create(request)
    }

    /// As [`WatchHandle::cancel`].
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn cancel(&self, watch_id: i64) -> bool {
        self.handle.cancel(watch_id)
    }

    /// As [`WatchHandle::request_progress`].
    pub fn request_progress(&self) {
        self.handle.request_progress();
    }

    fn poll_sleep(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else {
            self.sleep = None;
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx)
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchMessage>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let desk = &self.handle.desk;
            let next = desk.roster.lock().next(desk, cx.waker());
            match next {
                Next::Message(message) => return Poll::Ready(Some(Ok(message))),
                Next::Failed(error) => return Poll::Ready(Some(Err(error))),
                Next::Ended => return Poll::Ready(None),
                Next::Later => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::Idle { due } => ready!(self.poll_sleep(cx, due)),
            }
        }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let desk = &self.handle.desk;
        desk.roster.lock().end(desk);
        desk.shared.hub.remove_stream(desk.number);
    }
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream").finish_non_exhaustive()
    }
}

impl fmt::Debug for WatchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchHandle").finish_non_exhaustive()
    }
}
