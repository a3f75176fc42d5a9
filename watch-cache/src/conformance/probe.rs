//! What the checks do with a source, and how they say what they saw.

use std::fmt;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::{Duration, Instant, timeout};

use super::{Checked, Subject, Violation};
use crate::error::{Error, ErrorKind};
use crate::object::{Change, Revision, SourceObject};
use crate::source::{Events, Freshness, SourceEvent, Write};

/// How long a check waits for what must come before it says that it does not.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How often a check asks again for progress, which may have been told too early to count.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Reads until the watch has reached `current`, asking for progress where that is needed.
pub(super) async fn reach(
    item: Item,
    subject: &Subject,
    events: &mut Events,
    current: u64,
) -> Checked {
    let patience = Instant::now() + PATIENCE;
    loop {
        request_progress(item, subject).await?;
        while let Ok(event) = timeout(ASK_AGAIN, events.next()).await {
            let event = event.ok_or_else(|| item.violated("the watch ended".to_owned()))?;
            let reached = match item.ok("watch", event)? {
                SourceEvent::Revision(revision) => revision.revision,
                SourceEvent::Progress(revision) => revision,
            };
            if reached >= current {
                return Ok(());
            }
        }
        item.holds(Instant::now() < patience, || format!("the watch does not reach {current}"))?;
    }
}

/// Writes some revisions of `key`, and compacts all but the last.
pub(super) async fn compacted(subject: &Subject, key: &str) -> (u64, u64) {
    let first = subject.writer.txn(vec![put(key, "1")]).await;
    subject.writer.txn(vec![put(key, "2")]).await;
    let last = subject.writer.txn(vec![put(key, "3")]).await;
    subject.writer.compact(last).await;
    (first, last)
}

/// The kind of the error that a watch begins with; none if it begins otherwise.
pub(super) async fn first_error(
    subject: &Subject,
    prefix: &Bytes,
    after: u64,
) -> Option<ErrorKind> {
    let mut events = match subject.source.watch(prefix, after).await {
        Ok(events) => events,
        Err(error) => return Some(error.kind()),
    };
    let first = timeout(PATIENCE, events.next()).await.ok()??;
    first.err().map(|error| error.kind())
}

pub(super) async fn ask(item: Item, subject: &Subject) -> Result<Option<u64>, Violation> {
    let answer = match subject.source.freshness() {
        Freshness::Pushed(source) => source.current_revision().await,
        Freshness::OnRequest(source) => source.current_revision().await,
        Freshness::ListOnly => return Ok(None),
    };
    item.ok("current revision", answer).map(Some)
}

pub(super) async fn request_progress(item: Item, subject: &Subject) -> Checked {
    match subject.source.freshness() {
        Freshness::OnRequest(source) => {
            item.ok("request for progress", source.request_progress().await)
        }
        Freshness::Pushed(_) | Freshness::ListOnly => Ok(()),
    }
}

pub(super) async fn list_of(
    subject: &Subject,
    prefix: &Bytes,
    at: Option<u64>,
) -> Result<(u64, Vec<SourceObject>), Error> {
    let listing = subject.source.list(prefix, at).await?;
    let batches: Vec<_> = listing.objects.try_collect().await?;
    Ok((listing.revision, batches.concat()))
}

pub(super) async fn list(
    item: Item,
    subject: &Subject,
    prefix: &Bytes,
    at: Option<u64>,
) -> Result<(u64, Vec<SourceObject>), Violation> {
    item.ok("list", list_of(subject, prefix, at).await)
}

pub(super) async fn watch(
    item: Item,
    subject: &Subject,
    prefix: &Bytes,
    after: u64,
) -> Result<Events, Violation> {
    item.ok("watch", subject.source.watch(prefix, after).await)
}

/// The next `count` revisions of a watch.
pub(super) async fn revisions(
    item: Item,
    events: &mut Events,
    count: usize,
) -> Result<Vec<Revision>, Violation> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let Ok(Some(event)) = timeout(PATIENCE, events.next()).await else {
            let message = format!("of {count} revisions only {:?} came", numbers(&seen));
            return Err(item.violated(message));
        };
        if let SourceEvent::Revision(revision) = item.ok("watch", event)? {
            seen.push(revision);
        }
    }
    Ok(seen)
}

pub(super) fn numbers(revisions: &[Revision]) -> Vec<u64> {
    revisions.iter().map(|revision| revision.revision).collect()
}

pub(super) fn put(key: &str, value: &str) -> Write {
    Write::Put(Bytes::from(key.to_owned()), Bytes::from(value.to_owned()))
}

pub(super) fn delete(key: &str) -> Write {
    Write::Delete(Bytes::from(key.to_owned()))
}

pub(super) fn changed(key: &str, value: &str, create_revision: u64, mod_revision: u64) -> Change {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Change::Put(SourceObject { key, value, create_revision, mod_revision })
}

/// The number of the item that a check is about.
#[derive(Clone, Copy)]
pub(super) struct Item(pub(super) &'static str);

impl Item {
    pub(super) fn violated(self, seen: String) -> Violation {
        Violation { item: self.0, seen }
    }

    pub(super) fn holds(self, holds: bool, seen: impl FnOnce() -> String) -> Checked {
        if holds { Ok(()) } else { Err(self.violated(seen())) }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is called with temporaries")]
    pub(super) fn eq<T: PartialEq + fmt::Debug>(self, what: &str, seen: T, expected: T) -> Checked {
        self.holds(seen == expected, || format!("{what}: {seen:?}, not {expected:?}"))
    }

    pub(super) fn ok<T>(self, call: &str, result: Result<T, Error>) -> Result<T, Violation> {
        result.map_err(|error| self.violated(format!("{call} fails: {error}")))
    }

    pub(super) fn fails<T>(
        self,
        what: &str,
        result: Result<T, Error>,
        expected: impl Fn(ErrorKind) -> bool,
    ) -> Checked {
        let kind = result.err().map(|error| error.kind());
        self.holds(kind.is_some_and(expected), || format!("{what} ends with {kind:?}"))
    }
}
