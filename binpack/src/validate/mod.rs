//! A second opinion on plans.
//!
//! It reads the public model and nothing of the packer: sums, label matching, taints and GPU
//! devices are worked out here once more, pod by pod and in the plainest way.

mod site;

use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::fmt;

use self::site::{Site, amounts, repels, satisfied};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Binding, Input, InstanceType, Launch, Node, NodePool, Plan, Pod, Resources, Target, key,
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
    check.names();
    check.every_pod_once();
    check.bindings();
    check.launches();
    check.limits();
    check.cost();
    check.breaches
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

    /// A name that two objects share names neither: what a plan says of it can't be judged.
    fn names(&mut self) {
        let input = self.input;
        let pods = twice(input.pods.iter().map(|pod| &*pod.name));
        let nodes = twice(input.nodes.iter().map(|node| &*node.name));
        let pools = twice(input.pools.iter().map(|pool| &*pool.name));
        let types = twice(input.instance_types.iter().map(|it| &*it.name));
        let found = [
            (Rule::EveryPodOnce, "pod", pods),
            (Rule::TargetExists, "node", nodes),
            (Rule::Launch, "pool", pools),
            (Rule::Launch, "instance type", types),
        ];
        for (rule, what, name) in found {
            if let Some(name) = name {
                self.breach(rule, format!("the input has {what} {name} twice"));
            }
        }
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
        if (&launch.capacity, &launch.allocatable) != (&it.capacity, &it.allocatable) {
            return Some("capacity or allocatable is not its type's".into());
        }
        if launch.daemon_overhead != pool.daemon_overhead {
            return Some("daemon overhead is not its pool's".into());
        }
        if launch.taints != pool.taints {
            return Some("taints are not its pool's".into());
        }
        if let Some(problem) = mislabelled(pool, it, launch) {
            return Some(problem);
        }
        let unmet = pool.requirements.iter().find(|r| !satisfied(r, &launch.labels))?;
        Some(format!("pool {} requires {unmet}", pool.name))
    }

    fn limits(&mut self) {
        for pool in &self.input.pools {
            let launches = self.plan.launches.iter().filter(|launch| launch.pool == pool.name);
            let types =
                launches.filter_map(|launch| self.types.get(&*launch.instance_type).copied());
            let added = total(types.map(|it| &it.capacity));
            let of = |node: &&Node| {
                node.labels.get(key::NODE_POOL).is_some_and(|name| *name == pool.name)
            };
            let before = total(self.input.nodes.iter().filter(of).map(|node| &node.capacity));
            let limits = &pool.limits;
            let checks = [
                ("cpu_milli", limits.cpu_milli),
                ("memory_bytes", limits.memory_bytes),
                ("gpu_milli", limits.gpu_milli),
                ("nodes", limits.nodes),
            ];
            for (((name, limit), added), before) in checks.into_iter().zip(added).zip(before) {
                let sum = before + added;
                // A pool that was over its limit before is not the plan's doing, as long as the
                // plan adds nothing to what it is over in.
                if added > 0 && limit.is_some_and(|limit| sum > u128::from(limit)) {
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
        if sum.min(u128::from(u64::MAX)) != u128::from(self.plan.cost_per_hour_micros) {
            self.breach(
                Rule::Cost,
                format!("launches cost {sum}, the plan says {}", self.plan.cost_per_hour_micros),
            );
        }
    }
}

/// What is wrong with a launch's labels: they are what the machine says of itself, and those of
/// its pool, which must not contradict it.
fn mislabelled(pool: &NodePool, it: &InstanceType, launch: &Launch) -> Option<String> {
    let mut labels = it.labels.clone();
    labels.insert(key::ZONE.into(), launch.zone.clone());
    labels.insert(key::CAPACITY_TYPE.into(), launch.capacity_type.as_str().into());
    labels.insert(key::INSTANCE_TYPE.into(), it.name.clone());
    labels.insert(key::NODE_POOL.into(), pool.name.clone());
    for (key, value) in &pool.labels {
        let own = labels.insert(key.clone(), value.clone());
        if let Some(own) = own.filter(|own| own != value) {
            return Some(format!("pool {} wants {key}={value}, and it is {own}", pool.name));
        }
    }
    (launch.labels != labels).then(|| "labels are not its type's and pool's".into())
}

/// CPU, memory, GPUs and number of machines.
fn total<'a>(machines: impl Iterator<Item = &'a Resources>) -> [u128; 4] {
    let mut sums = [0; 4];
    for machine in machines {
        let amounts = [machine.cpu_milli, machine.memory_bytes, machine.gpu_milli, 1];
        sums.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += u128::from(amount));
    }
    sums
}

/// The first name that was there before.
fn twice<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}
