//! A plan, carried out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::api::{Api, Right};
use super::claim;
use super::view::View;
use super::volumes::SELECTED_NODE;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{MAX_PROMISED, ON_ITS_WAY, PODS};
use crate::model::{Launch, Node, Plan, Pod, Target};

const CLAIMS: &str = "/apis/karpenter.sh/v1/nodeclaims";

/// A pod that is to be bound to a node that has come.
struct Bind {
    pod: Arc<str>,
    uid: String,
    node: Arc<str>,
    /// The paths of volume claims that are made on the node.
    volumes: Vec<String>,
}

/// What a plan means for what is there now.
#[derive(Default)]
struct Work {
    binds: Vec<Bind>,
    /// Pods for launches, by the launch's index, with their UIDs.
    launches: BTreeMap<usize, Map<String, Value>>,
    /// Pods that join those of claims, by the claim's name.
    joins: BTreeMap<String, Map<String, Value>>,
}

/// Binds pods to nodes that have come since they were promised to them.
pub(super) async fn settle(api: &Api, view: &View) -> Result<()> {
    let work = Work { binds: awaited(view), ..Work::default() };
    Failures::default().run(api, work).await
}

/// Carries a plan out, as far as it still fits, and settles what earlier ones promised.
///
/// What fails for good with one object is told at the end; what the server does not answer stops
/// everything, since the rest would not be answered either.
pub(super) async fn apply(api: &Api, view: &mut View, plan: &Plan) -> Result<()> {
    let mut work = sort(view, plan);
    work.binds.extend(awaited(view));
    let failures = Failures::default();
    for (index, pods) in std::mem::take(&mut work.launches) {
        if let Some(launch) = plan.launches.get(index) {
            failures.note(create(api, view, launch, &pods).await)?;
        }
    }
    for (name, pods) in std::mem::take(&mut work.joins) {
        failures.note(join(api, view, &name, pods).await)?;
    }
    failures.run(api, work).await
}

fn awaited(view: &View) -> Vec<Bind> {
    let come = view.survey.come.iter();
    let bind = |(pod, node): &(Arc<str>, Arc<str>)| Bind {
        pod: pod.clone(),
        uid: view.uids.get(pod).cloned().unwrap_or_default(),
        node: node.clone(),
        volumes: view.volumes.get(pod).cloned().unwrap_or_default(),
    };
    come.map(bind).collect()
}

/// What of a plan still fits. The view's nodes are then as they will be.
fn sort(view: &mut View, plan: &Plan) -> Work {
    let View { survey, claims, pools, uids, volumes } = view;
    let made = &mut survey.made;
    let mut pending: HashMap<&str, &Pod> = made.pods.iter().map(|p| (&*p.name, p)).collect();
    let mut nodes: HashMap<Arc<str>, &mut Node> =
        made.nodes.iter_mut().map(|node| (node.name.clone(), node)).collect();
    let of_launch =
        |launch: &Launch| pools.contains_key(&*launch.pool).then(|| launch.node("launch"));
    let mut launched: Vec<Option<Node>> = plan.launches.iter().map(of_launch).collect();
    let mut work = Work::default();
    for binding in &plan.bindings {
        let Some(pod) = pending.get(&*binding.pod).copied() else { continue };
        let node = match &binding.target {
            Target::Existing(name) => nodes.get_mut(name).map(|node| &mut **node),
            Target::Launch(index) => launched.get_mut(*index).and_then(Option::as_mut),
        };
        let Some(node) = node.filter(|node| !node.is_leaving()) else { continue };
        let uid = uids.get(&binding.pod).cloned().unwrap_or_default();
        let promised = match (&binding.target, node.name.strip_prefix(ON_ITS_WAY)) {
            (Target::Launch(index), _) => Some((work.launches.entry(*index).or_default(), 0)),
            (Target::Existing(_), Some(name)) => claims
                .get(name)
                .map(|claim| (work.joins.entry(name.to_owned()).or_default(), claim.pods.len())),
            (Target::Existing(_), None) => None,
        };
        let full = promised.as_ref().is_some_and(|(new, old)| new.len() + old >= MAX_PROMISED);
        if full || !node.take(&pod.requests, &binding.gpus) {
            continue;
        }
        pending.remove(&*binding.pod);
        if let Some((new, _)) = promised {
            new.insert(binding.pod.to_string(), uid.into());
        } else {
            let (pod, node) = (binding.pod.clone(), node.name.clone());
            let volumes = volumes.get(&pod).cloned().unwrap_or_default();
            work.binds.push(Bind { pod, uid, node, volumes });
        }
    }
    work.launches.retain(|_, pods| !pods.is_empty());
    work.joins.retain(|_, pods| !pods.is_empty());
    work
}

/// Makes the claim of a launch.
async fn create(api: &Api, view: &View, launch: &Launch, pods: &Map<String, Value>) -> Result<()> {
    let Some(pool) = view.pools.get(&*launch.pool) else { return Ok(()) };
    // A claim of the same name that was seen was for the same pods, and is of no use to them: it goes,
    // or its machine is not what was promised.
    let mut names = (0..u32::MAX).map(|attempt| claim::name(launch, pods, attempt));
    let Some(name) = names.find(|name| !view.claims.contains_key(name)) else { return Ok(()) };
    let claim = claim::claim(launch, &name, pool, pods, api.config().alternatives)?;
    let right = Right { verb: "create", resource: "nodeclaims.karpenter.sh" };
    api.create(CLAIMS.into(), &claim, right).await
}

/// Adds pods to those of a claim that is as it was read.
async fn join(api: &Api, view: &View, name: &str, pods: Map<String, Value>) -> Result<()> {
    let Some(claim) = view.claims.get(name) else { return Ok(()) };
    let mut all = claim.pods.clone();
    all.extend(pods);
    let patch = json!({"metadata": {
        "resourceVersion": claim.resource_version,
        "annotations": {PODS: Value::from(all).to_string()},
    }});
    let right = Right { verb: "patch", resource: "nodeclaims.karpenter.sh" };
    api.patch(format!("{CLAIMS}/{name}"), &patch, right).await
}

/// Binds a pod, unless it is bound or gone. Its volumes are told first.
async fn bind(api: &Api, bind: &Bind) -> Result<()> {
    let Some((namespace, name)) = bind.pod.split_once('/') else { return Ok(()) };
    for path in &bind.volumes {
        let change = json!({"metadata": {"annotations": {SELECTED_NODE: &*bind.node}}});
        let right = Right { verb: "patch", resource: "persistentvolumeclaims" };
        api.patch(path.clone(), &change, right).await?;
    }
    let mut metadata = json!({"namespace": namespace, "name": name});
    if !bind.uid.is_empty() {
        metadata["uid"] = bind.uid.as_str().into();
    }
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": metadata,
        "target": {"apiVersion": "v1", "kind": "Node", "name": &*bind.node},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
    let right = Right { verb: "create", resource: "pods/binding" };
    api.create(path, &binding, right).await
}

/// The first failure that is about one object.
#[derive(Default)]
struct Failures(Mutex<Option<Error>>);

impl Failures {
    /// Keeps a failure that is about one object, and gives back one that is about all.
    fn note(&self, result: Result<()>) -> Result<()> {
        match result {
            Err(error) if error.kind() != ErrorKind::Invalid => Err(error),
            Err(error) => {
                self.0.lock().get_or_insert(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Binds pods, eight at a time: one after the other, thousands would take a minute.
    async fn run(self, api: &Api, mut work: Work) -> Result<()> {
        // A volume that pods of several nodes share is made where the first of them is.
        let mut told = HashSet::new();
        for bind in &mut work.binds {
            bind.volumes.retain(|path| told.insert(path.clone()));
        }
        let queue = Mutex::new(work.binds.into_iter());
        let lane = || async {
            loop {
                let next = queue.lock().next();
                let Some(next) = next else { return Ok(()) };
                self.note(bind(api, &next).await)?;
            }
        };
        tokio::try_join!(lane(), lane(), lane(), lane(), lane(), lane(), lane(), lane())?;
        self.0.into_inner().map_or(Ok(()), Err)
    }
}
