//! Labels of nodes, and the keys that everyone knows.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels by key.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// Labels from pairs.
///
/// ```
/// let labels = binpack::labels([("disk", "ssd"), (binpack::key::ARCH, "arm64")]);
/// assert_eq!(&*labels["disk"], "ssd");
/// ```
pub fn labels<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Labels
where
    K: Into<Arc<str>>,
    V: Into<Arc<str>>,
{
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// Keys of labels that Kubernetes and Karpenter define.
pub mod key {
    /// The availability zone; a launched node has its offering's.
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    /// The node's own name: as a topology key, every node is a domain of its own.
    pub const HOSTNAME: &str = "kubernetes.io/hostname";
    /// The region.
    pub const REGION: &str = "topology.kubernetes.io/region";
    /// The name of the instance type.
    pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
    /// `on-demand`, `spot` or `reserved`.
    pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
    /// The node pool that launched the node.
    pub const NODE_POOL: &str = "karpenter.sh/nodepool";
    /// The processor's architecture: `amd64` or `arm64`.
    pub const ARCH: &str = "kubernetes.io/arch";
    /// The operating system.
    pub const OS: &str = "kubernetes.io/os";
    /// The instance family, such as `m7i`.
    pub const INSTANCE_FAMILY: &str = "karpenter.k8s.aws/instance-family";
    /// The instance category, such as `m`.
    pub const INSTANCE_CATEGORY: &str = "karpenter.k8s.aws/instance-category";
    /// The instance generation, a number.
    pub const INSTANCE_GENERATION: &str = "karpenter.k8s.aws/instance-generation";
    /// The instance size, such as `2xlarge`.
    pub const INSTANCE_SIZE: &str = "karpenter.k8s.aws/instance-size";
    /// Virtual CPUs, a number.
    pub const INSTANCE_CPU: &str = "karpenter.k8s.aws/instance-cpu";
    /// Memory in MiB, a number.
    pub const INSTANCE_MEMORY: &str = "karpenter.k8s.aws/instance-memory";
    /// The GPU's model, such as `a10g`.
    pub const INSTANCE_GPU_NAME: &str = "karpenter.k8s.aws/instance-gpu-name";
    /// GPUs, a number.
    pub const INSTANCE_GPU_COUNT: &str = "karpenter.k8s.aws/instance-gpu-count";
}
