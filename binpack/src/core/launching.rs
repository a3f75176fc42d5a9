//! Which nodes to launch for the pods that wait.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::bits::Bits;
use super::board::{Board, Counted};
use super::budget::Budgets;
use super::control::Control;
use super::existing::Placer;
use super::lots::{Lot, Market, lots, unassign};
use super::neighbours::Neighbours;
use super::offers::{Offer, Offers};
use super::pack::{Batch, Job, Machine, Numbers, Packer, Part, Row, assign};
use super::problem::{Problem, Shape};
use super::proof::Proof;
use super::room::Gpu;
use crate::config::Expander;
use crate::model::Input;

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
        let mut market = Market::new(board, self.offers, shapes);
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
            for (tier, loose) in Self::tiers(&lots, shapes, budgets) {
                let rows = tier.into_iter().filter(|lot| lots[*lot].count > 0).collect();
                let packing = Packing { rows, weight, loose, budgets, proof: known.as_ref() };
                let packed = self.pack(packing, &lots, board, shapes, control, prover.as_mut());
                let Some(packed) = packed else { continue };
                self.carry_out(&packed, &mut lots, board, shapes, budgets);
                proof = packed.proof;
                if loose {
                    break;
                }
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

    /// Lots that are packed together, and whether that is done as if nothing was limited. Limits are
    /// mostly far off, and packing without them is quicker and cheaper: that is tried first.
    /// Where a limit runs out pods of higher priority go first.
    fn tiers(lots: &[Lot], shapes: &[Shape<'a>], budgets: &Budgets) -> Vec<(Vec<usize>, bool)> {
        let loose = ((0..lots.len()).collect(), true);
        if budgets.are_endless() {
            return vec![loose];
        }
        let priority = |lot: usize| shapes[lots[lot].shape].priority;
        let all: BTreeSet<_> = (0..lots.len()).map(|lot| Reverse(priority(lot))).collect();
        let of = |Reverse(wanted): Reverse<i32>| {
            ((0..lots.len()).filter(|lot| priority(*lot) == wanted).collect(), false)
        };
        std::iter::once(loose).chain(all.into_iter().map(of)).collect()
    }

    /// Nothing where no machine takes any of the rows, and where what was packed loosely is beyond
    /// a limit.
    fn pack(
        &self,
        mut packing: Packing<'_>,
        lots: &[Lot],
        board: &Board<'a>,
        shapes: &[Shape<'a>],
        control: &mut Control<'_>,
        prover: Option<&mut Packer<'_>>,
    ) -> Option<Packed> {
        let offers = self.undominated(board, &packing, lots);
        let takes =
            |lot: &usize| offers.iter().any(|(_, taken)| taken.has_lot(&packing.rows, *lot));
        packing.rows = packing.rows.iter().copied().filter(takes).collect();
        if packing.rows.is_empty() {
            return None;
        }
        let offers: Vec<usize> = offers.into_iter().map(|(offer, _)| offer).collect();
        let (job, members) = self.job(board, &offers, &packing, lots, shapes).merged();
        // By row of the job: the lots that it is made of.
        let rows: Vec<Vec<usize>> =
            members.iter().map(|of| of.iter().map(|row| packing.rows[*row]).collect()).collect();
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
        // A quick look, before steps are spent on it. Cheaper packings may draw more.
        if packing.loose && !control.is_quick() {
            let launches = launches(&parts, &packers, &offers);
            let left = self.left_by(packing.budgets, board.input, &launches)?;
            if !packing.budgets.has_half(&left) {
                return None;
            }
        }
        control.run(&mut packers, prover);
        let launches = launches(&parts, &packers, &offers);
        let left = self.left_by(packing.budgets, board.input, &launches)?;
        let proof = proof_of(&parts, &packers, &rows, lots, shapes.len());
        Some(Packed { rows, launches, left, proof })
    }

    /// What launches leave of the budgets, if they are within them.
    fn left_by(&self, budgets: &Budgets, input: &Input, launches: &[Batch]) -> Option<Vec<u64>> {
        let mut budgets = budgets.clone();
        for batch in launches {
            let draws = budgets.draws(&self.offers.all[batch.machine], input);
            if !budgets.take(&draws, batch.copies) {
                return None;
            }
        }
        Some(budgets.left)
    }

    /// Launches what was packed.
    fn carry_out(
        &self,
        packed: &Packed,
        lots: &mut [Lot],
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
    ) {
        budgets.left.clone_from(&packed.left);
        for batch in &packed.launches {
            let pattern = batch.pattern.iter().map(|(row, n)| (&*packed.rows[*row], *n));
            let pattern: Vec<(&[usize], u64)> = pattern.collect();
            for _ in 0..batch.copies {
                self.open(batch.machine, &pattern, lots, board, shapes);
            }
        }
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
        packing: &Packing<'_>,
        lots: &[Lot],
    ) -> Vec<(usize, Taken)> {
        let (all, rows) = (&self.offers.all, &packing.rows);
        let mine = (0..all.len()).filter(|at| all[*at].source.pool.weight == packing.weight);
        let mut sorted: Vec<usize> = mine.collect();
        sorted.sort_by_key(|at| all[*at].price);
        let loose = packing.loose;
        let mut kept: Vec<(usize, Taken)> = Vec::new();
        let mut endless: Vec<bool> = Vec::new();
        for at in sorted {
            let members = rows.iter().enumerate().filter(|(_, lot)| lots[**lot].offers.has(at));
            let taken = Taken(Bits::collect(rows.len(), members.map(|(row, _)| row)));
            if taken.0.is_empty() {
                continue;
            }
            let needless = kept.iter().zip(&endless).rev().any(|((other, theirs), endless)| {
                let (a, b) = (&all[*other], &all[at]);
                let same = a.pool == b.pool && a.instance_type == b.instance_type;
                (same && *endless || loose) && theirs.0.covers(&taken.0) && a.room.covers(&b.room)
            });
            if !needless {
                kept.push((at, taken));
                endless.push(packing.draws(&all[at], board.input).is_empty());
            }
        }
        kept
    }

    fn job(
        &self,
        board: &Board<'a>,
        offers: &[usize],
        packing: &Packing<'_>,
        lots: &[Lot],
        shapes: &[Shape<'a>],
    ) -> Job {
        let rows = &packing.rows;
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
                draws: packing.draws(of, board.input),
            }
        };
        let mut job = Job {
            rows: rows.iter().map(of).collect(),
            machines: offers.iter().map(machine).collect(),
            groups: Vec::new(),
            foes: Vec::new(),
            budgets: if packing.loose { Vec::new() } else { packing.budgets.left.clone() },
        };
        let shapes: Vec<&Shape<'_>> = rows.iter().map(|lot| &shapes[lots[*lot].shape]).collect();
        Neighbours { board, shapes: &shapes }.write(&mut job, false);
        job
    }
}

/// What is packed together, and what is known of it.
struct Packing<'k> {
    /// Lots.
    rows: Vec<usize>,
    weight: u32,
    /// Whether limits are not looked at.
    loose: bool,
    budgets: &'k Budgets,
    proof: Option<&'k Proof>,
}

impl Packing<'_> {
    fn draws(&self, offer: &Offer, input: &Input) -> Vec<(usize, u64)> {
        if self.loose { Vec::new() } else { self.budgets.draws(offer, input) }
    }
}

/// What it has come to.
struct Packed {
    /// By row: its lots.
    rows: Vec<Vec<usize>>,
    /// A machine is an offer here.
    launches: Vec<Batch>,
    /// Of the budgets.
    left: Vec<u64>,
    proof: Option<Proof>,
}

/// The best of all parts, by the rows and offers that the parts come from.
fn launches(parts: &[Part], packers: &[Packer<'_>], offers: &[usize]) -> Vec<Batch> {
    let of = |part: &Part, batch: &Batch| Batch {
        machine: offers[part.machines[batch.machine]],
        pattern: batch.pattern.iter().map(|(row, n)| (part.rows[*row], *n)).collect(),
        copies: batch.copies,
    };
    let all = parts.iter().zip(packers);
    all.flat_map(|(part, packer)| packer.best().batches.iter().map(|batch| of(part, batch)))
        .collect()
}

/// What all parts prove together, if each proves something.
fn proof_of(
    parts: &[Part],
    packers: &[Packer<'_>],
    rows: &[Vec<usize>],
    lots: &[Lot],
    shapes: usize,
) -> Option<Proof> {
    let bounds = packers.iter().map(Packer::bound).collect::<Option<Vec<_>>>()?;
    let mut proof = Proof::new(shapes);
    for (part, bound) in parts.iter().zip(bounds) {
        for (at, (row, value)) in part.rows.iter().zip(&bound.duals).enumerate() {
            let value = if part.job.is_free(at) { 0.0 } else { *value };
            rows[*row].iter().for_each(|lot| proof.values[lots[*lot].shape] = value);
        }
    }
    Some(proof)
}

/// Rows that an offer takes.
struct Taken(Bits);

impl Taken {
    fn has_lot(&self, rows: &[usize], lot: usize) -> bool {
        rows.binary_search(&lot).is_ok_and(|row| self.0.has(row))
    }
}
