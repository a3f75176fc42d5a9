//! What `watch-cache` takes of the allocator, byte by byte: what the resident memory of `watch-bar` is too
//! coarse for.
#![forbid(unsafe_code)]
#![expect(clippy::cast_precision_loss, reason = "what is counted stays far below 2^52")]

use std::alloc::System;
use std::process::ExitCode;

use benches::kv_journal::{Outcome, runtime};
use benches::process::Resident;
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, Script, Stack, node_name, pod_value};
use clap::{Parser, Subcommand};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use watch_cache::{Config, Delivery, Error, Flow, Sink, WatchRequest};

/// Counts what is asked for. What an allocator adds is not in it.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const OBJECTS: usize = 1_000_000;
const WATCHERS: usize = 130_000;
/// Fewer than the log keeps.
const EVENTS: usize = 100_000;
const LOG: usize = 100;
/// Revisions that are made at once.
const PARTS: usize = 10;
const MIB: f64 = 1_048_576.0;

/// Measures watch-cache against its bar. Every line of output is `name value unit`; the last one is
/// the figure that was asked for.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    figure: Figure,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Figure {
    /// Resident memory of 1M objects of 1 KB with glibc's allocator, against their size on a wire [bar: 1.3 x]
    Memory,
    /// What a retained revision takes without the object's own bytes [bar: 200 B]
    RevisionBytes,
    /// What one of 130,000 watchers takes that is parked [bar: 256 B]
    WatcherBytes,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let measured = match args.figure {
        Figure::Memory => memory(&args.settings),
        Figure::RevisionBytes => revision(&args.settings),
        Figure::WatcherBytes => watcher(&args.settings),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watch-bytes: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is allocated now and was not when the region began.
fn grown(region: &Region<'_, System>) -> f64 {
    // Reallocations are in both.
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

/// Of the whole process, and of what was asked for, once the objects are listed.
fn memory(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let (region, before) = (Region::new(ALLOCATOR), Resident::of(std::process::id())?);
        let stack = Stack::open(settings.count(OBJECTS)).await?;
        let wire = stack.script.wire_bytes() as f64;
        let listed = Resident::of(std::process::id())?.total - before.total;
        report::line("memory-allocated", grown(&region) / wire, "x");
        report::line("memory", listed * MIB / wire, "x");
        Ok(())
    })
}

/// Of one change each, of which a tenth changes an index.
fn revision(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let stack = Stack::open(settings.count(OBJECTS)).await?;
        let part = u32::try_from(settings.count(EVENTS).div_ceil(PARTS))?;
        let region = Region::new(ALLOCATOR);
        for _ in 0..PARTS {
            let last = stack.script.tell(&stack.script.revisions(part));
            stack.cache.wait_for(last).await?;
        }
        let logged = stack.cache.stats().log_revisions as f64;
        let each = grown(&region) / logged;
        report::line("revision-bytes-with-object", each, "B");
        // All versions of an object share its key.
        report::line("revision-bytes", each - pod_value(0, 0).len() as f64, "B");
        Ok(())
    })
}

/// A sink of no size that is always full.
struct Full;

impl Sink for Full {
    fn deliver(&mut self, _: &Delivery) -> Flow {
        Flow::Full
    }

    /// Then the figure is never complete.
    fn end(&mut self, _: Error) {}
}

/// All of one selection, and each of one of its own.
fn watcher(settings: &Settings) -> Outcome<()> {
    let nodes = u32::try_from(settings.count(WATCHERS))?;
    runtime()?.block_on(async {
        let shared = parked(nodes, |_| WatchRequest::new(PODS)).await?;
        report::line("watcher-bytes-of-one-selection", shared, "B");
        let own = |node| WatchRequest::new(PODS).index("spec.nodeName", node_name(node));
        report::line("watcher-bytes", parked(nodes, own).await?, "B");
        Ok(())
    })
}

async fn parked(nodes: u32, request: impl Fn(u32) -> WatchRequest) -> Outcome<f64> {
    let mut config = Config::default();
    // What the log keeps is not to be counted, so it is full before.
    config.log_revisions = LOG;
    let stack = Stack::of(Script::new(nodes, nodes), config).await?;
    tell(&stack, nodes).await?;
    let region = Region::new(ALLOCATOR);
    let mut watches = Vec::with_capacity(nodes as usize);
    for node in 0..nodes {
        watches.push(stack.cache.watch_into(request(node), Full)?);
    }
    while stack.cache.stats().watchers < nodes as usize || stack.cache.stats().behind > 0 {
        tokio::task::yield_now().await;
    }
    tell(&stack, nodes).await?;
    while stack.cache.stats().parked < nodes as usize {
        tokio::task::yield_now().await;
    }
    Ok(grown(&region) / f64::from(nodes))
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
