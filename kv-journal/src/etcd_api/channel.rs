//! A way to an etcd: one HTTP/2 connection at a time, to the first endpoint that takes it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::codegen::Service;

use super::Spawn;
use crate::error::{Error, ErrorKind, Result};

/// Room for large answers on the way.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How to reach an etcd.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChannelConfig {
    /// The members, each as `http://host:port` or `https://host:port`. They are tried in turn.
    pub endpoints: Vec<String>,
    /// Whose signature a server's certificate must have, in PEM. Needed for `https`.
    pub ca_pem: Option<Vec<u8>>,
    /// The certificate to show, in PEM, and its key.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// How long connecting to one endpoint may take.
    pub connect_timeout: Duration,
    /// A connection that was silent for so long is asked whether it is alive.
    pub keep_alive_interval: Duration,
    /// How long the answer to that may take.
    pub keep_alive_timeout: Duration,
}

impl ChannelConfig {
    /// One or more endpoints, without TLS.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ca_pem: None,
            identity_pem: None,
            connect_timeout: Duration::from_secs(2),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Clone)]
struct Endpoint {
    tls: bool,
    authority: Authority,
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let wrong = || {
            Error::new(
                ErrorKind::Invalid,
                format!("the endpoint `{url}` is not like `http://127.0.0.1:2379`"),
            )
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().cloned().ok_or_else(wrong)?;
        if authority.port().is_none() { Err(wrong()) } else { Ok(Self { tls, authority }) }
    }
}

/// Calls an etcd. Clones share the connection, which is made when a call needs one.
///
/// It serves the generated clients: `KvClient::new(channel)`.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
}

struct Inner {
    endpoints: Vec<Endpoint>,
    tls: Option<TlsConnector>,
    config: ChannelConfig,
    spawn: Arc<dyn Spawn>,
    connected: Mutex<Connected>,
}

/// The connection, and to which endpoint it goes.
#[derive(Default)]
struct Connected {
    at: usize,
    /// How often an endpoint was given up.
    turn: u64,
    connection: Option<Connection>,
}

#[derive(Clone)]
struct Connection {
    sender: SendRequest<Body>,
    endpoint: Endpoint,
}

/// Hyper's way to run what belongs to a connection.
#[derive(Clone)]
struct Tasks(Arc<dyn Spawn>);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(Box::pin(async move {
            task.await;
        }));
    }
}

impl Channel {
    /// A channel whose connections are run by `spawn`. Nothing is connected yet.
    ///
    /// # Errors
    /// `Invalid` if there is no endpoint, one is not a URL, or something about TLS is wrong or
    /// missing.
    pub fn new(config: ChannelConfig, spawn: impl Spawn) -> Result<Self> {
        let endpoints: Vec<Endpoint> =
            config.endpoints.iter().map(|url| url.parse()).collect::<Result<_>>()?;
        if endpoints.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "name at least one endpoint"));
        }
        let wants_tls = endpoints.iter().any(|endpoint| endpoint.tls);
        let tls = wants_tls.then(|| connector(&config)).transpose()?;
        let spawn: Arc<dyn Spawn> = Arc::new(spawn);
        let connected = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { endpoints, tls, config, spawn, connected }) })
    }

    /// How often an endpoint was given up so far.
    pub(crate) async fn turn(&self) -> u64 {
        self.inner.connected.lock().await.turn
    }

    /// The next call goes to the next endpoint, unless that was decided since `turn`. Calls that
    /// run go on.
    pub(crate) async fn turn_away(&self, turn: u64) {
        let mut connected = self.inner.connected.lock().await;
        if connected.turn == turn {
            connected.give_up();
        }
    }
}

impl Connected {
    fn give_up(&mut self) {
        self.connection = None;
        self.at = self.at.wrapping_add(1);
        self.turn += 1;
    }
}

impl Inner {
    /// The connection that there is, or a new one to the first endpoint that takes it.
    async fn connection(&self) -> Result<Connection> {
        let mut connected = self.connected.lock().await;
        if let Some(connection) = connected.connection.as_ref().filter(|c| !c.sender.is_closed()) {
            return Ok(connection.clone());
        }
        let mut last = None;
        for _ in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[connected.at % self.endpoints.len()];
            match self.connect(endpoint).await {
                Ok(connection) => {
                    connected.connection = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => {
                    connected.give_up();
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "there is no endpoint")))
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection> {
        let unreachable = |message: &str| {
            Error::new(ErrorKind::Unavailable, format!("{}: {message}", endpoint.authority))
        };
        let connecting = async {
            let address = endpoint.authority.as_str();
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|e| unreachable("cannot connect").with_source(e))?;
            let _unsupported = stream.set_nodelay(true);
            let sender = match &self.tls {
                Some(tls) if endpoint.tls => {
                    let host = endpoint.authority.host().trim_matches(['[', ']']).to_owned();
                    let name = ServerName::try_from(host)
                        .map_err(|e| unreachable("not a name for TLS").with_source(e))?;
                    let stream = tls.connect(name, stream).await;
                    let stream = stream.map_err(|e| unreachable("TLS failed").with_source(e))?;
                    self.handshake(stream).await
                }
                _ => self.handshake(stream).await,
            };
            sender.map_err(|e| unreachable("does not speak HTTP/2").with_source(e))
        };
        let sender = tokio::time::timeout(self.config.connect_timeout, connecting).await;
        let sender = sender.map_err(|_| unreachable("did not answer in time"))??;
        Ok(Connection { sender, endpoint: endpoint.clone() })
    }

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> hyper::Result<SendRequest<Body>> {
        let (sender, connection) = Builder::new(Tasks(Arc::clone(&self.spawn)))
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(self.config.keep_alive_interval)
            .keep_alive_timeout(self.config.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        self.spawn.spawn(Box::pin(async move {
            // Every call on it learns how it ended.
            let _ended = connection.await;
        }));
        Ok(sender)
    }

    /// The next call goes to the next endpoint.
    async fn give_up(&self, on: &Connection) {
        let mut connected = self.connected.lock().await;
        let is_this = |c: &Connection| c.endpoint.authority == on.endpoint.authority;
        if connected.connection.as_ref().is_some_and(is_this) {
            connected.give_up();
        }
    }

    async fn call(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        let mut connection = self.connection().await?;
        if connection.sender.ready().await.is_err() {
            // Nothing was sent on it.
            self.give_up(&connection).await;
            connection = self.connection().await?;
        }
        let request = to(&connection.endpoint, request)?;
        match connection.sender.send_request(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.give_up(&connection).await;
                let message = format!("{}: the call failed", connection.endpoint.authority);
                Err(Error::new(ErrorKind::Unknown, message).with_source(error))
            }
        }
    }
}

/// The request with the whole address that HTTP/2 wants.
fn to(endpoint: &Endpoint, mut request: Request<Body>) -> Result<Request<Body>> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if endpoint.tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(endpoint.authority.clone());
    let uri = Uri::from_parts(parts)
        .map_err(|error| Error::new(ErrorKind::Invalid, "not a call").with_source(error))?;
    *request.uri_mut() = uri;
    Ok(request)
}

fn connector(config: &ChannelConfig) -> Result<TlsConnector> {
    let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
    let pem = config.ca_pem.as_deref();
    let pem = pem.ok_or_else(|| invalid("an https endpoint needs the CA's certificate".into()))?;
    let mut roots = RootCertStore::empty();
    for root in certificates(pem)? {
        roots.add(root).map_err(|error| invalid(format!("the CA's certificate: {error}")))?;
    }
    // The process may have several providers, and then no default.
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(format!("TLS: {error}")))?
        .with_root_certificates(roots);
    let mut tls = match &config.identity_pem {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| invalid(format!("the client's key is not in PEM: {error}")))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(|error| invalid(format!("the client's certificate and key: {error}")))?
        }
    };
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Error::new(ErrorKind::Invalid, "there is no certificate in the PEM")),
        Err(error) => {
            let message = format!("a certificate is not in PEM: {error}");
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.call(request).await })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("endpoints", &self.inner.config.endpoints)
            .finish_non_exhaustive()
    }
}
