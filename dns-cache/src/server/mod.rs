//! The listener: a resolver on a port, over UDP and TCP (feature `server`).

mod config;
mod driver;
mod tcp;
mod udp;

pub use config::ServerConfig;
pub use driver::ServerDriver;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::resolver::Resolver;

/// A system that has UDP and TCP ports for other programs needs few tries for a pair.
const PORT_TRIES: usize = 16;
/// Bursts wait in the socket while the driver is busy: about 4,000 queries.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// A listening resolver. Clones are handles of the same one; when the last is dropped, the
/// listener stops, answers what it has taken, and its driver ends.
///
/// ```
/// use std::sync::Arc;
///
/// use dns_cache::server::{Server, ServerConfig};
/// use dns_cache::upstream::MemoryUpstream;
/// use dns_cache::{Config, Resolver};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> dns_cache::Result<()> {
/// let (resolver, driver) = Resolver::open(Arc::new(MemoryUpstream::new()), None, Config::default())?;
/// tokio::spawn(driver);
/// let (server, driver) = Server::bind(resolver, ServerConfig::default()).await?;
/// tokio::spawn(driver);
/// println!("dig @{} -p {}", server.local_addr().ip(), server.local_addr().port());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    local_addr: SocketAddr,
    counters: Arc<Counters>,
    /// Closed when the last handle is dropped, which stops the listeners.
    _alive: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct Counters {
    udp_queries: AtomicU64,
    udp_unsent: AtomicU64,
    overloads: AtomicU64,
    tcp_connections: AtomicU64,
    tcp_queries: AtomicU64,
}

/// What a server has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Datagrams received.
    pub udp_queries: u64,
    /// Responses that the system did not take.
    pub udp_unsent: u64,
    /// Misses answered with SERVFAIL because too many wait already.
    pub overloads: u64,
    /// TCP connections accepted.
    pub tcp_connections: u64,
    /// Queries received over TCP.
    pub tcp_queries: u64,
}

impl Server {
    /// Binds the sockets. Spawn the driver, or queries wait in them.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the port is taken, `Invalid` if the address is not this machine's, the
    /// program may not bind it, or a setting is out of its range.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it has bound.
    pub async fn bind(resolver: Resolver, config: ServerConfig) -> Result<(Self, ServerDriver)> {
        config.check()?;
        let (udp, tcp) = bind_pair(&config).await.map_err(|error| refused(config.listen, error))?;
        let local_addr = tcp.local_addr().map_err(|error| refused(config.listen, error))?;
        let (alive, gone) = watch::channel(());
        let counters = Arc::new(Counters::default());
        let context = Context { resolver, config, counters: Arc::clone(&counters), gone };
        let mut parts: Vec<driver::Part> = Vec::with_capacity(udp.len() + 1);
        for socket in udp {
            parts.push(Box::pin(udp::serve(context.clone(), socket)));
        }
        parts.push(Box::pin(tcp::serve(context, tcp)));
        let server = Self { local_addr, counters, _alive: Arc::new(alive) };
        Ok((server, ServerDriver::new(parts)))
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerStats {
            udp_queries: read(&self.counters.udp_queries),
            udp_unsent: read(&self.counters.udp_unsent),
            overloads: read(&self.counters.overloads),
            tcp_connections: read(&self.counters.tcp_connections),
            tcp_queries: read(&self.counters.tcp_queries),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// What every part of the server needs.
#[derive(Clone)]
struct Context {
    resolver: Resolver,
    config: ServerConfig,
    counters: Arc<Counters>,
    gone: watch::Receiver<()>,
}

impl Context {
    /// Returns when the last handle is dropped.
    async fn stopped(&mut self) {
        while self.gone.changed().await.is_ok() {}
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Binds UDP and TCP to the same port. Where any port will do, one that is free for UDP may be
/// taken for TCP, so it tries some.
async fn bind_pair(config: &ServerConfig) -> io::Result<(Vec<UdpSocket>, TcpListener)> {
    let mut tries = if config.listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let first = bind_udp(config, config.listen)?;
        let local_addr = first.local_addr()?;
        match TcpListener::bind(local_addr).await {
            Ok(tcp) => return Ok((bind_others(config, first, local_addr)?, tcp)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

fn bind_others(
    config: &ServerConfig,
    first: UdpSocket,
    local_addr: SocketAddr,
) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = vec![first];
    while sockets.len() < config.udp_sockets {
        sockets.push(bind_udp(config, local_addr)?);
    }
    Ok(sockets)
}

fn bind_udp(config: &ServerConfig, listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if config.udp_sockets > 1 {
        socket.set_reuse_port(true)?;
    }
    // A smaller buffer than asked for only means earlier loss under a burst.
    _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    UdpSocket::from_std(socket.into())
}

fn refused(listen: SocketAddr, error: io::Error) -> Error {
    let (kind, why) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            (ErrorKind::Unavailable, "in use: stop the other server or choose another port")
        }
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::Invalid, "forbidden to this user: choose a port from 1024 up")
        }
        io::ErrorKind::AddrNotAvailable => {
            (ErrorKind::Invalid, "no address of this machine: choose one that is")
        }
        _ => (ErrorKind::Unavailable, "not to be bound: see its cause"),
    };
    Error::new(kind, format!("{listen} is {why}")).with_source(error)
}
