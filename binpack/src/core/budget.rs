//! What pools' limits, groups' sizes and offerings with an end still allow.

use std::collections::BTreeMap;

use super::offers::Offer;
use super::sources::Source;
use crate::model::{Input, Node, Resources};

/// Amounts that launches draw from.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    pub(super) left: Vec<u64>,
    /// How much more than it allows is drawn from each: nodes that exist are not asked.
    over: Vec<u64>,
    /// By source: which budget limits which resource.
    pools: Vec<Vec<(String, usize)>>,
    /// Offerings of which there are only so many, by type and offering.
    offerings: BTreeMap<(usize, usize), usize>,
}

impl Budgets {
    pub(super) fn new(input: &Input) -> Self {
        Self::beside(input, &|_| true)
    }

    /// What is left beside those nodes that stay, by index.
    pub(super) fn beside(input: &Input, stays: &dyn Fn(usize) -> bool) -> Self {
        let (pools, offerings) = (Vec::new(), BTreeMap::new());
        let mut budgets = Self { left: Vec::new(), over: Vec::new(), pools, offerings };
        for source in Source::all(input) {
            budgets.add(&source, input, stays);
        }
        for (at, it) in input.instance_types.iter().enumerate() {
            for (offering, of) in it.offerings.iter().enumerate() {
                if let Some(available) = of.available {
                    budgets.offerings.insert((at, offering), budgets.left.len());
                    budgets.left.push(u64::from(available));
                    budgets.over.push(0);
                }
            }
        }
        budgets
    }

    fn add(&mut self, source: &Source, input: &Input, stays: &dyn Fn(usize) -> bool) {
        let limits = &source.pool.limits;
        let fixed = [
            ("cpu_milli", limits.cpu_milli),
            ("memory_bytes", limits.memory_bytes),
            ("gpu_milli", limits.gpu_milli),
            ("ephemeral_bytes", limits.ephemeral_bytes),
            (NODES, limits.nodes),
        ];
        let fixed = fixed.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
        let extended = limits.extended.iter().map(|(name, limit)| (&**name, *limit));
        let mine = |(at, node): &(usize, &Node)| source.owns(node) && stays(*at);
        let nodes: Vec<_> = input.nodes.iter().enumerate().filter(mine).collect();
        let mut of = Vec::new();
        for (name, limit) in fixed.chain(extended) {
            let used = nodes.iter().map(|(_, node)| amount(&node.capacity, name));
            let used = used.fold(0, u64::saturating_add);
            of.push((name.to_owned(), self.left.len()));
            self.left.push(limit.saturating_sub(used));
            self.over.push(used.saturating_sub(limit));
        }
        self.pools.push(of);
    }

    /// Whether nothing limits what is launched.
    pub(super) fn are_endless(&self) -> bool {
        self.left.is_empty()
    }

    /// What a launch draws: budget and amount.
    pub(super) fn draws(&self, offer: &Offer, input: &Input) -> Vec<(usize, u64)> {
        let capacity = &input.instance_types[offer.instance_type].capacity;
        let pool = self.pools[offer.pool].iter();
        let pool = pool.map(|(name, budget)| (*budget, amount(capacity, name)));
        let offering = self.offerings.get(&(offer.instance_type, offer.offering));
        pool.chain(offering.map(|budget| (*budget, 1))).filter(|(_, each)| *each > 0).collect()
    }

    /// The same without what is drawn from its offering: what comes back as a node goes.
    pub(super) fn pool_draws(&self, offer: &Offer, input: &Input) -> Vec<(usize, u64)> {
        let own = self.offerings.get(&(offer.instance_type, offer.offering)).copied();
        let mut draws = self.draws(offer, input);
        draws.retain(|(budget, _)| Some(*budget) != own);
        draws
    }

    /// Counts a node that came in the limits of its pool or group, or with `out` one that goes.
    pub(super) fn count_node(&mut self, input: &Input, node: &Node, out: bool) {
        let owner = Source::all(input).iter().position(|source| source.owns(node));
        let Some(source) = owner else { return };
        for (name, budget) in &self.pools[source] {
            let each = amount(&node.capacity, name);
            if out {
                give(&mut self.left[*budget], &mut self.over[*budget], each);
            } else {
                take(&mut self.left[*budget], &mut self.over[*budget], each);
            }
        }
    }

    /// Whether one more launch is within all budgets.
    pub(super) fn allow(&self, draws: &[(usize, u64)]) -> bool {
        draws.iter().all(|(budget, each)| self.left[*budget] >= *each)
    }

    /// Gives back what one launch drew.
    pub(super) fn give_back(&mut self, draws: &[(usize, u64)]) {
        for (budget, each) in draws {
            give(&mut self.left[*budget], &mut self.over[*budget], *each);
        }
    }

    /// Takes what so many launches draw, as far as there is as much, and returns whether there is.
    pub(super) fn take(&mut self, draws: &[(usize, u64)], copies: u64) -> bool {
        let mut enough = true;
        for (budget, each) in draws {
            let all = each.saturating_mul(copies);
            let left = &mut self.left[*budget];
            enough &= all <= *left;
            take(left, &mut self.over[*budget], all);
        }
        enough
    }

    /// Whether half of everything is still there.
    pub(super) fn has_half(&self, left: &[u64]) -> bool {
        self.left.iter().zip(left).all(|(all, left)| *left >= all / 2)
    }
}

/// Takes what is left, and notes what is missing.
fn take(left: &mut u64, over: &mut u64, amount: u64) {
    *over = over.saturating_add(amount.saturating_sub(*left));
    *left = left.saturating_sub(amount);
}

/// Gives back, what was missing first.
fn give(left: &mut u64, over: &mut u64, amount: u64) {
    let paid = amount.min(*over);
    *over -= paid;
    *left = left.saturating_add(amount - paid);
}

/// The name under which nodes themselves are counted: no resource is called so.
const NODES: &str = "nodes";

fn amount(capacity: &Resources, name: &str) -> u64 {
    if name == NODES {
        return 1;
    }
    capacity.amounts().find(|(of, _)| *of == name).map_or(0, |(_, amount)| amount)
}
