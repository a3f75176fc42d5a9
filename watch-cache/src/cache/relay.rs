//! A cache as the source of another one.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::watch;

use super::Cache;
use super::list::{At, ListRequest};
use crate::core::object::Object;
use crate::core::selector::Selector;
use crate::core::view::{Logged, expired};
use crate::error::Result;
use crate::object::{Change, Revision, SourceObject};
use crate::source::{
    CurrentRevision, Events, Freshness, Listing, RevisionDigest, Source, SourceEvent,
};

/// Revisions that are taken from the log at once.
const TAKE: usize = 64;

/// A relay: the cache as a source, with the revisions of its own. All that read it share its memory of
/// objects as far as they keep what they are given, and it asks its source one question for all of them.
///
/// A list waits as [`At::Consistent`] and [`At::Exactly`] do. A watch is told every step, and is
/// [`Expired`](crate::ErrorKind::Expired) where the cache does not know one.
///
/// ```
/// # use std::sync::Arc;
/// # use watch_cache::{Cache, Config, ListRequest, MemorySource};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> watch_cache::Result<()> {
/// let source = Arc::new(MemorySource::new());
/// let (central, driver) = Cache::open(source.clone(), vec![], Config::default())?;
/// tokio::spawn(driver);
/// let mut config = Config::default();
/// config.prefixes = vec!["/pods/".into()];
/// let (edge, driver) = Cache::open(Arc::new(central), vec![], config)?;
/// tokio::spawn(driver);
///
/// let revision = source.put("/pods/a", "running");
/// let pods = edge.list(ListRequest::new("/pods/")).await?; // consistent, through both
/// assert_eq!((pods.revision, pods.objects.len()), (revision, 1));
/// # Ok(())
/// # }
/// ```
#[async_trait]
impl Source for Cache {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let at = at.map_or(At::Consistent, At::Exactly);
        // Its first answer waits for the first listing, as the source's own would.
        self.ready().await?;
        let listed = self.list_stream(ListRequest::new(prefix.clone()).at(at)).await?;
        let revision = listed.revision();
        let objects = listed.map_ok(|some| some.iter().map(SourceObject::from).collect());
        Ok(Listing { revision, objects: objects.boxed() })
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        self.ready().await?;
        self.predicate(prefix.clone(), Selector::default())?;
        // Before the view is looked at, so that no later one is missed.
        let news = self.shared.news.subscribe();
        let epoch = self.shared.view().epoch;
        let relayed = Relayed {
            cache: self.clone(),
            news,
            prefix: prefix.clone(),
            epoch,
            position: after,
            ready: VecDeque::new(),
            ended: false,
        };
        Ok(stream::unfold(relayed, Relayed::next).boxed())
    }

    async fn store(&self, _: &Bytes) -> Result<Option<Bytes>> {
        self.ready().await?;
        Ok(self.shared.store.get().cloned().flatten())
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        self.digest_of(prefixes).await.map(Some)
    }

    fn freshness(&self) -> Freshness<'_> {
        Freshness::Pushed(self)
    }
}

#[async_trait]
impl CurrentRevision for Cache {
    async fn current_revision(&self) -> Result<u64> {
        self.wait_fresh().await?;
        Ok(self.revision())
    }
}

/// A watch of a relay.
struct Relayed {
    /// An open watch keeps the driver going.
    cache: Cache,
    news: watch::Receiver<()>,
    prefix: Bytes,
    epoch: u64,
    /// Everything up to here was taken from the log.
    position: u64,
    /// What was taken, and is to be told.
    ready: VecDeque<SourceEvent>,
    ended: bool,
}

impl Relayed {
    async fn next(mut self) -> Option<(Result<SourceEvent>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended {
                return None;
            }
            self.news.borrow_and_update();
            let before = self.position;
            if let Err(error) = self.take() {
                self.ended = true;
                return Some((Err(error), self));
            }
            // Where something was taken there may be more.
            if self.position == before && self.news.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Takes what is next in the log, and says how far that is.
    fn take(&mut self) -> Result<()> {
        let shared = &self.cache.shared;
        shared.check_open()?;
        let view = shared.view();
        if view.epoch != self.epoch {
            return Err(expired(self.position, view.revision));
        }
        // What the cache does not know of each step ends the watch where it begins.
        let gap = view.gaps.iter().find(|gap| gap.until > self.position);
        if let Some(gap) = gap.filter(|gap| gap.after <= self.position) {
            return Err(expired(self.position, gap.until.max(view.log_floor)));
        }
        let until = gap.map_or(u64::MAX, |gap| gap.after);
        let (revisions, reached) = view.read(self.position, TAKE)?;
        let mut told = self.position;
        for logged in revisions.into_iter().take_while(|(revision, _)| *revision <= until) {
            if let Some(revision) = under(&self.prefix, logged) {
                told = revision.revision;
                self.ready.push_back(SourceEvent::Revision(revision));
            }
        }
        self.position = reached.min(until);
        if self.position > told {
            self.ready.push_back(SourceEvent::Progress(self.position));
        }
        Ok(())
    }
}

/// The part of a revision that is under a prefix.
fn under(prefix: &[u8], (revision, entries): Logged<'_>) -> Option<Revision> {
    let versions = entries.iter().map(|entry| &entry.version);
    let changes: Vec<Change> =
        versions.filter(|version| version.key().starts_with(prefix)).map(change).collect();
    (!changes.is_empty()).then_some(Revision { revision, changes })
}

fn change(version: &Object) -> Change {
    if version.is_delete() {
        Change::Delete(version.key_bytes())
    } else {
        Change::Put(SourceObject::from(version))
    }
}
