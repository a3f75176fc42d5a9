//! One run of the planner: waves of placement, from all that pods would like to what they need.

use super::board::Board;
use super::budget::Budgets;
use super::certificate::{Certifier, Proved};
use super::control::{Control, Progress};
use super::existing::{Placer, Where};
use super::gangs::{GangPlacer, Gangs, disband};
use super::groups::Groups;
use super::launching::Launcher;
use super::offers::Offers;
use super::outcome::Outcome;
use super::problem::{Problem, Shape};
use super::proof::Proof;
use super::relax::Level;
use super::room::Demand;
use crate::config::{Config, Preference};
use crate::error::Result;
use crate::model::{Input, Plan};

pub(super) struct Run<'a> {
    config: &'a Config,
    problem: Problem<'a>,
    offers: Offers,
    board: Board<'a>,
    budgets: Budgets,
    /// By pod.
    levels: Vec<Level>,
    gangs: Gangs,
    /// The first wave.
    shapes: Vec<Shape<'a>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(input: &'a Input, config: &'a Config) -> Result<Self> {
        let mut problem = Problem::new(input);
        let offers = Offers::new(&problem)?;
        let mut groups = Groups::new();
        for running in input.nodes.iter().flat_map(|node| &node.pods) {
            groups.of_running(&running.pod);
        }
        let first = |pod: usize| match config.preference {
            Preference::Respect => 0,
            // Taints are not the pod's preferences: they are kept as long as possible all the same.
            Preference::Ignore => problem.levels(pod) - 1 - Level::from(problem.shuns),
        };
        let levels: Vec<Level> = (0..input.pods.len()).map(first).collect();
        let wave: Vec<(usize, Level)> = levels.iter().copied().enumerate().collect();
        let shapes = problem.shapes(&wave, &mut groups)?;
        let mut gangs = Gangs::new(&problem, &mut groups);
        let mut board = Board::new(&problem, groups);
        board.count_running();
        gangs.count_running(&problem, &board);
        let budgets = Budgets::new(input);
        Ok(Self { config, problem, offers, board, budgets, levels, gangs, shapes })
    }

    pub(super) fn finish(mut self, stop: &mut dyn FnMut(&Progress) -> bool) -> Result<Plan> {
        let mut control = Control::new(self.config.iterations, stop);
        let mut shapes = std::mem::take(&mut self.shapes);
        let mut proved = None;
        while !shapes.is_empty() {
            let pods = shapes.iter().map(|shape| shape.pods.iter().copied().collect()).collect();
            let proof = self.place(&mut shapes, &mut control);
            proved = proved.or_else(|| proof.map(|proof| Proved { proof, pods }));
            self.repair();
            if disband(&self.problem, &mut self.board) {
                self.repair();
            }
            shapes = self.next_wave()?;
        }
        let (problem, offers, board) = (&self.problem, &self.offers, &self.board);
        let mut plan = Outcome { problem, offers, board }.plan()?;
        let budgets = &Budgets::new(problem.input);
        plan.certificate = Some(Certifier { problem, board, budgets }.certify(proved.as_ref()));
        plan.iterations = control.iterations();
        plan.cut_short = control.cut_short;
        Ok(plan)
    }

    /// Nodes that exist, then launches that have room, then new launches, and then whatever has
    /// room for those that had to wait for others.
    fn place(&mut self, shapes: &mut Vec<Shape<'a>>, control: &mut Control<'_>) -> Option<Proof> {
        self.offers.learn(&self.problem);
        let placer = Placer::new(&self.problem, &self.offers, self.config.fit);
        let launcher = Launcher {
            offers: &self.offers,
            placer: Placer::new(&self.problem, &self.offers, self.config.fit),
            rounds: self.config.packing_rounds,
        };
        let gang_placer = GangPlacer { problem: &self.problem, placer: &placer };
        let left = gang_placer.place(&mut self.board, &mut self.gangs, shapes);
        shapes.extend(gang_placer.pin(&mut self.board, &self.gangs, &self.offers, left));
        let nodes = self.problem.input.nodes.len();
        placer.place(&mut self.board, shapes, Where::Range(0, nodes));
        let sites = self.board.rooms.len();
        placer.place(&mut self.board, shapes, Where::Range(nodes, sites));
        let proof = launcher.launch(&mut self.board, shapes, &mut self.budgets, control);
        let sites = self.board.rooms.len();
        placer.place(&mut self.board, shapes, Where::Range(0, sites));
        proof
    }

    /// Takes off pods whose constraints no longer hold because others found no place. Each that
    /// goes may take others along.
    fn repair(&mut self) {
        if self.board.groups.is_empty() {
            return;
        }
        let mut again = true;
        while again {
            again = false;
            for pod in 0..self.board.places.len() {
                if !self.board.stays(&self.problem, &self.offers, pod) {
                    let demand = Demand::new(&self.problem.dims, &self.problem.input.pods[pod]);
                    self.board.evict(pod, &demand);
                    again = true;
                }
            }
        }
    }

    /// The pods without a place that have something left to give up.
    fn next_wave(&mut self) -> Result<Vec<Shape<'a>>> {
        let mut wave = Vec::new();
        for pod in 0..self.levels.len() {
            let next = self.levels[pod] + 1;
            if self.board.places[pod].is_none() && next < self.problem.levels(pod) {
                self.levels[pod] = next;
                wave.push((pod, next));
            }
        }
        self.problem.shapes(&wave, &mut self.board.groups)
    }
}
