//! A small revisioned store in memory, to write into.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    CurrentRevision, Events, Freshness, Listing, RequestProgress, RevisionDigest, Source,
    SourceEvent,
};
use crate::core::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Change, Revision, SourceObject};

/// How many objects one batch of a listing holds.
const BATCH: usize = 1024;

/// How a [`MemorySource`] speaks of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressMode {
    /// As [`Freshness::Pushed`].
    #[default]
    Pushed,
    /// As [`Freshness::OnRequest`].
    OnRequest,
    /// As [`Freshness::ListOnly`].
    ListOnly,
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Create or overwrite a key.
    Put(Bytes, Bytes),
    /// Delete a key, if it is there.
    Delete(Bytes),
}

/// A revisioned store in memory. Its revision is 1 while it is empty; each transaction that
/// changes something adds 1.
///
/// ```
/// let source = watch_cache::MemorySource::new();
/// assert_eq!(source.put("/pods/a", "running"), 2);
/// assert_eq!(source.delete("/pods/a"), 3);
/// ```
#[derive(Debug)]
pub struct MemorySource {
    data: Arc<Mutex<Data>>,
    news: watch::Sender<News>,
    mode: ProgressMode,
}

/// What wakes the watches: the revision, and how often progress was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct News {
    revision: u64,
    requests: u64,
}

#[derive(Debug)]
struct Data {
    revision: u64,
    compacted: u64,
    /// Every version of every key that a list at a retained revision can see.
    versions: BTreeMap<Bytes, Vec<Version>>,
    log: BTreeMap<u64, Vec<Change>>,
}

#[derive(Debug)]
struct Version {
    revision: u64,
    object: Option<SourceObject>,
}

impl MemorySource {
    /// An empty store that pushes progress.
    #[must_use]
    pub fn new() -> Self {
        Self::with_progress(ProgressMode::Pushed)
    }

    /// An empty store that speaks of progress as `mode` says.
    #[must_use]
    pub fn with_progress(mode: ProgressMode) -> Self {
        let data =
            Data { revision: 1, compacted: 0, versions: BTreeMap::new(), log: BTreeMap::new() };
        let (news, _) = watch::channel(News { revision: 1, requests: 0 });
        Self { data: Arc::new(Mutex::new(data)), news, mode }
    }

    /// Creates or overwrites a key; returns the new revision.
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> u64 {
        self.txn([Write::Put(key.into(), value.into())])
    }

    /// Deletes a key; returns the revision afterwards.
    pub fn delete(&self, key: impl Into<Bytes>) -> u64 {
        self.txn([Write::Delete(key.into())])
    }

    /// Applies all writes at one revision and returns it. The last write to a key wins; nothing to
    /// do takes no revision.
    pub fn txn(&self, writes: impl IntoIterator<Item = Write>) -> u64 {
        let revision = self.data.lock().apply(writes);
        self.news.send_if_modified(|news| {
            let newer = revision > news.revision;
            news.revision = news.revision.max(revision);
            newer
        });
        revision
    }

    /// Forgets all that only reads below `revision` need.
    ///
    /// # Errors
    ///
    /// `TooLarge` if the store has not reached `revision`.
    pub fn compact(&self, revision: u64) -> Result<()> {
        self.data.lock().compact(revision)
    }

    /// The revision of the last transaction.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.data.lock().revision
    }
}

impl Default for MemorySource {
    fn default() -> Self {
        Self::new()
    }
}

impl Data {
    fn apply(&mut self, writes: impl IntoIterator<Item = Write>) -> u64 {
        let revision = self.revision + 1;
        let mut last: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Put(key, value) => last.insert(key, Some(value)),
                Write::Delete(key) => last.insert(key, None),
            };
        }
        let changes: Vec<Change> =
            last.into_iter().filter_map(|(key, value)| self.change(revision, key, value)).collect();
        if !changes.is_empty() {
            self.revision = revision;
            self.log.insert(revision, changes);
        }
        self.revision
    }

    fn change(&mut self, revision: u64, key: Bytes, value: Option<Bytes>) -> Option<Change> {
        let live =
            self.versions.get(&key).and_then(|all| all.last()).and_then(|v| v.object.clone());
        let object = match value {
            Some(value) => Some(SourceObject {
                key: key.clone(),
                value,
                create_revision: live.map_or(revision, |object| object.create_revision),
                mod_revision: revision,
            }),
            None if live.is_none() => return None,
            None => None,
        };
        let version = Version { revision, object: object.clone() };
        self.versions.entry(key.clone()).or_default().push(version);
        Some(object.map_or(Change::Delete(key), Change::Put))
    }

    fn compact(&mut self, revision: u64) -> Result<()> {
        if revision > self.revision {
            return Err(self.too_large(revision));
        }
        self.compacted = self.compacted.max(revision);
        self.log = self.log.split_off(&(self.compacted + 1));
        let floor = self.compacted;
        self.versions.retain(|_, versions| {
            let seen = versions.partition_point(|version| version.revision <= floor);
            versions.drain(..seen.saturating_sub(1));
            versions.iter().any(|version| version.object.is_some() || version.revision > floor)
        });
        Ok(())
    }

    fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<(u64, Vec<SourceObject>)> {
        let revision = at.unwrap_or(self.revision);
        if revision > self.revision {
            return Err(self.too_large(revision));
        }
        if revision < self.compacted {
            return Err(self.expired(revision));
        }
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let objects = self
            .versions
            .range::<Bytes, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(_, versions)| {
                versions.iter().rev().find(|version| version.revision <= revision)?.object.clone()
            })
            .collect();
        Ok((revision, objects))
    }

    fn digest(&self, prefixes: &[Bytes]) -> RevisionDigest {
        let newest = |versions: &Vec<Version>| {
            versions.last()?.object.as_ref().map(|object| object.mod_revision)
        };
        let mut digest = Digest::default();
        for (key, versions) in &self.versions {
            if let Some(written) = newest(versions)
                && prefixes.iter().any(|prefix| key.starts_with(prefix))
            {
                digest.add(key, written);
            }
        }
        RevisionDigest { revision: self.revision, digest }
    }

    fn too_large(&self, revision: u64) -> Error {
        let current_revision = self.revision;
        Error::new(
            ErrorKind::TooLarge { current_revision },
            format!("revision {revision} is not reached yet: retry, or read at {current_revision}"),
        )
    }

    fn expired(&self, revision: u64) -> Error {
        let oldest_revision = self.compacted;
        Error::new(
            ErrorKind::Expired { oldest_revision },
            format!("revision {revision} was compacted: list again at {oldest_revision} or later"),
        )
    }
}

/// One watch: what it has scanned, and what it has said.
struct Tail {
    data: Arc<Mutex<Data>>,
    news: watch::Receiver<News>,
    mode: ProgressMode,
    prefix: Bytes,
    scanned: u64,
    said: u64,
    requests: u64,
    failed: bool,
}

impl Tail {
    async fn next(mut self) -> Option<(Result<SourceEvent>, Self)> {
        loop {
            let news = *self.news.borrow_and_update();
            let item = match self.scan() {
                _ if self.failed => return None,
                Err(error) => {
                    self.failed = true;
                    Some(Err(error))
                }
                Ok(Some(revision)) => Some(Ok(SourceEvent::Revision(revision))),
                Ok(None) => self.progress(news).map(Ok),
            };
            if let Some(item) = item {
                return Some((item, self));
            }
            self.news.changed().await.ok()?;
        }
    }

    fn scan(&mut self) -> Result<Option<Revision>> {
        let data = self.data.lock();
        if self.scanned < data.compacted {
            return Err(data.expired(self.scanned));
        }
        for (revision, changes) in data.log.range(self.scanned + 1..) {
            self.scanned = *revision;
            let under = |change: &&Change| change.key().starts_with(&self.prefix);
            let changes: Vec<Change> = changes.iter().filter(under).cloned().collect();
            if !changes.is_empty() {
                self.said = *revision;
                return Ok(Some(Revision { revision: *revision, changes }));
            }
        }
        self.scanned = self.scanned.max(data.revision);
        Ok(None)
    }

    fn progress(&mut self, news: News) -> Option<SourceEvent> {
        let due = match self.mode {
            ProgressMode::Pushed => self.scanned > self.said,
            ProgressMode::OnRequest => news.requests > self.requests,
            ProgressMode::ListOnly => false,
        };
        self.requests = news.requests;
        self.said = if due { self.scanned } else { self.said };
        due.then_some(SourceEvent::Progress(self.scanned))
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let (revision, objects) = self.data.lock().list(prefix, at)?;
        let batches: Vec<_> = objects.chunks(BATCH).map(|batch| Ok(batch.to_vec())).collect();
        Ok(Listing { revision, objects: stream::iter(batches).boxed() })
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        let news = self.news.subscribe();
        let requests = news.borrow().requests;
        let tail = Tail {
            data: Arc::clone(&self.data),
            news,
            mode: self.mode,
            prefix: prefix.clone(),
            scanned: after,
            said: after,
            requests,
            failed: false,
        };
        Ok(stream::unfold(tail, Tail::next).fuse().boxed())
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        Ok(Some(self.data.lock().digest(prefixes)))
    }

    fn freshness(&self) -> Freshness<'_> {
        match self.mode {
            ProgressMode::Pushed => Freshness::Pushed(self),
            ProgressMode::OnRequest => Freshness::OnRequest(self),
            ProgressMode::ListOnly => Freshness::ListOnly,
        }
    }
}

#[async_trait]
impl CurrentRevision for MemorySource {
    async fn current_revision(&self) -> Result<u64> {
        Ok(self.revision())
    }
}

#[async_trait]
impl RequestProgress for MemorySource {
    async fn request_progress(&self) -> Result<()> {
        self.news.send_modify(|news| news.requests += 1);
        Ok(())
    }
}
