//! A store behind a network and replicas that behave as a seed says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::time::sleep;
use watch_cache::{
    CurrentRevision, Error, ErrorKind, Events, Freshness, Listing, MemorySource, RequestProgress,
    Result, Revision, RevisionDigest, Source, SourceEvent,
};

use super::dice::Dice;

/// What stores of the field have done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The answer to a request for progress overtakes events (etcd-io/etcd#15220).
    ProgressOvertakes,
    /// A watch that is read slowly while its next revision is compacted goes on behind that
    /// (etcd-io/etcd#17529).
    StarvedWatchSkips,
    /// A watch that begins at the compacted revision does not have what that deleted
    /// (etcd-io/etcd#18089, etcd-io/etcd#19179).
    CompactedDelete,
    /// A watch that is opened while the server takes in a new state begins after that
    /// (kubernetes/kubernetes#116172).
    OpenedWhileReplaced,
    /// A watch that goes on at a replica which is behind is told what it has had
    /// (etcd-io/etcd#15271, etcd-io/etcd#20221).
    TravelsBack,
}

impl Bug {
    pub(super) const ALL: [Self; 5] = [
        Self::ProgressOvertakes,
        Self::StarvedWatchSkips,
        Self::CompactedDelete,
        Self::OpenedWhileReplaced,
        Self::TravelsBack,
    ];
}

/// The store and the way to it.
pub(super) struct Simulated {
    pub(super) store: MemorySource,
    dice: Mutex<Dice>,
    bug: Option<Bug>,
    /// Whether anything goes wrong now.
    pub(super) troubled: AtomicBool,
    /// How often the bug showed.
    pub(super) shown: AtomicU64,
}

fn unavailable(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the connection broke: retry"))
}

impl Simulated {
    pub(super) fn new(store: MemorySource, seed: u64, bug: Option<Bug>) -> Arc<Self> {
        Arc::new(Self {
            store,
            dice: Mutex::new(Dice::new(seed)),
            bug,
            troubled: AtomicBool::new(true),
            shown: AtomicU64::new(0),
        })
    }

    /// Once in `times`, while there is trouble.
    fn once_in(&self, times: u64) -> bool {
        self.troubled.load(Ordering::Relaxed) && self.dice.lock().once_in(times)
    }

    fn below(&self, end: u64) -> u64 {
        self.dice.lock().below(end)
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug) && self.troubled.load(Ordering::Relaxed)
    }

    fn show(&self) {
        self.shown.fetch_add(1, Ordering::Relaxed);
    }

    async fn travel(&self) {
        if self.once_in(3) {
            sleep(Duration::from_millis(self.below(150))).await;
        }
    }

    /// Whether something under the prefix came after `told`.
    async fn has_after(&self, prefix: &Bytes, told: u64) -> bool {
        let newest = self.store.list(prefix, None).await.unwrap();
        let objects: Vec<_> = newest.objects.try_collect::<Vec<_>>().await.unwrap().concat();
        objects.iter().any(|object| object.mod_revision > told)
    }

    /// One of a few that are behind.
    fn replica(&self) -> u64 {
        let newest = self.store.revision();
        if self.once_in(4) { newest.saturating_sub(self.below(6)).max(1) } else { newest }
    }
}

/// [`Simulated`], as a cache has it.
pub(super) struct Reached(pub(super) Arc<Simulated>);

#[async_trait]
impl Source for Reached {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let it = Arc::clone(&self.0);
        it.travel().await;
        if it.once_in(8) {
            return Err(unavailable("list"));
        }
        let at = at.unwrap_or_else(|| it.replica());
        let listing = it.store.list(prefix, Some(at)).await?;
        let objects: Vec<_> = listing.objects.try_collect::<Vec<_>>().await?.concat();
        let pages: Vec<_> = objects.chunks(3).map(<[_]>::to_vec).collect();
        let objects = stream::iter(pages).then(move |page| {
            let it = Arc::clone(&it);
            async move {
                it.travel().await;
                if it.once_in(20) {
                    let newest = it.store.revision();
                    it.store.compact(newest).unwrap();
                }
                if it.once_in(20) {
                    return Err(unavailable("a page"));
                }
                // A page is read when it is asked for.
                it.store.list(&Bytes::from("-"), Some(at)).await.map(|_| page)
            }
        });
        Ok(Listing { revision: at, objects: objects.boxed() })
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        let it = Arc::clone(&self.0);
        it.travel().await;
        if it.once_in(6) {
            return Err(unavailable("watch"));
        }
        let mut begin = after;
        let mut ready = Vec::new();
        if it.has(Bug::OpenedWhileReplaced) && after < it.store.revision() {
            it.show();
            begin = it.store.revision();
        }
        if it.has(Bug::CompactedDelete)
            && let Err(error) = it.store.list(prefix, Some(after)).await
            && matches!(error.kind(), ErrorKind::Expired { oldest_revision } if oldest_revision == after + 1)
        {
            it.show();
            begin = after + 1;
        }
        if it.has(Bug::TravelsBack)
            && it.once_in(2)
            && let Ok(old) = it.store.watch(prefix, after.saturating_sub(4)).await
        {
            let old = old.take_while(|event| {
                let old =
                    matches!(event, Ok(SourceEvent::Revision(told)) if told.revision <= after);
                std::future::ready(old)
            });
            ready = old.collect().await;
            if !ready.is_empty() {
                it.show();
            }
            ready.reverse();
        }
        let events = it.store.watch(prefix, begin).await?;
        let tail = Tail {
            it,
            prefix: prefix.clone(),
            events,
            ready,
            told: after,
            last: None,
            progress: None,
            ended: false,
        };
        Ok(stream::unfold(tail, Tail::next).boxed())
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        self.0.travel().await;
        self.0.store.digest(prefixes).await
    }

    fn freshness(&self) -> Freshness<'_> {
        match self.0.store.freshness() {
            Freshness::Pushed(_) => Freshness::Pushed(self),
            Freshness::OnRequest(_) => Freshness::OnRequest(self),
            Freshness::ListOnly => Freshness::ListOnly,
        }
    }
}

#[async_trait]
impl CurrentRevision for Reached {
    async fn current_revision(&self) -> Result<u64> {
        self.0.travel().await;
        if self.0.once_in(10) {
            return Err(unavailable("current revision"));
        }
        let current = self.0.store.revision();
        self.0.travel().await;
        Ok(current)
    }
}

#[async_trait]
impl RequestProgress for Reached {
    async fn request_progress(&self) -> Result<()> {
        self.0.travel().await;
        self.0.store.request_progress().await
    }
}

/// A watch on its way to the cache.
struct Tail {
    it: Arc<Simulated>,
    prefix: Bytes,
    events: Events,
    /// What comes before the rest, the first at the end.
    ready: Vec<Result<SourceEvent>>,
    told: u64,
    last: Option<Revision>,
    /// What is told later than it should be.
    progress: Option<u64>,
    ended: bool,
}

impl Tail {
    async fn next(mut self) -> Option<(Result<SourceEvent>, Self)> {
        if self.ended {
            return None;
        }
        let item = self.item().await?;
        self.ended = item.is_err();
        if let Ok(SourceEvent::Revision(revision)) = &item {
            self.told = self.told.max(revision.revision);
            self.last = Some(revision.clone());
        }
        Some((item, self))
    }

    async fn item(&mut self) -> Option<Result<SourceEvent>> {
        if let Some(ready) = self.ready.pop() {
            return Some(ready);
        }
        self.it.travel().await;
        if self.it.once_in(40) {
            return Some(Err(unavailable("watch")));
        }
        if self.it.once_in(40)
            && let Some(last) = self.last.clone()
        {
            return Some(Ok(SourceEvent::Revision(last)));
        }
        if self.it.once_in(60) {
            return Some(Ok(SourceEvent::Progress(self.it.below(self.told + 1))));
        }
        if self.it.has(Bug::ProgressOvertakes)
            && self.it.once_in(10)
            && self.it.has_after(&self.prefix, self.told).await
        {
            self.it.show();
            return Some(Ok(SourceEvent::Progress(self.it.store.revision())));
        }
        match self.events.next().await? {
            Err(error) if self.it.has(Bug::StarvedWatchSkips) => {
                let ErrorKind::Expired { oldest_revision } = error.kind() else {
                    return Some(Err(error));
                };
                self.it.show();
                self.events = self.it.store.watch(&self.prefix, oldest_revision).await.unwrap();
                Box::pin(self.item()).await
            }
            Ok(SourceEvent::Progress(revision)) if self.it.once_in(8) => {
                self.progress = Some(revision);
                Box::pin(self.item()).await
            }
            Ok(SourceEvent::Revision(revision)) if self.progress.is_some() => {
                self.ready.extend(self.progress.take().map(|late| Ok(SourceEvent::Progress(late))));
                Some(Ok(SourceEvent::Revision(revision)))
            }
            item => Some(item),
        }
    }
}
