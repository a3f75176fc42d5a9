//! The contract of the ports [`Catalogue`](crate::Catalogue) and [`Cluster`](crate::Cluster) as checks that every adapter must pass.
//!
//! Each check is one numbered item of the port's contract. [`catalogue_conformance!` and `cluster_conformance!`] turns them into one
//! `#[test]` each; called directly, a check returns the [`Violation`] that it found, which is how
//! a deliberately broken adapter is shown to fail.

use std::fmt;
use std::future::Future;

/// A broken promise of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The contract item, as numbered in the port's docs.
    pub item: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contract item {}: {}", self.item, self.seen)
    }
}

impl std::error::Error for Violation {}
