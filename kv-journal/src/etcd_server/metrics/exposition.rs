//! Prometheus' text format.

use std::fmt::{Display, Write};

use crate::core::Durations;

#[derive(Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn counter(&mut self, name: &str, value: impl Display) {
        self.family(name, "counter").sample("", value);
    }

    pub(super) fn gauge(&mut self, name: &str, value: impl Display) {
        self.family(name, "gauge").sample("", value);
    }

    /// Says something in a label.
    pub(super) fn info(&mut self, name: &str, label: &str, value: &str) {
        self.family(name, "gauge").sample(&labels(&[(label, value)]), 1);
    }

    pub(super) fn histogram(&mut self, name: &str, durations: &Durations) {
        self.family(name, "histogram").durations("", durations);
    }

    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: &str) -> Family<'a> {
        self.write(format_args!("# TYPE {name} {kind}\n"));
        Family { out: self, name }
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        // A string takes whatever is written to it.
        let _infallible = self.text.write_fmt(what);
    }
}

/// The samples of one name.
pub(super) struct Family<'a> {
    out: &'a mut Exposition,
    name: &'a str,
}

impl Family<'_> {
    /// `labels` as [`labels`] writes them.
    pub(super) fn sample(&mut self, labels: &str, value: impl Display) {
        let name = self.name;
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        self.out.write(format_args!("{name}{open}{labels}{close} {value}\n"));
    }

    pub(super) fn durations(&mut self, labels: &str, durations: &Durations) {
        let name = self.name;
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in &durations.buckets {
            let le = bound.as_secs_f64();
            self.out.write(format_args!("{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}\n"));
        }
        let (count, sum) = (durations.count, durations.sum.as_secs_f64());
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        self.out.write(format_args!(
            "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}\n\
             {name}_sum{open}{labels}{close} {sum}\n{name}_count{open}{labels}{close} {count}\n"
        ));
    }
}

/// Labels as they stand between braces.
pub(super) fn labels(of: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    of.iter().map(label).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.counter("a_total", 7);
        out.info("version", "v", "3.7\"\\\n");
        let durations = Durations {
            buckets: vec![(Duration::from_micros(500), 1), (Duration::from_secs(2), 2)],
            count: 3,
            sum: Duration::from_millis(5_250),
        };
        out.family("took_seconds", "histogram").durations("of=\"x\"", &durations);
        out.histogram("t", &Durations::default());
        let expected = r#"# TYPE a_total counter
a_total 7
# TYPE version gauge
version{v="3.7\"\\\n"} 1
# TYPE took_seconds histogram
took_seconds_bucket{of="x",le="0.0005"} 1
took_seconds_bucket{of="x",le="2"} 2
took_seconds_bucket{of="x",le="+Inf"} 3
took_seconds_sum{of="x"} 5.25
took_seconds_count{of="x"} 3
# TYPE t histogram
t_bucket{le="+Inf"} 0
t_sum 0
t_count 0
"#;
        assert_eq!(out.into_text(), expected);
    }
}
