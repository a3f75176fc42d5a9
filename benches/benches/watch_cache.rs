//! Benches of `watch-cache`: applying, listing, and handing events to watchers; the rival for the
//! last is `tokio::sync::broadcast`, which every receiver reads whole.
#![expect(clippy::expect_used, reason = "a bench stops at what it did not expect")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use benches::watch_cache::{by_node, node_name, pod_key, pod_value, writes};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use watch_cache::{
    At, Cache, Config, ContinueToken, ListRequest, MemorySource, WatchEvent, WatchRequest, Write,
};

const PODS: u32 = 100_000;
const NODES: u32 = 10_000;
const WATCHERS: usize = 10_000;
const EVENTS: usize = 20_000;

struct Stack {
    runtime: Runtime,
    source: Arc<MemorySource>,
    cache: Cache,
}

impl Stack {
    fn new(pods: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        let source = Arc::new(MemorySource::new());
        let put = |pod| Write::Put(pod_key(pod), pod_value(pod % NODES, 0));
        source.txn((0..pods).map(put));
        let mut config = Config::default();
        // A round may take long on a busy machine; that is then its figure.
        config.wait_timeout = Config::WAIT_TIMEOUT.max;
        let opened = Cache::open(source.clone(), vec![by_node()], config);
        let (cache, driver) = opened.expect("a cache");
        runtime.spawn(driver);
        runtime.block_on(cache.ready()).expect("a listing");
        Self { runtime, source, cache }
    }

    fn put(&self, pod: u32, node: u32) -> u64 {
        self.source.put(pod_key(pod), pod_value(node, 1))
    }

    fn wait_for(&self, revision: u64) {
        self.runtime.block_on(self.cache.wait_for(revision)).expect("the revision");
    }
}

/// Events from the source to the published state, one revision each, with one index.
fn apply(c: &mut Criterion) {
    let stack = Stack::new(PODS);
    let writes = writes(EVENTS, PODS, NODES);
    let values: Vec<_> =
        writes.iter().map(|(pod, node)| (pod_key(*pod), pod_value(*node, 2))).collect();
    let mut group = c.benchmark_group("apply-20k-revisions");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(10);
    group.bench_function("watch-cache", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let start = Instant::now();
                let mut last = 0;
                for (key, value) in &values {
                    last = stack.source.put(key.clone(), value.clone());
                }
                stack.wait_for(last);
                spent += start.elapsed();
                // The store's own history is not the cache's cost.
                stack.source.compact(last).expect("a reached revision");
            }
            spent
        });
    });
    group.finish();
}

fn list(c: &mut Criterion) {
    let stack = Stack::new(PODS);
    let list =
        |request: ListRequest| stack.runtime.block_on(stack.cache.list(request)).expect("a list");
    let mut group = c.benchmark_group("list-100k");
    group.sample_size(20);
    let all = || ListRequest::new("/registry/pods/");
    group.bench_function("all", |b| b.iter(|| black_box(list(all().at(At::Any)))));
    group.bench_function("all-consistent", |b| b.iter(|| black_box(list(all()))));
    let half = list(all().at(At::Any).limit(PODS as usize / 2));
    let token: ContinueToken = half.continue_token.expect("a second half");
    let page = || all().limit(500).continue_from(token.clone());
    group.bench_function("page-500-from-the-middle", |b| b.iter(|| black_box(list(page()))));
    let of_node = || all().at(At::Any).index("spec.nodeName", node_name(7));
    group.bench_function("10-of-a-node", |b| b.iter(|| black_box(list(of_node()))));
    let of_team = || ListRequest::new("/registry/pods/team-0200/").at(At::Any);
    group.bench_function("250-of-a-namespace", |b| b.iter(|| black_box(list(of_team()))));
    group.finish();
}

/// Counts events, and says when a round is complete.
#[derive(Default)]
struct Tally {
    seen: AtomicUsize,
    complete: Notify,
}

impl Tally {
    fn count(&self, of: usize) {
        if (self.seen.fetch_add(1, Ordering::AcqRel) + 1).is_multiple_of(of) {
            self.complete.notify_one();
        }
    }
}

/// A task for each watcher.
fn spawn_watchers(
    stack: &Stack,
    of: usize,
    tally: &Arc<Tally>,
    request: impl Fn(usize) -> WatchRequest,
) -> Vec<JoinHandle<()>> {
    let watch = |watcher| {
        let mut watcher = stack.cache.watch(request(watcher)).expect("a watcher");
        let tally = Arc::clone(tally);
        stack.runtime.spawn(async move {
            while let Some(Ok(WatchEvent::Added { .. } | WatchEvent::Modified { .. })) =
                watcher.next().await
            {
                tally.count(of);
            }
        })
    };
    (0..WATCHERS).map(watch).collect()
}

/// One event until each of 10,000 tasks that watch the same prefix has it.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out-to-10k");
    group.throughput(Throughput::Elements(WATCHERS as u64)).sample_size(20);
    let stack = Stack::new(1);
    let tally = Arc::new(Tally::default());
    let _tasks = spawn_watchers(&stack, WATCHERS, &tally, |_| WatchRequest::new("/registry/pods/"));
    stack.wait_for(stack.put(0, 0));
    stack.runtime.block_on(tally.complete.notified());
    group.bench_function("watch-cache", |b| {
        b.iter(|| {
            stack.put(0, 0);
            stack.runtime.block_on(tally.complete.notified());
        });
    });

    let (sender, _) = broadcast::channel::<Arc<u64>>(1024);
    let tally = Arc::new(Tally::default());
    for _ in 0..WATCHERS {
        let mut receiver = sender.subscribe();
        let tally = Arc::clone(&tally);
        stack.runtime.spawn(async move {
            while receiver.recv().await.is_ok() {
                tally.count(WATCHERS);
            }
        });
    }
    group.bench_function("tokio-broadcast", |b| {
        b.iter(|| {
            sender.send(Arc::new(1)).expect("receivers");
            stack.runtime.block_on(tally.complete.notified());
        });
    });
    group.finish();
}

/// One event for one of 10,000 tasks, each watching a node of its own.
fn one_of_many(c: &mut Criterion) {
    let mut group = c.benchmark_group("one-of-10k");
    group.sample_size(50);
    let stack = Stack::new(1);
    let tally = Arc::new(Tally::default());
    let request = |node: usize| {
        let name = node_name(u32::try_from(node).unwrap_or(0));
        WatchRequest::new("/registry/pods/").index("spec.nodeName", name)
    };
    let _tasks = spawn_watchers(&stack, 1, &tally, request);
    group.bench_function("watch-cache", |b| {
        b.iter(|| {
            stack.put(0, 77);
            stack.runtime.block_on(tally.complete.notified());
        });
    });

    // Without an index every receiver is woken to find that the event is not its own.
    let (sender, _) = broadcast::channel::<u32>(1024);
    let tally = Arc::new(Tally::default());
    for node in 0..WATCHERS {
        let mut receiver = sender.subscribe();
        let tally = Arc::clone(&tally);
        stack.runtime.spawn(async move {
            while let Ok(of) = receiver.recv().await {
                if of as usize == node {
                    tally.count(1);
                }
            }
        });
    }
    group.bench_function("tokio-broadcast-filtered", |b| {
        b.iter(|| {
            sender.send(77).expect("receivers");
            stack.runtime.block_on(tally.complete.notified());
        });
    });
    group.finish();
}

criterion_group!(all, apply, list, fan_out, one_of_many);
criterion_main!(all);
