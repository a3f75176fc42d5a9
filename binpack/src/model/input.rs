//! What the packer is asked, and what it refuses.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

use super::group_check::check_groups;
use super::{
    Disruption, GPU_MILLI, Gang, InstanceType, LabelSelector, MAX_GPUS, Node, NodeCount, NodeGroup,
    NodePool, Operator, Pod, PodAffinityTerm, PodDisruptionBudget, Reason, ReasonKind, Requirement,
    Resources, Unplaced, Volume,
};
use crate::error::{Error, ErrorKind, Result};

/// The greatest amount of any resource: 2^53, which every JSON reader keeps exactly. As bytes it
/// is 8 PiB, far above any machine, so a greater one is a mistake of units.
pub const MAX_QUANTITY: u64 = 1 << 53;

/// The greatest price: a million dollars an hour.
pub const MAX_PRICE_MICROS: u64 = 1_000_000_000_000;

/// The most overcommit for best-effort pods: ten machines for one is beyond any use.
const MAX_BEST_EFFORT_PERCENT: u32 = 1_000;

/// A question to the packer: these pods, these nodes, and what may be launched.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// Pods without a node.
    pub pods: Vec<Pod>,
    /// Nodes that exist or are on their way.
    pub nodes: Vec<Node>,
    /// What may be launched; with no pool and no group nothing is.
    pub pools: Vec<NodePool>,
    /// Groups of equal nodes that may grow; they are asked before the pools.
    pub node_groups: Vec<NodeGroup>,
    /// What the cloud sells.
    pub instance_types: Arc<[InstanceType]>,
    /// The gangs that pods name.
    pub gangs: Vec<Gang>,
    /// Pods of daemons (`DaemonSet`), one for each: those that tolerate the taints of a pool and whose
    /// requirements its nodes satisfy take room on every node that is launched.
    pub daemons: Vec<Pod>,
    /// What [`consolidate`](crate::consolidate) must leave of pods that run, and pods that are evicted
    /// for others of higher priority should.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
}

impl Input {
    /// Whether every object is well formed. [`plan`](crate::plan) asks this first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] that names the first object and field that is wrong: a name that is
    /// empty or given twice, an amount above [`MAX_QUANTITY`], an extended resource with the name of
    /// a fixed one, a request of more than one GPU that
    /// is not whole GPUs, a requirement with the wrong number of values, an allocatable above the
    /// capacity, an offering given twice, a price above [`MAX_PRICE_MICROS`], a group whose template
    /// is not sold or whose sizes contradict each other.
    pub fn check(&self) -> Result<()> {
        let running: usize = self.nodes.iter().map(|node| node.pods.len()).sum();
        let mut pods = Names::of("pod", self.pods.len() + running);
        self.pods.iter().try_for_each(|pod| pods.add(&pod.name).and_then(|()| check_pod(pod)))?;
        let mut names = Names::of("node", self.nodes.len());
        self.nodes
            .iter()
            .try_for_each(|node| names.add(&node.name).and_then(|()| check_node(node)))?;
        for node in &self.nodes {
            let mut running = node.pods.iter().map(|running| &running.pod);
            running.try_for_each(|pod| pods.add(&pod.name).and_then(|()| check_pod(pod)))?;
        }
        let mut names = Names::of("pool", self.pools.len());
        self.pools
            .iter()
            .try_for_each(|pool| names.add(&pool.name).and_then(|()| check_pool(pool)))?;
        check_groups(self, &names.seen)?;
        self.check_gangs()?;
        let mut names = Names::of("daemon", self.daemons.len());
        self.daemons
            .iter()
            .try_for_each(|pod| names.add(&pod.name).and_then(|()| check_daemon(pod)))?;
        self.disruption_budgets.iter().try_for_each(check_pod_budget)?;
        check_types(&self.instance_types)
    }

    fn check_gangs(&self) -> Result<()> {
        let mut names = Names::of("gang", self.gangs.len());
        for gang in &self.gangs {
            names.add(&gang.name)?;
            if gang.topology_keys.iter().any(|key| key.is_empty()) {
                return Err(invalid(
                    "gang",
                    &gang.name,
                    "topology_keys",
                    "has an empty key: name it",
                ));
            }
            if gang.topology_required && gang.topology_keys.is_empty() {
                let problem = "is set without topology_keys: name the label of nodes";
                return Err(invalid("gang", &gang.name, "topology_required", problem));
            }
        }
        self.pods.iter().try_for_each(|pod| known_gang(pod, &names.seen))
    }

    /// Takes out the pods that are malformed in themselves, so that one of them doesn't keep all
    /// others waiting, and says where they were and what is wrong with them.
    pub(crate) fn set_malformed_aside(&mut self) -> Vec<(usize, Unplaced)> {
        let mut aside = Vec::new();
        let mut index = 0;
        let gangs: HashSet<&str> = self.gangs.iter().map(|gang| &*gang.name).collect();
        self.pods.retain(|pod| {
            let formed = named("pod", &pod.name).and_then(|()| check_pod(pod));
            let problem = formed.and_then(|()| known_gang(pod, &gangs)).err();
            if let Some(problem) = &problem {
                let reason = Reason::new(ReasonKind::Malformed, problem.to_string());
                aside.push((index, Unplaced::new(pod.name.clone(), reason)));
            }
            index += 1;
            problem.is_none()
        });
        aside
    }
}

pub(crate) fn check_types(types: &[InstanceType]) -> Result<()> {
    let mut names = Names::of("instance type", types.len());
    types.iter().try_for_each(|it| names.add(&it.name).and_then(|()| check_type(it)))
}

/// That a pod's gang is among those that are given.
pub(crate) fn known_gang(pod: &Pod, gangs: &HashSet<&str>) -> Result<()> {
    match &pod.gang {
        Some(gang) if !gangs.contains(&**gang) => {
            let problem = format!("is {gang}, which is not given: add it to gangs");
            Err(invalid("pod", &pod.name, "gang", problem))
        }
        _ => Ok(()),
    }
}

struct Names<'a> {
    what: &'static str,
    seen: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(what: &'static str, about: usize) -> Self {
        Self { what, seen: HashSet::with_capacity(about) }
    }

    fn add(&mut self, name: &'a str) -> Result<()> {
        named(self.what, name)?;
        if !self.seen.insert(name) {
            return Err(invalid(self.what, name, "name", "is given twice: rename one"));
        }
        Ok(())
    }
}

pub(super) fn named(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        let problem = format!("a {what} has an empty name: give it one");
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    Ok(())
}

pub(super) fn invalid(what: &str, name: &str, field: &str, problem: impl Display) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} {name}: {field} {problem}"))
}

pub(crate) fn check_pod(pod: &Pod) -> Result<()> {
    let bad = |field: &str, problem: &str| Err(invalid("pod", &pod.name, field, problem));
    check_resources("pod", &pod.name, "requests", &pod.requests)?;
    if pod.requests.pods > 1 {
        return bad("requests.pods", "is above 1: a pod takes one");
    }
    let gpu = pod.requests.gpu_milli;
    if gpu > GPU_MILLI && !gpu.is_multiple_of(GPU_MILLI) {
        return bad(
            "requests.gpu_milli",
            "is above 1000 and not whole GPUs: share one or ask for whole ones",
        );
    }
    if pod
        .tolerations
        .iter()
        .any(|t| t.key.is_none() && t.operator != super::TolerationOperator::Exists)
    {
        return bad("tolerations", "compares a value without a key: name the key or use Exists");
    }
    check_requirements("pod", &pod.name, "requirements", &pod.requirements)?;
    for term in &pod.node_affinity {
        check_requirements("pod", &pod.name, "node_affinity", term)?;
    }
    if pod.node_affinity.iter().any(Vec::is_empty) {
        return bad(
            "node_affinity",
            "has an alternative without conditions, which nothing satisfies: remove it",
        );
    }
    check_relations(pod)?;
    check_preferences(pod)?;
    if pod.host_ports.iter().any(|port| port.port == 0) {
        return bad("host_ports", "has port 0: name a port from 1 on");
    }
    pod.volumes.iter().try_for_each(|volume| check_volume(pod, volume))
}

/// What the pod asks of other pods.
fn check_relations(pod: &Pod) -> Result<()> {
    let bad = |field: &str, problem: &str| Err(invalid("pod", &pod.name, field, problem));
    for spread in &pod.topology_spread {
        if spread.topology_key.is_empty() {
            return bad("topology_spread", "has no topology key: name a label of nodes");
        }
        if spread.max_skew == 0 {
            return bad("topology_spread", "has max_skew 0: set it to at least 1");
        }
        if spread.min_domains == Some(0) {
            return bad(
                "topology_spread",
                "has min_domains 0: set it to at least 1 or leave it out",
            );
        }
        check_selector(pod, "topology_spread", &spread.selector)?;
    }
    for term in &pod.pod_affinity {
        check_term(pod, "pod_affinity", term)?;
    }
    for term in &pod.pod_anti_affinity {
        check_term(pod, "pod_anti_affinity", term)?;
    }
    Ok(())
}

fn check_preferences(pod: &Pod) -> Result<()> {
    let of = &pod.preferences;
    for term in &of.node_affinity {
        let field = "preferences.node_affinity";
        check_weight(pod, field, term.weight)?;
        check_requirements("pod", &pod.name, field, &term.preference)?;
    }
    let terms = [
        ("preferences.pod_affinity", &of.pod_affinity),
        ("preferences.pod_anti_affinity", &of.pod_anti_affinity),
    ];
    for (field, terms) in terms {
        for term in terms {
            check_weight(pod, field, term.weight)?;
            check_term(pod, field, &term.preference)?;
        }
    }
    Ok(())
}

fn check_weight(pod: &Pod, field: &str, weight: u32) -> Result<()> {
    if (1..=100).contains(&weight) {
        return Ok(());
    }
    Err(invalid("pod", &pod.name, field, format!("has weight {weight}: set it to 1..=100")))
}

fn check_term(pod: &Pod, field: &str, term: &PodAffinityTerm) -> Result<()> {
    if term.topology_key.is_empty() {
        let problem = "has no topology key: name a label of nodes";
        return Err(invalid("pod", &pod.name, field, problem));
    }
    check_selector(pod, field, &term.selector)
}

fn check_selector(pod: &Pod, field: &str, selector: &LabelSelector) -> Result<()> {
    check_requirements("pod", &pod.name, field, &selector.requirements)?;
    let ordered = |r: &&Requirement| matches!(r.operator, Operator::Gt | Operator::Lt);
    match selector.requirements.iter().find(ordered) {
        Some(r) => {
            let problem = format!("has `{r}`: a selector of pods compares no numbers");
            Err(invalid("pod", &pod.name, field, problem))
        }
        None => Ok(()),
    }
}

fn check_volume(pod: &Pod, volume: &Volume) -> Result<()> {
    if volume.driver.is_empty() || volume.handle.is_empty() {
        let problem = "has an empty driver or handle: name both";
        return Err(invalid("pod", &pod.name, "volumes", problem));
    }
    for term in &volume.topologies {
        check_requirements("pod", &pod.name, "volumes", term)?;
    }
    Ok(())
}

/// A daemon follows its node and asks nothing of other pods.
fn check_daemon(pod: &Pod) -> Result<()> {
    check_pod(pod)?;
    let bad = |field: &str, problem: &str| Err(invalid("daemon", &pod.name, field, problem));
    if pod.requests.gpu_milli > 0 {
        return bad("requests.gpu_milli", "must be 0: daemons hold no GPU");
    }
    if pod.gang.is_some() {
        return bad("gang", "is set: a daemon is on every node and in no gang");
    }
    Ok(())
}

pub(crate) fn check_node(node: &Node) -> Result<()> {
    let name = &node.name;
    check_resources("node", name, "capacity", &node.capacity)?;
    check_resources("node", name, "allocatable", &node.allocatable)?;
    if !node.allocatable.fits_within(&node.capacity) {
        return Err(invalid("node", name, "allocatable", "is above the capacity: lower it"));
    }
    check_resources("node", name, "used", &node.used)?;
    check_devices("node", name, "allocatable", &node.allocatable)?;
    let devices = node.allocatable.gpu_milli / GPU_MILLI;
    if node.gpu_used_milli.len() as u64 > devices {
        return Err(invalid(
            "node",
            name,
            "gpu_used_milli",
            "is longer than its GPUs: give one per GPU",
        ));
    }
    if node.gpu_used_milli.iter().any(|used| *used > GPU_MILLI) {
        return Err(invalid(
            "node",
            name,
            "gpu_used_milli",
            "is above 1000: a GPU has a thousand thousandths",
        ));
    }
    if node.price_micros.is_some_and(|price| price > MAX_PRICE_MICROS) {
        let problem = format!("is above {MAX_PRICE_MICROS} micro-dollars: correct it");
        return Err(invalid("node", name, "price_micros", problem));
    }
    if node.gpu_used_milli.iter().sum::<u64>() != node.used.gpu_milli {
        return Err(invalid(
            "node",
            name,
            "used.gpu_milli",
            "is not the sum of gpu_used_milli: make them agree",
        ));
    }
    Ok(())
}

fn check_pool(pool: &NodePool) -> Result<()> {
    check_resources("pool", &pool.name, "daemon_overhead", &pool.daemon_overhead)?;
    if pool.daemon_overhead.gpu_milli > 0 {
        return Err(invalid(
            "pool",
            &pool.name,
            "daemon_overhead.gpu_milli",
            "must be 0: daemons hold no GPU",
        ));
    }
    for least in &pool.min_values {
        let bad = |problem: &str| Err(invalid("pool", &pool.name, "min_values", problem));
        if least.key.is_empty() {
            return bad("has no key: name a label");
        }
        if least.count == 0 {
            return bad("has count 0: set it to at least 1");
        }
    }
    if pool.best_effort_percent > MAX_BEST_EFFORT_PERCENT {
        let problem = format!("is above {MAX_BEST_EFFORT_PERCENT}: lower it");
        return Err(invalid("pool", &pool.name, "best_effort_percent", problem));
    }
    check_budgets("pool", &pool.name, &pool.disruption)?;
    check_requirements("pool", &pool.name, "requirements", &pool.requirements)
}

/// Whether no budget of nodes is above all of them.
pub(super) fn check_budgets(what: &str, name: &str, disruption: &Disruption) -> Result<()> {
    let mut counts = disruption.budgets.iter().map(|budget| budget.nodes);
    if let Some(NodeCount::Percent(percent)) =
        counts.find(|count| matches!(count, NodeCount::Percent(101..)))
    {
        let problem = format!("has {percent} %: set it to 0..=100");
        return Err(invalid(what, name, "disruption.budgets", problem));
    }
    Ok(())
}

pub(crate) fn check_pod_budget(budget: &PodDisruptionBudget) -> Result<()> {
    let what = "pod disruption budget";
    named(what, &budget.name)?;
    let requirements = &budget.selector.requirements;
    check_requirements(what, &budget.name, "selector", requirements)?;
    let ordered = |r: &&Requirement| matches!(r.operator, Operator::Gt | Operator::Lt);
    match requirements.iter().find(ordered) {
        Some(r) => {
            let problem = format!("has `{r}`: a selector of pods compares no numbers");
            Err(invalid(what, &budget.name, "selector", problem))
        }
        None => Ok(()),
    }
}

fn check_type(it: &InstanceType) -> Result<()> {
    let name = &it.name;
    let bad = |field: &str, problem: String| Err(invalid("instance type", name, field, problem));
    check_resources("instance type", name, "capacity", &it.capacity)?;
    check_devices("instance type", name, "allocatable", &it.allocatable)?;
    if !it.allocatable.fits_within(&it.capacity) {
        return bad("allocatable", "is above the capacity: lower it".into());
    }
    let mut seen = HashSet::new();
    for offering in &it.offerings {
        let (zone, capacity_type) = (&*offering.zone, offering.capacity_type);
        if zone.is_empty() {
            return bad("offerings", "has an empty zone: name it".into());
        }
        if offering.price_micros > MAX_PRICE_MICROS {
            return bad(
                "offerings",
                format!("has a price above {MAX_PRICE_MICROS} micro-dollars in {zone}: correct it"),
            );
        }
        if !seen.insert((zone, capacity_type)) {
            return bad("offerings", format!("has {capacity_type} in {zone} twice: remove one"));
        }
    }
    Ok(())
}

fn check_resources(what: &str, name: &str, field: &str, resources: &Resources) -> Result<()> {
    let taken = |name: &&Arc<str>| name.is_empty() || Resources::NAMES.contains(&&***name);
    if let Some(extended) = resources.extended.keys().find(taken) {
        let problem = format!("has {extended:?}: give an extended resource a name of its own");
        return Err(invalid(what, name, &format!("{field}.extended"), problem));
    }
    match resources.amounts().find(|(_, amount)| *amount > MAX_QUANTITY) {
        Some((resource, amount)) => {
            let problem = format!("is {amount}, above {MAX_QUANTITY}: check its unit");
            Err(invalid(what, name, &format!("{field}.{resource}"), problem))
        }
        None => Ok(()),
    }
}

fn check_devices(what: &str, name: &str, field: &str, resources: &Resources) -> Result<()> {
    let field = format!("{field}.gpu_milli");
    if !resources.gpu_milli.is_multiple_of(GPU_MILLI) {
        return Err(invalid(
            what,
            name,
            &field,
            "is not a multiple of 1000: a machine has whole GPUs",
        ));
    }
    if resources.gpu_milli / GPU_MILLI > MAX_GPUS {
        return Err(invalid(
            what,
            name,
            &field,
            format!("is above {MAX_GPUS} GPUs: check its unit"),
        ));
    }
    Ok(())
}

fn check_requirements(
    what: &str,
    name: &str,
    field: &str,
    requirements: &[Requirement],
) -> Result<()> {
    match requirements.iter().find_map(|r| malformed(r).map(|problem| (r, problem))) {
        Some((r, problem)) => Err(invalid(what, name, field, format!("has `{r}`: {problem}"))),
        None => Ok(()),
    }
}

/// What is wrong with the form of a requirement.
pub(crate) fn malformed(requirement: &Requirement) -> Option<&'static str> {
    let values = &requirement.values;
    if requirement.key.is_empty() {
        return Some("name the key");
    }
    match requirement.operator {
        Operator::In | Operator::NotIn => values.is_empty().then_some("give at least one value"),
        Operator::Exists | Operator::DoesNotExist => {
            (!values.is_empty()).then_some("give no value")
        }
        Operator::Gt | Operator::Lt => match values.as_slice() {
            [value] if value.parse::<i64>().is_ok() => None,
            _ => Some("give exactly one 64-bit integer"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CapacityType, Offering, Toleration, TolerationOperator};

    fn refused(input: &Input) -> String {
        let error = input.check().expect_err("the input is wrong");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    }

    fn with_pod(pod: Pod) -> Input {
        Input { pods: vec![pod], ..Input::default() }
    }

    fn with_node(node: Node) -> Input {
        Input { nodes: vec![node], ..Input::default() }
    }

    fn with_type(it: InstanceType) -> Input {
        Input { instance_types: [it].into(), ..Input::default() }
    }

    #[test]
    fn bad_pods_are_refused_by_name_and_field() {
        let pod = |requests| Pod::new("web-1", requests);
        let twice = Input {
            pods: vec![pod(Resources::default()), pod(Resources::default())],
            ..Input::default()
        };
        assert_eq!(refused(&twice), "pod web-1: name is given twice: rename one");
        let absurd = with_pod(pod(Resources::new(u64::MAX, 0)));
        assert!(
            refused(&absurd).starts_with("pod web-1: requests.cpu_milli is 18446744073709551615")
        );
        let absurd = with_pod(pod(Resources::default().with_extended("x/y", u64::MAX)));
        assert!(refused(&absurd).starts_with("pod web-1: requests.x/y is"));
        for taken in ["", "cpu_milli"] {
            let disguised = with_pod(pod(Resources::default().with_extended(taken, 1)));
            assert!(refused(&disguised).starts_with("pod web-1: requests.extended has"));
        }
        let uneven = with_pod(pod(Resources::default().with_gpu_milli(1_500)));
        assert!(refused(&uneven).starts_with("pod web-1: requests.gpu_milli"));
        let two = with_pod(pod(Resources::default().with_pods(2)));
        assert!(refused(&two).starts_with("pod web-1: requests.pods"));
        let mut keyless = Toleration::everything();
        keyless.operator = TolerationOperator::Equal("v".into());
        assert!(
            refused(&with_pod(pod(Resources::default()).tolerate(keyless)))
                .starts_with("pod web-1: tolerations")
        );
        assert!(refused(&with_pod(Pod::new("", Resources::default()))).contains("empty name"));
    }

    #[test]
    fn malformed_requirements_are_refused() {
        for (operator, values) in [
            (Operator::In, vec![]),
            (Operator::Exists, vec!["a".into()]),
            (Operator::Gt, vec!["ten".into()]),
            (Operator::Lt, vec!["1".into(), "2".into()]),
        ] {
            let requirement = Requirement { key: "k".into(), operator, values };
            let pod = Pod::new("p", Resources::default()).require(requirement.clone());
            assert!(refused(&with_pod(pod)).starts_with("pod p: requirements has `k "));
            let pool = NodePool::new("q").require(requirement);
            let input = Input { pools: vec![pool], ..Input::default() };
            assert!(refused(&input).starts_with("pool q: requirements has `k "));
        }
    }

    #[test]
    fn bad_nodes_and_types_are_refused() {
        let mut node = Node::new("n", Resources::default().with_gpu_milli(1_000));
        node.gpu_used_milli = vec![400];
        assert!(refused(&with_node(node.clone())).starts_with("node n: used.gpu_milli"));
        node.gpu_used_milli = vec![0, 0];
        assert!(refused(&with_node(node)).starts_with("node n: gpu_used_milli"));
        let half = Node::new("n", Resources::default().with_gpu_milli(500));
        assert!(refused(&with_node(half)).starts_with("node n: allocatable.gpu_milli"));

        let it = InstanceType::new("t", Resources::new(1_000, 1));
        let above = it.clone().with_allocatable(Resources::new(1_001, 1));
        assert!(refused(&with_type(above)).starts_with("instance type t: allocatable"));
        let offering = Offering::new("a", CapacityType::Spot, 1);
        let twice = it.clone().with_offering(offering.clone()).with_offering(offering);
        assert!(refused(&with_type(twice)).contains("spot in a twice"));
        let dear = it.with_offering(Offering::new("a", CapacityType::Spot, u64::MAX));
        assert!(refused(&with_type(dear)).contains("price above"));
    }
}
