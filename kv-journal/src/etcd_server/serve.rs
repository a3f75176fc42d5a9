//! Connections: accepted, told to end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::api::Api;
use super::audience::ClientAddr;
use super::config::ServerConfig;
use super::connection::{Connection, Shape};
use super::router::Router;
use super::tls::Tls;
use crate::etcd_api::Spawn;

/// After an accept that failed for want of something, such as open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of a server.
pub(super) struct Connections {
    shape: Shape,
    spawn: Arc<dyn Spawn>,
    room: Arc<Semaphore>,
    most: u32,
    stop: watch::Sender<bool>,
    grace: Duration,
}

impl Connections {
    pub(super) fn new(config: &ServerConfig, spawn: Arc<dyn Spawn>) -> Self {
        let most = u32::try_from(config.max_connections).unwrap_or(u32::MAX);
        Self {
            shape: Shape::of(config),
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
    pub(super) fn stop(&self) -> Stop {
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
                    Ok((stream, client)) => self.accepted(stream, client, tls, (router, api)),
                    Err(error) => pause_after(&error).await,
                },
            }
        }
        // Every connection has a place; when all places are free, none is left.
        let all = self.room.acquire_many(self.most);
        let _overdue = tokio::time::timeout(self.grace + ACCEPT_PAUSE, all).await;
    }

    fn accepted(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        tls: Option<&Tls>,
        (router, api): (&Router, &Api),
    ) {
        // Answers are written whole; waiting for more to send only delays them.
        let _unsupported = stream.set_nodelay(true);
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            api.metrics.refused_connections.add(1);
            return;
        };
        api.metrics.connections.add(1);
        let connection = Connection {
            shape: self.shape,
            router: router.for_client(ClientAddr(client)),
            spawn: Arc::clone(&self.spawn),
            stop: self.stop.subscribe(),
            grace: self.grace,
            dismissed: Arc::clone(&api.metrics.too_many_pings),
            place,
        };
        self.spawn.spawn(match tls {
            None => Box::pin(connection.run(stream)),
            Some(tls) => Box::pin(connection.run_tls(stream, tls.acceptor())),
        });
    }
}

/// Tells whether the server is shut down.
pub(super) type Stop = watch::Receiver<bool>;

/// Waits until the server is shut down, or gone.
pub(super) async fn stopped(stop: &mut Stop) {
    let _stopped_or_gone = stop.wait_for(|stop| *stop).await;
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
