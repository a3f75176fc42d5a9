//! A Kubernetes-style API server for pods, nodes, config maps, leases and Karpenter's node pools and
//! claims: writes are transactions of a kv-journal store, gets, lists and watches are answered by a
//! watch-cache over it.
//!
//! ```sh
//! cargo run --release --example api-server -- --data-dir trestle.api
//! ```
//!
//! With curl:
//!
//! ```sh
//! url=http://127.0.0.1:8080/api/v1/namespaces/default/configmaps
//! curl -X POST $url -H 'Content-Type: application/json' \
//!   -d '{"metadata":{"name":"greeting"},"data":{"hello":"world"}}'
//! curl "$url?limit=10"
//! curl -N "$url?watch=1&resourceVersion=0"
//! ```
//!
//! With kubectl, which looks at this address by itself if it has no configuration:
//!
//! ```sh
//! kubectl --server http://127.0.0.1:8080 create -f pod.yaml --validate=false
//! kubectl --server http://127.0.0.1:8080 get pods --watch --output wide
//! kubectl --server http://127.0.0.1:8080 get --raw '/api/v1/pods?fieldSelector=spec.nodeName=n1'
//! ```
//!
//! Objects are stored as the JSON that clients send, without a schema: nothing but their metadata
//! is checked. Resource versions are the store's revisions, and what is sent of an object is its
//! stored bytes with the version put between. Patches are merge patches, and strategic ones that
//! have no lists; others are refused, and so is what is not JSON (`kubectl create configmap` sends
//! protobuf: use `kubectl create --filename`). There is no authentication, admission, garbage
//! collection, graceful deletion or other version than `v1`.

mod answer;
mod args;
mod discovery;
mod metadata;
mod options;
mod read;
mod resources;
mod run;
mod server;
mod status;
mod write;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use trestle_examples::fail::{Context, Result};

use args::Args;

/// Hyper and the store allocate small pieces from several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match end(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            eprintln!("api-server: {fail}");
            ExitCode::FAILURE
        }
    }
}

fn end(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context(|| "runtime".to_owned())?;
    let ended = runtime.block_on(run::run(args));
    // Tasks that are still waiting hold nothing that must be written.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}
