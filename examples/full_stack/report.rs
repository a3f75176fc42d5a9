//! What a run comes to: one table for people, one object for machines.
#![expect(clippy::cast_precision_loss, reason = "counts and bytes of a run fit 53 bits")]

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use trestle_examples::latency::Quantiles;

/// The result of a run; its JSON form is what `--json` writes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) violations: usize,
    pub(crate) broken: Vec<String>,
    pub(crate) slo: Vec<Slo>,
    pub(crate) nodes: usize,
    pub(crate) nodes_launched: usize,
    pub(crate) pods: usize,
    pub(crate) cost_per_hour: f64,
    pub(crate) elapsed_secs: f64,
    pub(crate) image_bytes: u64,
    pub(crate) image_bytes_fetched: u64,
    pub(crate) image_bytes_sent: u64,
    pub(crate) image_bytes_fetched_per_node: f64,
    pub(crate) dns_hit_ratio: f64,
    pub(crate) operations: Vec<Operation>,
    pub(crate) checks: Vec<String>,
}

/// One kind of work that a part did.
#[derive(Debug, Serialize)]
pub(crate) struct Operation {
    pub(crate) part: &'static str,
    pub(crate) what: &'static str,
    pub(crate) per_second: f64,
    #[serde(flatten)]
    pub(crate) latency: Quantiles,
}

/// A service level and whether the run kept it.
#[derive(Debug, Serialize)]
pub(crate) struct Slo {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
    pub(crate) met: bool,
    #[serde(skip)]
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost,
    AtLeast,
}

impl Operation {
    /// An operation that was done `latency.count` times within `span`.
    pub(crate) fn new(
        part: &'static str,
        what: &'static str,
        latency: Quantiles,
        span: Duration,
    ) -> Self {
        let per_second = latency.count as f64 / span.as_secs_f64().max(1e-6);
        Self { part, what, per_second, latency }
    }
}

impl Slo {
    pub(crate) fn at_most(name: &'static str, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { name, value, limit, unit, met: value <= limit, bound: Bound::AtMost }
    }

    pub(crate) fn at_least(name: &'static str, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { name, value, limit, unit, met: value >= limit, bound: Bound::AtLeast }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} pods on {} nodes ({} launched) in {:.1} s, {:.2} $/h\n",
            thousands(self.pods as f64),
            thousands(self.nodes as f64),
            thousands(self.nodes_launched as f64),
            self.elapsed_secs,
            self.cost_per_hour,
        )?;
        self.write_operations(f)?;
        self.write_levels(f)?;
        writeln!(
            f,
            "\nimage: {} of {} MB fetched per node ({:.1} %), {} MB in all   dns: {:.1} % hits",
            megabytes(self.image_bytes_fetched_per_node),
            megabytes(self.image_bytes as f64),
            100.0 * self.image_bytes_fetched_per_node / (self.image_bytes as f64).max(1.0),
            megabytes(self.image_bytes_fetched as f64),
            100.0 * self.dns_hit_ratio,
        )?;
        writeln!(f)?;
        for check in &self.checks {
            writeln!(f, "checked: {check}")?;
        }
        for broken in self.broken.iter().take(20) {
            writeln!(f, "BROKEN: {broken}")?;
        }
        if self.broken.len() > 20 {
            writeln!(f, "BROKEN: and {} more", self.broken.len() - 20)?;
        }
        Ok(())
    }
}

impl Report {
    fn write_operations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:<34} {:>10} {:>11} {:>10} {:>10} {:>10}",
            "part", "what", "count", "per second", "p50 ms", "p99 ms", "max ms"
        )?;
        let mut last = "";
        for operation in &self.operations {
            let part = if operation.part == last { "" } else { operation.part };
            last = operation.part;
            let Quantiles { count, p50_ms, p99_ms, max_ms } = operation.latency;
            writeln!(
                f,
                "{part:<12} {:<34} {:>10} {:>11} {p50_ms:>10.2} {p99_ms:>10.2} {max_ms:>10.2}",
                operation.what,
                thousands(count as f64),
                thousands(operation.per_second),
            )?;
        }
        Ok(())
    }

    fn write_levels(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<47} {:>10} {:>11}   met", "service level", "measured", "limit")?;
        for slo in &self.slo {
            let sign = match slo.bound {
                Bound::AtMost => "<=",
                Bound::AtLeast => ">=",
            };
            let limit = format!("{sign} {}", thousands(slo.limit));
            let value = format!("{} {}", number(slo.value), slo.unit);
            let met = if slo.met { "yes" } else { "NO" };
            writeln!(f, "{:<47} {value:>10} {limit:>11}   {met}", slo.name)?;
        }
        Ok(())
    }
}

fn megabytes(bytes: f64) -> String {
    number(bytes / 1e6)
}

/// A number with as many decimals as a reader needs.
fn number(value: f64) -> String {
    if value >= 100.0 { thousands(value) } else { format!("{value:.2}") }
}

/// A whole number with commas.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        let _ = out.write_char(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let cases = [(0.0, "0"), (999.0, "999"), (1_000.0, "1,000"), (1_234_567.2, "1,234,567")];
        for (value, text) in cases {
            assert_eq!(thousands(value), text);
        }
    }
}
