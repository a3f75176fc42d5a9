//! The API as JSON over HTTP, under the paths and in the shapes of etcd's gateway.
//!
//! A call is a `POST` of the request's message in the JSON of Protocol Buffers. It is handed to the
//! same services as a call over gRPC, in the same process, and so are their answers: what a service
//! learns, the gateway knows.
//!
//! What several messages answer comes as one object in a line each, `{"result":…}`, and what fails
//! later as `{"error":…}`. Errors have the fields of both generations of gateways: `error`, `code`
//! and `message` of etcd up to 3.5, `code`, `message` and `details` since.

mod answers;
mod error;
mod json;
mod requests;
mod routes;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use prost_reflect::MethodDescriptor;
use tonic::Status;
use tonic::body::Body;

#[doc(hidden)]
pub use json::fuzz_gateway;

use super::counted::Sent;
use super::router::Router;
use requests::Requests;

/// Whether a path is one of the gateway's.
pub(super) fn owns(path: &str) -> bool {
    routes::below_version(path).is_some()
}

/// Answers a call. A request may have `most` bytes.
pub(super) async fn answer(
    router: &Router,
    request: Request<Incoming>,
    most: usize,
) -> Response<Body> {
    let Some(method) = routes::method_of(request.uri().path()) else {
        return error::not_here(StatusCode::NOT_FOUND, "Not Found");
    };
    if request.method() != Method::POST {
        return error::not_here(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    let called = call(router, &method, request, most).await;
    let answered = match called {
        Ok(response) if method.is_server_streaming() => answers::lines(response, &method).await,
        Ok(response) => answers::whole(response, &method).await,
        Err(status) => Err(status),
    };
    answered.unwrap_or_else(|status| {
        let of = if method.is_server_streaming() { error::streamed } else { error::plain };
        of(&status)
    })
}

async fn call(
    router: &Router,
    method: &MethodDescriptor,
    request: Request<Incoming>,
    most: usize,
) -> Result<Response<Sent>, Status> {
    let (head, body) = request.into_parts();
    let body = if method.is_client_streaming() {
        Body::new(StreamBody::new(Requests::new(body, method.input(), most).frames()))
    } else {
        let whole = Limited::new(body, most).collect().await;
        let whole = whole.map_err(|_| Status::invalid_argument("the request is too large"))?;
        Body::new(Full::new(json::frame(&method.input(), &whole.to_bytes())?))
    };
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut call =
        Request::post(path).body(body).map_err(|error| Status::internal(error.to_string()))?;
    *call.headers_mut() = metadata(&head.headers);
    let Ok(response) = router.grpc(call).await;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != tonic::Code::Ok => Err(status),
        _ => Ok(response),
    }
}

/// What of the headers is passed on: the token, and what is meant for gRPC. The certificate of the
/// connection is not: as in etcd, it is nobody's name here.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    const MEANT: &str = "grpc-metadata-";
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        let name = match name.as_str().strip_prefix(MEANT) {
            Some(name) => name.parse().ok(),
            None => (name == header::AUTHORIZATION).then(|| name.clone()),
        };
        if let Some(name) = name {
            metadata.append(name, value.clone());
        }
    }
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    metadata
}
