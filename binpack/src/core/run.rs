//! One run of the planner: waves of placement, from all that pods would like to what they need.

use std::collections::BTreeSet;

use super::board::Board;
use super::budget::Budgets;
use super::certificate::Certifier;
use super::control::{Control, Progress};
use super::existing::{Placer, Where};
use super::gangs::{GangPlacer, Gangs, disband};
use super::groups::Groups;
use super::hash::QuickMap;
use super::launching::Launcher;
use super::offers::Offers;
use super::outcome::Outcome;
use super::problem::{Problem, Shape};
use super::proof::Proof;
use super::relax::Level;
use super::room::Demand;
use super::scale_up::{enforce_min_sizes, idle_launches};
use super::scheduler::Scheduled;
use crate::config::{Config, Preference};
use crate::error::Result;
use crate::model::{Eviction, Input, Plan};

#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) config: &'a Config,
    pub(super) problem: Problem<'a>,
    pub(super) offers: Offers,
    pub(super) board: Board<'a>,
    pub(super) budgets: Budgets,
    /// By pod.
    pub(super) levels: Vec<Level>,
    pub(super) gangs: Gangs,
    /// By site: the pods of the input that have their place there, as far as a scheduler keeps
    /// them.
    pub(super) own: QuickMap<usize, BTreeSet<usize>>,
    /// Launches that are no more: those that have become nodes, and those that nobody needed.
    pub(super) over: BTreeSet<usize>,
    /// The first launch of this call.
    first: usize,
    /// The pods of this call.
    pub(super) call: Vec<usize>,
    /// Who has to go, once that is known.
    pub(super) evictions: Vec<Eviction>,
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
        let first = |pod: usize| first_level(config, &problem, pod);
        let levels: Vec<Level> = (0..input.pods.len()).map(first).collect();
        let wave: Vec<(usize, Level)> = levels.iter().copied().enumerate().collect();
        let shapes = problem.shapes(&wave, &mut groups)?;
        let gangs = Gangs::new(&problem, &mut groups);
        let mut board = Board::new(&problem, groups);
        board.count_running();
        let budgets = Budgets::new(input);
        let (own, over, first) = (QuickMap::default(), BTreeSet::new(), 0);
        Ok(Self {
            config,
            problem,
            offers,
            board,
            budgets,
            levels,
            gangs,
            own,
            over,
            first,
            call: (0..input.pods.len()).collect(),
            evictions: Vec::new(),
            shapes,
        })
    }

    pub(super) fn finish(mut self, stop: &mut dyn FnMut(&Progress) -> bool) -> Result<Plan> {
        let mut control = Control::new(self.config.iterations, stop);
        let shapes = std::mem::take(&mut self.shapes);
        enforce_min_sizes(&mut self.board, &self.offers, &mut self.budgets);
        let proved = self.waves(shapes, &mut control)?;
        // Pods may have left a launch that counted.
        enforce_min_sizes(&mut self.board, &self.offers, &mut self.budgets);
        let pods = self.call.clone();
        self.preempt(&pods, &mut control)?;
        let mut plan = self.outcome().plan()?;
        plan.evictions = std::mem::take(&mut self.evictions);
        let (problem, board) = (&self.problem, &self.board);
        plan.certificate = Some(Certifier { problem, board }.certify(proved.as_ref()));
        if let Some(of) = plan.certificate.as_mut().filter(|_| !plan.evictions.is_empty()) {
            of.left_out.push("that other pods could be evicted instead of launching".into());
        }
        plan.iterations = control.iterations();
        plan.cut_short = control.cut_short;
        Ok(plan)
    }

    fn outcome(&self) -> Outcome<'_, 'a> {
        let Self { config, problem, offers, board, .. } = self;
        Outcome { config, problem, offers, board }
    }

    /// Places shapes, and again those of their pods that have something to give up.
    pub(super) fn waves(
        &mut self,
        mut shapes: Vec<Shape<'a>>,
        control: &mut Control<'_>,
    ) -> Result<Option<Proof>> {
        let (mut proved, mut again) = (None, false);
        let pods: Vec<usize> = shapes.iter().flat_map(|shape| shape.pods.iter().copied()).collect();
        let ganged = pods.iter().any(|pod| self.problem.input.pods[*pod].gang.is_some());
        while !shapes.is_empty() {
            let proof = self.place(&mut shapes, control);
            proved = proved.or(proof);
            self.repair(&pods);
            // Who goes with a gang may take others along, and they members of another gang.
            while ganged && disband(&self.problem, &mut self.board, &self.gangs, &pods) {
                self.repair(&pods);
            }
            // What was given back may be enough for others, once.
            again = !again && !self.budgets.are_endless() && self.drop_unused();
            shapes = if again { self.same_wave(&pods)? } else { self.next_wave(&pods)? };
        }
        Ok(proved)
    }

    /// Places pods that were added to the input, and returns what came of it.
    pub(super) fn schedule(&mut self, pods: &[usize]) -> Result<Scheduled> {
        self.levels.resize(self.problem.input.pods.len(), 0);
        self.board.places.resize(self.problem.input.pods.len(), None);
        let first = |pod: &usize| (*pod, self.first_level(*pod));
        let wave: Vec<(usize, Level)> = pods.iter().map(first).collect();
        for (pod, level) in &wave {
            self.levels[*pod] = *level;
        }
        self.measure(pods)?;
        for pod in pods {
            self.gangs.admit(&self.problem, *pod);
        }
        self.first = self.board.opened.len();
        self.call = pods.to_vec();
        let before = self.board.groups.extent();
        let shapes = self.problem.shapes(&wave, &mut self.board.groups)?;
        if self.board.groups.extent() != before {
            self.board.recount(&self.offers);
        }
        let never = &mut |_: &Progress| false;
        let mut control = Control::new(self.config.iterations, never);
        self.waves(shapes, &mut control)?;
        self.preempt(pods, &mut control)?;
        self.drop_unused();
        for pod in pods {
            if let Some(place) = &self.board.places[*pod] {
                self.own.entry(place.site).or_default().insert(*pod);
            }
        }
        let mut scheduled = self.outcome().scheduled(pods, self.first)?;
        scheduled.evictions = std::mem::take(&mut self.evictions);
        Ok(scheduled)
    }

    pub(super) fn has_place(&self, pod: usize) -> bool {
        self.board.places.get(pod).is_some_and(Option::is_some)
    }

    /// Takes pods off their sites.
    pub(super) fn remove(&mut self, pods: &[usize]) {
        for pod in pods {
            let site = self.board.places[*pod].as_ref().map(|place| place.site);
            if let Some(own) = site.and_then(|site| self.own.get_mut(&site)) {
                own.remove(pod);
            }
            let demand = Demand::new(&self.problem.dims, &self.problem.input.pods[*pod]);
            self.board.evict(*pod, &demand);
        }
    }

    /// Forgets pods that are taken away.
    pub(super) fn dismiss(&mut self, pods: &[usize]) {
        for pod in pods {
            self.gangs.dismiss(&self.problem, *pod);
        }
    }

    /// The same run for another input, of which only the pods differ.
    pub(super) fn on<'b>(self, input: &'b Input, config: &'b Config) -> Run<'b> {
        let Run { problem, offers, board, budgets, levels, gangs, own, over, first, .. } = self;
        let (problem, board) = (problem.on(input), board.on(input));
        let (evictions, shapes) = (Vec::new(), Vec::new());
        Run {
            config,
            problem,
            offers,
            board,
            budgets,
            levels,
            gangs,
            own,
            over,
            first,
            call: Vec::new(),
            evictions,
            shapes,
        }
    }

    /// Nodes that exist, then launches that have room, then new launches, and then whatever has
    /// room for those that had to wait for others.
    fn place(&mut self, shapes: &mut Vec<Shape<'a>>, control: &mut Control<'_>) -> Option<Proof> {
        self.offers.learn(&self.problem);
        let placer = Placer::new(&self.problem, &self.offers, self.config.fit);
        let launcher = Launcher {
            problem: &self.problem,
            offers: &self.offers,
            placer: Placer::new(&self.problem, &self.offers, self.config.fit),
            rounds: self.config.packing_rounds,
            expanders: &self.config.expanders,
            from: 0,
        };
        let gang_placer = GangPlacer { problem: &self.problem, placer: &placer };
        let left = gang_placer.place(&mut self.board, &self.gangs, shapes);
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

    /// Takes those of these pods off whose constraints no longer hold because others found no
    /// place. Each that goes may take others along.
    fn repair(&mut self, pods: &[usize]) {
        while std::mem::take(&mut self.board.disturbed) {
            for pod in pods.iter().copied() {
                if !self.board.stays(&self.problem, &self.offers, pod) {
                    let demand = Demand::new(&self.problem.dims, &self.problem.input.pods[pod]);
                    self.board.evict(pod, &demand);
                    self.board.disturbed = true;
                }
            }
        }
    }

    /// Takes those of these pods off that have to do with others.
    pub(super) fn take_off_tied(&mut self, pods: &[usize]) {
        for pod in pods.iter().copied() {
            let tied = self.board.places[pod].as_ref().is_some_and(|place| place.ties.is_some());
            if tied {
                let demand = Demand::new(&self.problem.dims, &self.problem.input.pods[pod]);
                self.board.evict(pod, &demand);
                self.board.disturbed = true;
            }
        }
        self.repair(pods);
        while disband(&self.problem, &mut self.board, &self.gangs, pods) {
            self.repair(pods);
        }
    }

    /// Closes launches of this call that all of its pods have left, and gives back to the budgets
    /// what they drew. Returns whether there were any.
    fn drop_unused(&mut self) -> bool {
        let nodes = self.problem.input.nodes.len();
        let mut used = vec![false; self.board.opened.len() - self.first];
        let pods = self.call.iter();
        let sites = pods.filter_map(|pod| Some(self.board.places[*pod].as_ref()?.site));
        let launches = sites.filter_map(|site| site.checked_sub(nodes + self.first));
        launches.for_each(|launch| used[launch] = true);
        let mut any = false;
        for site in idle_launches(&self.board, &self.offers) {
            if let Some(launch) = site.checked_sub(nodes + self.first) {
                used[launch] = true;
            }
        }
        for launch in (0..used.len()).filter(|launch| !used[*launch]) {
            let launch = self.first + launch;
            if self.over.insert(launch) {
                self.board.close(nodes + launch);
                let offer = &self.offers.all[self.board.opened[launch]];
                self.budgets.give_back(&self.budgets.draws(offer, self.problem.input));
                any = true;
            }
        }
        any
    }

    /// The pods without a place, as they were.
    fn same_wave(&mut self, pods: &[usize]) -> Result<Vec<Shape<'a>>> {
        let waiting = pods.iter().copied().filter(|pod| self.board.places[*pod].is_none());
        let wave: Vec<(usize, Level)> = waiting.map(|pod| (pod, self.levels[pod])).collect();
        self.problem.shapes(&wave, &mut self.board.groups)
    }

    /// The pods without a place that have something left to give up.
    fn next_wave(&mut self, pods: &[usize]) -> Result<Vec<Shape<'a>>> {
        let mut wave = Vec::new();
        for pod in pods.iter().copied() {
            let next = self.levels[pod] + 1;
            if self.board.places[pod].is_none()
                && next < self.problem.levels(&self.problem.input.pods[pod])
            {
                self.levels[pod] = next;
                wave.push((pod, next));
            }
        }
        self.problem.shapes(&wave, &mut self.board.groups)
    }

    pub(super) fn first_level(&self, pod: usize) -> Level {
        first_level(self.config, &self.problem, pod)
    }
}

/// Where a pod begins: with all that it would like, or with as little as counts.
pub(super) fn first_level(config: &Config, problem: &Problem<'_>, pod: usize) -> Level {
    match config.preference {
        Preference::Respect => 0,
        Preference::Ignore => problem.strict_level(&problem.input.pods[pod]),
    }
}
