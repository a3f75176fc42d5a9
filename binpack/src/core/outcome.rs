//! What has been decided so far, and how it becomes a plan.

use std::collections::HashMap;

use super::offers::{Offer, Offers};
use super::problem::Problem;
use super::reason::Explainer;
use super::room::Room;
use crate::model::{Binding, Input, Launch, Plan, Resources, Target, Unplaced};

/// Where a pod goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) target: Spot,
    pub(super) gpus: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Spot {
    Node(usize),
    Launch(usize),
}

/// A node to launch, and what is left on it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) offer: Offer,
    pub(super) room: Room,
}

#[derive(Debug)]
pub(super) struct Outcome {
    /// By pod.
    places: Vec<Option<Place>>,
    /// How many pods of each shape have been placed: the first ones of its list.
    placed: Vec<usize>,
    pub(super) opened: Vec<Open>,
}

impl Outcome {
    pub(super) fn new(problem: &Problem<'_>) -> Self {
        let places = problem.input.pods.iter().map(|_| None).collect();
        Self { places, placed: vec![0; problem.shapes.len()], opened: Vec::new() }
    }

    /// How many pods of a shape still wait.
    pub(super) fn left(&self, problem: &Problem<'_>, shape: usize) -> u64 {
        (problem.shapes[shape].pods.len() - self.placed[shape]) as u64
    }

    /// Places the next `n` pods of a shape into a room, which must hold them.
    pub(super) fn place(
        &mut self,
        problem: &Problem<'_>,
        shape: usize,
        n: u64,
        target: Spot,
        room: &mut Room,
    ) {
        let Shapes { demand, pods } = Shapes::of(problem, shape);
        room.take(demand, n, |gpus| {
            let pod = pods[self.placed[shape]];
            self.places[pod] = Some(Place { target, gpus });
            self.placed[shape] += 1;
        });
    }

    /// Places pods on a node that is launched.
    pub(super) fn place_on_launch(
        &mut self,
        problem: &Problem<'_>,
        shape: usize,
        n: u64,
        launch: usize,
    ) {
        let mut room = self.opened[launch].room.clone();
        self.place(problem, shape, n, Spot::Launch(launch), &mut room);
        self.opened[launch].room = room;
    }

    pub(super) fn into_plan(self, problem: &Problem<'_>, offers: &Offers) -> Plan {
        let input = problem.input;
        let launches = self.opened.iter().map(|open| launch(input, &open.offer)).collect();
        let mut plan = Plan { launches, ..Plan::default() };
        let shape_of = shape_of(problem);
        let mut explainer = Explainer::new(problem, offers);
        for (index, (pod, place)) in input.pods.iter().zip(self.places).enumerate() {
            let Some(place) = place else {
                let reason = explainer.explain(shape_of[&index]);
                plan.unplaced.push(Unplaced::new(pod.name.clone(), reason));
                continue;
            };
            let target = match place.target {
                Spot::Node(node) => Target::Existing(input.nodes[node].name.clone()),
                Spot::Launch(launch) => {
                    let requested = &mut plan.launches[launch].requested;
                    *requested = sum(requested, &pod.requests);
                    Target::Launch(launch)
                }
            };
            plan.bindings.push(Binding::new(pod.name.clone(), target, place.gpus));
        }
        let prices = plan.launches.iter().map(|launch| launch.price_micros);
        plan.cost_per_hour_micros = prices.fold(0, u64::saturating_add);
        plan
    }
}

struct Shapes<'a> {
    demand: &'a super::room::Demand,
    pods: &'a [usize],
}

impl<'a> Shapes<'a> {
    fn of(problem: &'a Problem<'_>, shape: usize) -> Self {
        let shape = &problem.shapes[shape];
        Self { demand: &shape.demand, pods: &shape.pods }
    }
}

fn shape_of(problem: &Problem<'_>) -> HashMap<usize, usize> {
    let shapes = problem.shapes.iter().enumerate();
    shapes.flat_map(|(shape, of)| of.pods.iter().map(move |pod| (*pod, shape))).collect()
}

/// Amounts are bounded by what fits on one machine, so nothing overflows.
fn sum(requested: &Resources, pod: &Resources) -> Resources {
    requested.checked_add(&pod.clone().with_pods(1)).unwrap_or_default()
}

fn launch(input: &Input, offer: &Offer) -> Launch {
    let (pool, it) = (&input.pools[offer.pool], &input.instance_types[offer.instance_type]);
    let offering = &it.offerings[offer.offering];
    Launch {
        pool: pool.name.clone(),
        instance_type: it.name.clone(),
        zone: offering.zone.clone(),
        capacity_type: offering.capacity_type,
        price_micros: offering.price_micros,
        requested: pool.daemon_overhead.clone(),
        daemon_overhead: pool.daemon_overhead.clone(),
        capacity: it.capacity.clone(),
        allocatable: it.allocatable.clone(),
        labels: offer.labels(input),
        taints: pool.taints.clone(),
        alternatives: Vec::new(),
    }
}
