//! Watches: what a client asks of one stream, and what its watchers see.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status, Streaming};

use super::api::{Answer, Api};
use super::audience::{self, ClientAddr, Seat};
use super::copies::Copies;
use super::ending::until_stopped;
use super::in_line::move_out;
use super::status::COMPACTED;
use crate::error::{Error, ErrorKind};
use crate::etcd_api::etcdserverpb::watch_create_request::FilterType;
use crate::etcd_api::etcdserverpb::watch_request::RequestUnion;
use crate::etcd_api::etcdserverpb::watch_server::Watch;
use crate::etcd_api::etcdserverpb::{WatchCreateRequest, WatchRequest};
use crate::etcd_api::stored::WatchResponse;
use crate::etcd_api::{key_range, signed};
use crate::kv_store::Watching;
use crate::store::{WatchMessage, WatchRequest as Wanted};

/// The number of no watcher: of the stream as a whole, or of one that was not created.
const NO_WATCHER: i64 = -1;

/// A client that sends nothing but requests gets answers in between.
const REQUESTS_AT_ONCE: usize = 64;
/// So often, before other streams have their turn.
const TURNS: usize = 4;
/// A client that has much to be told is heard in between.
const TOLD_AT_ONCE: u32 = 32;

#[derive(Debug, Clone)]
pub(super) struct WatchService(pub(super) Arc<Api>);

#[async_trait]
impl Watch for WatchService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Answer<Self::WatchStream> {
        move_out().await;
        let api = Arc::clone(&self.0);
        let watching = api.store.watch_stream().await.map_err(|error| api.refused(&error))?;
        let (metadata, extensions, requests) = request.into_parts();
        let stop = api.stop.clone();
        let seat = api.metrics.audience.join(extensions.get::<ClientAddr>().copied());
        let session = Session {
            api,
            seat,
            shown: Request::from_parts(metadata, extensions, ()),
            requests: Some(requests),
            watching,
            replies: VecDeque::new(),
            copies: Copies::default(),
            told: 0,
        };
        Ok(Response::new(until_stopped(session, stop)))
    }
}

/// One stream of a client. Nothing is kept for it but its watchers and the replies to what it has
/// just asked: a client that does not read is not read from, either.
struct Session {
    api: Arc<Api>,
    seat: Seat,
    /// What the client has shown of itself.
    shown: Request<()>,
    /// `None` once the client has nothing more to ask.
    requests: Option<Streaming<WatchRequest>>,
    watching: Watching,
    replies: VecDeque<WatchResponse>,
    copies: Copies,
    /// How much was told since the client was last heard.
    told: u32,
}

impl Session {
    /// Takes what the client asks, and says whether that is anything; an error ends the stream.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        for taken in 0..REQUESTS_AT_ONCE {
            let Some(requests) = &mut self.requests else { return Ok(taken > 0) };
            match Pin::new(requests).poll_next(cx) {
                Poll::Ready(Some(request)) => self.take(request?),
                Poll::Ready(None) => self.requests = None,
                Poll::Pending => return Ok(taken > 0),
            }
        }
        Ok(true)
    }

    fn take(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create),
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.watching.desk.cancel(cancel.watch_id);
            }
            Some(RequestUnion::ProgressRequest(_)) => self.watching.desk.request_progress(),
            // As in etcd, what says nothing does not end the stream.
            None => {}
        }
    }

    fn create(&mut self, request: WatchCreateRequest) {
        let created = wanted(request).and_then(|wanted| {
            self.permitted(&wanted).map_err(|status| denied(&status))?;
            if wanted.range.is_empty() {
                return Err("mvcc: watcher range is empty".to_owned());
            }
            self.watching.desk.create(wanted).map_err(|error| not_created(&error))
        });
        if let Err(reason) = created {
            self.replies.push_back(WatchResponse {
                header: self.api.header(self.watching.desk.revision()),
                watch_id: NO_WATCHER,
                created: true,
                canceled: true,
                cancel_reason: reason,
                ..WatchResponse::default()
            });
        }
    }

    /// A watcher is checked when it is created, and not again.
    fn permitted(&self, wanted: &Wanted) -> Result<(), Status> {
        Ok(self.api.auth.check_read(&self.api.caller(&self.shown)?, &wanted.range)?)
    }

    fn respond(&mut self, message: WatchMessage) -> WatchResponse {
        let of = |watch_id, revision| WatchResponse {
            header: self.api.header(revision),
            watch_id,
            ..WatchResponse::default()
        };
        match message {
            WatchMessage::Created { watch_id, revision } => {
                self.seat.watcher_created();
                WatchResponse { created: true, ..of(watch_id, revision) }
            }
            WatchMessage::Canceled { watch_id, revision, reason } => {
                self.seat.watcher_canceled();
                WatchResponse {
                    canceled: true,
                    compact_revision: reason.as_ref().map_or(0, compact_revision),
                    cancel_reason: reason.as_ref().map_or_else(String::new, canceled_because),
                    ..of(watch_id, revision)
                }
            }
            WatchMessage::Events { watch_id, batch } => {
                self.api.metrics.watch_events.add(batch.events.len() as u64);
                WatchResponse {
                    fragment: batch.more,
                    events: self.copies.events(batch.revision, batch.events),
                    ..of(watch_id, batch.revision)
                }
            }
            WatchMessage::Progress { watch_id, revision } => {
                of(watch_id.unwrap_or(NO_WATCHER), revision)
            }
        }
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WatchResponse, Status>>> {
        for _ in 0..TURNS {
            if let Some(reply) = self.replies.pop_front() {
                return Poll::Ready(Some(Ok(reply)));
            }
            if self.told < TOLD_AT_ONCE {
                let message = self.watching.messages.as_mut().poll_next(cx);
                if let Poll::Ready(message) = message {
                    self.told += 1;
                    return Poll::Ready(message.map(|message| match message {
                        Ok(message) => Ok(self.respond(message)),
                        Err(error) => Err(self.api.refused(&error)),
                    }));
                }
            }
            // What the client asks is of the same time as what it is told: neither waits long.
            let more = std::mem::take(&mut self.told) == TOLD_AT_ONCE;
            let asked = match self.poll_requests(cx) {
                Ok(asked) => asked,
                Err(status) => return Poll::Ready(Some(Err(status))),
            };
            if !asked && !more {
                self.copies.forget();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Stream for Session {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.seat.asked();
        let response = ready!(self.poll_response(cx));
        self.seat.handed_out(audience::now());
        Poll::Ready(response)
    }
}

/// What the client wants to see, or why not in etcd's words.
fn wanted(from: WatchCreateRequest) -> Result<Wanted, String> {
    let Ok(start) = u64::try_from(from.start_revision) else {
        return Err(COMPACTED.message().to_owned());
    };
    // The smallest key stands for no key.
    let key = if from.key.is_empty() { Bytes::from_static(b"\0") } else { from.key };
    let range = key_range(key, from.range_end);
    let mut wanted = Wanted::new(range).from_revision(start).watch_id(from.watch_id);
    wanted.no_put = from.filters.contains(&(FilterType::Noput as i32));
    wanted.no_delete = from.filters.contains(&(FilterType::Nodelete as i32));
    wanted.prev_kv = from.prev_kv;
    wanted.fragment = from.fragment;
    wanted.progress_notify = from.progress_notify;
    Ok(wanted)
}

/// etcd tells this one as its own client would print it.
fn denied(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// The range was checked before, so what is wrong about a watcher is its number.
fn not_created(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Invalid => "mvcc: duplicate watch ID provided on the WatchStream".to_owned(),
        _ => error.to_string(),
    }
}

fn compact_revision(reason: &Error) -> i64 {
    match reason.kind() {
        ErrorKind::Compacted { compact_revision } => signed(compact_revision),
        _ => 0,
    }
}

/// Of a compaction etcd tells the revision alone.
fn canceled_because(reason: &Error) -> String {
    match reason.kind() {
        ErrorKind::Compacted { .. } => String::new(),
        _ => reason.to_string(),
    }
}
