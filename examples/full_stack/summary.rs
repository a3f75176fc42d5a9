//! From what was measured to the report.

use std::time::Duration;

use trestle_examples::latency::Quantiles;

use crate::check::Checks;
use crate::image::Image;
use crate::report::{Operation, Report, Slo};

/// What the parts measured.
pub(crate) struct Measured {
    pub(crate) driven: Duration,
    pub(crate) puts: Quantiles,
    pub(crate) gets: Quantiles,
    pub(crate) appends: Quantiles,
    pub(crate) lists: Quantiles,
    pub(crate) pages: Quantiles,
    pub(crate) binding: Quantiles,
    pub(crate) scheduling: Duration,
    pub(crate) start: Quantiles,
    pub(crate) image: Quantiles,
    pub(crate) dns: Quantiles,
    pub(crate) resolver: dns_cache::Stats,
    pub(crate) provisioner: binpack::Stats,
    pub(crate) image_sent: u64,
    pub(crate) blobs: Vec<lazy_blob::Stats>,
    pub(crate) nodes: usize,
    pub(crate) pods: usize,
    pub(crate) cost_micros: u64,
}

/// The report of a run. The service levels are those that AWS holds on clusters of 100,000 nodes
/// ("Amazon EKS ultra scale clusters", 2025).
#[expect(clippy::cast_precision_loss, reason = "counts and bytes of a run fit 53 bits")]
pub(crate) fn summarize(checks: Checks, of: &Measured, image: &Image, took: Duration) -> Report {
    let scheduled =
        Operation::new("binpack", "pod written to pod bound", of.binding, of.scheduling);
    let slo = vec![
        Slo::at_most("GET p99", of.gets.p99_ms, 1_000.0, "ms"),
        Slo::at_most("PUT p99", of.puts.p99_ms, 1_000.0, "ms"),
        Slo::at_most("LIST p99", of.lists.p99_ms, 30_000.0, "ms"),
        Slo::at_least("pods scheduled", scheduled.per_second, 500.0, "pods/s"),
    ];
    let planning = of.provisioner.planning_max.as_secs_f64() * 1e3;
    let plans = Quantiles {
        count: of.provisioner.plans,
        p50_ms: of.provisioner.planning.as_secs_f64() * 1e3 / (of.provisioner.plans.max(1) as f64),
        p99_ms: planning,
        max_ms: planning,
    };
    let fetched: u64 = of.blobs.iter().map(|blob| blob.bytes_fetched).sum();
    let asked = of.resolver.zone_answers + of.resolver.hits + of.resolver.misses;
    let local = of.resolver.zone_answers + of.resolver.hits;
    Report {
        violations: checks.broken.len(),
        broken: checks.broken,
        slo,
        nodes: of.nodes,
        nodes_launched: usize::try_from(of.provisioner.launches).unwrap_or(usize::MAX),
        pods: of.pods,
        cost_per_hour: of.cost_micros as f64 / 1e6,
        elapsed_secs: took.as_secs_f64(),
        image_bytes: image.layer_bytes,
        image_bytes_fetched: fetched,
        image_bytes_sent: of.image_sent,
        image_bytes_fetched_per_node: fetched as f64 / of.blobs.len().max(1) as f64,
        dns_hit_ratio: local as f64 / asked.max(1) as f64,
        operations: vec![
            Operation::new("kv-journal", "create or update, durable", of.puts, of.driven),
            Operation::new("kv-journal", "append and sync of a batch", of.appends, of.driven),
            Operation::new("kv-journal", "get, linearizable", of.gets, of.driven),
            Operation::new("watch-cache", "list of all pods, consistent", of.lists, of.driven),
            Operation::new("watch-cache", "list of a page, consistent", of.pages, of.driven),
            Operation::new("binpack", "plan (p50: mean, p99: longest)", plans, of.driven),
            scheduled,
            Operation::new("lazy-blob", "first files of a pod's image", of.image, of.driven),
            Operation::new("dns-cache", "lookup over UDP", of.dns, of.driven),
            Operation::new("all", "pod bound to pod running", of.start, of.driven),
        ],
        checks: checks.done,
    }
}
