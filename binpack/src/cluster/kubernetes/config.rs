//! The settings of a [`KubernetesCluster`](super::KubernetesCluster).

use std::time::Duration;

use crate::config::{Limit, millis};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Launch;

/// Which pods are placed, and how the API server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesConfig {
    /// Pods with this `schedulerName` are placed; others are left to whoever schedules them. It is
    /// `binpack` by default. `default-scheduler` is for clusters without a kube-scheduler: two
    /// schedulers of the same pods bind them twice.
    pub scheduler_name: String,
    /// How many objects a page of a list has: [`KubernetesConfig::PAGE_OBJECTS`].
    pub page_objects: usize,
    /// How many of a launch's [`alternatives`](Launch::alternatives) its claim names beside the type
    /// that was planned: [`KubernetesConfig::ALTERNATIVES`]. With 0 the machine is the one whose
    /// price is known, unless its pool wants a choice (`minValues`), and then all are named.
    pub alternatives: usize,
    /// How long the server may take for an answer: [`KubernetesConfig::ANSWER_TIMEOUT_MS`].
    pub answer_timeout: Duration,
}

impl KubernetesConfig {
    /// As many as Kubernetes' own clients ask for.
    pub const PAGE_OBJECTS: Limit<usize> = Limit { default: 500, min: 1, max: 1 << 20 };
    /// What is planned is what is launched.
    pub const ALTERNATIVES: Limit<usize> =
        Limit { default: 0, min: 0, max: Launch::MAX_ALTERNATIVES };
    /// Milliseconds: half of what the API server gives a request by default (60 s).
    pub const ANSWER_TIMEOUT_MS: Limit<u64> = Limit { default: 30_000, min: 1, max: 3_600_000 };

    pub(super) fn check(&self) -> Result<()> {
        if self.scheduler_name.is_empty() {
            let message =
                "config: scheduler_name is empty: name the scheduler of the pods to place";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Self::PAGE_OBJECTS.check("page_objects", self.page_objects)?;
        Self::ALTERNATIVES.check("alternatives", self.alternatives)?;
        Self::ANSWER_TIMEOUT_MS.check("answer_timeout in ms", millis(self.answer_timeout))
    }
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            scheduler_name: "binpack".into(),
            page_objects: Self::PAGE_OBJECTS.default,
            alternatives: Self::ALTERNATIVES.default,
            answer_timeout: Duration::from_millis(Self::ANSWER_TIMEOUT_MS.default),
        }
    }
}
