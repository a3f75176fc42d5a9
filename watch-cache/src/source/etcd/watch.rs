//! Watches: each on a stream of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::timeout;
use tonic::Streaming;

use super::calls::{Asking, Calls, EVERYTHING, Wire, bounds, probe};
use super::channel::Connection;
use super::config::EtcdProgress;
use super::failure::{Failure, Next, corrupt, expired, too_large};
use super::join::Join;
use super::messages::{WatchCreateRequest, WatchResponse, revision_of, signed, unsigned};
use crate::error::{Error, ErrorKind, Result};
use crate::source::{Events, SourceEvent};

/// A watch whose history begins where it was asked to.
///
/// etcd only cancels a watch that starts below its compact revision. One that starts right at it may
/// miss the deletions of that revision: they are compacted (etcd#18089, etcd#19179). To those it is not
/// told, so `after` is read before the watch begins and, if some of what it is to tell was there
/// already, once more after the server has looked for it.
pub(super) async fn watch(calls: Arc<Calls>, prefix: Bytes, after: u64) -> Result<Events> {
    if i64::try_from(after).is_err() {
        return Err(too_large(after, calls.current_revision(&prefix).await?));
    }
    let (_, connection) = match calls.range(probe(&prefix, after.max(1))).await {
        Ok(answered) => answered,
        Err(failure) => return Err(calls.explained(failure.error, &prefix, after).await),
    };
    match begin(&calls, &prefix, after, connection).await {
        Ok(follow) => Ok(stream::unfold(Some(follow), Follow::step).boxed()),
        Err(failure) => Err(calls.explained(failure.error, &prefix, after).await),
    }
}

async fn begin(
    calls: &Arc<Calls>,
    prefix: &Bytes,
    after: u64,
    connection: Connection,
) -> Result<Follow, Failure> {
    let all_keys = match calls.config.progress {
        EtcdProgress::Requested => false,
        EtcdProgress::AllKeys => true,
        EtcdProgress::ByVersion => !calls.answers_progress(&connection).await?,
    };
    let (key, range_end) = bounds(if all_keys { &EVERYTHING } else { prefix });
    let create = WatchCreateRequest {
        key,
        range_end,
        start_revision: signed(after + 1),
        progress_notify: true,
        fragment: true,
    };
    let (wire, created) = created(calls, connection, create, all_keys).await?;
    let newest = revision_of(created.header.as_ref());
    if newest < after {
        calls.turn_away(&wire.connection).await;
        return Err(Failure::tell(too_large(after, newest)));
    }
    if !all_keys {
        calls.register(&wire.asking);
    }
    Ok(Follow {
        calls: Arc::clone(calls),
        join: Join::new(prefix.clone(), all_keys, created.watch_id, after),
        probed: (newest > after).then(|| (prefix.clone(), after.max(1))),
        answers: wire.answers,
        connection: wire.connection,
        out: VecDeque::new(),
        failed: None,
        _asking: wire.asking,
    })
}

/// The stream of a watch that the server has created, and its word on that.
async fn created(
    calls: &Calls,
    connection: Connection,
    create: WatchCreateRequest,
    all_keys: bool,
) -> Result<(Wire, WatchResponse), Failure> {
    let mut renewed = false;
    loop {
        let mut wire = calls.watch(connection.clone(), create.clone()).await?;
        let failure = match first(calls, &mut wire).await {
            Ok(created) => return Ok((wire, created)),
            Err(failure) => failure,
        };
        match failure.next {
            Next::LogIn if !renewed && calls.renew_for(&wire).await? => renewed = true,
            Next::LogIn if all_keys => return Err(Failure::tell(needs_all_keys(failure.error))),
            Next::Elsewhere => {
                calls.turn_away(&wire.connection).await;
                return Err(failure);
            }
            _ => return Err(failure),
        }
    }
}

async fn first(calls: &Calls, wire: &mut Wire) -> Result<WatchResponse, Failure> {
    let answer = timeout(calls.config.request_timeout, wire.answers.message()).await;
    let answer = answer.map_err(|_| Failure::silence())??;
    let answer = answer.ok_or_else(|| Failure::canceled("the server has ended the watch", 0))?;
    calls.check(answer.header.as_ref())?;
    if answer.canceled {
        return Err(Failure::canceled(&answer.cancel_reason, unsigned(answer.compact_revision)));
    }
    if !answer.created || !answer.events.is_empty() {
        return Err(Failure::tell(corrupt("a watch does not begin with its creation")));
    }
    Ok(answer)
}

fn needs_all_keys(error: Error) -> Error {
    let message = "etcd: permission denied: its version needs a watch of all keys: let the user read \
                   all keys, upgrade etcd to 3.4.31, 3.5.13 or newer, or set another progress";
    Error::new(ErrorKind::Invalid, message).with_source(error)
}

/// A watch under way.
struct Follow {
    calls: Arc<Calls>,
    join: Join,
    /// What is to be read once the server has looked for history.
    probed: Option<(Bytes, u64)>,
    answers: Streaming<WatchResponse>,
    connection: Connection,
    out: VecDeque<SourceEvent>,
    /// Comes after what is out.
    failed: Option<Error>,
    /// The stream ends with it.
    _asking: Asking,
}

impl Follow {
    /// The next item, and the watch if it goes on.
    async fn step(follow: Option<Self>) -> Option<(Result<SourceEvent>, Option<Self>)> {
        let mut follow = follow?;
        match follow.next().await {
            Ok(event) => Some((Ok(event), Some(follow))),
            Err(error) => Some((Err(error), None)),
        }
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Ok(event);
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if let Err(failure) = self.hear().await {
                if failure.next == Next::Elsewhere {
                    self.calls.turn_away(&self.connection).await;
                }
                self.failed = Some(failure.error);
            }
        }
    }

    async fn hear(&mut self) -> Result<(), Failure> {
        let response = self.answers.message().await?;
        let ended = || Failure::canceled("the server has ended the watch", 0);
        let response = response.ok_or_else(ended)?;
        self.calls.check(response.header.as_ref())?;
        let taken = self.join.take(response, &mut self.out);
        if !self.out.is_empty()
            && let Some((prefix, revision)) = self.probed.take()
        {
            self.check_history(&prefix, revision).await?;
        }
        taken
    }

    /// Nothing after `revision` was compacted when the server looked for it.
    async fn check_history(&mut self, prefix: &Bytes, revision: u64) -> Result<(), Failure> {
        let read = self.calls.range_on(&self.connection, probe(prefix, revision)).await;
        read.map(|_| ()).map_err(|failure| {
            self.out.clear();
            match failure.error.kind() {
                ErrorKind::Expired { .. } => {
                    let what = format!("revision {revision}");
                    Failure {
                        error: expired(&what, revision + 1).with_source(failure.error),
                        ..failure
                    }
                }
                _ => failure,
            }
        })
    }
}
