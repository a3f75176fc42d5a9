//! A decorator that fails on command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::{broadcast, watch};

use super::{
    CurrentRevision, Events, Freshness, Listing, RequestProgress, RevisionDigest, Source,
    SourceEvent,
};
use crate::error::{Error, ErrorKind, Result};

/// How many injected items a watch may be behind.
const INJECTED: usize = 64;

/// A [`Source`] that behaves as the one it wraps until it is told to fail: what tests of a cache
/// need, and what a drill in a running system can use.
///
/// ```
/// use std::sync::Arc;
/// use watch_cache::{FaultSource, MemorySource};
///
/// let source = Arc::new(FaultSource::new(Arc::new(MemorySource::new())));
/// source.fail_lists(2); // the next two lists are `Unavailable`
/// source.cut_watches(); // every open watch ends with an error
/// ```
pub struct FaultSource {
    inner: Arc<dyn Source>,
    lists: AtomicU64,
    watches: AtomicU64,
    questions: AtomicU64,
    asked: AtomicU64,
    held: watch::Sender<bool>,
    injected: broadcast::Sender<Result<SourceEvent>>,
}

impl FaultSource {
    /// Wraps `inner`, without faults.
    #[must_use]
    pub fn new(inner: Arc<dyn Source>) -> Self {
        Self {
            inner,
            lists: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            questions: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            held: watch::Sender::new(false),
            injected: broadcast::Sender::new(INJECTED),
        }
    }

    /// Lets the next `count` lists fail.
    pub fn fail_lists(&self, count: u64) {
        self.lists.store(count, Ordering::SeqCst);
    }

    /// Lets the next `count` watches fail to open.
    pub fn fail_watches(&self, count: u64) {
        self.watches.store(count, Ordering::SeqCst);
    }

    /// Lets the next `count` questions for the current revision fail.
    pub fn fail_questions(&self, count: u64) {
        self.questions.store(count, Ordering::SeqCst);
    }

    /// Ends every open watch with an error.
    pub fn cut_watches(&self) {
        self.inject(Err(unavailable("watch")));
    }

    /// Tells every open watch that its revision was compacted.
    pub fn expire_watches(&self) {
        let kind = ErrorKind::Expired { oldest_revision: 0 };
        self.inject(Err(Error::new(kind, "injected: compacted: list again")));
    }

    /// Puts `item` into every open watch, before what else it has to say.
    pub fn inject(&self, item: Result<SourceEvent>) {
        // Without an open watch there is nobody to tell.
        let _ = self.injected.send(item);
    }

    /// While held, questions for the current revision are answered by the source, and the answers
    /// wait here.
    pub fn hold_answers(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// How many questions for the current revision came in.
    #[must_use]
    pub fn questions_asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for FaultSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultSource").finish_non_exhaustive()
    }
}

fn unavailable(call: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{call}: injected failure: retry"))
}

fn take_fault(left: &AtomicU64, call: &str) -> Result<()> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)) {
        Ok(_) => Err(unavailable(call)),
        Err(_) => Ok(()),
    }
}

/// Joins what is injected with what the source says, and ends after an error.
async fn next_item(
    (mut events, mut injected, failed): (Events, broadcast::Receiver<Result<SourceEvent>>, bool),
) -> Option<(Result<SourceEvent>, (Events, broadcast::Receiver<Result<SourceEvent>>, bool))> {
    if failed {
        return None;
    }
    let item = tokio::select! {
        biased;
        Ok(item) = injected.recv() => item,
        item = events.next() => item?,
    };
    let failed = item.is_err();
    Some((item, (events, injected, failed)))
}

#[async_trait]
impl Source for FaultSource {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        take_fault(&self.lists, "list")?;
        self.inner.list(prefix, at).await
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        take_fault(&self.watches, "watch")?;
        let injected = self.injected.subscribe();
        let events = self.inner.watch(prefix, after).await?;
        Ok(stream::unfold((events, injected, false), next_item).fuse().boxed())
    }

    async fn store(&self, prefix: &Bytes) -> Result<Option<Bytes>> {
        self.inner.store(prefix).await
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        self.inner.digest(prefixes).await
    }

    fn freshness(&self) -> Freshness<'_> {
        match self.inner.freshness() {
            Freshness::Pushed(_) => Freshness::Pushed(self),
            Freshness::OnRequest(_) => Freshness::OnRequest(self),
            Freshness::ListOnly => Freshness::ListOnly,
        }
    }
}

#[async_trait]
impl CurrentRevision for FaultSource {
    async fn current_revision(&self) -> Result<u64> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        take_fault(&self.questions, "current revision")?;
        let answer = match self.inner.freshness() {
            Freshness::Pushed(ask) => ask.current_revision().await,
            Freshness::OnRequest(ask) => ask.current_revision().await,
            Freshness::ListOnly => {
                Err(Error::new(ErrorKind::Invalid, "the source can only list: list instead"))
            }
        };
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        answer
    }
}

#[async_trait]
impl RequestProgress for FaultSource {
    async fn request_progress(&self) -> Result<()> {
        match self.inner.freshness() {
            Freshness::OnRequest(ask) => ask.request_progress().await,
            Freshness::Pushed(_) | Freshness::ListOnly => Ok(()),
        }
    }
}
