//! What is read of an API server.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::api::Api;
use super::volumes::unplaced;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Manifests, PODS, Survey};

/// A resource whose objects are read.
struct Resource {
    group: &'static str,
    /// The first that the server has is read.
    versions: &'static [&'static str],
    plural: &'static str,
    kind: &'static str,
}

const fn resource(
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    kind: &'static str,
) -> Resource {
    Resource { group, versions, plural, kind }
}

const V1: &[&str] = &["v1"];
/// The versions of Kubernetes' own groups of pods (KEP-4671), the newest first.
const GROUPS: &[&str] = &["v1", "v1beta1", "v1alpha3", "v1alpha2"];
const WORKLOADS: &[&str] = &["v1", "v1beta1", "v1alpha3", "v1alpha2", "v1alpha1"];

const NODE_CLAIMS: Resource = resource("karpenter.sh", V1, "nodeclaims", "NodeClaim");
const NODE_POOLS: Resource = resource("karpenter.sh", V1, "nodepools", "NodePool");
const VOLUME_CLAIMS: Resource = resource("", V1, "persistentvolumeclaims", "PersistentVolumeClaim");
const CLASSES: Resource = resource("storage.k8s.io", V1, "storageclasses", "StorageClass");
const NODES: Resource = resource("", V1, "nodes", "Node");
const PODS_LISTED: Resource = resource("", V1, "pods", "Pod");

/// What pods, nodes and pools refer to. Of a resource that the server does not have there are no
/// objects.
const OTHERS: [Resource; 12] = [
    resource("", V1, "namespaces", "Namespace"),
    resource("", V1, "persistentvolumes", "PersistentVolume"),
    resource("apps", V1, "daemonsets", "DaemonSet"),
    resource("policy", V1, "poddisruptionbudgets", "PodDisruptionBudget"),
    resource("scheduling.k8s.io", V1, "priorityclasses", "PriorityClass"),
    resource("storage.k8s.io", V1, "csinodes", "CSINode"),
    resource("leaderworkerset.x-k8s.io", V1, "leaderworkersets", "LeaderWorkerSet"),
    resource("scheduling.k8s.io", GROUPS, "podgroups", "PodGroup"),
    resource("scheduling.k8s.io", WORKLOADS, "workloads", "Workload"),
    resource("scheduling.volcano.sh", &["v1beta1"], "podgroups", "PodGroup"),
    resource("scheduling.x-k8s.io", &["v1alpha1"], "podgroups", "PodGroup"),
    resource("scheduling.sigs.k8s.io", &["v1alpha1"], "podgroups", "PodGroup"),
];

impl Resource {
    fn api_version(&self, version: &str) -> String {
        match self.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    fn path(&self, version: &str) -> String {
        let api = if self.group.is_empty() { "/api" } else { "/apis" };
        format!("{api}/{}/{}", self.api_version(version), self.plural)
    }

    /// As RBAC and messages name it.
    fn name(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// All objects, each with its kind, which lists leave out; `None` without such a resource.
    async fn list(&self, api: &Api) -> Result<Option<Vec<Value>>> {
        for version in self.versions {
            let Some(mut objects) = api.list(&self.path(version), &self.name()).await? else {
                continue;
            };
            let api_version = self.api_version(version);
            for object in objects.iter_mut().filter_map(Value::as_object_mut) {
                object.insert("kind".into(), self.kind.into());
                object.insert("apiVersion".into(), api_version.as_str().into());
            }
            return Ok(Some(objects));
        }
        Ok(None)
    }

    async fn list_if_there(&self, api: &Api) -> Result<Vec<Value>> {
        Ok(self.list(api).await?.unwrap_or_default())
    }

    async fn list_surely(&self, api: &Api) -> Result<Vec<Value>> {
        self.list(api).await?.ok_or_else(|| {
            let message = format!(
                "the API server has no {}: give the address of a Kubernetes API",
                self.plural
            );
            Error::new(ErrorKind::NotFound, message)
        })
    }
}

/// A claim as it was read.
pub(super) struct Claim {
    pub(super) resource_version: String,
    /// The UIDs of the pods that it is for, by `namespace/name`.
    pub(super) pods: serde_json::Map<String, Value>,
}

/// What an API server has, read once.
pub(super) struct View {
    pub(super) survey: Survey,
    /// By the name that the API has.
    pub(super) claims: HashMap<String, Claim>,
    /// The pools as they were written.
    pub(super) pools: HashMap<String, Value>,
    /// The UIDs of pods without a node, by `namespace/name`.
    pub(super) uids: HashMap<Arc<str>, String>,
    /// The paths of volume claims that wait until their pod has a node, by the pod.
    pub(super) volumes: HashMap<Arc<str>, Vec<String>>,
}

impl View {
    /// Reads everything. Claims come before nodes, so that a node of which a claim says that it has
    /// come is there, and pods come last, so that none is on a node that is not.
    pub(super) async fn read(api: &Api) -> Result<Self> {
        let listed_claims = NODE_CLAIMS.list_if_there(api).await?;
        let listed_pools = NODE_POOLS.list_if_there(api).await?;
        let nodes = NODES.list_surely(api).await?;
        let volume_claims = VOLUME_CLAIMS.list_if_there(api).await?;
        let classes = CLASSES.list_if_there(api).await?;
        let mut others = Vec::new();
        for resource in OTHERS {
            others.push((resource.name(), resource.list_if_there(api).await?));
        }
        let mut pods = PODS_LISTED.list_surely(api).await?;

        let claims = listed_claims.iter().filter_map(|it| Some((name(it)?, claim(it)))).collect();
        let pools = listed_pools.iter().filter_map(|it| Some((name(it)?, it.clone()))).collect();
        pods.retain(|pod| is_bound(pod) || scheduler(pod) == api.config().scheduler_name);
        let waiting = pods.iter().filter(|pod| !is_bound(pod));
        let uids = waiting.filter_map(|pod| Some((id(pod)?, uid(pod).to_owned()))).collect();

        let volumes = unplaced(&pods, &volume_claims, &classes);

        let known = [
            (NODE_CLAIMS.name(), listed_claims),
            (NODE_POOLS.name(), listed_pools),
            (NODES.name(), nodes),
            (VOLUME_CLAIMS.name(), volume_claims),
            (CLASSES.name(), classes),
            (PODS_LISTED.name(), pods),
        ];
        let all = known.into_iter().chain(others);
        let objects = all.flat_map(|(resource, objects)| {
            objects.into_iter().map(move |object| (resource.clone(), object))
        });
        Ok(Self { survey: Manifests::survey(objects)?, claims, pools, uids, volumes })
    }
}

fn claim(object: &Value) -> Claim {
    let pods = text(object, "/metadata/annotations", PODS);
    Claim {
        resource_version: text(object, "/metadata", "resourceVersion").to_owned(),
        pods: serde_json::from_str(pods).unwrap_or_default(),
    }
}

pub(super) fn text<'a>(object: &'a Value, path: &str, field: &str) -> &'a str {
    let value = object.pointer(path).and_then(|fields| fields.get(field));
    value.and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn name(object: &Value) -> Option<String> {
    Some(text(object, "/metadata", "name")).filter(|name| !name.is_empty()).map(str::to_owned)
}

pub(super) fn id(object: &Value) -> Option<Arc<str>> {
    let namespace = Some(text(object, "/metadata", "namespace")).filter(|name| !name.is_empty());
    Some(format!("{}/{}", namespace.unwrap_or("default"), name(object)?).into())
}

fn uid(pod: &Value) -> &str {
    text(pod, "/metadata", "uid")
}

fn is_bound(pod: &Value) -> bool {
    !text(pod, "/spec", "nodeName").is_empty()
}

/// The scheduler that a pod asks for; the API server fills in the default one.
fn scheduler(pod: &Value) -> &str {
    match text(pod, "/spec", "schedulerName") {
        "" => "default-scheduler",
        named => named,
    }
}
