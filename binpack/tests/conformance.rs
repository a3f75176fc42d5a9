//! Every adapter keeps its port's contract, and a broken one is caught on the item it breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panic")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use binpack::conformance::{Violation, catalogue, cluster, cluster_fixture};
use binpack::{
    Binding, BuiltinCatalogue, CapacityType, Catalogue, Cluster, ClusterState, CsvCatalogue, Error,
    ErrorKind, InstanceType, MemoryCatalogue, MemoryCluster, Offering, Plan, Resources, Result,
    Target, key,
};

const CSV: &str = "name,family,category,generation,size,arch,vcpu,memory_mib,gpu_count,gpu_name,\
gpu_manufacturer,accel_count,accel_name,local_nvme_gib,max_pods,alloc_cpu_m,alloc_memory_mib,\
alloc_ephemeral_gib,od_usd_per_hour,spot_usd_per_hour_est,hypervisor\n\
m7i.large,m7i,m,7,large,amd64,2,8192,0,,,0,,0,29,1930,6903,17,0.1008,0.032256,nitro\n\
g5.xlarge,g5,g,5,xlarge,amd64,4,16384,1,a10g,nvidia,0,,250,58,3920,14162,17,1.006,,nitro\n";

fn csv() -> CsvCatalogue {
    CsvCatalogue::read(CSV.as_bytes()).expect("well formed")
}

fn small(name: &str) -> InstanceType {
    InstanceType::new(name, Resources::new(2_000, 4 << 30).with_pods(29))
        .with_offering(Offering::new("zone-a", CapacityType::OnDemand, 85_000))
}

binpack::catalogue_conformance!(memory_catalogue, async {
    MemoryCatalogue::new([small("a"), small("b")])
});
binpack::catalogue_conformance!(builtin_catalogue, async { BuiltinCatalogue::new() });
binpack::catalogue_conformance!(csv_catalogue, async { csv() });
binpack::catalogue_conformance!(kwok_catalogue, async {
    let csv = "name,arch,os,cpu,memory,pods,ephemeral_storage,od_price,spot_price\n\
               c-1x-amd64-linux,amd64,linux,1,2Gi,16,20Gi,0.0271474,0.0190032\n\
               c-2x-amd64-linux,amd64,linux,2,4Gi,32,20Gi,0.0542949,\n";
    CsvCatalogue::read(csv.as_bytes()).expect("well formed")
});
binpack::catalogue_conformance!(gce_catalogue, async {
    let csv = "name,vcpu_from_name,od_usd_per_hour,preemptible_usd_per_hour\n\
               n2-standard-4,4,0.1942,0.047\na2-highgpu-1g,,3.673385,1.102016\n";
    CsvCatalogue::read(csv.as_bytes()).expect("well formed")
});
#[cfg(feature = "json")]
binpack::catalogue_conformance!(json_catalogue, async {
    let json = r#"[{"name": "a", "capacity": {"cpu": 2, "memory": "8Gi", "pods": 29},
        "overhead": {"cpu": "70m"},
        "offerings": [{"zone": "a", "capacity_type": "spot", "price": 0.03}]}]"#;
    binpack::JsonCatalogue::read(json.as_bytes()).expect("well formed")
});
binpack::catalogue_conformance!(dyn_catalogue, async { Arc::new(csv()) as Arc<dyn Catalogue> });
binpack::cluster_conformance!(memory_cluster, async { MemoryCluster::new(cluster_fixture()) });
binpack::cluster_conformance!(dyn_cluster, async {
    Arc::new(MemoryCluster::new(cluster_fixture())) as Arc<dyn Cluster>
});

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

/// The item that a check found broken.
fn broken(check: impl Future<Output = std::result::Result<(), Violation>>) -> &'static str {
    block_on(check).expect_err("the adapter is broken, and the check passes it").item
}

#[test]
fn broken_catalogues_are_caught_on_their_item() {
    let of = |types: Vec<InstanceType>| MemoryCatalogue::new(types);
    assert_eq!(broken(catalogue::names_are_unique(&of(vec![small("a"), small("a")]))), "1");
    assert_eq!(broken(catalogue::names_are_unique(&of(vec![small("")]))), "1");

    let unsold = InstanceType::new("a", Resources::new(1, 1));
    assert_eq!(broken(catalogue::every_type_is_sold(&of(vec![unsold]))), "2");
    let twice = small("a").with_offering(Offering::new("zone-a", CapacityType::OnDemand, 1));
    assert_eq!(broken(catalogue::every_type_is_sold(&of(vec![twice]))), "2");
    let absurd = small("a").with_offering(Offering::new("zone-b", CapacityType::Spot, u64::MAX));
    assert_eq!(broken(catalogue::every_type_is_sold(&of(vec![absurd]))), "2");

    let above = small("a").with_allocatable(Resources::new(2_001, 1));
    assert_eq!(broken(catalogue::allocatable_is_within_capacity(&of(vec![above]))), "3");
    let half_gpu = InstanceType::new("a", Resources::default().with_gpu_milli(1_500));
    assert_eq!(broken(catalogue::allocatable_is_within_capacity(&of(vec![half_gpu]))), "3");

    let liar = small("a").with_label(key::INSTANCE_TYPE, "b");
    assert_eq!(broken(catalogue::labels_agree_with_fields(&of(vec![liar]))), "6");
}

/// Gives other types with every call.
struct Moody(AtomicU64);

#[async_trait]
impl Catalogue for Moody {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        Ok([small(&self.0.fetch_add(1, Ordering::Relaxed).to_string())].into())
    }
}

/// Keeps a lock that a dropped call never gives back.
struct Sticky(AtomicBool);

#[async_trait]
impl Catalogue for Sticky {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        if self.0.swap(true, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "locked"));
        }
        tokio::task::yield_now().await;
        self.0.store(false, Ordering::Relaxed);
        Ok([small("a")].into())
    }
}

#[test]
fn catalogues_with_bad_manners_are_caught() {
    assert_eq!(broken(catalogue::calls_agree(&Moody(AtomicU64::new(0)))), "4");
    assert_eq!(
        broken(catalogue::a_dropped_call_leaves_nothing(&Sticky(AtomicBool::new(false)))),
        "5"
    );
}

/// A way in which a cluster breaks its contract.
#[derive(Clone, Copy)]
enum Break {
    ShowsNodesTwice,
    ForgetsPods,
    KeepsBoundPending,
    ForgetsUse,
    LosesLaunchLabels,
    BindsAgain,
    BelievesStalePlans,
    DropsUnplaced,
}

struct Broken {
    how: Break,
    inner: MemoryCluster,
    calls: AtomicU64,
    applied: AtomicU64,
    original: ClusterState,
}

impl Broken {
    fn new(how: Break) -> Self {
        let original = cluster_fixture();
        let inner = MemoryCluster::new(original.clone());
        Self { how, inner, calls: AtomicU64::new(0), applied: AtomicU64::new(0), original }
    }
}

#[async_trait]
impl Cluster for Broken {
    async fn state(&self) -> Result<ClusterState> {
        let mut state = self.inner.state().await?;
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let applied = self.applied.load(Ordering::Relaxed);
        match self.how {
            Break::ShowsNodesTwice if applied > 0 => state.nodes.push(state.nodes[0].clone()),
            Break::ForgetsPods if calls > 0 => drop(state.pending.pop()),
            Break::KeepsBoundPending => state.pending.clone_from(&self.original.pending),
            Break::ForgetsUse => {
                for (node, old) in state.nodes.iter_mut().zip(&self.original.nodes) {
                    *node = old.clone();
                }
            }
            Break::LosesLaunchLabels => {
                state
                    .nodes
                    .iter_mut()
                    .skip(self.original.nodes.len())
                    .for_each(|node| node.labels.clear());
            }
            Break::BindsAgain if applied > 1 => state.nodes[0].used.cpu_milli += 1_000,
            Break::DropsUnplaced if applied > 0 => state.pending.clear(),
            _ => {}
        }
        Ok(state)
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        self.applied.fetch_add(1, Ordering::Relaxed);
        let mut plan = plan.clone();
        if matches!(self.how, Break::BelievesStalePlans) {
            let somewhere = |b: &Binding| {
                Binding::new(b.pod.clone(), Target::Existing("fixture-gpu".into()), vec![])
            };
            plan.bindings = plan.bindings.iter().map(somewhere).collect();
        }
        self.inner.apply(&plan).await
    }
}

#[test]
fn broken_clusters_are_caught_on_their_item() {
    let of = Broken::new;
    assert_eq!(broken(cluster::names_are_unique(&of(Break::ShowsNodesTwice))), "1");
    assert_eq!(broken(cluster::state_is_stable(&of(Break::ForgetsPods))), "2");
    assert_eq!(broken(cluster::bound_pods_are_counted(&of(Break::KeepsBoundPending))), "3");
    assert_eq!(broken(cluster::bound_pods_are_counted(&of(Break::ForgetsUse))), "3");
    assert_eq!(broken(cluster::a_launch_is_one_node(&of(Break::LosesLaunchLabels))), "4");
    assert_eq!(broken(cluster::applying_twice_is_applying_once(&of(Break::BindsAgain))), "5");
    assert_eq!(broken(cluster::stale_bindings_are_skipped(&of(Break::BelievesStalePlans))), "6");
    assert_eq!(broken(cluster::unplaced_pods_stay(&of(Break::DropsUnplaced))), "7");
}
