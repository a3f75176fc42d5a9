//! A store, seen through a cache, as the cluster that a provisioner plans for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use binpack::{Cluster, ClusterState, Error, ErrorKind, NodePool, Plan, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use watch_cache::Cache;

use crate::client::Client;
use crate::cluster_view::{ClusterView, Write};

/// Writes that are in flight together.
const WRITES: usize = 256;

/// Reads pods and nodes from a cache, and writes launches and bindings through the store.
#[derive(Debug)]
pub struct StoreCluster {
    client: Arc<Client>,
    cache: Cache,
    pools: Vec<NodePool>,
    written: AtomicU64,
}

impl StoreCluster {
    /// A cluster that launches from `pools`.
    #[must_use]
    pub fn new(client: Arc<Client>, cache: Cache, pools: Vec<NodePool>) -> Self {
        Self { client, cache, pools, written: AtomicU64::new(0) }
    }

    /// What is, its own writes included: without them a pod would be bound twice.
    async fn view(&self) -> Result<ClusterView> {
        self.cache.wait_for(self.written.load(Ordering::Acquire)).await.map_err(unavailable)?;
        Ok(ClusterView::of(&self.cache.snapshot()))
    }

    /// Writes each object if it is still as it was seen.
    async fn write(&self, writes: Vec<Write>) -> Result<()> {
        let writes = writes.into_iter().map(|write| async move {
            let written = self.client.update(&write.key, write.seen_revision, write.value).await;
            let written = written.map_err(unavailable)?;
            self.written.fetch_max(written.unwrap_or(0), Ordering::AcqRel);
            Ok(())
        });
        stream::iter(writes).buffer_unordered(WRITES).try_collect().await
    }
}

#[async_trait]
impl Cluster for StoreCluster {
    async fn state(&self) -> Result<ClusterState> {
        let view = self.view().await?;
        let pending = view.pending.values().map(|pod| pod.object.pod()).collect();
        let nodes = view.nodes.into_values().collect();
        Ok(ClusterState { pending, nodes, pools: self.pools.clone(), ..ClusterState::default() })
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        let changes = self.view().await?.carry_out(plan).map_err(unavailable)?;
        self.write(changes.nodes).await?;
        self.write(changes.pods).await
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the store or its cache failed").with_source(error)
}
