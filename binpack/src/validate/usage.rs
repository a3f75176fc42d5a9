//! What a plan uses of one node.

use super::amounts::{Amounts, add_pod, amounts};
use crate::model::{GPU_MILLI, Launch, Node, Resources, RunningPod};

/// What is used of a node that exists or is launched.
pub(super) struct Usage<'a> {
    allocatable: &'a Resources,
    used: Amounts<'a>,
    before: Amounts<'a>,
    gpus: Vec<u64>,
}

impl<'a> Usage<'a> {
    /// A node without these of its pods.
    pub(super) fn of_node(node: &'a Node, gone: impl Iterator<Item = &'a RunningPod>) -> Self {
        let mut used = amounts(&node.used);
        let mut gpus = devices(&node.allocatable, &node.gpu_used_milli);
        for running in gone {
            let mut freed = Amounts::new();
            add_pod(&mut freed, &running.pod.requests);
            for (name, amount) in freed {
                used.entry(name).and_modify(|used| *used = used.saturating_sub(amount));
            }
            let each = running.pod.requests.gpu_milli.min(GPU_MILLI);
            for gpu in &running.gpus {
                if let Some(used) = gpus.get_mut(*gpu as usize) {
                    *used = used.saturating_sub(each);
                }
            }
        }
        Self { allocatable: &node.allocatable, before: used.clone(), used, gpus }
    }

    pub(super) fn of_launch(launch: &'a Launch) -> Self {
        Self {
            allocatable: &launch.allocatable,
            before: Amounts::new(),
            used: amounts(&launch.daemon_overhead),
            gpus: devices(&launch.allocatable, &[]),
        }
    }

    /// Counts one pod.
    pub(super) fn add(&mut self, requests: &'a Resources) {
        add_pod(&mut self.used, requests);
    }

    /// Takes a pod's devices, and says what is wrong with them.
    pub(super) fn take_gpus(&mut self, milli: u64, gpus: &[u32]) -> Option<String> {
        if milli > GPU_MILLI && !milli.is_multiple_of(GPU_MILLI) {
            return Some(format!("{milli} thousandths are neither a share nor whole GPUs"));
        }
        let (devices, each) = if milli < GPU_MILLI {
            (u64::from(milli > 0), milli)
        } else {
            (milli / GPU_MILLI, GPU_MILLI)
        };
        if gpus.len() as u64 != devices {
            return Some(format!("{} GPUs are named, {devices} are needed", gpus.len()));
        }
        for gpu in gpus {
            match self.gpus.get_mut(*gpu as usize) {
                None => return Some(format!("there is no GPU {gpu}")),
                Some(used) => *used = used.saturating_add(each),
            }
        }
        let over = gpus
            .iter()
            .find(|gpu| self.gpus.get(**gpu as usize).is_some_and(|used| *used > GPU_MILLI));
        over.map(|gpu| format!("GPU {gpu} is given out beyond its whole"))
    }

    /// Resources of which more is used than there is. What was over before is not the plan's
    /// doing, as long as the plan adds nothing to it.
    pub(super) fn over(&self) -> Vec<String> {
        let all = amounts(self.allocatable);
        let over = self.used.iter().filter(|(name, used)| {
            let has = all.get(*name).copied().unwrap_or(0);
            **used > has && **used > self.before.get(*name).copied().unwrap_or(0)
        });
        over.map(|((_, name), used)| format!("{used} {name} are used, more than it has")).collect()
    }
}

fn devices(allocatable: &Resources, used: &[u64]) -> Vec<u64> {
    let number = usize::try_from(allocatable.gpu_milli / GPU_MILLI).unwrap_or(0);
    (0..number).map(|gpu| used.get(gpu).copied().unwrap_or(0)).collect()
}
