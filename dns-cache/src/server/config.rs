//! Settings of the listener.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::Limit;
use crate::error::Result;

/// Settings of a [`Server`](super::Server).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen, over UDP and TCP. Port 0 takes one that is free for both. A wildcard
    /// address answers from whichever address the system picks, so name one where there are many.
    pub listen: SocketAddr,
    /// UDP sockets. With more than one they share the port (`SO_REUSEPORT`), and the driver can be
    /// split among threads; the system then lets other programs of the same user join the port.
    pub udp_sockets: usize,
    /// UDP queries that may wait for the upstream, for each socket; more get SERVFAIL.
    pub max_waiting: usize,
    /// TCP connections at a time; more wait to be accepted.
    pub tcp_connections: usize,
    /// Queries of one TCP connection that may be worked on at a time.
    pub tcp_pipeline: usize,
    /// How long a TCP connection may stay silent between queries, in milliseconds.
    pub tcp_idle_ms: u64,
    /// How long one message may take to come in or to go out over TCP, in milliseconds.
    pub tcp_message_ms: u64,
}

impl ServerConfig {
    /// One for each core is the most that helps.
    pub const UDP_SOCKETS: Limit<usize> = Limit { default: 1, min: 1, max: 256 };
    /// A waiting query costs about a kilobyte.
    pub const MAX_WAITING: Limit<usize> = Limit { default: 2048, min: 1, max: 1 << 20 };
    /// `BIND` has 150; a connection costs a file and a few kilobytes.
    pub const TCP_CONNECTIONS: Limit<usize> = Limit { default: 256, min: 1, max: 60_000 };
    /// RFC 7766 section 6.2.1.1 asks for pipelining; a resolver library sends two.
    pub const TCP_PIPELINE: Limit<usize> = Limit { default: 64, min: 1, max: 4096 };
    /// RFC 7766 section 6.2.3 asks for a few seconds.
    pub const TCP_IDLE_MS: Limit<u64> = Limit { default: 10_000, min: 10, max: 300_000 };
    /// A client that feeds a byte at a time holds a place no longer than this.
    pub const TCP_MESSAGE_MS: Limit<u64> = Limit { default: 5000, min: 10, max: 60_000 };

    /// The defaults, listening at `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            udp_sockets: Self::UDP_SOCKETS.default,
            max_waiting: Self::MAX_WAITING.default,
            tcp_connections: Self::TCP_CONNECTIONS.default,
            tcp_pipeline: Self::TCP_PIPELINE.default,
            tcp_idle_ms: Self::TCP_IDLE_MS.default,
            tcp_message_ms: Self::TCP_MESSAGE_MS.default,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        Self::UDP_SOCKETS.check("udp_sockets", self.udp_sockets)?;
        Self::MAX_WAITING.check("max_waiting", self.max_waiting)?;
        Self::TCP_CONNECTIONS.check("tcp_connections", self.tcp_connections)?;
        Self::TCP_PIPELINE.check("tcp_pipeline", self.tcp_pipeline)?;
        Self::TCP_IDLE_MS.check("tcp_idle_ms", self.tcp_idle_ms)?;
        Self::TCP_MESSAGE_MS.check("tcp_message_ms", self.tcp_message_ms)
    }
}

impl Default for ServerConfig {
    /// On loopback, at a port that is free.
    fn default() -> Self {
        Self::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}
