//! One connection.

use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;

use super::auth::ClientName;
use super::config::ServerConfig;
use super::gather::Gathered;
use super::in_line::{Line, NewCalls};
use super::metrics::Counter;
use super::pings::Guarded;
use super::router::Router;
use super::serve::{Stop, stopped};
use super::tls::common_name;
use crate::etcd_api::Spawn;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// As much as a client may send ahead of what was read, for a call and for a connection: enough
/// for the largest request of default size.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What all connections have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    max_concurrent_streams: u32,
    keep_alive_interval: Option<Duration>,
    keep_alive_timeout: Duration,
    keep_alive_min_time: Duration,
}

impl Shape {
    pub(super) fn of(config: &ServerConfig) -> Self {
        let interval = config.keep_alive_interval;
        Self {
            max_concurrent_streams: config.max_concurrent_streams,
            keep_alive_interval: Some(interval).filter(|interval| !interval.is_zero()),
            keep_alive_timeout: config.keep_alive_timeout,
            keep_alive_min_time: config.keep_alive_min_time,
        }
    }

    fn builder(self, calls: NewCalls) -> Builder<NewCalls> {
        let mut builder = Builder::new(calls);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_concurrent_streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(self.keep_alive_interval)
            .keep_alive_timeout(self.keep_alive_timeout);
        builder.http1().timer(TokioTimer::new());
        builder
    }
}

pub(super) struct Connection {
    pub(super) shape: Shape,
    pub(super) router: Router,
    pub(super) spawn: Arc<dyn Spawn>,
    pub(super) stop: Stop,
    pub(super) grace: Duration,
    /// Clients that pinged too often.
    pub(super) dismissed: Arc<Counter>,
    /// Its place among those that may be open.
    pub(super) place: OwnedSemaphorePermit,
}

impl Connection {
    /// A client that does not finish its handshake in time, or fails it, is gone.
    pub(super) async fn run_tls(mut self, stream: TcpStream, acceptor: TlsAcceptor) {
        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
        let Ok(Ok(stream)) = handshake.await else { return };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let name = shown.and_then(|shown| common_name(shown));
        self.router.client = name.map(|name| ClientName::new(name.into()));
        self.run(stream).await;
    }

    pub(super) async fn run(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) {
        let mut line = Line::new(self.spawn);
        let builder = self.shape.builder(line.entry());
        let min_time = self.shape.keep_alive_min_time;
        let gathered = Gathered::new(stream);
        let send = |cx: &mut Context<'_>| gathered.send(cx);
        let io = Guarded::new(gathered.clone(), min_time, line.running(), self.dismissed);
        let io = TokioIo::new(io);
        let mut connection = pin!(builder.serve_connection(io, self.router.clone()));
        tokio::select! {
            () = line.run_with(connection.as_mut(), send) => return,
            () = stopped(&mut self.stop) => connection.as_mut().graceful_shutdown(),
        }
        let _overdue = tokio::time::timeout(self.grace, line.run_with(connection, send)).await;
        drop(self.place);
    }
}
