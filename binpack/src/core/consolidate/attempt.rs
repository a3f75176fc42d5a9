//! Emptying a set of nodes: done whole or taken back whole.

use super::neighbours::Watch;
use super::sweep::Sweep;
use super::why::Why;
use crate::core::board::{Counted, Place};
use crate::core::control::Control;
use crate::core::existing::{Placer, Where};
use crate::core::groups::Kind;
use crate::core::launching::Launcher;
use crate::model::DisruptionReason;

/// What was done so far.
struct Attempt {
    sites: Vec<usize>,
    /// Sites that come before this one in the order of the round take nothing.
    rank: usize,
    lifted: Vec<(usize, Place)>,
    put: Vec<usize>,
    /// Launches from here on are its own.
    first_launch: usize,
}

impl Sweep<'_> {
    /// Moves all pods of these sites to others of at least a rank, and with `launch` to new ones.
    /// Where that does not work out or does not pay, everything is as it was.
    pub(super) fn empty(
        &mut self,
        sites: &[usize],
        rank: usize,
        reason: DisruptionReason,
        mut launch: Option<&mut Control<'_>>,
    ) -> Result<(), Why> {
        let sized = reason == DisruptionReason::Interrupted
            || launch.is_some()
            || self.world.keeps_sizes(sites, self.world.board.rooms.len());
        if !sized {
            return Err(Why::MinSize);
        }
        let watch = Watch::new(&mut self.world, &self.carriers, sites);
        let mut attempt = self.lift(sites, rank);
        let mut waiting: Vec<usize> = attempt.lifted.iter().map(|(pod, _)| *pod).collect();
        let rank = |pod: &usize| {
            let resident = &self.world.pods[*pod];
            (resident.shape, &resident.pod.name)
        };
        waiting.sort_by(|a, b| rank(a).cmp(&rank(b)));
        self.place(&mut attempt, &mut waiting, false, launch.as_deref_mut());
        if reason.is_forced() && !waiting.is_empty() {
            self.place(&mut attempt, &mut waiting, true, launch);
        }
        let problem = if reason == DisruptionReason::Interrupted {
            None
        } else {
            self.problem(&attempt, &waiting, &watch, reason)
        };
        if let Some(why) = problem {
            self.take_back(attempt);
            return Err(why);
        }
        self.commit(attempt, reason);
        Ok(())
    }

    fn problem(
        &mut self,
        attempt: &Attempt,
        waiting: &[usize],
        watch: &Watch,
        reason: DisruptionReason,
    ) -> Option<Why> {
        if let Some(pod) = waiting.first() {
            return Some(Why::NoPlace(*pod));
        }
        if !self.world.keeps_sizes(&attempt.sites, attempt.first_launch) {
            return Some(Why::MinSize);
        }
        let world = &mut self.world;
        let stay =
            attempt.put.iter().all(|pod| world.board.stays(&world.problem, &world.offers, *pod));
        if !stay || !watch.holds(world) {
            return Some(Why::Neighbours);
        }
        let launches = attempt.first_launch..world.board.rooms.len();
        let nodes = world.input.nodes.len();
        let prices = launches.map(|site| world.offers.all[world.board.opened[site - nodes]].price);
        let spent = prices.fold(0, u64::saturating_add);
        let pays = reason != DisruptionReason::Underutilized || self.pays(&attempt.sites, spent);
        (!pays).then_some(Why::TooLittle)
    }

    fn lift(&mut self, sites: &[usize], rank: usize) -> Attempt {
        let world = &mut self.world;
        let mut lifted = Vec::new();
        for site in sites {
            for pod in &world.sites[*site].pods {
                if let Some(place) = world.board.places[*pod].take() {
                    if let Some(ties) = &place.ties {
                        world.board.count(ties, *site, true);
                    }
                    lifted.push((*pod, place));
                }
            }
            for daemon in &world.sites[*site].daemons {
                let ties = &world.shapes[world.pods[*daemon].shape].ties;
                world.board.count(ties, *site, true);
            }
            self.places.update(world, *site, true);
        }
        let first_launch = world.board.rooms.len();
        Attempt { sites: sites.to_vec(), rank, lifted, put: Vec::new(), first_launch }
    }

    /// Puts pods on sites that are there, and on new ones; those without a place go on waiting.
    fn place(
        &mut self,
        attempt: &mut Attempt,
        waiting: &mut Vec<usize>,
        strict: bool,
        launch: Option<&mut Control<'_>>,
    ) {
        loop {
            let mut left = Vec::new();
            let mut follows = false;
            for (at, pod) in waiting.iter().enumerate() {
                if self.settle(*pod, strict, attempt) {
                    continue;
                }
                left.push(*pod);
                let near = self.follows(*pod, strict);
                follows |= near;
                if launch.is_none() && !near {
                    left.extend(&waiting[at + 1..]);
                    *waiting = left;
                    return;
                }
            }
            let progress = left.len() < waiting.len();
            *waiting = left;
            if !(follows && progress) {
                break;
            }
        }
        if let Some(control) = launch.filter(|_| !waiting.is_empty()) {
            self.launch(attempt, waiting, strict, control);
        }
    }

    fn shape_of(&self, pod: usize, strict: bool) -> usize {
        let resident = &self.world.pods[pod];
        if strict { resident.strict } else { resident.shape }
    }

    /// Whether a pod has to be near others, which may come later.
    fn follows(&self, pod: usize, strict: bool) -> bool {
        let world = &self.world;
        let carried = &world.shapes[self.shape_of(pod, strict)].ties.carries;
        carried.iter().any(|(group, _)| world.board.groups.get(*group).kind() == Kind::Near)
    }

    fn settle(&mut self, pod: usize, strict: bool, attempt: &mut Attempt) -> bool {
        let shape = self.shape_of(pod, strict);
        let (world, enters) = (&mut self.world, &mut self.enters);
        let Some(site) = self.places.find(world, enters, shape, (&attempt.sites, attempt.rank))
        else {
            return false;
        };
        world.shapes[shape].pods.push_back(pod);
        world.board.put(&mut world.shapes[shape], 1, site, Counted::All);
        self.places.update(world, site, false);
        attempt.put.push(pod);
        true
    }

    fn launch(
        &mut self,
        attempt: &mut Attempt,
        waiting: &mut Vec<usize>,
        strict: bool,
        control: &mut Control<'_>,
    ) {
        for pod in waiting.iter() {
            let shape = self.shape_of(*pod, strict);
            self.world.shapes[shape].pods.push_back(*pod);
        }
        let world = &mut self.world;
        // What these sites had of their pools' limits is free again.
        attempt.sites.iter().for_each(|site| world.sites[*site].live = false);
        let mut budgets = world.budgets();
        attempt.sites.iter().for_each(|site| world.sites[*site].live = true);
        let launcher = Launcher {
            problem: &world.problem,
            offers: &world.offers,
            placer: Placer::new(&world.problem, &world.offers, world.config.fit),
            rounds: self.packings,
            expanders: &world.config.expanders,
            from: attempt.first_launch,
        };
        // What was launched for those that got what they like may have room for others.
        let own = Where::Range(attempt.first_launch, world.board.rooms.len());
        launcher.placer.place(&mut world.board, &mut world.shapes, own);
        launcher.launch(&mut world.board, &mut world.shapes, &mut budgets, control);
        world.shapes.iter_mut().for_each(|shape| shape.pods.clear());
        waiting.retain(|pod| {
            let placed = world.board.places[*pod].is_some();
            if placed {
                attempt.put.push(*pod);
            }
            !placed
        });
    }

    fn take_back(&mut self, attempt: Attempt) {
        let world = &mut self.world;
        for pod in attempt.put.iter().rev() {
            let Some(place) = &world.board.places[*pod] else { continue };
            let (site, level) = (place.site, place.level);
            let resident = &world.pods[*pod];
            let shape = &world.shapes[resident.shape];
            let shape = if shape.level == level { shape } else { &world.shapes[resident.strict] };
            world.board.take_off(*pod, &shape.demand, shape.ports);
            self.places.update(world, site, false);
        }
        while world.board.rooms.len() > attempt.first_launch {
            world.board.close_last();
        }
        for (pod, place) in attempt.lifted {
            if let Some(ties) = &place.ties {
                world.board.count(ties, place.site, false);
            }
            world.board.places[pod] = Some(place);
        }
        for site in &attempt.sites {
            for daemon in &world.sites[*site].daemons {
                let ties = &world.shapes[world.pods[*daemon].shape].ties;
                world.board.count(ties, *site, false);
            }
            self.places.update(world, *site, false);
        }
    }

    fn commit(&mut self, attempt: Attempt, reason: DisruptionReason) {
        let world = &mut self.world;
        for site in attempt.first_launch..world.board.rooms.len() {
            world.admit(site);
        }
        for site in &attempt.sites {
            let of = &mut world.sites[*site];
            (of.live, of.receives) = (false, false);
            of.pods.clear();
            of.daemons.clear();
        }
        for pod in attempt.put {
            if let Some(place) = &world.board.places[pod] {
                let site = &mut world.sites[place.site];
                site.pods.push(pod);
                // Pods of interrupted nodes keep the nodes that they come to as others do.
                site.fixed = site.fixed.or(world.pods[pod].keeps(pod));
            }
        }
        let nodes = world.input.nodes.len();
        let gone = attempt.sites.iter().filter(|site| **site < nodes);
        self.removed.extend(gone.map(|site| (*site, self.world.own_reason(*site, reason))));
    }
}
