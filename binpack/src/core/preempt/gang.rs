//! Room for a gang as a whole.

use std::collections::BTreeMap;

use super::node::Cost;
use super::stage::Stage;
use crate::core::problem::Shape;

impl<'a> Stage<'_, 'a> {
    /// Evicts for a gang, or for a shape that belongs to none.
    pub(super) fn evict_for_party(&mut self, mut party: Vec<Shape<'a>>, priority: i32) {
        if let Some(gang) = party.first().and_then(|shape| shape.gang) {
            return self.evict_for_gang(gang, &mut party, priority);
        }
        for shape in &mut party {
            self.place_evicting(shape, priority, None, &mut Cost::default());
        }
    }

    /// Places what waits of a gang in one domain of its topology, and evicts for it there, if enough
    /// of it gets a place; else nothing is changed. The domain is the one that costs least.
    fn evict_for_gang(&mut self, gang: usize, members: &mut [Shape<'a>], priority: i32) {
        let least = self.gangs.wanted(self.problem, self.board, gang).max(1);
        for key in self.gangs.keys(gang).to_vec() {
            let home = self.gangs.home(self.board, gang, key);
            let mut domains: BTreeMap<_, Vec<usize>> = BTreeMap::new();
            for (site, node) in self.problem.input.nodes.iter().enumerate() {
                let name = &self.board.groups.keys()[key];
                let domain = self.board.site_tuple(site).get(key - 1).copied().flatten();
                let Some(domain) = domain.filter(|at| home.admits(*at)) else {
                    continue;
                };
                domains.entry((node.labels.get(name), domain)).or_default().push(site);
            }
            let mut best: Option<(Cost, &[usize])> = None;
            for sites in domains.values() {
                let mark = self.mark();
                let mut tried = members.to_vec();
                let cost = self.place_gang(&mut tried, least, priority, Some(sites));
                self.undo(mark);
                if let Some(cost) = cost.filter(|cost| best.is_none_or(|(least, _)| *cost < least))
                {
                    best = Some((cost, sites));
                }
            }
            if let Some((_, sites)) = best {
                self.place_gang(members, least, priority, Some(sites));
                return;
            }
        }
        if !self.problem.input.gangs[gang].topology_required {
            let mark = self.mark();
            if self.place_gang(members, least, priority, None).is_none() {
                self.undo(mark);
            }
        }
    }

    /// Places members, and says what that costs if they are enough.
    fn place_gang(
        &mut self,
        members: &mut [Shape<'a>],
        least: u64,
        priority: i32,
        among: Option<&[usize]>,
    ) -> Option<Cost> {
        let before: u64 = members.iter().map(Shape::left).sum();
        let mut cost = Cost::default();
        for shape in members.iter_mut() {
            self.place_evicting(shape, priority, among, &mut cost);
        }
        let placed = before - members.iter().map(Shape::left).sum::<u64>();
        (placed >= least).then_some(cost)
    }
}
