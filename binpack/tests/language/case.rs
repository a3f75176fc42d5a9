//! Cases: a question to the planner, and what the answer must be like.

use std::collections::BTreeMap;
use std::sync::Arc;

use binpack::{
    CapacityType, Expander, Gang, Input, InstanceType, MinValues, Node, NodePool, Offering, Pod,
    PodDisruptionBudget, Preemption, Preference, Resources, RunningPod, key,
};

use super::expectation::Expectation;
use super::groups::{capacity_type, expanders, group};
use super::pods::pod;
use super::syntax::{all_of, amounts, label_key, labels, limits, resource, selector, taint};
use super::text::{Fault, Line};

/// How many pods a machine takes where a case doesn't say: the kubelet's default.
const PODS: u64 = 110;

/// One behaviour.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Its file and line.
    pub(crate) at: String,
    pub(crate) input: Input,
    /// By the name of a pod or of several: their names.
    pub(crate) groups: BTreeMap<String, Vec<Arc<str>>>,
    /// The configs for which it holds, by name; empty is all.
    pub(crate) configs: Vec<String>,
    pub(crate) preference: Preference,
    pub(crate) expanders: Option<Vec<Expander>>,
    pub(crate) preemption: Preemption,
    /// With their lines.
    pub(crate) expectations: Vec<(usize, Expectation)>,
    zones: Vec<String>,
    types: Vec<InstanceType>,
}

impl Case {
    /// The cases of a file, which must be well formed.
    pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Self>, Fault> {
        let mut cases: Vec<Self> = Vec::new();
        for mut line in Line::all(file, text)? {
            let word = line.word("a statement")?;
            if word == "case" {
                cases.push(Self::begin(&mut line));
                continue;
            }
            let Some(case) = cases.last_mut() else {
                return Err(line.fault(format!("{word} must follow a case")));
            };
            case.statement(word, &mut line)?;
            line.end()?;
        }
        for case in &mut cases {
            if case.expectations.is_empty() {
                return Err(format!("{}: the case expects nothing", case.at));
            }
            case.input.instance_types = std::mem::take(&mut case.types).into();
        }
        Ok(cases)
    }

    fn begin(line: &mut Line<'_>) -> Self {
        Self {
            at: format!("{}:{}", line.file(), line.number),
            name: line.rest(),
            input: Input::default(),
            groups: BTreeMap::new(),
            configs: Vec::new(),
            preference: Preference::default(),
            expanders: None,
            preemption: Preemption::default(),
            expectations: Vec::new(),
            zones: vec!["a".into()],
            types: Vec::new(),
        }
    }

    fn statement(&mut self, word: &str, line: &mut Line<'_>) -> Result<(), Fault> {
        match word {
            "zones" => self.zones = line.rest().split(' ').map(Into::into).collect(),
            "config" => self.configs.extend(line.rest().split(' ').map(Into::into)),
            "preferences" => {
                line.must("ignored")?;
                self.preference = Preference::Ignore;
            }
            "expanders" => self.expanders = Some(expanders(line)?),
            "group" => {
                let group = group(line)?;
                self.input.node_groups.push(group);
            }
            "preemption" => {
                line.must("lower")?;
                self.preemption = Preemption::Lower;
            }
            "gang" => {
                let gang = gang(line)?;
                self.input.gangs.push(gang);
            }
            "budget" => {
                let budget = budget(line)?;
                self.input.disruption_budgets.push(budget);
            }
            "type" => self.add_type(line)?,
            "offer" => self.add_offer(line)?,
            "pool" => {
                let pool = pool(line)?;
                self.input.pools.push(pool);
            }
            "node" => {
                let node = node(line)?;
                self.input.nodes.push(node);
            }
            "runs" => self.add_running(line)?,
            "pod" | "pods" => self.add_pods(word == "pods", line)?,
            "daemon" => {
                let name = line.word("a name")?;
                self.input.daemons.push(pod(name, line)?);
            }
            "expect" => {
                let known = |name: &str| self.groups.contains_key(name);
                let expectation = Expectation::read(line, &known)?;
                self.expectations.push((line.number, expectation));
            }
            other => return Err(line.fault(format!("nothing is known of {other}"))),
        }
        Ok(())
    }

    /// `NAME x3` and what they are like; `%` in the line is the number of each.
    fn add_pods(&mut self, several: bool, line: &mut Line<'_>) -> Result<(), Fault> {
        let name = line.word("a name")?;
        if !several {
            self.input.pods.push(pod(name, line)?);
            self.know(name, vec![name.into()]);
            return Ok(());
        }
        let times = line.word("their number")?;
        let number = times.strip_prefix('x').and_then(|times| times.parse::<usize>().ok());
        let number = number.ok_or_else(|| line.fault(format!("{times} is no number: write x3")))?;
        let first = pod(name, line)?;
        let members: Vec<Pod> = (0..number).map(|at| member(&first, at)).collect();
        for member in &members {
            self.know(&member.name, vec![member.name.clone()]);
        }
        self.know(name, members.iter().map(|member| member.name.clone()).collect());
        self.input.pods.extend(members);
        Ok(())
    }

    fn know(&mut self, name: &str, pods: Vec<Arc<str>>) {
        self.groups.insert(name.into(), pods);
    }

    /// `NAME on NODE`, perhaps `of-daemon` or `on-gpus 0,1`, and what it is like.
    fn add_running(&mut self, line: &mut Line<'_>) -> Result<(), Fault> {
        let name = line.word("a name")?;
        line.must("on")?;
        let on = line.word("a node")?;
        let daemon = line.take("of-daemon");
        let gpus = if line.take("on-gpus") { line.word("GPUs")? } else { "" };
        let gpus = gpus.split(',').filter(|gpu| !gpu.is_empty()).map(str::parse);
        let gpus: Result<Vec<u32>, _> = gpus.collect();
        let mut running = RunningPod::new(pod(name, line)?);
        running.gpus = gpus.map_err(|_| line.fault("a GPU is a number"))?;
        running.daemon = daemon;
        let Some(node) = self.input.nodes.iter_mut().find(|node| *node.name == *on) else {
            return Err(line.fault(format!("there is no node {on}")));
        };
        if !node.take(&running.pod.requests, &running.gpus) {
            return Err(line.fault(format!("{name} does not fit on {on}")));
        }
        node.pods.push(running);
        self.know(name, vec![name.into()]);
        Ok(())
    }

    fn add_type(&mut self, line: &mut Line<'_>) -> Result<(), Fault> {
        let mut it = InstanceType::new(line.word("a name")?, Resources::default());
        it.capacity.pods = PODS;
        let (mut reduced, mut zones, mut prices) = (None, self.zones.clone(), Vec::new());
        while let Some(word) = line.next() {
            match word {
                "price" => prices.push((CapacityType::OnDemand, line.amount(word, 1_000_000)?)),
                "spot" => prices.push((CapacityType::Spot, line.amount(word, 1_000_000)?)),
                "zones" => zones = line.word("zones")?.split(',').map(Into::into).collect(),
                "labels" => it.labels.extend(labels(line)?),
                "allocatable" => reduced = Some(amounts(line, it.capacity.clone())?),
                "volumes" => {
                    let driver = line.word("a driver")?.into();
                    it.volume_limits.insert(driver, line.number("a number of volumes")?);
                }
                _ if resource(word, line, &mut it.capacity)? => {}
                _ => return Err(line.fault(format!("a type has no {word}"))),
            }
        }
        if let Some(zone) = zones.iter().find(|zone| !self.zones.contains(zone)) {
            return Err(line.fault(format!("there is no zone {zone}")));
        }
        it.allocatable = reduced.unwrap_or_else(|| it.capacity.clone());
        for (how, price) in prices {
            it.offerings.extend(zones.iter().map(|zone| Offering::new(&**zone, how, price)));
        }
        self.types.push(it);
        Ok(())
    }

    /// `TYPE in ZONE CAPACITY-TYPE PRICE`, perhaps `available N`.
    fn add_offer(&mut self, line: &mut Line<'_>) -> Result<(), Fault> {
        let name = line.word("a type")?;
        line.must("in")?;
        let zone = line.word("a zone")?;
        let how = capacity_type(line)?;
        let mut offering = Offering::new(zone, how, line.amount("a price", 1_000_000)?);
        if line.take("available") {
            offering.available = Some(line.number("how many can be had")?);
        }
        match self.types.iter_mut().find(|it| *it.name == *name) {
            Some(it) => it.offerings.push(offering),
            None => return Err(line.fault(format!("there is no type {name}"))),
        }
        Ok(())
    }
}

/// One of several pods, with its number for every `%`.
fn member(first: &Pod, at: usize) -> Pod {
    let mut pod = first.clone();
    pod.name = format!("{}-{at}", first.name).into();
    for volume in &mut pod.volumes {
        volume.handle = volume.handle.replace('%', &at.to_string()).into();
    }
    pod.labels = pod
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), value.replace('%', &at.to_string()).into()))
        .collect();
    pod
}

fn pool(line: &mut Line<'_>) -> Result<NodePool, Fault> {
    let mut pool = NodePool::new(line.word("a name")?);
    while let Some(word) = line.next() {
        match word {
            "weight" => pool.weight = line.number("a weight")?,
            "requires" => pool.requirements.extend(all_of(line.word("requirements")?)),
            "taint" => pool.taints.push(taint(line)?),
            "labels" => pool.labels.extend(labels(line)?),
            "limit" => pool.limits = limits(line)?,
            "overhead" => pool.daemon_overhead = amounts(line, Resources::default())?,
            "overcommit" => pool.best_effort_percent = line.number("a percentage")?,
            "min-values" => {
                let key = label_key(line.word("a label")?);
                pool.min_values.push(MinValues { key, count: line.number("a number")? });
            }
            _ => return Err(line.fault(format!("a pool has no {word}"))),
        }
    }
    Ok(pool)
}

/// `NAME min N`, perhaps `within KEY` or `prefers KEY`.
fn gang(line: &mut Line<'_>) -> Result<Gang, Fault> {
    let name = line.word("a name")?;
    line.must("min")?;
    let mut gang = Gang::new(name, line.number("a number of members")?);
    while let Some(word) = line.next() {
        gang.topology_required = match word {
            "within" => true,
            "prefers" => false,
            _ => return Err(line.fault(format!("a gang has no {word}"))),
        };
        gang.topology_keys.push(label_key(line.word("a label")?));
    }
    Ok(gang)
}

/// `NAME allows N of SELECTOR`, perhaps `in NAMESPACE`.
fn budget(line: &mut Line<'_>) -> Result<PodDisruptionBudget, Fault> {
    let name = line.word("a name")?;
    line.must("allows")?;
    let allowed = line.number("a number of evictions")?;
    line.must("of")?;
    let budget = PodDisruptionBudget::new(name, selector(line)?, allowed);
    if line.take("in") {
        return Ok(budget.in_namespace(line.word("a namespace")?));
    }
    Ok(budget)
}

fn node(line: &mut Line<'_>) -> Result<Node, Fault> {
    let mut node = Node::new(line.word("a name")?, Resources::default());
    node.capacity.pods = PODS;
    let mut reduced = None;
    while let Some(word) = line.next() {
        match word {
            "zone" => {
                node = node.with_label(key::ZONE, line.word("a zone")?);
            }
            "group" => node.group = Some(line.word("a group")?.into()),
            "labels" => node.labels.extend(labels(line)?),
            "taint" => node.taints.push(taint(line)?),
            "used" => node.used = amounts(line, Resources::default())?,
            "allocatable" => reduced = Some(amounts(line, node.capacity.clone())?),
            "volumes" => {
                let driver = line.word("a driver")?.into();
                node.volume_limits.insert(driver, line.number("a number of volumes")?);
            }
            _ if resource(word, line, &mut node.capacity)? => {}
            _ => return Err(line.fault(format!("a node has no {word}"))),
        }
    }
    node.allocatable = reduced.unwrap_or_else(|| node.capacity.clone());
    Ok(node)
}
