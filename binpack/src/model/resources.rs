//! A vector of resources in integer units.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One physical GPU, in thousandths.
pub const GPU_MILLI: u64 = 1_000;

/// The most GPUs that one node may have: far above the 16 of the largest machines sold today, and
/// low enough that a wrong number can't make the packer allocate without bound.
pub const MAX_GPUS: u64 = 256;

/// Amounts of resources, each an integer in a small unit: nothing is rounded, and sums are exact.
///
/// `gpu_milli` counts thousandths of GPUs. A request below 1000 shares *one* GPU; above, it must
/// be whole GPUs (2000 = two of them). A capacity is a number of whole GPUs.
///
/// ```
/// use binpack::Resources;
///
/// let node = Resources::new(4_000, 16 << 30).with_pods(58);
/// let pod = Resources::new(500, 1 << 30).with_pods(1);
/// assert!(pod.fits_within(&node));
/// assert_eq!(node.checked_sub(&pod).map(|left| left.cpu_milli), Some(3_500));
/// assert_eq!(Resources::from_amounts(pod.amounts()), pod);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Pods; each pod takes exactly one.
    pub pods: u64,
    /// Ephemeral storage in bytes.
    pub ephemeral_bytes: u64,
    /// GPUs in thousandths.
    pub gpu_milli: u64,
    /// Extended resources by name, in their own units. An absent name is zero.
    pub extended: BTreeMap<Arc<str>, u64>,
}

impl Resources {
    /// The names of the fixed resources, in the order of [`amounts`](Self::amounts).
    pub const NAMES: [&'static str; 5] =
        ["cpu_milli", "memory_bytes", "pods", "ephemeral_bytes", "gpu_milli"];

    /// Thousandths of a core for best-effort pods.
    pub const BATCH_CPU: &'static str = "kubernetes.io/batch-cpu";
    /// Bytes of memory for best-effort pods.
    pub const BATCH_MEMORY: &'static str = "kubernetes.io/batch-memory";

    /// CPU in thousandths of a core and memory in bytes; all else zero.
    #[must_use]
    pub fn new(cpu_milli: u64, memory_bytes: u64) -> Self {
        Self { cpu_milli, memory_bytes, ..Self::default() }
    }

    /// With this number of pods.
    #[must_use]
    pub fn with_pods(mut self, pods: u64) -> Self {
        self.pods = pods;
        self
    }

    /// With this much ephemeral storage, in bytes.
    #[must_use]
    pub fn with_ephemeral_bytes(mut self, bytes: u64) -> Self {
        self.ephemeral_bytes = bytes;
        self
    }

    /// With this many thousandths of GPUs.
    #[must_use]
    pub fn with_gpu_milli(mut self, milli: u64) -> Self {
        self.gpu_milli = milli;
        self
    }

    /// With an amount of a named extended resource; zero removes it.
    #[must_use]
    pub fn with_extended(mut self, name: impl Into<Arc<str>>, amount: u64) -> Self {
        self.set_extended(name.into(), amount);
        self
    }

    fn set_extended(&mut self, name: Arc<str>, amount: u64) {
        if amount == 0 {
            self.extended.remove(&name);
        } else {
            self.extended.insert(name, amount);
        }
    }

    /// The same as a best-effort pod's: CPU and memory become the extended resources
    /// [`BATCH_CPU`](Self::BATCH_CPU) and [`BATCH_MEMORY`](Self::BATCH_MEMORY), of which nodes have
    /// more than is left by what others request. The idea and the names are Koordinator's.
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        let (cpu, memory) = (self.cpu_milli, self.memory_bytes);
        (self.cpu_milli, self.memory_bytes) = (0, 0);
        self.with_extended(Self::BATCH_CPU, cpu).with_extended(Self::BATCH_MEMORY, memory)
    }

    /// With this percentage of CPU and memory beside for best-effort pods.
    #[must_use]
    pub fn with_best_effort_percent(self, percent: u32) -> Self {
        let part = |amount: u64| amount.saturating_mul(u64::from(percent)) / 100;
        let (cpu, memory) = (part(self.cpu_milli), part(self.memory_bytes));
        self.with_extended(Self::BATCH_CPU, cpu).with_extended(Self::BATCH_MEMORY, memory)
    }

    /// Every resource by name and amount: the five fixed ones in the order of
    /// [`NAMES`](Self::NAMES), then the extended ones by name.
    pub fn amounts(&self) -> impl Iterator<Item = (&str, u64)> {
        let fixed =
            [self.cpu_milli, self.memory_bytes, self.pods, self.ephemeral_bytes, self.gpu_milli];
        let extended = self.extended.iter().map(|(name, amount)| (&**name, *amount));
        Self::NAMES.into_iter().zip(fixed).chain(extended)
    }

    /// The inverse of [`amounts`](Self::amounts): a name that is not a fixed one is extended.
    pub fn from_amounts<'a>(amounts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut resources = Self::default();
        for (name, amount) in amounts {
            match name {
                "cpu_milli" => resources.cpu_milli = amount,
                "memory_bytes" => resources.memory_bytes = amount,
                "pods" => resources.pods = amount,
                "ephemeral_bytes" => resources.ephemeral_bytes = amount,
                "gpu_milli" => resources.gpu_milli = amount,
                extended => resources.set_extended(extended.into(), amount),
            }
        }
        resources
    }

    /// The sum, or `None` if an amount overflows.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        self.combine(other, u64::checked_add)
    }

    /// The difference, or `None` if an amount would fall below zero.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.combine(other, u64::checked_sub)
    }

    /// The difference with amounts that would fall below zero at zero.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        self.combine(other, |a, b| Some(a.saturating_sub(b))).unwrap_or_default()
    }

    /// Whether every amount is at most the other's. GPUs are compared as sums: whether shares of
    /// them fit on single devices is more than this says.
    #[must_use]
    pub fn fits_within(&self, capacity: &Self) -> bool {
        capacity.checked_sub(self).is_some()
    }

    fn combine(&self, other: &Self, op: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
        let mut result = Self {
            cpu_milli: op(self.cpu_milli, other.cpu_milli)?,
            memory_bytes: op(self.memory_bytes, other.memory_bytes)?,
            pods: op(self.pods, other.pods)?,
            ephemeral_bytes: op(self.ephemeral_bytes, other.ephemeral_bytes)?,
            gpu_milli: op(self.gpu_milli, other.gpu_milli)?,
            extended: self.extended.clone(),
        };
        for (name, amount) in &other.extended {
            let mine = self.extended.get(name).copied().unwrap_or(0);
            result.set_extended(name.clone(), op(mine, *amount)?);
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_resources() -> impl Strategy<Value = Resources> {
        let extended = prop::collection::btree_map("[ab]", 1..5u64, 0..2);
        (any::<[u32; 5]>(), extended).prop_map(|(fixed, extended)| {
            let names = Resources::NAMES.into_iter().zip(fixed.map(u64::from));
            Resources::from_amounts(
                names.chain(extended.iter().map(|(name, n)| (name.as_str(), *n))),
            )
        })
    }

    proptest! {
        #[test]
        fn a_sum_less_one_part_is_the_other(a in any_resources(), b in any_resources()) {
            let sum = a.checked_add(&b).expect("32-bit amounts don't overflow");
            prop_assert_eq!(sum.checked_sub(&b), Some(a.clone()));
            prop_assert!(a.fits_within(&sum) && b.fits_within(&sum));
            prop_assert_eq!(a.fits_within(&b), b.amounts().all(|(name, amount)| {
                a.amounts().find(|(n, _)| *n == name).is_none_or(|(_, mine)| mine <= amount)
            }) && a.extended.keys().all(|name| b.extended.contains_key(name)));
        }

        #[test]
        fn amounts_come_back(a in any_resources()) {
            prop_assert_eq!(Resources::from_amounts(a.amounts()), a);
        }
    }

    #[test]
    fn sums_that_overflow_and_differences_below_zero_are_none() {
        let huge = Resources::new(u64::MAX, 0).with_extended("x", u64::MAX);
        assert_eq!(huge.checked_add(&Resources::new(1, 0)), None);
        assert_eq!(huge.checked_add(&Resources::default().with_extended("x", 1)), None);
        assert_eq!(
            Resources::default().checked_sub(&Resources::default().with_extended("y", 1)),
            None
        );
        let none = Resources::default().saturating_sub(&huge);
        assert_eq!(none, Resources::default());
    }
}
