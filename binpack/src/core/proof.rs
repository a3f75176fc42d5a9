//! A lower bound on what launches cost, and the values of pods that prove it.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::board::Board;
use super::control::Control;
use super::launching::Launcher;
use super::lots::Lot;
use super::pack::{Job, Machine, Numbers, Packer, Pattern, Row};
use super::problem::Shape;

/// What has been proved of the shapes of a wave, and fillings that were found on the way.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// By shape: what a pod is worth, in millionths of a dollar per hour.
    pub(super) values: Vec<f64>,
    /// Offers, and pods of shapes that fill them.
    pub(super) fillings: Vec<(usize, Pattern)>,
    /// By shape: the pods that waited when it was proved.
    pub(super) pods: Vec<Vec<usize>>,
}

impl Proof {
    pub(super) fn new(shapes: usize) -> Self {
        Self { values: vec![0.0; shapes], ..Self::default() }
    }
}

impl<'a> Launcher<'_, 'a> {
    /// The programme for all that is to be launched as if pods could go to any domain and any pool
    /// that takes them: less is asked for, so its bound holds, and its fillings are good ones for
    /// each domain.
    pub(super) fn relaxed(&self, lots: &[Lot], board: &Board<'a>, shapes: &[Shape<'a>]) -> Relaxed {
        let whole = Whole::of(lots, shapes, |shape| self.plain_offers(&shapes[shape]));
        let (job, offers) = self.relaxed_job(&whole, board, shapes);
        let (job, members) = job.merged();
        let of = |rows: Vec<usize>| rows.into_iter().map(|row| whole.shapes[row]).collect();
        let shapes_of = members.into_iter().map(of).collect();
        Relaxed { numbers: Numbers::of(&job), job, offers, shapes_of, all: shapes.len() }
    }

    /// What is proved of all pods that wait, before groups take some of them; nothing where only a
    /// quick plan is wanted.
    pub(super) fn prove_ahead(
        &self,
        board: &Board<'a>,
        shapes: &[Shape<'a>],
        control: &mut Control<'_>,
    ) -> Option<Proof> {
        if control.is_quick() {
            return None;
        }
        let all = shapes.iter().enumerate().filter(|(_, shape)| shape.left() > 0);
        let lots = all.map(|(at, shape)| {
            let (count, offers) = (shape.left(), self.plain_offers(shape));
            Lot { shape: at, count, tuple: None, offers }
        });
        let lots: Vec<Lot> = lots.filter(|lot| !lot.offers.is_empty()).collect();
        let relaxed = self.relaxed(&lots, board, shapes);
        let mut prover = Packer::new(&relaxed.job, &relaxed.numbers, self.rounds);
        control.solve(&mut prover);
        let pods = shapes.iter().map(|shape| shape.pods.iter().copied().collect()).collect();
        Some(Proof { pods, ..relaxed.proof(&prover) })
    }

    /// The offers that a shape may use if nothing is asked for but what its pods require of nodes.
    fn plain_offers(&self, shape: &Shape<'a>) -> Bits {
        let demand = self.problem.dims.without_volumes(&shape.demand);
        let takes = self.offers.takes(shape.plain).iter();
        let fits = takes.filter(|at| self.offers.all[*at].room.fits(&demand));
        Bits::collect(self.offers.all.len(), fits)
    }

    fn relaxed_job(
        &self,
        whole: &Whole,
        board: &Board<'a>,
        shapes: &[Shape<'a>],
    ) -> (Job, Vec<usize>) {
        let all = &self.offers.all;
        let rows = whole.shapes.iter().zip(&whole.counts).map(|(shape, count)| Row {
            demand: self.problem.dims.without_volumes(&shapes[*shape].demand),
            count: *count,
            cap: u64::MAX,
        });
        let mut sorted: Vec<usize> = (0..all.len()).collect();
        sorted.sort_by_key(|at| all[*at].price);
        let (mut machines, mut offers): (Vec<Machine>, Vec<usize>) = (Vec::new(), Vec::new());
        for at in sorted {
            let taken = whole.offers.iter().enumerate().filter(|(_, bits)| bits.has(at));
            let taken = Bits::collect(whole.shapes.len(), taken.map(|(row, _)| row));
            let room = &all[at].room;
            let needless =
                machines.iter().rev().any(|m| m.room.covers(room) && m.rows.covers(&taken));
            if !taken.is_empty() && !needless {
                let (room, price, draws) = (room.clone(), all[at].price, Vec::new());
                machines.push(Machine { room, price, rows: taken, draws });
                offers.push(at);
            }
        }
        let mut job = Job { rows: rows.collect(), machines, ..Job::default() };
        let of: Vec<&Shape<'_>> = whole.shapes.iter().map(|shape| &shapes[*shape]).collect();
        super::neighbours::Neighbours { board, shapes: &of }.write(&mut job, true);
        (job, offers)
    }

    /// The fillings of a proof for the machines of a job, whose rows are these lots.
    pub(super) fn translate(
        &self,
        proof: &Proof,
        job: &Job,
        offers: &[usize],
        rows: &[&[usize]],
        lots: &[Lot],
    ) -> Vec<(usize, Pattern)> {
        let all = &self.offers.all;
        let kind = |offer: usize| (all[offer].pool, all[offer].instance_type);
        let mut found = Vec::new();
        for (offer, filling) in &proof.fillings {
            let same = (0..offers.len()).filter(|m| kind(offers[*m]) == kind(*offer));
            for machine in same {
                let row = |shape: usize| {
                    let own = |row: &usize| {
                        let taken = job.machines[machine].rows.has(*row);
                        taken && rows[*row].iter().any(|lot| lots[*lot].shape == shape)
                    };
                    (0..rows.len()).find(own)
                };
                let pods = filling.iter().filter_map(|(shape, n)| {
                    let row = row(*shape)?;
                    Some((row, (*n).min(job.rows[row].count)))
                });
                let mut together: BTreeMap<usize, u64> = BTreeMap::new();
                for (row, n) in pods {
                    let sum = together.entry(row).or_default();
                    *sum = (*sum + n).min(job.rows[row].count);
                }
                found.push((machine, together.into_iter().collect()));
            }
        }
        found
    }
}

/// A programme that asks for less.
pub(super) struct Relaxed {
    pub(super) job: Job,
    pub(super) numbers: Numbers,
    /// By machine: its offer.
    offers: Vec<usize>,
    /// By row: its shapes.
    shapes_of: Vec<Vec<usize>>,
    /// How many shapes there are.
    all: usize,
}

impl Relaxed {
    /// What a packer has proved so far, and found.
    pub(super) fn proof(&self, prover: &Packer<'_>) -> Proof {
        let mut proof = Proof::new(self.all);
        let Some(bound) = prover.bound() else { return proof };
        for (row, (shapes, value)) in self.shapes_of.iter().zip(&bound.duals).enumerate() {
            let value = if self.job.is_free(row) { 0.0 } else { *value };
            for shape in shapes {
                proof.values[*shape] = value;
            }
        }
        let named = |(machine, pattern): &(usize, Pattern)| {
            let pattern = pattern.iter().map(|(row, n)| (self.shapes_of[*row][0], *n)).collect();
            (self.offers[*machine], pattern)
        };
        proof.fillings = prover.fillings().iter().map(named).collect();
        proof
    }
}

/// Lots of one shape together.
struct Whole {
    shapes: Vec<usize>,
    counts: Vec<u64>,
    offers: Vec<Bits>,
}

impl Whole {
    /// All pods of a shape that wait, those included for which no domain was right: what has a value
    /// must have been counted.
    fn of(lots: &[Lot], shapes: &[Shape<'_>], offers: impl Fn(usize) -> Bits) -> Self {
        let mut whole = Self { shapes: Vec::new(), counts: Vec::new(), offers: Vec::new() };
        let mut index: BTreeMap<usize, usize> = BTreeMap::new();
        for lot in lots {
            let at = *index.entry(lot.shape).or_insert(whole.shapes.len());
            if at == whole.shapes.len() {
                whole.shapes.push(lot.shape);
                whole.counts.push(shapes[lot.shape].left());
                whole.offers.push(offers(lot.shape));
            }
        }
        whole
    }
}
