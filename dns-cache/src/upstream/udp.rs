//! Other name servers over UDP, and over TCP where an answer is truncated.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Upstream, answers, checked_question};
use crate::config::Limit;
use crate::error::{Error, ErrorKind, Result};

/// An answer without fragments is smaller; one with them still fits.
const DATAGRAM_BYTES: usize = 4096;

/// Datagrams that do not answer an attempt's query before it is asked over TCP instead. An
/// attacker has 2^32 ids and ports to guess from; RFC 5452 section 9.3 asks for a bound on the
/// guesses, and a connection cannot be guessed at.
const MAX_MISMATCHED: usize = 64;

/// Settings of a [`UdpUpstream`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpUpstreamConfig {
    /// The servers; each attempt goes to the next.
    pub servers: Vec<SocketAddr>,
    /// How long an attempt waits for its answer, in milliseconds.
    pub attempt_timeout_ms: u64,
    /// How many attempts an exchange has.
    pub attempts: u32,
    /// How many sockets may be open at a time; further exchanges wait.
    pub max_sockets: usize,
    /// The seed of ids, for tests. Without one the system is asked once.
    pub seed: Option<u64>,
}

impl UdpUpstreamConfig {
    /// glibc waits 5 s, which no caller outlasts; most answers take less than 100 ms.
    pub const ATTEMPT_TIMEOUT_MS: Limit<u64> = Limit { default: 1500, min: 1, max: 30_000 };
    /// RFC 1035 section 7.2 asks for more than one.
    pub const ATTEMPTS: Limit<u32> = Limit { default: 3, min: 1, max: 10 };
    /// A process has 1,024 files unless told otherwise; a socket is held for a round trip.
    pub const MAX_SOCKETS: Limit<usize> = Limit { default: 512, min: 1, max: 60_000 };

    /// The defaults, for these servers.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            attempt_timeout_ms: Self::ATTEMPT_TIMEOUT_MS.default,
            attempts: Self::ATTEMPTS.default,
            max_sockets: Self::MAX_SOCKETS.default,
            seed: None,
        }
    }

    fn check(&self) -> Result<()> {
        if self.servers.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "config: servers is empty: name one"));
        }
        Self::ATTEMPT_TIMEOUT_MS.check("attempt_timeout_ms", self.attempt_timeout_ms)?;
        Self::ATTEMPTS.check("attempts", self.attempts)?;
        Self::MAX_SOCKETS.check("max_sockets", self.max_sockets)
    }
}

/// An upstream of name servers. Each attempt has a socket of its own, bound by the system to a
/// random port and connected to the server, and an id from a cryptographic generator (RFC 5452).
/// A datagram with another id or question, or that is no message, is counted, and the wait goes
/// on; after many of them the query goes over TCP, where nobody can guess.
///
/// ```
/// use dns_cache::upstream::{UdpUpstream, UdpUpstreamConfig};
///
/// let mut config = UdpUpstreamConfig::new(vec!["192.0.2.53:53".parse().unwrap()]);
/// config.attempt_timeout_ms = 800;
/// let upstream = UdpUpstream::new(config)?;
/// assert_eq!(upstream.stats().sent, 0);
/// # Ok::<(), dns_cache::Error>(())
/// ```
#[derive(Debug)]
pub struct UdpUpstream {
    config: UdpUpstreamConfig,
    random: Mutex<StdRng>,
    sockets: Semaphore,
    stats: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    mismatched: AtomicU64,
    retries: AtomicU64,
    tcp: AtomicU64,
}

/// What a [`UdpUpstream`] has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpStats {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received that did not answer the query: spoofed, late or malformed.
    pub mismatched: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Exchanges over TCP, after a truncated answer or a flood of wrong ones.
    pub tcp: u64,
}

impl UdpUpstream {
    /// An upstream with these settings. It opens nothing yet.
    ///
    /// # Errors
    ///
    /// `Invalid` if a setting is out of its range, `Unavailable` if the system has no randomness.
    pub fn new(config: UdpUpstreamConfig) -> Result<Self> {
        config.check()?;
        let random = match config.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::try_from_rng(&mut SysRng).map_err(|error| {
                let why = "the system gave no randomness: see its cause";
                Error::new(ErrorKind::Unavailable, why).with_source(error)
            })?,
        };
        let sockets = Semaphore::new(config.max_sockets);
        Ok(Self { config, random: Mutex::new(random), sockets, stats: Counters::default() })
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> UdpStats {
        UdpStats {
            sent: self.stats.sent.load(Ordering::Relaxed),
            mismatched: self.stats.mismatched.load(Ordering::Relaxed),
            retries: self.stats.retries.load(Ordering::Relaxed),
            tcp: self.stats.tcp.load(Ordering::Relaxed),
        }
    }

    /// The query under a fresh id.
    fn disguised(&self, query: &[u8]) -> BytesMut {
        let id: u16 = self.random.lock().random();
        with_id(query.into(), id.to_be_bytes())
    }

    async fn attempt(&self, query: &[u8], server: SocketAddr) -> Result<BytesMut> {
        let _permit = self.sockets.acquire().await.map_err(|_| timed_out(server))?;
        let query = self.disguised(query);
        let deadline = Instant::now() + Duration::from_millis(self.config.attempt_timeout_ms);
        let unreachable = |error| unavailable(server, error);
        let socket = bind(server).await.map_err(no_socket)?;
        socket.connect(server).await.map_err(unreachable)?;
        socket.send(&query).await.map_err(unreachable)?;
        self.stats.sent.fetch_add(1, Ordering::Relaxed);
        let answer = timeout_at(deadline, self.receive(&socket, &query)).await;
        let answer = answer.map_err(|_| timed_out(server))?.map_err(unreachable)?;
        if let Some(answer) = answer.filter(|answer| !is_truncated(answer)) {
            return Ok(answer);
        }
        drop(socket);
        self.stats.tcp.fetch_add(1, Ordering::Relaxed);
        let allowed = Duration::from_millis(self.config.attempt_timeout_ms);
        let over_tcp = timeout(allowed, exchange_over_tcp(&query, server)).await;
        over_tcp.map_err(|_| timed_out(server))?
    }

    /// Waits for the datagram that answers `query`, through so many that do not. The socket is
    /// connected, so the system has checked where they come from.
    async fn receive(&self, socket: &UdpSocket, query: &[u8]) -> std::io::Result<Option<BytesMut>> {
        let mut datagram = BytesMut::zeroed(DATAGRAM_BYTES);
        for _ in 0..MAX_MISMATCHED {
            let len = socket.recv(&mut datagram).await?;
            if datagram.get(..len).is_some_and(|answer| answers(query, answer)) {
                datagram.truncate(len);
                return Ok(Some(datagram));
            }
            self.stats.mismatched.fetch_add(1, Ordering::Relaxed);
        }
        Ok(None)
    }
}

#[async_trait]
impl Upstream for UdpUpstream {
    async fn exchange(&self, query: Bytes) -> Result<Bytes> {
        checked_question(&query)?;
        let id = query.first_chunk().copied().unwrap_or_default();
        let servers = self.config.servers.iter().cycle().take(self.config.attempts as usize);
        let mut failure = None;
        for (attempt, server) in servers.enumerate() {
            if attempt > 0 {
                self.stats.retries.fetch_add(1, Ordering::Relaxed);
            }
            match self.attempt(&query, *server).await {
                Ok(answer) => return Ok(with_id(answer, id).freeze()),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Invalid, "no attempts are allowed")))
    }
}

/// A socket on a port that the system chooses.
async fn bind(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    UdpSocket::bind(any).await
}

fn no_socket(error: std::io::Error) -> Error {
    let why = "the system gave no socket: raise its limit of open files or lower max_sockets";
    Error::new(ErrorKind::Exhausted, why).with_source(error)
}

/// One exchange on a connection of its own, framed as RFC 1035 section 4.2.2 asks.
async fn exchange_over_tcp(query: &[u8], server: SocketAddr) -> Result<BytesMut> {
    let unreachable = |error| unavailable(server, error);
    let mut stream = TcpStream::connect(server).await.map_err(unreachable)?;
    let len = u16::try_from(query.len()).map_err(|_| {
        Error::new(ErrorKind::Invalid, "the query is over 65,535 bytes: shorten it")
    })?;
    // One write, so that the length and the message share a segment (RFC 7766 section 8).
    let framed = [&len.to_be_bytes(), query].concat();
    stream.write_all(&framed).await.map_err(unreachable)?;
    let len = stream.read_u16().await.map_err(unreachable)?;
    let mut answer = BytesMut::zeroed(len.into());
    stream.read_exact(&mut answer).await.map_err(unreachable)?;
    if answers(query, &answer) {
        return Ok(answer);
    }
    let why = format!("{server} answered another question over TCP: retry later");
    Err(Error::new(ErrorKind::Unavailable, why))
}

fn with_id(mut message: BytesMut, id: [u8; 2]) -> BytesMut {
    if let Some(slot) = message.first_chunk_mut() {
        *slot = id;
    }
    message
}

fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 2 != 0)
}

fn timed_out(server: SocketAddr) -> Error {
    Error::new(ErrorKind::TimedOut, format!("{server} did not answer in time: retry later"))
}

fn unavailable(server: SocketAddr, error: std::io::Error) -> Error {
    let why = format!("{server} cannot be reached: check that it runs");
    Error::new(ErrorKind::Unavailable, why).with_source(error)
}
