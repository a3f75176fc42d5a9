//! What the run is driven with: pods, instance types and the nodes that are there before.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use binpack::{BuiltinCatalogue, CapacityType, Catalogue, CsvCatalogue, InstanceType, Node};
use binpack::{NodePool, Offering, Pod, Resources, key, workload};
use trestle_examples::objects::{NodeObject, PRICE};

use crate::args::Args;
use trestle_examples::fail::{Context, Fail, Result};

/// The one pool that nodes are launched from, and that the registered nodes belong to.
const POOL: &str = "default";
/// The size that the registered nodes come nearest to.
const NODE_CPU_MILLI: u64 = 32_000;

/// Pods, catalogue and pool.
pub(crate) struct Inputs {
    pub(crate) pods: Vec<Pod>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) pool: NodePool,
}

impl Inputs {
    /// Reads the files that the arguments name; nothing has been started yet when one is wrong.
    pub(crate) fn read(args: &Args) -> Result<Self> {
        let pods = match &args.pods {
            Some(path) => trace(path)?,
            None => workload::mix(args.pods_count as usize, args.seed),
        };
        let catalogue: Arc<dyn Catalogue> = match &args.catalog {
            Some(path) => Arc::new(CsvCatalogue::open(path).context(|| "--catalog".to_owned())?),
            None => Arc::new(BuiltinCatalogue::new()),
        };
        Ok(Self { pods, catalogue, pool: pool() })
    }

    /// `count` nodes of one ordinary type of the catalogue.
    pub(crate) async fn nodes(&self, count: u32) -> Result<Vec<NodeObject>> {
        let types = self.catalogue.instance_types().await.context(|| "catalogue".to_owned())?;
        let (it, offering) = ordinary(&types)
            .ok_or_else(|| Fail::new("the catalogue has no amd64 type on demand without GPUs"))?;
        Ok((0..count).map(|i| registered(it, offering, &self.pool, i)).collect())
    }
}

fn trace(path: &Path) -> Result<Vec<Pod>> {
    let name = || format!("--pods {}", path.display());
    let pods = workload::openb(BufReader::new(File::open(path).context(name)?)).context(name)?;
    if pods.is_empty() {
        return Err(Fail::new(format!("{} has no pod", name())));
    }
    Ok(pods)
}

/// Linux on amd64 at the list price, with what daemons usually take of a node.
fn pool() -> NodePool {
    NodePool::linux_amd64_on_demand(POOL).with_daemon_overhead(Resources::new(100, 128 << 20))
}

/// The type without GPUs nearest to the wanted size; of equals the cheapest, then by name.
fn ordinary(types: &[InstanceType]) -> Option<(&InstanceType, &Offering)> {
    let amd64 =
        |it: &&InstanceType| it.labels.get(key::ARCH).is_some_and(|arch| &**arch == "amd64");
    types
        .iter()
        .filter(|it| it.capacity.gpu_milli == 0 && it.capacity.extended.is_empty())
        .filter(amd64)
        .filter_map(|it| {
            let on_demand = |offering: &&Offering| offering.capacity_type == CapacityType::OnDemand;
            Some((it, it.offerings.iter().filter(on_demand).min()?))
        })
        .min_by_key(|(it, offering)| {
            let distance = it.capacity.cpu_milli.abs_diff(NODE_CPU_MILLI);
            (distance, offering.price_micros, it.name.clone())
        })
}

fn registered(it: &InstanceType, offering: &Offering, pool: &NodePool, i: u32) -> NodeObject {
    let mut node = Node::new(format!("node-a{i:05}"), it.allocatable.clone())
        .with_capacity(it.capacity.clone());
    node.labels = it.labels.clone();
    let node = node
        .with_label(key::INSTANCE_TYPE, it.name.clone())
        .with_label(key::ZONE, offering.zone.clone())
        .with_label(key::CAPACITY_TYPE, offering.capacity_type.as_str())
        .with_label(key::NODE_POOL, pool.name.clone())
        .with_label(PRICE, offering.price_micros.to_string());
    NodeObject::of(&node, &pool.daemon_overhead)
}
