//! Amounts of resources by Kubernetes' names.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::quantity::Quantity;
use crate::model::{GPU_MILLI, MAX_QUANTITY, PoolLimits, Resources};

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const PODS: &str = "pods";
const EPHEMERAL: &str = "ephemeral-storage";
const GPU: &str = "nvidia.com/gpu";
const NODES: &str = "nodes";

/// Quantities by the name of the resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Amounts(BTreeMap<String, Quantity>);

/// Which way an amount goes that is no whole number of the planner's units.
#[derive(Clone, Copy)]
pub(super) enum Rounding {
    /// What is needed.
    Up,
    /// What there is.
    Down,
}

/// A resource and what is wrong with its amount.
pub(super) type Wrong = (String, String);

impl Amounts {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub(super) fn set(&mut self, name: &str, amount: Quantity) {
        self.0.insert(name.to_owned(), amount);
    }

    /// Adds the others to these.
    pub(super) fn add(&mut self, others: &Self) {
        self.merge(others, Quantity::plus);
    }

    /// Raises each to the other's where that is greater.
    pub(super) fn raise_to(&mut self, others: &Self) {
        self.merge(others, Ord::max);
    }

    /// Takes the others' where these have none.
    pub(super) fn complete_from(&mut self, others: &Self) {
        self.merge_with(others, Option::unwrap_or);
    }

    fn merge(&mut self, others: &Self, of: impl Fn(Quantity, Quantity) -> Quantity) {
        self.merge_with(others, |mine, other| of(mine.unwrap_or_default(), other));
    }

    fn merge_with(&mut self, others: &Self, of: impl Fn(Option<Quantity>, Quantity) -> Quantity) {
        for (name, other) in others.iter() {
            let merged = of(self.0.get(name).copied(), other);
            self.set(name, merged);
        }
    }

    /// As the planner counts them.
    pub(super) fn resources(&self, rounding: Rounding) -> Result<Resources, Wrong> {
        let mut resources = Resources::default();
        for (name, quantity) in self.iter() {
            let amount =
                amount(name, quantity, rounding).map_err(|problem| (name.to_owned(), problem))?;
            match name {
                CPU => resources.cpu_milli = amount,
                MEMORY => resources.memory_bytes = amount,
                PODS => resources.pods = amount,
                EPHEMERAL => resources.ephemeral_bytes = amount,
                GPU => resources.gpu_milli = amount,
                _ => resources = resources.with_extended(name, amount),
            }
        }
        Ok(resources)
    }

    /// As the most that the nodes of a pool may have together, rounded down. A limit of pods is
    /// left out, for the planner knows none.
    pub(super) fn limits(&self) -> Result<PoolLimits, Wrong> {
        let mut limits = PoolLimits::default();
        for (name, quantity) in self.iter().filter(|(name, _)| *name != PODS) {
            let amount = amount(name, quantity, Rounding::Down)
                .map_err(|problem| (name.to_owned(), problem))?;
            let limit = match name {
                CPU => &mut limits.cpu_milli,
                MEMORY => &mut limits.memory_bytes,
                NODES => &mut limits.nodes,
                EPHEMERAL => &mut limits.ephemeral_bytes,
                GPU => &mut limits.gpu_milli,
                _ => {
                    limits.extended.insert(name.into(), amount);
                    continue;
                }
            };
            *limit = Some(amount);
        }
        Ok(limits)
    }

    /// Whether there is a limit of pods.
    pub(super) fn limits_pods(&self) -> bool {
        self.0.contains_key(PODS)
    }
}

fn amount(name: &str, quantity: Quantity, rounding: Rounding) -> Result<u64, String> {
    if name == GPU && !quantity.is_whole() {
        return Err(format!("is {quantity}: a pod gets whole GPUs, write a whole number"));
    }
    let amount = match (name, rounding) {
        (CPU, Rounding::Up) => quantity.milli_up(),
        (CPU, Rounding::Down) => quantity.milli_down(),
        (GPU, _) => quantity.units_up().saturating_mul(u128::from(GPU_MILLI)),
        (_, Rounding::Up) => quantity.units_up(),
        (_, Rounding::Down) => quantity.units_down(),
    };
    match u64::try_from(amount) {
        Ok(amount) if amount <= MAX_QUANTITY => Ok(amount),
        _ => Err(format!("is {quantity}: that is above any machine, check its unit")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn amounts(value: Value) -> Amounts {
        Amounts::deserialize(value).expect("well formed")
    }

    #[test]
    fn needs_are_rounded_up_and_what_there_is_down() {
        let all = amounts(json!({
            "cpu": "0.0015", "memory": "1500m", "pods": 110, "ephemeral-storage": "1Ki",
            "nvidia.com/gpu": "2", "vendor.com/widget": "500m", "hugepages-2Mi": 0.5,
        }));
        let up = Resources::new(2, 2)
            .with_pods(110)
            .with_ephemeral_bytes(1_024)
            .with_gpu_milli(2_000)
            .with_extended("vendor.com/widget", 1)
            .with_extended("hugepages-2Mi", 1);
        assert_eq!(all.resources(Rounding::Up), Ok(up));
        let down =
            Resources::new(1, 1).with_pods(110).with_ephemeral_bytes(1_024).with_gpu_milli(2_000);
        assert_eq!(all.resources(Rounding::Down), Ok(down));
    }

    #[test]
    fn shares_of_gpus_and_absurd_amounts_are_refused() {
        let refused = |value| amounts(value).resources(Rounding::Up).expect_err("wrong");
        let (name, problem) = refused(json!({"nvidia.com/gpu": "0.5"}));
        assert_eq!(name, "nvidia.com/gpu");
        assert!(problem.starts_with("is 0.5: a pod gets whole GPUs"));
        let (name, problem) = refused(json!({"memory": "9Pi"}));
        assert_eq!(name, "memory");
        assert!(problem.starts_with("is 10133099161583616: that is above any machine"));
    }

    #[test]
    fn limits_of_pools() {
        let all = amounts(json!({
            "cpu": "1000", "memory": "1000Gi", "nvidia.com/gpu": 8, "nodes": "10", "pods": 5,
            "ephemeral-storage": "1k", "vpc.amazonaws.com/efa": 4,
        }));
        let limits = all.limits().expect("well formed");
        assert_eq!(
            (
                limits.cpu_milli,
                limits.memory_bytes,
                limits.gpu_milli,
                limits.nodes,
                limits.ephemeral_bytes
            ),
            (Some(1_000_000), Some(1_000 << 30), Some(8_000), Some(10), Some(1_000))
        );
        assert_eq!(
            limits.extended.into_iter().collect::<Vec<_>>(),
            [("vpc.amazonaws.com/efa".into(), 4)]
        );
        assert!(all.limits_pods());
        assert_eq!(Amounts::default().limits(), Ok(PoolLimits::default()));
    }
}
