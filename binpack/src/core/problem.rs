//! An input compiled for packing: pods grouped into shapes, constraints into classes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::domain::Domain;
use super::room::{Demand, Dims, Gpu, Room};
use crate::error::Result;
use crate::model::{
    Effect, Input, Pod, Requirement, Resources, Taint, Toleration, TolerationOperator,
};

/// Domains by key: all must allow the node's label.
pub(super) type Domains = BTreeMap<Arc<str>, Domain>;

pub(super) fn domains(requirements: &[Requirement]) -> Result<Domains> {
    let mut all = Domains::new();
    for requirement in requirements {
        let domain = Domain::of(requirement)?;
        let both = all.get(&requirement.key).map(|earlier| earlier.intersect(&domain));
        all.insert(requirement.key.clone(), both.unwrap_or(domain));
    }
    Ok(all)
}

/// What pods ask of a node besides room.
#[derive(Debug)]
pub(super) struct Class<'a> {
    pub(super) domains: Domains,
    pub(super) tolerations: &'a [Toleration],
}

impl Class<'_> {
    pub(super) fn allows<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.domains.iter().all(|(key, domain)| domain.allows(label(key)))
    }

    /// Whether every taint that keeps pods out is tolerated.
    pub(super) fn may_enter(&self, taints: &[Taint]) -> bool {
        taints
            .iter()
            .filter(|taint| taint.effect != Effect::PreferNoSchedule)
            .all(|taint| self.tolerates(taint))
    }

    /// Whether every taint is tolerated that only asks pods to stay away.
    pub(super) fn likes(&self, taints: &[Taint]) -> bool {
        taints
            .iter()
            .filter(|taint| taint.effect == Effect::PreferNoSchedule)
            .all(|taint| self.tolerates(taint))
    }

    pub(super) fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| {
            let same_value = match &toleration.operator {
                TolerationOperator::Exists => true,
                TolerationOperator::Equal(value) => *value == taint.value,
            };
            same_value
                && toleration.key.as_ref().is_none_or(|key| *key == taint.key)
                && toleration.effect.is_none_or(|effect| effect == taint.effect)
        })
    }
}

/// Pods that nothing tells apart.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) demand: Demand,
    pub(super) class: usize,
    pub(super) priority: i32,
    /// Indices of the pods, in the order of the input.
    pub(super) pods: Vec<usize>,
}

/// An input, compiled.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub(super) input: &'a Input,
    pub(super) dims: Dims,
    pub(super) classes: Vec<Class<'a>>,
    /// In the order in which they are placed: higher priority first, then the harder to place.
    pub(super) shapes: Vec<Shape>,
}

type ClassKey<'a> = (&'a [Requirement], &'a [Toleration]);

impl<'a> Problem<'a> {
    pub(super) fn new(input: &'a Input) -> Result<Self> {
        let dims = Dims::of(input.pods.iter().map(|pod| &pod.requests));
        let mut classes = Vec::new();
        let mut class_of: HashMap<ClassKey<'a>, usize> = HashMap::new();
        let mut shape_of: HashMap<(&Resources, usize, i32), usize> = HashMap::new();
        let mut shapes: Vec<Shape> = Vec::new();
        for (index, pod) in input.pods.iter().enumerate() {
            let class = if let Some(class) = class_of.get(&class_key(pod)) {
                *class
            } else {
                classes.push(Class {
                    domains: domains(&pod.requirements)?,
                    tolerations: &pod.tolerations,
                });
                class_of.insert(class_key(pod), classes.len() - 1);
                classes.len() - 1
            };
            let shape =
                *shape_of.entry((&pod.requests, class, pod.priority)).or_insert_with(|| {
                    let demand = Demand::new(&dims, &pod.requests);
                    shapes.push(Shape { demand, class, priority: pod.priority, pods: Vec::new() });
                    shapes.len() - 1
                });
            shapes[shape].pods.push(index);
        }
        let mut problem = Self { input, dims, classes, shapes };
        problem.order();
        Ok(problem)
    }

    /// Hardest first: GPUs are scarce and whole ones scarcer; then by the greatest part of the
    /// largest machine in sight. The first pod's place in the input breaks ties.
    fn order(&mut self) {
        let most = self.most();
        let size = |demand: &Demand| {
            let parts = demand.amounts.iter().zip(&most).map(|(need, most)| part(*need, *most));
            parts.max().unwrap_or(0)
        };
        self.shapes.sort_by_cached_key(|shape| {
            let gpu = match shape.demand.gpu {
                Gpu::None => (0, 0),
                Gpu::Share(milli) => (1, milli),
                Gpu::Whole(devices) => (2, devices),
            };
            (
                Reverse(shape.priority),
                Reverse(gpu),
                Reverse(size(&shape.demand)),
                shape.pods.first().copied(),
            )
        });
    }

    /// The most that any node or type has of each resource.
    fn most(&self) -> Vec<u64> {
        let nodes = self.input.nodes.iter().map(|node| &node.allocatable);
        let types = self.input.instance_types.iter().map(|it| &it.allocatable);
        let mut most = vec![1; self.dims.len()];
        for resources in nodes.chain(types) {
            for (most, amount) in most.iter_mut().zip(&self.dims.amounts(resources)) {
                *most = (*most).max(*amount);
            }
        }
        most
    }

    pub(super) fn node_room(&self, node: usize) -> Room {
        let node = &self.input.nodes[node];
        Room::new(&self.dims, &node.allocatable, &node.used, &node.gpu_used_milli)
    }
}

fn class_key(pod: &Pod) -> ClassKey<'_> {
    (&pod.requirements, &pod.tolerations)
}

/// `need` in millionths of `most`.
fn part(need: u64, most: u64) -> u64 {
    u64::try_from(u128::from(need) * 1_000_000 / u128::from(most.max(1))).unwrap_or(u64::MAX)
}
