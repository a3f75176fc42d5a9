//! From documents to what the planner asks for.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use super::Manifests;
use super::crowd::Crowd;
use super::decode::given;
use super::leader_worker_set;
use super::nodes;
use super::object::Object;
use super::pod_spec::PodSpec;
use super::pods::Template;
use super::pools;
use super::source::Document;
use super::workloads;
use super::world::World;
use crate::error::Result;
use crate::model::RunningPod;

/// What is read. The order is that in which it is: what others refer to comes first, and what
/// chooses its pods' names itself before what takes any that are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Namespace,
    PriorityClass,
    Claim,
    Volume,
    StorageClass,
    NodeDrivers,
    CountedGroup,
    NativeGroup,
    Workload,
    Node,
    LeaderWorkerSet,
    Pod,
    StatefulSet,
    ReplicaSet,
    Deployment,
    Job,
    DaemonSet,
    NodePool,
}

/// A kind by the group and name of its API, the versions that are read, and whether it is in a
/// namespace.
type Known = (&'static str, &'static str, &'static [&'static str], bool, Kind);

const V1: &[&str] = &["v1"];

const KNOWN: [Known; 20] = [
    ("", "Namespace", V1, false, Kind::Namespace),
    ("", "Node", V1, false, Kind::Node),
    ("", "Pod", V1, true, Kind::Pod),
    ("", "PersistentVolumeClaim", V1, true, Kind::Claim),
    ("", "PersistentVolume", V1, false, Kind::Volume),
    ("apps", "Deployment", V1, true, Kind::Deployment),
    ("apps", "ReplicaSet", V1, true, Kind::ReplicaSet),
    ("apps", "StatefulSet", V1, true, Kind::StatefulSet),
    ("apps", "DaemonSet", V1, true, Kind::DaemonSet),
    ("batch", "Job", V1, true, Kind::Job),
    ("storage.k8s.io", "StorageClass", V1, false, Kind::StorageClass),
    ("storage.k8s.io", "CSINode", V1, false, Kind::NodeDrivers),
    ("scheduling.k8s.io", "PriorityClass", V1, false, Kind::PriorityClass),
    (
        "scheduling.k8s.io",
        "PodGroup",
        &["v1alpha2", "v1alpha3", "v1beta1", "v1"],
        true,
        Kind::NativeGroup,
    ),
    (
        "scheduling.k8s.io",
        "Workload",
        &["v1alpha1", "v1alpha2", "v1alpha3", "v1beta1", "v1"],
        true,
        Kind::Workload,
    ),
    ("scheduling.volcano.sh", "PodGroup", &["v1beta1"], true, Kind::CountedGroup),
    ("scheduling.x-k8s.io", "PodGroup", &["v1alpha1"], true, Kind::CountedGroup),
    ("scheduling.sigs.k8s.io", "PodGroup", &["v1alpha1"], true, Kind::CountedGroup),
    ("karpenter.sh", "NodePool", V1, false, Kind::NodePool),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet", V1, true, Kind::LeaderWorkerSet),
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodBody {
    spec: PodSpec,
}

/// Whether a pod is over, and where it runs.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PodState {
    spec: PodPlace,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodPlace {
    node_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: Option<String>,
}

/// Reads objects in the order that they need of each other, whatever that of the documents.
pub(super) fn assemble(documents: Vec<Document>) -> Result<Manifests> {
    let mut assembly = Assembly::default();
    let mut objects = sorted(documents, &mut assembly.world)?;
    if let Some(pods) = objects.remove(&Kind::Pod) {
        objects.insert(Kind::Pod, assembly.living(pods)?);
    }
    for object in objects.get(&Kind::ReplicaSet).into_iter().flatten() {
        assembly.crowd.note_maker(object);
    }
    for (kind, objects) in objects {
        objects.iter().try_for_each(|object| assembly.add(kind, object))?;
    }
    assembly.finish()
}

/// The objects by kind; those of one kind keep their order.
fn sorted(documents: Vec<Document>, world: &mut World) -> Result<BTreeMap<Kind, Vec<Object>>> {
    let mut all: BTreeMap<Kind, Vec<Object>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for document in documents {
        let mut object = Object::of(document)?;
        let known = KNOWN
            .iter()
            .find(|(group, kind, ..)| *group == object.group && *kind == object.origin.kind());
        let Some((_, _, versions, namespaced, kind)) = known else {
            world.say(format!("kind {} of {}", object.origin.kind(), object.api()));
            continue;
        };
        object.expect_version(versions)?;
        object.identify(*namespaced)?;
        if !seen.insert((*kind, object.id())) {
            return Err(object.origin.wrong("metadata.name", "is given twice: remove one"));
        }
        all.entry(*kind).or_default().push(object);
    }
    Ok(all)
}

#[derive(Default)]
struct Assembly {
    made: Manifests,
    world: World,
    crowd: Crowd,
    /// Where a node is among those that were read.
    nodes: HashMap<String, usize>,
}

impl Assembly {
    /// The pods that run or will; their workloads need not make them again.
    fn living(&mut self, pods: Vec<Object>) -> Result<Vec<Object>> {
        let mut living = Vec::new();
        for object in pods {
            let PodState { spec, status } = object.body()?;
            let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
            let waits = given(spec.node_name.as_ref()).is_none();
            if over || (waits && object.meta.deletion_timestamp.is_some()) {
                self.world.say("pods that are over or being deleted");
            } else {
                self.crowd.note(&object);
                living.push(object);
            }
        }
        Ok(living)
    }

    fn add(&mut self, kind: Kind, object: &Object) -> Result<()> {
        let Self { world, crowd, .. } = self;
        match kind {
            Kind::Namespace => world.add_namespace(object.id(), object.meta.labels.labels()),
            Kind::PriorityClass => world.priorities.add(object)?,
            Kind::Claim => world.storage.add_claim(object)?,
            Kind::Volume => world.storage.add_volume(object)?,
            Kind::StorageClass => world.storage.add_class(object)?,
            Kind::NodeDrivers => world.storage.add_limits(object)?,
            Kind::CountedGroup => {
                if world.gangs.add_counted(object)? {
                    world.say("PodGroup spec.networkTopology");
                }
            }
            Kind::NativeGroup => world.gangs.add_native(object)?,
            Kind::Workload => world.gangs.add_workload(object)?,
            Kind::Node => self.add_node(object)?,
            Kind::LeaderWorkerSet => leader_worker_set::add(object, world, crowd)?,
            Kind::Pod => self.add_pod(object)?,
            Kind::StatefulSet => workloads::stateful(object, world, crowd)?,
            Kind::ReplicaSet | Kind::Deployment => workloads::replicated(object, world, crowd)?,
            Kind::Job => workloads::job(object, world, crowd)?,
            Kind::DaemonSet => self.made.daemons.extend(workloads::daemon(object, world)?),
            Kind::NodePool => self.made.pools.push(pools::pool(object, world)?),
        }
        Ok(())
    }

    fn add_node(&mut self, object: &Object) -> Result<()> {
        if let Some(node) = nodes::node(object, &mut self.world)? {
            self.nodes.insert(object.name().to_owned(), self.made.nodes.len());
            self.made.nodes.push(node);
        }
        Ok(())
    }

    /// Adds a pod that waits, or one that runs to its node.
    fn add_pod(&mut self, object: &Object) -> Result<()> {
        let PodBody { spec } = &object.body()?;
        let template = Template {
            origin: &object.origin,
            path: "spec".into(),
            meta_path: "metadata".into(),
            namespace: object.namespace(),
            labels: &object.meta.labels,
            annotations: &object.meta.annotations,
            spec,
        };
        let place = given(spec.node_name.as_ref()).map(|name| self.nodes.get(name).copied());
        if place == Some(None) {
            self.world.say("pods on nodes that were not read or are not ready");
            return Ok(());
        }
        let Some(mould) = template.mould(&mut self.world)? else {
            return Ok(());
        };
        let pod = mould.cast(object.name(), &self.world);
        let node = place.flatten().and_then(|index| self.made.nodes.get_mut(index));
        let Some(node) = node else {
            return self.crowd.add_read(object, pod);
        };
        let mut running = RunningPod::new(pod);
        // The pods of a kubelet's own files are controlled by their node.
        let controller = object.meta.controller().map(|of| of.kind.as_str());
        running.daemon = matches!(controller, Some("DaemonSet" | "Node"));
        nodes::run(node, running, object)
    }

    fn finish(mut self) -> Result<Manifests> {
        let mut made = self.made;
        made.pods = self.crowd.into_pods();
        made.gangs = self.world.gangs.take();
        made.disregarded = self.world.into_disregarded();
        made.checked()
    }
}
