//! Where a pod may be moved: the sites of a round by how much one wants to keep them.

use super::index::Index;
use super::world::World;
use crate::core::board::Tuple;
use crate::core::existing::{Domains, Placer, crowd, may_enter};
use crate::core::groups::{HOSTNAME, Spread};
use crate::core::lots::is_local;
use crate::core::room::Demand;

/// How many sites that have room but refuse are looked at for one pod. Where more refuse in a row,
/// labels or neighbours leave so few that the node stays.
const LOOKS: usize = 256;

/// The sites of a round.
pub(super) struct Places {
    whole: Index,
    /// By domains, where pods depend on any: the same sites.
    parts: Vec<(Tuple, Index)>,
    /// By site: its place in `whole`, its part and its place there.
    spots: Vec<Option<Spot>>,
    /// By shape: whether no site has room, which stays so until the round is over.
    hopeless: Vec<bool>,
    /// By shape: the domains among which it is spread.
    domains: Vec<Option<Domains>>,
}

#[derive(Clone, Copy)]
struct Spot {
    whole: usize,
    part: Option<(usize, usize)>,
}

impl Places {
    /// With those that are to be kept at the end.
    pub(super) fn new(world: &World<'_>, order: &[usize]) -> Self {
        let receiving = |site: &usize| world.sites[*site].live && world.sites[*site].receives;
        let sites: Vec<usize> = order.iter().copied().filter(receiving).collect();
        let dims = world.problem.dims.len();
        let mut spots: Vec<Option<Spot>> = vec![None; world.sites.len()];
        let mut parts: Vec<(Tuple, Vec<usize>)> = Vec::new();
        for (at, site) in sites.iter().enumerate() {
            let tuple = world.board.site_tuple(*site);
            let part = (!tuple.is_empty()).then(|| {
                let known = parts.iter().position(|(known, _)| known == tuple);
                let part = known.unwrap_or_else(|| {
                    parts.push((tuple.to_vec(), Vec::new()));
                    parts.len() - 1
                });
                parts[part].1.push(*site);
                (part, parts[part].1.len() - 1)
            });
            spots[*site] = Some(Spot { whole: at, part });
        }
        let shapes = world.shapes.len();
        let filled = |sites: Vec<usize>| Index::new(sites, dims, &world.board.rooms);
        Self {
            whole: filled(sites),
            parts: parts.into_iter().map(|(tuple, sites)| (tuple, filled(sites))).collect(),
            spots,
            hopeless: vec![false; shapes],
            domains: (0..shapes).map(|_| None).collect(),
        }
    }

    pub(super) fn is_hopeless(&self, shape: usize) -> bool {
        self.hopeless[shape]
    }

    /// Looks at a site anew; one that is being emptied is no place.
    pub(super) fn update(&mut self, world: &World<'_>, site: usize, emptied: bool) {
        let Some(spot) = self.spots.get(site).copied().flatten() else { return };
        let room = (!emptied).then(|| &world.board.rooms[site]);
        self.whole.set(spot.whole, room);
        if let Some((part, at)) = spot.part {
            self.parts[part].1.set(at, room);
        }
    }

    /// Where a site is in the order of the round.
    pub(super) fn rank(&self, site: usize) -> usize {
        self.spots.get(site).copied().flatten().map_or(0, |spot| spot.whole)
    }

    /// The site of at least this rank where a pod of a shape goes, while `emptied` are being
    /// emptied.
    pub(super) fn find(
        &mut self,
        world: &mut World<'_>,
        enters: &mut Enters,
        shape: usize,
        (emptied, rank): (&[usize], usize),
    ) -> Option<usize> {
        if self.hopeless[shape] {
            return None;
        }
        let found = self.find_open(world, enters, shape, rank);
        let demand = &world.shapes[shape].demand;
        if found.is_none() && self.whole.last_in(0..self.whole.len(), demand).is_none() {
            self.hopeless[shape] = !emptied.iter().any(|at| world.board.rooms[*at].fits(demand));
        }
        found
    }

    fn find_open(
        &mut self,
        world: &mut World<'_>,
        enters: &mut Enters,
        shape: usize,
        rank: usize,
    ) -> Option<usize> {
        let enters = enters.of(world, world.shapes[shape].class);
        if self.domains[shape].is_none() {
            let of = Placer::new(&world.problem, &world.offers, world.config.fit);
            self.domains[shape] = Some(of.domains(&mut world.board, &world.shapes[shape]));
        }
        let (board, of) = (&world.board, &world.shapes[shape]);
        let high = |site: usize| self.spots[site].is_some_and(|spot| spot.whole >= rank);
        let takes = |site: usize| {
            enters[site]
                && board.rooms[site].fits(&of.demand)
                && board.admits(&of.ties, of.ports, site)
        };
        if !is_local(board, of) {
            return search(&self.whole, rank, &of.demand, takes);
        }
        let domains = self.domains[shape].as_ref()?;
        let least = |group: usize, spread: Spread| domains.fewest(board, group, spread);
        let open = self.parts.iter().enumerate();
        let open = open.filter(|(_, (tuple, _))| board.permits(&of.ties, tuple, &least));
        let mut order: Vec<(u64, usize)> =
            open.map(|(part, (tuple, _))| (crowd(board, of, tuple), part)).collect();
        order.sort_unstable();
        order.into_iter().find_map(|(_, part)| {
            let index = &self.parts[part].1;
            search(index, index.from(high), &of.demand, takes)
        })
    }
}

/// The last site that takes a pod, from a place of the order on.
fn search(
    index: &Index,
    start: usize,
    demand: &Demand,
    takes: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut end = index.len();
    for _ in 0..LOOKS {
        end = index.last_in(start..end, demand)?;
        let site = index.site(end);
        if takes(site) {
            return Some(site);
        }
    }
    None
}

/// By class: the sites whose labels and taints let its pods in.
#[derive(Default)]
pub(super) struct Enters(Vec<Vec<bool>>);

impl Enters {
    /// As far as sites were there when the round began.
    fn of(&mut self, world: &World<'_>, class: usize) -> &[bool] {
        if self.0.len() <= class {
            self.0.resize(class + 1, Vec::new());
        }
        let known = &mut self.0[class];
        let of = &world.problem.classes[class];
        for site in known.len()..world.sites.len() {
            known.push(may_enter(&world.board, &world.offers, of, class, site));
        }
        known
    }
}

/// Whether pods of a group may be in domains that are larger than a node.
pub(super) fn is_regional(topology: usize) -> bool {
    topology != HOSTNAME
}
