//! Errors of the gateway.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tonic::body::Body;
use tonic::{Code, Status};

use super::answers;

/// What a call is answered with that failed.
pub(super) fn plain(status: &Status) -> Response<Body> {
    respond(http_status(status.code()), &fields(status.code(), status.message()))
}

/// The same of a call whose answer are lines.
pub(super) fn streamed(status: &Status) -> Response<Body> {
    let body = Body::new(Full::new(line(status)));
    answers::json(http_status(status.code()), body)
}

/// An error in the place of a message.
pub(super) fn line(status: &Status) -> Bytes {
    let http = http_status(status.code());
    let (code, message) = (status.code() as i32, status.message());
    let error = json!({
        "grpc_code": code,
        "http_code": http.as_u16(),
        "message": message,
        "http_status": http.canonical_reason().unwrap_or_default(),
        "code": code,
        "details": [],
    });
    format!("{}\n", json!({ "error": error })).into()
}

/// Of a path, or a method, that is nothing here.
pub(super) fn not_here(status: StatusCode, message: &str) -> Response<Body> {
    let code = if status == StatusCode::NOT_FOUND { Code::NotFound } else { Code::Unimplemented };
    respond(status, &fields(code, message))
}

fn respond(status: StatusCode, fields: &serde_json::Value) -> Response<Body> {
    answers::json(status, Body::new(Full::new(Bytes::from(fields.to_string()))))
}

fn fields(code: Code, message: &str) -> serde_json::Value {
    json!({ "error": message, "code": code as i32, "message": message, "details": [] })
}

/// As gRPC-Gateway has it (runtime/errors.go, `HTTPStatusFromCode`).
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
