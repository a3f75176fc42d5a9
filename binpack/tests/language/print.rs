//! Inputs as text that can be read again.

use std::fmt::{self, Display, Write};
use std::sync::Arc;

use binpack::{
    Effect, Gang, HostPort, Input, InstanceType, Labels, Namespaces, Node, NodeGroup,
    NodeInclusion, NodePool, Operator, Pod, PodAffinityTerm, PreemptionPolicy, Protocol,
    Requirement, Resources, RunningPod, Toleration, TolerationOperator, TopologySpread,
    WhenUnsatisfiable, key,
};

/// An input that shows itself as statements.
#[derive(Clone)]
pub(crate) struct Question(pub(crate) Input);

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        f.write_str(&text(&self.0))
    }
}

/// The statements of an input.
pub(crate) fn text(input: &Input) -> String {
    let mut lines = vec![format!("zones {}", zones(input).join(" "))];
    for it in &*input.instance_types {
        lines.push(instance_type(it));
        lines.extend(it.offerings.iter().map(|o| {
            let price = dollars(o.price_micros);
            let line = format!("offer {} in {} {} {price}", it.name, o.zone, o.capacity_type);
            o.available.map_or(line.clone(), |available| format!("{line} available {available}"))
        }));
    }
    lines.extend(input.pools.iter().map(pool));
    lines.extend(input.node_groups.iter().map(group));
    lines.extend(input.daemons.iter().map(|daemon| format!("daemon {}", pod(daemon))));
    lines.extend(input.gangs.iter().map(gang));
    lines.extend(input.disruption_budgets.iter().map(|budget| {
        let (name, allowed) = (&budget.name, budget.disruptions_allowed);
        let (of, namespace) = (selector(&budget.selector.requirements), &budget.namespace);
        format!("budget {name} allows {allowed} of {of} in {namespace}")
    }));
    for of in &input.nodes {
        lines.push(node(of));
        lines.extend(of.pods.iter().map(|running| runs(running, &of.name)));
    }
    lines.extend(input.pods.iter().map(|of| format!("pod {}", pod(of))));
    lines.join("\n") + "\n"
}

fn zones(input: &Input) -> Vec<String> {
    let offerings = input.instance_types.iter().flat_map(|it| &it.offerings);
    let mut zones: Vec<String> = offerings.map(|o| o.zone.to_string()).collect();
    zones.push("a".into());
    zones.sort_unstable();
    zones.dedup();
    zones
}

fn dollars(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The words of a statement, one after the other.
struct Words(String);

impl Words {
    fn of(name: &str) -> Self {
        Self(name.into())
    }

    fn add(&mut self, word: impl Display) {
        write!(self.0, " {word}").expect("a string takes all");
    }

    fn when(&mut self, there: bool, word: impl Display) {
        if there {
            self.add(word);
        }
    }
}

fn instance_type(it: &InstanceType) -> String {
    let mut words = Words::of(&format!("type {}", it.name));
    words.add(resources(&it.capacity));
    words.when(!it.labels.is_empty(), format!("labels {}", labels(&it.labels)));
    reduced(&mut words, &it.capacity, &it.allocatable);
    for (driver, limit) in &it.volume_limits {
        words.add(format!("volumes {driver} {limit}"));
    }
    words.0
}

/// `allocatable`, where it is less than the capacity.
fn reduced(words: &mut Words, capacity: &Resources, allocatable: &Resources) {
    words.when(allocatable != capacity, format!("allocatable {}", amounts(allocatable)));
}

fn pool(pool: &NodePool) -> String {
    let mut words = Words::of(&format!("pool {}", pool.name));
    words.when(pool.weight > 0, format!("weight {}", pool.weight));
    words.when(!pool.requirements.is_empty(), format!("requires {}", all_of(&pool.requirements)));
    pool.taints.iter().for_each(|taint| words.add(format!("taint {taint}")));
    words.when(!pool.labels.is_empty(), format!("labels {}", labels(&pool.labels)));
    let limits = &pool.limits;
    let fixed = [
        ("cpu", limits.cpu_milli.map(|milli| format!("{milli}m"))),
        ("memory", limits.memory_bytes.map(|bytes| bytes.to_string())),
        ("gpu", limits.gpu_milli.map(|milli| format!("{milli}m"))),
        ("disk", limits.ephemeral_bytes.map(|bytes| bytes.to_string())),
        ("nodes", limits.nodes.map(|nodes| nodes.to_string())),
    ];
    let mut parts: Vec<String> =
        fixed.into_iter().filter_map(|(name, most)| Some(format!("{name}={}", most?))).collect();
    parts.extend(limits.extended.iter().map(|(name, most)| format!("{name}={most}")));
    words.when(!parts.is_empty(), format!("limit {}", parts.join(",")));
    let overhead = &pool.daemon_overhead;
    words.when(*overhead != Resources::default(), format!("overhead {}", amounts(overhead)));
    words.when(pool.best_effort_percent > 0, format!("overcommit {}", pool.best_effort_percent));
    for least in &pool.min_values {
        words.add(format!("min-values {} {}", short(&least.key), least.count));
    }
    words.0
}

fn group(group: &NodeGroup) -> String {
    let NodeGroup { name, instance_type, zone, capacity_type, min_size, max_size, .. } = group;
    let mut words = Words::of(&format!("group {name} {instance_type} zone {zone}"));
    words.add(format!("paid {capacity_type} min {min_size} max {max_size}"));
    words.when(group.priority != 0, format!("priority {}", group.priority));
    group.taints.iter().for_each(|taint| words.add(format!("taint {taint}")));
    words.when(!group.labels.is_empty(), format!("labels {}", labels(&group.labels)));
    words.0
}

fn gang(gang: &Gang) -> String {
    let how = if gang.topology_required { "within" } else { "prefers" };
    let keys = gang.topology_keys.iter().map(|key| format!(" {how} {}", short(key)));
    format!("gang {} min {}{}", gang.name, gang.min_member, keys.collect::<String>())
}

fn node(node: &Node) -> String {
    let mut words = Words::of(&format!("node {}", node.name));
    words.add(resources(&node.capacity));
    words.when(node.group.is_some(), format!("group {}", node.group.as_deref().unwrap_or("")));
    words.when(!node.labels.is_empty(), format!("labels {}", labels(&node.labels)));
    reduced(&mut words, &node.capacity, &node.allocatable);
    node.taints.iter().for_each(|taint| words.add(format!("taint {taint}")));
    let other = node.pods.iter().fold(node.used.clone(), |used, running| {
        used.saturating_sub(&running.pod.requests.clone().with_pods(1))
    });
    words.when(other != Resources::default(), format!("used {}", amounts(&other)));
    for (driver, limit) in &node.volume_limits {
        words.add(format!("volumes {driver} {limit}"));
    }
    words.0
}

fn runs(running: &RunningPod, node: &str) -> String {
    let mut words = Words::of(&format!("runs {} on {node}", running.pod.name));
    words.when(running.daemon, "of-daemon");
    let gpus: Vec<String> = running.gpus.iter().map(u32::to_string).collect();
    words.when(!gpus.is_empty(), format!("on-gpus {}", gpus.join(",")));
    words.add(clauses(&running.pod));
    words.0
}

fn pod(pod: &Pod) -> String {
    format!("{} {}", pod.name, clauses(pod))
}

fn clauses(pod: &Pod) -> String {
    let mut words = Words(resources(&pod.requests));
    words.when(&*pod.namespace != "default", format!("namespace {}", pod.namespace));
    words.when(!pod.labels.is_empty(), format!("labels {}", labels(&pod.labels)));
    words.when(!pod.requirements.is_empty(), format!("requires {}", all_of(&pod.requirements)));
    words.when(!pod.node_affinity.is_empty(), format!("either {}", any_of(&pod.node_affinity)));
    pod.tolerations.iter().for_each(|t| words.add(format!("tolerates {}", toleration(t))));
    pod.topology_spread.iter().for_each(|s| words.add(format!("spread {}", spread(s))));
    pod.pod_affinity.iter().for_each(|t| words.add(format!("near {}", term(t))));
    pod.pod_anti_affinity.iter().for_each(|t| words.add(format!("apart {}", term(t))));
    let wants = &pod.preferences;
    for of in &wants.node_affinity {
        words.add(format!("prefers {} weight {}", all_of(&of.preference), of.weight));
    }
    for of in &wants.pod_affinity {
        words.add(format!("prefers-near {} weight {}", term(&of.preference), of.weight));
    }
    for of in &wants.pod_anti_affinity {
        words.add(format!("prefers-apart {} weight {}", term(&of.preference), of.weight));
    }
    pod.host_ports.iter().for_each(|p| words.add(format!("port {}", port(p))));
    for volume in &pod.volumes {
        words.add(format!("volume {}/{}", volume.driver, volume.handle));
        words.when(!volume.topologies.is_empty(), format!("at {}", any_of(&volume.topologies)));
    }
    words.when(pod.priority != 0, format!("priority {}", pod.priority));
    words.when(pod.preemption_policy == PreemptionPolicy::Never, "preempts-nobody");
    words.when(pod.do_not_disrupt, "protected");
    pod.gang.iter().for_each(|gang| words.add(format!("member-of {gang}")));
    words.0.trim_start().into()
}

/// `cpu 1500m memory 1024`.
fn resources(of: &Resources) -> String {
    named(of).map(|(name, amount)| format!("{name} {amount}")).collect::<Vec<_>>().join(" ")
}

/// `cpu=1500m,memory=1024`.
fn amounts(of: &Resources) -> String {
    named(of).map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

fn named(of: &Resources) -> impl Iterator<Item = (&str, String)> {
    of.amounts().filter(|(_, amount)| *amount > 0).map(|(name, amount)| match name {
        "cpu_milli" => ("cpu", format!("{amount}m")),
        "gpu_milli" => ("gpu", format!("{amount}m")),
        "memory_bytes" => ("memory", bytes(amount)),
        "ephemeral_bytes" => ("disk", bytes(amount)),
        other => (other, amount.to_string()),
    })
}

fn bytes(amount: u64) -> String {
    if amount.is_multiple_of(1 << 30) { format!("{}Gi", amount >> 30) } else { amount.to_string() }
}

fn short(full: &str) -> &str {
    match full {
        key::ZONE => "zone",
        key::HOSTNAME => "host",
        key::INSTANCE_TYPE => "type",
        key::CAPACITY_TYPE => "capacity",
        key::NODE_POOL => "pool",
        key::ARCH => "arch",
        key::OS => "os",
        other => other,
    }
}

fn labels(of: &Labels) -> String {
    of.iter().map(|(key, value)| format!("{}={value}", short(key))).collect::<Vec<_>>().join(",")
}

fn requirement(of: &Requirement) -> String {
    let (key, values) = (short(&of.key), of.values.join(","));
    match of.operator {
        Operator::In => format!("{key}={values}"),
        Operator::NotIn => format!("{key}!={values}"),
        Operator::Exists => key.into(),
        Operator::DoesNotExist => format!("!{key}"),
        Operator::Gt => format!("{key}>{values}"),
        Operator::Lt => format!("{key}<{values}"),
    }
}

fn all_of(of: &[Requirement]) -> String {
    of.iter().map(requirement).collect::<Vec<_>>().join("&")
}

fn any_of(of: &[Vec<Requirement>]) -> String {
    of.iter().map(|term| all_of(term)).collect::<Vec<_>>().join("|")
}

fn selector(of: &[Requirement]) -> String {
    if of.is_empty() { "*".into() } else { all_of(of) }
}

fn term(of: &PodAffinityTerm) -> String {
    let near = format!("{} of {}", short(&of.topology_key), selector(&of.selector.requirements));
    match &of.namespaces {
        Namespaces::Own => near,
        Namespaces::Listed(listed) => format!("{near} in {}", listed.join(",")),
        Namespaces::All => format!("{near} in *"),
    }
}

fn spread(of: &TopologySpread) -> String {
    let (key, pods) = (short(&of.topology_key), selector(&of.selector.requirements));
    let mut words = Words::of(&format!("{key} of {pods} skew {}", of.max_skew));
    of.min_domains.iter().for_each(|least| words.add(format!("min-domains {least}")));
    words.when(of.when_unsatisfiable == WhenUnsatisfiable::ScheduleAnyway, "anyway");
    words.when(of.node_affinity_policy == NodeInclusion::Ignore, "any-affinity");
    words.when(of.node_taints_policy == NodeInclusion::Honor, "honor-taints");
    words.0
}

fn toleration(of: &Toleration) -> String {
    let key = of.key.as_deref().unwrap_or("*");
    let value = match &of.operator {
        TolerationOperator::Exists => String::new(),
        TolerationOperator::Equal(value) => format!("={value}"),
    };
    let effect = of.effect.map(|effect: Effect| format!(":{effect:?}")).unwrap_or_default();
    format!("{key}{value}{effect}")
}

fn port(of: &HostPort) -> String {
    let protocol = match of.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
        Protocol::Sctp => "/sctp",
    };
    let address: &Arc<str> = &of.ip;
    let address = if address.is_empty() { String::new() } else { format!("@{address}") };
    format!("{}{protocol}{address}", of.port)
}
