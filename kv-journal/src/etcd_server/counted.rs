//! Calls as they are counted: what goes in and out, and how it ends.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

use super::metrics::{Call, Counter};
use super::router::Answered;

/// A request's body whose bytes are counted.
pub(super) struct Received<B> {
    pub(super) body: B,
    pub(super) bytes: Arc<Counter>,
}

impl<B: Body + Unpin> Body for Received<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.bytes.add(data.remaining() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is counted of an answer.
pub(super) struct Counted {
    pub(super) call: Call,
    pub(super) sent_bytes: Arc<Counter>,
}

/// An answer to come.
pub(super) struct Answering {
    answer: Answered,
    counted: Option<Counted>,
}

impl Answering {
    /// One that counts nothing is none of gRPC, or of a method that there is not.
    pub(super) fn new(answer: Answered, counted: Option<Counted>) -> Self {
        Self { answer, counted }
    }
}

impl Future for Answering {
    type Output = Result<Response<Sent>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(answer) = ready!(self.answer.as_mut().poll(cx));
        let mut counted = self.counted.take();
        // A refusal has its status at the front.
        end(&mut counted, answer.headers());
        Poll::Ready(Ok(answer.map(|body| Sent { body, counted })))
    }
}

/// An answer's body.
pub(super) struct Sent {
    body: tonic::body::Body,
    /// `None` once the call has ended, or if it is none of gRPC.
    counted: Option<Counted>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if let (Some(counted), Some(data)) = (&this.counted, frame.data_ref()) {
                counted.sent_bytes.add(data.len() as u64);
            }
            if let Some(trailers) = frame.trailers_ref() {
                end(&mut this.counted, trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The call ends with the status that is said here, if one is.
fn end(counted: &mut Option<Counted>, said: &HeaderMap) {
    if let Some(status) = said.get("grpc-status")
        && let Some(Counted { call, .. }) = counted.take()
    {
        call.end(Code::from_bytes(status.as_bytes()));
    }
}
