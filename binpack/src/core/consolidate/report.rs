//! How what has been decided becomes an answer.

use std::collections::BTreeMap;

use super::sweep::Sweep;
use super::why::Why;
use crate::core::control::Control;
use crate::core::outcome::{Crew, launch};
use crate::model::{
    Consolidation, Kept, Launch, Move, Plan, Reason, ReasonKind, Removal, Target, Unplaced,
};

impl Sweep<'_> {
    /// The answer, without the plan for pods that waited.
    pub(super) fn report(mut self, plan: &Plan, control: &Control<'_>) -> Consolidation {
        let input = self.world.input;
        let launches: BTreeMap<usize, usize> = (self.world.given..self.world.sites.len())
            .filter(|site| self.world.sites[*site].live)
            .enumerate()
            .map(|(at, site)| (site, at))
            .collect();
        self.removed.sort_unstable_by_key(|(site, _)| *site);
        let mut answer = Consolidation {
            launches: launches.keys().map(|site| self.launch_of(*site)).collect(),
            ..Consolidation::default()
        };
        for (site, reason) in &self.removed {
            let node = &input.nodes[*site];
            let price = node.price_micros.unwrap_or(0);
            answer.removed.push(Removal::new(node.name.clone(), *reason, price));
        }
        self.add_moves(&mut answer, &launches);
        self.add_kept(&mut answer);
        let nodes = input.nodes.iter().filter_map(|node| node.price_micros);
        let before = nodes.fold(plan.cost_per_hour_micros, u64::saturating_add);
        let saved = answer.removed.iter().map(|removal| removal.saved_micros);
        let spent = answer.launches.iter().map(|launch| launch.price_micros);
        let kept = before.saturating_sub(saved.fold(0, u64::saturating_add));
        answer.cost_before_micros = before;
        answer.cost_after_micros = spent.fold(kept, u64::saturating_add);
        answer.iterations = plan.iterations.saturating_add(control.iterations());
        answer.cut_short = self.cut || control.cut_short || plan.cut_short;
        answer
    }

    /// A launch with its pods.
    fn launch_of(&self, site: usize) -> Launch {
        let world = &self.world;
        let offer = &world.offers.all[world.board.opened[site - world.input.nodes.len()]];
        let mut of = launch(world.input, offer);
        let pods = &world.sites[site].pods;
        for pod in pods {
            let requests = world.pods[*pod].pod.requests.clone().with_pods(1);
            // Amounts are bounded by what fits on one machine, so nothing overflows.
            of.requested = of.requested.checked_add(&requests).unwrap_or_default();
        }
        let places = pods.iter().filter_map(|pod| world.board.places[*pod].as_ref());
        let demands = pods.iter().map(|pod| &world.shapes[world.pods[*pod].shape].demand);
        let crew = Crew::new(&world.problem, demands.cloned().collect(), places);
        of.alternatives = crew.alternatives(world.input, &world.offers, offer);
        of
    }

    /// The pods of removed nodes, in the order of the input.
    fn add_moves(&self, answer: &mut Consolidation, launches: &BTreeMap<usize, usize>) {
        let world = &self.world;
        let mut pod = 0;
        for (at, node) in world.input.nodes.iter().enumerate() {
            for running in &node.pods {
                let this = pod;
                pod += 1;
                if running.daemon || world.sites[at].live {
                    continue;
                }
                let name = running.pod.name.clone();
                let Some(place) = &world.board.places[this] else {
                    let message = "its node is interrupted, and nothing takes it";
                    let reason = Reason::new(ReasonKind::Resources, message);
                    answer.unplaced.push(Unplaced::new(name, reason));
                    continue;
                };
                let to = match world.input.nodes.get(place.site) {
                    Some(node) => Target::Existing(node.name.clone()),
                    None => {
                        Target::Launch(launches.get(&place.site).copied().unwrap_or(usize::MAX))
                    }
                };
                answer.eviction_cost_milli += world.pods[this].cost;
                answer.moves.push(Move::new(name, node.name.clone(), to, place.gpus.clone()));
            }
        }
    }

    fn add_kept(&self, answer: &mut Consolidation) {
        let nodes = self.world.input.nodes.iter().enumerate();
        let live = nodes.filter(|(site, _)| self.world.sites[*site].live);
        for (site, node) in live.take(Consolidation::MAX_KEPT) {
            let why = self.why.get(site).copied().flatten().unwrap_or(Why::TooLittle);
            let words = why.words(&self.world);
            answer.kept.push(Kept::new(node.name.clone(), why.kind(), words));
        }
    }
}
