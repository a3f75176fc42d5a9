//! Claims of volumes, and where the volumes are.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::decode::{List, given};
use super::object::Object;
use super::pod_spec::{ClaimSpec, PodSpec};
use super::selectors::{NodeSelector, of_node};
use crate::error::Result;
use crate::model::{Requirement, Volume};

/// The driver of a volume about which nothing was read.
const UNKNOWN: &str = "unknown";

/// The annotation of the class that a claim without one gets.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// The claims, volumes and classes that were read.
#[derive(Default)]
pub(super) struct Storage {
    /// By `namespace/name`.
    claims: BTreeMap<String, ClaimSpec>,
    volumes: BTreeMap<String, Volume>,
    /// The name of the volume that was made for a claim, by the claim.
    bound: BTreeMap<String, String>,
    classes: BTreeMap<String, Class>,
    default_class: Option<String>,
    /// How many volumes of a driver a node may have, by node.
    limits: BTreeMap<String, Vec<(String, u32)>>,
}

struct Class {
    driver: String,
    topologies: Vec<Vec<Requirement>>,
}

/// A claim of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// One that all pods of the workload share.
    Shared(String),
    /// One for each pod, whose name is between these.
    Each { before: String, after: String, class: Option<String> },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimBody {
    spec: ClaimSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VolumeBody {
    spec: VolumeSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeSpec {
    csi: Option<CsiSource>,
    aws_elastic_block_store: Option<AwsSource>,
    gce_persistent_disk: Option<GceSource>,
    azure_disk: Option<AzureSource>,
    claim_ref: Option<ClaimRef>,
    node_affinity: Option<VolumeAffinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CsiSource {
    driver: String,
    volume_handle: String,
}

#[derive(Deserialize)]
struct AwsSource {
    #[serde(rename = "volumeID")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GceSource {
    pd_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureSource {
    disk_name: String,
}

#[derive(Deserialize)]
struct ClaimRef {
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VolumeAffinity {
    required: Option<NodeSelector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClassBody {
    provisioner: String,
    #[serde(default)]
    allowed_topologies: List<AllowedTopology>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AllowedTopology {
    match_label_expressions: List<AllowedLabel>,
}

#[derive(Deserialize)]
struct AllowedLabel {
    key: String,
    values: List<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeDriversBody {
    spec: NodeDrivers,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeDrivers {
    drivers: List<NodeDriver>,
}

#[derive(Deserialize)]
struct NodeDriver {
    name: String,
    allocatable: Option<DriverLimit>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DriverLimit {
    count: Option<u32>,
}

impl Storage {
    /// A `PersistentVolumeClaim`.
    pub(super) fn add_claim(&mut self, object: &Object) -> Result<()> {
        let ClaimBody { spec } = object.body()?;
        self.claims.insert(object.id().to_string(), spec);
        Ok(())
    }

    /// A `PersistentVolume`.
    pub(super) fn add_volume(&mut self, object: &Object) -> Result<()> {
        let VolumeBody { spec } = object.body()?;
        let name = object.name();
        let (driver, handle) = spec.driver_and_handle().unwrap_or((UNKNOWN, name));
        let mut volume = Volume::new(driver, handle);
        if driver.is_empty() || handle.is_empty() {
            return Err(object
                .origin
                .wrong("spec.csi", "has an empty driver or volumeHandle: name both"));
        }
        if let Some(required) = spec.node_affinity.and_then(|affinity| affinity.required) {
            let path = "spec.nodeAffinity.required";
            volume.topologies = required.alternatives(&object.origin, path, str::to_owned)?;
        }
        if let Some(of) = spec.claim_ref {
            self.bound.insert(format!("{}/{}", of.namespace, of.name), name.to_owned());
        }
        self.volumes.insert(name.to_owned(), volume);
        Ok(())
    }

    /// A `StorageClass`.
    pub(super) fn add_class(&mut self, object: &Object) -> Result<()> {
        let body: ClassBody = object.body()?;
        let topology = |allowed: &AllowedTopology| {
            let one = |label: &AllowedLabel| {
                let values = label.values.iter().map(String::as_str);
                of_node(Requirement::is_in(label.key.as_str(), values))
            };
            allowed.match_label_expressions.iter().map(one).collect()
        };
        let topologies = body.allowed_topologies.iter().map(topology).collect();
        let driver = current_driver(&body.provisioner).to_owned();
        if driver.is_empty() {
            return Err(object.origin.wrong("provisioner", "is empty: name it"));
        }
        if object.meta.annotations.get(DEFAULT_CLASS) == Some("true") {
            self.default_class = Some(object.name().to_owned());
        }
        self.classes.insert(object.name().to_owned(), Class { driver, topologies });
        Ok(())
    }

    /// A `CSINode`: how many volumes the node of its name may have.
    pub(super) fn add_limits(&mut self, object: &Object) -> Result<()> {
        let NodeDriversBody { spec } = object.body()?;
        let limit = |driver: &NodeDriver| {
            let count = driver.allocatable.as_ref().and_then(|limit| limit.count)?;
            Some((driver.name.clone(), count))
        };
        let limits = spec.drivers.iter().filter_map(limit).collect();
        self.limits.insert(object.name().to_owned(), limits);
        Ok(())
    }

    /// How many volumes a node may have, by driver.
    pub(super) fn limits(&self, node: &str) -> impl Iterator<Item = (&str, u32)> {
        let of_node = self.limits.get(node).into_iter().flatten();
        of_node.map(|(driver, count)| (driver.as_str(), *count))
    }

    /// The volumes of these claims for one pod.
    pub(super) fn volumes(&self, namespace: &str, claims: &[Claim], pod: &str) -> Vec<Volume> {
        let volume = |claim: &Claim| match claim {
            Claim::Shared(name) => self.volume(&format!("{namespace}/{name}"), None),
            Claim::Each { before, after, class } => {
                self.volume(&format!("{namespace}/{before}{pod}{after}"), class.as_deref())
            }
        };
        claims.iter().map(volume).collect()
    }

    /// The volume of a claim: the one that it is bound to, or one that its class will make, or one
    /// that can be anywhere.
    fn volume(&self, claim: &str, class: Option<&str>) -> Volume {
        let spec = self.claims.get(claim);
        let named = spec.and_then(|spec| given(spec.volume_name.as_ref()));
        let bound = named.or_else(|| self.bound.get(claim).map(String::as_str));
        if let Some(volume) = bound.and_then(|name| self.volumes.get(name)) {
            return volume.clone();
        }
        let class = spec.and_then(|spec| spec.storage_class_name.as_deref()).or(class);
        let class = class.or(self.default_class.as_deref());
        match class.and_then(|name| self.classes.get(name)) {
            Some(class) => {
                let mut volume = Volume::new(class.driver.as_str(), claim);
                volume.topologies.clone_from(&class.topologies);
                volume
            }
            None => Volume::new(UNKNOWN, claim),
        }
    }
}

impl VolumeSpec {
    fn driver_and_handle(&self) -> Option<(&str, &str)> {
        if let Some(csi) = &self.csi {
            return Some((&csi.driver, &csi.volume_handle));
        }
        if let Some(aws) = &self.aws_elastic_block_store {
            return Some((current_driver("kubernetes.io/aws-ebs"), &aws.id));
        }
        if let Some(gce) = &self.gce_persistent_disk {
            return Some((current_driver("kubernetes.io/gce-pd"), &gce.pd_name));
        }
        self.azure_disk
            .as_ref()
            .map(|azure| (current_driver("kubernetes.io/azure-disk"), azure.disk_name.as_str()))
    }
}

/// The driver that has taken the place of one that was part of Kubernetes (KEP-625).
fn current_driver(name: &str) -> &str {
    match name {
        "kubernetes.io/aws-ebs" => "ebs.csi.aws.com",
        "kubernetes.io/gce-pd" => "pd.csi.storage.gke.io",
        "kubernetes.io/azure-disk" => "disk.csi.azure.com",
        _ => name,
    }
}

/// The claims of a pod's own volumes.
pub(super) fn claims(spec: &PodSpec) -> Vec<Claim> {
    let mut all = Vec::new();
    for volume in spec.volumes.iter() {
        if let Some(source) = &volume.persistent_volume_claim {
            all.push(Claim::Shared(source.claim_name.clone()));
        }
        if let Some(source) = &volume.ephemeral {
            let template = source.volume_claim_template.as_ref();
            let spec = template.and_then(|template| template.spec.as_ref());
            let class = spec.and_then(|spec| spec.storage_class_name.clone());
            let after = format!("-{}", volume.name);
            all.push(Claim::Each { before: String::new(), after, class });
        }
    }
    all
}
