//! Lists and watches the source, and starts again after failures.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::checkpoint::{load, lost};
use super::run::too_large;
use super::shared::Shared;
use super::stats::add;
use crate::core::backoff::Backoff;
use crate::core::checkpoint::Saved;
use crate::core::frontier::{Advance, Breach, Frontier};
use crate::core::object::{Builder, MAX_LEN, Object};
use crate::error::{Error, ErrorKind, Result};
use crate::object::SourceObject;
use crate::source::{Events, Freshness, Source, SourceEvent};

/// After so many events of the source that move nothing other tasks have their turn.
const STEPS: usize = 256;

/// What the driver is to apply next.
#[derive(Debug)]
pub(super) enum Fed {
    /// A listing. It is not `trusted` to continue what was said before if that proved wrong.
    Listed { revision: u64, objects: Vec<Object>, trusted: bool },
    /// A checkpoint.
    Restored(Saved),
    /// What the watches have reached.
    Advanced(Advance),
    /// The source cannot be followed.
    Failed(Error),
}

/// Why following stopped for a moment.
enum Trouble {
    Source(Error),
    Breach(Breach),
    /// What is listed has no room.
    TooLarge,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Source(error)
    }
}

struct Watches {
    frontier: Frontier,
    /// A watch for each prefix.
    lanes: Vec<Events>,
    /// The lane that had something last.
    last: usize,
}

impl Watches {
    /// The next item of any lane, beginning with the one that had the last. A lane that is far
    /// ahead is left alone until the others have caught up, which bounds what waits for them.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Result<SourceEvent>)> {
        let count = self.lanes.len();
        for lane in (self.last..count).chain(0..self.last) {
            if self.frontier.is_ahead(lane) {
                continue;
            }
            let Some(events) = self.lanes.get_mut(lane) else { continue };
            if let Poll::Ready(event) = events.poll_next_unpin(cx) {
                self.last = lane;
                let ended =
                    || Error::new(ErrorKind::Unavailable, "the source's watch ended: watch again");
                return Poll::Ready((lane, event.unwrap_or_else(|| Err(ended()))));
            }
        }
        Poll::Pending
    }
}

struct Feed {
    source: Arc<dyn Source>,
    shared: Arc<Shared>,
    backoff: Backoff,
    /// The revision reached; none before the first listing.
    reached: Option<u64>,
    /// Whether to list before watching again.
    list: bool,
    trusted: bool,
    watches: Option<Watches>,
    /// Whether it is known which store the source is of.
    begun: bool,
    /// The checkpoint that is to be begun from, where there may be one.
    restoring: Option<oneshot::Receiver<Result<Option<Saved>>>>,
}

/// Everything that happens under the cache's prefixes, beginning with a listing.
pub(super) fn feed(
    source: Arc<dyn Source>,
    shared: Arc<Shared>,
) -> impl Stream<Item = Fed> + Send + 'static {
    let config = &shared.config;
    let backoff = Backoff::new(config.backoff, config.backoff_cap, config.seed);
    let restoring = load(&shared);
    let feed = Feed {
        source,
        shared,
        backoff,
        reached: None,
        list: true,
        trusted: true,
        watches: None,
        begun: false,
        restoring,
    };
    stream::unfold(feed, Feed::next)
}

impl Feed {
    async fn next(mut self) -> Option<(Fed, Self)> {
        let mut steps = 0_usize;
        loop {
            steps += 1;
            if steps.is_multiple_of(STEPS) {
                yield_now().await;
            }
            let trouble = match self.step().await {
                Ok(Some(fed)) => return Some((fed, self)),
                Ok(None) => continue,
                Err(trouble) => trouble,
            };
            self.watches = None;
            if let Some(fatal) = self.judge(trouble) {
                return Some((Fed::Failed(fatal), self));
            }
            sleep(self.backoff.failed()).await;
        }
    }

    async fn step(&mut self) -> Result<Option<Fed>, Trouble> {
        // Also where the source fails, so that nothing is waited for.
        if self.shared.anew.notified().now_or_never().is_some() {
            self.distrust();
        }
        if !self.begun {
            return Ok(self.begin().await?);
        }
        if self.list {
            return Ok(Some(self.list().await?));
        }
        let Some(watches) = &mut self.watches else {
            let position = self.reached.unwrap_or(0);
            self.watches = Some(open(&*self.source, &self.shared, position).await?);
            return Ok(None);
        };
        // Every lane ends with an error, and an error ends them all.
        let next = poll_fn(|cx| watches.poll_next(cx));
        let (lane, event) = tokio::select! {
            biased;
            () = self.shared.anew.notified() => {
                self.distrust();
                return Ok(None);
            }
            next = next => next,
        };
        let taken = match event? {
            SourceEvent::Revision(revision) => watches.frontier.revision(lane, revision),
            SourceEvent::Progress(revision) => watches.frontier.progress(lane, revision),
        };
        taken.map_err(Trouble::Breach)?;
        let Some(advance) = watches.frontier.advance() else {
            return Ok(None);
        };
        self.backoff.succeeded();
        self.reached = Some(advance.reached);
        Ok(Some(Fed::Advanced(advance)))
    }

    /// Lists next, and takes that for what is.
    fn distrust(&mut self) {
        (self.watches, self.list, self.trusted) = (None, true, false);
    }

    /// Begins from the checkpoint if it is one of the source's store and its past; if not, a listing
    /// is next.
    async fn begin(&mut self) -> Result<Option<Fed>> {
        let first = self.shared.config.prefixes.first().cloned().unwrap_or_default();
        let store = self.source.store(&first).await?;
        let store = self.shared.store.get_or_init(|| store).as_ref();
        let Some(restoring) = &mut self.restoring else {
            self.begun = true;
            return Ok(None);
        };
        let current = current(&*self.source, &first).await?;
        let saved = restoring.await.unwrap_or_else(|gone| Err(lost(gone)));
        self.restoring = None;
        self.begun = true;
        self.backoff.succeeded();
        match saved.and_then(|saved| saved.map(|saved| of_past(saved, store, current)).transpose())
        {
            Ok(Some(saved)) => {
                let revision = saved.head.revision;
                self.reached = Some(revision);
                self.list = false;
                self.shared.counters.restored_revision.store(revision, Ordering::Relaxed);
                Ok(Some(Fed::Restored(saved)))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.shared.checkpoint_failed(error);
                Ok(None)
            }
        }
    }

    async fn list(&mut self) -> Result<Fed, Trouble> {
        let mut room = self.shared.config.memory_bytes;
        let mut builder = Builder::default();
        let indexes = &self.shared.planner.indexes;
        // Each is copied as it comes, so that nothing of the source's memory is kept.
        let take = |object: SourceObject, revision| {
            let object = builder.put(&object, indexes, revision, None);
            room = room.checked_sub(object.bytes()).ok_or(Trouble::TooLarge)?;
            Ok::<_, Trouble>(object)
        };
        let (revision, objects) =
            list_all(&*self.source, &self.shared.config.prefixes, take).await?;
        if self.trusted && self.reached.is_some_and(|reached| revision < reached) {
            let message =
                format!("the source lists revision {revision}, older than it said before: retry");
            return Err(Error::new(ErrorKind::Unavailable, message).into());
        }
        self.reached = Some(revision);
        self.list = false;
        add(&self.shared.counters.lists, 1);
        let trusted = std::mem::replace(&mut self.trusted, true);
        Ok(Fed::Listed { revision, objects, trusted })
    }

    /// Decides how to go on; returns the error that no retry can help.
    fn judge(&mut self, trouble: Trouble) -> Option<Error> {
        let counters = &self.shared.counters;
        match trouble {
            Trouble::TooLarge => return Some(too_large()),
            Trouble::Breach(breach) => {
                counters.breach(breach);
                self.trusted &= breach != Breach::Early;
                self.list |= breach == Breach::Early;
            }
            Trouble::Source(error) => {
                add(&counters.source_errors, 1);
                match error.kind() {
                    ErrorKind::Invalid | ErrorKind::Closed => return Some(error),
                    ErrorKind::Corrupt => add(&counters.malformed, 1),
                    ErrorKind::Expired { .. } => self.list = true,
                    _ => {}
                }
            }
        }
        None
    }
}

/// A checkpoint, if it is of the source's store, which has reached `current`.
fn of_past(saved: Saved, store: Option<&Bytes>, current: u64) -> Result<Saved> {
    let refused = |what: String| {
        let message = format!("the checkpoint {what}: it is not used, and written anew");
        Err(Error::new(ErrorKind::Invalid, message))
    };
    if saved.head.store.as_ref() != store {
        return refused("is of another store".to_owned());
    }
    if saved.head.revision > current {
        let revision = saved.head.revision;
        return refused(format!("is of revision {revision}, and the source is at {current}"));
    }
    Ok(saved)
}

/// A revision that the source has reached.
async fn current(source: &dyn Source, prefix: &Bytes) -> Result<u64> {
    match source.freshness() {
        Freshness::Pushed(current) => current.current_revision().await,
        Freshness::OnRequest(current) => current.current_revision().await,
        // Nothing of it is read but where it begins.
        Freshness::ListOnly => Ok(source.list(prefix, None).await?.revision),
    }
}

/// Lets the other tasks of this thread run.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn open(source: &dyn Source, shared: &Shared, position: u64) -> Result<Watches> {
    let prefixes = &shared.config.prefixes;
    let mut lanes = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        lanes.push(source.watch(prefix, position).await?);
        add(&shared.counters.watches, 1);
    }
    Ok(Watches { frontier: Frontier::new(prefixes, position), lanes, last: 0 })
}

/// All objects of all prefixes, at one revision, as `take` makes them of what comes.
pub(super) async fn list_all<T, E: From<Error>>(
    source: &dyn Source,
    prefixes: &[Bytes],
    mut take: impl FnMut(SourceObject, u64) -> Result<T, E>,
) -> Result<(u64, Vec<T>), E> {
    let mut objects = Vec::new();
    let mut last = None;
    let mut at = None;
    for prefix in prefixes {
        let mut listing = source.list(prefix, at).await?;
        if listing.revision == 0 || at.is_some_and(|at| at != listing.revision) {
            return Err(malformed(prefix, "it is not at the revision asked for").into());
        }
        at = Some(listing.revision);
        while let Some(batch) = listing.objects.try_next().await? {
            for object in batch {
                check_listed(&object, last.as_ref(), prefix, listing.revision)?;
                last = Some(object.key.clone());
                objects.push(take(object, listing.revision)?);
            }
        }
    }
    Ok((at.unwrap_or(0), objects))
}

fn check_listed(
    object: &SourceObject,
    last: Option<&Bytes>,
    prefix: &Bytes,
    revision: u64,
) -> Result<()> {
    if !object.key.starts_with(prefix) || last.is_some_and(|last| *last >= object.key) {
        return Err(malformed(prefix, "keys are out of order or outside"));
    }
    if object.key.len() + object.value.len() > MAX_LEN {
        return Err(malformed(prefix, "an object has more than 2 GiB"));
    }
    if object.mod_revision > revision {
        return Err(malformed(prefix, "an object is newer than the listing"));
    }
    Ok(())
}

fn malformed(prefix: &Bytes, what: &str) -> Error {
    let message = format!("the source's listing of {prefix:?} is malformed: {what}: list again");
    Error::new(ErrorKind::Corrupt, message)
}
