//! A pod that waits for a node.

use std::sync::Arc;

use super::{Requirement, Resources, Toleration};

/// A pending pod: what it needs and where it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pod {
    /// The name, unique among pods (a caller with namespaces writes `namespace/name`).
    pub name: Arc<str>,
    /// What it needs. It takes one of `pods` whether that field is 0 or 1.
    pub requests: Resources,
    /// Conditions on its node's labels; all must hold.
    pub requirements: Vec<Requirement>,
    /// Taints that it accepts.
    pub tolerations: Vec<Toleration>,
    /// The higher goes first.
    pub priority: i32,
}

impl Pod {
    /// A pod without constraints, of priority 0.
    pub fn new(name: impl Into<Arc<str>>, requests: Resources) -> Self {
        Self {
            name: name.into(),
            requests,
            requirements: Vec::new(),
            tolerations: Vec::new(),
            priority: 0,
        }
    }

    /// With one more condition on its node's labels.
    #[must_use]
    pub fn require(mut self, requirement: Requirement) -> Self {
        self.requirements.push(requirement);
        self
    }

    /// With one more taint accepted.
    #[must_use]
    pub fn tolerate(mut self, toleration: Toleration) -> Self {
        self.tolerations.push(toleration);
        self
    }

    /// With this priority.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}
