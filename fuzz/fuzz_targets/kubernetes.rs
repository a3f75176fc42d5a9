#![no_main]
//! An API server that answers every list with any bytes: an error or a question that a plan accepts,
//! and no panic.

use std::sync::Arc;

use async_trait::async_trait;
use binpack::{
    Cluster, KubernetesAnswer, KubernetesClient, KubernetesCluster, KubernetesConfig,
    KubernetesRequest, Plan, Result,
};
use libfuzzer_sys::fuzz_target;

struct Says(Vec<u8>);

#[async_trait]
impl KubernetesClient for Says {
    async fn send(&self, request: KubernetesRequest) -> Result<KubernetesAnswer> {
        // A list whose every page names a next one would go on for long.
        let status = if request.path_and_query.contains("continue=") { 410 } else { 200 };
        Ok(KubernetesAnswer { status, body: self.0.clone() })
    }
}

fuzz_target!(|body: &[u8]| {
    let client = Says(body.to_vec());
    let cluster =
        KubernetesCluster::new(client, KubernetesConfig::default()).expect("the defaults are good");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        if let Ok(input) = cluster.input(Arc::default()).await {
            input.check().expect("what is read is well formed");
            cluster.apply(&Plan::default()).await.expect("there is little to carry out");
        }
    });
});
