//! Which node makes room for the pods of a shape.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Who;
use super::node::Cost;
use super::stage::{Needs, Stage};
use crate::core::existing::{Domains, may_enter};
use crate::core::problem::Shape;
use crate::model::Volume;

/// Sites by what it costs to make room there; names break ties.
type Queue<'a> = BinaryHeap<Reverse<(Cost, &'a str, usize)>>;

impl<'a> Stage<'_, 'a> {
    /// Places pods of a shape on nodes, and evicts for them, as long as that goes. Each node is
    /// looked at once for the shape, and again when something has changed there.
    pub(super) fn place_evicting(
        &mut self,
        shape: &mut Shape<'a>,
        priority: i32,
        among: Option<&[usize]>,
        total: &mut Cost,
    ) {
        let domains = self.placer.domains(self.board, shape);
        let mut open: Vec<usize> = match among {
            Some(sites) => sites.to_vec(),
            None => (0..self.problem.input.nodes.len()).collect(),
        };
        open.retain(|site| self.may_enter(shape, *site));
        let tied = !shape.ties.is_empty();
        let mut queue = self.queue(shape, &domains, priority, &open);
        while let (Some(pod), Some(Reverse((cost, name, site)))) =
            (shape.pods.front().copied(), queue.pop())
        {
            let mark = self.mark();
            let needs = self.needs(shape, pod);
            let Some((now, gone)) = self.make_room(pod, &needs, &domains, site, priority) else {
                continue;
            };
            if now > cost {
                // Others have changed what it costs.
                self.undo(mark);
                queue.push(Reverse((now, name, site)));
                continue;
            }
            self.place(shape, site);
            if !self.others_stay(&gone, Some(priority)) {
                self.undo(mark);
                shape.pods.push_front(pod);
                open.retain(|other| *other != site);
                continue;
            }
            self.session.lifted |= gone.iter().any(|who| self.is_fresh(*who));
            total.add(&now);
            if tied {
                queue = self.queue(shape, &domains, priority, &open);
                continue;
            }
            let mut changed: Vec<usize> = self.sites_left(&gone);
            changed.push(site);
            changed.sort_unstable();
            changed.dedup();
            changed.retain(|site| open.binary_search(site).is_ok());
            queue.extend(self.queue(shape, &domains, priority, &changed));
        }
    }

    /// What a pod of a shape asks of a node.
    pub(super) fn needs<'n>(&self, shape: &'n Shape<'a>, pod: usize) -> Needs<'n> {
        let volumes: &'a [Volume] = &self.problem.input.pods[pod].volumes;
        Needs { demand: &shape.demand, ties: &shape.ties, ports: shape.ports, volumes }
    }

    fn queue(
        &mut self,
        shape: &Shape<'a>,
        domains: &Domains,
        priority: i32,
        sites: &[usize],
    ) -> Queue<'a> {
        let Some(pod) = shape.pods.front().copied() else { return Queue::new() };
        let needs = self.needs(shape, pod);
        let mut all = Vec::new();
        for site in sites {
            let mark = self.mark();
            if let Some((cost, _)) = self.make_room(pod, &needs, domains, *site, priority) {
                let name: &'a str = &self.problem.input.nodes[*site].name;
                all.push(Reverse((cost, name, *site)));
            }
            self.undo(mark);
        }
        Queue::from(all)
    }

    /// Whether a node takes the pods of a shape as far as labels and taints go.
    fn may_enter(&self, shape: &Shape<'a>, site: usize) -> bool {
        let class = &self.problem.classes[shape.class];
        !self.board.gone.contains(&site)
            && !self.board.cordoned.contains_key(&site)
            && !self.problem.input.nodes[site].is_leaving()
            && may_enter(self.board, self.offers, class, shape.class, site)
    }

    /// The nodes that these pods have left.
    fn sites_left(&self, gone: &[Who]) -> Vec<usize> {
        let running = gone.iter().filter_map(|who| Some(self.session.evicted.get(who)?.site));
        running.filter(|site| *site < self.problem.input.nodes.len()).collect()
    }
}
