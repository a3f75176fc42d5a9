//! A blob behind HTTP range requests.

mod answer;
mod client;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, IF_RANGE, LOCATION, RANGE};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::sync::OnceCell;

use self::answer::Version;
use super::{Source, check_range};
use crate::error::{Error, ErrorKind, Result};

pub use client::{HttpClient, HttpConfig};

/// A [`Source`] over a URL that answers range requests (RFC 9110, section 14).
///
/// The first answer pins the blob's version: its size, `ETag` and `Last-Modified`. Every later
/// answer must be of that version, or the read fails with [`Changed`](ErrorKind::Changed); a
/// strong `ETag` is also sent as `If-Range`. Clones share the version and the client, so that a
/// thousand blobs of one URL ask for its size once. No answer is read further than was asked.
///
/// ```no_run
/// use std::sync::Arc;
/// use lazy_blob::{Blob, Config, HttpClient, HttpConfig, HttpSource, Index};
///
/// # async fn open(stored_index: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let client = HttpClient::new(HttpConfig::default())?;
/// let source = HttpSource::new(client, "https://registry.example/v2/app/blobs/sha256:1234")?;
/// let index = Arc::new(Index::decode(stored_index)?);
/// let (blob, driver) = Blob::open(Arc::new(source), index, Config::default()).await?;
/// tokio::spawn(driver);
/// let hosts = blob.read("etc/hosts", 0..16).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct HttpSource {
    client: HttpClient,
    target: Arc<Target>,
}

struct Target {
    uri: Uri,
    /// The URL without its query, which may be a signature: for messages.
    name: String,
    authorization: Option<HeaderValue>,
    version: OnceCell<Version>,
}

impl HttpSource {
    /// A source of the blob at `url`, which must be an absolute `http` or `https` URL. Nothing is
    /// asked yet.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for another URL.
    pub fn new(client: HttpClient, url: &str) -> Result<Self> {
        let name = shown(url);
        let uri: Uri = url.parse().map_err(|error| {
            let message = format!("{name}: is no URL: give an absolute http or https URL");
            Error::new(ErrorKind::Invalid, message).with_source(error)
        })?;
        check_origin(&uri).map_err(|error| error.of(&name))?;
        let target = Target { uri, name, authorization: None, version: OnceCell::new() };
        Ok(Self { client, target: Arc::new(target) })
    }

    /// The same source, which sends this `Authorization` header to the URL's own origin, but not to
    /// where it redirects.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a value that can't be in a header.
    pub fn with_authorization(self, value: &str) -> Result<Self> {
        let mut value = HeaderValue::try_from(value).map_err(|error| {
            let message = "authorization: has control characters: give one line of text";
            Error::new(ErrorKind::Invalid, message).with_source(error)
        })?;
        value.set_sensitive(true);
        let (uri, name) = (self.target.uri.clone(), self.target.name.clone());
        let target = Target { uri, name, authorization: Some(value), version: OnceCell::new() };
        Ok(Self { client: self.client, target: Arc::new(target) })
    }

    async fn version(&self) -> Result<&Version> {
        self.target.version.get_or_try_init(|| self.probe()).await
    }

    /// Asks for one byte: unlike `HEAD`, a signed URL allows it, and it shows whether ranges work.
    async fn probe(&self) -> Result<Version> {
        let response = self.send("bytes=0-0".to_owned(), None).await?;
        Version::of(&response).map_err(|error| self.name(error))
    }

    async fn fetch(&self, range: Range<u64>, version: &Version) -> Result<Bytes> {
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let response = self.send(header, version.strong_etag()).await?;
        let limit = self.client.config().unranged_bytes;
        let body = answer::body(response, &range, version, limit).await;
        body.map_err(|error| self.name(error))
    }

    /// Sends a range request and follows redirects.
    async fn send(
        &self,
        range: String,
        if_range: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>> {
        let mut uri = self.target.uri.clone();
        for _ in 0..=self.client.config().redirects {
            let request = self.request(&uri, &range, if_range)?;
            let response = self.client.send(request).await.map_err(|error| self.name(error))?;
            let Some(location) = redirect(&response) else {
                return Ok(response);
            };
            uri = resolve(&uri, location).map_err(|error| self.name(error))?;
        }
        let message = "redirected too often: correct the server, or raise redirects";
        Err(self.name(Error::new(ErrorKind::Exhausted, message)))
    }

    fn request(
        &self,
        uri: &Uri,
        range: &str,
        if_range: Option<&HeaderValue>,
    ) -> Result<Request<Empty<Bytes>>> {
        let own = &self.target.uri;
        let same_origin = (uri.scheme(), uri.authority()) == (own.scheme(), own.authority());
        let authorization = self.target.authorization.as_ref().filter(|_| same_origin);
        let optional: [(HeaderName, Option<&HeaderValue>); 2] =
            [(IF_RANGE, if_range), (AUTHORIZATION, authorization)];
        let mut request = Request::get(uri).header(RANGE, range);
        for (name, value) in optional {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.body(Empty::new()).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the request can't be built").with_source(error)
        })
    }

    /// The error with the URL before its sentence.
    fn name(&self, error: Error) -> Error {
        error.of(&self.target.name)
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn size(&self) -> Result<u64> {
        let limit = self.client.config().request_timeout;
        match tokio::time::timeout(limit, self.version()).await {
            Ok(version) => Ok(version?.size),
            Err(_) => Err(self.timed_out()),
        }
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let size = self.size().await?;
        if check_range(&range, size)? == 0 {
            return Ok(Bytes::new());
        }
        let version = self.version().await?;
        let limit = self.client.config().request_timeout;
        match tokio::time::timeout(limit, self.fetch(range, version)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.timed_out()),
        }
    }
}

impl HttpSource {
    fn timed_out(&self) -> Error {
        let message = "no whole answer in time: try again later, or raise request_timeout";
        self.name(Error::new(ErrorKind::Unavailable, message))
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource").field("url", &self.target.name).finish_non_exhaustive()
    }
}

/// What of a URL may be in a message: all but a query and a password.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        (None, Some((_, rest))) => rest.to_owned(),
        _ => url.to_owned(),
    }
}

fn check_origin(uri: &Uri) -> Result<()> {
    let known = [Scheme::HTTP, Scheme::HTTPS].iter().any(|scheme| uri.scheme() == Some(scheme));
    if !known || uri.host().is_none_or(str::is_empty) {
        return Err(Error::new(ErrorKind::Invalid, "give an absolute http or https URL"));
    }
    // They would not be sent, and would be shown in messages (RFC 9110, section 4.2.4).
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let message = "has credentials before its host: give them to with_authorization";
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// Where a redirect points; 304 and 300 are none that a client follows by itself.
fn redirect(response: &Response<Incoming>) -> Option<&HeaderValue> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => response.headers().get(LOCATION),
        _ => None,
    }
}

/// The reference of a `Location` against the URL that gave it (RFC 3986, section 5.2; registries
/// and stores send absolute URLs or absolute paths). It never leads from https to http.
fn resolve(base: &Uri, location: &HeaderValue) -> Result<Uri> {
    let refused = |what: &str| {
        Error::new(ErrorKind::Invalid, format!("a redirect {what}: correct the server or the URL"))
    };
    let text = location.to_str().map_err(|_| refused("is no text"))?;
    let (scheme, host) = (base.scheme_str().unwrap_or("http"), base.authority());
    let host = host.map_or("", http::uri::Authority::as_str);
    let joined = if text.starts_with("//") {
        format!("{scheme}:{text}")
    } else if text.starts_with('/') {
        format!("{scheme}://{host}{text}")
    } else if is_absolute(text) {
        text.to_owned()
    } else if text.starts_with('?') {
        format!("{scheme}://{host}{}{text}", base.path())
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{host}{directory}/{text}")
    };
    let uri: Uri = joined.parse().map_err(|_| refused("is no URL"))?;
    check_origin(&uri).map_err(|_| refused("leads to no plain http or https URL"))?;
    if base.scheme() == Some(&Scheme::HTTPS) && uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(refused("leads from https to http"));
    }
    Ok(uri)
}

/// Whether it starts with a scheme (RFC 3986, section 3.1); a `:` further on says nothing.
fn is_absolute(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let base: Uri = "https://a.example:8443/v2/x/blob?q=1".parse().unwrap();
        for (location, uri) in [
            ("/y?z", "https://a.example:8443/y?z"),
            ("y", "https://a.example:8443/v2/x/y"),
            ("//b.example/y", "https://b.example/y"),
            ("https://c.example/y", "https://c.example/y"),
            ("HTTPS://c.example/y", "https://c.example/y"),
            ("y?next=http://d.example/", "https://a.example:8443/v2/x/y?next=http://d.example/"),
            ("/y?next=http://d.example/", "https://a.example:8443/y?next=http://d.example/"),
            ("?sig=1", "https://a.example:8443/v2/x/blob?sig=1"),
        ] {
            let resolved = resolve(&base, &HeaderValue::from_static(location)).unwrap();
            assert_eq!(resolved.to_string(), uri);
        }
        for location in [
            "http://a.example/",
            "ftp://a.example/",
            "file:/etc/passwd",
            "https://",
            "https://user:word@a.example/",
            "//a.example@b.example/",
            "\u{e9}",
        ] {
            let value = HeaderValue::from_bytes(location.as_bytes()).unwrap();
            assert_eq!(resolve(&base, &value).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[tokio::test]
    async fn only_absolute_http_urls() {
        let client = HttpClient::new(HttpConfig::default()).unwrap();
        for url in ["/path", "ftp://host/x", "file:///x", "not a url", ""] {
            let error = HttpSource::new(client.clone(), url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        }
    }

    #[tokio::test]
    async fn secrets_of_a_url_are_in_no_message() {
        let client = HttpClient::new(HttpConfig::default()).unwrap();
        for url in ["http://me:secret@host/x", "ftp://me:secret@host/x", "me:secret@host"] {
            let error = HttpSource::new(client.clone(), url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let signed = HttpSource::new(client, "http://127.0.0.1:1/x?signature=secret").unwrap();
        let error = signed.size().await.unwrap_err();
        assert!(error.to_string().starts_with("http://127.0.0.1:1/x: "), "{error}");
        assert!(!format!("{error:?} {signed:?}").contains("secret"), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.to_string().contains(&cause), "the sentence repeats its cause: {error}");
    }
}
