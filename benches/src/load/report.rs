//! What a load has done.

use std::fmt;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::args::{Job, Load};
use super::course::Course;
use super::tally::{Found, Tally};
use crate::http2::{Failure, status};

/// The figures of a load. Latencies are in milliseconds.
#[derive(Debug, Clone)]
pub struct Report {
    name: &'static str,
    parameters: Value,
    /// Calls that count; of a watch the events.
    pub ops: u64,
    /// Calls that failed, also in the warm-up.
    pub errors: u64,
    /// The measured time.
    pub seconds: f64,
    /// Calls, or events, in a second of it.
    pub ops_per_s: f64,
    /// Half of all took no longer.
    pub p50_ms: f64,
    /// Of a hundred 90.
    pub p90_ms: f64,
    /// Of a hundred 99.
    pub p99_ms: f64,
    /// Of a thousand 999.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// What answers consisted of, without HTTP's and TCP's share.
    pub bytes: u64,
    /// Calls that were done at all: the warm-up's as well.
    pub done: u64,
    /// What one of those took of the load generator's processor time, in microseconds.
    pub client_cpu_us: f64,
    /// Keys that answers to reads had, the warm-up's as well.
    pub keys_read: u64,
    /// Reads that found nothing, and leases that were gone.
    pub misses: u64,
    /// Transactions whose comparison did not hold.
    pub conflicts: u64,
    /// Of a watch: the puts, and the events that had not come some time after the last one.
    pub watch: Option<Writes>,
    by_status: Vec<(u8, u64)>,
    first_error: Option<Failure>,
}

/// What the writer of a watch did.
#[derive(Debug, Clone, Copy)]
pub struct Writes {
    /// Puts in a second.
    pub puts_per_s: f64,
    /// The 99th percentile of their latencies.
    pub p99_ms: f64,
    /// Events that did not come.
    pub undelivered: u64,
}

impl Report {
    pub(super) fn new(load: &Load, course: &Course, tally: Tally, cpu_secs: f64) -> Self {
        let Tally { latencies, errors, first_error, bytes, last, found } = tally;
        let Found { keys, misses, conflicts } = found;
        let (seconds, ops) = (course.seconds(last), latencies.len());
        Self {
            name: load.job.name(),
            parameters: parameters(load),
            ops,
            errors: errors.values().sum(),
            seconds,
            ops_per_s: per(ops, seconds),
            p50_ms: millis(&latencies, 0.5),
            p90_ms: millis(&latencies, 0.9),
            p99_ms: millis(&latencies, 0.99),
            p999_ms: millis(&latencies, 0.999),
            max_ms: millis(&latencies, 1.0),
            bytes,
            done: course.done(),
            client_cpu_us: per_call(cpu_secs, course.done()),
            keys_read: keys,
            misses,
            conflicts,
            watch: None,
            by_status: errors.into_iter().collect(),
            first_error,
        }
    }

    /// Adds what the writer did.
    pub(super) fn with_writes(mut self, course: &Course, writes: &Tally, undelivered: u64) -> Self {
        let puts_per_s = per(writes.latencies.len(), course.seconds(writes.last));
        let p99_ms = millis(&writes.latencies, 0.99);
        self.watch = Some(Writes { puts_per_s, p99_ms, undelivered });
        self
    }

    /// Whether something was done and nothing failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.ops > 0 && self.errors == 0
    }

    /// All of it, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let by_status: serde_json::Map<_, _> = self
            .by_status
            .iter()
            .map(|(code, n)| (status::name(*code).into(), (*n).into()))
            .collect();
        let mut json = json!({
            "job": self.name,
            "ops": self.ops,
            "errors": self.errors,
            "errors_by_status": by_status,
            "first_error": self.first_error.as_ref().map(ToString::to_string),
            "seconds": self.seconds,
            "ops_per_s": self.ops_per_s,
            "p50_ms": self.p50_ms,
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "p999_ms": self.p999_ms,
            "max_ms": self.max_ms,
            "bytes": self.bytes,
            "done": self.done,
            "client_cpu_us": self.client_cpu_us,
            "keys_read": self.keys_read,
            "misses": self.misses,
            "conflicts": self.conflicts,
            "parameters": self.parameters,
        });
        if let Some(writes) = self.watch {
            json["puts_per_s"] = writes.puts_per_s.into();
            json["put_p99_ms"] = writes.p99_ms.into();
            json["undelivered"] = writes.undelivered.into();
        }
        json
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.watch.is_some() { "events" } else { "calls" };
        writeln!(f, "{}: {} {what} in {:.2} s", self.name, self.ops, self.seconds)?;
        writeln!(f, "  {:.1} {what}/s, {} bytes of answers", self.ops_per_s, self.bytes)?;
        let Self { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = self;
        writeln!(
            f,
            "  ms: p50 {p50_ms:.3}, p90 {p90_ms:.3}, p99 {p99_ms:.3}, p99.9 {p999_ms:.3}, max {max_ms:.3}"
        )?;
        if let Some(writes) = self.watch {
            let Writes { puts_per_s, p99_ms, undelivered } = writes;
            write!(f, "  {puts_per_s:.1} puts/s with a p99 of {p99_ms:.3} ms, ")?;
            writeln!(f, "{undelivered} events not delivered")?;
        }
        if self.keys_read + self.misses + self.conflicts > 0 {
            let Self { keys_read, misses, conflicts, .. } = self;
            writeln!(f, "  {keys_read} keys read, {misses} misses, {conflicts} conflicts")?;
        }
        writeln!(f, "  {:.2} us of the load generator's processor a call", self.client_cpu_us)?;
        for (code, count) in &self.by_status {
            writeln!(f, "  {count} x {}", status::name(*code))?;
        }
        match &self.first_error {
            Some(failure) => writeln!(f, "  the first error: {failure}"),
            None => Ok(()),
        }
    }
}

impl Job {
    fn name(&self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Range(_) => "range",
            Self::List(_) => "list",
            Self::Txn => "txn",
            Self::Watch(_) => "watch",
            Self::Mixed(_) => "mixed",
            Self::Lease(_) => "lease",
        }
    }
}

fn parameters(load: &Load) -> Value {
    let shape = &load.shape;
    json!({
        "job": format!("{:?}", load.job),
        "endpoints": shape.endpoints,
        "clients": shape.clients,
        "connections": shape.connections,
        "key_size": shape.key_size,
        "prefix": shape.prefix,
        "value_size": shape.value_size,
        "keys": shape.keys,
        "sequential": shape.sequential,
        "seed": shape.seed,
        "total": shape.total,
        "duration_s": shape.measured().map(|duration| duration.as_secs_f64()),
        "rate": shape.rate,
        "warmup_s": shape.warmup.as_secs_f64(),
        "threads": shape.threads,
    })
}

fn millis(latencies: &Histogram<u32>, quantile: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "ten minutes at most")]
    let micros = latencies.value_at_quantile(quantile) as f64;
    micros / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "calls stay far below 2^52")]
fn per(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "calls stay far below 2^52")]
fn per_call(cpu_secs: f64, calls: u64) -> f64 {
    cpu_secs * 1e6 / calls.max(1) as f64
}
