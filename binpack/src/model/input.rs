//! What the packer is asked, and what it refuses.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

use super::{
    GPU_MILLI, InstanceType, MAX_GPUS, Node, NodePool, Operator, Pod, Reason, ReasonKind,
    Requirement, Resources, Unplaced,
};
use crate::error::{Error, ErrorKind, Result};

/// The greatest amount of any resource: 2^53, which every JSON reader keeps exactly. As bytes it
/// is 8 PiB, far above any machine, so a greater one is a mistake of units.
pub const MAX_QUANTITY: u64 = 1 << 53;

/// The greatest price: a million dollars an hour.
pub const MAX_PRICE_MICROS: u64 = 1_000_000_000_000;

/// A question to the packer: these pods, these nodes, and what may be launched.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// Pods without a node.
    pub pods: Vec<Pod>,
    /// Nodes that exist or are on their way.
    pub nodes: Vec<Node>,
    /// What may be launched; with no pool nothing is.
    pub pools: Vec<NodePool>,
    /// What the cloud sells.
    pub instance_types: Arc<[InstanceType]>,
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
    /// capacity, an offering given twice, a price above [`MAX_PRICE_MICROS`].
    pub fn check(&self) -> Result<()> {
        let mut names = Names::of("pod");
        self.pods.iter().try_for_each(|pod| names.add(&pod.name).and_then(|()| check_pod(pod)))?;
        let mut names = Names::of("node");
        self.nodes
            .iter()
            .try_for_each(|node| names.add(&node.name).and_then(|()| check_node(node)))?;
        let mut names = Names::of("pool");
        self.pools
            .iter()
            .try_for_each(|pool| names.add(&pool.name).and_then(|()| check_pool(pool)))?;
        check_types(&self.instance_types)
    }

    /// Takes out the pods that are malformed in themselves, so that one of them doesn't keep all
    /// others waiting, and says where they were and what is wrong with them.
    pub(crate) fn set_malformed_aside(&mut self) -> Vec<(usize, Unplaced)> {
        let mut aside = Vec::new();
        let mut index = 0;
        self.pods.retain(|pod| {
            let problem = named("pod", &pod.name).and_then(|()| check_pod(pod)).err();
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
    let mut names = Names::of("instance type");
    types.iter().try_for_each(|it| names.add(&it.name).and_then(|()| check_type(it)))
}

struct Names<'a> {
    what: &'static str,
    seen: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(what: &'static str) -> Self {
        Self { what, seen: HashSet::new() }
    }

    fn add(&mut self, name: &'a str) -> Result<()> {
        named(self.what, name)?;
        if !self.seen.insert(name) {
            return Err(invalid(self.what, name, "name", "is given twice: rename one"));
        }
        Ok(())
    }
}

fn named(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        let problem = format!("a {what} has an empty name: give it one");
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    Ok(())
}

fn invalid(what: &str, name: &str, field: &str, problem: impl Display) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} {name}: {field} {problem}"))
}

fn check_pod(pod: &Pod) -> Result<()> {
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
    check_requirements("pod", &pod.name, &pod.requirements)
}

fn check_node(node: &Node) -> Result<()> {
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
    check_requirements("pool", &pool.name, &pool.requirements)
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

fn check_requirements(what: &str, name: &str, requirements: &[Requirement]) -> Result<()> {
    match requirements.iter().find_map(|r| malformed(r).map(|problem| (r, problem))) {
        Some((r, problem)) => {
            Err(invalid(what, name, "requirements", format!("has `{r}`: {problem}")))
        }
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
