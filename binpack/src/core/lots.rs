//! Pods that are to be launched for, by shape and by the domains that they were assigned to.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::board::{Board, Tuple};
use super::budget::Budgets;
use super::existing::{Placer, crowd};
use super::groups::{HOSTNAME, Kind, Spread};
use super::hash::QuickMap;
use super::offers::{Offer, Offers};
use super::problem::Shape;
use super::room::Demand;
use crate::model::Input;

/// So many pods of a shape, and the offers that may carry them.
#[derive(Debug, Clone)]
pub(super) struct Lot {
    pub(super) shape: usize,
    pub(super) count: u64,
    /// The domains that they are counted in already, where the shape depends on any.
    pub(super) tuple: Option<Tuple>,
    pub(super) offers: Bits,
}

/// What offers have in common.
pub(super) struct Market<'o, 'a> {
    input: &'a Input,
    pub(super) offers: &'o Offers,
    /// By offer.
    tuples: Vec<Tuple>,
    /// Offers with the same domains.
    areas: BTreeMap<Tuple, Bits>,
    /// Those that nothing keeps from being launched, such as a limit or a wish for more types.
    open: Bits,
    /// By what a pod takes: the offers that have room for it.
    roomy: QuickMap<Demand, Bits>,
}

impl<'o, 'a> Market<'o, 'a> {
    /// A market for these shapes that is closed as yet.
    pub(super) fn new(board: &mut Board<'a>, offers: &'o Offers, shapes: &[Shape<'_>]) -> Self {
        let input = board.input;
        let all = offers.all.len();
        let tuples: Vec<Tuple> = if board.is_regional() {
            offers.all.iter().map(|offer| board.tuple(|key| offer.label(input, key))).collect()
        } else {
            Vec::new()
        };
        let mut areas: BTreeMap<Tuple, Bits> = BTreeMap::new();
        for (at, tuple) in tuples.iter().enumerate() {
            areas.entry(tuple.clone()).or_insert_with(|| Bits::new(all)).insert(at);
        }
        let mut roomy: QuickMap<Demand, Bits> = QuickMap::default();
        for shape in shapes {
            let fits = |at: &usize| offers.all[*at].room.fits(&shape.demand);
            let with_room = || Bits::collect(all, (0..all).filter(fits));
            roomy.entry(shape.demand.clone()).or_insert_with(with_room);
        }
        Self { input, offers, tuples, areas, open: Bits::new(all), roomy }
    }

    /// For what pools may launch.
    pub(super) fn open_pools(&mut self, budgets: &Budgets) {
        let offers = self.offers;
        let open = |at: &usize| {
            let of = &offers.all[*at];
            of.source.group.is_none()
                && offers.flexible[*at]
                && budgets.allow(&budgets.draws(of, self.input))
        };
        self.open = Bits::collect(offers.all.len(), (0..offers.all.len()).filter(open));
    }

    /// For one offer alone.
    pub(super) fn open_only(&mut self, offer: usize) {
        self.open = Bits::collect(self.offers.all.len(), std::iter::once(offer));
    }

    /// The offers that take a shape and have room for it.
    pub(super) fn of(&self, shape: &Shape<'_>) -> Bits {
        let mut offers = self.offers.takes(shape.class).clone();
        offers.keep(&self.open);
        match self.roomy.get(&shape.demand) {
            Some(roomy) => offers.keep(roomy),
            None => return Bits::new(self.offers.all.len()),
        }
        if shape.pin.is_none() && shape.ports.is_empty() {
            return offers;
        }
        let within = |at: usize| {
            shape.pin.is_none_or(|(key, domain)| self.tuples[at][key - 1] == Some(domain))
        };
        let clashes = |offer: &Offer| {
            offer.ports(self.input).any(|port| shape.ports.iter().any(|own| own.conflicts(port)))
        };
        let members = offers.iter().filter(|at| within(*at) && !clashes(&self.offers.all[*at]));
        Bits::collect(self.offers.all.len(), members)
    }
}

/// Assigns every pod that waits to domains, and sums up what is to be launched. Pods for which no
/// domain is right are left out, and so are those that must share a node with others.
pub(super) fn lots<'a>(
    market: &Market<'_, '_>,
    placer: &Placer<'_, 'a>,
    board: &mut Board<'a>,
    shapes: &[Shape<'a>],
) -> Vec<Lot> {
    let mut lots = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    for (at, shape) in shapes.iter().enumerate().filter(|(_, shape)| shape.left() > 0) {
        if shares_a_node(board, shape) {
            continue;
        }
        let offers = market.of(shape);
        if offers.is_empty() {
            continue;
        }
        if is_local(board, shape) {
            waiting.push(at);
        } else {
            lots.push(Lot { shape: at, count: shape.left(), tuple: None, offers });
        }
    }
    // Who must be near others comes after them.
    let follows = |at: &usize| {
        let carried = &shapes[*at].ties.carries;
        carried.iter().any(|(group, _)| board.groups.get(*group).kind() == Kind::Near)
    };
    waiting.sort_by_cached_key(follows);
    let mut left: Vec<u64> = shapes.iter().map(Shape::left).collect();
    loop {
        let before: u64 = waiting.iter().map(|at| left[*at]).sum();
        for at in &waiting {
            let assigner = Assigner::new(market, placer, board, &shapes[*at]);
            for (tuple, count, offers) in assigner.assign(board, left[*at]) {
                left[*at] -= count;
                lots.push(Lot { shape: *at, count, tuple: Some(tuple), offers });
            }
        }
        let after: u64 = waiting.iter().map(|at| left[*at]).sum();
        if after == 0 || after == before {
            return merged(lots);
        }
    }
}

/// One lot for each shape and domains.
fn merged(lots: Vec<Lot>) -> Vec<Lot> {
    let mut all: BTreeMap<(usize, Option<Tuple>), Lot> = BTreeMap::new();
    for lot in lots {
        all.entry((lot.shape, lot.tuple.clone()))
            .and_modify(|known| known.count += lot.count)
            .or_insert(lot);
    }
    all.into_values().collect()
}

/// Takes pods out of the count of the domains that they were assigned to.
pub(super) fn unassign(board: &mut Board<'_>, shape: &Shape<'_>, tuple: &Tuple, n: u64) {
    let count = u32::try_from(n).unwrap_or(u32::MAX);
    board.groups.place(&shape.ties, |key| regional(tuple, key), count, true);
    board.disturbed = true;
}

fn regional(tuple: &Tuple, key: usize) -> Option<u32> {
    if key == HOSTNAME { None } else { tuple[key - 1] }
}

/// Whether a shape has to do with domains larger than a node.
pub(super) fn is_local(board: &Board<'_>, shape: &Shape<'_>) -> bool {
    let carried = shape.ties.carries.iter().map(|(group, _)| group);
    carried.chain(&shape.ties.meant_by).any(|group| board.groups.get(*group).topology() != HOSTNAME)
}

/// Whether a shape's pods must be on a node with certain others.
pub(super) fn shares_a_node(board: &Board<'_>, shape: &Shape<'_>) -> bool {
    shape.ties.carries.iter().any(|(group, _)| {
        let of = board.groups.get(*group);
        of.kind() == Kind::Near && of.topology() == HOSTNAME
    })
}

/// Distributes the pods of one shape over domains.
struct Assigner<'s, 'a> {
    shape: &'s Shape<'a>,
    domains: super::existing::Domains,
    /// Domains, the offers there, and the least price among them.
    choices: Vec<(Tuple, Bits, u64)>,
}

impl<'s, 'a> Assigner<'s, 'a> {
    fn new(
        market: &Market<'_, '_>,
        placer: &Placer<'_, 'a>,
        board: &mut Board<'a>,
        shape: &'s Shape<'a>,
    ) -> Self {
        let domains = placer.domains(board, shape);
        let carried = shape.ties.carries.iter().map(|(group, _)| group);
        let keys = carried.chain(&shape.ties.meant_by).map(|g| board.groups.get(*g).topology());
        let keys: Vec<usize> = keys.filter(|key| *key != HOSTNAME).collect();
        let all = market.offers.all.len();
        let mut choices: BTreeMap<Tuple, (Bits, u64)> = BTreeMap::new();
        let offers = market.of(shape);
        for (area, within) in &market.areas {
            let mut members = within.clone();
            members.keep(&offers);
            let prices = members.iter().map(|at| market.offers.all[at].price);
            let Some(price) = prices.min() else { continue };
            let own =
                |(at, domain): (usize, &Option<_>)| domain.filter(|_| keys.contains(&(at + 1)));
            let tuple: Tuple = area.iter().enumerate().map(own).collect();
            let choice = choices.entry(tuple).or_insert_with(|| (Bits::new(all), u64::MAX));
            choice.0.add(&members);
            choice.1 = choice.1.min(price);
        }
        let choices = choices.into_iter().map(|(tuple, (bits, price))| (tuple, bits, price));
        Self { shape, domains, choices: choices.collect() }
    }

    /// The domains with the fewest pods first, and among those the cheapest.
    fn assign(&self, board: &mut Board<'a>, n: u64) -> Vec<(Tuple, u64, Bits)> {
        let mut counts = vec![0; self.choices.len()];
        for _ in 0..n {
            let least = |group: usize, spread: Spread| self.domains.fewest(board, group, spread);
            let ties = &self.shape.ties;
            let open = self.choices.iter().enumerate();
            let open = open.filter(|(_, (tuple, ..))| board.permits(ties, tuple, &least));
            let best = open.min_by_key(|(at, (tuple, _, price))| {
                (crowd(board, self.shape, tuple), *price, *at)
            });
            let Some((at, (tuple, ..))) = best else { break };
            counts[at] += 1;
            board.groups.place(ties, |key| regional(tuple, key), 1, false);
        }
        let assigned = self.choices.iter().zip(counts).filter(|(_, count)| *count > 0);
        assigned.map(|((tuple, bits, _), n)| (tuple.clone(), n, bits.clone())).collect()
    }
}
