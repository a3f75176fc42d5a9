//! The bodies of answers.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use trestle_examples::manifest;
use watch_cache::Object;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// So much of a list is put into a piece of its body.
const PIECE_BYTES: usize = 64 << 10;

/// JSON that is there as a whole.
pub(crate) fn json_answer(code: StatusCode, json: Bytes) -> Response<Body> {
    with_type(code, Full::new(json).boxed_unsync())
}

/// A value.
pub(crate) fn value(code: StatusCode, value: &Value) -> Response<Body> {
    json_answer(code, value.to_string().into())
}

/// A stored object at its version.
pub(crate) fn object(code: StatusCode, stored: &[u8], revision: u64) -> Response<Body> {
    let mut json = Vec::with_capacity(stored.len() + 48);
    manifest::send(stored, revision, &mut json);
    json_answer(code, json.into())
}

/// Plain text.
pub(crate) fn text(text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// A stream of JSON, each piece of which is sent as it is made.
pub(crate) fn pieces(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    use futures_util::StreamExt;
    let frames = pieces.map(|piece| Ok(Frame::data(piece)));
    with_type(StatusCode::OK, BodyExt::boxed_unsync(StreamBody::new(frames)))
}

/// A list: `head` up to the beginning of its items, and the items. Their bytes are copied when the
/// client has taken what came before.
pub(crate) fn list(head: String, objects: Vec<Object>) -> Response<Body> {
    let mut objects = objects.into_iter().peekable();
    let mut piece = head.into_bytes();
    let mut ended = false;
    let next = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        piece.reserve(PIECE_BYTES);
        while let Some(object) = objects.next() {
            manifest::send(object.value(), object.mod_revision(), &mut piece);
            if objects.peek().is_some() {
                piece.push(b',');
            }
            if piece.len() >= PIECE_BYTES {
                return Some(Bytes::from(std::mem::take(&mut piece)));
            }
        }
        ended = true;
        piece.extend_from_slice(b"]}");
        Some(Bytes::from(std::mem::take(&mut piece)))
    });
    pieces(stream::iter(next))
}

fn with_type(code: StatusCode, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
