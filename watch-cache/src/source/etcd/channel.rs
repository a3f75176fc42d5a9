//! The way to the cluster: one HTTP/2 connection at a time, to the first endpoint that takes it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::codegen::Service;

use super::config::EtcdConfig;
use super::tls;
use crate::error::{Error, ErrorKind, Result};

/// Room for a large answer on the way.
const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2's most: watches that are not read must not use up what other calls need.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Who runs the futures of connections.
pub(super) type Spawn = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

struct Endpoint {
    authority: Authority,
    tls: Option<ServerName<'static>>,
}

impl Endpoint {
    fn of(url: &str, config: &EtcdConfig) -> Result<Self> {
        let wrong = || {
            let message =
                format!("config: endpoint `{url}`: write it like `http://127.0.0.1:2379`");
            Error::new(ErrorKind::Invalid, message)
        };
        let uri: Uri = url.parse().map_err(|error| wrong().with_source(error))?;
        let authority = uri.authority().filter(|authority| authority.port().is_some());
        let authority = authority.cloned().ok_or_else(wrong)?;
        let name = || config.server_name.as_deref().unwrap_or_else(|| authority.host());
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(tls::server_name(name())?),
            _ => return Err(wrong()),
        };
        Ok(Self { authority, tls })
    }
}

pub(super) struct Channel {
    endpoints: Vec<Endpoint>,
    tls: Option<TlsConnector>,
    config: Arc<EtcdConfig>,
    spawn: Arc<Spawn>,
    connected: Mutex<Connected>,
}

/// The connection that there is, and whose turn it is.
#[derive(Default)]
struct Connected {
    /// How often an endpoint was given up.
    turn: usize,
    connection: Option<Connection>,
}

impl Connected {
    fn give_up(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.connection = None;
    }
}

/// A connection to one member. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Body>,
    scheme: Scheme,
    authority: Authority,
    turn: usize,
    /// Whether the member's answers to requests for progress can be trusted, once it was asked.
    pub(super) answers_progress: Arc<OnceCell<bool>>,
}

/// Hyper's way to run what belongs to a connection.
#[derive(Clone)]
struct Tasks(Arc<Spawn>);

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        (self.0)(Box::pin(async move {
            task.await;
        }));
    }
}

impl Channel {
    /// Nothing is connected yet.
    pub(super) fn new(config: Arc<EtcdConfig>, spawn: Arc<Spawn>) -> Result<Self> {
        let endpoints = config.endpoints.iter().map(|url| Endpoint::of(url, &config));
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_>>()?;
        let wants_tls = endpoints.iter().any(|endpoint| endpoint.tls.is_some());
        let tls = wants_tls.then(|| tls::connector(&config)).transpose()?;
        Ok(Self { endpoints, tls, config, spawn, connected: Mutex::default() })
    }

    pub(super) fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// The connection that there is, or a new one to the first endpoint that takes it.
    pub(super) async fn connection(&self) -> Result<Connection> {
        let mut connected = self.connected.lock().await;
        if let Some(connection) = connected.connection.as_ref().filter(|c| !c.sender.is_closed()) {
            return Ok(connection.clone());
        }
        let mut last = None;
        for _ in 0..self.endpoints.len() {
            let turn = connected.turn;
            let Some(endpoint) = self.endpoints.get(turn % self.endpoints.len()) else { break };
            match self.connect(endpoint, turn).await {
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
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Invalid, "name at least one endpoint")))
    }

    /// The next call goes to the next endpoint, unless that was decided since `connection` was made.
    /// Calls that run on it go on.
    pub(super) async fn turn_away(&self, connection: &Connection) {
        let mut connected = self.connected.lock().await;
        if connected.turn == connection.turn {
            connected.give_up();
        }
    }

    async fn connect(&self, endpoint: &Endpoint, turn: usize) -> Result<Connection> {
        let failed = |what: &str| {
            let message = format!("{}: {what}: retry later", endpoint.authority);
            Error::new(ErrorKind::Unavailable, message)
        };
        let connecting = async {
            let stream = TcpStream::connect(endpoint.authority.as_str()).await;
            let stream = stream.map_err(|e| failed("cannot be reached").with_source(e))?;
            // Without it answers are only later.
            let _ = stream.set_nodelay(true);
            let sender = match (&endpoint.tls, &self.tls) {
                (Some(name), Some(tls)) => {
                    let stream = tls.connect(name.clone(), stream).await;
                    self.handshake(stream.map_err(|e| failed("TLS fails").with_source(e))?).await
                }
                _ => self.handshake(stream).await,
            };
            sender.map_err(|e| failed("does not speak HTTP/2").with_source(e))
        };
        let sender = timeout(self.config.connect_timeout, connecting).await;
        let sender = sender.map_err(|_| failed("did not take the connection in time"))??;
        Ok(Connection {
            sender,
            scheme: if endpoint.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP },
            authority: endpoint.authority.clone(),
            turn,
            answers_progress: Arc::default(),
        })
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
            .handshake(TokioIo::new(stream))
            .await?;
        (self.spawn)(Box::pin(async move {
            // Every call on it learns how it ended.
            let _ = connection.await;
        }));
        Ok(sender)
    }
}

impl Connection {
    /// The request with the whole address that HTTP/2 wants.
    fn address(&self, request: &mut Request<Body>) -> Result<(), http::uri::InvalidUriParts> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(parts)?;
        Ok(())
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = tonic::codegen::StdError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Err(error) = self.address(&mut request) {
            return Box::pin(async { Err(error.into()) });
        }
        let answer = self.sender.send_request(request);
        Box::pin(async { Ok(answer.await?) })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("authority", &self.authority).finish_non_exhaustive()
    }
}
