//! kube-rs's watcher and reflector keep a copy.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube_client::Api;
use kube_client::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube_runtime::reflector::{self, Store};
use kube_runtime::{WatchStreamExt, watcher};
use serde_json::json;

use super::server::{Server, create, name, version};

/// A generator of the same numbers each time (a linear congruence, Knuth's MMIX).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Writes at random, within a few names.
pub(crate) async fn write(pods: &Api<Pod>, numbers: &mut Numbers, rounds: usize) {
    for _ in 0..rounds {
        let pod = format!("p{}", numbers.below(12));
        let app = ["web", "api"][usize::try_from(numbers.below(2)).unwrap()];
        let there = pods.get_opt(&pod).await.unwrap().is_some();
        match (there, numbers.below(3)) {
            (false, _) => drop(create(pods, &[&pod], app, "n1").await),
            (true, 0) => drop(pods.delete(&pod, &DeleteParams::default()).await.unwrap()),
            (true, _) => {
                let patch = json!({"metadata": {"labels": {"app": app}}, "spec": {"priority": numbers.below(1000)}});
                pods.patch(&pod, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            }
        }
    }
}

async fn listed(pods: &Api<Pod>, labels: &str) -> BTreeMap<String, u64> {
    let list = pods.list(&ListParams::default().labels(labels)).await.unwrap();
    list.items.iter().map(|pod| (name(pod), version(pod))).collect()
}

fn held(store: &Store<Pod>) -> BTreeMap<String, u64> {
    store.state().iter().map(|pod| (name(pod), version(pod))).collect()
}

/// The reflector follows until it holds what is listed.
async fn reflects(server: &Server, config: watcher::Config, labels: &str, seed: u64) {
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let mut numbers = Numbers(seed);
    write(&pods, &mut numbers, 40).await;
    let (reader, writer) = reflector::store();
    let events = watcher(pods.clone(), config.labels(labels)).default_backoff();
    let mut events = pin!(reflector::reflector(writer, events));
    let mut writing = pin!(async {
        write(&pods, &mut numbers, 120).await;
        listed(&pods, labels).await
    });
    let end = loop {
        tokio::select! {
            event = events.next() => assert!(event.unwrap().is_ok()),
            end = &mut writing => break end,
        }
    };
    while held(&reader) != end {
        let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
        let event = event.unwrap_or_else(|_| panic!("{:?} is not {end:?}", held(&reader)));
        assert!(event.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_reflector_holds_what_is_listed() {
    let server = Server::start(&[]);
    Box::pin(reflects(&server, watcher::Config::default().page_size(3), "", 1)).await;
}

#[tokio::test]
async fn a_reflector_that_streams_its_list_holds_what_is_selected() {
    let server = Server::start(&["--bookmark-interval-ms", "5"]);
    Box::pin(reflects(&server, watcher::Config::default().streaming_lists(), "app=web", 2)).await;
}
