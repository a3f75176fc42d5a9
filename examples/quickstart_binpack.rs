//! Places pods, launches what is missing, and says what it costs.

use std::sync::Arc;

use binpack::{
    BuiltinCatalogue, ClusterState, Config, MemoryCluster, Node, NodePool, Pod, Provisioner,
    Resources, Target,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let state = ClusterState {
        nodes: vec![Node::new("node-1", Resources::new(4_000, 16 << 30).with_pods(58))],
        pools: vec![NodePool::linux_amd64_on_demand("default")],
        ..ClusterState::default()
    };
    let cluster = Arc::new(MemoryCluster::new(state));
    let catalogue = Arc::new(BuiltinCatalogue::new());
    let (provisioner, driver) = Provisioner::open(catalogue, cluster.clone(), Config::default())?;
    let driver = tokio::spawn(driver);

    for i in 0..30 {
        cluster.add_pod(Pod::new(format!("web-{i}"), Resources::new(900, 1 << 30)));
    }
    cluster.add_pod(Pod::new("notebook", Resources::new(2_000, 8 << 30).with_gpu_milli(500)));
    let plan = provisioner.plan_now().await?;

    let existing = plan.bindings.iter().filter(|b| matches!(b.target, Target::Existing(_))).count();
    println!("{existing} pods on nodes that exist, {} unplaced", plan.unplaced.len());
    for launch in &plan.launches {
        println!(
            "launch {} in {} for {} pods",
            launch.instance_type, launch.zone, launch.requested.pods
        );
    }
    println!("{:.4} $ per hour", plan.cost_per_hour());
    drop(provisioner);
    driver.await??;
    Ok(())
}
