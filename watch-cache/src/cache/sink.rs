//! Watches that are pushed: many sinks, served by few pumps.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::Cache;
use super::cursor::Begun;
use super::pump::{Errand, Joining};
use super::shared::{Place, Watchers};
use super::validate::Validator;
use super::watch::WatchRequest;
use crate::core::event::WatchEvent;
use crate::error::{Error, ErrorKind, Result};

/// Where a pump puts what a watch tells.
///
/// A pump calls its sinks one after another: none of them may block or panic, and what takes long
/// belongs behind a queue. A panic ends the pump, and with it all of its watches.
pub trait Sink: Send + 'static {
    /// Takes the next events, or refuses all of them.
    fn deliver(&mut self, delivery: &Delivery) -> Flow;

    /// Nothing comes any more: `Expired` when the watch fell behind the log, `Closed` when the
    /// driver or the pump is gone. It is not called after [`Flow::Done`], nor once the
    /// [`Subscription`] is dropped.
    fn end(&mut self, error: Error);
}

/// What a sink did with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// It was taken.
    Taken,
    /// Nothing of it was taken. The watch is parked where it was before, at no cost to others and
    /// holding nothing in memory, until [`Subscription::resume`]; then it catches up from the log.
    Full,
    /// The watch is over.
    Done,
}

/// Whole revisions in their order, or a part of the initial events. All watches of one selection
/// share it; cloning counts a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    events: Arc<[WatchEvent]>,
    revision: u64,
}

impl Delivery {
    pub(super) fn new(events: Vec<WatchEvent>, revision: u64) -> Self {
        Self { events: events.into(), revision }
    }

    /// The events; never none.
    #[must_use]
    pub fn events(&self) -> &[WatchEvent] {
        &self.events
    }

    /// Every event up to this revision has come with it or before it. During initial events it is
    /// the revision of the state that they are of.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

/// A watch into a sink. Dropping it ends the watch: the sink is dropped soon, and may be called
/// until then. It keeps the cache's driver going, as a handle does.
#[must_use = "dropping it ends the watch"]
pub struct Subscription {
    cache: Cache,
    id: u64,
}

impl Cache {
    /// Watches objects, and has a pump put the events into `sink`.
    ///
    /// This is for very many watches: those of one selection share the reading of the log and their
    /// events, and one costs about 200 bytes beside its sink. A watch of a few is simpler as a
    /// [`Watcher`](super::Watcher). The sink is called by the driver, or by the pumps that were
    /// [taken](super::Driver::take_pumps) from it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use watch_cache::{Cache, Config, Delivery, Error, Flow, MemorySource, Sink, WatchRequest};
    ///
    /// struct Queue(tokio::sync::mpsc::Sender<Delivery>);
    ///
    /// impl Sink for Queue {
    ///     fn deliver(&mut self, delivery: &Delivery) -> Flow {
    ///         match self.0.try_reserve() {
    ///             Ok(place) => {
    ///                 place.send(delivery.clone());
    ///                 Flow::Taken
    ///             }
    ///             Err(_) => Flow::Full,
    ///         }
    ///     }
    ///     fn end(&mut self, error: Error) {
    ///         eprintln!("the watch ended: {error}");
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> watch_cache::Result<()> {
    /// let source = Arc::new(MemorySource::new());
    /// let (cache, driver) = Cache::open(source.clone(), vec![], Config::default())?;
    /// tokio::spawn(driver);
    /// cache.ready().await?;
    ///
    /// let (queue, mut deliveries) = tokio::sync::mpsc::channel(16);
    /// let watch = cache.watch_into(WatchRequest::new("/pods/"), Queue(queue))?;
    /// let revision = source.put("/pods/a", "running");
    /// let delivery = deliveries.recv().await.unwrap();
    /// assert_eq!(delivery.events()[0].revision(), revision);
    /// watch.resume(); // there is room again: to be said after `Flow::Full`
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`watch`](Self::watch), and `Closed` if the pump is gone.
    pub fn watch_into(&self, request: WatchRequest, sink: impl Sink) -> Result<Subscription> {
        let (bookmarks, exact) = (request.bookmarks, request.exact);
        let Begun { id, place, predicate, cursor, backlog, validator } = self.begin(request)?;
        let sink = Box::new(sink);
        let member = Member { id, sink, bookmarks, exact, validator, _place: place };
        let subscription = Subscription { cache: self.clone(), id };
        let joining = Joining { predicate, member, cursor, backlog };
        subscription.send(Errand::Join(Box::new(joining)))?;
        Ok(subscription)
    }
}

impl Subscription {
    /// The sink has room again: what was refused is offered once more. It does nothing for a watch
    /// that is not parked.
    pub fn resume(&self) {
        // Without a pump the sink has been told the end.
        let _ = self.send(Errand::Resume { id: self.id });
    }

    fn send(&self, errand: Errand) -> Result<()> {
        let gone = || Error::new(ErrorKind::Closed, "the cache's pump is gone: open it again");
        let pump = self.cache.shared.pump_of(self.id).ok_or_else(gone)?;
        pump.send(errand).map_err(|_| gone())?;
        // What comes in while it is being closed stays there unread: see `Cache::send`.
        fence(Ordering::SeqCst);
        if pump.is_closed() { Err(gone()) } else { Ok(()) }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _ = self.send(Errand::Leave { id: self.id });
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Member {
    /// Offers a delivery; with the revision that the watch has come to where it follows the log.
    pub(super) fn offer(&mut self, delivery: &Delivery, reached: Option<u64>) -> Offered {
        match self.sink.deliver(delivery) {
            Flow::Taken => {}
            Flow::Full => return Offered::Full,
            Flow::Done => return Offered::Over,
        }
        if let Some(validator) = &mut self.validator
            && let Err(error) = validator.hear(delivery.events(), reached)
        {
            self.sink.end(error);
            return Offered::Over;
        }
        Offered::Taken
    }
}

/// What came of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    Taken,
    Full,
    /// The watch is over, and knows.
    Over,
}

/// One who watches, as a pump has it.
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) sink: Box<dyn Sink>,
    pub(super) bookmarks: bool,
    pub(super) exact: bool,
    pub(super) validator: Option<Box<Validator>>,
    pub(super) _place: Place<Watchers>,
}
