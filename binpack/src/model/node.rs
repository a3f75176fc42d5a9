//! A node that exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{GPU_MILLI, Labels, Pod, Resources, Taint};

/// A pod that runs on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningPod {
    /// The pod. Its name is unique among all pods, those that wait included.
    pub pod: Pod,
    /// The node's GPUs that it uses, by index.
    pub gpus: Vec<u32>,
    /// Whether it belongs to the node, as the pods of a `DaemonSet` do: it goes with the node, and
    /// nothing has to be found for it elsewhere.
    pub daemon: bool,
}

impl RunningPod {
    /// A pod that is no daemon and uses no GPU.
    #[must_use]
    pub fn new(pod: Pod) -> Self {
        Self { pod, gpus: Vec::new(), daemon: false }
    }
}

/// A node that exists or is on its way, and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct Node {
    /// The name, unique among nodes.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// What the machine has; pool limits count it.
    pub capacity: Resources,
    /// What pods and daemons may use in all.
    pub allocatable: Resources,
    /// What they use. Where it is more than `allocatable`, nothing is free.
    pub used: Resources,
    /// Thousandths used of each GPU, by its index; a GPU beyond the end is free. The sum must be
    /// `used.gpu_milli`.
    pub gpu_used_milli: Vec<u64>,
    /// The pods that run there, as far as they matter to others: `used` counts them already. A
    /// node whose pods are not listed is never emptied.
    pub pods: Vec<RunningPod>,
    /// How many volumes of each storage driver may be attached; a driver that is not named has no
    /// limit.
    pub volume_limits: BTreeMap<Arc<str>, u32>,
    /// The [group](super::NodeGroup) that it belongs to; `None` where it is of a pool or of neither.
    pub group: Option<Arc<str>>,
    /// What it costs, in millionths of a dollar per hour; `None` where that is not known.
    pub price_micros: Option<u64>,
    /// How old it is, in seconds; `None` where that is not known.
    pub age_secs: Option<u64>,
    /// Whether it is no longer what its pool would launch.
    pub drifted: bool,
    /// Whether the cloud takes it away in a moment, as it does with spot capacity.
    pub interrupted: bool,
    /// Whether it is on its way out already: it counts in its pool's budgets, and no pod is moved
    /// to it.
    pub disrupting: bool,
    /// Whether it must stay, as in the annotation `karpenter.sh/do-not-disrupt`.
    pub do_not_disrupt: bool,
}

impl Node {
    /// An empty node without labels and taints, whose capacity is its allocatable.
    pub fn new(name: impl Into<Arc<str>>, allocatable: Resources) -> Self {
        Self {
            name: name.into(),
            labels: Labels::new(),
            taints: Vec::new(),
            capacity: allocatable.clone(),
            allocatable,
            used: Resources::default(),
            gpu_used_milli: Vec::new(),
            pods: Vec::new(),
            volume_limits: BTreeMap::new(),
            group: None,
            price_micros: None,
            age_secs: None,
            drifted: false,
            interrupted: false,
            disrupting: false,
            do_not_disrupt: false,
        }
    }

    /// With a pod that runs there, which `used` counts from now on. Where it does not fit, the
    /// node is as it was.
    #[must_use]
    pub fn with_pod(mut self, pod: RunningPod) -> Self {
        if self.take(&pod.pod.requests, &pod.gpus) {
            self.pods.push(pod);
        }
        self
    }

    /// At this price, in millionths of a dollar per hour.
    #[must_use]
    pub fn with_price_micros(mut self, price: u64) -> Self {
        self.price_micros = Some(price);
        self
    }

    /// As one of this group.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// With another capacity: what the machine has before anything is reserved.
    #[must_use]
    pub fn with_capacity(mut self, capacity: Resources) -> Self {
        self.capacity = capacity;
        self
    }

    /// With one more label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With one more taint.
    #[must_use]
    pub fn with_taint(mut self, taint: Taint) -> Self {
        self.taints.push(taint);
        self
    }

    /// Whether it is about to go: no pod is put there any more.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.interrupted || self.disrupting
    }

    /// Takes what a pod requests, one of `pods`, and the GPUs of its
    /// [`Binding`](super::Binding), by index. Returns whether it fits; where it doesn't, the node
    /// is unchanged.
    pub fn take(&mut self, requests: &Resources, gpus: &[u32]) -> bool {
        let Some((used, gpu_used)) = self.after(requests, gpus) else {
            return false;
        };
        self.used = used;
        self.gpu_used_milli = gpu_used;
        true
    }

    /// Gives back what [`take`](Self::take) took.
    pub fn release(&mut self, requests: &Resources, gpus: &[u32]) {
        self.used = self.used.saturating_sub(&requests.clone().with_pods(1));
        let each = requests.gpu_milli.min(GPU_MILLI);
        for gpu in gpus {
            if let Some(used) = self.gpu_used_milli.get_mut(*gpu as usize) {
                *used = used.saturating_sub(each);
            }
        }
    }

    fn after(&self, requests: &Resources, gpus: &[u32]) -> Option<(Resources, Vec<u64>)> {
        let requests = requests.clone().with_pods(1);
        // Where more is used than there is, a pod that needs nothing of it fits all the same.
        if !requests.fits_within(&self.allocatable.saturating_sub(&self.used)) {
            return None;
        }
        let used = self.used.checked_add(&requests)?;
        let devices = usize::try_from(self.allocatable.gpu_milli / GPU_MILLI).ok()?;
        let each = requests.gpu_milli.min(GPU_MILLI);
        let mut gpu_used = self.gpu_used_milli.clone();
        gpu_used.resize(devices.max(gpu_used.len()), 0);
        for gpu in gpus {
            let device = gpu_used.get_mut(*gpu as usize)?;
            *device = device.checked_add(each).filter(|used| *used <= GPU_MILLI)?;
        }
        let sums = gpus.len() as u64 * each == requests.gpu_milli;
        sums.then_some((used, gpu_used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_gpu_fit_on_one_device_or_not_at_all() {
        let mut node =
            Node::new("n", Resources::new(8_000, 1 << 34).with_pods(10).with_gpu_milli(2_000));
        let share = |milli| Resources::new(100, 1).with_gpu_milli(milli);
        assert!(node.take(&share(460), &[0]));
        assert!(!node.take(&share(600), &[0]), "460 and 600 don't share one GPU");
        assert!(!node.take(&share(600), &[2]), "there is no third GPU");
        assert!(!node.take(&share(600), &[]), "a share needs its GPU");
        assert!(node.take(&share(600), &[1]));
        assert_eq!(node.used.pods, 2);
        node.release(&share(460), &[0]);
        assert_eq!((node.used.gpu_milli, node.gpu_used_milli.clone()), (600, vec![0, 600]));
    }

    #[test]
    fn a_node_that_is_overcommitted_takes_what_needs_nothing_of_that() {
        let mut node = Node::new("n", Resources::new(1_000, 1 << 30).with_pods(10));
        node.used = Resources::new(2_000, 0);
        assert!(!node.take(&Resources::new(1, 0), &[]));
        assert!(node.take(&Resources::new(0, 1 << 20), &[]));
        assert_eq!((node.used.cpu_milli, node.used.memory_bytes), (2_000, 1 << 20));
    }
}
