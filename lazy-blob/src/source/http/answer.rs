//! What a server's answer to a range request says and gives.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::{Error, ErrorKind, Result};

/// One version of the blob, as the first answer told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) size: u64,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

impl Version {
    /// The version that the answer to a request for the first byte tells.
    pub(super) fn of(response: &Response<Incoming>) -> Result<Self> {
        let headers = response.headers();
        let size = match response.status() {
            StatusCode::PARTIAL_CONTENT => content_range(headers).map(|(_, size)| size),
            StatusCode::OK => content_length(headers),
            // Of an empty blob there is no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE if is_empty(headers) => Some(0),
            status => return Err(refused(status)),
        };
        let size = size.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the answer gives no size: use another server")
        })?;
        let header = |name: HeaderName| headers.get(name).cloned();
        Ok(Self { size, etag: header(ETAG), modified: header(LAST_MODIFIED) })
    }

    /// The entity tag if it may be used in `If-Range`, which needs a strong one (RFC 9110,
    /// section 13.1.5).
    pub(super) fn strong_etag(&self) -> Option<&HeaderValue> {
        self.etag.as_ref().filter(|etag| etag.as_bytes().starts_with(b"\""))
    }

    fn check(&self, headers: &HeaderMap) -> Result<()> {
        let differs = |name: HeaderName, pinned: &Option<HeaderValue>| {
            let seen = headers.get(name);
            pinned.as_ref().zip(seen).is_some_and(|(pinned, seen)| pinned != seen)
        };
        if differs(ETAG, &self.etag) || differs(LAST_MODIFIED, &self.modified) {
            return Err(changed());
        }
        Ok(())
    }
}

/// Exactly the bytes of `range`, of this version; what follows them is not waited for.
pub(super) async fn body(
    response: Response<Incoming>,
    range: &Range<u64>,
    version: &Version,
    unranged_bytes: u64,
) -> Result<Bytes> {
    let headers = response.headers();
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            version.check(headers)?;
            check_content_range(headers, range, version.size)?;
            let length = range.end - range.start;
            if content_length(headers).is_some_and(|told| told != length) {
                return Err(contradicts());
            }
            take(response.into_body(), 0, length, true).await
        }
        StatusCode::OK => {
            version.check(headers)?;
            // The whole blob is the answer to an `If-Range` that does not match (RFC 9110, section
            // 13.1.5), so here the tag must be told to be believed.
            let untagged = version.strong_etag().is_some() && !headers.contains_key(ETAG);
            if untagged || content_length(headers).is_some_and(|size| size != version.size) {
                return Err(changed());
            }
            if range.end > unranged_bytes {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the server ignores ranges: use another, or raise unranged_bytes",
                ));
            }
            take(response.into_body(), range.start, range.end - range.start, false).await
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Err(changed()),
        status => Err(refused(status)),
    }
}

fn check_content_range(headers: &HeaderMap, range: &Range<u64>, size: u64) -> Result<()> {
    match content_range(headers) {
        Some((seen, total)) if seen == *range && total == size => Ok(()),
        Some((_, total)) if total != size => Err(changed()),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            "the answer is of another range than was asked: use another server",
        )),
    }
}

/// Passes over `skip` bytes and takes `length`; where an answer that must end there is seen not
/// to, it is an error.
async fn take(mut body: Incoming, mut skip: u64, length: u64, must_end: bool) -> Result<Bytes> {
    let mut taken = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = "the answer broke off: try again later";
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        let skipped = at_most(skip, data.len());
        skip -= skipped as u64;
        drop(data.split_to(skipped));
        let wanted = at_most(length - taken.len() as u64, data.len());
        if must_end && data.len() > wanted {
            return Err(contradicts());
        }
        if wanted as u64 == length {
            // All of it in one piece: no copy.
            return Ok(data.split_to(wanted));
        }
        taken.extend_from_slice(data.get(..wanted).unwrap_or_default());
        if taken.len() as u64 == length {
            return Ok(taken.freeze());
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "the answer ended too early: try again later"))
}

fn at_most(limit: u64, length: usize) -> usize {
    usize::try_from(limit).map_or(length, |limit| limit.min(length))
}

fn contradicts() -> Error {
    let message = "the answer's length is not its range's: use another server";
    Error::new(ErrorKind::Corrupt, message)
}

fn changed() -> Error {
    Error::new(ErrorKind::Changed, "the blob was replaced since it was opened: index it again")
}

/// What to do about a status that brings no bytes.
fn refused(status: StatusCode) -> Error {
    let (kind, advice) = match status.as_u16() {
        404 | 410 => (ErrorKind::NotFound, "check the URL"),
        401 | 403 | 407 => (ErrorKind::Invalid, "give credentials that may read it"),
        412 | 416 => (ErrorKind::Changed, "index it again"),
        408 | 425 | 429 | 500..=599 => (ErrorKind::Unavailable, "try again later"),
        400..=499 => (ErrorKind::Invalid, "correct the URL"),
        _ => (ErrorKind::Unsupported, "use another server"),
    };
    Error::new(kind, format!("the server answered {status}: {advice}"))
}

/// `bytes first-last/size` as a half-open range and the size.
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (number(first)?, number(last)?, number(size)?);
    (first <= last && last < size).then(|| (first..last + 1, size))
}

fn is_empty(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_RANGE).is_some_and(|value| value == "bytes */0")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    number(headers.get(CONTENT_LENGTH)?.to_str().ok()?)
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_strict() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_static(value));
            content_range(&headers)
        };
        assert_eq!(read("bytes 0-0/1"), Some((0..1, 1)));
        assert_eq!(read("bytes 5-9/10"), Some((5..10, 10)));
        for bad in [
            "bytes 5-9/*",
            "bytes */10",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes +5-9/10",
            "bytes 5-9",
            "items 5-9/10",
            "bytes 5-18446744073709551615/18446744073709551615",
            "bytes 5-99999999999999999999/10",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
