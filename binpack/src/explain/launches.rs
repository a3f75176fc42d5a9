//! Why a launch is of its type.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::model::{CapacityType, Input, InstanceType, Launch, Plan};

/// What decided for a launch's type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchReason {
    /// The launch's place among the plan's.
    pub launch: usize,
    /// Its type.
    pub instance_type: Arc<str>,
    /// Its price in millionths of a dollar per hour.
    pub price_micros: u64,
    /// The resource of which its pods and daemons use the greatest part, and that part in percent.
    pub fullest: (Arc<str>, u64),
    /// The group that it belongs to, which has no other type; `None` where it is a pool's.
    pub group: Option<Arc<str>>,
    /// The next cheapest type that would hold the same pods, and its price in millionths of a
    /// dollar per hour.
    pub next: Option<(Arc<str>, u64)>,
}

impl fmt::Display for LaunchReason {
    #[expect(clippy::cast_precision_loss, reason = "dollars to read")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = |micros: u64| micros as f64 / 1e6;
        let (resource, percent) = &self.fullest;
        write!(
            f,
            "launch {}: {} at {:.4} $/h, whose {resource} is used to {percent} %",
            self.launch,
            self.instance_type,
            dollars(self.price_micros)
        )?;
        match &self.next {
            Some((name, price)) => {
                write!(f, "; the next that holds the same pods is {name} at {:.4}", dollars(*price))
            }
            None if self.group.is_some() => write!(f, "; its node group has no other type"),
            None => write!(f, "; no other type of its pool holds the same pods"),
        }
    }
}

pub(super) fn reasons(input: &Input, plan: &Plan) -> Vec<LaunchReason> {
    let types: BTreeMap<&str, &InstanceType> =
        input.instance_types.iter().map(|it| (&*it.name, it)).collect();
    let reason = |(at, launch): (usize, &Launch)| LaunchReason {
        launch: at,
        instance_type: launch.instance_type.clone(),
        price_micros: launch.price_micros,
        fullest: fullest(launch),
        group: launch.group.clone(),
        next: launch.alternatives.first().and_then(|name| {
            let it = types.get(&**name)?;
            Some((name.clone(), price(it, &launch.zone, launch.capacity_type)?))
        }),
    };
    plan.launches.iter().enumerate().map(reason).collect()
}

fn price(it: &InstanceType, zone: &str, capacity_type: CapacityType) -> Option<u64> {
    let mut sold = it.offerings.iter();
    let sold = sold.find(|o| *o.zone == *zone && o.capacity_type == capacity_type)?;
    Some(sold.price_micros)
}

fn fullest(launch: &Launch) -> (Arc<str>, u64) {
    let has: BTreeMap<&str, u64> = launch.allocatable.amounts().collect();
    let part = |(name, used): (&str, u64)| {
        let has = has.get(name).copied().filter(|has| *has > 0)?;
        Some((u128::from(used) * 100 / u128::from(has), name.to_owned()))
    };
    let most = launch.requested.amounts().filter_map(part).max_by_key(|(percent, _)| *percent);
    let (percent, name) = most.unwrap_or_default();
    (name.into(), u64::try_from(percent).unwrap_or(u64::MAX))
}
