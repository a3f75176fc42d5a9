//! Where pods go with respect to nodes and other pods.

use serde::Deserialize;

use super::decode::List;
use super::pod_spec::{PolicyName, SpreadConstraint, WhenName};
use super::pods::Template;
use super::selectors::{LabelSelector, NodeSelector, NodeSelectorTerm};
use super::world::World;
use crate::error::Result;
use crate::model::{
    Namespaces, NodeInclusion, Pod, PodAffinityTerm, TopologySpread, Weighted, WhenUnsatisfiable,
};

/// `affinity` of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Affinity {
    #[serde(rename = "nodeAffinity")]
    nodes: Option<NodeAffinity>,
    #[serde(rename = "podAffinity")]
    near: Option<PodAffinity>,
    #[serde(rename = "podAntiAffinity")]
    apart: Option<PodAffinity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelector>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    preferred: List<PreferredNode>,
}

#[derive(Debug, Deserialize)]
struct PreferredNode {
    weight: u32,
    preference: NodeSelectorTerm,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: List<PodTerm>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    preferred: List<PreferredPod>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreferredPod {
    weight: u32,
    pod_affinity_term: PodTerm,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodTerm {
    topology_key: String,
    label_selector: Option<LabelSelector>,
    #[serde(default)]
    namespaces: List<String>,
    namespace_selector: Option<LabelSelector>,
    #[serde(default)]
    match_label_keys: List<String>,
    #[serde(default)]
    mismatch_label_keys: List<String>,
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Adds to a pod what its template asks of places.
pub(super) fn relate(pod: &mut Pod, template: &Template<'_>, world: &mut World) -> Result<()> {
    if let Some(affinity) = &template.spec.affinity {
        let path = format!("{}.affinity", template.path);
        if let Some(nodes) = &affinity.nodes {
            to_nodes(pod, nodes, template, &format!("{path}.nodeAffinity"), world)?;
        }
        if let Some(pods) = &affinity.near {
            let path = format!("{path}.podAffinity");
            pod.pod_affinity = required(pods, template, &path, world, true)?;
            pod.preferences.pod_affinity = preferred(pods, template, &path, world)?;
        }
        if let Some(pods) = &affinity.apart {
            let path = format!("{path}.podAntiAffinity");
            pod.pod_anti_affinity = required(pods, template, &path, world, false)?;
            pod.preferences.pod_anti_affinity = preferred(pods, template, &path, world)?;
        }
    }
    for constraint in template.spec.topology_spread_constraints.iter() {
        match &constraint.label_selector {
            Some(selector) => pod.topology_spread.push(spread(constraint, selector, template)),
            None => {
                world.say("topologySpreadConstraints without labelSelector, which count no pod");
            }
        }
    }
    Ok(())
}

fn to_nodes(
    pod: &mut Pod,
    affinity: &NodeAffinity,
    template: &Template<'_>,
    path: &str,
    world: &World,
) -> Result<()> {
    let (origin, hostname) = (template.origin, |name: &str| world.hostname(name));
    if let Some(selector) = &affinity.required {
        let mut all = selector.alternatives(origin, &format!("{path}.{REQUIRED}"), hostname)?;
        match all.as_mut_slice() {
            [only] => pod.requirements.append(only),
            _ => pod.node_affinity = all,
        }
    }
    for (index, preferred) in affinity.preferred.iter().enumerate() {
        if !preferred.preference.is_empty() {
            let path = format!("{path}.{PREFERRED}[{index}].preference");
            let term = preferred.preference.requirements(origin, &path, hostname)?;
            pod.preferences.node_affinity.push(Weighted::new(preferred.weight, term));
        }
    }
    Ok(())
}

/// Terms that must hold. Without a selector a term means no pod: such an anti-affinity asks
/// nothing, and such an affinity is never met.
fn required(
    affinity: &PodAffinity,
    template: &Template<'_>,
    path: &str,
    world: &mut World,
    near: bool,
) -> Result<Vec<PodAffinityTerm>> {
    let mut all = Vec::new();
    for (index, term) in affinity.required.iter().enumerate() {
        let path = format!("{path}.{REQUIRED}[{index}]");
        match &term.label_selector {
            Some(selector) => all.push(term.convert(selector, template, &path, world)?),
            None if near => {
                let problem = "is not given, which no pod matches: name the pods";
                return Err(template.origin.wrong(format_args!("{path}.labelSelector"), problem));
            }
            None => world.say("podAntiAffinity without labelSelector, which matches no pod"),
        }
    }
    Ok(all)
}

fn preferred(
    affinity: &PodAffinity,
    template: &Template<'_>,
    path: &str,
    world: &mut World,
) -> Result<Vec<Weighted<PodAffinityTerm>>> {
    let mut all = Vec::new();
    for (index, preferred) in affinity.preferred.iter().enumerate() {
        let (term, path) =
            (&preferred.pod_affinity_term, format!("{path}.{PREFERRED}[{index}].podAffinityTerm"));
        match &term.label_selector {
            Some(selector) => {
                let term = term.convert(selector, template, &path, world)?;
                all.push(Weighted::new(preferred.weight, term));
            }
            None => world.say("preferences of pods without labelSelector, which match no pod"),
        }
    }
    Ok(all)
}

impl PodTerm {
    fn convert(
        &self,
        selector: &LabelSelector,
        template: &Template<'_>,
        path: &str,
        world: &World,
    ) -> Result<PodAffinityTerm> {
        let selector = selector.with_keys_of(
            template.labels,
            &self.match_label_keys,
            &self.mismatch_label_keys,
        );
        let mut term = PodAffinityTerm::new(self.topology_key.as_str(), selector);
        term.namespaces = self.namespaces(template, path, world)?;
        Ok(term)
    }

    /// The namespaces that are listed and those that the selector means; an empty selector means
    /// all of them.
    fn namespaces(&self, template: &Template<'_>, path: &str, world: &World) -> Result<Namespaces> {
        let mut listed: Vec<_> = self.namespaces.iter().map(|name| name.as_str().into()).collect();
        match &self.namespace_selector {
            None if listed.is_empty() => return Ok(Namespaces::Own),
            None => {}
            Some(selector) if selector.is_empty() => return Ok(Namespaces::All),
            Some(selector) => {
                let mut meant = world.namespaces_matching(&selector.selector());
                if meant.is_empty() {
                    let problem = "matches no Namespace that was read: add the Namespace";
                    let field = format_args!("{path}.namespaceSelector");
                    return Err(template.origin.wrong(field, problem));
                }
                listed.append(&mut meant);
            }
        }
        listed.sort();
        listed.dedup();
        Ok(Namespaces::Listed(listed))
    }
}

fn spread(
    constraint: &SpreadConstraint,
    selector: &LabelSelector,
    template: &Template<'_>,
) -> TopologySpread {
    let selector = selector.with_keys_of(template.labels, &constraint.match_label_keys, &[]);
    let mut spread =
        TopologySpread::new(constraint.topology_key.as_str(), selector, constraint.max_skew);
    spread.when_unsatisfiable = match constraint.when_unsatisfiable {
        WhenName::DoNotSchedule => WhenUnsatisfiable::DoNotSchedule,
        WhenName::ScheduleAnyway => WhenUnsatisfiable::ScheduleAnyway,
    };
    spread.min_domains = constraint.min_domains;
    let policy = |name| match name {
        PolicyName::Honor => NodeInclusion::Honor,
        PolicyName::Ignore => NodeInclusion::Ignore,
    };
    if let Some(name) = constraint.node_affinity_policy {
        spread.node_affinity_policy = policy(name);
    }
    if let Some(name) = constraint.node_taints_policy {
        spread.node_taints_policy = policy(name);
    }
    spread
}
