//! Kubernetes manifests, read into what the planner asks for.
//!
//! A file becomes documents ([`source`]) in JSON's terms ([`yaml`], [`json`]), these become
//! objects with a kind and a name ([`object`]), and [`assembly`] reads those in the order that they
//! need of each other.

mod affinity;
mod amounts;
mod assembly;
mod budgets;
mod crowd;
mod decode;
mod duration;
mod gangs;
mod groups;
mod json;
mod leader_worker_set;
mod node_claims;
mod nodes;
mod object;
mod pod_spec;
mod pods;
mod pools;
mod priorities;
mod quantity;
mod requests;
mod selectors;
mod source;
mod storage;
mod workloads;
mod world;
mod yaml;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::model::{
    Gang, Input, InstanceType, Node, NodeGroup, NodePool, Pod, PodDisruptionBudget,
};

#[cfg(feature = "kubernetes")]
pub(crate) use assembly::Survey;
pub use groups::{open_node_groups, read_node_groups};
#[cfg(feature = "kubernetes")]
pub(crate) use node_claims::{MAX_PROMISED, NODE, ON_ITS_WAY, PODS, promise};

/// Pods, node pools and nodes from Kubernetes manifests in YAML or JSON.
///
/// Pods come from `Pod`, `Deployment`, `ReplicaSet`, `StatefulSet`, `Job` and `LeaderWorkerSet`;
/// pods that a dump of a cluster has beside their workload are not made again. Each is named
/// `namespace/name`. What others refer to is read too: `Namespace`, `PriorityClass`, `PodGroup`,
/// `Workload`, `PersistentVolumeClaim`, `PersistentVolume`, `StorageClass`, `CSINode`. Of a
/// `NodeClaim` comes a node that is on its way, and of a `PodDisruptionBudget` what it allows now.
/// `List` and a JSON array stand for their items.
///
/// It is strict where a mistake would change the plan, and fills in what Kubernetes would: a limit
/// is the request where none is given, replicas are 1. Fields that it does not know are ignored,
/// as a plan has no use for them; other kinds are listed in `disregarded`.
///
/// ```
/// use binpack::{BuiltinCatalogue, Config, Manifests, plan};
///
/// let yaml = "
/// apiVersion: apps/v1
/// kind: Deployment
/// metadata: {name: web}
/// spec:
///   replicas: 3
///   template:
///     spec:
///       containers: [{name: web, resources: {requests: {cpu: 900m, memory: 1Gi}}}]
/// ---
/// apiVersion: karpenter.sh/v1
/// kind: NodePool
/// metadata: {name: default}
/// spec:
///   template:
///     spec:
///       requirements: [{key: kubernetes.io/arch, operator: In, values: [amd64]}]
/// ";
/// let manifests = Manifests::read(yaml.as_bytes())?;
/// assert_eq!(&*manifests.pods[2].name, "default/web-2");
/// let plan = plan(&manifests.into_input(BuiltinCatalogue::new().types()), &Config::default())?;
/// assert!(plan.unplaced.is_empty() && !plan.launches.is_empty());
/// # Ok::<(), binpack::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifests {
    /// Pods without a node.
    pub pods: Vec<Pod>,
    /// Karpenter's node pools.
    pub pools: Vec<NodePool>,
    /// Node groups, which [`read_node_groups`] reads: manifests have none. Nodes belong to those that
    /// the label of Amazon's, Google's or Microsoft's managed Kubernetes names.
    pub node_groups: Vec<NodeGroup>,
    /// Nodes that are ready or on their way, with the pods that run there.
    pub nodes: Vec<Node>,
    /// Pod groups, and the replicas of each `LeaderWorkerSet`.
    pub gangs: Vec<Gang>,
    /// The pod of each `DaemonSet`.
    pub daemons: Vec<Pod>,
    /// How many pods may be evicted, for [`consolidate`](crate::consolidate).
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// Kinds and fields that were read past, each once and in order.
    pub disregarded: Vec<String>,
}

impl Manifests {
    /// Reads one file's text. Objects may refer to others of the file in any order.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) that names the document, the object and
    /// the field: text that is no YAML or JSON, a key or an object given twice, a value that
    /// Kubernetes would refuse, a reference to an object that was not read, aliases or nesting
    /// without measure, more than a million pods. [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if `input` fails.
    pub fn read(input: impl Read) -> Result<Self> {
        assembly::assemble(source::read(input, None)?)
    }

    /// Reads a file, or those of a folder that end in `.yaml`, `.yml` or `.json`, in the order of
    /// their names.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), with the path; [`ErrorKind::NotFound`](crate::ErrorKind::NotFound)
    /// if there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_all([path])
    }

    /// Reads several files or folders, whose objects may refer to each other.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_all(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        let mut documents = Vec::new();
        for path in paths {
            documents.append(&mut source::open(path.as_ref())?);
        }
        assembly::assemble(documents)
    }

    /// Reads the objects of a cluster that runs, each with where it was found.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn survey(
        objects: impl IntoIterator<Item = (String, serde_json::Value)>,
    ) -> Result<Survey> {
        let document = |(at, value)| source::Document { at, value };
        assembly::survey(objects.into_iter().map(document).collect())
    }

    /// Adds what was read elsewhere, where it does not refer to this: a pod that runs on a node of
    /// the other is already counted or left out. [`plan`](crate::plan) refuses names that are then
    /// given twice.
    pub fn extend(&mut self, other: Self) {
        self.pods.extend(other.pods);
        self.pools.extend(other.pools);
        self.node_groups.extend(other.node_groups);
        self.nodes.extend(other.nodes);
        self.gangs.extend(other.gangs);
        self.daemons.extend(other.daemons);
        self.disruption_budgets.extend(other.disruption_budgets);
        self.disregarded.extend(other.disregarded);
        self.disregarded.sort();
        self.disregarded.dedup();
    }

    /// The question where these pods go, with what may be bought.
    #[must_use]
    pub fn into_input(self, instance_types: Arc<[InstanceType]>) -> Input {
        let Self {
            pods, pools, node_groups, mut nodes, gangs, daemons, disruption_budgets, ..
        } = self;
        groups::join(&mut nodes, &node_groups);
        Input {
            pods,
            nodes,
            pools,
            node_groups,
            instance_types,
            gangs,
            daemons,
            disruption_budgets,
        }
    }

    /// These, if they are well formed together.
    fn checked(self) -> Result<Self> {
        let disregarded = self.disregarded.clone();
        let input = self.into_input(Arc::default());
        input.check()?;
        let Input { pods, nodes, pools, node_groups, gangs, daemons, disruption_budgets, .. } =
            input;
        let all = Self {
            pods,
            pools,
            node_groups,
            nodes,
            gangs,
            daemons,
            disruption_budgets,
            disregarded,
        };
        Ok(all)
    }
}
