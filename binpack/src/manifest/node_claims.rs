//! Karpenter's node claims: nodes on their way, and the pods that wait for them.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
#[cfg(feature = "kubernetes")]
use serde_json::{Value, json};

use super::amounts::Amounts;
use super::decode::{List, Strings, given};
use super::nodes::{Condition, fill, resources};
use super::object::Object;
use super::pod_spec::TaintSpec;
use super::pods::taints;
use crate::core::tolerates;
use crate::error::Result;
#[cfg(feature = "kubernetes")]
use crate::model::Taint;
use crate::model::{Effect, Input, Node, Pod, Requirement, Resources};

/// The annotation of a claim that says what its node will be, as [`promise`](super::promise) has it.
pub(crate) const NODE: &str = "binpack.trestle/node";
/// The annotation of a claim with the pods that its node is for: an object of UIDs by
/// `namespace/name`.
pub(crate) const PODS: &str = "binpack.trestle/pods";
/// Comes before a claim's name where it stands for a node that is not there yet. No node has a
/// slash in its name.
pub(crate) const ON_ITS_WAY: &str = "nodeclaim/";
/// The most pods that a claim is for. A name with its namespace and UID takes at most 360 bytes,
/// so they leave a quarter of the 256 KiB that all annotations of an object may have.
pub(crate) const MAX_PROMISED: usize = 500;

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimBody {
    spec: ClaimSpec,
    status: ClaimStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimSpec {
    taints: List<TaintSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimStatus {
    node_name: Option<String>,
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
    capacity: Option<Amounts>,
    allocatable: Option<Amounts>,
    conditions: List<Condition>,
}

/// What the annotation [`NODE`] says.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Promise {
    labels: Strings,
    taints: List<TaintSpec>,
    capacity: BTreeMap<String, u64>,
    allocatable: BTreeMap<String, u64>,
    daemons: BTreeMap<String, u64>,
    price_micros: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Provided {
    spec: ProvidedSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProvidedSpec {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
}

/// A claim.
pub(super) struct Claim {
    /// The name of the node that it stands for.
    pub(super) node: String,
    /// How many pods its node is for.
    pub(super) promised: usize,
    /// What daemons will use of its node.
    pub(super) daemons: Resources,
    pub(super) price_micros: Option<u64>,
    /// Whether its machine is a node that takes pods (Karpenter's condition `Initialized`).
    pub(super) initialized: bool,
    /// Whether it is about to go, and its node with it.
    pub(super) leaving: bool,
    /// The name of its node, once that is there.
    pub(super) node_name: Option<String>,
}

impl Claim {
    /// Whether it stands for its node, which does not take pods yet.
    pub(super) fn stands(&self) -> bool {
        !self.initialized && !self.leaving
    }
}

/// The claims that were read.
#[derive(Default)]
pub(super) struct Claims {
    all: Vec<Claim>,
    by_node: HashMap<String, usize>,
    by_provider: HashMap<String, usize>,
    /// The UIDs and claims of a pod, by `namespace/name`: one that did not fit on the node of the
    /// first has another.
    by_pod: HashMap<String, Vec<(String, usize)>>,
}

impl Claims {
    /// Adds a claim, and returns the node that it stands for.
    pub(super) fn add(&mut self, object: &Object) -> Result<Option<Node>> {
        let ClaimBody { spec, status } = object.body()?;
        let annotations = &object.meta.annotations;
        let promise = annotations.get(NODE).map(|text| written(object, NODE, text)).transpose()?;
        let pods = annotations.get(PODS).map(|text| written(object, PODS, text)).transpose()?;
        let pods: BTreeMap<String, String> = pods.unwrap_or_default();
        let initialized = |c: &Condition| c.name == "Initialized" && c.status == "True";
        let mut claim = Claim {
            node: format!("{ON_ITS_WAY}{}", object.name()),
            promised: pods.len(),
            daemons: Resources::default(),
            price_micros: None,
            initialized: status.conditions.iter().any(initialized),
            leaving: object.meta.deletion_timestamp.is_some(),
            node_name: given(status.node_name.as_ref()).map(str::to_owned),
        };
        let node = match promise {
            Some(promise) => Some(promised(&promise, &mut claim, object)?),
            None => foreign(&spec, &status, &claim, object)?,
        };
        let index = self.all.len();
        if let Some(name) = &claim.node_name {
            self.by_node.insert(name.clone(), index);
        }
        if let Some(id) = given(status.provider_id.as_ref()) {
            self.by_provider.insert(id.to_owned(), index);
        }
        if !claim.leaving {
            for (pod, uid) in pods {
                self.by_pod.entry(pod).or_default().push((uid, index));
            }
        }
        let node = node.filter(|_| claim.stands());
        self.all.push(claim);
        Ok(node)
    }

    /// The claim of a node.
    pub(super) fn of(&mut self, node: &Object) -> Result<Option<&Claim>> {
        let Provided { spec } = node.body()?;
        let provider = given(spec.provider_id.as_ref());
        let index = self.by_node.get(node.name());
        let index = index.or_else(|| self.by_provider.get(provider?)).copied();
        let claim = index.and_then(|index| self.all.get_mut(index));
        Ok(claim.map(|claim| {
            claim.node_name = Some(node.name().to_owned());
            &*claim
        }))
    }

    /// The claims whose nodes a pod waits for. One of the same name that was made later is another.
    pub(super) fn awaited(&self, pod: &Object) -> impl Iterator<Item = &Claim> {
        let uid = pod.meta.uid.as_deref().unwrap_or_default();
        let named = self.by_pod.get(pod.origin.name()).into_iter().flatten();
        let same = named.filter(move |(promised, _)| promised == uid);
        same.filter_map(|(_, index)| self.all.get(*index))
    }

    /// The claims.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.all.iter()
    }
}

/// What an annotation in JSON says.
fn written<T: serde::de::DeserializeOwned>(object: &Object, key: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let field = format!("metadata.annotations.{key}");
        object.origin.wrong(field, format!("can't be read: {error}: delete the claim"))
    })
}

/// The node that a claim of this crate promises.
fn promised(promise: &Promise, claim: &mut Claim, object: &Object) -> Result<Node> {
    let amounts = |of: &BTreeMap<String, u64>| {
        Resources::from_amounts(of.iter().map(|(name, amount)| (name.as_str(), *amount)))
    };
    claim.daemons = amounts(&promise.daemons);
    claim.price_micros = promise.price_micros;
    let mut node = Node::new(claim.node.as_str(), amounts(&promise.allocatable))
        .with_capacity(amounts(&promise.capacity));
    node.labels = promise.labels.labels();
    node.taints =
        taints(&promise.taints, &object.origin, &format!("metadata.annotations.{NODE} taints"))?;
    node.price_micros = promise.price_micros;
    let with_daemons = Node { used: claim.daemons.clone(), ..node.clone() };
    object.origin.check(&Input { nodes: vec![with_daemons], ..Input::default() })?;
    Ok(node)
}

/// The node of a claim that somebody else made, as far as that is known. It is full, for whoever
/// made it has pods for it.
fn foreign(
    spec: &ClaimSpec,
    status: &ClaimStatus,
    claim: &Claim,
    object: &Object,
) -> Result<Option<Node>> {
    let (Some(capacity), Some(allocatable)) = (&status.capacity, &status.allocatable) else {
        return Ok(None);
    };
    let mut node =
        Node::new(claim.node.as_str(), resources(allocatable, object, "status.allocatable")?)
            .with_capacity(resources(capacity, object, "status.capacity")?);
    node.labels = object.meta.labels.labels();
    node.taints = taints(&spec.taints, &object.origin, "spec.taints")?;
    object.origin.check(&Input { nodes: vec![node.clone()], ..Input::default() })?;
    fill(&mut node);
    Ok(Some(node))
}

/// What the annotation [`NODE`] says of a node, of which `used` is what daemons use.
#[cfg(feature = "kubernetes")]
pub(crate) fn promise(node: &Node) -> Value {
    let amounts = |of: &Resources| -> BTreeMap<String, u64> {
        of.amounts().map(|(name, amount)| (name.to_owned(), amount)).collect()
    };
    let labels: BTreeMap<&str, &str> =
        node.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
    let taint = |taint: &Taint| {
        let effect = format!("{:?}", taint.effect);
        json!({"key": &*taint.key, "value": &*taint.value, "effect": effect})
    };
    json!({
        "labels": labels,
        "taints": node.taints.iter().map(taint).collect::<Vec<_>>(),
        "capacity": amounts(&node.capacity),
        "allocatable": amounts(&node.allocatable),
        "daemons": amounts(&node.used),
        "priceMicros": node.price_micros,
    })
}

/// Whether a node that has come is what a pod that waited for it asks for.
pub(super) fn admits(node: &Node, pod: &Pod) -> bool {
    let holds = |r: &Requirement| r.holds(node.labels.get(&r.key).map(|value| &**value));
    let keeps_out = |effect: Effect| effect != Effect::PreferNoSchedule;
    let mut taints = node.taints.iter().filter(|taint| keeps_out(taint.effect));
    pod.requirements.iter().all(holds)
        && (pod.node_affinity.is_empty()
            || pod.node_affinity.iter().any(|term| term.iter().all(holds)))
        && taints.all(|taint| tolerates(&pod.tolerations, taint))
}
