//! A store as the source of a cache.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use kv_journal::{Event, EventKind, KeyRange, KeyValue, RangeRequest, Store, WatchRequest};
use watch_cache::{Change, CurrentRevision, Error, ErrorKind, Events, Freshness, Listing};
use watch_cache::{Digest, Result, Revision, RevisionDigest, Source, SourceEvent, SourceObject};

/// A [`Store`] whose revisions a cache follows.
#[derive(Debug, Clone)]
pub struct StoreSource(pub Store);

#[async_trait]
impl Source for StoreSource {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let revision = match at {
            Some(revision) => revision,
            None => self.0.read_barrier().await.map_err(error)?,
        };
        let request = RangeRequest::new(KeyRange::prefix(prefix.clone())).at(revision);
        let answer = self.0.range(request).map_err(error)?;
        let objects = answer.kvs.iter().map(object).collect();
        Ok(Listing { revision, objects: stream::iter([Ok(objects)]).boxed() })
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        let request = WatchRequest::new(KeyRange::prefix(prefix.clone()))
            .from_revision(after + 1)
            .progress_on_advance();
        let watcher = self.0.watch(request).map_err(error)?;
        Ok(watcher
            .map(|batch| {
                let batch = batch.map_err(error)?;
                if batch.is_progress() {
                    return Ok(SourceEvent::Progress(batch.revision));
                }
                let changes = batch.events.iter().map(change).collect();
                Ok(SourceEvent::Revision(Revision { revision: batch.revision, changes }))
            })
            .boxed())
    }

    async fn digest(&self, prefixes: &[Bytes]) -> Result<Option<RevisionDigest>> {
        let revision = self.0.read_barrier().await.map_err(error)?;
        let mut digest = Digest::default();
        for prefix in prefixes {
            let range = KeyRange::prefix(prefix.clone());
            let answer = self.0.range(RangeRequest::new(range).at(revision)).map_err(error)?;
            for kv in &answer.kvs {
                digest.add(kv.key(), kv.mod_revision());
            }
        }
        Ok(Some(RevisionDigest { revision, digest }))
    }

    fn freshness(&self) -> Freshness<'_> {
        Freshness::Pushed(self)
    }
}

#[async_trait]
impl CurrentRevision for StoreSource {
    async fn current_revision(&self) -> Result<u64> {
        self.0.read_barrier().await.map_err(error)
    }
}

fn change(event: &Event) -> Change {
    match event.kind {
        EventKind::Put => Change::Put(object(&event.kv)),
        EventKind::Delete => Change::Delete(event.kv.key_bytes()),
    }
}

fn object(kv: &KeyValue) -> SourceObject {
    let (key, value) = (kv.key_bytes(), kv.value_bytes());
    let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
    SourceObject { key, value, create_revision, mod_revision }
}

fn error(error: kv_journal::Error) -> Error {
    use kv_journal::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Compacted { compact_revision } => {
            ErrorKind::Expired { oldest_revision: compact_revision }
        }
        Kind::FutureRevision { current_revision } => ErrorKind::TooLarge { current_revision },
        Kind::Invalid => ErrorKind::Invalid,
        Kind::Closed | Kind::Fenced | Kind::Corrupt => ErrorKind::Closed,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the store failed").with_source(error)
}
