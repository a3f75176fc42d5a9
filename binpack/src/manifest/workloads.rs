//! What makes pods from a template.

use serde::Deserialize;

use super::crowd::Crowd;
use super::decode::List;
use super::nodes::Condition;
use super::object::Object;
use super::pod_spec::{ClaimTemplate, PodTemplate};
use super::pods::Template;
use super::storage::Claim;
use super::world::World;
use crate::error::Result;
use crate::model::{Effect, Input, Pod, Toleration};

/// The taints that every pod of a daemon accepts, as the `DaemonSet` controller has it.
const OF_DAEMONS: [(&str, Effect); 6] = [
    ("node.kubernetes.io/not-ready", Effect::NoExecute),
    ("node.kubernetes.io/unreachable", Effect::NoExecute),
    ("node.kubernetes.io/disk-pressure", Effect::NoSchedule),
    ("node.kubernetes.io/memory-pressure", Effect::NoSchedule),
    ("node.kubernetes.io/pid-pressure", Effect::NoSchedule),
    ("node.kubernetes.io/unschedulable", Effect::NoSchedule),
];

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
const JOB_NAMES: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// A `Deployment` or `ReplicaSet`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Replicated {
    spec: ReplicatedSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReplicatedSpec {
    replicas: Option<u64>,
    template: PodTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatefulSet {
    spec: StatefulSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatefulSpec {
    replicas: Option<u64>,
    ordinals: Option<Ordinals>,
    template: PodTemplate,
    volume_claim_templates: List<ClaimTemplate>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ordinals {
    start: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DaemonSet {
    spec: DaemonSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DaemonSpec {
    template: PodTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Job {
    spec: JobSpec,
    status: JobStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    parallelism: Option<u64>,
    completions: Option<u64>,
    suspend: Option<bool>,
    template: PodTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    succeeded: Option<u64>,
    conditions: List<Condition>,
}

/// Adds the pods of a `Deployment` or `ReplicaSet`.
pub(super) fn replicated(object: &Object, world: &mut World, crowd: &mut Crowd) -> Result<()> {
    if crowd.delegates(object) {
        return Ok(());
    }
    let Replicated { spec } = object.body()?;
    let template = template(&spec.template, object);
    crowd.add_alike(object, &template, "spec.replicas", spec.replicas.unwrap_or(1), world)
}

/// Adds the pods that a `Job` still has to run at a time.
pub(super) fn job(object: &Object, world: &mut World, crowd: &mut Crowd) -> Result<()> {
    let Job { spec, status } = object.body()?;
    let over = |c: &Condition| matches!(&*c.name, "Complete" | "Failed") && c.status == "True";
    if spec.suspend == Some(true) || status.conditions.iter().any(over) {
        world.say("Jobs that are suspended or over");
        return Ok(());
    }
    let left = spec.completions.map(|all| all.saturating_sub(status.succeeded.unwrap_or(0)));
    let count = spec.parallelism.unwrap_or(1).min(left.unwrap_or(u64::MAX));
    let mut template = template(&spec.template, object);
    let labels = template.labels.with(JOB_NAMES.map(|key| (key, object.name())));
    template.labels = &labels;
    crowd.add_alike(object, &template, "spec.parallelism", count, world)
}

/// Adds the pods of a `StatefulSet`, each with claims of its own.
pub(super) fn stateful(object: &Object, world: &mut World, crowd: &mut Crowd) -> Result<()> {
    if crowd.is_of_set(object) {
        return Ok(());
    }
    let StatefulSet { spec } = object.body()?;
    let count = spec.replicas.unwrap_or(1);
    crowd.reserve(object, "spec.replicas", count)?;
    let Some(mut mould) = template(&spec.template, object).mould(world)? else {
        return Ok(());
    };
    mould.claims.extend(spec.volume_claim_templates.iter().map(claim_of_each));
    let first = spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0);
    for ordinal in first..first.saturating_add(count) {
        let name = format!("{}-{ordinal}", object.name());
        let pod = mould.cast(&name, world);
        let pod = pod.with_label(POD_NAME, name).with_label(POD_INDEX, ordinal.to_string());
        crowd.add_named(object, pod)?;
    }
    Ok(())
}

/// The claim that each pod of a `StatefulSet` has by a template.
fn claim_of_each(template: &ClaimTemplate) -> Claim {
    let name = template.metadata.as_ref().and_then(|meta| meta.name.as_deref());
    let class = template.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
    Claim::Each { before: format!("{}-", name.unwrap_or_default()), after: String::new(), class }
}

/// The pod that a `DaemonSet` has on each node.
pub(super) fn daemon(object: &Object, world: &mut World) -> Result<Option<Pod>> {
    let DaemonSet { spec } = object.body()?;
    let Some(mould) = template(&spec.template, object).mould(world)? else {
        return Ok(None);
    };
    let mut pod = mould.cast(object.name(), world);
    let accepted = OF_DAEMONS.map(|(key, effect)| Toleration::exists(key).for_effect(effect));
    pod.tolerations.extend(accepted);
    object.origin.check(&Input { daemons: vec![pod.clone()], ..Input::default() })?;
    Ok(Some(pod))
}

fn template<'a>(template: &'a PodTemplate, object: &'a Object) -> Template<'a> {
    Template::of(template, "spec.template", &object.origin, object.namespace())
}
