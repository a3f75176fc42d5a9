//! What one new node would carry.
//!
//! Each shape has a price: what a pod of it is worth. It begins as the part of the cheapest
//! machine that the pod uses, and moves towards what packings really paid for it, which is how
//! duals behave in column generation (Gilmore and Gomory, 1961) at a fraction of the work.
#![allow(
    clippy::cast_precision_loss,
    reason = "prices of shapes steer a heuristic; every sum that counts is an integer"
)]

use super::bits::Bits;
use super::offers::Offer;
use super::problem::Problem;
use super::room::{Demand, Room};

/// Above so many waiting shapes only the quick way of filling is tried, and one round made: the
/// careful way takes time with their square, and so many shapes fill any node well.
const CROWD: usize = 512;

/// Pods for one node, in the order in which they are taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Fill {
    pub(super) pods: Vec<(usize, u64)>,
    value: f64,
}

impl Fill {
    /// Value for money, as a number that sorts like it.
    pub(super) fn yields(&self, price: u64) -> u64 {
        // Bits of floats that are not negative sort as the floats do.
        (self.value / price.max(1) as f64).to_bits()
    }

    /// How many such nodes the waiting pods fill.
    pub(super) fn copies(&self, left: &[u64]) -> u64 {
        let per_shape = self.per_shape().into_iter().map(|(shape, n)| left[shape] / n);
        per_shape.min().unwrap_or(0)
    }

    pub(super) fn subtract(&self, left: &mut [u64], copies: u64) {
        self.pods.iter().for_each(|(shape, n)| left[*shape] -= n * copies);
    }

    /// One entry for each shape.
    fn per_shape(&self) -> Vec<(usize, u64)> {
        let mut sorted = self.pods.clone();
        sorted.sort_unstable();
        sorted.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        sorted
    }
}

/// Whether so many shapes wait that another round would take too long.
pub(super) fn crowded(left: &[u64]) -> bool {
    left.iter().filter(|n| **n > 0).count() > CROWD
}

/// Fills nodes by what shapes are worth.
pub(super) struct Filler<'p> {
    problem: &'p Problem<'p>,
    worth: Vec<f64>,
    /// All shapes, the dearest first.
    order: Vec<usize>,
}

impl<'p> Filler<'p> {
    /// `shapes` are those that each offer takes.
    pub(super) fn new(problem: &'p Problem<'_>, offers: &[&Offer], shapes: &[Bits]) -> Self {
        let mut worth = vec![f64::INFINITY; problem.shapes.len()];
        for (offer, shapes) in offers.iter().zip(shapes) {
            let scales = Scales::of(&offer.room);
            for (shape, of) in
                problem.shapes.iter().enumerate().filter(|(shape, _)| shapes.has(*shape))
            {
                let part = scales.largest(&of.demand);
                worth[shape] = worth[shape].min(part * offer.price.max(1) as f64);
            }
        }
        let mut filler = Self { problem, order: (0..worth.len()).collect(), worth };
        filler.sort();
        filler
    }

    fn sort(&mut self) {
        let worth = &self.worth;
        self.order.sort_by(|a, b| worth[*b].total_cmp(&worth[*a]).then(a.cmp(b)));
    }

    /// Moves every shape's price half-way to what was paid for it: a node's price, shared among
    /// its pods by their prices so far.
    pub(super) fn learn<'f>(&mut self, paid: impl Iterator<Item = (u64, u64, &'f Fill)>) {
        let mut sums = vec![(0.0, 0.0); self.worth.len()];
        for (price, copies, fill) in paid {
            let value: f64 =
                fill.pods.iter().map(|(shape, n)| self.worth[*shape] * *n as f64).sum();
            for (shape, n) in &fill.pods {
                let pods = (n * copies) as f64;
                sums[*shape].0 += pods * self.worth[*shape] * price.max(1) as f64 / value;
                sums[*shape].1 += pods;
            }
        }
        for (worth, (paid, pods)) in self.worth.iter_mut().zip(sums) {
            if pods > 0.0 {
                *worth = f64::midpoint(*worth, paid / pods);
            }
        }
        self.sort();
    }

    /// The better of two ways to fill this node, which takes `shapes`.
    pub(super) fn fill(&self, offer: &Offer, shapes: &Bits, left: &[u64]) -> Fill {
        let waiting =
            self.order.iter().copied().filter(|shape| left[*shape] > 0 && shapes.has(*shape));
        let waiting: Vec<usize> = waiting.collect();
        let sized = self.by_worth(offer.room.clone(), &waiting, left);
        if waiting.len() > CROWD {
            return sized;
        }
        let dense = self.by_density(offer.room.clone(), &waiting, left);
        if sized.value > dense.value { sized } else { dense }
    }

    /// The dearest shape first, as many as fit.
    fn by_worth(&self, mut room: Room, waiting: &[usize], left: &[u64]) -> Fill {
        let mut fill = Fill::default();
        for shape in waiting.iter().copied() {
            let demand = &self.problem.shapes[shape].demand;
            if room.fits(demand) {
                let n = room.count(demand).min(left[shape]);
                self.add(&mut fill, &mut room, shape, n);
            }
        }
        fill
    }

    /// Always the shape that is worth most for the part of the remaining room that it takes.
    fn by_density(&self, mut room: Room, waiting: &[usize], left: &[u64]) -> Fill {
        let mut fill = Fill::default();
        let mut left: Vec<(usize, u64)> =
            waiting.iter().copied().map(|shape| (shape, left[shape])).collect();
        loop {
            left.retain(|(shape, n)| *n > 0 && room.fits(&self.problem.shapes[*shape].demand));
            let scales = Scales::of(&room);
            let density =
                |shape: usize| self.worth[shape] / scales.total(&self.problem.shapes[shape].demand);
            let Some(best) = (0..left.len()).max_by(|a, b| {
                let ((a, _), (b, _)) = (left[*a], left[*b]);
                density(a).total_cmp(&density(b)).then(b.cmp(&a))
            }) else {
                return fill;
            };
            let (shape, waiting) = left[best];
            // An eighth at a time: the ratio of what is left changes as the node fills.
            let n = room.count(&self.problem.shapes[shape].demand).div_ceil(8).min(waiting);
            self.add(&mut fill, &mut room, shape, n);
            left[best].1 -= n;
        }
    }

    fn add(&self, fill: &mut Fill, room: &mut Room, shape: usize, n: u64) {
        if n > 0 {
            room.take(&self.problem.shapes[shape].demand, n, drop);
            fill.value += self.worth[shape] * n as f64;
            fill.pods.push((shape, n));
        }
    }
}

/// One over what is free, for quick ratios.
struct Scales {
    free: Vec<f64>,
    gpu: f64,
}

impl Scales {
    fn of(room: &Room) -> Self {
        let over = |amount: u64| 1.0 / amount.max(1) as f64;
        Self {
            free: room.free.iter().map(|free| over(*free)).collect(),
            gpu: over(room.gpu_free()),
        }
    }

    fn parts(&self, demand: &Demand) -> impl Iterator<Item = f64> {
        let amounts =
            demand.amounts.iter().zip(&self.free).map(|(need, scale)| *need as f64 * scale);
        amounts.chain([demand.gpu_milli() as f64 * self.gpu])
    }

    fn largest(&self, demand: &Demand) -> f64 {
        self.parts(demand).fold(0.0, f64::max)
    }

    fn total(&self, demand: &Demand) -> f64 {
        self.parts(demand).sum()
    }
}
