//! From documents to what the planner asks for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use super::Manifests;
use super::budgets::budget;
use super::crowd::Crowd;
use super::decode::given;
use super::leader_worker_set;
use super::node_claims::{Claim, Claims, MAX_PROMISED, admits};
use super::nodes;
use super::object::Object;
use super::pod_spec::PodSpec;
use super::pods::Template;
use super::pools;
use super::source::Document;
use super::workloads;
use super::world::World;
use crate::error::Result;
use crate::model::{MAX_QUANTITY, Node, RunningPod};

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
    NodeClaim,
    Node,
    LeaderWorkerSet,
    Pod,
    StatefulSet,
    ReplicaSet,
    Deployment,
    Job,
    DaemonSet,
    NodePool,
    PodBudget,
}

/// A kind by the group and name of its API, the versions that are read, and whether it is in a
/// namespace.
type Known = (&'static str, &'static str, &'static [&'static str], bool, Kind);

const V1: &[&str] = &["v1"];

const KNOWN: [Known; 22] = [
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
    ("karpenter.sh", "NodeClaim", V1, false, Kind::NodeClaim),
    ("policy", "PodDisruptionBudget", V1, true, Kind::PodBudget),
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

/// What a cluster has, as far as it can be read.
#[cfg_attr(
    not(feature = "kubernetes"),
    expect(dead_code, reason = "files tell what is wrong with them by an error")
)]
pub(crate) struct Survey {
    pub(crate) made: Manifests,
    /// Pods whose node has come since it was promised to them, and that node.
    pub(crate) come: Vec<(Arc<str>, Arc<str>)>,
    /// What could not be read, in words.
    pub(crate) problems: Vec<String>,
}

/// Reads objects in the order that they need of each other, whatever that of the documents.
pub(super) fn assemble(documents: Vec<Document>) -> Result<Manifests> {
    Ok(Assembly::default().survey(documents)?.made)
}

/// Reads the objects of a cluster that runs: what makes pods has made them, and an object that is
/// malformed is left out. A node that runs such a pod is full, for nobody knows what it uses.
#[cfg(feature = "kubernetes")]
pub(super) fn survey(documents: Vec<Document>) -> Result<Survey> {
    Assembly { live: true, ..Assembly::default() }.survey(documents)
}

#[derive(Default)]
struct Assembly {
    made: Manifests,
    world: World,
    crowd: Crowd,
    claims: Claims,
    /// Where a node is among those that were read, by its name and that of its claim.
    sites: HashMap<String, usize>,
    /// Pods whose node has come, and where that is.
    come: Vec<(Arc<str>, usize)>,
    /// Nodes with a pod that could not be read.
    unknown: Vec<usize>,
    live: bool,
    problems: Vec<String>,
}

impl Assembly {
    fn survey(mut self, documents: Vec<Document>) -> Result<Survey> {
        let mut objects = self.sorted(documents)?;
        if let Some(pods) = objects.remove(&Kind::Pod) {
            objects.insert(Kind::Pod, self.living(pods)?);
        }
        for object in objects.get(&Kind::ReplicaSet).into_iter().flatten() {
            self.crowd.note_maker(object);
        }
        for (kind, objects) in objects {
            for object in objects {
                let added = self.add(kind, &object);
                if added.is_err() && kind == Kind::Pod {
                    self.forget_use(&object);
                }
                self.note(added)?;
            }
        }
        self.finish()
    }

    /// What is wrong with one object of a cluster that runs is noted, and the others are read.
    fn note(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if self.live => {
                self.problems.push(error.to_string());
                Ok(())
            }
            done => done,
        }
    }

    /// The objects by kind; those of one kind keep their order.
    fn sorted(&mut self, documents: Vec<Document>) -> Result<BTreeMap<Kind, Vec<Object>>> {
        let mut all: BTreeMap<Kind, Vec<Object>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for document in documents {
            let sorted = self.identified(document).and_then(|found| {
                let Some((kind, object)) = found else { return Ok(()) };
                if !seen.insert((kind, object.id())) {
                    return Err(object.origin.wrong("metadata.name", "is given twice: remove one"));
                }
                all.entry(kind).or_default().push(object);
                Ok(())
            });
            self.note(sorted)?;
        }
        Ok(all)
    }

    /// The object of a document, if it is of a kind that is read.
    fn identified(&mut self, document: Document) -> Result<Option<(Kind, Object)>> {
        let mut object = Object::of(document)?;
        let known = KNOWN
            .iter()
            .find(|(group, kind, ..)| *group == object.group && *kind == object.origin.kind());
        let Some((_, _, versions, namespaced, kind)) = known else {
            self.world.say(format!("kind {} of {}", object.origin.kind(), object.api()));
            return Ok(None);
        };
        object.expect_version(versions)?;
        object.identify(*namespaced)?;
        Ok(Some((*kind, object)))
    }

    /// The pods that run or will, those with a node first; their workloads need not make them
    /// again.
    fn living(&mut self, pods: Vec<Object>) -> Result<Vec<Object>> {
        let mut living = Vec::new();
        for object in pods {
            let state = object.body();
            let Ok(PodState { spec, status }) = state else {
                self.note(state.map(|_: PodState| ()))?;
                continue;
            };
            let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
            let waits = given(spec.node_name.as_ref()).is_none();
            if over || (waits && object.meta.deletion_timestamp.is_some()) {
                self.world.say("pods that are over or being deleted");
            } else {
                self.crowd.note(&object);
                living.push((waits, object));
            }
        }
        living.sort_by_key(|(waits, _)| *waits);
        Ok(living.into_iter().map(|(_, object)| object).collect())
    }

    fn add(&mut self, kind: Kind, object: &Object) -> Result<()> {
        let Self { world, crowd, live, .. } = self;
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
            Kind::NodeClaim => {
                if let Some(node) = self.claims.add(object)? {
                    self.add_site(node);
                }
            }
            Kind::Node => self.add_node(object)?,
            Kind::LeaderWorkerSet => leader_worker_set::add(object, world, crowd, *live)?,
            Kind::Pod => self.add_pod(object)?,
            Kind::StatefulSet => workloads::stateful(object, world, crowd)?,
            Kind::ReplicaSet | Kind::Deployment => workloads::replicated(object, world, crowd)?,
            Kind::Job => workloads::job(object, world, crowd)?,
            Kind::DaemonSet => self.made.daemons.extend(workloads::daemon(object, world)?),
            Kind::NodePool => self.made.pools.push(pools::pool(object, world)?),
            Kind::PodBudget => self.made.disruption_budgets.extend(budget(object)?),
        }
        Ok(())
    }

    /// Adds a node, unless a claim stands for it until it takes pods.
    fn add_node(&mut self, object: &Object) -> Result<()> {
        let claim = self.claims.of(object)?;
        let standing = claim.filter(|claim| claim.stands());
        if let Some(site) = standing.and_then(|claim| self.sites.get(&claim.node).copied()) {
            self.sites.insert(object.name().to_owned(), site);
            return Ok(());
        }
        let leaving = claim.is_some_and(|claim| claim.leaving);
        let price_micros = claim.and_then(|claim| claim.price_micros);
        if let Some(mut node) = nodes::node(object, &mut self.world)? {
            node.disrupting = leaving;
            node.price_micros = price_micros;
            self.add_site(node);
        }
        Ok(())
    }

    fn add_site(&mut self, node: Node) {
        self.sites.insert(node.name.to_string(), self.made.nodes.len());
        self.made.nodes.push(node);
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
        let node = given(spec.node_name.as_ref());
        let site = node.and_then(|name| self.sites.get(name).copied());
        if node.is_some() && site.is_none() {
            self.world.say("pods on nodes that were not read or are not ready");
            return Ok(());
        }
        let Some(mould) = template.mould(&mut self.world)? else {
            return Ok(());
        };
        let mut running = RunningPod::new(mould.cast(object.name(), &self.world));
        // The pods of a kubelet's own files are controlled by their node.
        let controller = object.meta.controller().map(|of| of.kind.as_str());
        running.daemon = matches!(controller, Some("DaemonSet" | "Node"));
        let awaited = self.claims.awaited(object).filter(|_| site.is_none());
        let awaited: Vec<(bool, usize)> =
            awaited.filter_map(|claim| Some((claim.stands(), self.site(claim)?))).collect();
        let on_its_way = awaited.iter().find(|(stands, _)| *stands).map(|(_, site)| *site);
        if let Some(node) = site.or(on_its_way).and_then(|site| self.made.nodes.get_mut(site)) {
            return nodes::run(node, running, object);
        }
        for (_, come) in awaited {
            if let Some(node) = self.made.nodes.get_mut(come)
                && admits(node, &running.pod)
                && nodes::occupy(node, &mut running)
            {
                self.come.push((running.pod.name.clone(), come));
                node.pods.push(running);
                return Ok(());
            }
        }
        self.crowd.add_read(object, running.pod)
    }

    /// Where the node of a claim is.
    fn site(&self, claim: &Claim) -> Option<usize> {
        let name = if claim.stands() { Some(&claim.node) } else { claim.node_name.as_ref() };
        self.sites.get(name?).copied()
    }

    /// Notes that nobody knows what is used of a node, for this pod of it is malformed.
    fn forget_use(&mut self, pod: &Object) {
        let place = pod.body().map(|PodState { spec, .. }| spec.node_name);
        let site = place.ok().flatten().and_then(|name| self.sites.get(&name).copied());
        self.unknown.extend(site);
    }

    fn finish(mut self) -> Result<Survey> {
        self.settle_claims();
        let mut made = self.made;
        for site in self.unknown {
            made.nodes.get_mut(site).into_iter().for_each(nodes::fill);
        }
        if self.live {
            // More than can be counted is more than the node has.
            let absurd = |node: &&mut Node| node.used.amounts().any(|(_, n)| n > MAX_QUANTITY);
            made.nodes.iter_mut().filter(absurd).for_each(nodes::fill);
        }
        let name = |site: usize| made.nodes.get(site).map(|node| node.name.clone());
        let come = self.come.into_iter();
        let come = come.filter_map(|(pod, site)| Some((pod, name(site)?))).collect();
        made.pods = self.crowd.into_pods();
        made.gangs = self.world.gangs.take();
        made.disregarded = self.world.into_disregarded();
        Ok(Survey { made: made.checked()?, come, problems: self.problems })
    }

    /// Keeps room for daemons on nodes that are on their way, and on those that have come until all
    /// pods that waited for them are there. A claim that names as many pods as it can is full.
    fn settle_claims(&mut self) {
        for claim in self.claims.iter() {
            let Some(site) = self.site(claim) else { continue };
            let stands = claim.stands();
            let awaited = stands || self.come.iter().any(|(_, come)| *come == site);
            let Some(node) = self.made.nodes.get_mut(site).filter(|_| awaited) else { continue };
            nodes::reserve(node, &claim.daemons);
            if stands && claim.promised >= MAX_PROMISED {
                nodes::fill(node);
            }
        }
    }
}
