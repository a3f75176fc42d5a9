//! Settings as plain data, each with its default, its range and the reason.

use std::fmt::Display;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Which node that exists a pod goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Fit {
    /// The first in the order of the input that has room, as Karpenter does.
    First,
    /// The one that is left with the least room, nodes without GPUs first for pods without.
    #[default]
    Best,
}

/// What becomes of preferences: of affinity, anti-affinity and spread that need not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Preference {
    /// They are asked for as if they were required, and given up one by one where that leaves a
    /// pod without a place. A node may be launched to satisfy one, as Karpenter does.
    #[default]
    Respect,
    /// They count for nothing.
    Ignore,
}

/// Which group grows where several could take pods that wait: those of Kubernetes' Cluster
/// Autoscaler. Each could grow by some nodes of its template, which would hold some of the pods.
///
/// Its expander `random` is left out: the same question gets the same plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Expander {
    /// The one whose new nodes are left with the least: the mean of the fractions of their CPU and
    /// of their memory (capacity) that the pods don't request. GPUs don't count, as in Cluster
    /// Autoscaler.
    LeastWaste,
    /// The one that takes the most pods.
    MostPods,
    /// The one whose new nodes cost the least per hour for each pod that they take.
    Price,
    /// The one of the highest [`NodeGroup::priority`](crate::NodeGroup::priority).
    Priority,
}

/// Whether pods that run are evicted for pods of higher priority that have no place else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Preemption {
    /// No pod is evicted: a plan adds to a cluster and takes nothing away from it. It is the
    /// default, since whoever carries plans out has to know of
    /// [`Plan::evictions`](crate::Plan::evictions) first: bindings that rely on room which nobody
    /// frees would fail.
    #[default]
    Never,
    /// Pods of lower priority are, as kube-scheduler's default preemption does it, where neither a
    /// node has room nor anything can be launched.
    Lower,
}

/// The settings of [`plan`](crate::plan) and of a [`Provisioner`](crate::Provisioner).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Which node that exists a pod goes to.
    pub fit: Fit,
    /// What becomes of preferences.
    pub preference: Preference,
    /// Which group grows where several could. The first decides, the next between those that are
    /// equal to it, and in the end the name that comes first.
    pub expanders: Vec<Expander>,
    /// Whether pods that run are evicted for pods of higher priority.
    pub preemption: Preemption,
    /// How many times new nodes are packed quickly: [`Config::PACKING_ROUNDS`].
    pub packing_rounds: u32,
    /// How many steps are then made towards a cheaper plan and a better bound:
    /// [`Config::ITERATIONS`].
    pub iterations: u32,
    /// What one eviction must save at least, in millionths of a dollar per hour:
    /// [`Config::DISRUPTION_COST_MICROS`].
    pub disruption_cost_micros: u64,
    /// What part of the price of the nodes that go must be saved at least, in hundredths:
    /// [`Config::MIN_SAVING_PERCENT`].
    pub min_saving_percent: u32,
    /// How long no trigger must come before a batch is planned: [`Config::BATCH_IDLE_MS`].
    pub batch_idle: Duration,
    /// How long a batch may collect at most: [`Config::BATCH_MAX_MS`].
    pub batch_max: Duration,
    /// How long the first repetition of a failed port call waits: [`Config::RETRY_FIRST_MS`].
    pub retry_first: Duration,
    /// How long a repetition waits at most: [`Config::RETRY_MAX_MS`].
    pub retry_max: Duration,
    /// Whether every plan is checked by [`validate`](crate::validate()) before it is applied. It
    /// takes a small part of the planning time; a plan that fails ends the driver.
    pub validate_plans: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fit: Fit::default(),
            preference: Preference::default(),
            expanders: vec![Expander::LeastWaste],
            preemption: Preemption::default(),
            packing_rounds: Self::PACKING_ROUNDS.default,
            iterations: Self::ITERATIONS.default,
            disruption_cost_micros: Self::DISRUPTION_COST_MICROS.default,
            min_saving_percent: Self::MIN_SAVING_PERCENT.default,
            batch_idle: Duration::from_millis(Self::BATCH_IDLE_MS.default),
            batch_max: Duration::from_millis(Self::BATCH_MAX_MS.default),
            retry_first: Duration::from_millis(Self::RETRY_FIRST_MS.default),
            retry_max: Duration::from_millis(Self::RETRY_MAX_MS.default),
            validate_plans: true,
        }
    }
}

impl Config {
    /// Milliseconds without a new trigger after which a batch is planned. Karpenter's
    /// `BATCH_IDLE_DURATION` is 1 s; 0 plans at once.
    pub const BATCH_IDLE_MS: Limit<u64> = Limit { default: 1_000, min: 0, max: 600_000 };
    /// Milliseconds after which a batch is planned even while triggers keep coming. Karpenter's
    /// `BATCH_MAX_DURATION` is 10 s.
    pub const BATCH_MAX_MS: Limit<u64> = Limit { default: 10_000, min: 0, max: 3_600_000 };
    /// Milliseconds before the first repetition of a failed port call; each further one waits twice
    /// as long. 100 ms is short beside a launch and long beside a round trip.
    pub const RETRY_FIRST_MS: Limit<u64> = Limit { default: 100, min: 1, max: 60_000 };
    /// Milliseconds that a repetition waits at most. 10 s, as Karpenter's batch: an outage that ends
    /// is noticed within it.
    pub const RETRY_MAX_MS: Limit<u64> = Limit { default: 10_000, min: 1, max: 3_600_000 };
    /// How many times the packer packs anew with prices learnt from the last time; the cheapest
    /// result is kept. On real traces sixteen cost about one percent less than one, and take a few
    /// hundredths of a second for 8,000 pods; more find little.
    pub const PACKING_ROUNDS: Limit<u32> = Limit { default: 16, min: 1, max: 1_000 };

    /// How many steps are made at most to optimise what is launched, for each group of pools of one
    /// weight. On the workloads of `benches/README.md` 256 come to within one percent of the bound
    /// and take some tenths of a second; 0 keeps the quick plan.
    pub const ITERATIONS: Limit<u32> = Limit { default: 256, min: 0, max: 1_000_000 };

    /// What one unit of eviction cost, an ordinary pod's, must save at least, in millionths of a
    /// dollar per hour. Without it pods move for any saving, again and again: Karpenter's users saw
    /// nodes replaced for $0.006 an hour, and pods restart four times in half an hour
    /// (aws/karpenter-provider-aws#7146). $0.001 an hour is about a
    /// twentieth of what half a core costs on demand.
    pub const DISRUPTION_COST_MICROS: Limit<u64> =
        Limit { default: 1_000, min: 0, max: 1_000_000_000 };

    /// Hundredths of the price of the nodes that go which must be saved at least: prices of
    /// neighbouring generations differ by less than a tenth, and following them only moves pods.
    /// The case above saved 7 %.
    pub const MIN_SAVING_PERCENT: Limit<u32> = Limit { default: 10, min: 0, max: 100 };

    /// Whether every setting is in its range.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] with the name of the setting that is not.
    pub fn check(&self) -> Result<()> {
        Self::PACKING_ROUNDS.check("packing_rounds", self.packing_rounds)?;
        Self::ITERATIONS.check("iterations", self.iterations)?;
        Self::DISRUPTION_COST_MICROS
            .check("disruption_cost_micros", self.disruption_cost_micros)?;
        Self::MIN_SAVING_PERCENT.check("min_saving_percent", self.min_saving_percent)?;
        Self::BATCH_IDLE_MS.check("batch_idle in ms", millis(self.batch_idle))?;
        Self::BATCH_MAX_MS.check("batch_max in ms", millis(self.batch_max))?;
        Self::RETRY_FIRST_MS.check("retry_first in ms", millis(self.retry_first))?;
        Self::RETRY_MAX_MS.check("retry_max in ms", millis(self.retry_max))
    }
}

/// A setting's default and the least and the most that `open` accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limit<T> {
    /// The value of [`Config::default`].
    pub default: T,
    /// The least value that is accepted.
    pub min: T,
    /// The greatest value that is accepted.
    pub max: T,
}

impl<T: PartialOrd + Display + Copy> Limit<T> {
    pub(crate) fn check(&self, field: &str, value: T) -> Result<()> {
        if value >= self.min && value <= self.max {
            return Ok(());
        }
        let (min, max) = (self.min, self.max);
        Err(Error::new(
            ErrorKind::Invalid,
            format!("config: {field} is {value}: set it to {min}..={max}"),
        ))
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_what_is_not_is_named() {
        Config::default().check().expect("the defaults are valid");
        let config = Config { packing_rounds: 0, ..Config::default() };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "config: packing_rounds is 0: set it to 1..=1000"
        );
        let config = Config { retry_max: Duration::MAX, ..Config::default() };
        assert!(config.check().unwrap_err().to_string().starts_with("config: retry_max in ms is"));
    }
}
