//! A real HTTP server on loopback that serves one blob, and misbehaves on demand.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_RANGE, ETAG, IF_RANGE, LOCATION, RANGE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How the server treats the next requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    Right,
    /// 200 and the whole blob, whatever the range.
    IgnoresRanges,
    /// 206 with another range than was asked.
    OtherRange,
    /// 206 with more bytes than the range.
    TooLong,
    Status(u16),
    /// Redirects to this location.
    Redirects(String),
    /// Answers nothing.
    Silent,
}

#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) bytes: Bytes,
    pub(crate) etag: Option<String>,
    pub(crate) manner: Manner,
    /// The `Authorization` headers seen.
    pub(crate) credentials: Vec<Option<String>>,
}

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<Mutex<Served>>,
    pub(crate) requests: Arc<AtomicU64>,
    accept: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(bytes: Bytes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let etag = Some("\"v0\"".to_owned());
        let served = Served { bytes, etag, manner: Manner::Right, credentials: Vec::new() };
        let served = Arc::new(Mutex::new(served));
        let requests = Arc::new(AtomicU64::new(0));
        let accept = tokio::spawn(accept(listener, Arc::clone(&served), Arc::clone(&requests)));
        Self { address, served, requests, accept }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/blob", self.address)
    }

    pub(crate) fn set(&self, manner: Manner) {
        self.served.lock().unwrap().manner = manner;
    }

    pub(crate) fn replace(&self, bytes: Bytes, etag: Option<&str>) {
        let mut served = self.served.lock().unwrap();
        (served.bytes, served.etag) = (bytes, etag.map(str::to_owned));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, served: Arc<Mutex<Served>>, requests: Arc<AtomicU64>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (served, requests) = (Arc::clone(&served), Arc::clone(&requests));
        let service = service_fn(move |request| {
            requests.fetch_add(1, Ordering::SeqCst);
            let served = Arc::clone(&served);
            async move {
                if served.lock().unwrap().manner == Manner::Silent {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(answer(&served, &request))
            }
        });
        tokio::spawn(async move {
            // A client that went away is no failure of the test.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn answer(served: &Mutex<Served>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut served = served.lock().unwrap();
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let seen = header(hyper::header::AUTHORIZATION).map(str::to_owned);
    served.credentials.push(seen);
    let mut response = Response::builder();
    if let Some(etag) = &served.etag {
        response = response.header(ETAG, etag);
    }
    let size = served.bytes.len();
    let same = header(IF_RANGE).is_none_or(|etag| served.etag.as_deref() == Some(etag));
    let range = header(RANGE).filter(|_| same).map(|value| parse(value, size));
    match (&served.manner, range) {
        (Manner::Status(status), _) => {
            response.status(*status).header(RETRY_AFTER, "1").body(Full::default()).unwrap()
        }
        (Manner::Redirects(location), _) => {
            response.status(307).header(LOCATION, location).body(Full::default()).unwrap()
        }
        (Manner::IgnoresRanges, _) | (_, None) => {
            response.body(Full::new(served.bytes.clone())).unwrap()
        }
        (_, Some(None)) => response
            .status(StatusCode::RANGE_NOT_SATISFIABLE)
            .header(CONTENT_RANGE, format!("bytes */{size}"))
            .body(Full::default())
            .unwrap(),
        (manner, Some(Some((first, last)))) => {
            let shift = usize::from(*manner == Manner::OtherRange);
            let (first, last) = (first + shift, (last + shift).min(size - 1));
            let mut body = served.bytes.slice(first..=last).to_vec();
            if *manner == Manner::TooLong {
                body.extend_from_slice(b"more");
            }
            response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"))
                .body(Full::new(body.into()))
                .unwrap()
        }
    }
}

/// `bytes=first-last`, both there, as an inclusive range within the blob.
fn parse(value: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first < size).then(|| (first, last.min(size - 1)))
}
