//! Connections: accepted, served, told to end.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::api::Api;
use super::auth::ClientName;
use super::config::ServerConfig;
use super::router::Router;
use super::tls::{Tls, common_name};
use crate::etcd_api::Spawn;

/// After an accept that failed for want of something, such as open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// As much as a client may send ahead of what was read, for a call and for a connection: enough
/// for the largest request of default size.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Hyper's way to run the calls of a connection.
#[derive(Clone)]
struct Calls(Arc<dyn Spawn>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Calls {
    fn execute(&self, call: F) {
        self.0.spawn(Box::pin(call));
    }
}

/// The connections of a server.
pub(super) struct Connections {
    builder: Builder<Calls>,
    spawn: Arc<dyn Spawn>,
    room: Arc<Semaphore>,
    most: u32,
    stop: watch::Sender<bool>,
    grace: Duration,
}

impl Connections {
    pub(super) fn new(config: &ServerConfig, spawn: Arc<dyn Spawn>) -> Self {
        let mut builder = Builder::new(Calls(Arc::clone(&spawn)));
        let alive = Some(config.keep_alive_interval).filter(|interval| !interval.is_zero());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_concurrent_streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(alive)
            .keep_alive_timeout(config.keep_alive_timeout);
        builder.http1().timer(TokioTimer::new());
        let most = u32::try_from(config.max_connections).unwrap_or(u32::MAX);
        Self {
            builder,
            spawn,
            room: Arc::new(Semaphore::new(config.max_connections)),
            most,
            stop: watch::Sender::new(false),
            grace: config.shutdown_grace,
        }
    }

    pub(super) fn shut_down(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the server is shut down, now and later: see [`stopped`].
    pub(super) fn stop(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    pub(super) async fn serve(
        &self,
        listener: &TcpListener,
        tls: Option<&Tls>,
        router: &Router,
        api: &Api,
    ) {
        let mut stop = self.stop.subscribe();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.accepted(stream, tls, router, api),
                    Err(error) => pause_after(&error).await,
                },
            }
        }
        // Every connection has a place; when all places are free, none is left.
        let all = self.room.acquire_many(self.most);
        let _overdue = tokio::time::timeout(self.grace + ACCEPT_PAUSE, all).await;
    }

    fn accepted(&self, stream: TcpStream, tls: Option<&Tls>, router: &Router, api: &Api) {
        // Answers are written whole; waiting for more to send only delays them.
        let _unsupported = stream.set_nodelay(true);
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            api.metrics.refused_connections.add(1);
            return;
        };
        api.metrics.connections.add(1);
        let connection = Connection {
            builder: self.builder.clone(),
            router: router.clone(),
            stop: self.stop.subscribe(),
            grace: self.grace,
            _place: place,
        };
        self.spawn.spawn(match tls {
            None => Box::pin(connection.run(stream)),
            Some(tls) => Box::pin(connection.run_tls(stream, tls.acceptor())),
        });
    }
}

/// Waits until the server is shut down, or gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _stopped_or_gone = stop.wait_for(|stop| *stop).await;
}

struct Connection {
    builder: Builder<Calls>,
    router: Router,
    stop: watch::Receiver<bool>,
    grace: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// A client that does not finish its handshake in time, or fails it, is gone.
    async fn run_tls(mut self, stream: TcpStream, acceptor: TlsAcceptor) {
        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
        let Ok(Ok(stream)) = handshake.await else { return };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let name = shown.and_then(|shown| common_name(shown));
        self.router.client = name.map(|name| ClientName::new(name.into()));
        self.run(stream).await;
    }

    async fn run(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let io = TokioIo::new(stream);
        let mut connection = pin!(self.builder.serve_connection(io, self.router.clone()));
        tokio::select! {
            // How a connection ends is the client's affair.
            _ended = connection.as_mut() => return,
            () = stopped(&mut self.stop) => connection.as_mut().graceful_shutdown(),
        }
        let _overdue = tokio::time::timeout(self.grace, connection).await;
    }
}

/// A connection that is gone before it was taken is no reason to wait; that there is no room for
/// another is.
async fn pause_after(error: &io::Error) {
    let gone = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !gone {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
