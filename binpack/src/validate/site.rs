//! What a plan uses of one node.

use std::collections::BTreeMap;

use crate::model::{
    Effect, GPU_MILLI, Labels, Launch, Node, Operator, Requirement, Resources, Taint, Toleration,
    TolerationOperator,
};

/// Amounts above zero by name. An extended resource is told from a fixed one by the flag, whatever
/// it is called.
pub(super) type Amounts<'a> = BTreeMap<(bool, &'a str), u128>;

/// What is used of a node that exists or is launched.
pub(super) struct Site<'a> {
    pub(super) name: String,
    pub(super) labels: &'a Labels,
    pub(super) taints: &'a [Taint],
    allocatable: &'a Resources,
    pub(super) used: Amounts<'a>,
    before: Amounts<'a>,
    gpus: Vec<u64>,
    pub(super) bound: usize,
}

impl<'a> Site<'a> {
    pub(super) fn node(node: &'a Node) -> Self {
        let used = amounts(&node.used);
        Site {
            name: format!("node {}", node.name),
            labels: &node.labels,
            taints: &node.taints,
            allocatable: &node.allocatable,
            before: used.clone(),
            used,
            gpus: devices(&node.allocatable, &node.gpu_used_milli),
            bound: 0,
        }
    }

    pub(super) fn launch((index, launch): (usize, &'a Launch)) -> Self {
        Site {
            name: format!("launch {index}"),
            labels: &launch.labels,
            taints: &launch.taints,
            allocatable: &launch.allocatable,
            before: Amounts::new(),
            used: amounts(&launch.daemon_overhead),
            gpus: devices(&launch.allocatable, &[]),
            bound: 0,
        }
    }

    /// Counts one pod.
    pub(super) fn add(&mut self, requests: &'a Resources) {
        for (name, amount) in amounts(requests) {
            if name != PODS {
                *self.used.entry(name).or_default() += amount;
            }
        }
        *self.used.entry(PODS).or_default() += 1;
        self.bound += 1;
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
        over.map(|((_, name), used)| {
            format!("{}: {used} {name} are used, more than it has", self.name)
        })
        .collect()
    }
}

const PODS: (bool, &str) = (false, "pods");

pub(super) fn amounts(resources: &Resources) -> Amounts<'_> {
    let fixed = [
        ((false, "cpu_milli"), resources.cpu_milli),
        ((false, "memory_bytes"), resources.memory_bytes),
        (PODS, resources.pods),
        ((false, "ephemeral_bytes"), resources.ephemeral_bytes),
        ((false, "gpu_milli"), resources.gpu_milli),
    ];
    let extended = resources.extended.iter().map(|(name, amount)| ((true, &**name), *amount));
    let all = fixed.into_iter().chain(extended).filter(|(_, amount)| *amount > 0);
    all.map(|(name, amount)| (name, u128::from(amount))).collect()
}

fn devices(allocatable: &Resources, used: &[u64]) -> Vec<u64> {
    let number = usize::try_from(allocatable.gpu_milli / GPU_MILLI).unwrap_or(0);
    (0..number).map(|gpu| used.get(gpu).copied().unwrap_or(0)).collect()
}

/// Kubernetes' node affinity in its own words.
pub(super) fn satisfied(requirement: &Requirement, labels: &Labels) -> bool {
    let value = labels.get(&*requirement.key);
    let listed = value.is_some_and(|value| requirement.values.contains(value));
    let numbers = || {
        let value: i64 = value?.parse().ok()?;
        let bound: i64 = requirement.values.first()?.parse().ok()?;
        Some((value, bound))
    };
    match requirement.operator {
        Operator::In => listed,
        Operator::NotIn => !listed,
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Gt => numbers().is_some_and(|(value, bound)| value > bound),
        Operator::Lt => numbers().is_some_and(|(value, bound)| value < bound),
    }
}

/// Whether a taint keeps a pod with these tolerations out.
pub(super) fn repels(taint: &Taint, tolerations: &[Toleration]) -> bool {
    if taint.effect == Effect::PreferNoSchedule {
        return false;
    }
    for toleration in tolerations {
        let key = match &toleration.key {
            Some(key) => *key == taint.key,
            None => true,
        };
        let effect = match toleration.effect {
            Some(effect) => effect == taint.effect,
            None => true,
        };
        let value = match &toleration.operator {
            TolerationOperator::Equal(value) => *value == taint.value,
            TolerationOperator::Exists => true,
        };
        if key && effect && value {
            return false;
        }
    }
    true
}
