//! What must be true at the end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use binpack::{Binding, Input, Plan, Target};
use bytes::Bytes;
use futures_util::StreamExt;
use kv_journal::{Config, Event, FileConfig, FileJournal, KeyRange, KeyValue, RangeRequest, Store};
use kv_journal::{RangeResponse, WatchRequest};
use trestle_examples::cluster_view::ClusterView;
use trestle_examples::objects::{NodeObject, PODS, decode, node_key, node_name};
use watch_cache::{At, Cache, ListRequest};

use crate::fleet::Fleet;
use trestle_examples::fail::{Context, Fail, Result};

/// The prefix that everything is kept under.
pub(crate) const REGISTRY: &str = "/registry/";

/// What was checked and what was found broken.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) done: Vec<String>,
    pub(crate) broken: Vec<String>,
}

impl Checks {
    /// Adds a check that found `broken`.
    pub(crate) fn add(&mut self, what: String, broken: impl IntoIterator<Item = String>) {
        self.broken.extend(broken);
        self.done.push(what);
    }

    /// Every pod got a node once and kept it, over the whole history in the store.
    pub(crate) async fn bound_once(&mut self, store: &Store, pods: usize) -> Result<()> {
        let what = || "history of the pods".to_owned();
        let request =
            WatchRequest::new(KeyRange::prefix(PODS)).from_revision(1).progress_on_advance();
        let mut watcher = store.watch(request).context(what)?;
        let (end, mut nodes) = (store.revision(), HashMap::new());
        let mut broken = Vec::new();
        while let Some(batch) = watcher.next().await {
            let batch = batch.context(what)?;
            broken.extend(batch.events.iter().filter_map(|event| rebound(&mut nodes, event)));
            if batch.revision >= end {
                break;
            }
        }
        let bound = nodes.len();
        if bound != pods {
            broken.push(format!("{bound} pods were bound, {pods} were written"));
        }
        self.add(format!("{bound} pods were bound, each once, up to revision {end}"), broken);
        Ok(())
    }

    /// Every pod fits where it was bound, by a validator that shares no code with the packer.
    pub(crate) fn fits(&mut self, view: &ClusterView, cache: &Cache) -> Result<()> {
        let mut input = Input::default();
        for name in view.nodes.keys() {
            let object = cache.get(&node_key(name)).ok_or_else(|| Fail::new("a node is gone"))?;
            let node: NodeObject = decode(object.value()).context(|| format!("node {name}"))?;
            input.nodes.push(node.node());
        }
        let mut plan = Plan::default();
        for (name, pod) in &view.bound {
            input.pods.push(pod.object.pod());
            let node = pod.object.spec.node_name.as_deref().unwrap_or_default();
            let target = Target::Existing(node.into());
            plan.bindings.push(Binding::new(name.as_str(), target, pod.object.spec.gpus.clone()));
        }
        let breaches = binpack::breaches(&input, &plan);
        let broken = breaches.iter().map(ToString::to_string).chain(view.wrong.iter().cloned());
        let (pods, nodes) = (plan.bindings.len(), input.nodes.len());
        self.add(format!("{pods} pods fit on {nodes} nodes"), broken);
        Ok(())
    }

    /// The cache holds what the store holds, at one revision.
    pub(crate) async fn cache_equals_store(&mut self, cache: &Cache, store: &Store) -> Result<()> {
        let what = || "comparing cache and store".to_owned();
        let listed = cache.list(ListRequest::new(REGISTRY)).await.context(what)?;
        let revision = listed.revision;
        let exact = ListRequest::new(REGISTRY).at(At::Exactly(revision));
        let cached = cache.list(exact).await.context(what)?.objects;
        let request = RangeRequest::new(KeyRange::prefix(REGISTRY)).at(revision);
        let stored = store.range(request).context(what)?.kvs;
        let equal = cached.len() == stored.len()
            && cached.iter().zip(&stored).all(|(object, kv)| {
                (object.key(), object.value()) == (kv.key(), kv.value())
                    && object.mod_revision() == kv.mod_revision()
                    && object.create_revision() == kv.create_revision()
            });
        let broken = (!equal).then(|| {
            let (cached, stored) = (cached.len(), stored.len());
            format!(
                "revision {revision}: the cache's {cached} objects are not the store's {stored}"
            )
        });
        self.add(format!("cache equals store at revision {revision}"), broken);
        Ok(())
    }

    /// Every byte read of the image and every address resolved was right, and every pod was
    /// started by the node that it was bound to.
    pub(crate) fn nodes_saw(&mut self, fleet: &Fleet, view: &ClusterView) {
        let wrong = fleet.seen.wrong.lock().clone();
        let blobs = fleet.seen.blobs.lock().len();
        self.add(format!("every byte read on {blobs} nodes and every address was right"), wrong);
        let started = fleet.seen.started.lock();
        let elsewhere = view.bound.iter().filter_map(|(name, pod)| {
            let (node, on) = (pod.object.spec.node_name.as_ref(), started.get(name));
            (node != on).then(|| format!("pod {name}, bound to {node:?}, was started on {on:?}"))
        });
        let elsewhere: Vec<_> = elsewhere.collect();
        self.add(format!("{} pods were started where they were bound", started.len()), elsewhere);
    }

    /// The store that is opened from the journal again is the one that was closed.
    pub(crate) async fn recovers(&mut self, journal: &Path, before: &RangeResponse) -> Result<()> {
        let what = || format!("reopening {}", journal.display());
        let reopened = FileJournal::open(journal, FileConfig::default()).await.context(what)?;
        let (store, driver) =
            Store::open(Arc::new(reopened), Config::default()).await.context(what)?;
        let after = store.range(KeyRange::all()).context(what)?;
        let broken = difference(before, &after).map(|difference| format!("reopened: {difference}"));
        self.add(
            format!("store recovers {} keys at revision {}", after.count, after.revision),
            broken,
        );
        drop(store);
        driver.await.context(what)
    }
}

/// What an event does to a pod that must not be done.
fn rebound(nodes: &mut HashMap<Bytes, Bytes>, event: &Event) -> Option<String> {
    let pod = || String::from_utf8_lossy(event.kv.key());
    match (node_name(event.kv.value()), nodes.get(event.kv.key())) {
        (Some(now), Some(before)) if now != *before => {
            Some(format!("{} was bound to {before:?} and then to {now:?}", pod()))
        }
        (None, Some(before)) => Some(format!("{} lost its node {before:?}", pod())),
        (Some(now), None) => {
            nodes.insert(event.kv.key_bytes(), now);
            None
        }
        _ => None,
    }
}

fn difference(before: &RangeResponse, after: &RangeResponse) -> Option<String> {
    if before.revision != after.revision {
        return Some(format!("revision {} instead of {}", after.revision, before.revision));
    }
    let same = |(a, b): (&KeyValue, &KeyValue)| a == b;
    let equal = before.kvs.len() == after.kvs.len() && before.kvs.iter().zip(&after.kvs).all(same);
    (!equal).then(|| format!("{} keys differ from the {}", after.kvs.len(), before.kvs.len()))
}
