//! One watch on a stream of its own.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::timeout;
use tonic::Streaming;

use super::client::{Channel, Client, error};
use super::message::{Asked, Empty, WatchCreate, WatchRequest, WatchResponse};
use super::revisions::{Revisions, revision};
use crate::error::{Error, ErrorKind, Result};
use crate::source::{Events, SourceEvent};

const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// A watch after a revision, once etcd has said that it is there.
pub(super) async fn open<T: Channel>(
    client: &Client<T>,
    key: Bytes,
    range_end: Bytes,
    after: u64,
    progress: &Sender<u64>,
) -> Result<Events> {
    let start_revision = i64::try_from(after.saturating_add(1)).unwrap_or(i64::MAX);
    let create =
        WatchCreate { key, range_end, start_revision, progress_notify: true, fragment: true };
    // One that is requested from now on is told.
    let requests = || requests(create.clone(), progress.subscribe());
    let mut answers: Streaming<WatchResponse> = client.stream(WATCH, requests).await?;
    let created = timeout(client.request_timeout, answers.message()).await;
    let late = |_| Error::new(ErrorKind::Unavailable, "etcd did not open the watch in time");
    let created = created.map_err(late)?.map_err(error)?.ok_or_else(ended)?;
    check(&created)?;
    let current_revision = revision(created.header.clone().unwrap_or_default().revision)?;
    if after > current_revision {
        // It would wait for that revision without a word.
        return Err(Error::new(
            ErrorKind::TooLarge { current_revision },
            format!("etcd is at revision {current_revision}, before {after}: retry, or list again"),
        ));
    }
    let mut revisions = Revisions::default();
    let ready = revisions.take(created)?.into();
    let tail = Tail { answers, revisions, ready, ended: false };
    Ok(stream::unfold(tail, Tail::next).fuse().boxed())
}

/// The request for a watch, and then one for progress each time that is asked for.
fn requests(
    create: WatchCreate,
    progress: Receiver<u64>,
) -> impl Stream<Item = WatchRequest> + Send + 'static {
    let first = WatchRequest { asked: Some(Asked::Create(create)) };
    let asked = stream::unfold(progress, |mut progress| async {
        progress.changed().await.ok()?;
        progress.borrow_and_update();
        Some((WatchRequest { asked: Some(Asked::Progress(Empty {})) }, progress))
    });
    stream::once(async { first }).chain(asked)
}

struct Tail {
    answers: Streaming<WatchResponse>,
    revisions: Revisions,
    ready: VecDeque<SourceEvent>,
    ended: bool,
}

impl Tail {
    async fn next(mut self) -> Option<(Result<SourceEvent>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended {
                return None;
            }
            match self.answer().await {
                Ok(events) => self.ready.extend(events),
                Err(error) => {
                    self.ended = true;
                    return Some((Err(error), self));
                }
            }
        }
    }

    async fn answer(&mut self) -> Result<Vec<SourceEvent>> {
        let answer = self.answers.message().await.map_err(error)?.ok_or_else(ended)?;
        check(&answer)?;
        self.revisions.take(answer)
    }
}

/// Whether the watch goes on.
fn check(answer: &WatchResponse) -> Result<()> {
    if answer.compact_revision > 0 {
        let oldest_revision = revision(answer.compact_revision)?;
        return Err(Error::new(
            ErrorKind::Expired { oldest_revision },
            format!("etcd has compacted to {oldest_revision}: list again"),
        ));
    }
    if answer.canceled {
        let reason = &answer.cancel_reason;
        let kind = if reason.contains("permission denied") {
            ErrorKind::Invalid
        } else {
            ErrorKind::Unavailable
        };
        return Err(Error::new(kind, format!("etcd cancelled the watch: {reason}")));
    }
    Ok(())
}

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "etcd ended the watch: watch again")
}
