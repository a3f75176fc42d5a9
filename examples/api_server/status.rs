//! Errors as Kubernetes has them.

use hyper::header::RETRY_AFTER;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{Body, json_answer};
use super::resources::Resource;

/// How long a client is to wait where nothing else is known, in seconds.
const RETRY_AFTER_SECS: u64 = 1;

/// A request that failed, as a `Status` object says it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Value>,
    retry_after_secs: Option<u64>,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, details: None, retry_after_secs: None }
    }

    fn of(mut self, resource: &Resource, name: &str) -> Self {
        self.details =
            Some(json!({"name": name, "group": resource.group, "kind": resource.plural}));
        self
    }

    /// It may be tried again after some seconds.
    fn retry(mut self, secs: u64) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        details["retryAfterSeconds"] = secs.into();
        self.retry_after_secs = Some(secs);
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// Nothing is at this path.
    pub(crate) fn no_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).of(resource, name)
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).of(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let resource_name = resource.qualified();
        let message = format!("Operation cannot be fulfilled on {resource_name} {name:?}: {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message).of(resource, name)
    }

    /// Somebody else wrote the object.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(resource, name, why)
    }

    /// A field of an object, or of the options of a list, is wrong.
    pub(crate) fn invalid(kind: &str, name: &str, field: &str, problem: &str) -> Self {
        let message = format!("{kind} {name:?} is invalid: {field}: {problem}");
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        let causes = json!([{"reason": "FieldValueInvalid", "message": problem, "field": field}]);
        failure.details = Some(json!({"name": name, "kind": kind, "causes": causes}));
        failure
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn unsupported_media(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {accepted}"
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn too_large_body(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// The version that was asked for left the history.
    fn expired(oldest_revision: u64) -> Self {
        let message = format!("too old resource version: the oldest is {oldest_revision}");
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// The version that was asked for is not there yet.
    fn too_large_version(current_revision: u64) -> Self {
        let cause = "Too large resource version";
        let message = format!("Timeout: {cause}: current: {current_revision}");
        let mut failure = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": cause}]);
        failure.details = Some(json!({"causes": causes}));
        failure.retry(RETRY_AFTER_SECS)
    }

    fn too_many_requests(message: &str, secs: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry(secs)
    }

    fn unavailable(message: impl Into<String>, secs: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message).retry(secs)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.code == StatusCode::NOT_FOUND
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }

    pub(crate) fn answer(&self) -> Response<Body> {
        let mut answer = json_answer(self.code, self.status().to_string().into());
        if let Some(secs) = self.retry_after_secs {
            answer.headers_mut().insert(RETRY_AFTER, secs.into());
        }
        answer
    }
}

impl From<watch_cache::Error> for Failure {
    fn from(error: watch_cache::Error) -> Self {
        use watch_cache::ErrorKind;
        let secs = error.retry_after().map_or(RETRY_AFTER_SECS, |pause| pause.as_secs().max(1));
        match error.kind() {
            ErrorKind::Invalid => Self::bad_request(error.to_string()),
            ErrorKind::Expired { oldest_revision } => Self::expired(oldest_revision),
            ErrorKind::TooLarge { current_revision } => Self::too_large_version(current_revision),
            ErrorKind::Exhausted => Self::too_many_requests(&error.to_string(), secs),
            ErrorKind::Unavailable => Self::unavailable(error.to_string(), secs),
            _ => Self::internal(error),
        }
    }
}

impl From<kv_journal::Error> for Failure {
    fn from(error: kv_journal::Error) -> Self {
        use kv_journal::ErrorKind;
        match error.kind() {
            ErrorKind::Invalid => Self::bad_request(error.to_string()),
            ErrorKind::Unavailable => Self::unavailable(error.to_string(), RETRY_AFTER_SECS),
            _ => Self::internal(error),
        }
    }
}
