//! What is asked without gRPC: version, health and metrics.

use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use super::api::Api;

pub(super) const JSON: &str = "application/json";

/// Answers `/version`, `/health`, `/livez`, `/readyz` and `/metrics`.
pub(super) async fn answer(api: &Api, method: &Method, path: &str) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    match path {
        "/version" => json(StatusCode::OK, version(api)),
        "/health" => health(api).await,
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(api).await,
        "/metrics" => metrics(api).await,
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn version(api: &Api) -> String {
    let version = &api.config.version;
    let cluster = api.config.cluster_version();
    format!(r#"{{"etcdserver":"{version}","etcdcluster":"{cluster}","storage":"{cluster}"}}"#)
}

/// What keeps the store from taking writes; `None` if nothing does.
async fn ailment(api: &Api) -> Option<String> {
    if let Some(alarm) = api.raised().first() {
        return Some(format!("ALARM {}", alarm.as_str_name()));
    }
    match api.store.status().await {
        Ok(status) if status.quota_alarm => Some("ALARM NOSPACE".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("STATUS ERROR:{error}")),
    }
}

async fn health(api: &Api) -> Response<Body> {
    let (status, health, reason) = match ailment(api).await {
        None => (StatusCode::OK, "true", String::new()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, "false", reason),
    };
    api.metrics.health_checked(health == "true");
    let reason = reason.replace(['"', '\\'], "'");
    json(status, format!(r#"{{"health":"{health}","reason":"{reason}"}}"#))
}

async fn ready(api: &Api) -> Response<Body> {
    match api.store.status().await {
        Ok(_) => text(StatusCode::OK, "ok\n"),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}

async fn metrics(api: &Api) -> Response<Body> {
    match api.store.status().await {
        Ok(status) => {
            let commits = api.store.commit_durations();
            let body = api.metrics.exposition(&api.config, &status, commits.as_ref());
            let body = Body::new(Full::from(body));
            respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
        }
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

pub(super) fn json(status: StatusCode, body: String) -> Response<Body> {
    respond(status, JSON, Body::new(Full::from(body)))
}

pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", Body::new(Full::from(body.into())))
}

/// A response with a body of this type.
pub(super) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
