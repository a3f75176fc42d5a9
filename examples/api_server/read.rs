//! Gets, lists and watches, all of which the cache answers.

use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use hyper::{Response, StatusCode};
use serde_json::json;
use trestle_examples::manifest;
use watch_cache::{At, Cache, ListRequest, Object, Start, WatchEvent, WatchRequest};

use super::answer::{self, Body};
use super::options::{Options, Version};
use super::resources::Target;
use super::status::Failure;

/// A watch without `timeoutSeconds` ends after that; clients watch again.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1800);
/// So many events that are there at once are sent as one piece.
const EVENTS: usize = 64;
/// The annotation of the bookmark that ends the initial events (KEP-3157).
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// One object.
pub(crate) async fn get(
    cache: &Cache,
    target: &Target<'_>,
    name: &str,
    options: &Options,
) -> Result<Response<Body>, Failure> {
    let key = manifest::key(target.resource.plural, target.namespace, name);
    let at = match options.version {
        Version::Unset => At::Consistent,
        Version::Any => At::Any,
        Version::At(revision) => At::AtLeast(revision),
    };
    // Of all keys that begin with this one, it is the first.
    let found = cache.list(ListRequest::new(key.clone()).at(at).limit(1)).await?;
    match found.objects.first().filter(|object| object.key() == key.as_bytes()) {
        Some(object) => Ok(answer::object(StatusCode::OK, object.value(), object.mod_revision())),
        None => Err(Failure::not_found(target.resource, name)),
    }
}

/// What a list or a watch is of. Where a selector names the object or its namespace, it is less
/// than what the path says.
fn prefix(target: &Target<'_>, options: &Options) -> String {
    let namespace = target
        .namespace
        .or_else(|| options.field("metadata.namespace").filter(|namespace| !namespace.is_empty()));
    let name = options.field("metadata.name").unwrap_or_default();
    match namespace {
        None if target.resource.namespaced => manifest::key(target.resource.plural, None, ""),
        namespace => manifest::key(target.resource.plural, namespace, name),
    }
}

/// The objects of a selection, or a page of them.
pub(crate) async fn list(
    cache: &Cache,
    target: &Target<'_>,
    options: &Options,
) -> Result<Response<Body>, Failure> {
    let (head, objects) = page(cache, target, options).await?;
    Ok(answer::list(head, objects))
}

/// The beginning of a list's JSON, and its objects.
pub(crate) async fn page(
    cache: &Cache,
    target: &Target<'_>,
    options: &Options,
) -> Result<(String, Vec<Object>), Failure> {
    let selector = options.selector(target.resource)?;
    let request = ListRequest::new(prefix(target, options)).select(selector).at(options.at()?);
    let mut request = request;
    request.limit = options.limit;
    request.continue_token.clone_from(&options.continue_token);
    let page = cache.list(request).await?;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(token) = &page.continue_token {
        metadata["continue"] = token.to_string().into();
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    let (kind, version) = (target.resource.kind, target.resource.api_version());
    let head = format!(
        r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{metadata},"items":["#
    );
    Ok((head, page.objects))
}

/// The changes of a selection.
pub(crate) async fn watch(
    cache: &Cache,
    target: &Target<'_>,
    options: &Options,
) -> Result<Response<Body>, Failure> {
    options.check_watch()?;
    let selector = options.selector(target.resource)?;
    let from = start(cache, options).await?;
    let mut request =
        WatchRequest::new(prefix(target, options)).select(selector).from(from).exact();
    request.bookmarks = options.bookmarks;
    let watcher = match cache.watch(request) {
        Ok(watcher) => watcher,
        // That a version is too old is said in the watch.
        Err(error) if matches!(error.kind(), watch_cache::ErrorKind::Expired { .. }) => {
            let line = error_line(error);
            return Ok(answer::pieces(stream::once(ready(line))));
        }
        Err(error) => return Err(error.into()),
    };
    let writer = Writer {
        kind: target.resource.kind,
        api_version: target.resource.api_version(),
        bookmarks: options.bookmarks,
        initial_end: options.bookmarks && options.send_initial_events == Some(true),
    };
    let timeout = options.timeout.unwrap_or(WATCH_TIMEOUT);
    let lines = watcher.ready_chunks(EVENTS).map(move |events| writer.lines(events));
    let lines = lines.filter(|lines| ready(!lines.is_empty()));
    Ok(answer::pieces(until(lines, timeout)))
}

/// A stream that ends after some time.
fn until<T>(
    stream: impl Stream<Item = T> + Send + 'static,
    timeout: Duration,
) -> impl Stream<Item = T> + Send + 'static {
    stream.take_until(tokio::time::sleep(timeout))
}

/// Where a watch starts, once the cache is there.
async fn start(cache: &Cache, options: &Options) -> Result<Start, Failure> {
    match options.version {
        // The newest, or not older than what is asked for.
        Version::Unset => drop(cache.list(ListRequest::new("/registry/").limit(1)).await?),
        Version::Any => cache.ready().await?,
        Version::At(revision) => cache.wait_for(revision).await?,
    }
    Ok(match (options.version, options.send_initial_events) {
        (_, Some(true)) | (Version::Unset | Version::Any, None) => Start::Initial,
        (Version::Unset | Version::Any, Some(false)) => Start::Now,
        (Version::At(revision), _) => Start::After(revision),
    })
}

/// Writes events as lines of JSON.
struct Writer {
    kind: &'static str,
    api_version: String,
    /// Whether bookmarks are sent at all.
    bookmarks: bool,
    /// Whether the end of the initial events is said.
    initial_end: bool,
}

impl Writer {
    fn lines(&self, events: Vec<watch_cache::Result<WatchEvent>>) -> Bytes {
        let mut lines = Vec::new();
        for event in events {
            match event {
                Ok(WatchEvent::Added { object, .. }) => {
                    line(&mut lines, "ADDED", object.value(), object.mod_revision());
                }
                Ok(WatchEvent::Modified { object, .. }) => {
                    line(&mut lines, "MODIFIED", object.value(), object.mod_revision());
                }
                // As it was, at the version that took it out.
                Ok(WatchEvent::Deleted { revision, previous }) => {
                    line(&mut lines, "DELETED", previous.value(), revision);
                }
                Ok(WatchEvent::Bookmark { revision, initial_end }) => {
                    self.bookmark(&mut lines, revision, initial_end);
                }
                // An exact watch is not told these.
                Ok(WatchEvent::Coalesced { .. } | WatchEvent::Resumed { .. }) => {}
                Err(error) => lines.extend_from_slice(&error_line(error)),
            }
        }
        lines.into()
    }

    fn bookmark(&self, lines: &mut Vec<u8>, revision: u64, initial_end: bool) {
        if !self.bookmarks || (initial_end && !self.initial_end) {
            return;
        }
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_END: "true"});
        }
        let object =
            json!({"kind": self.kind, "apiVersion": self.api_version, "metadata": metadata});
        lines.extend_from_slice(
            json!({"type": "BOOKMARK", "object": object}).to_string().as_bytes(),
        );
        lines.push(b'\n');
    }
}

fn line(lines: &mut Vec<u8>, kind: &str, stored: &[u8], revision: u64) {
    lines.extend_from_slice(br#"{"type":""#);
    lines.extend_from_slice(kind.as_bytes());
    lines.extend_from_slice(br#"","object":"#);
    manifest::send(stored, revision, lines);
    lines.extend_from_slice(b"}\n");
}

fn error_line(error: watch_cache::Error) -> Bytes {
    let status = Failure::from(error).status();
    Bytes::from(json!({"type": "ERROR", "object": status}).to_string() + "\n")
}
