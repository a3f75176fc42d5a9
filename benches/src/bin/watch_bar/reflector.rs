//! What kube-rs's reflector store and a cache do with the same pods.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, node_name};
use k8s_openapi::api::core::v1::Pod;
use kube_runtime::reflector::Store;
use kube_runtime::reflector::store::Writer;
use kube_runtime::watcher::Event;
use serde_json::json;
use watch_cache::{At, Cache, Config, Index, ListRequest, MemorySource, Write};

use super::memory::{MIB, resident};

const OBJECTS: usize = 200_000;
const EVENTS: usize = 50_000;
/// Pods of a node.
const PODS_OF_NODE: usize = 10;
/// Lists of a node in a round.
const LISTS: usize = 20;
/// Pods that are written in one transaction of the source.
const BATCH: usize = 1_000;

/// About 1 KB of JSON.
fn pod(number: usize, version: usize) -> Vec<u8> {
    let node = node_name(u32::try_from(number / PODS_OF_NODE).unwrap_or_default());
    let pod = json!({
        "metadata": {
            "name": format!("worker-{number:06}"),
            "namespace": format!("team-{:04}", number % 400),
            "labels": {"app": "worker", "version": format!("{version}")},
            "annotations": {"padding": "p".repeat(600)},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": "registry.example/worker:1"}],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    });
    pod.to_string().into_bytes()
}

fn key(number: usize) -> String {
    format!("{PODS}team-{:04}/worker-{number:06}", number % 400)
}

/// By what stands behind `"nodeName":"`.
fn by_node() -> Index {
    const FIELD: &[u8] = br#""nodeName":""#;
    Index::new("spec.nodeName", |pod| {
        let begin = pod.value.windows(FIELD.len()).position(|at| at == FIELD)? + FIELD.len();
        let value = pod.value.get(begin..)?;
        let end = value.iter().position(|byte| *byte == b'"')?;
        value.get(..end).map(Into::into)
    })
}

/// Memory, lists and writes of both, one after the other. The cache is kept while the store is filled, so
/// that neither has the memory that the other gave back.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let (objects, events) = (settings.count(OBJECTS), settings.count(EVENTS));
    runtime()?.block_on(async {
        let source = Arc::new(MemorySource::new());
        let numbers: Vec<usize> = (0..objects).collect();
        for some in numbers.chunks(BATCH) {
            source.txn(some.iter().map(|at| Write::Put(key(*at).into(), pod(*at, 0).into())));
        }
        let before = resident().await?;
        let cache = follow(&source).await?;
        let listed = resident().await?;
        let (our_rate, our_node) = cached(settings, &source, &cache, events).await?;
        let kept = resident().await?;
        let mut writer = Writer::<Pod>::default();
        for number in 0..objects {
            writer.apply_watcher_event(&Event::Apply(serde_json::from_slice(&pod(number, 0))?));
        }
        let filled = resident().await?;
        let store = writer.as_reader();
        let (their_rate, their_node) = reflector(settings, &mut writer, &store, events)?;
        let each = |mebibytes: f64| mebibytes * MIB / objects as f64;
        let (ours, theirs) = (each(listed - before), each(filled - kept));
        report::line("cache-writes-with-their-source", our_rate, "events/s");
        report::line("reflector-writes", their_rate, "events/s");
        report::line("cache-pods-of-node", our_node, "us");
        report::line("reflector-pods-of-node", their_node, "us");
        report::line("reflector-pods-of-node-ratio", their_node / our_node, "x");
        report::line("cache-pod", ours, "B");
        report::line("reflector-pod", theirs, "B");
        report::line("reflector", theirs / ours, "x");
        Ok(())
    })
}

async fn follow(source: &Arc<MemorySource>) -> Outcome<Cache> {
    let mut config = Config::default();
    config.wait_timeout = Config::WAIT_TIMEOUT.max;
    let (cache, driver) = Cache::open(Arc::clone(source) as _, vec![by_node()], config)?;
    tokio::spawn(driver);
    cache.ready().await?;
    Ok(cache)
}

/// Writes per second, each of which is also written into the source, and the microseconds that the pods
/// of a node take.
async fn cached(
    settings: &Settings,
    source: &MemorySource,
    cache: &Cache,
    events: usize,
) -> Outcome<(f64, f64)> {
    let objects = settings.count(OBJECTS);
    let start = Instant::now();
    let mut last = 0;
    for event in 0..events {
        let number = event * 7919 % objects;
        last = source.put(key(number), pod(number, event));
    }
    cache.wait_for(last).await?;
    let rate = events as f64 / start.elapsed().as_secs_f64();
    let mut spent = Vec::new();
    for _ in 0..settings.rounds {
        let start = Instant::now();
        for node in 0..LISTS {
            let request = ListRequest::new(PODS).at(At::Any);
            let request = request.index("spec.nodeName", node_name(u32::try_from(node)?));
            if cache.list(request).await?.objects.is_empty() {
                return Err("a node has no pods".into());
            }
        }
        spent.push(start.elapsed().as_secs_f64() * 1e6 / LISTS as f64);
    }
    Ok((rate, report::median(&spent)))
}

/// Writes per second, decoded from JSON as they come, and the microseconds that the pods of a node take.
fn reflector(
    settings: &Settings,
    writer: &mut Writer<Pod>,
    store: &Store<Pod>,
    events: usize,
) -> Outcome<(f64, f64)> {
    let objects = settings.count(OBJECTS);
    let start = Instant::now();
    for event in 0..events {
        let number = event * 7919 % objects;
        writer.apply_watcher_event(&Event::Apply(serde_json::from_slice(&pod(number, event))?));
    }
    let rate = events as f64 / start.elapsed().as_secs_f64();
    let mut micros = Vec::new();
    for _ in 0..settings.rounds {
        let start = Instant::now();
        for node in 0..LISTS {
            let node = node_name(u32::try_from(node)?);
            let of_node = |pod: &Arc<Pod>| {
                pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&node)
            };
            let found: Vec<_> = store.state().into_iter().filter(of_node).collect();
            if black_box(found).is_empty() {
                return Err("a node has no pods".into());
            }
        }
        micros.push(start.elapsed().as_secs_f64() * 1e6 / LISTS as f64);
    }
    Ok((rate, report::median(&micros)))
}
