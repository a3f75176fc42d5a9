//! How etcd is reached and read, as plain data.

use std::fmt;
use std::time::Duration;

use crate::config::Limit;
use crate::error::{Error, ErrorKind, Result};

/// How an [`EtcdSource`](super::EtcdSource) learns of progress. All of them are
/// [`OnRequest`](crate::Freshness::OnRequest); they differ in what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EtcdProgress {
    /// [`Requested`](Self::Requested) from a member whose version answers truly (from 3.4.31,
    /// 3.5.13 and 3.6 on), else [`AllKeys`](Self::AllKeys).
    #[default]
    ByVersion,
    /// From the server's answers to requests. Before 3.4.25 and 3.5.8 they may come before the events
    /// that they cover (etcd#15220); before 3.4.31 and 3.5.13 none may come (etcd#17507).
    Requested,
    /// From the events: each watch follows the whole store and keeps what is under its prefix. Its
    /// user must be allowed to read all keys. A revision that the server leaves out is noticed.
    AllKeys,
}

/// The settings of an [`EtcdSource`](super::EtcdSource).
///
/// ```
/// use watch_cache::EtcdConfig;
///
/// let mut config = EtcdConfig::new(["http://127.0.0.1:2379", "http://127.0.0.1:22379"]);
/// config.login = Some(("cache".into(), "its password".into()));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdConfig {
    /// The members of one cluster, each as `http://host:port` or `https://host:port`. One is used
    /// at a time; after a failure it is the next one's turn.
    pub endpoints: Vec<String>,
    /// Whose signature a server's certificate must have, in PEM. Needed for `https`.
    pub ca_pem: Option<Vec<u8>>,
    /// The certificate to show, in PEM, and its key.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the servers' certificates, where it is not the host of the endpoint.
    pub server_name: Option<String>,
    /// The user and its password, where the cluster asks for one.
    pub login: Option<(String, String)>,
    /// How watches learn of progress.
    pub progress: EtcdProgress,
    /// The most objects in a page of a list: [`EtcdConfig::PAGE_OBJECTS`].
    pub page_objects: usize,
    /// A page gets as many objects as fill this if they are like those before:
    /// [`EtcdConfig::PAGE_BYTES`].
    pub page_bytes: usize,
    /// The largest message that is taken; a page that is larger is read again in halves:
    /// [`EtcdConfig::ANSWER_BYTES`].
    pub answer_bytes: usize,
    /// How long an answer may take, the first of a watch too: [`EtcdConfig::REQUEST_TIMEOUT`].
    pub request_timeout: Duration,
    /// How long connecting to one endpoint may take: [`EtcdConfig::CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// A connection that was silent for so long is asked whether it is alive:
    /// [`EtcdConfig::KEEP_ALIVE_INTERVAL`].
    pub keep_alive_interval: Duration,
    /// How long the answer to that may take: [`EtcdConfig::KEEP_ALIVE_TIMEOUT`].
    pub keep_alive_timeout: Duration,
}

impl EtcdConfig {
    /// etcd counts the whole range for each page, so few large pages are cheaper; the Kubernetes API
    /// server's largest page has as many.
    pub const PAGE_OBJECTS: Limit<usize> = Limit { default: 10_000, min: 1, max: 1 << 20 };
    /// What a list holds of the source's memory at a time.
    pub const PAGE_BYTES: Limit<usize> = Limit { default: 16 << 20, min: 1 << 10, max: 1 << 30 };
    /// etcd fills fragments up to 1.5 MiB (`--max-request-bytes`), but sends what waited for a new
    /// watch in one message.
    pub const ANSWER_BYTES: Limit<usize> = Limit { default: 256 << 20, min: 4 << 20, max: 1 << 31 };
    /// etcd answers within 5 s and some, or says that it could not (`--election-timeout`).
    pub const REQUEST_TIMEOUT: Limit<Duration> = Limit {
        default: Duration::from_secs(10),
        min: Duration::from_millis(10),
        max: Duration::from_secs(600),
    };
    /// As etcd's own client waits in Kubernetes' API server.
    pub const CONNECT_TIMEOUT: Limit<Duration> = Limit {
        default: Duration::from_secs(2),
        min: Duration::from_millis(10),
        max: Duration::from_secs(600),
    };
    /// etcd refuses pings that come more often than each 5 s (`--grpc-keepalive-min-time`).
    pub const KEEP_ALIVE_INTERVAL: Limit<Duration> = Limit {
        default: Duration::from_secs(10),
        min: Duration::from_millis(10),
        max: Duration::from_secs(3600),
    };
    /// With the interval's default a dead connection is noticed within 15 s.
    pub const KEEP_ALIVE_TIMEOUT: Limit<Duration> = Limit {
        default: Duration::from_secs(5),
        min: Duration::from_millis(10),
        max: Duration::from_secs(600),
    };

    /// One or more endpoints, without TLS and login.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ca_pem: None,
            identity_pem: None,
            server_name: None,
            login: None,
            progress: EtcdProgress::default(),
            page_objects: Self::PAGE_OBJECTS.default,
            page_bytes: Self::PAGE_BYTES.default,
            answer_bytes: Self::ANSWER_BYTES.default,
            request_timeout: Self::REQUEST_TIMEOUT.default,
            connect_timeout: Self::CONNECT_TIMEOUT.default,
            keep_alive_interval: Self::KEEP_ALIVE_INTERVAL.default,
            keep_alive_timeout: Self::KEEP_ALIVE_TIMEOUT.default,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.endpoints.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "config: endpoints is empty: name at least one",
            ));
        }
        if self.login.as_ref().is_some_and(|(user, _)| user.is_empty()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "config: login has no user: name one, or log in as nobody",
            ));
        }
        Self::PAGE_OBJECTS.check("page_objects", self.page_objects)?;
        Self::PAGE_BYTES.check("page_bytes", self.page_bytes)?;
        Self::ANSWER_BYTES.check("answer_bytes", self.answer_bytes)?;
        Self::REQUEST_TIMEOUT.check_time("request_timeout", self.request_timeout)?;
        Self::CONNECT_TIMEOUT.check_time("connect_timeout", self.connect_timeout)?;
        Self::KEEP_ALIVE_INTERVAL.check_time("keep_alive_interval", self.keep_alive_interval)?;
        Self::KEEP_ALIVE_TIMEOUT.check_time("keep_alive_timeout", self.keep_alive_timeout)
    }
}

/// Without passwords and keys.
impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("login", &self.login.as_ref().map(|(user, _)| user))
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
