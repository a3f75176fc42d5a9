//! Which nodes to launch: the one that carries the most value for its price, again and again.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::bits::Bits;
use super::offers::{Offer, Offers};
use super::outcome::{Open, Outcome};
use super::pack::{Job, Machine, Numbers, Packer, Row};
use super::problem::Problem;
use crate::error::Result;
use crate::model::{Effect, Input, NodePool, PoolLimits, Resources, key};

/// Launches nodes for what is left, pools of higher weight first. What waits then is tried
/// once more on nodes that only ask it to stay away.
pub(super) fn launch(problem: &Problem<'_>, rounds: u32, outcome: &mut Outcome) -> Result<Offers> {
    let waiting = (0..problem.shapes.len()).any(|shape| outcome.left(problem, shape) > 0);
    if !waiting {
        return Ok(Offers::default());
    }
    let offers = Offers::new(problem)?;
    let mut budget = Budget::new(problem.input);
    let reluctant =
        |pool: &NodePool| pool.taints.iter().any(|taint| taint.effect == Effect::PreferNoSchedule);
    let soft_too = problem.input.pools.iter().any(reluctant);
    for soft in [false, true].into_iter().take(1 + usize::from(soft_too)) {
        for weight in Offers::weights(problem.input) {
            let kept = offers.undominated(problem.input, weight, soft);
            for tier in tiers(problem) {
                fill_open(problem, &tier, soft, outcome);
                let (job, shapes) = job(problem, &kept, &tier, soft, outcome);
                let numbers = Numbers::of(&job);
                let began = std::time::Instant::now();
                let mut packer = Packer::new(&job, &numbers, rounds);
                let report = |what: &str, packer: &Packer<'_>| {
                    let bound = packer.bound().map_or(0.0, |b| b.value) / 1e6;
                    let cost = packer.best().cost as f64 / 1e6;
                    eprintln!(
                        "{what} obj {:.3} {:?}: rows {} machines {} cost {cost:.3} bound {bound:.3} gap {:.2}%",
                        packer.objective() / 1e6,
                        began.elapsed(),
                        job.rows.len(),
                        job.machines.len(),
                        (cost / bound - 1.0) * 100.0
                    );
                };
                report("greedy", &packer);
                let mut steps = 0;
                let mut next = 0.1;
                let mut was = false;
                while packer.step()
                    && began.elapsed().as_secs_f64()
                        < std::env::var("SECS").map_or(1.0, |s| s.parse().unwrap())
                {
                    steps += 1;
                    if packer.improving() != was || began.elapsed().as_secs_f64() > next {
                        was = packer.improving();
                        next = next.max(began.elapsed().as_secs_f64()) * 2.0;
                        report(&format!("step {steps} {was}"), &packer);
                    }
                }
                report(&format!("end {steps}"), &packer);
                for batch in &packer.best().batches {
                    let offer = kept[batch.machine];
                    let capacity = &problem.input.instance_types[offer.instance_type].capacity;
                    budget.take(offer.pool, capacity, batch.copies);
                    for _ in 0..batch.copies {
                        outcome
                            .opened
                            .push(Open { offer: offer.clone(), room: offer.room.clone() });
                        let launch = outcome.opened.len() - 1;
                        for (row, n) in &batch.pattern {
                            outcome.place_on_launch(problem, shapes[*row], *n, launch);
                        }
                    }
                }
            }
        }
    }
    Ok(offers)
}

/// Shapes that are packed together. Only where a limit may run out do pods of higher priority go
/// first; else packing all together is cheaper.
fn tiers(problem: &Problem<'_>) -> Vec<Vec<usize>> {
    let all = 0..problem.shapes.len();
    if problem.input.pools.iter().all(|pool| pool.limits == PoolLimits::default()) {
        return vec![all.collect()];
    }
    let priorities: BTreeSet<_> =
        problem.shapes.iter().map(|shape| Reverse(shape.priority)).collect();
    let of = |priority: i32| {
        all.clone().filter(|shape| problem.shapes[*shape].priority == priority).collect()
    };
    priorities.into_iter().map(|Reverse(priority)| of(priority)).collect()
}

/// Uses what an earlier tier or pool left free on its launches.
fn fill_open(problem: &Problem<'_>, tier: &[usize], soft: bool, outcome: &mut Outcome) {
    for shape in tier.iter().copied() {
        let of = &problem.shapes[shape];
        for launch in 0..outcome.opened.len() {
            let left = outcome.left(problem, shape);
            if left == 0 {
                break;
            }
            let open = &outcome.opened[launch];
            if open.offer.mask(soft).has(of.class) && open.room.fits(&of.demand) {
                let n = open.room.count(&of.demand).min(left);
                outcome.place_on_launch(problem, shape, n, launch);
            }
        }
    }
}

/// What the pools' limits still allow.
#[derive(Debug, Clone)]
struct Budget {
    /// CPU, memory, GPUs and nodes of each pool; `None` is no limit.
    pools: Vec<[Option<u64>; 4]>,
}

impl Budget {
    fn new(input: &Input) -> Self {
        let of = |pool: &NodePool| {
            let limits = &pool.limits;
            let mut left = [limits.cpu_milli, limits.memory_bytes, limits.gpu_milli, limits.nodes];
            for node in input
                .nodes
                .iter()
                .filter(|n| n.labels.get(key::NODE_POOL).is_some_and(|p| *p == pool.name))
            {
                take(&mut left, &node.capacity, 1);
            }
            left
        };
        Self { pools: input.pools.iter().map(of).collect() }
    }

    /// How many more machines of this capacity the pool may have.
    fn copies(&self, pool: usize, capacity: &Resources) -> u64 {
        let each = counted(capacity);
        let limits =
            self.pools[pool].iter().zip(each).filter_map(|(left, each)| (*left)?.checked_div(each));
        limits.min().unwrap_or(u64::MAX)
    }

    fn take(&mut self, pool: usize, capacity: &Resources, copies: u64) {
        take(&mut self.pools[pool], capacity, copies);
    }
}

fn counted(capacity: &Resources) -> [u64; 4] {
    [capacity.cpu_milli, capacity.memory_bytes, capacity.gpu_milli, 1]
}

fn take(left: &mut [Option<u64>; 4], capacity: &Resources, copies: u64) {
    for (left, each) in left.iter_mut().zip(counted(capacity)) {
        *left = left.map(|left| left.saturating_sub(each.saturating_mul(copies)));
    }
}

/// Rows of the tier's shapes that wait and some offer takes, and the offers as machines.
fn job(
    problem: &Problem<'_>,
    offers: &[&Offer],
    tier: &[usize],
    soft: bool,
    outcome: &Outcome,
) -> (Job, Vec<usize>) {
    let fits = |offer: &Offer, shape: usize| {
        let of = &problem.shapes[shape];
        offer.mask(soft).has(of.class) && offer.room.fits(&of.demand)
    };
    let shapes: Vec<usize> = tier
        .iter()
        .copied()
        .filter(|shape| outcome.left(problem, *shape) > 0 && offers.iter().any(|o| fits(o, *shape)))
        .collect();
    let rows = shapes
        .iter()
        .map(|shape| Row {
            demand: problem.shapes[*shape].demand.clone(),
            count: outcome.left(problem, *shape),
            cap: u64::MAX,
        })
        .collect();
    let machines = offers
        .iter()
        .map(|offer| Machine {
            room: offer.room.clone(),
            price: offer.price,
            rows: Bits::collect(
                shapes.len(),
                shapes.iter().enumerate().filter(|(_, s)| fits(offer, **s)).map(|(i, _)| i),
            ),
            draws: Vec::new(),
        })
        .collect();
    (Job { rows, machines, ..Job::default() }, shapes)
}
