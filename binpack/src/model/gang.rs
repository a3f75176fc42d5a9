//! Pods that run together or not at all.

use std::sync::Arc;

/// A set of pods of which at least a number must get a place in one plan, or none does.
///
/// Members name it in [`Pod::gang`](super::Pod::gang). It is Volcano's and Kueue's `PodGroup`, and
/// a replica of a `LeaderWorkerSet`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gang {
    /// The name, unique among gangs.
    pub name: Arc<str>,
    /// How many members must get a place together, those that run already included.
    pub min_member: u32,
    /// Labels of nodes, the preferred first: members go to nodes with one value of the first key
    /// for which that is possible. Empty leaves them free.
    pub topology_keys: Vec<Arc<str>>,
    /// Whether the last of `topology_keys` must be kept: with `false` the gang goes anywhere
    /// rather than wait.
    pub topology_required: bool,
}

impl Gang {
    /// A gang without a topology.
    pub fn new(name: impl Into<Arc<str>>, min_member: u32) -> Self {
        Self { name: name.into(), min_member, topology_keys: Vec::new(), topology_required: false }
    }

    /// All members on nodes with one value of this label.
    #[must_use]
    pub fn within(mut self, topology_key: impl Into<Arc<str>>) -> Self {
        self.topology_keys.push(topology_key.into());
        self.topology_required = true;
        self
    }
}
