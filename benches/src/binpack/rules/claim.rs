//! A machine that is to be launched and is not decided yet.

use super::PackedMachine;
use super::market::{Amounts, Machine, Market};

pub(super) struct Claim {
    pub(super) template: usize,
    /// Where it may still be.
    pub(super) zones: u64,
    pub(super) pods: Vec<usize>,
    /// What it may still be, as indices of the template's machines.
    machines: Vec<usize>,
    used: Amounts,
    /// The most that any of the machines has, by resource.
    ceiling: Amounts,
}

impl Claim {
    /// Everything that the pool sells and its limits allow.
    pub(super) fn new(market: &Market, template: usize, left: [u64; 2]) -> Self {
        let all = &market.templates[template].machines;
        let allowed =
            |at: &usize| all[*at].capacity.iter().zip(left).all(|(has, left)| *has <= left);
        let mut claim = Self {
            template,
            zones: market.all_zones(),
            pods: Vec::new(),
            machines: (0..all.len()).filter(allowed).collect(),
            used: Amounts::default(),
            ceiling: Amounts::default(),
        };
        claim.raise(market);
        claim
    }

    /// A quick no, or perhaps.
    pub(super) fn has_room(&self, needs: &Amounts) -> bool {
        fits(&self.with(needs), &self.ceiling)
    }

    /// Whether there is a machine in these zones that holds all its pods and one more.
    pub(super) fn takes(&self, market: &Market, needs: &Amounts, zones: u64) -> bool {
        let with = self.with(needs);
        self.machines.iter().any(|at| self.machine(market, *at).holds(&with, zones))
    }

    pub(super) fn add(&mut self, market: &Market, pod: usize, needs: &Amounts, zones: u64) {
        self.used = self.with(needs);
        self.zones = zones;
        self.pods.push(pod);
        let all = &market.templates[self.template].machines;
        self.machines.retain(|at| all[*at].holds(&self.used, zones));
        self.raise(market);
    }

    /// CPU and memory of the largest machines that it may be, by which Karpenter counts limits.
    pub(super) fn largest(&self, market: &Market) -> [u64; 2] {
        let capacities = self.machines.iter().map(|at| self.machine(market, *at).capacity);
        capacities.fold([0; 2], |most, has| [most[0].max(has[0]), most[1].max(has[1])])
    }

    /// The cheapest that it may be.
    pub(super) fn cheapest(&self, market: &Market) -> Option<PackedMachine> {
        let sold = self.machines.iter().flat_map(|at| {
            let of = self.machine(market, *at);
            let here = of.sold.iter().filter(|(zone, ..)| zone & self.zones != 0);
            here.map(|(_, price, offering)| (*price, of.instance_type, *offering))
        });
        let (price_micros, instance_type, offering) = sold.min()?;
        Some(PackedMachine { instance_type, offering, price_micros, pods: self.pods.clone() })
    }

    fn with(&self, needs: &Amounts) -> Amounts {
        let mut with = self.used;
        with.iter_mut().zip(needs).for_each(|(used, need)| *used += need);
        with
    }

    fn machine<'m>(&self, market: &'m Market, at: usize) -> &'m Machine {
        &market.templates[self.template].machines[at]
    }

    fn raise(&mut self, market: &Market) {
        let mut ceiling = Amounts::default();
        for at in &self.machines {
            let room = &self.machine(market, *at).room;
            ceiling.iter_mut().zip(room).for_each(|(most, has)| *most = (*most).max(*has));
        }
        self.ceiling = ceiling;
    }
}

impl Machine {
    fn holds(&self, used: &Amounts, zones: u64) -> bool {
        self.zones & zones != 0 && fits(used, &self.room)
    }
}

fn fits(used: &Amounts, room: &Amounts) -> bool {
    used.iter().zip(room).all(|(used, has)| used <= has)
}
