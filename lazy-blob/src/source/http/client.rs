//! The HTTP client that sources share.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::config::Limit;
use crate::error::{Error, ErrorKind, Result};

/// Settings of an [`HttpClient`] and of the sources that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Time to connect, name resolution and TCP handshake.
    pub connect_timeout: Duration,
    /// Time for one whole answer with its redirects.
    pub request_timeout: Duration,
    /// Redirects that one request follows.
    pub redirects: u32,
    /// How far into a whole blob to read where the server ignores ranges.
    pub unranged_bytes: u64,
    /// Idle connections that are kept for each host.
    pub idle_connections: usize,
    /// Certificates (DER) to trust instead of the public authorities; none trusts those.
    pub root_certificates: Vec<Vec<u8>>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(Self::CONNECT_TIMEOUT_MS.default),
            request_timeout: Duration::from_millis(Self::REQUEST_TIMEOUT_MS.default),
            redirects: Self::REDIRECTS.default,
            unranged_bytes: Self::UNRANGED_BYTES.default,
            idle_connections: Self::IDLE_CONNECTIONS.default,
            root_certificates: Vec::new(),
        }
    }
}

impl HttpConfig {
    /// Three SYN retransmissions (RFC 6298: 1, 2, 4 s) fit into the default.
    pub const CONNECT_TIMEOUT_MS: Limit<u64> = Limit { default: 10_000, min: 1, max: 600_000 };
    /// 2 MiB at 1 Mb/s take 17 s.
    pub const REQUEST_TIMEOUT_MS: Limit<u64> = Limit { default: 30_000, min: 1, max: 3_600_000 };
    /// Registries redirect once, to a store.
    pub const REDIRECTS: Limit<u32> = Limit { default: 5, min: 0, max: 20 };
    /// A server without ranges is of use for small blobs only; 0 refuses it.
    pub const UNRANGED_BYTES: Limit<u64> = Limit { default: 8 << 20, min: 0, max: 1 << 40 };
    /// As many as a thousand blobs of one host can use well.
    pub const IDLE_CONNECTIONS: Limit<usize> = Limit { default: 16, min: 0, max: 4096 };

    pub(crate) fn check(&self) -> Result<()> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self::CONNECT_TIMEOUT_MS.check("connect_timeout in ms", millis(self.connect_timeout))?;
        Self::REQUEST_TIMEOUT_MS.check("request_timeout in ms", millis(self.request_timeout))?;
        Self::REDIRECTS.check("redirects", self.redirects)?;
        Self::UNRANGED_BYTES.check("unranged_bytes", self.unranged_bytes)?;
        Self::IDLE_CONNECTIONS.check("idle_connections", self.idle_connections)
    }
}

/// A pool of HTTP/1.1 connections; clones share it.
///
/// TLS uses the ring provider, always: never the process's default, which may be missing or
/// another.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    config: Arc<HttpConfig>,
}

impl HttpClient {
    /// A client whose connections run on the caller's tokio runtime.
    ///
    /// The HTTP library drives each connection in a task of its own, which it hands to an
    /// executor. Here that is the library's `TokioExecutor`; see
    /// [`with_executor`](Self::with_executor) to choose. Name resolution uses tokio's blocking
    /// pool. Nothing is connected yet, but requests need a tokio runtime with IO and time.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a setting out of its range or a root certificate that
    /// is none.
    pub fn new(config: HttpConfig) -> Result<Self> {
        Self::with_executor(config, TokioExecutor::new())
    }

    /// A client whose connections are driven by `executor`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_executor<E>(config: HttpConfig, executor: E) -> Result<Self>
    where
        E: Executor<Pin<Box<dyn Future<Output = ()> + Send>>> + Send + Sync + Clone + 'static,
    {
        config.check()?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&config.root_certificates)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(executor)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(config.idle_connections)
            .build(connector);
        Ok(Self { client, config: Arc::new(config) })
    }

    pub(super) fn config(&self) -> &HttpConfig {
        &self.config
    }

    pub(super) async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>> {
        self.client.request(request).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "no answer: try again later").with_source(error)
        })
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("config", &self.config).finish_non_exhaustive()
    }
}

fn tls(roots: &[Vec<u8>]) -> Result<ClientConfig> {
    let invalid = |error: rustls::Error| {
        let message = "the TLS settings are refused: give root certificates in DER";
        Error::new(ErrorKind::Invalid, message).with_source(error)
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    if roots.is_empty() {
        return Ok(builder.with_webpki_roots().with_no_client_auth());
    }
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from_slice(root).into_owned()).map_err(invalid)?;
    }
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}
