//! Which nodes to launch: the one that carries the most value for its price, again and again.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::bits::Bits;
use super::fill::{Fill, Filler, crowded};
use super::offers::{Offer, Offers};
use super::outcome::{Open, Outcome};
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
                let packer = Packer::new(problem, kept.clone(), &tier, soft);
                let left = packer.left(&tier, outcome);
                let packing = packer.best(rounds, &left, &budget);
                packer.commit(packing, &mut budget, outcome);
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

/// A node of one kind, so many times.
#[derive(Debug)]
struct Batch {
    /// Index into the packer's offers.
    offer: usize,
    copies: u64,
    fill: Fill,
}

#[derive(Debug, Default)]
struct Packing {
    batches: Vec<Batch>,
    /// Pods that stay without a place.
    waiting: u64,
    cost: u64,
}

struct Packer<'p, 'i> {
    problem: &'p Problem<'i>,
    offers: Vec<&'p Offer>,
    /// By offer: the shapes that it takes.
    shapes: Vec<Bits>,
    limited: bool,
}

impl<'p, 'i> Packer<'p, 'i> {
    fn new(problem: &'p Problem<'i>, offers: Vec<&'p Offer>, tier: &[usize], soft: bool) -> Self {
        let fits = |offer: &Offer, shape: usize| {
            let of = &problem.shapes[shape];
            offer.mask(soft).has(of.class) && offer.room.fits(&of.demand)
        };
        let of = |offer: &&Offer| {
            let taken = tier.iter().copied().filter(|shape| fits(offer, *shape));
            Bits::collect(problem.shapes.len(), taken)
        };
        let shapes = offers.iter().map(of).collect();
        let limited = problem.input.pools.iter().any(|pool| pool.limits != PoolLimits::default());
        Self { problem, offers, shapes, limited }
    }

    /// By shape: how many pods wait, of those that some offer takes.
    fn left(&self, tier: &[usize], outcome: &Outcome) -> Vec<u64> {
        let takeable = |shape: &usize| self.shapes.iter().any(|taken| taken.has(*shape));
        let mut left = vec![0; self.problem.shapes.len()];
        for shape in tier.iter().copied().filter(takeable) {
            left[shape] = outcome.left(self.problem, shape);
        }
        left
    }

    /// Packs several times, each with the prices that the last one showed, and keeps the best.
    fn best(&self, rounds: u32, left: &[u64], budget: &Budget) -> Packing {
        let mut best = Packing { waiting: u64::MAX, ..Packing::default() };
        if left.iter().all(|n| *n == 0) {
            return Packing::default();
        }
        let mut filler = Filler::new(self.problem, &self.offers, &self.shapes);
        let rounds = if crowded(left) { 1 } else { rounds };
        for _ in 0..rounds {
            let packing = self.pack(&filler, left.to_vec(), budget.clone());
            let paid =
                packing.batches.iter().map(|b| (self.offers[b.offer].price, b.copies, &b.fill));
            filler.learn(paid);
            if (packing.waiting, packing.cost) < (best.waiting, best.cost) {
                best = packing;
            }
        }
        best
    }

    fn pack(&self, filler: &Filler<'_>, mut left: Vec<u64>, mut budget: Budget) -> Packing {
        let mut queue = BinaryHeap::new();
        for (index, offer) in self.offers.iter().enumerate() {
            let fill = filler.fill(offer, &self.shapes[index], &left);
            queue.push((fill.yields(offer.price), Reverse(index)));
        }
        let mut packing = Packing::default();
        while let Some((_, Reverse(index))) = queue.pop() {
            let offer = self.offers[index];
            let fill = filler.fill(offer, &self.shapes[index], &left);
            let now = fill.yields(offer.price);
            if now == 0 {
                continue;
            }
            if queue.peek().is_some_and(|next| *next > (now, Reverse(index))) {
                queue.push((now, Reverse(index)));
                continue;
            }
            let capacity = &self.problem.input.instance_types[offer.instance_type].capacity;
            let copies = fill.copies(&left).min(budget.copies(offer.pool, capacity));
            if copies == 0 {
                continue;
            }
            fill.subtract(&mut left, copies);
            budget.take(offer.pool, capacity, copies);
            packing.batches.push(self.cheapest(Batch { offer: index, copies, fill }));
            queue.push((now, Reverse(index)));
        }
        packing.waiting = left.iter().sum();
        packing.cost = packing
            .batches
            .iter()
            .map(|b| self.offers[b.offer].price.saturating_mul(b.copies))
            .sum();
        packing
    }

    /// The same pods on the cheapest machine that holds them.
    fn cheapest(&self, batch: Batch) -> Batch {
        if self.limited {
            return batch;
        }
        let holds = |index: &usize| {
            let mut room = self.offers[*index].room.clone();
            batch.fill.pods.iter().all(|(shape, n)| {
                let demand = &self.problem.shapes[*shape].demand;
                let fits = self.shapes[*index].has(*shape) && room.count(demand) >= *n;
                if fits {
                    room.take(demand, *n, drop);
                }
                fits
            })
        };
        let offer = (0..batch.offer).find(holds).unwrap_or(batch.offer);
        Batch { offer, ..batch }
    }

    fn commit(&self, packing: Packing, budget: &mut Budget, outcome: &mut Outcome) {
        for batch in packing.batches {
            let offer = self.offers[batch.offer];
            let capacity = &self.problem.input.instance_types[offer.instance_type].capacity;
            budget.take(offer.pool, capacity, batch.copies);
            for _ in 0..batch.copies {
                outcome.opened.push(Open { offer: offer.clone(), room: offer.room.clone() });
                let launch = outcome.opened.len() - 1;
                for (shape, n) in &batch.fill.pods {
                    outcome.place_on_launch(self.problem, *shape, *n, launch);
                }
            }
        }
    }
}
