//! What pools' limits, groups' sizes and offerings with an end still allow.

use std::collections::BTreeMap;

use super::offers::Offer;
use super::sources::Source;
use crate::model::{Input, Node, Resources};

/// Amounts that launches draw from.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    pub(super) left: Vec<u64>,
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
        let (left, pools, offerings) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut budgets = Self { left, pools, offerings };
        for source in Source::all(input) {
            budgets.add(&source, input, stays);
        }
        for (at, it) in input.instance_types.iter().enumerate() {
            for (offering, of) in it.offerings.iter().enumerate() {
                if let Some(available) = of.available {
                    budgets.offerings.insert((at, offering), budgets.left.len());
                    budgets.left.push(u64::from(available));
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

    /// Whether one more launch is within all budgets.
    pub(super) fn allow(&self, draws: &[(usize, u64)]) -> bool {
        draws.iter().all(|(budget, each)| self.left[*budget] >= *each)
    }

    /// Gives back what one launch drew.
    pub(super) fn give_back(&mut self, draws: &[(usize, u64)]) {
        for (budget, each) in draws {
            self.left[*budget] += each;
        }
    }

    /// Takes what so many launches draw, as far as there is as much, and returns whether there is.
    pub(super) fn take(&mut self, draws: &[(usize, u64)], copies: u64) -> bool {
        let mut enough = true;
        for (budget, each) in draws {
            let left = &mut self.left[*budget];
            let all = each.saturating_mul(copies);
            enough &= all <= *left;
            *left = left.saturating_sub(all);
        }
        enough
    }

    /// Whether half of everything is still there.
    pub(super) fn has_half(&self, left: &[u64]) -> bool {
        self.left.iter().zip(left).all(|(all, left)| *left >= all / 2)
    }
}

/// The name under which nodes themselves are counted: no resource is called so.
const NODES: &str = "nodes";

fn amount(capacity: &Resources, name: &str) -> u64 {
    if name == NODES {
        return 1;
    }
    capacity.amounts().find(|(of, _)| *of == name).map_or(0, |(_, amount)| amount)
}
