//! What may be disturbed: nodes by the budgets of their pools and groups, pods by theirs.

use super::why::Why;
use super::world::World;
use crate::model::{DisruptionReason, Input};

pub(super) struct Rights {
    /// By source and reason: how many nodes may be on their way out at once.
    allowed: Vec<[u64; DisruptionReason::ALL.len()]>,
    /// By source: how many are.
    leaving: Vec<u64>,
    /// By budget of pods: how many evictions are left.
    evictions: Vec<u64>,
    /// By shape: the budgets of its pods.
    budgets_of: Vec<Vec<usize>>,
}

impl Rights {
    pub(super) fn new(world: &World<'_>) -> Self {
        let input = world.input;
        let mut rights = Self {
            allowed: Vec::new(),
            leaving: Vec::new(),
            evictions: budgets(input).collect(),
            budgets_of: vec![Vec::new(); world.shapes.len()],
        };
        for source in &world.offers.sources {
            let mine = input.nodes.iter().filter(|node| source.owns(node));
            let nodes = mine.clone().count() as u64;
            let of = |reason| {
                let budgets = source.pool.disruption.budgets.iter().filter(|b| b.holds_for(reason));
                budgets.map(|budget| budget.nodes.of(nodes)).min().unwrap_or(u64::MAX)
            };
            rights.allowed.push(DisruptionReason::ALL.map(of));
            rights.leaving.push(mine.filter(|node| node.disrupting).count() as u64);
        }
        if !input.disruption_budgets.is_empty() {
            for resident in &world.pods {
                let known = &mut rights.budgets_of[resident.shape];
                if known.is_empty() {
                    let all = input.disruption_budgets.iter().enumerate();
                    known.extend(all.filter(|(_, b)| b.covers(resident.pod)).map(|(at, _)| at));
                }
            }
        }
        rights
    }

    /// Counts evictions anew as a round begins: every pod of a node that goes is evicted once,
    /// however often it was moved here.
    pub(super) fn refresh(&mut self, world: &World<'_>) {
        if self.evictions.is_empty() {
            return;
        }
        self.evictions = budgets(world.input).collect();
        let mut pod = 0;
        for (at, node) in world.input.nodes.iter().enumerate() {
            for running in &node.pods {
                if !running.daemon && !world.sites[at].live {
                    self.change(world, &[pod], |left| left.saturating_sub(1));
                }
                pod += 1;
            }
        }
    }

    /// Takes what emptying a site for a reason takes; nothing where not all of it is allowed.
    pub(super) fn claim(
        &mut self,
        world: &World<'_>,
        site: usize,
        reason: DisruptionReason,
    ) -> Result<(), Why> {
        let forced = reason == DisruptionReason::Interrupted;
        let reason = world.own_reason(site, reason);
        let pool = world.sites[site].pool.filter(|_| site < world.input.nodes.len());
        let full = |pool: usize| self.leaving[pool] >= self.allowed[pool][reason as usize];
        if pool.is_some_and(|pool| !forced && full(pool)) {
            return Err(Why::Budget(reason));
        }
        for (n, pod) in world.sites[site].pods.iter().enumerate() {
            let of = &self.budgets_of[world.pods[*pod].shape];
            match of.iter().find(|budget| self.evictions[**budget] == 0) {
                Some(budget) if !forced => {
                    let why = Why::PodBudget(*budget, *pod);
                    self.change(world, &world.sites[site].pods[..n], |left| left + 1);
                    return Err(why);
                }
                _ => self.change(world, &[*pod], |left| left.saturating_sub(1)),
            }
        }
        if let Some(pool) = pool {
            self.leaving[pool] += 1;
        }
        Ok(())
    }

    /// Gives back what [`claim`](Self::claim) took for a site that stays.
    pub(super) fn give_back(&mut self, world: &World<'_>, site: usize) {
        self.change(world, &world.sites[site].pods, |left| left + 1);
        if let Some(pool) = world.sites[site].pool.filter(|_| site < world.input.nodes.len()) {
            self.leaving[pool] -= 1;
        }
    }

    fn change(&mut self, world: &World<'_>, pods: &[usize], to: impl Fn(u64) -> u64) {
        for pod in pods {
            for budget in &self.budgets_of[world.pods[*pod].shape] {
                self.evictions[*budget] = to(self.evictions[*budget]);
            }
        }
    }
}

/// By budget of pods: how many evictions it allows.
fn budgets(input: &Input) -> impl Iterator<Item = u64> {
    input.disruption_budgets.iter().map(|budget| u64::from(budget.disruptions_allowed))
}
