//! Seeded workloads for `watch-cache`.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use watch_cache::{Index, Object};

use crate::SEED;

/// The key of a pod, as an API server has it.
#[must_use]
pub fn pod_key(pod: u32) -> Bytes {
    format!("/registry/pods/team-{:04}/worker-{pod:06}", pod % 400).into()
}

/// The name of a node.
#[must_use]
pub fn node_name(node: u32) -> String {
    format!("node-{node:06}")
}

/// A pod of about 1 KB: the node's name, a line feed, and bytes.
#[must_use]
pub fn pod_value(node: u32, version: u32) -> Bytes {
    format!("{}\n{version:0>1000}", node_name(node)).into()
}

/// The index of pods by node: the value up to the line feed.
#[must_use]
pub fn by_node() -> Index {
    Index::new("spec.nodeName", |pod: &Object| {
        let end = pod.value.iter().position(|byte| *byte == b'\n')?;
        Some(pod.value.slice(..end))
    })
}

/// Writes to pods drawn evenly: the pod and its node.
#[must_use]
pub fn writes(count: usize, pods: u32, nodes: u32) -> Vec<(u32, u32)> {
    let mut rng = StdRng::seed_from_u64(SEED);
    (0..count).map(|_| (rng.random_range(0..pods), rng.random_range(0..nodes))).collect()
}
