//! `LeaderWorkerSet`: groups of one leader and its workers, each of which runs as a whole.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::crowd::Crowd;
use super::decode::Strings;
use super::object::Object;
use super::pod_spec::PodTemplate;
use super::pods::{Mould, Template};
use super::world::World;
use crate::error::Result;
use crate::model::{Gang, LabelSelector, Pod, PodAffinityTerm, Requirement};

const NAME: &str = "leaderworkerset.sigs.k8s.io/name";
const GROUP_INDEX: &str = "leaderworkerset.sigs.k8s.io/group-index";
const WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// Tells groups of all sets apart. It is a hash in a cluster, and the leader's name here.
const GROUP_KEY: &str = "leaderworkerset.sigs.k8s.io/group-key";
const EXCLUSIVE_TOPOLOGY: &str = "leaderworkerset.sigs.k8s.io/exclusive-topology";

/// A set that is read.
struct LeaderWorkerSet<'a> {
    object: &'a Object,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    replicas: Option<u32>,
    leader_worker_template: Templates,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Templates {
    leader_template: Option<PodTemplate>,
    worker_template: Option<PodTemplate>,
    size: Option<u32>,
    sub_group_policy: Option<IgnoredAny>,
}

/// The gang of a pod that a `LeaderWorkerSet` has made.
pub(super) fn gang_of_replica(namespace: &str, labels: &Strings) -> Option<Arc<str>> {
    let (set, group) = (labels.get(NAME)?, labels.get(GROUP_INDEX)?);
    Some(format!("{namespace}/{set}-{group}").into())
}

/// Adds the gangs of a set, and their pods unless it has made them itself.
pub(super) fn add(object: &Object, world: &mut World, crowd: &mut Crowd, live: bool) -> Result<()> {
    let Body { spec } = object.body()?;
    let set = LeaderWorkerSet { object, spec };
    if set.size() == 0 {
        let problem = "is 0: a group has at least its leader";
        return Err(object.origin.wrong("spec.leaderWorkerTemplate.size", problem));
    }
    let pods = u64::from(set.groups()).saturating_mul(u64::from(set.size()));
    crowd.reserve(object, "spec.replicas times size", pods)?;
    if set.spec.leader_worker_template.sub_group_policy.is_some() {
        world.say("LeaderWorkerSet spec.leaderWorkerTemplate.subGroupPolicy");
    }
    crowd.note_set(object);
    (0..set.groups()).try_for_each(|group| {
        world.gangs.add(set.gang(group), &object.origin)?;
        if live { Ok(()) } else { set.add_group(group, world, crowd) }
    })
}

/// The set that an object belongs to, by its namespace and name.
pub(super) fn set_of(object: &Object) -> Option<String> {
    object.meta.labels.get(NAME).map(|set| format!("{}/{set}", object.namespace()))
}

impl LeaderWorkerSet<'_> {
    fn groups(&self) -> u32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn size(&self) -> u32 {
        self.spec.leader_worker_template.size.unwrap_or(1)
    }

    fn exclusive_topology(&self) -> Option<&str> {
        self.object.meta.annotations.get(EXCLUSIVE_TOPOLOGY).filter(|key| !key.is_empty())
    }

    fn gang(&self, group: u32) -> Gang {
        let gang = Gang::new(format!("{}-{group}", self.object.id()), self.size());
        match self.exclusive_topology() {
            Some(topology) => gang.within(topology),
            None => gang,
        }
    }

    /// Adds a leader and its workers. Where only one template is given, all members have it.
    fn add_group(&self, group: u32, world: &mut World, crowd: &mut Crowd) -> Result<()> {
        let templates = &self.spec.leader_worker_template;
        let leader = templates.leader_template.as_ref().map(|t| (t, "leaderTemplate"));
        let worker = templates.worker_template.as_ref().map(|t| (t, "workerTemplate"));
        let (Some(leader), Some(worker)) = (leader.or(worker), worker.or(leader)) else {
            let problem = "has neither a leaderTemplate nor a workerTemplate: write one";
            return Err(self.object.origin.wrong("spec.leaderWorkerTemplate", problem));
        };
        let leader_name = format!("{}-{group}", self.object.name());
        if let Some(mould) = self.mould(leader, &leader_name, group, world)? {
            let pod = mould.cast(&leader_name, world).with_label(WORKER_INDEX, "0");
            crowd.add_named(self.object, self.member(pod, &leader_name))?;
        }
        if self.size() == 1 {
            return Ok(());
        }
        if let Some(mould) = self.mould(worker, &leader_name, group, world)? {
            for index in 1..self.size() {
                let pod = mould.cast(&format!("{leader_name}-{index}"), world);
                let pod = pod.with_label(WORKER_INDEX, index.to_string());
                crowd.add_named(self.object, self.member(pod, &leader_name))?;
            }
        }
        Ok(())
    }

    fn mould(
        &self,
        (template, name): (&PodTemplate, &str),
        leader_name: &str,
        group: u32,
        world: &mut World,
    ) -> Result<Option<Mould>> {
        let path = format!("spec.leaderWorkerTemplate.{name}");
        let object = self.object;
        let mut template = Template::of(template, &path, &object.origin, object.namespace());
        let group = group.to_string();
        let labels =
            [(NAME, object.name()), (GROUP_INDEX, group.as_str()), (GROUP_KEY, leader_name)];
        let labels = template.labels.with(labels);
        template.labels = &labels;
        template.mould(world)
    }

    /// The pod as a member of its group's gang. With an exclusive topology it also keeps away from
    /// all other groups, as the set's webhook has it.
    fn member(&self, pod: Pod, leader_name: &str) -> Pod {
        let gang = format!("{}/{leader_name}", pod.namespace);
        let pod = pod.in_gang(gang);
        let Some(topology) = self.exclusive_topology() else {
            return pod;
        };
        let others = LabelSelector {
            requirements: vec![
                Requirement::exists(GROUP_KEY),
                Requirement::not_in(GROUP_KEY, [leader_name]),
            ],
        };
        pod.apart_from(PodAffinityTerm::new(topology, others))
    }
}
