//! How a remote etcd is used, as plain data.

use std::fmt;
use std::time::Duration;

use crate::config::Limit;
use crate::error::Result;
use crate::etcd_api::ChannelConfig;

/// The settings of an [`EtcdStore`](super::EtcdStore).
///
/// ```
/// use kv_journal::EtcdStoreConfig;
///
/// let mut config = EtcdStoreConfig::new(["http://127.0.0.1:2379", "http://127.0.0.1:22379"]);
/// config.login = Some(("controller".into(), "its password".into()));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdStoreConfig {
    /// The members and how to reach them.
    pub channel: ChannelConfig,
    /// The user and its password, where the cluster asks for one.
    pub login: Option<(String, String)>,
    /// How long one attempt at a call may take: [`EtcdStoreConfig::CALL_MS`]. What is streamed, like
    /// a watch, may go on once it has begun.
    pub call_timeout: Duration,
    /// How often a call is tried that surely did nothing yet: [`EtcdStoreConfig::ATTEMPTS`].
    pub attempts: u32,
    /// How long to wait before the second attempt: [`EtcdStoreConfig::RETRY_MS`]. Each further wait
    /// is twice as long, up to 40 times this one.
    pub retry_delay: Duration,
    /// The largest answer that is taken: [`EtcdStoreConfig::ANSWER_BYTES`].
    pub answer_bytes: usize,
    /// The most watchers in one stream: [`EtcdStoreConfig::WATCH_STREAM_LEN`].
    pub watch_stream_len: usize,
    /// How often the server is asked how far it is while a watcher wants to be told of progress as it
    /// comes: [`EtcdStoreConfig::PROGRESS_MS`].
    pub progress_poll: Duration,
}

impl EtcdStoreConfig {
    /// etcd answers within 5 s and some, or says that it could not (`--election-timeout`).
    pub const CALL_MS: Limit<u64> = Limit { default: 10_000, min: 10, max: 600_000 };
    /// With the default waits some six seconds: an election takes one or two.
    pub const ATTEMPTS: Limit<u32> = Limit { default: 12, min: 1, max: 1000 };
    /// As etcd's own client waits at first.
    pub const RETRY_MS: Limit<u64> = Limit { default: 25, min: 1, max: 10_000 };
    /// gRPC's 4 MiB are too little for a list, and etcd sends what is asked for in one message.
    pub const ANSWER_BYTES: Limit<usize> = Limit { default: 1 << 30, min: 1 << 16, max: 1 << 31 };
    /// As the embedded store's.
    pub const WATCH_STREAM_LEN: Limit<usize> = crate::Config::WATCH_STREAM_LEN;
    /// As often as Kubernetes' API server asks.
    pub const PROGRESS_MS: Limit<u64> = Limit { default: 100, min: 10, max: 600_000 };

    /// One or more endpoints, without TLS and login.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            channel: ChannelConfig::new(endpoints),
            login: None,
            call_timeout: Duration::from_millis(Self::CALL_MS.default),
            attempts: Self::ATTEMPTS.default,
            retry_delay: Duration::from_millis(Self::RETRY_MS.default),
            answer_bytes: Self::ANSWER_BYTES.default,
            watch_stream_len: Self::WATCH_STREAM_LEN.default,
            progress_poll: Duration::from_millis(Self::PROGRESS_MS.default),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self::CALL_MS.check("call_timeout in ms", ms(self.call_timeout))?;
        Self::ATTEMPTS.check("attempts", self.attempts)?;
        Self::RETRY_MS.check("retry_delay in ms", ms(self.retry_delay))?;
        Self::ANSWER_BYTES.check("answer_bytes", self.answer_bytes)?;
        Self::WATCH_STREAM_LEN.check("watch_stream_len", self.watch_stream_len)?;
        Self::PROGRESS_MS.check("progress_poll in ms", ms(self.progress_poll))
    }

    /// How long to wait after so many attempts that failed.
    pub(super) fn delay_after(&self, failed: u32) -> Duration {
        const MOST: u32 = 40;
        self.retry_delay * MOST.min(1 << failed.saturating_sub(1).min(MOST.ilog2() + 1))
    }
}

impl fmt::Debug for EtcdStoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStoreConfig")
            .field("endpoints", &self.channel.endpoints)
            .field("login", &self.login.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}
