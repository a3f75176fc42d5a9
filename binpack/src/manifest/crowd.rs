//! The pods that are made, and which of them were there already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::leader_worker_set::set_of;
use super::object::{Meta, Object};
use super::pods::Template;
use super::world::World;
use crate::error::Result;
use crate::model::Pod;

/// The most pods: six times what Kubernetes supports in a cluster. More is a mistake in a number.
const MAX_PODS: u64 = 1_000_000;

/// The label by which the pods of a `Deployment`'s `ReplicaSet` know its template.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The pods that wait, and those that were read, so that a workload makes only those that are not
/// there: a dump of a cluster has both.
#[derive(Default)]
pub(super) struct Crowd {
    pods: Vec<Pod>,
    /// Names of pods, those that run included.
    names: HashSet<Arc<str>>,
    /// Names of pods that were read.
    read: HashSet<Arc<str>>,
    /// How many pods were read of a controller, by its kind and name.
    children: HashMap<(String, String), u64>,
    /// Controllers of which objects were read that make pods in their place.
    delegating: HashSet<(String, String)>,
    /// Names of `LeaderWorkerSet`s, whose `StatefulSet`s make no other pods than they do.
    sets: HashSet<String>,
}

impl Crowd {
    /// Notes a pod that was read, and that it is one of its controller's unless it is about to go.
    pub(super) fn note(&mut self, object: &Object) {
        let id = object.id();
        self.names.insert(id.clone());
        self.read.insert(id);
        if object.meta.deletion_timestamp.is_some() {
            return;
        }
        for controller in controllers(&object.meta, object.namespace()) {
            *self.children.entry(controller).or_default() += 1;
        }
    }

    /// Notes an object that makes pods for its controller.
    pub(super) fn note_maker(&mut self, object: &Object) {
        self.delegating.extend(controllers(&object.meta, object.namespace()));
    }

    /// Whether objects were read that make its pods.
    pub(super) fn delegates(&self, object: &Object) -> bool {
        self.delegating.contains(&(object.origin.kind().to_owned(), object.id().to_string()))
    }

    /// Notes a `LeaderWorkerSet`.
    pub(super) fn note_set(&mut self, object: &Object) {
        self.sets.insert(object.id().to_string());
    }

    /// Whether it is part of a `LeaderWorkerSet` that was read.
    pub(super) fn is_of_set(&self, object: &Object) -> bool {
        set_of(object).is_some_and(|set| self.sets.contains(&set))
    }

    /// Adds a pod that was read.
    pub(super) fn add_read(&mut self, object: &Object, pod: Pod) -> Result<()> {
        self.reserve(object, "the pod", 1)?;
        self.pods.push(pod);
        Ok(())
    }

    /// Adds a pod whose name its workload chose, unless it was read.
    pub(super) fn add_named(&mut self, object: &Object, pod: Pod) -> Result<()> {
        if self.read.contains(&pod.name) {
            return Ok(());
        }
        if !self.names.insert(pod.name.clone()) {
            let problem =
                format!("makes the pod {}, which another makes as well: rename one", pod.name);
            return Err(object.origin.wrong("metadata.name", problem));
        }
        self.pods.push(pod);
        Ok(())
    }

    /// Adds those of `count` pods of a template that were not read.
    pub(super) fn add_alike(
        &mut self,
        object: &Object,
        template: &Template<'_>,
        field: &str,
        count: u64,
        world: &mut World,
    ) -> Result<()> {
        let own = (object.origin.kind().to_owned(), object.id().to_string());
        let missing = count.saturating_sub(self.children.get(&own).copied().unwrap_or(0));
        self.reserve(object, field, missing)?;
        let Some(mould) = template.mould(world)? else {
            return Ok(());
        };
        let (mut index, mut made) = (0_u64, 0);
        while made < missing {
            let pod = mould.cast(&format!("{}-{index}", object.name()), world);
            index += 1;
            if self.names.insert(pod.name.clone()) {
                self.pods.push(pod);
                made += 1;
            }
        }
        Ok(())
    }

    /// Refuses more pods than any cluster has, before they are made.
    pub(super) fn reserve(&self, object: &Object, field: &str, count: u64) -> Result<()> {
        if count.saturating_add(self.pods.len() as u64) > MAX_PODS {
            let problem = format!("makes more than {MAX_PODS} pods in all: lower it");
            return Err(object.origin.wrong(field, problem));
        }
        Ok(())
    }

    /// The pods.
    pub(super) fn into_pods(self) -> Vec<Pod> {
        self.pods
    }
}

/// The controller of an object, by kind and name, and the `Deployment` above a `ReplicaSet`.
fn controllers(meta: &Meta, namespace: &str) -> impl Iterator<Item = (String, String)> {
    let controller = meta.controller();
    let direct = controller.map(|of| (of.kind.clone(), format!("{namespace}/{}", of.name)));
    let deployment = controller.filter(|of| of.kind == "ReplicaSet").and_then(|of| {
        let name = of.name.strip_suffix(meta.labels.get(TEMPLATE_HASH)?)?.strip_suffix('-')?;
        Some(("Deployment".to_owned(), format!("{namespace}/{name}")))
    });
    direct.into_iter().chain(deployment)
}
