//! How fast revisions are applied while watchers and lists read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, Stack, node_name};
use futures_util::StreamExt;
use watch_cache::{At, Cache, ListRequest, WatchRequest, Watcher};

const OBJECTS: usize = 1_000_000;
const WATCHERS: usize = 10_000;
const EVENTS: usize = 300_000;

/// Revisions of one change each, from the source to the published state.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let stack = Stack::open(settings.count(OBJECTS)).await?;
        let heard = Arc::new(AtomicUsize::new(0));
        for node in 0..settings.count(WATCHERS) {
            let request =
                WatchRequest::new(PODS).index("spec.nodeName", node_name(u32::try_from(node)?));
            tokio::spawn(hear(stack.cache.watch(request)?, Arc::clone(&heard)));
        }
        let alone = rounds(&stack, settings, "apply-without-lists").await?;
        report::line("apply-without-lists", alone, "events/s");
        let (stop, lists) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let lister = list_on(stack.cache.clone(), Arc::clone(&stop), Arc::clone(&lists));
        let lister = tokio::spawn(lister);
        let rate = rounds(&stack, settings, "apply").await?;
        stop.store(true, Ordering::Relaxed);
        lister.await??;
        let heard = heard.load(Ordering::Relaxed);
        report::line("apply-lists", lists.load(Ordering::Relaxed) as f64, "lists");
        report::line("apply-heard", heard as f64, "events");
        report::line("apply", rate, "events/s");
        Ok(())
    })
}

async fn rounds(stack: &Stack, settings: &Settings, name: &str) -> Outcome<f64> {
    let events = u32::try_from(settings.count(EVENTS))?;
    let mut rates = Vec::new();
    // The first round is not measured: the log fills.
    for _ in 0..=settings.rounds {
        let revisions = stack.script.revisions(events);
        let start = Instant::now();
        let last = stack.script.tell(&revisions);
        stack.cache.wait_for(last).await?;
        rates.push(f64::from(events) / start.elapsed().as_secs_f64());
    }
    report::rounds(name, &rates);
    Ok(report::median(&rates[1..]))
}

async fn hear(mut watcher: Watcher, heard: Arc<AtomicUsize>) {
    while let Some(Ok(_)) = watcher.next().await {
        heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lists a namespace, a node and a page, one after the other, until it is stopped.
async fn list_on(cache: Cache, stop: Arc<AtomicBool>, lists: Arc<AtomicUsize>) -> Outcome<()> {
    while !stop.load(Ordering::Relaxed) {
        let namespace = ListRequest::new(format!("{PODS}team-0200/")).at(At::Any);
        let node = ListRequest::new(PODS).at(At::Any).index("spec.nodeName", node_name(7));
        for request in [namespace, node, ListRequest::new(PODS).at(At::Any).limit(500)] {
            cache.list(request).await?;
            lists.fetch_add(1, Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
