//! An image registry on loopback: blobs by digest over HTTP/1.1, whole or by range.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use trestle_examples::fail::{Context, Result};

/// The path that the layer is served at, in the form of the OCI distribution specification.
const BLOB_PATH: &str = "/v2/trestle/blobs/layer";
/// Bytes of a file that go into one body frame.
const FRAME_BYTES: u64 = 256 << 10;

type Body = BoxBody<Bytes, io::Error>;

/// A port that a layer is going to be served at.
#[derive(Debug)]
pub(crate) struct Registry {
    listener: TcpListener,
}

/// The file behind the blob and what was sent of it.
#[derive(Debug)]
pub(crate) struct Layer {
    file: File,
    bytes: u64,
    sent: AtomicU64,
}

impl Registry {
    pub(crate) async fn bind(listen: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .context(|| format!("registry can't listen on {listen}: choose another address"))?;
        Ok(Self { listener })
    }

    /// The layer's URL.
    pub(crate) fn url(&self) -> Result<String> {
        let address = self.listener.local_addr().context(|| "registry".to_owned())?;
        Ok(format!("http://{address}{BLOB_PATH}"))
    }

    /// Accepts connections until it is dropped.
    pub(crate) async fn serve(self, layer: Arc<Layer>) {
        loop {
            // Running out of descriptors passes: wait for some to come free.
            let Ok((connection, _)) = self.listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            // Nagle's algorithm would hold back the last segment of each answer.
            let _ = connection.set_nodelay(true);
            let layer = Arc::clone(&layer);
            let service = service_fn(move |request| {
                let layer = Arc::clone(&layer);
                async move { Ok::<_, Infallible>(respond(&layer, &request)) }
            });
            let serve = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(connection), service);
            tokio::spawn(async move {
                // A client that goes away in the middle is no failure of the registry.
                let _ = serve.await;
            });
        }
    }
}

impl Layer {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = || format!("image {}", path.display());
        let file = File::open(path).context(name)?;
        let bytes = file.metadata().context(name)?.len();
        Ok(Self { file, bytes, sent: AtomicU64::new(0) })
    }

    /// Bytes of the layer sent so far, over all clients.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn frames(
        self: &Arc<Self>,
        range: Range<u64>,
    ) -> impl Stream<Item = io::Result<Frame<Bytes>>> + use<> {
        let layer = Arc::clone(self);
        stream::iter(range.clone().step_by(usize::try_from(FRAME_BYTES).unwrap_or(usize::MAX)))
            .map(move |start| layer.read(start..range.end.min(start + FRAME_BYTES)))
            .map(|frame| frame.map(Frame::data))
    }

    /// Reads from the page cache in all likelihood, so no thread is asked to do it.
    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = range.end - range.start;
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact_at(&mut buffer, range.start)?;
        self.sent.fetch_add(length, Ordering::Relaxed);
        Ok(buffer.into())
    }
}

fn respond(layer: &Arc<Layer>, request: &Request<Incoming>) -> Response<Body> {
    if request.uri().path() != BLOB_PATH {
        return status(StatusCode::NOT_FOUND);
    }
    let range = match request.headers().get(RANGE).map(|value| value.to_str().ok()) {
        None => None,
        Some(text) => match text.and_then(|text| parse_range(text, layer.bytes)) {
            Some(range) => Some(range),
            None => return status(StatusCode::RANGE_NOT_SATISFIABLE),
        },
    };
    let bytes = range.clone().unwrap_or(0..layer.bytes);
    let mut builder = Response::builder()
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, format!("\"layer-{}\"", layer.bytes))
        .header(CONTENT_LENGTH, bytes.end - bytes.start);
    if range.is_some() {
        let of = format!("bytes {}-{}/{}", bytes.start, bytes.end.saturating_sub(1), layer.bytes);
        builder = builder.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, of);
    }
    let body = match *request.method() {
        Method::GET => BodyExt::boxed(StreamBody::new(layer.frames(bytes))),
        Method::HEAD => empty(),
        _ => return status(StatusCode::METHOD_NOT_ALLOWED),
    };
    builder.body(body).unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR))
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-suffix` (RFC 9110, section 14.1.2), one range only.
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => size.saturating_sub(suffix.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => first.parse().ok()?..size.min(last.parse::<u64>().ok()?.checked_add(1)?),
    };
    (range.start < range.end).then_some(range)
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = code;
    response
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}
