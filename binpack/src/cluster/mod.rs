//! The port to the cluster whose pods wait for nodes.

#[cfg(feature = "kubernetes")]
mod kubernetes;
mod memory;

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{Gang, Node, NodeGroup, NodePool, Plan, Pod};

#[cfg(feature = "kubernetes")]
pub use kubernetes::{
    KubernetesAnswer, KubernetesClient, KubernetesCluster, KubernetesConfig, KubernetesRequest,
};
pub use memory::MemoryCluster;

/// What is, as far as planning needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// Pods that have no node and may get one.
    pub pending: Vec<Pod>,
    /// Nodes that are there or on their way, with what all pods bound to them use.
    pub nodes: Vec<Node>,
    /// What may be launched.
    pub pools: Vec<NodePool>,
    /// Groups of equal nodes that may grow.
    pub node_groups: Vec<NodeGroup>,
    /// The gangs that pods name.
    pub gangs: Vec<Gang>,
    /// Pods of daemons, one for each, that run on every node which takes them.
    pub daemons: Vec<Pod>,
}

/// A cluster: reads what is, writes what shall be.
///
/// The port is level-triggered. A plan is made from one state and may be stale when it is
/// applied; what no longer fits is skipped, and the next state shows it again.
///
/// # Contract
///
/// 1. Names of pending pods and of nodes are unique, and a pod is never pending and counted in a
///    node's `used` at once.
/// 2. While nothing changes, every `state` returns the same.
/// 3. Once `apply` has returned, a pod that the plan binds to a node that exists is not pending,
///    and its requests, one of `pods` and its GPUs are counted in the node's `used`.
/// 4. Once `apply` has returned, every launch is one node with the launch's labels, taints and
///    allocatable, whose `used` counts its daemons and the pods bound to it, whether or not its
///    machine runs already.
/// 5. A plan that is applied twice has the effect of one: a pod that is not pending any more is
///    not bound again, a launch with no pod left to bind makes no node, and one that the plan gives
///    no pod makes a node as long as its group is below its least size.
/// 6. A binding whose node is gone or too full is skipped: its pod stays pending, and the rest of
///    the plan is applied.
/// 7. Pods that the plan leaves unplaced, and pods that it doesn't name, stay pending.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// One consistent view of the cluster.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where a later call may succeed,
    /// [`Closed`](crate::ErrorKind::Closed) where none will: the provisioner then ends.
    async fn state(&self) -> Result<ClusterState>;

    /// Carries a plan out: the pods of [`Plan::evictions`] are evicted first, which are some only
    /// where [`Config::preemption`](crate::Config::preemption) is set. A binding whose room is not
    /// free yet, since a pod takes its time to end, is skipped as one to a node that is too full.
    ///
    /// # Errors
    ///
    /// As [`state`](Self::state). A part of the plan may have been applied: the provisioner reads
    /// the state anew and plans again.
    async fn apply(&self, plan: &Plan) -> Result<()>;
}

#[async_trait]
impl<C: Cluster + ?Sized> Cluster for Arc<C> {
    async fn state(&self) -> Result<ClusterState> {
        (**self).state().await
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        (**self).apply(plan).await
    }
}
