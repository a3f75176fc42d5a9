//! Groups of pods that run together or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::decode::List;
use super::object::{Object, Origin};
use super::pods::Template;
use crate::error::Result;
use crate::model::Gang;

/// Annotations and labels by which pods name their group: Volcano's two, then those of
/// scheduler-plugins.
const ANNOTATIONS: [&str; 2] = ["scheduling.k8s.io/group-name", "scheduling.volcano.sh/group-name"];
const LABELS: [&str; 2] = ["scheduling.x-k8s.io/pod-group", "pod-group.scheduling.sigs.k8s.io"];

/// The groups that were read.
#[derive(Default)]
pub(super) struct Gangs {
    gangs: BTreeMap<Arc<str>, Gang>,
    /// Groups by name, with how many of their pods must run together; `None` is any number.
    groups: BTreeMap<String, Option<u32>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodGroup {
    spec: PodGroupSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodGroupSpec {
    min_member: Option<u32>,
    scheduling_policy: Option<Policy>,
    scheduling_constraints: Option<Constraints>,
    network_topology: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Policy {
    gang: Option<GangPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GangPolicy {
    min_count: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Constraints {
    topology: List<TopologyKey>,
}

#[derive(Deserialize)]
struct TopologyKey {
    #[serde(alias = "level")]
    key: String,
}

/// `Workload` of scheduling.k8s.io/v1alpha1; later versions have `PodGroup` beside it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Workload {
    spec: WorkloadSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WorkloadSpec {
    pod_groups: List<WorkloadGroup>,
}

#[derive(Deserialize)]
struct WorkloadGroup {
    name: String,
    #[serde(default)]
    policy: Policy,
}

impl Gangs {
    /// Adds a gang, unless there is one of that name.
    pub(super) fn add(&mut self, gang: Gang, origin: &Origin) -> Result<()> {
        if self.gangs.contains_key(&gang.name) {
            let problem = format!("{} is the name of another gang: rename one", gang.name);
            return Err(origin.wrong("metadata.name", problem));
        }
        self.groups.insert(gang.name.to_string(), Some(gang.min_member));
        self.gangs.insert(gang.name.clone(), gang);
        Ok(())
    }

    /// A `PodGroup` of Volcano or scheduler-plugins, whose `minMember` is 1 unless it says more.
    /// Returns whether it has a network topology, which is read past.
    pub(super) fn add_counted(&mut self, object: &Object) -> Result<bool> {
        let PodGroup { spec } = object.body()?;
        let min_member = spec.min_member.unwrap_or(1);
        self.add(
            Gang::new(object.id(), positive(object, "spec.minMember", min_member)?),
            &object.origin,
        )?;
        Ok(spec.network_topology.is_some())
    }

    /// A `PodGroup` of Kubernetes itself (KEP-4671, KEP-5732).
    pub(super) fn add_native(&mut self, object: &Object) -> Result<()> {
        let PodGroup { spec } = object.body()?;
        let constraints = spec.scheduling_constraints.unwrap_or_default();
        let Some(policy) = spec.scheduling_policy.and_then(|policy| policy.gang) else {
            self.groups.insert(object.id().to_string(), None);
            return Ok(());
        };
        let field = "spec.schedulingPolicy.gang.minCount";
        let mut gang = Gang::new(object.id(), positive(object, field, policy.min_count)?);
        for topology in constraints.topology.iter() {
            gang = gang.within(topology.key.as_str());
        }
        self.add(gang, &object.origin)
    }

    /// A `Workload`, whose groups are named `namespace/workload/group`.
    pub(super) fn add_workload(&mut self, object: &Object) -> Result<()> {
        let Workload { spec } = object.body()?;
        for (index, group) in spec.pod_groups.iter().enumerate() {
            let field = format!("spec.podGroups[{index}].policy.gang.minCount");
            let count =
                group.policy.gang.as_ref().map(|gang| positive(object, &field, gang.min_count));
            self.groups.insert(format!("{}/{}", object.id(), group.name), count.transpose()?);
        }
        Ok(())
    }

    /// Whether there is a gang of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.gangs.contains_key(name)
    }

    /// The gang that a pod names.
    pub(super) fn of(&mut self, template: &Template<'_>) -> Result<Option<Arc<str>>> {
        let Some((field, group, key)) = named(template) else {
            return Ok(None);
        };
        let count = *self.groups.get(&group).ok_or_else(|| {
            let problem = format!("names the group {group}, which was not read: add it");
            template.origin.wrong(field, problem)
        })?;
        let name: Arc<str> = match key {
            Some(key) => format!("{group}/{key}").into(),
            None => group.into(),
        };
        let Some(count) = count else {
            return Ok(None);
        };
        let gang = Gang::new(name.clone(), count);
        self.gangs.entry(name.clone()).or_insert(gang);
        Ok(Some(name))
    }

    /// The gangs by name.
    pub(super) fn take(&mut self) -> Vec<Gang> {
        std::mem::take(&mut self.gangs).into_values().collect()
    }
}

fn positive(object: &Object, field: &str, count: u32) -> Result<u32> {
    if count == 0 {
        return Err(object.origin.wrong(field, "is 0: set it to at least 1"));
    }
    Ok(count)
}

/// Where a pod names a group, which one, and which of its replicas.
fn named(template: &Template<'_>) -> Option<(String, String, Option<String>)> {
    let Template { spec, namespace, path, meta_path, .. } = template;
    if let Some(of) = &spec.workload_ref {
        let group = format!("{namespace}/{}/{}", of.name, of.pod_group);
        return Some((format!("{path}.workloadRef"), group, of.pod_group_replica_key.clone()));
    }
    let native = spec.scheduling_group.as_ref().and_then(|group| group.pod_group_name.as_deref());
    if let Some(name) = native {
        let field = format!("{path}.schedulingGroup.podGroupName");
        return Some((field, format!("{namespace}/{name}"), None));
    }
    let annotated = ANNOTATIONS
        .iter()
        .find_map(|key| Some(("annotations", key, template.annotations.get(key)?)));
    let labelled =
        || LABELS.iter().find_map(|key| Some(("labels", key, template.labels.get(key)?)));
    let (of, key, name) = annotated.or_else(labelled)?;
    Some((format!("{meta_path}.{of}.{key}"), format!("{namespace}/{name}"), None))
}
