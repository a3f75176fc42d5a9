//! What a service has answered over gRPC, as JSON.

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::{iter, unfold};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use prost_reflect::{MessageDescriptor, MethodDescriptor};
use tonic::body::Body;
use tonic::{Code, Status};

use super::error;
use super::json::{FRAME_HEAD, write};
use crate::etcd_server::counted::Sent;
use crate::etcd_server::plain;

/// One message, whole.
pub(super) async fn whole(
    response: Response<Sent>,
    method: &MethodDescriptor,
) -> Result<Response<Body>, Status> {
    let mut messages = Messages::new(response, method);
    let message = messages.next().await?.unwrap_or_default();
    // An error may follow.
    while messages.next().await?.is_some() {}
    let mut text = Vec::new();
    write(&messages.kind, &message, &mut text)?;
    Ok(json(StatusCode::OK, Body::new(Full::new(text.into()))))
}

/// A message in each line. If there is an error and nothing else, that is the answer.
pub(super) async fn lines(
    response: Response<Sent>,
    method: &MethodDescriptor,
) -> Result<Response<Body>, Status> {
    let mut messages = Messages::new(response, method);
    let first = messages.next_line().await?;
    let lines = iter(first).chain(messages.lines());
    let frames = lines.map(|line| Ok::<_, Status>(Frame::data(line)));
    Ok(json(StatusCode::OK, Body::new(StreamBody::new(frames))))
}

/// A response of JSON.
pub(super) fn json(status: StatusCode, body: Body) -> Response<Body> {
    plain::respond(status, plain::JSON, body)
}

/// The messages of an answer.
struct Messages {
    body: Sent,
    buffer: BytesMut,
    kind: MessageDescriptor,
}

impl Messages {
    fn new(response: Response<Sent>, method: &MethodDescriptor) -> Self {
        Self { body: response.into_body(), buffer: BytesMut::new(), kind: method.output() }
    }

    /// The next message; an error if that is how the call has ended.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.buffered() {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(status)) => return Err(status),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => ended(&frame)?,
                },
            }
        }
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let (head, rest) = self.buffer.split_first_chunk::<FRAME_HEAD>()?;
        let [_, len @ ..] = *head;
        let len = u32::from_be_bytes(len) as usize;
        if rest.len() < len {
            return None;
        }
        self.buffer.advance(FRAME_HEAD);
        Some(self.buffer.split_to(len).freeze())
    }

    async fn next_line(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(message) = self.next().await? else { return Ok(None) };
        let mut line = b"{\"result\":".to_vec();
        write(&self.kind, &message, &mut line)?;
        line.extend_from_slice(b"}\n");
        Ok(Some(line.into()))
    }

    /// The lines that are left, with that of an error last.
    fn lines(self) -> impl Stream<Item = Bytes> + Send {
        unfold(Some(self), |messages| async {
            let mut messages = messages?;
            match messages.next_line().await {
                Ok(line) => line.map(|line| (line, Some(messages))),
                Err(status) => Some((error::line(&status), None)),
            }
        })
    }
}

/// The trailers say how a call has ended.
fn ended(frame: &Frame<Bytes>) -> Result<(), Status> {
    let status = frame.trailers_ref().and_then(Status::from_header_map);
    match status {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}
