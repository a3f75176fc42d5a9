//! What is measured by the same load on both, in turns.

use benches::kv_journal::Outcome;
use benches::report;

use super::Settings;
use super::sides::{Measured, Sides};

/// What of a load counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gauge {
    /// Calls, or events, in a second.
    Rate,
    /// Processor time of the server for each.
    Processor,
}

impl Gauge {
    fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::Rate => measured.report.ops_per_s,
            Self::Processor => measured.cpu_us,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Rate => "1/s",
            Self::Processor => "us",
        }
    }
}

/// A figure, and the load that gives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// In the words of `etcd-load`.
    pub(super) load: &'static str,
    pub(super) gauge: Gauge,
}

/// The keys that reads find, put in order by many clients.
pub(super) fn fill(keys: u64) -> String {
    format!("put --clients 200 --connections 10 --sequential --keys {keys} --total {keys}")
}

impl Figure {
    pub(super) async fn run(self, settings: &Settings) -> Outcome<()> {
        let sides = Sides::start(settings).await?;
        let keys = settings.keys;
        for side in [&sides.own, &sides.etcd] {
            side.load(&fill(keys)).await?;
        }
        let (load, seconds) = (self.load, settings.seconds);
        let load = format!("{load} --keys {keys} --warmup 500ms --duration {seconds}s");
        let mut both = Both::default();
        for round in 0..settings.rounds {
            let (own, etcd) = sides.in_turns(round, &load).await?;
            both.add(self.gauge.of(&own), self.gauge.of(&etcd));
        }
        both.tell(self.name, self.gauge.unit());
        Ok(())
    }
}

/// What the rounds gave.
#[derive(Debug, Default)]
pub(super) struct Both {
    own: Vec<f64>,
    etcd: Vec<f64>,
}

impl Both {
    pub(super) fn add(&mut self, own: f64, etcd: f64) {
        self.own.push(own);
        self.etcd.push(etcd);
    }

    /// The medians, the least and the greatest ratio of a round, and the ratio of the medians.
    pub(super) fn tell(&self, name: &str, unit: &str) {
        report::rounds(&format!("{name} own"), &self.own);
        report::rounds(&format!("{name} etcd"), &self.etcd);
        let (own, etcd) = (report::median(&self.own), report::median(&self.etcd));
        report::line(&format!("{name}-own"), own, unit);
        report::line(&format!("{name}-etcd"), etcd, unit);
        let ratios = self.own.iter().zip(&self.etcd).map(|(own, etcd)| own / etcd);
        let (least, greatest) = ratios
            .fold((f64::MAX, 0.0), |(least, greatest): (f64, f64), ratio| {
                (least.min(ratio), greatest.max(ratio))
            });
        report::line(&format!("{name}-least"), least, "x");
        report::line(&format!("{name}-greatest"), greatest, "x");
        report::line(name, own / etcd, "x");
    }
}
