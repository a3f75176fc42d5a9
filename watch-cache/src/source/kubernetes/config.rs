//! The settings of a [`KubernetesSource`](super::KubernetesSource).

use std::time::Duration;

use crate::config::Limit;
use crate::error::Result;

/// How an API server is asked, and what it may send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesConfig {
    /// Whether a list is asked for as a watch that begins with all objects (KEP-3157), which spares the
    /// server's memory; it is read in pages where the server refuses that, or does not say within
    /// `answer_timeout` where the objects end. An API server may say that once a second only, so that each
    /// consistent read takes as long. Off by default, as with kube-rs.
    pub watch_list: bool,
    /// How many objects a page of a list has: [`KubernetesConfig::PAGE_OBJECTS`].
    pub page_objects: usize,
    /// The largest page, in bytes: [`KubernetesConfig::PAGE_BYTES`].
    pub page_bytes: usize,
    /// The largest event of a watch, in bytes: [`KubernetesConfig::EVENT_BYTES`].
    pub event_bytes: usize,
    /// How long the server may take for an answer to begin, and for each piece of a list:
    /// [`KubernetesConfig::ANSWER_TIMEOUT`].
    pub answer_timeout: Duration,
    /// After how long the server is to end a watch, which then goes on with another request; if it
    /// is silent for longer, the connection is dead: [`KubernetesConfig::WATCH_TIMEOUT`].
    pub watch_timeout: Duration,
}

impl KubernetesConfig {
    /// As many as Kubernetes' own clients ask for.
    pub const PAGE_OBJECTS: Limit<usize> = Limit { default: 500, min: 1, max: 1 << 20 };
    /// Five hundred objects of the largest size that etcd takes (1.5 MiB), about; a list without
    /// pages is bounded by it too.
    pub const PAGE_BYTES: Limit<usize> = Limit { default: 1 << 30, min: 1 << 10, max: 1 << 40 };
    /// An object of the largest size (3 MiB at the API server), and room.
    pub const EVENT_BYTES: Limit<usize> = Limit { default: 8 << 20, min: 1 << 10, max: 1 << 31 };
    /// Half of what the API server gives a request by default (60 s).
    pub const ANSWER_TIMEOUT: Limit<Duration> = Limit {
        default: Duration::from_secs(30),
        min: Duration::from_millis(1),
        max: Duration::from_secs(3600),
    };
    /// The least that Kubernetes' own clients ask for.
    pub const WATCH_TIMEOUT: Limit<Duration> = Limit {
        default: Duration::from_secs(300),
        min: Duration::from_secs(1),
        max: Duration::from_secs(86_400),
    };

    pub(super) fn check(&self) -> Result<()> {
        Self::PAGE_OBJECTS.check("page_objects", self.page_objects)?;
        Self::PAGE_BYTES.check("page_bytes", self.page_bytes)?;
        Self::EVENT_BYTES.check("event_bytes", self.event_bytes)?;
        Self::ANSWER_TIMEOUT.check_time("answer_timeout", self.answer_timeout)?;
        Self::WATCH_TIMEOUT.check_time("watch_timeout", self.watch_timeout)
    }
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            watch_list: false,
            page_objects: Self::PAGE_OBJECTS.default,
            page_bytes: Self::PAGE_BYTES.default,
            event_bytes: Self::EVENT_BYTES.default,
            answer_timeout: Self::ANSWER_TIMEOUT.default,
            watch_timeout: Self::WATCH_TIMEOUT.default,
        }
    }
}
