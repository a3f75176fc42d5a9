//! A second opinion on plans.
//!
//! It reads the public model and nothing of the packer: sums, label matching, taints and GPU
//! devices are worked out here once more, pod by pod and in the plainest way.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Binding, Effect, GPU_MILLI, Input, InstanceType, Labels, Launch, Node, NodePool, Operator,
    Plan, Pod, Requirement, Resources, Taint, Target, Toleration, TolerationOperator, key,
};

/// A rule that a plan must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// Every pod of the input is bound or unplaced, exactly once, and no other pod is.
    EveryPodOnce,
    /// A binding's node or launch exists.
    TargetExists,
    /// The node's labels satisfy the pod's requirements.
    Requirements,
    /// The pod tolerates the node's taints.
    Taints,
    /// What is requested of a node is at most what it has.
    Capacity,
    /// GPUs: the right number of devices, and none beyond its thousandths.
    Gpus,
    /// A launch is one that its pool and the catalogue allow, at the catalogue's price.
    Launch,
    /// A launch has a pod, and its `requested` is its pods' and daemons' sum.
    Requested,
    /// Pools stay within their limits.
    Limits,
    /// The plan's cost is the sum of its launches'.
    Cost,
}

/// A rule that a plan breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// Where, with the numbers.
    pub message: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.message)
    }
}

impl StdError for Breach {}

/// Whether a plan keeps every [`Rule`] for this input.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] with the first [`Breach`] as its source and their number.
pub fn validate(input: &Input, plan: &Plan) -> Result<()> {
    let breaches = breaches(input, plan);
    let number = breaches.len();
    match breaches.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            let message =
                format!("the plan breaks {number} rules: don't apply it; the first is {first}");
            Err(Error::new(ErrorKind::Invalid, message).with_source(first))
        }
    }
}

/// Every rule that a plan breaks for this input, in an order that depends on the two alone.
#[must_use]
pub fn breaches(input: &Input, plan: &Plan) -> Vec<Breach> {
    let mut check = Check::new(input, plan);
    check.every_pod_once();
    check.bindings();
    check.launches();
    check.limits();
    check.cost();
    check.breaches
}

/// What is used of a node that exists or is launched.
struct Site<'a> {
    name: String,
    labels: &'a Labels,
    taints: &'a [Taint],
    allocatable: &'a Resources,
    used: BTreeMap<&'a str, u128>,
    before: BTreeMap<&'a str, u128>,
    gpus: Vec<u64>,
    bound: usize,
}

struct Check<'a> {
    input: &'a Input,
    plan: &'a Plan,
    pods: HashMap<&'a str, &'a Pod>,
    pools: HashMap<&'a str, &'a NodePool>,
    types: HashMap<&'a str, &'a InstanceType>,
    nodes: HashMap<&'a str, usize>,
    /// The nodes, then the launches.
    sites: Vec<Site<'a>>,
    breaches: Vec<Breach>,
}

impl<'a> Check<'a> {
    fn new(input: &'a Input, plan: &'a Plan) -> Self {
        let sites = input
            .nodes
            .iter()
            .map(Site::node)
            .chain(plan.launches.iter().enumerate().map(Site::launch));
        Self {
            input,
            plan,
            pods: input.pods.iter().map(|pod| (&*pod.name, pod)).collect(),
            pools: input.pools.iter().map(|pool| (&*pool.name, pool)).collect(),
            types: input.instance_types.iter().map(|it| (&*it.name, it)).collect(),
            nodes: input.nodes.iter().enumerate().map(|(i, node)| (&*node.name, i)).collect(),
            sites: sites.collect(),
            breaches: Vec::new(),
        }
    }

    fn breach(&mut self, rule: Rule, message: String) {
        self.breaches.push(Breach { rule, message });
    }

    fn every_pod_once(&mut self) {
        let bound = self.plan.bindings.iter().map(|binding| &*binding.pod);
        let unplaced = self.plan.unplaced.iter().map(|unplaced| &*unplaced.pod);
        let mut times: HashMap<&str, u32> = HashMap::new();
        for pod in bound.chain(unplaced) {
            *times.entry(pod).or_default() += 1;
            if !self.pods.contains_key(pod) {
                self.breach(Rule::EveryPodOnce, format!("pod {pod} is not in the input"));
            }
        }
        for pod in &self.input.pods {
            match times.get(&*pod.name) {
                Some(1) => {}
                Some(n) => {
                    self.breach(Rule::EveryPodOnce, format!("pod {} is named {n} times", pod.name));
                }
                None => self.breach(Rule::EveryPodOnce, format!("pod {} is forgotten", pod.name)),
            }
        }
    }

    fn bindings(&mut self) {
        for binding in &self.plan.bindings {
            let Some(pod) = self.pods.get(&*binding.pod).copied() else {
                continue;
            };
            match self.site(&binding.target) {
                Some(site) => self.bind(pod, binding, site),
                None => self.breach(
                    Rule::TargetExists,
                    format!("pod {}: {:?} does not exist", pod.name, binding.target),
                ),
            }
        }
        let over: Vec<String> = self.sites.iter().flat_map(Site::over).collect();
        for message in over {
            self.breach(Rule::Capacity, message);
        }
    }

    fn site(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Existing(name) => self.nodes.get(&**name).copied(),
            Target::Launch(index) => {
                (*index < self.plan.launches.len()).then(|| self.input.nodes.len() + index)
            }
        }
    }

    fn bind(&mut self, pod: &'a Pod, binding: &Binding, site: usize) {
        let Some(on) = self.sites.get_mut(site) else {
            return;
        };
        let mut found = Vec::new();
        if let Some(unmet) = pod.requirements.iter().find(|r| !satisfied(r, on.labels)) {
            found.push((
                Rule::Requirements,
                format!("pod {} on {}: {unmet} is not met", pod.name, on.name),
            ));
        }
        if let Some(taint) = on.taints.iter().find(|taint| repels(taint, &pod.tolerations)) {
            found.push((
                Rule::Taints,
                format!("pod {} on {}: {taint} is not tolerated", pod.name, on.name),
            ));
        }
        if let Some(problem) = on.take_gpus(pod.requests.gpu_milli, &binding.gpus) {
            found.push((Rule::Gpus, format!("pod {} on {}: {problem}", pod.name, on.name)));
        }
        on.add(&pod.requests);
        on.bound += 1;
        for (rule, message) in found {
            self.breach(rule, message);
        }
    }

    fn launches(&mut self) {
        for (index, launch) in self.plan.launches.iter().enumerate() {
            if let Some(problem) = self.unlawful(launch) {
                self.breach(Rule::Launch, format!("launch {index}: {problem}"));
            }
            let Some(site) = self.sites.get(self.input.nodes.len() + index) else {
                continue;
            };
            if site.bound == 0 {
                self.breach(Rule::Requested, format!("launch {index} has no pod"));
            } else if site.used != amounts(&launch.requested) {
                self.breach(
                    Rule::Requested,
                    format!("launch {index}: requested is not its pods' and daemons' sum"),
                );
            }
        }
    }

    /// What is wrong with a launch in itself.
    fn unlawful(&self, launch: &Launch) -> Option<String> {
        let Some(pool) = self.pools.get(&*launch.pool) else {
            return Some(format!("there is no pool {}", launch.pool));
        };
        let Some(it) = self.types.get(&*launch.instance_type) else {
            return Some(format!("there is no instance type {}", launch.instance_type));
        };
        let mut sold = it
            .offerings
            .iter()
            .filter(|o| o.zone == launch.zone && o.capacity_type == launch.capacity_type);
        match sold.next() {
            None => {
                return Some(format!(
                    "{} is not sold as {} in {}",
                    it.name, launch.capacity_type, launch.zone
                ));
            }
            Some(offering) if offering.price_micros != launch.price_micros => {
                return Some(format!(
                    "costs {}, not {}",
                    offering.price_micros, launch.price_micros
                ));
            }
            Some(_) => {}
        }
        if launch.allocatable != it.allocatable || launch.daemon_overhead != pool.daemon_overhead {
            return Some("allocatable or daemon overhead is not its type's and pool's".into());
        }
        if launch.taints != pool.taints || launch.labels != node_labels(pool, it, launch) {
            return Some("labels or taints are not its type's and pool's".into());
        }
        let unmet = pool.requirements.iter().find(|r| !satisfied(r, &launch.labels))?;
        Some(format!("pool {} requires {unmet}", pool.name))
    }

    fn limits(&mut self) {
        for pool in &self.input.pools {
            let launched = self.plan.launches.iter().filter(|launch| launch.pool == pool.name);
            let new: Vec<&Resources> = launched
                .filter_map(|launch| Some(&self.types.get(&*launch.instance_type)?.capacity))
                .collect();
            let of = |node: &&Node| {
                node.labels.get(key::NODE_POOL).is_some_and(|name| *name == pool.name)
            };
            let old: Vec<&Resources> =
                self.input.nodes.iter().filter(of).map(|node| &node.allocatable).collect();
            let sum = |amount: fn(&Resources) -> u64| -> u128 {
                new.iter().chain(&old).map(|resources| u128::from(amount(resources))).sum()
            };
            let limits = &pool.limits;
            let checks = [
                ("cpu_milli", limits.cpu_milli, sum(|r| r.cpu_milli)),
                ("memory_bytes", limits.memory_bytes, sum(|r| r.memory_bytes)),
                ("gpu_milli", limits.gpu_milli, sum(|r| r.gpu_milli)),
                ("nodes", limits.nodes, sum(|_| 1)),
            ];
            // A pool that was over its limit before is not the plan's doing.
            for (name, limit, sum) in checks.into_iter().filter(|_| !new.is_empty()) {
                if limit.is_some_and(|limit| sum > u128::from(limit)) {
                    self.breach(
                        Rule::Limits,
                        format!("pool {}: {sum} {name} are above its limit", pool.name),
                    );
                }
            }
        }
    }

    fn cost(&mut self) {
        let sum: u128 =
            self.plan.launches.iter().map(|launch| u128::from(launch.price_micros)).sum();
        if sum != u128::from(self.plan.cost_per_hour_micros) {
            self.breach(
                Rule::Cost,
                format!("launches cost {sum}, the plan says {}", self.plan.cost_per_hour_micros),
            );
        }
    }
}

impl<'a> Site<'a> {
    fn node(node: &'a Node) -> Self {
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

    fn launch((index, launch): (usize, &'a Launch)) -> Self {
        Site {
            name: format!("launch {index}"),
            labels: &launch.labels,
            taints: &launch.taints,
            allocatable: &launch.allocatable,
            before: BTreeMap::new(),
            used: amounts(&launch.daemon_overhead),
            gpus: devices(&launch.allocatable, &[]),
            bound: 0,
        }
    }

    fn add(&mut self, requests: &'a Resources) {
        for (name, amount) in requests.amounts() {
            let one = if name == "pods" { 1 } else { u128::from(amount) };
            if one > 0 {
                *self.used.entry(name).or_default() += one;
            }
        }
    }

    /// Takes a pod's devices, and says what is wrong with them.
    fn take_gpus(&mut self, milli: u64, gpus: &[u32]) -> Option<String> {
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
    fn over(&self) -> Vec<String> {
        let all = amounts(self.allocatable);
        let over = self.used.iter().filter(|(name, used)| {
            let has = all.get(*name).copied().unwrap_or(0);
            **used > has && **used > self.before.get(*name).copied().unwrap_or(0)
        });
        over.map(|(name, used)| format!("{}: {used} {name} are used, more than it has", self.name))
            .collect()
    }
}

/// Amounts above zero by name.
fn amounts(resources: &Resources) -> BTreeMap<&str, u128> {
    resources.amounts().filter(|(_, n)| *n > 0).map(|(name, n)| (name, u128::from(n))).collect()
}

fn devices(allocatable: &Resources, used: &[u64]) -> Vec<u64> {
    let number = usize::try_from(allocatable.gpu_milli / GPU_MILLI).unwrap_or(0);
    (0..number).map(|gpu| used.get(gpu).copied().unwrap_or(0)).collect()
}

fn node_labels(pool: &NodePool, it: &InstanceType, launch: &Launch) -> Labels {
    let mut expected = it.labels.clone();
    for (key, value) in &pool.labels {
        expected.insert(key.clone(), value.clone());
    }
    let own: [(&str, Arc<str>); 4] = [
        (key::ZONE, launch.zone.clone()),
        (key::CAPACITY_TYPE, launch.capacity_type.as_str().into()),
        (key::INSTANCE_TYPE, it.name.clone()),
        (key::NODE_POOL, pool.name.clone()),
    ];
    for (key, value) in own {
        expected.insert(key.into(), value);
    }
    expected
}

/// Kubernetes' node affinity in its own words.
fn satisfied(requirement: &Requirement, labels: &Labels) -> bool {
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
fn repels(taint: &Taint, tolerations: &[Toleration]) -> bool {
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
