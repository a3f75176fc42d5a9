//! Which nodes to launch for the pods that wait.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::bits::Bits;
use super::board::{Board, Counted};
use super::budget::Budgets;
use super::control::Control;
use super::existing::{Placer, Where};
use super::groups::{HOSTNAME, Kind};
use super::lots::{Lot, Market, lots, shares_a_node, unassign};
use super::offers::Offers;
use super::pack::{Group, Job, Machine, Numbers, Packer, Row, assign};
use super::problem::{Problem, Shape};
use super::proof::Proof;
use super::room::Gpu;
use crate::config::Expander;
use crate::model::HostPort;

/// Launches for what waits, and keeps what it has come to.
pub(super) struct Launcher<'p, 'a> {
    pub(super) problem: &'p Problem<'a>,
    pub(super) offers: &'p Offers,
    pub(super) placer: Placer<'p, 'a>,
    /// How often the quick packer packs.
    pub(super) rounds: u32,
    /// Which of several groups grows.
    pub(super) expanders: &'p [Expander],
    /// The first site that may take pods while groups grow.
    pub(super) from: usize,
}

impl<'a> Launcher<'_, 'a> {
    /// Launches nodes for what waits: of groups first, and for what no group takes of pools.
    pub(super) fn launch(
        &self,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
        control: &mut Control<'_>,
    ) -> Option<Proof> {
        if self.offers.all.is_empty() || shapes.iter().all(|shape| shape.left() == 0) {
            return None;
        }
        let mut market = Market::new(board, self.offers);
        let proof = if self.offers.of_groups().next().is_some() {
            let proof = self.prove_ahead(board, shapes, control);
            self.scale_up(&mut market, board, shapes, budgets);
            Some(proof)
        } else {
            None
        };
        market.open_pools(budgets);
        let of_pools = self.launch_of_pools(&market, board, shapes, budgets, control);
        // What is proved of the pods that groups left says nothing of all of them.
        proof.unwrap_or(of_pools)
    }

    /// Launches nodes for what waits, pools of higher weight first.
    fn launch_of_pools(
        &self,
        market: &Market<'_, 'a>,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
        control: &mut Control<'_>,
    ) -> Option<Proof> {
        self.bundle(market, board, shapes, budgets);
        let mut lots = lots(market, &self.placer, board, shapes);
        if lots.is_empty() {
            return None;
        }
        let pods = shapes.iter().map(|shape| shape.pods.iter().copied().collect()).collect();
        let weights = Offers::weights(board.input);
        // Where pods are free to go anywhere, the packing and the proof are one programme.
        let free = weights.len() == 1 && budgets.are_endless();
        let free = free && self.offers.flexible.iter().all(|flexible| *flexible);
        let free = free && lots.iter().all(|lot| self.is_plain(lot, board, &shapes[lot.shape]));
        let relaxed = (!free && !control.is_quick()).then(|| self.relaxed(&lots, board, shapes));
        let mut prover = relaxed.as_ref().map(|of| Packer::new(&of.job, &of.numbers, self.rounds));
        if let Some(prover) = &mut prover {
            control.solve(prover);
        }
        let known = relaxed.as_ref().zip(prover.as_ref()).map(|(of, prover)| of.proof(prover));
        let mut proof = None;
        for weight in weights {
            for tier in Self::tiers(&lots, shapes, budgets) {
                let packing = Packing { tier: &tier, weight, proof: known.as_ref() };
                let (lots, prover) = (&mut lots, prover.as_mut());
                proof = self.pack(&packing, lots, board, shapes, budgets, control, prover);
            }
        }
        if let Some((relaxed, prover)) = relaxed.as_ref().zip(prover.as_ref()) {
            proof = Some(relaxed.proof(prover));
        }
        for lot in lots.iter().filter(|lot| lot.count > 0) {
            if let Some(tuple) = &lot.tuple {
                unassign(board, &shapes[lot.shape], tuple, lot.count);
            }
        }
        proof.map(|proof| Proof { pods, ..proof })
    }

    /// Whether a lot asks for nothing that a proof leaves out.
    fn is_plain(&self, lot: &Lot, board: &Board<'a>, shape: &Shape<'a>) -> bool {
        let group = |group: &usize| board.groups.get(*group);
        let alone = |(of, means): &(usize, bool)| *means && group(of).is_required();
        lot.tuple.is_none()
            && shape.class == shape.plain
            && shape.ports.is_empty()
            && shape.pin.is_none()
            && !self.problem.dims.has_volumes()
            && shape.ties.carries.iter().all(alone)
            && shape.ties.meant_by.iter().all(|of| shape.ties.carries.contains(&(*of, true)))
    }

    /// Lots that are packed together. Only where a limit may run out do pods of higher priority go
    /// first; else packing all together is cheaper.
    fn tiers(lots: &[Lot], shapes: &[Shape<'a>], budgets: &Budgets) -> Vec<Vec<usize>> {
        if budgets.are_endless() {
            return vec![(0..lots.len()).collect()];
        }
        let priority = |lot: usize| shapes[lots[lot].shape].priority;
        let all: BTreeSet<_> = (0..lots.len()).map(|lot| Reverse(priority(lot))).collect();
        let of = |Reverse(wanted): Reverse<i32>| {
            (0..lots.len()).filter(|lot| priority(*lot) == wanted).collect()
        };
        all.into_iter().map(of).collect()
    }

    #[expect(clippy::too_many_arguments, reason = "what is read and what is changed, side by side")]
    fn pack(
        &self,
        packing: &Packing<'_>,
        lots: &mut [Lot],
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
        control: &mut Control<'_>,
        prover: Option<&mut Packer<'_>>,
    ) -> Option<Proof> {
        let waiting = packing.tier.iter().copied().filter(|lot| lots[*lot].count > 0);
        let rows: Vec<usize> = waiting.collect();
        let offers = self.undominated(board, packing.weight, &rows, lots, budgets);
        let takes = |lot: &usize| offers.iter().any(|(_, taken)| taken.has_lot(&rows, *lot));
        let rows: Vec<usize> = rows.iter().copied().filter(takes).collect();
        if rows.is_empty() {
            return None;
        }
        let offers: Vec<usize> = offers.into_iter().map(|(offer, _)| offer).collect();
        let (job, members) = self.job(board, &offers, &rows, lots, shapes, budgets).merged();
        // By row of the job: the lots that it is made of.
        let rows: Vec<Vec<usize>> =
            members.iter().map(|of| of.iter().map(|row| rows[*row]).collect()).collect();
        let parts = job.parts();
        let numbers: Vec<Numbers> = parts.iter().map(|part| Numbers::of(&part.job)).collect();
        let mut packers: Vec<Packer<'_>> = Vec::new();
        for (part, numbers) in parts.iter().zip(&numbers) {
            let rows: Vec<&[usize]> = part.rows.iter().map(|row| &*rows[*row]).collect();
            let offers: Vec<usize> = part.machines.iter().map(|m| offers[*m]).collect();
            packers.push(match packing.proof.filter(|proof| !proof.fillings.is_empty()) {
                Some(proof) => {
                    let value = |lots_of: &&[usize]| proof.values[lots[lots_of[0]].shape];
                    let values: Vec<f64> = rows.iter().map(value).collect();
                    let known = self.translate(proof, &part.job, &offers, &rows, lots);
                    Packer::seeded(&part.job, numbers, self.rounds, &values, known)
                }
                None => Packer::new(&part.job, numbers, self.rounds),
            });
        }
        control.run(&mut packers, prover);
        for (part, packer) in parts.iter().zip(&packers) {
            for batch in &packer.best().batches {
                let offer = offers[part.machines[batch.machine]];
                let draws = budgets.draws(&self.offers.all[offer], board.input);
                budgets.take(&draws, batch.copies);
                let pattern = batch.pattern.iter().map(|(row, n)| (&*rows[part.rows[*row]], *n));
                let pattern: Vec<(&[usize], u64)> = pattern.collect();
                for _ in 0..batch.copies {
                    self.open(offer, &pattern, lots, board, shapes);
                }
            }
        }
        let bounds = packers.iter().map(Packer::bound).collect::<Option<Vec<_>>>()?;
        let mut proof = Proof::new(shapes.len());
        for (part, bound) in parts.iter().zip(bounds) {
            for (at, (row, value)) in part.rows.iter().zip(&bound.duals).enumerate() {
                let value = if part.job.is_free(at) { 0.0 } else { *value };
                rows[*row].iter().for_each(|lot| proof.values[lots[*lot].shape] = value);
            }
        }
        Some(proof)
    }

    /// Launches one machine with so many pods of lots that are alike.
    fn open(
        &self,
        offer: usize,
        pattern: &[(&[usize], u64)],
        lots: &mut [Lot],
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
    ) {
        let site = board.open(self.offers, offer);
        let mut takes: Vec<(usize, u64)> = Vec::new();
        for (of, n) in pattern {
            let mut n = *n;
            for lot in *of {
                let some = n.min(lots[*lot].count);
                lots[*lot].count -= some;
                n -= some;
                takes.push((*lot, some));
            }
        }
        // Pods that share devices get them together: one after the other they might not fit.
        let gpu = |lot: usize| shapes[lots[lot].shape].demand.gpu;
        let pods = takes.iter().flat_map(|(lot, n)| (0..*n).map(move |_| *lot)).map(gpu);
        let pods: Vec<Gpu> = pods.collect();
        let divided = pods.iter().any(|gpu| matches!(gpu, Gpu::Share(_)));
        let devices = if divided { assign(&board.rooms[site].gpus, &pods) } else { None };
        let mut devices = devices.as_deref();
        for (lot, n) in takes.into_iter().filter(|(_, n)| *n > 0) {
            let counted = if lots[lot].tuple.is_some() { Counted::Hostname } else { Counted::All };
            let shape = &mut shapes[lots[lot].shape];
            let own =
                devices.and_then(|devices| devices.split_at_checked(usize::try_from(n).ok()?));
            if let Some((own, rest)) = own {
                devices = Some(rest);
                board.put_on(shape, site, counted, own);
            } else {
                // Where no devices were found, those that fit one after the other.
                let fits = board.rooms[site].count(&shape.demand).min(n);
                lots[lot].count += n - fits;
                board.put(shape, fits, site, counted);
            }
        }
    }

    /// The offers of a weight that are worth a look, by price, and the rows that each takes:
    /// without those that cost no less than another one that has as much room and takes the same
    /// rows. Where something may run out, only the same machine in another place makes one
    /// needless.
    fn undominated(
        &self,
        board: &Board<'a>,
        weight: u32,
        rows: &[usize],
        lots: &[Lot],
        budgets: &Budgets,
    ) -> Vec<(usize, Taken)> {
        let all = &self.offers.all;
        let mine = (0..all.len()).filter(|at| all[*at].source.pool.weight == weight);
        let mut sorted: Vec<usize> = mine.collect();
        sorted.sort_by_key(|at| all[*at].price);
        let mut kept: Vec<(usize, Taken)> = Vec::new();
        for at in sorted {
            let members = rows.iter().enumerate().filter(|(_, lot)| lots[**lot].offers.has(at));
            let taken = Taken(Bits::collect(rows.len(), members.map(|(row, _)| row)));
            if taken.0.is_empty() {
                continue;
            }
            let needless = kept.iter().rev().any(|(other, theirs)| {
                let (a, b) = (&all[*other], &all[at]);
                let same = a.pool == b.pool && a.instance_type == b.instance_type;
                let endless = budgets.draws(a, board.input).is_empty();
                (same && endless || budgets.are_endless())
                    && a.room.covers(&b.room)
                    && theirs.0.covers(&taken.0)
            });
            if !needless {
                kept.push((at, taken));
            }
        }
        kept
    }

    fn job(
        &self,
        board: &Board<'a>,
        offers: &[usize],
        rows: &[usize],
        lots: &[Lot],
        shapes: &[Shape<'a>],
        budgets: &Budgets,
    ) -> Job {
        let of = |lot: &usize| Row {
            demand: shapes[lots[*lot].shape].demand.clone(),
            count: lots[*lot].count,
            cap: u64::MAX,
        };
        let machine = |offer: &usize| {
            let of = &self.offers.all[*offer];
            let taken = rows.iter().enumerate().filter(|(_, lot)| lots[**lot].offers.has(*offer));
            Machine {
                room: of.room.clone(),
                price: of.price,
                rows: Bits::collect(rows.len(), taken.map(|(row, _)| row)),
                draws: budgets.draws(of, board.input),
            }
        };
        let mut job = Job {
            rows: rows.iter().map(of).collect(),
            machines: offers.iter().map(machine).collect(),
            groups: Vec::new(),
            foes: Vec::new(),
            budgets: budgets.left.clone(),
        };
        let shapes: Vec<&Shape<'_>> = rows.iter().map(|lot| &shapes[lots[*lot].shape]).collect();
        Neighbours { board, shapes: &shapes }.write(&mut job, false);
        job
    }

    /// Launches for pods that must be on one node with certain others: with as many of them as
    /// there are, and one of those others if none is there yet.
    pub(super) fn bundle(
        &self,
        market: &Market<'_, '_>,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
    ) {
        for at in 0..shapes.len() {
            if !shares_a_node(board, &shapes[at]) {
                continue;
            }
            while shapes[at].left() > 0 && self.bundle_one(at, market, board, shapes, budgets) {}
        }
    }

    fn bundle_one(
        &self,
        at: usize,
        market: &Market<'_, '_>,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
    ) -> bool {
        let partner = match partner(at, board, shapes) {
            Partner::None => None,
            Partner::One(shape) => Some(shape),
            Partner::Missing => return false,
        };
        let (own, other) = (&shapes[at], partner.map(|partner| &shapes[partner]));
        let mut candidates = market.of(own);
        if let Some(other) = other {
            candidates.keep(&market.of(other));
        }
        let mut best: Option<(u64, u64, usize)> = None;
        for offer in (0..self.offers.all.len()).filter(|offer| candidates.has(*offer)) {
            let of = &self.offers.all[offer];
            let mut room = of.room.clone();
            if let Some(other) = other {
                room.take(&other.demand, 1, drop);
            }
            let n = room.count(&own.demand).min(own.left());
            let better =
                best.is_none_or(|(most, price, _)| n > most || n == most && of.price < price);
            if n > 0 && better && budgets.allow(&budgets.draws(of, board.input)) {
                best = Some((n, of.price, offer));
            }
        }
        let Some((.., offer)) = best else { return false };
        let site = board.open(self.offers, offer);
        let before = shapes[at].left();
        if let Some(partner) = partner {
            // One of them is enough: the others are packed with the rest.
            let mut others = shapes[partner].pods.split_off(1);
            self.placer.place(board, &mut shapes[partner..=partner], Where::These(&[site]));
            shapes[partner].pods.append(&mut others);
        }
        self.placer.place(board, &mut shapes[at..=at], Where::These(&[site]));
        if board.is_unused(site) {
            board.close_last();
        } else {
            budgets.take(&budgets.draws(&self.offers.all[offer], board.input), 1);
        }
        shapes[at].left() < before
    }
}

/// Whose pod has to come along with those that must share a node.
enum Partner {
    /// Nobody's: they are the first of their like.
    None,
    /// One of this shape.
    One(usize),
    /// One that is not there, or has its place where no room is left.
    Missing,
}

fn partner(at: usize, board: &Board<'_>, shapes: &[Shape<'_>]) -> Partner {
    let needed = shapes[at].ties.carries.iter().find(|(group, means)| {
        let of = board.groups.get(*group);
        let first = *means && of.total().meant == 0;
        of.kind() == Kind::Near && of.topology() == HOSTNAME && !first
    });
    let Some((group, _)) = needed else { return Partner::None };
    let means = |shape: &Shape<'_>| shape.left() > 0 && shape.ties.meant_by.contains(group);
    let other = (0..shapes.len()).filter(|other| *other != at && means(&shapes[*other]));
    let mut free = other.filter(|other| !shares_a_node(board, &shapes[*other]));
    free.next().map_or(Partner::Missing, Partner::One)
}

/// What is packed together, and what is known of it.
struct Packing<'k> {
    tier: &'k [usize],
    weight: u32,
    proof: Option<&'k Proof>,
}

/// Rows that an offer takes.
struct Taken(Bits);

impl Taken {
    fn has_lot(&self, rows: &[usize], lot: usize) -> bool {
        rows.binary_search(&lot).is_ok_and(|row| self.0.has(row))
    }
}

/// What rows may not do together on one machine.
pub(super) struct Neighbours<'n, 'a> {
    pub(super) board: &'n Board<'a>,
    /// By row.
    pub(super) shapes: &'n [&'n Shape<'a>],
}

impl Neighbours<'_, '_> {
    /// With `proof` only that is written which its checker knows of: how many pods with the same
    /// required constraint go on one machine.
    pub(super) fn write(&self, job: &mut Job, proof: bool) {
        let mut foes: Vec<(usize, usize)> = Vec::new();
        for group in self.groups() {
            if proof && !self.board.groups.get(group).is_required() {
                continue;
            }
            let carriers = self.rows(|shape| shape.ties.carries.iter().any(|(g, _)| *g == group));
            let both = self.rows(|shape| shape.ties.carries.contains(&(group, true)));
            match self.board.groups.get(group).kind() {
                Kind::Spread(spread) => cap(job, &both, u64::from(spread.max_skew)),
                Kind::Apart | Kind::Avoid => {
                    let meant = self.rows(|shape| shape.ties.meant_by.contains(&group));
                    cap(job, &both, 1);
                    let pairs = carriers.iter().flat_map(|a| meant.iter().map(move |b| (*a, *b)));
                    foes.extend(pairs.filter(|(a, b)| a != b));
                }
                Kind::Near => {}
            }
        }
        let ported = self.rows(|shape| !proof && !shape.ports.is_empty());
        for a in &ported {
            for b in ported.iter().filter(|b| clash(self.shapes[*a].ports, self.shapes[**b].ports))
            {
                if a == b {
                    job.rows[*a].cap = 1;
                } else {
                    foes.push((*a, *b));
                }
            }
        }
        if !foes.is_empty() && !proof {
            job.foes = vec![Bits::new(job.rows.len()); job.rows.len()];
            for (a, b) in foes {
                job.foes[a].insert(b);
                job.foes[b].insert(a);
            }
        }
    }

    /// The groups by hostname that some row carries.
    fn groups(&self) -> BTreeSet<usize> {
        let carried = self.shapes.iter().flat_map(|shape| &shape.ties.carries);
        let groups = carried.map(|(group, _)| *group);
        groups.filter(|group| self.board.groups.get(*group).topology() == HOSTNAME).collect()
    }

    fn rows(&self, which: impl Fn(&Shape<'_>) -> bool) -> Vec<usize> {
        (0..self.shapes.len()).filter(|row| which(self.shapes[*row])).collect()
    }
}

fn cap(job: &mut Job, rows: &[usize], most: u64) {
    match rows {
        [] => {}
        [row] => job.rows[*row].cap = job.rows[*row].cap.min(most),
        rows => job.groups.push(Group { cap: most, rows: rows.to_vec() }),
    }
}

fn clash(a: &[HostPort], b: &[HostPort]) -> bool {
    a.iter().any(|port| b.iter().any(|other| port.conflicts(other)))
}
