//! The server's settings as plain data.

use std::time::Duration;

use super::auth::AuthToken;
use crate::config::Limit;
use crate::error::Result;

/// The settings of an [`EtcdServer`](super::EtcdServer).
///
/// ```
/// let mut config = kv_journal::etcd_server::ServerConfig::default();
/// config.name = "one".to_owned();
/// config.client_urls = vec!["http://127.0.0.1:2379".to_owned()];
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The member's name.
    pub name: String,
    /// Where clients find the member, for the list of members.
    pub client_urls: Vec<String>,
    /// Where other members would find it, for the list of members.
    pub peer_urls: Vec<String>,
    /// The cluster's id in every header; 0 is one that is drawn once and kept with the store.
    pub cluster_id: u64,
    /// The member's id in every header; 0 likewise.
    pub member_id: u64,
    /// The etcd version that is told: clients derive from it what they may ask for. Kubernetes
    /// wants 3.5.13 or newer for consistent reads from its cache.
    pub version: String,
    /// The most comparisons, and operations of a branch, in one transaction:
    /// [`Config::TXN_OPS`](crate::Config::TXN_OPS).
    pub max_txn_ops: usize,
    /// The largest write: [`Config::REQUEST_BYTES`](crate::Config::REQUEST_BYTES).
    pub max_request_bytes: usize,
    /// What clients show after they have authenticated: etcd's `--auth-token`.
    pub auth_token: AuthToken,
    /// Whether the common name of a client's certificate is its user, unless it shows a token. As in
    /// etcd, that goes with `--client-cert-auth`.
    pub common_name_is_user: bool,
    /// How much work a password's hash is, as a power of two: [`ServerConfig::BCRYPT_COST`].
    pub bcrypt_cost: u32,
    /// Threads of the server's own that hash and compare passwords:
    /// [`ServerConfig::PASSWORD_THREADS`].
    pub password_threads: usize,
    /// Whether `/metrics` tells how long calls of each method take: etcd's `--metrics extensive`.
    pub extensive_metrics: bool,
    /// How many calls of one connection run at a time: [`ServerConfig::STREAMS`].
    pub max_concurrent_streams: u32,
    /// How many connections are open at a time: [`ServerConfig::CONNECTIONS`].
    pub max_connections: usize,
    /// A connection that was silent for so long is asked whether it is alive; zero for never.
    pub keep_alive_interval: Duration,
    /// How long the answer to that may take.
    pub keep_alive_timeout: Duration,
    /// How often a client may ask in turn while one of its calls runs; zero for as often as it will.
    /// Who asks too often three times is told `too_many_pings`, and cut off.
    pub keep_alive_min_time: Duration,
    /// How long calls that run may go on when the server is stopped.
    pub shutdown_grace: Duration,
}

impl ServerConfig {
    /// etcd's `--max-concurrent-streams` has no bound by default; this one is out of reach for a
    /// client that does not mean harm.
    pub const STREAMS: Limit<u32> = Limit { default: 1 << 20, min: 1, max: u32::MAX };
    /// etcd's `--bcrypt-cost`: some 60 ms. The bounds are those of the algorithm.
    pub const BCRYPT_COST: Limit<u32> = Limit { default: 10, min: 4, max: 31 };
    /// As many can authenticate side by side.
    pub const PASSWORD_THREADS: Limit<usize> = Limit { default: 2, min: 1, max: 1024 };
    /// Below the usual limit on open files.
    pub const CONNECTIONS: Limit<usize> = Limit { default: 10_000, min: 1, max: 1 << 20 };

    /// What gRPC and the message take beside keys and values, as etcd allows for.
    const REQUEST_OVERHEAD: usize = 512 << 10;

    /// The most bytes that are taken of a request.
    pub(super) fn most_bytes(&self) -> usize {
        self.max_request_bytes + Self::REQUEST_OVERHEAD
    }

    /// The version without its last part.
    pub(super) fn cluster_version(&self) -> String {
        let mut parts = self.version.splitn(3, '.');
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) => format!("{major}.{minor}.0"),
            _ => self.version.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        crate::Config::TXN_OPS.check("max_txn_ops", self.max_txn_ops)?;
        crate::Config::REQUEST_BYTES.check("max_request_bytes", self.max_request_bytes)?;
        Self::BCRYPT_COST.check("bcrypt_cost", self.bcrypt_cost)?;
        Self::PASSWORD_THREADS.check("password_threads", self.password_threads)?;
        Self::STREAMS.check("max_concurrent_streams", self.max_concurrent_streams)?;
        Self::CONNECTIONS.check("max_connections", self.max_connections)
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            client_urls: Vec::new(),
            peer_urls: Vec::new(),
            cluster_id: 0,
            member_id: 0,
            version: "3.7.0".to_owned(),
            max_txn_ops: crate::Config::TXN_OPS.default,
            max_request_bytes: crate::Config::REQUEST_BYTES.default,
            auth_token: AuthToken::default(),
            common_name_is_user: true,
            bcrypt_cost: Self::BCRYPT_COST.default,
            password_threads: Self::PASSWORD_THREADS.default,
            extensive_metrics: false,
            max_concurrent_streams: Self::STREAMS.default,
            max_connections: Self::CONNECTIONS.default,
            // etcd's `--grpc-keepalive-interval`, `-timeout` and `-min-time`.
            keep_alive_interval: Duration::from_secs(2 * 3600),
            keep_alive_timeout: Duration::from_secs(20),
            keep_alive_min_time: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
