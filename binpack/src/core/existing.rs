//! Placement on sites that are there: nodes that exist, and launches that have room left.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::board::{Board, Counted};
use super::class::Class;
use super::groups::{DomainId, Kind, Spread};
use super::hash::QuickMap;
use super::offers::Offers;
use super::problem::{Problem, Shape};
use super::room::{Demand, Gpu, Room};
use crate::config::Fit;

/// Places pods of one shape after the other on a range of sites.
pub(super) struct Placer<'p, 'a> {
    problem: &'p Problem<'a>,
    offers: &'p Offers,
    fit: Fit,
}

/// The sites on which pods may be placed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Where<'s> {
    Range(usize, usize),
    /// In ascending order.
    These(&'s [usize]),
}

impl<'s> Where<'s> {
    fn sites(self) -> impl Iterator<Item = usize> + use<'s> {
        let (range, these) = match self {
            Self::Range(from, to) => (from..to, &[][..]),
            Self::These(these) => (0..0, these),
        };
        range.chain(these.iter().copied())
    }
}

/// The lowest goes first: GPUs that the pod doesn't use, then how much would stay free.
type Key = (u64, u64);

type Queue = BinaryHeap<Reverse<(Key, usize)>>;

impl<'p, 'a> Placer<'p, 'a> {
    pub(super) fn new(problem: &'p Problem<'a>, offers: &'p Offers, fit: Fit) -> Self {
        Self { problem, offers, fit }
    }

    /// Places what has room. Pods of one shape are placed together: under either rule a site that
    /// was right for one of them stays right until it is full. Pods that depend on others are
    /// tried again as long as that helps, for those others may come later in the order.
    pub(super) fn place(&self, board: &mut Board<'a>, shapes: &mut [Shape<'a>], sites: Where<'_>) {
        let mut again = true;
        while again {
            again = false;
            for shape in shapes.iter_mut().filter(|shape| !shape.pods.is_empty()) {
                let before = shape.pods.len();
                if shape.ties.is_empty() && shape.ports.is_empty() {
                    self.place_alike(board, shape, sites);
                } else {
                    self.place_tied(board, shape, sites);
                }
                let tied = !shape.ties.carries.is_empty();
                again |= tied && shape.pods.len() < before;
            }
            again &= shapes.iter().any(|s| !s.pods.is_empty() && !s.ties.carries.is_empty());
        }
    }

    fn place_alike(&self, board: &mut Board<'a>, shape: &mut Shape<'a>, sites: Where<'_>) {
        if let (Fit::First, Where::Range(from, to)) = (self.fit, sites) {
            return self.place_first(board, shape, from, to);
        }
        let candidates = self.candidates(board, shape, sites);
        let mut queue = Queue::from(candidates.map(Reverse).collect::<Vec<_>>());
        while !shape.pods.is_empty() {
            let Some(Reverse((_, site))) = queue.pop() else { break };
            let n = board.rooms[site].count(&shape.demand).min(shape.pods.len() as u64);
            board.put(shape, n, site, Counted::All);
        }
    }

    fn place_first(
        &self,
        board: &mut Board<'a>,
        shape: &mut Shape<'a>,
        mut from: usize,
        to: usize,
    ) {
        let class = &self.problem.classes[shape.class];
        while shape.left() > 0 {
            let Some(site) = board.next_with_room(from, to, &shape.demand) else { break };
            from = site + 1;
            let within = board.is_within(site, shape.pin);
            if within && may_enter(board, self.offers, class, shape.class, site) {
                let n = board.rooms[site].count(&shape.demand).min(shape.left());
                board.put(shape, n, site, Counted::All);
            }
        }
    }

    /// One pod after the other: where it may go depends on where the last one went.
    fn place_tied(&self, board: &mut Board<'a>, shape: &mut Shape<'a>, sites: Where<'_>) {
        let domains = self.domains(board, shape);
        let mut queues: BTreeMap<Vec<Option<DomainId>>, Queue> = BTreeMap::new();
        for (key, site) in self.candidates(board, shape, sites).collect::<Vec<_>>() {
            let tuple = relevant(board, shape, site);
            queues.entry(tuple).or_default().push(Reverse((key, site)));
        }
        let mut queues: Vec<_> = queues.into_iter().collect();
        while !shape.pods.is_empty() && Self::place_one(board, shape, &mut queues, &domains) {}
    }

    fn place_one(
        board: &mut Board<'a>,
        shape: &mut Shape<'a>,
        queues: &mut [(Vec<Option<DomainId>>, Queue)],
        domains: &Domains,
    ) -> bool {
        let least = |group: usize, spread: Spread| domains.fewest(board, group, spread);
        let mut order: Vec<(u64, Key, usize)> = Vec::new();
        for (at, (tuple, queue)) in queues.iter().enumerate() {
            let Some(Reverse((key, _))) = queue.peek() else { continue };
            if board.permits(&shape.ties, tuple, &least) {
                order.push((crowd(board, shape, tuple), *key, at));
            }
        }
        order.sort_unstable();
        for (_, _, at) in order {
            let queue = &mut queues[at].1;
            while let Some(Reverse((key, site))) = queue.pop() {
                // A site that refuses once refuses for good: its room only shrinks, and pods that
                // keep this one away stay. Only pods that it must be near may still come.
                if !board.rooms[site].fits(&shape.demand) {
                    continue;
                }
                if !board.admits(&shape.ties, shape.ports, site) {
                    continue;
                }
                board.put(shape, 1, site, Counted::All);
                queue.push(Reverse((key, site)));
                return true;
            }
        }
        false
    }

    /// For each spread that the shape carries, the domains that count.
    pub(super) fn domains(&self, board: &mut Board<'a>, shape: &Shape<'a>) -> Domains {
        let mut domains = Domains::default();
        for (group, _) in &shape.ties.carries {
            if let Kind::Spread(spread) = board.groups.get(*group).kind() {
                let class = shape.plain;
                let eligible = board.eligible(self.problem, self.offers, class, *group, spread);
                domains.0.insert(*group, eligible);
            }
        }
        domains
    }

    /// Sites that may take a pod of the shape now, as far as it depends on the pod alone.
    fn candidates<'b, 's>(
        &self,
        board: &'b Board<'a>,
        shape: &'b Shape<'a>,
        sites: Where<'s>,
    ) -> impl Iterator<Item = (Key, usize)> + use<'b, 's, 'p, 'a> {
        let class = &self.problem.classes[shape.class];
        let (fit, offers) = (self.fit, self.offers);
        let sites = sites.sites().filter(move |site| board.rooms[*site].fits(&shape.demand));
        let sites = sites.filter(move |site| {
            may_enter(board, offers, class, shape.class, *site) && board.is_within(*site, shape.pin)
        });
        sites.map(move |site| (key(fit, &board.rooms[site], &shape.demand), site))
    }
}

/// By spread group: the domains that count.
#[derive(Debug, Default)]
pub(super) struct Domains(QuickMap<usize, Vec<DomainId>>);

impl Domains {
    pub(super) fn fewest(&self, board: &Board<'_>, group: usize, spread: Spread) -> u32 {
        let eligible = self.0.get(&group).map_or(&[][..], |eligible| eligible);
        board.fewest(group, spread, eligible)
    }
}

/// How many pods of its spreads there are already where a pod would go.
pub(super) fn crowd(board: &Board<'_>, shape: &Shape<'_>, tuple: &[Option<DomainId>]) -> u64 {
    let counts = shape.ties.carries.iter().map(|(group, _)| {
        let of = board.groups.get(*group);
        let spread = matches!(of.kind(), Kind::Spread(_)) && of.topology() > 0;
        let domain = if spread { tuple[of.topology() - 1] } else { None };
        domain.map_or(0, |domain| u64::from(of.count(domain).meant))
    });
    counts.sum()
}

/// A site's domains, as far as the shape has to do with their keys.
fn relevant(board: &Board<'_>, shape: &Shape<'_>, site: usize) -> Vec<Option<DomainId>> {
    let mut tuple = board.site_tuple(site).to_vec();
    let carried = shape.ties.carries.iter().map(|(group, _)| group);
    let groups: Vec<usize> = carried.chain(&shape.ties.meant_by).copied().collect();
    for (at, domain) in tuple.iter_mut().enumerate() {
        if !groups.iter().any(|group| board.groups.get(*group).topology() == at + 1) {
            *domain = None;
        }
    }
    tuple
}

/// Whether a site's labels and taints let the pods of a class in.
pub(super) fn may_enter(
    board: &Board<'_>,
    offers: &Offers,
    class: &Class,
    index: usize,
    site: usize,
) -> bool {
    let nodes = &board.input.nodes;
    match nodes.get(site) {
        Some(node) => {
            class.may_enter(&node.taints)
                && (class.asks_nothing()
                    || class.allows(|key| node.labels.get(key).map(|value| &**value)))
        }
        None => offers.takes(index).has(board.opened[site - nodes.len()]),
    }
}

fn key(fit: Fit, room: &Room, demand: &Demand) -> Key {
    match fit {
        Fit::First => (0, 0),
        Fit::Best => (gpu_waste(room, demand), slack(room, demand)),
    }
}

/// Thousandths of GPUs that the pod would keep from GPU pods: all that is free for a pod without,
/// what stays free of the device for a share.
fn gpu_waste(room: &Room, demand: &Demand) -> u64 {
    match demand.gpu {
        Gpu::None | Gpu::Whole(_) => room.gpu_free(),
        Gpu::Share(milli) => {
            room.gpus.iter().filter_map(|free| free.checked_sub(milli)).min().unwrap_or(0)
        }
    }
}

/// How much stays free, in multiples of the pod: the sum over what it needs.
fn slack(room: &Room, demand: &Demand) -> u64 {
    let parts = room.free.iter().zip(&demand.amounts).filter(|(_, need)| **need > 0);
    parts.map(|(free, need)| free.saturating_mul(1_000) / need).fold(0, u64::saturating_add)
}
