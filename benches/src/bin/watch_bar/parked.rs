//! What a watcher costs that is parked.

use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, Script, Stack, node_name};
use watch_cache::{Config, Delivery, Error, Flow, Sink, WatchRequest};

use super::fan_out::WATCHERS;
use super::memory::{MIB, resident};

const LOG: usize = 1_000;

/// A sink of no size that is always full.
struct Full;

impl Sink for Full {
    fn deliver(&mut self, _: &Delivery) -> Flow {
        Flow::Full
    }

    /// Then the figure is never complete.
    fn end(&mut self, _: Error) {}
}

/// The growth of the process with the watchers, their subscriptions included: all of one selection,
/// and each of one of its own.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let count = settings.count(WATCHERS);
    runtime()?.block_on(async {
        let shared = bytes(count, |_| WatchRequest::new(PODS)).await?;
        report::line("watcher-bytes-of-one-selection", shared, "B");
        let own = |node| WatchRequest::new(PODS).index("spec.nodeName", node_name(node));
        report::line("watcher-bytes", bytes(count, own).await?, "B");
        Ok(())
    })
}

async fn bytes(count: usize, request: impl Fn(u32) -> WatchRequest) -> Outcome<f64> {
    let nodes = u32::try_from(count)?;
    let mut config = Config::default();
    // What the log keeps is not to be counted, so it is full before.
    config.log_revisions = LOG;
    let stack = Stack::of(Script::new(nodes, nodes), config).await?;
    tell(&stack, nodes).await?;
    let before = resident().await?;
    let mut watches = Vec::new();
    for node in 0..nodes {
        watches.push(stack.cache.watch_into(request(node), Full)?);
    }
    // Until all are where they follow the log.
    resident().await?;
    tell(&stack, nodes).await?;
    while stack.cache.stats().parked < count {
        tokio::task::yield_now().await;
    }
    Ok((resident().await? - before) * MIB / f64::from(nodes))
}

/// A write to each node.
async fn tell(stack: &Stack, nodes: u32) -> Outcome<()> {
    for node in 0..nodes {
        let revision = stack.script.tell(&stack.script.write_to(node));
        stack.cache.wait_for(revision).await?;
        // Everything is read before it leaves the log.
        tokio::task::yield_now().await;
    }
    Ok(())
}
