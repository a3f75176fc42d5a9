//! An input compiled for packing: pods grouped into shapes, constraints into classes and groups.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::class::{Class, ClassKey, tolerates};
use super::groups::{DomainId, Groups, Ties};
use super::hash::QuickMap;
use super::relax::{Asked, Level, levels};
use super::room::{Demand, Dims, Gpu, Room};
use crate::error::Result;
use crate::model::{Effect, HostPort, Input, Node, Pod, Resources, Taint};

/// Pods that nothing tells apart.
#[derive(Debug, Clone)]
pub(super) struct Shape<'a> {
    pub(super) demand: Demand,
    pub(super) class: usize,
    /// The class of what is required of nodes alone, without volumes and preferences.
    pub(super) plain: usize,
    pub(super) ties: Arc<Ties>,
    pub(super) ports: &'a [HostPort],
    pub(super) priority: i32,
    pub(super) level: Level,
    /// The gang that all of them are members of, by index.
    pub(super) gang: Option<usize>,
    /// The domain of a topology key outside of which its gang must not be.
    pub(super) pin: Option<(usize, DomainId)>,
    /// Indices of the pods that wait, in the order of the input.
    pub(super) pods: VecDeque<usize>,
}

impl Shape<'_> {
    pub(super) fn left(&self) -> u64 {
        self.pods.len() as u64
    }
}

/// The groups that a shape carries, and those that mean it.
pub(super) type GroupsOf = (Vec<usize>, Vec<usize>);

/// An input, compiled.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub(super) input: &'a Input,
    pub(super) dims: Dims,
    pub(super) classes: Vec<Class>,
    class_of: QuickMap<ClassKey, usize>,
    /// Taints that only ask pods to stay away, and how many nodes and pools have each.
    soft: BTreeMap<Taint, usize>,
    /// The most that any node or type has of each resource.
    most: Vec<u64>,
    /// Gangs by name.
    gangs: QuickMap<Arc<str>, usize>,
}

/// A pod at a level, as the key of its shape: everything but its name, and its labels only where
/// some constraint looks at them.
struct Alike<'a> {
    pod: &'a Pod,
    level: Level,
    labels: bool,
}

impl PartialEq for Alike<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.pod, other.pod);
        let labels = || !self.labels || (a.labels == b.labels && a.namespace == b.namespace);
        self.level == other.level
            && a.requests == b.requests
            && a.priority == b.priority
            && a.preemption_policy == b.preemption_policy
            && a.gang == b.gang
            && a.requirements == b.requirements
            && a.node_affinity == b.node_affinity
            && a.tolerations == b.tolerations
            && a.topology_spread == b.topology_spread
            && a.pod_affinity == b.pod_affinity
            && a.pod_anti_affinity == b.pod_anti_affinity
            && a.preferences == b.preferences
            && a.host_ports == b.host_ports
            && a.volumes == b.volumes
            && labels()
    }
}

impl Eq for Alike<'_> {}

impl Hash for Alike<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let pod = self.pod;
        self.level.hash(state);
        pod.requests.cpu_milli.hash(state);
        pod.requests.memory_bytes.hash(state);
        pod.requests.gpu_milli.hash(state);
        pod.priority.hash(state);
        pod.gang.hash(state);
        pod.requirements.hash(state);
        if self.labels {
            pod.labels.hash(state);
            pod.topology_spread.hash(state);
            pod.pod_affinity.hash(state);
            pod.pod_anti_affinity.hash(state);
        }
    }
}

impl<'a> Problem<'a> {
    pub(super) fn new(input: &'a Input) -> Self {
        Self::over(input, Dims::of(input))
    }

    /// In these dimensions.
    pub(super) fn over(input: &'a Input, dims: Dims) -> Self {
        let taints = input.nodes.iter().flat_map(|node| &node.taints);
        let taints = taints.chain(input.pools.iter().flat_map(|pool| &pool.taints));
        let taints = taints.chain(input.node_groups.iter().flat_map(|group| &group.taints));
        let soft = taints.filter(|taint| taint.effect == Effect::PreferNoSchedule);
        let mut counts = BTreeMap::new();
        soft.for_each(|taint| *counts.entry(taint.clone()).or_default() += 1);
        let soft = counts;
        let most = most(input, &dims);
        let gangs =
            input.gangs.iter().enumerate().map(|(at, gang)| (gang.name.clone(), at)).collect();
        Self { input, dims, classes: Vec::new(), class_of: QuickMap::default(), soft, most, gangs }
    }

    /// The same for another input, of which nodes, pools, types and gangs are equal.
    pub(super) fn on(self, input: &Input) -> Problem<'_> {
        let Problem { dims, classes, class_of, soft, most, gangs, .. } = self;
        Problem { input, dims, classes, class_of, soft, most, gangs }
    }

    /// Counts the taints of a node that came, or with `out` of one that goes.
    pub(super) fn count_taints(&mut self, node: &Node, out: bool) {
        for taint in node.taints.iter().filter(|t| t.effect == Effect::PreferNoSchedule) {
            let count = self.soft.entry(taint.clone()).or_default();
            *count = if out { count.saturating_sub(1) } else { *count + 1 };
            if *count == 0 {
                self.soft.remove(taint);
            }
        }
    }

    /// Makes sure that all resources and volumes of these pods are measured. Returns whether any
    /// was not.
    pub(super) fn measure<'p>(&mut self, pods: impl Iterator<Item = &'p Pod>) -> bool {
        let grown = self.dims.extend(pods);
        if grown {
            self.most = most(self.input, &self.dims);
        }
        grown
    }

    /// The index of a gang.
    pub(super) fn gang(&self, name: &Arc<str>) -> Option<usize> {
        self.gangs.get(name).copied()
    }

    /// Measures pods by what may be launched alone, for nodes that exist come and go.
    pub(super) fn measure_by_types(&mut self) {
        let types = self.input.instance_types.iter().map(|it| &it.allocatable);
        self.most = maxima(types, &self.dims);
    }

    /// How many levels of relaxation a pod has.
    pub(super) fn levels(&self, pod: &Pod) -> Level {
        levels(pod, self.shuns(pod))
    }

    /// The level at which a pod asks for what it must have and, as long as that is possible, for
    /// nodes without taints that ask it to stay away: those are not the pod's preferences.
    pub(super) fn strict_level(&self, pod: &Pod) -> Level {
        let shuns = self.shuns(pod);
        levels(pod, shuns) - 1 - Level::from(shuns)
    }

    /// Whether some taint asks a pod to stay away which it does not tolerate.
    pub(super) fn shuns(&self, pod: &Pod) -> bool {
        !self.soft.keys().all(|taint| tolerates(&pod.tolerations, taint))
    }

    /// Groups pods, each at its level, into shapes, in the order in which they are placed.
    pub(super) fn shapes(
        &mut self,
        pods: &[(usize, Level)],
        groups: &mut Groups,
    ) -> Result<Vec<Shape<'a>>> {
        let input = self.input;
        let labels = !groups.is_empty() || pods.iter().any(|(pod, _)| is_tied(&input.pods[*pod]));
        let pods = pods.iter().map(|(index, level)| (*index, &input.pods[*index], *level));
        let (mut shapes, ties) = self.shapes_of(pods, labels, groups)?;
        for (shape, (carried, meant_by)) in shapes.iter_mut().zip(&ties) {
            shape.ties = Arc::new(groups.ties(carried, meant_by));
        }
        self.order(&mut shapes);
        Ok(shapes)
    }

    /// Groups pods into shapes in the order in which they come, and says which groups each carries
    /// and is meant by: nothing where there are no groups. `labels` is whether pods with different
    /// ones are told apart.
    pub(super) fn shapes_of(
        &mut self,
        pods: impl Iterator<Item = (usize, &'a Pod, Level)>,
        labels: bool,
        groups: &mut Groups,
    ) -> Result<(Vec<Shape<'a>>, Vec<GroupsOf>)> {
        let mut shape_of: QuickMap<Alike<'a>, usize> = QuickMap::default();
        let mut shapes: Vec<Shape<'a>> = Vec::new();
        let mut carried = Vec::new();
        let untied = Arc::new(Ties::default());
        for (index, pod, level) in pods {
            let alike = Alike { pod, level, labels };
            if let Some(shape) = shape_of.get(&alike) {
                shapes[*shape].pods.push_back(index);
                continue;
            }
            let asked = Asked::at(pod, level, self.shuns(pod));
            carried.push((pod, groups.carried(pod, &asked)));
            shape_of.insert(alike, shapes.len());
            shapes.push(Shape {
                demand: Demand::new(&self.dims, pod),
                class: self.class(ClassKey::of(pod, asked.preferred, asked.shy))?,
                plain: self.class(ClassKey::plain(pod))?,
                ties: Arc::clone(&untied),
                ports: &pod.host_ports,
                priority: pod.priority,
                level,
                gang: pod.gang.as_ref().and_then(|gang| self.gangs.get(gang).copied()),
                pin: None,
                pods: VecDeque::from([index]),
            });
        }
        if groups.is_empty() {
            return Ok((shapes, Vec::new()));
        }
        let meaning = |pod: &Pod| groups.meaning(&pod.namespace, &pod.labels);
        let ties = carried.into_iter().map(|(pod, carried)| (carried, meaning(pod))).collect();
        Ok((shapes, ties))
    }

    fn class(&mut self, key: ClassKey) -> Result<usize> {
        if let Some(class) = self.class_of.get(&key) {
            return Ok(*class);
        }
        self.classes.push(Class::new(&key)?);
        self.class_of.insert(key, self.classes.len() - 1);
        Ok(self.classes.len() - 1)
    }

    /// Hardest first: higher priority, then GPUs, which are scarce and whole ones scarcer; then by
    /// the greatest part of the largest machine in sight. The first pod's place in the input
    /// breaks ties.
    pub(super) fn order(&self, shapes: &mut [Shape<'a>]) {
        let size = |demand: &Demand| {
            let parts = demand.amounts.iter().zip(&self.most);
            parts.map(|(need, most)| part(*need, *most)).max().unwrap_or(0)
        };
        shapes.sort_by_cached_key(|shape| {
            let gpu = match shape.demand.gpu {
                Gpu::None => (0, 0),
                Gpu::Share(milli) => (1, milli),
                Gpu::Whole(devices) => (2, devices),
            };
            let first = shape.pods.front().copied();
            (Reverse(shape.priority), Reverse(gpu), Reverse(size(&shape.demand)), first)
        });
    }

    pub(super) fn node_room(&self, node: usize) -> Room {
        let node = &self.input.nodes[node];
        // What is about to go takes nobody.
        let used = if node.is_leaving() { &node.allocatable } else { &node.used };
        let mut room = Room::new(&self.dims, &node.allocatable, used, &node.gpu_used_milli);
        if node.is_leaving() {
            room.gpus.fill(0);
        }
        self.dims.limit_volumes(&mut room, &node.volume_limits, node.pods.iter().map(|r| &r.pod));
        room
    }
}

/// Whether a pod has constraints that look at other pods.
pub(super) fn is_tied(pod: &Pod) -> bool {
    !(pod.topology_spread.is_empty()
        && pod.pod_affinity.is_empty()
        && pod.pod_anti_affinity.is_empty()
        && pod.preferences.pod_affinity.is_empty()
        && pod.preferences.pod_anti_affinity.is_empty())
}

fn most(input: &Input, dims: &Dims) -> Vec<u64> {
    let nodes = input.nodes.iter().map(|node| &node.allocatable);
    let types = input.instance_types.iter().map(|it| &it.allocatable);
    maxima(nodes.chain(types), dims)
}

fn maxima<'r>(all: impl Iterator<Item = &'r Resources>, dims: &Dims) -> Vec<u64> {
    let mut most = vec![1; dims.len()];
    for resources in all {
        for (most, amount) in most.iter_mut().zip(&dims.amounts(resources)) {
            *most = (*most).max(*amount);
        }
    }
    most
}

/// `need` in millionths of `most`.
fn part(need: u64, most: u64) -> u64 {
    u64::try_from(u128::from(need) * 1_000_000 / u128::from(most.max(1))).unwrap_or(u64::MAX)
}

/// What a launched machine has for pods: the type's allocatable, with what best-effort pods may
/// use beside, less the daemons.
pub(super) fn launched(allocatable: &Resources, best_effort_percent: u32) -> Resources {
    if best_effort_percent == 0 {
        return allocatable.clone();
    }
    allocatable.clone().with_best_effort_percent(best_effort_percent)
}
