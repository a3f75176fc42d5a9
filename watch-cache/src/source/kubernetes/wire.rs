//! The JSON of lists, watch events and errors.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::object::SourceObject;

/// A page of a list, or all of it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) revision: u64,
    pub(super) continue_token: Option<String>,
    pub(super) objects: Vec<SourceObject>,
}

/// What a line of a watch says.
#[derive(Debug)]
pub(super) enum Line {
    Put(SourceObject),
    Delete {
        key: Bytes,
        revision: u64,
    },
    Bookmark {
        revision: u64,
        /// Whether the objects that a watch began with end here.
        initial_end: bool,
    },
    Failed(Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

#[derive(Deserialize)]
struct Head {
    kind: Option<IgnoredAny>,
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    resource_version: String,
}

/// A bookmark's object.
#[derive(Deserialize)]
struct Marked {
    metadata: Mark,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    resource_version: String,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize, Default)]
struct Annotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_end: Option<String>,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cause {
    reason: String,
}

/// A list's body.
pub(super) fn page(body: &Bytes) -> Result<Page> {
    let list: List<'_> = serde_json::from_slice(body).map_err(|error| malformed("list", error))?;
    let kind = list.kind.strip_suffix("List").unwrap_or(&list.kind);
    let (kind, version) = (Value::from(kind), Value::from(list.api_version));
    let head = format!("\"kind\":{kind},\"apiVersion\":{version},");
    let objects = list.items.unwrap_or_default().into_iter();
    let objects = objects.map(|raw| object(body, raw, &head)).collect::<Result<_>>()?;
    let ListMeta { resource_version, continue_token } = list.metadata;
    let continue_token = continue_token.filter(|token| !token.is_empty());
    Ok(Page { revision: revision(&resource_version)?, continue_token, objects })
}

/// A watch's line.
pub(super) fn line(line: &Bytes) -> Result<Line> {
    let event: Event<'_> =
        serde_json::from_slice(line).map_err(|error| malformed("watch", error))?;
    Ok(match &*event.r#type {
        "ADDED" | "MODIFIED" => Line::Put(object(line, event.object, "")?),
        "DELETED" => {
            let gone = object(line, event.object, "")?;
            Line::Delete { key: gone.key, revision: gone.mod_revision }
        }
        "BOOKMARK" => bookmark(event.object)?,
        "ERROR" => Line::Failed(status(0, event.object.get().as_bytes())),
        other => {
            let message = format!("a watch has an event of type {other:?}: it is not understood");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
    })
}

fn bookmark(raw: &RawValue) -> Result<Line> {
    let Marked { metadata } =
        serde_json::from_str(raw.get()).map_err(|error| malformed("bookmark", error))?;
    let initial_end = metadata.annotations.initial_end.as_deref() == Some("true");
    Ok(Line::Bookmark { revision: revision(&metadata.resource_version)?, initial_end })
}

/// An object in a body. What an item of a list leaves out is in `front`.
fn object(body: &Bytes, raw: &RawValue, front: &str) -> Result<SourceObject> {
    let Head { kind, metadata } = head(raw)?;
    let mod_revision = revision(&metadata.resource_version)?;
    let key = match metadata.namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("/{namespace}/{}", metadata.name),
        None => format!("/{}", metadata.name),
    };
    let value = match raw.get().strip_prefix('{') {
        Some(rest) if kind.is_none() && !front.is_empty() => {
            Bytes::from(["{", front, rest].concat())
        }
        _ => body.slice_ref(raw.get().as_bytes()),
    };
    Ok(SourceObject { key: key.into(), value, create_revision: mod_revision, mod_revision })
}

fn head(raw: &RawValue) -> Result<Head> {
    serde_json::from_str(raw.get()).map_err(|error| malformed("object", error))
}

/// A resource version as a revision.
fn revision(text: &str) -> Result<u64> {
    text.parse().ok().filter(|revision| *revision > 0).ok_or_else(|| {
        let message = format!(
            "resource version {text:?} is no revision: this API cannot be a source: follow the \
             store behind it"
        );
        Error::new(ErrorKind::Invalid, message)
    })
}

fn malformed(what: &str, error: serde_json::Error) -> Error {
    let message = format!("the API server's {what} is malformed: ask again");
    Error::new(ErrorKind::Corrupt, message).with_source(error)
}

/// What an answer that is no success means, by its code and by the `Status` that may be its body.
pub(super) fn status(code: u16, body: &[u8]) -> Error {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let code = if code == 0 { status.code } else { code };
    let too_large =
        status.details.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge");
    let kind = match code {
        // The server does not say which is the oldest, and which is the newest.
        410 => ErrorKind::Expired { oldest_revision: 0 },
        504 if too_large => ErrorKind::TooLarge { current_revision: 0 },
        400 | 404 | 405 | 422 => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("the API server answers {code}: {}", status.message))
}
