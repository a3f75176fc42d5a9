//! What a cloud sells.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Labels, Resources};

/// How an instance is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CapacityType {
    /// Paid for in advance.
    Reserved,
    /// The list price.
    OnDemand,
    /// Cheaper, and may be taken away.
    Spot,
}

impl CapacityType {
    /// The value of the label [`key::CAPACITY_TYPE`](super::key::CAPACITY_TYPE).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}

impl fmt::Display for CapacityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One way to get an instance type: where, how paid for, and its price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offering {
    /// The availability zone.
    pub zone: Arc<str>,
    /// How it is paid for.
    pub capacity_type: CapacityType,
    /// The price in millionths of a dollar per hour.
    pub price_micros: u64,
    /// How many can be had; `None` is no limit. Reserved capacity has one.
    pub available: Option<u32>,
}

impl Offering {
    /// An offering.
    pub fn new(zone: impl Into<Arc<str>>, capacity_type: CapacityType, price_micros: u64) -> Self {
        Self { zone: zone.into(), capacity_type, price_micros, available: None }
    }

    /// Of which only so many can be had.
    #[must_use]
    pub fn with_available(mut self, available: u32) -> Self {
        self.available = Some(available);
        self
    }
}

/// A machine that can be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceType {
    /// The name, unique in its catalogue.
    pub name: Arc<str>,
    /// The labels of its nodes. Zone, capacity type, pool and the type's own name are added at
    /// launch and replace what is here.
    pub labels: Labels,
    /// What the machine has; pool limits count it.
    pub capacity: Resources,
    /// What is left for pods and daemons after the system's overhead.
    pub allocatable: Resources,
    /// Where and at what price it is sold.
    pub offerings: Vec<Offering>,
    /// How many volumes of each storage driver may be attached; a driver that is not named has no
    /// limit.
    pub volume_limits: BTreeMap<Arc<str>, u32>,
}

impl InstanceType {
    /// A type with no overhead, no labels and no offering.
    pub fn new(name: impl Into<Arc<str>>, capacity: Resources) -> Self {
        let allocatable = capacity.clone();
        Self {
            name: name.into(),
            labels: Labels::new(),
            capacity,
            allocatable,
            offerings: Vec::new(),
            volume_limits: BTreeMap::new(),
        }
    }

    /// With one more label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With this much left for pods.
    #[must_use]
    pub fn with_allocatable(mut self, allocatable: Resources) -> Self {
        self.allocatable = allocatable;
        self
    }

    /// With one more offering.
    #[must_use]
    pub fn with_offering(mut self, offering: Offering) -> Self {
        self.offerings.push(offering);
        self
    }
}
