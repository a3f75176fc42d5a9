//! A Kubernetes API as the cluster.

mod api;
mod apply;
mod claim;
mod client;
mod config;
mod view;
mod volumes;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Cluster, ClusterState};
use crate::error::Result;
use crate::model::{Input, InstanceType, Plan};

use api::Api;
use view::View;

pub use client::{KubernetesAnswer, KubernetesClient, KubernetesRequest};
pub use config::KubernetesConfig;

/// A Kubernetes API: pods that wait, nodes, and Karpenter's pools and claims.
///
/// # What it reads
///
/// All of it is listed for every state, in pages. Objects are read as [`Manifests`](crate::Manifests)
/// reads them; one that is malformed is left out and told by [`problems`](Self::problems), and a node
/// with a pod that can't be read is full. A resource that the server does not have has no objects.
///
/// Pending are pods of the configured `schedulerName` without a node, a gate or a time of deletion.
/// Pods that are over use nothing; every other pod with a node counts there, whoever bound it. A node
/// that is not ready takes no pods and is left out, as is one that is being deleted; one whose claim
/// is being deleted is [`disrupting`](crate::Node::disrupting).
///
/// # What it writes
///
/// A pod is bound to a node that is there by its `binding`. Which GPUs it gets, the kubelet decides:
/// states count the first that are free. A claim of its volumes that waits for its first consumer is
/// told the node before (`volume.kubernetes.io/selected-node`), as kube-scheduler does.
///
/// A launch becomes a `NodeClaim` (`karpenter.sh/v1`), made of its pool's template as Karpenter
/// would, for the planned type, zone and capacity type; Karpenter, or a controller that you write,
/// turns it into a machine. Two annotations are what makes a launch a node from then on:
///
/// | annotation | what it holds |
/// |---|---|
/// | `binpack.trestle/node` | labels, taints, capacity and allocatable of the planned node, what its daemons use, its price |
/// | `binpack.trestle/pods` | the pods that it is for: their UIDs by `namespace/name` |
///
/// - Until the claim has the condition `Initialized`, it stands for its node: a state has a node
///   named `nodeclaim/<name>` with what the annotations say, and a pod that they name is there and
///   not pending. A later plan may add pods; they join the annotation.
/// - Then the node itself (`status.nodeName`, or the `providerID` of both) is in its place, and
///   the next [`apply`](Cluster::apply) or [`settle`](Self::settle) binds the pods to it. They count
///   there before that too. One that the machine does not fit after all is pending again.
/// - A pod made anew under the same name is another one, and a claim that goes, as Karpenter's do
///   when a launch fails, lets its pods wait again.
/// - A claim names at most 500 pods, which leaves its annotations well under the 256 KiB that
///   Kubernetes allows. Further pods of such a launch stay pending, and its node is full until it
///   has come.
/// - Claims that somebody else made are full nodes as soon as their status says how large.
///
/// A claim's name follows from the launch and its pods, so that a request that is repeated makes no
/// second one.
///
/// Call [`Provisioner::trigger`](crate::Provisioner::trigger) when a pod waits and when a node or
/// claim has changed. Run one at a time: it sees what it wrote, and another one's writes only in
/// its next state.
///
/// # Rights
///
/// ```yaml
/// apiVersion: rbac.authorization.k8s.io/v1
/// kind: ClusterRole
/// metadata: {name: binpack}
/// rules:
/// - {apiGroups: [""], verbs: [list], resources: [pods, nodes, namespaces, persistentvolumes, persistentvolumeclaims]}
/// - {apiGroups: [""], verbs: [create], resources: [pods/binding]}
/// - {apiGroups: [""], verbs: [patch], resources: [persistentvolumeclaims]}
/// - {apiGroups: [karpenter.sh], verbs: [list], resources: [nodepools]}
/// - {apiGroups: [karpenter.sh], verbs: [list, create, patch], resources: [nodeclaims]}
/// - {apiGroups: [apps], verbs: [list], resources: [daemonsets]}
/// - {apiGroups: [policy], verbs: [list], resources: [poddisruptionbudgets]}
/// - {apiGroups: [storage.k8s.io], verbs: [list], resources: [storageclasses, csinodes]}
/// - {apiGroups: [scheduling.k8s.io], verbs: [list], resources: [priorityclasses, podgroups, workloads]}
/// - {apiGroups: [leaderworkerset.x-k8s.io], verbs: [list], resources: [leaderworkersets]}
/// - {apiGroups: [scheduling.volcano.sh, scheduling.x-k8s.io, scheduling.sigs.k8s.io], verbs: [list], resources: [podgroups]}
/// ```
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) for an answer of 401 or 403, with the rule that is missing,
/// for other refusals, and for an answer that is no JSON; [`Unavailable`](crate::ErrorKind::Unavailable)
/// for 408, 429, 5xx, an answer that breaks off and none at all. 404 and 409 of a write mean that the plan is stale there, and that
/// part is skipped. A write that is refused for itself does not keep the others: the first such
/// refusal is the error of the whole.
///
/// It evicts nobody: a binding that relies on one of [`Plan::evictions`](crate::Plan::evictions) finds
/// its node full and is left out, so [`Config::preemption`](crate::Config::preemption) stays off with it.
///
/// ```
/// use binpack::{
///     KubernetesAnswer, KubernetesClient, KubernetesCluster, KubernetesConfig, KubernetesRequest,
///     Result,
/// };
///
/// struct Client; // over kube-rs, hyper, …
///
/// #[async_trait::async_trait]
/// impl KubernetesClient for Client {
///     async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer> {
///         # let body = request.body;
///         # Ok(KubernetesAnswer { status: 503, body })
///     }
/// }
///
/// let cluster = KubernetesCluster::new(Client, KubernetesConfig::default())?;
/// # Ok::<_, binpack::Error>(())
/// ```
pub struct KubernetesCluster {
    api: Api,
    problems: Mutex<Vec<String>>,
}

impl KubernetesCluster {
    /// The cluster behind a client.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if a setting is out of its range.
    pub fn new(client: impl KubernetesClient, config: KubernetesConfig) -> Result<Self> {
        config.check()?;
        let api = Api::new(Arc::new(client), config);
        Ok(Self { api, problems: Mutex::default() })
    }

    /// What the last state left out because it could not be read: which object and field, and what
    /// is wrong there.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().clone()
    }

    /// The whole question that a state is, with what may be bought: for
    /// [`consolidate`](crate::consolidate), which asks for disruption budgets too.
    ///
    /// # Errors
    ///
    /// As [`state`](Cluster::state).
    pub async fn input(&self, instance_types: Arc<[InstanceType]>) -> Result<Input> {
        Ok(self.view().await?.survey.made.into_input(instance_types))
    }

    /// Binds pods whose node has come since it was promised to them, as each
    /// [`apply`](Cluster::apply) does too.
    ///
    /// # Errors
    ///
    /// As [`apply`](Cluster::apply).
    pub async fn settle(&self) -> Result<()> {
        apply::settle(&self.api, &self.view().await?).await
    }

    async fn view(&self) -> Result<View> {
        let mut view = View::read(&self.api).await?;
        *self.problems.lock() = std::mem::take(&mut view.survey.problems);
        Ok(view)
    }
}

#[async_trait]
impl Cluster for KubernetesCluster {
    async fn state(&self) -> Result<ClusterState> {
        let Input { pods, nodes, pools, gangs, daemons, .. } = self.input(Arc::default()).await?;
        Ok(ClusterState { pending: pods, nodes, pools, node_groups: Vec::new(), gangs, daemons })
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        apply::apply(&self.api, &mut self.view().await?, plan).await
    }
}

impl fmt::Debug for KubernetesCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesCluster").finish_non_exhaustive()
    }
}
