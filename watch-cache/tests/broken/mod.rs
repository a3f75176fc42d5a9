//! A source that breaks one item of the contract at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use watch_cache::{
    CurrentRevision, Error, ErrorKind, Events, Freshness, Listing, MemorySource, ProgressMode,
    RequestProgress, Result, Revision, RevisionDigest, Source, SourceEvent, SourceObject,
};

/// What a [`BrokenSource`] does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Answers current lists from a revision before.
    StaleList,
    /// Lists in descending order.
    UnsortedList,
    /// Lists more than the prefix.
    WideList,
    /// Lists the current state whatever revision is asked for.
    ListIgnoresRevision,
    /// Delivers each revision twice.
    Repeats,
    /// Leaves out every third revision.
    Drops,
    /// Also delivers the revision that the watch starts after.
    StartsEarly,
    /// Delivers each change of a revision by itself.
    Splits,
    /// Watches compacted history from where it still is.
    SkipsCompacted,
    /// Begins a watch after the current revision, whatever is asked for.
    BeginsLate,
    /// Goes on behind what was compacted before it was read.
    StarvedWatchSkips,
    /// Begins a watch at the compacted revision without what that deleted.
    LosesCompactedDelete,
    /// Answers a request for progress before the events that the answer covers.
    OvertakingProgress,
    /// Tells of progress before the event.
    EarlyProgress,
    /// Tells of progress 0.
    ZeroProgress,
    /// Tells of progress below what was delivered.
    BackwardProgress,
    /// Answers with what the question before should have been told.
    LateAnswer,
    /// Answers with a revision to come.
    AheadAnswer,
    /// Is never heard of progress, though it says that it pushes it.
    SilentProgress,
    /// Does nothing when asked for progress.
    DeafProgress,
    /// Goes on after an error.
    GoesOnAfterError,
    /// Its digest is of more than what was asked for.
    WideDigest,
    /// Its digest is of what was there before.
    StaleDigest,
}

impl Break {
    /// Each break, with the item that it breaks.
    pub(crate) const ALL: &[(Self, usize)] = &[
        (Self::StaleList, 1),
        (Self::UnsortedList, 2),
        (Self::WideList, 2),
        (Self::ListIgnoresRevision, 3),
        (Self::Repeats, 4),
        (Self::Drops, 4),
        (Self::StartsEarly, 4),
        (Self::Splits, 5),
        (Self::BeginsLate, 4),
        (Self::SkipsCompacted, 6),
        (Self::StarvedWatchSkips, 6),
        (Self::LosesCompactedDelete, 6),
        (Self::OvertakingProgress, 7),
        (Self::EarlyProgress, 7),
        (Self::ZeroProgress, 7),
        (Self::BackwardProgress, 7),
        (Self::LateAnswer, 8),
        (Self::AheadAnswer, 8),
        (Self::SilentProgress, 9),
        (Self::DeafProgress, 9),
        (Self::GoesOnAfterError, 10),
        (Self::WideDigest, 11),
        (Self::StaleDigest, 11),
    ];

    /// How the store below speaks of progress.
    pub(crate) fn mode(self) -> ProgressMode {
        match self {
            Self::DeafProgress | Self::OvertakingProgress => ProgressMode::OnRequest,
            _ => ProgressMode::Pushed,
        }
    }
}

pub(crate) struct BrokenSource {
    inner: Arc<MemorySource>,
    kind: Break,
    last_answer: AtomicU64,
    last_digest: Mutex<Option<RevisionDigest>>,
    asked: watch::Sender<()>,
}

impl BrokenSource {
    pub(crate) fn new(inner: Arc<MemorySource>, kind: Break) -> Self {
        let (last_answer, last_digest) = (AtomicU64::new(1), Mutex::new(None));
        Self { inner, kind, last_answer, last_digest, asked: watch::Sender::new(()) }
    }

    async fn broken_list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let at = match self.kind {
            Break::StaleList if at.is_none() => Some(self.inner.revision() - 1),
            Break::ListIgnoresRevision => {
                let listing = self.inner.list(prefix, None).await?;
                return Ok(Listing { revision: at.unwrap_or(listing.revision), ..listing });
            }
            _ => at,
        };
        let wide = prefix.slice(..prefix.len() - 1);
        let prefix = if self.kind == Break::WideList { &wide } else { prefix };
        self.inner.list(prefix, at).await
    }
}

#[async_trait]
impl Source for BrokenSource {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let listing = self.broken_list(prefix, at).await?;
        if self.kind != Break::UnsortedList {
            return Ok(listing);
        }
        let batches: Vec<Vec<SourceObject>> = listing.objects.try_collect().await?;
        let mut objects = batches.concat();
        objects.reverse();
        Ok(Listing { objects: stream::iter([Ok(objects)]).boxed(), ..listing })
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        let from = match self.kind {
            Break::StartsEarly => after - 1,
            Break::BeginsLate => self.inner.revision(),
            Break::LosesCompactedDelete => match self.inner.list(prefix, Some(after)).await {
                Err(error) if expired(&error) => after + 1,
                _ => after,
            },
            _ => after,
        };
        let mut events = self.inner.watch(prefix, from).await?;
        if self.kind == Break::SkipsCompacted {
            let current = self.inner.revision();
            if matches!(self.inner.list(prefix, Some(after)).await, Err(error) if expired(&error)) {
                events = self.inner.watch(prefix, current).await?;
            }
        }
        if self.kind == Break::StarvedWatchSkips {
            let (inner, prefix) = (Arc::clone(&self.inner), prefix.clone());
            let skips = move |event: Result<SourceEvent>| {
                let (inner, prefix) = (Arc::clone(&inner), prefix.clone());
                async move {
                    match event.as_ref().err().map(Error::kind) {
                        Some(ErrorKind::Expired { oldest_revision }) => {
                            inner.watch(&prefix, oldest_revision).await.unwrap()
                        }
                        _ => stream::iter([event]).boxed(),
                    }
                }
            };
            return Ok(events.then(skips).flatten().boxed());
        }
        if self.kind == Break::OvertakingProgress {
            let (inner, asked) = (Arc::clone(&self.inner), self.asked.subscribe());
            let overtakes = stream::unfold((events, asked), move |(mut events, mut asked)| {
                let inner = Arc::clone(&inner);
                async move {
                    let event = tokio::select! {
                        biased;
                        Ok(()) = asked.changed() => Ok(SourceEvent::Progress(inner.revision())),
                        event = events.next() => event?,
                    };
                    Some((event, (events, asked)))
                }
            });
            return Ok(overtakes.boxed());
        }
        let kind = self.kind;
        let mut number = 0_u64;
        let broken = move |event| {
            number += 1;
            stream::iter(broken_event(kind, number, event))
        };
        Ok(events.flat_map(broken).boxed())
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        let wide: Vec<Bytes> =
            prefixes.iter().map(|prefix| prefix.slice(..prefix.len() - 2)).collect();
        let told = match self.kind {
            Break::WideDigest => self.inner.digest(&wide).await?,
            _ => self.inner.digest(prefixes).await?,
        };
        let before = std::mem::replace(&mut *self.last_digest.lock().unwrap(), told);
        Ok(match (self.kind, told, before) {
            (Break::StaleDigest, Some(told), Some(before)) => {
                Some(RevisionDigest { digest: before.digest, ..told })
            }
            _ => told,
        })
    }

    fn freshness(&self) -> Freshness<'_> {
        match self.inner.freshness() {
            Freshness::Pushed(_) => Freshness::Pushed(self),
            Freshness::OnRequest(_) => Freshness::OnRequest(self),
            Freshness::ListOnly => Freshness::ListOnly,
        }
    }
}

fn expired(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Expired { .. })
}

fn broken_event(kind: Break, number: u64, event: Result<SourceEvent>) -> Vec<Result<SourceEvent>> {
    match (kind, event) {
        (Break::Repeats, Ok(SourceEvent::Revision(revision))) => {
            let event = Ok(SourceEvent::Revision(revision));
            vec![event.clone(), event]
        }
        (Break::Drops, Ok(SourceEvent::Revision(_))) if number.is_multiple_of(3) => vec![],
        (Break::Splits, Ok(SourceEvent::Revision(Revision { revision, changes }))) => {
            let one = |change| SourceEvent::Revision(Revision { revision, changes: vec![change] });
            changes.into_iter().map(|change| Ok(one(change))).collect()
        }
        (Break::EarlyProgress, Ok(SourceEvent::Revision(revision))) => {
            let progress = SourceEvent::Progress(revision.revision);
            vec![Ok(progress), Ok(SourceEvent::Revision(revision))]
        }
        (Break::ZeroProgress, Ok(SourceEvent::Progress(_))) => vec![Ok(SourceEvent::Progress(0))],
        (Break::BackwardProgress, Ok(SourceEvent::Progress(progress))) => {
            let back = SourceEvent::Progress(progress - 1);
            vec![Ok(SourceEvent::Progress(progress)), Ok(back)]
        }
        (Break::SilentProgress, Ok(SourceEvent::Progress(_))) => vec![],
        (Break::GoesOnAfterError, Err(error)) => vec![Err(error.clone()), Err(error)],
        (_, event) => vec![event],
    }
}

#[async_trait]
impl CurrentRevision for BrokenSource {
    async fn current_revision(&self) -> Result<u64> {
        let current = self.inner.revision();
        let before = self.last_answer.swap(current, Ordering::SeqCst);
        Ok(match self.kind {
            Break::LateAnswer => before,
            Break::AheadAnswer => current + 1,
            _ => current,
        })
    }
}

#[async_trait]
impl RequestProgress for BrokenSource {
    async fn request_progress(&self) -> Result<()> {
        match self.kind {
            Break::DeafProgress => Ok(()),
            Break::OvertakingProgress => {
                self.asked.send_replace(());
                Ok(())
            }
            _ => self.inner.request_progress().await,
        }
    }
}
