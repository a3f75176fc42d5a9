//! Seeded workloads for `watch-cache`, and a source that has them ready.

mod stack;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::broadcast;
use watch_cache::{
    Change, CurrentRevision, Events, Freshness, Index, Listing, Result, Revision, Source,
    SourceEvent, SourceObject,
};

use crate::SEED;

pub use stack::{Stack, open, script};

/// The keys of pods start with it.
pub const PODS: &str = "/registry/pods/";

/// The key of a pod, as an API server has it.
#[must_use]
pub fn pod_key(pod: u32) -> Bytes {
    format!("{PODS}team-{:04}/worker-{pod:06}", pod % 400).into()
}

/// The name of a node.
#[must_use]
pub fn node_name(node: u32) -> String {
    format!("node-{node:06}")
}

/// A pod of about 1 KB: the node's name, a line feed, the phase, a line feed, and bytes.
#[must_use]
pub fn pod_value(node: u32, version: u32) -> Bytes {
    let phase = PHASES[version as usize % PHASES.len()];
    format!("{}\n{phase}\n{version:0>1000}", node_name(node)).into()
}

const PHASES: [&str; 4] = ["Running", "Pending", "Succeeded", "Failed"];

/// The index of pods by node.
#[must_use]
pub fn by_node() -> Index {
    line("spec.nodeName", 0)
}

/// The index of pods by phase, which has few values.
#[must_use]
pub fn by_phase() -> Index {
    line("status.phase", 1)
}

fn line(name: &'static str, line: usize) -> Index {
    Index::new(name, move |pod| pod.value.split(|byte| *byte == b'\n').nth(line).map(Cow::Borrowed))
}

/// Writes to pods drawn evenly: the pod and its node.
#[must_use]
pub fn writes(count: usize, pods: u32, nodes: u32) -> Vec<(u32, u32)> {
    let mut rng = StdRng::seed_from_u64(SEED);
    (0..count).map(|_| (rng.random_range(0..pods), rng.random_range(0..nodes))).collect()
}

/// A source whose revisions are made before they are told, so that nothing but the cache takes time.
#[derive(Debug)]
pub struct Script {
    pods: u32,
    nodes: u32,
    told: AtomicU64,
    revisions: broadcast::Sender<Arc<[Revision]>>,
}

/// The revision of a [`Script`]'s listing.
pub const LISTED: u64 = 1_000_000;

impl Script {
    /// So many pods, spread over so many nodes.
    #[must_use]
    pub fn new(pods: u32, nodes: u32) -> Self {
        Self { pods, nodes, told: AtomicU64::new(LISTED), revisions: broadcast::Sender::new(1024) }
    }

    /// The next revisions: writes to pods drawn evenly, a tenth of which change the phase and a
    /// hundredth the node, as updates of a status do.
    #[must_use]
    pub fn revisions(&self, count: u32) -> Arc<[Revision]> {
        let first = self.told.load(Ordering::Relaxed) + 1;
        let mut rng = StdRng::seed_from_u64(SEED ^ first);
        (first..first + u64::from(count))
            .map(|revision| {
                let pod = rng.random_range(0..self.pods);
                let moved = u32::from(rng.random_range(0..100) == 0);
                let phase = u32::from(rng.random_range(0..10) == 0);
                let pod = self.pod(pod, moved, phase, revision);
                Revision { revision, changes: vec![Change::Put(pod)] }
            })
            .collect()
    }

    /// A revision that writes one pod of a node.
    #[must_use]
    pub fn write_to(&self, node: u32) -> Arc<[Revision]> {
        let revision = self.told.load(Ordering::Relaxed) + 1;
        let pod = self.pod(node, 0, 0, revision);
        [Revision { revision, changes: vec![Change::Put(pod)] }].into()
    }

    fn pod(&self, pod: u32, moved: u32, phase: u32, mod_revision: u64) -> SourceObject {
        made(pod, (pod + moved) % self.nodes, phase, mod_revision)
    }

    /// Tells revisions, and returns the last.
    pub fn tell(&self, revisions: &Arc<[Revision]>) -> u64 {
        if let Some(last) = revisions.last() {
            self.told.store(last.revision, Ordering::Relaxed);
        }
        // Nobody listens before the cache does.
        let _ = self.revisions.send(Arc::clone(revisions));
        self.told.load(Ordering::Relaxed)
    }

    /// The bytes of all keys and values, as they come over a wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        let pod = self.pod(0, 0, 0, LISTED);
        self.pods as usize * (pod.key.len() + pod.value.len())
    }
}

fn made(pod: u32, node: u32, phase: u32, mod_revision: u64) -> SourceObject {
    let value = pod_value(node, phase);
    SourceObject { key: pod_key(pod), value, create_revision: 1, mod_revision }
}

/// Pods in a batch of a listing.
const BATCH: usize = 1024;

#[async_trait]
impl Source for Script {
    async fn list(&self, _prefix: &Bytes, _at: Option<u64>) -> Result<Listing> {
        let mut pods: Vec<u32> = (0..self.pods).collect();
        pods.sort_unstable_by_key(|pod| (pod % 400, *pod));
        // A batch is made when it is asked for, as one that comes over a wire.
        let nodes = self.nodes;
        let batches = (0..pods.len().div_ceil(BATCH)).map(move |batch| {
            let batch = pods.iter().skip(batch * BATCH).take(BATCH);
            Ok(batch.map(|pod| made(*pod, *pod % nodes, 0, LISTED)).collect())
        });
        Ok(Listing { revision: LISTED, objects: stream::iter(batches).boxed() })
    }

    async fn watch(&self, _prefix: &Bytes, _after: u64) -> Result<Events> {
        let parts = stream::unfold(self.revisions.subscribe(), |mut told| async {
            let part = told.recv().await.ok()?;
            Some((part, told))
        });
        let events = parts.flat_map(|part: Arc<[Revision]>| {
            let revision = move |at: usize| Some(Ok(SourceEvent::Revision(part.get(at)?.clone())));
            stream::iter((0..).map_while(revision))
        });
        Ok(events.boxed())
    }

    fn freshness(&self) -> Freshness<'_> {
        Freshness::Pushed(self)
    }
}

#[async_trait]
impl CurrentRevision for Script {
    async fn current_revision(&self) -> Result<u64> {
        Ok(self.told.load(Ordering::Relaxed))
    }
}
