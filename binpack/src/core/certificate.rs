//! The certificate of a plan: values of pods that no machine can carry for less than its price.

use std::sync::Arc;

use super::bits::Bits;
use super::board::Board;
use super::groups::{HOSTNAME, Kind};
use super::pack::{Job, Machine, Row, most_valuable, whole};
use super::problem::Problem;
use super::proof::Proof;
use super::room::{Demand, Room};
use crate::model::{Certificate, NodePool};

/// Taken off every value, so that rounding of floats anywhere can't make the whole worth more than
/// a machine's price: a millionth.
const MARGIN: f64 = 1e-6;

/// Different nodes whose room is looked at: with more the bound is not claimed.
const MOST_NODES: usize = 1_000;

pub(super) struct Certifier<'p, 'a> {
    pub(super) problem: &'p Problem<'a>,
    pub(super) board: &'p Board<'a>,
}

impl Certifier<'_, '_> {
    /// The certificate that follows of the first wave's proof: with the values of later ones a
    /// machine could be worth more than it costs.
    pub(super) fn certify(&self, proved: Option<&Proof>) -> Certificate {
        let input = self.problem.input;
        let mut values = vec![0; input.pods.len()];
        let launched = |pod: &usize| {
            self.board.places[*pod].as_ref().is_some_and(|place| place.site >= input.nodes.len())
        };
        for (value, pods) in proved.iter().flat_map(|proof| proof.values.iter().zip(&proof.pods)) {
            let nanos = whole(value * 1_000.0 * (1.0 - MARGIN));
            pods.iter().filter(|pod| launched(pod)).for_each(|pod| values[*pod] = nanos);
        }
        let mut left_out = self.left_out();
        let worth: u128 = values.iter().map(|value| u128::from(*value)).sum();
        let free = self.carried(&values);
        if free.is_none() && worth > 0 {
            left_out.push(
                "nodes that exist are too many and too different to say what they could carry"
                    .into(),
            );
            values.fill(0);
        }
        if free.is_some_and(|free| free > 0) {
            left_out
                .push("that nodes that exist can't carry at once what each of them could".into());
        }
        let bound = free.map_or(0, |free| worth.saturating_sub(free)) / 1_000;
        Certificate::new(u64::try_from(bound).unwrap_or(u64::MAX), values, left_out)
    }

    /// What the nodes that exist could carry of it at most, in the values' unit.
    fn carried(&self, values: &[u64]) -> Option<u128> {
        let input = self.problem.input;
        if input.nodes.is_empty() || values.iter().all(|value| *value == 0) {
            return Some(0);
        }
        let (job, worth) = self.existing(values);
        let mut rooms: Vec<(&Machine, u64)> = Vec::new();
        for machine in job.machines.iter().filter(|machine| !machine.rows.is_empty()) {
            let same = |(known, _): &&mut (&Machine, u64)| {
                known.rows == machine.rows
                    && known.room.free == machine.room.free
                    && known.room.gpus == machine.room.gpus
            };
            if let Some((_, copies)) = rooms.iter_mut().find(same) {
                *copies += 1;
            } else if rooms.len() == MOST_NODES {
                return None;
            } else {
                rooms.push((machine, 1));
            }
        }
        let copies: Vec<u64> = rooms.iter().map(|(_, copies)| *copies).collect();
        let machines = rooms.into_iter().map(|(machine, _)| machine.clone()).collect();
        let job = Job { rows: job.rows, machines, ..Job::default() };
        let bounds = most_valuable(&job, &worth);
        let sum = bounds.iter().zip(copies).map(|(bound, n)| {
            u128::from(whole(bound * (1.0 + MARGIN)).saturating_add(1)) * u128::from(n)
        });
        Some(sum.sum())
    }

    /// Pods of value as rows, and nodes as machines.
    fn existing(&self, values: &[u64]) -> (Job, Vec<f64>) {
        let input = self.problem.input;
        let mut rows: Vec<(Demand, usize, u64, u64)> = Vec::new();
        for (pod, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
            let Some(place) = &self.board.places[pod] else { continue };
            let dims = &self.problem.dims;
            let demand = dims.without_volumes(&Demand::new(dims, &input.pods[pod]));
            match rows
                .iter_mut()
                .find(|row| row.1 == place.plain && row.2 == *value && row.0 == demand)
            {
                Some(row) => row.3 += 1,
                None => rows.push((demand, place.plain, *value, 1)),
            }
        }
        let machine = |node: usize| {
            let room: Room = self.problem.node_room(node);
            let of = &input.nodes[node];
            let taken = rows.iter().enumerate().filter(|(_, (demand, class, ..))| {
                let class = &self.problem.classes[*class];
                room.fits(demand)
                    && class.may_enter(&of.taints)
                    && class.allows(|key| of.labels.get(key).map(|value| &**value))
            });
            let taken = Bits::collect(rows.len(), taken.map(|(row, _)| row));
            Machine { room, price: 0, rows: taken, draws: Vec::new() }
        };
        let machines = (0..input.nodes.len()).map(machine).collect();
        let worth = rows.iter().map(|row| super::pack::float(row.2)).collect();
        let rows =
            rows.into_iter().map(|(demand, _, _, count)| Row { demand, count, cap: u64::MAX });
        (Job { rows: rows.collect(), machines, ..Job::default() }, worth)
    }

    /// What the bound does not know of.
    fn left_out(&self) -> Vec<Arc<str>> {
        let input = self.problem.input;
        let groups = || (0..self.board.groups.len()).map(|group| self.board.groups.get(group));
        let far =
            |kind: fn(Kind) -> bool| groups().any(|g| g.topology() != HOSTNAME && kind(g.kind()));
        let near = groups().any(|g| g.kind() == Kind::Near);
        let limited = |pool: &NodePool| pool.limits != crate::model::PoolLimits::default();
        let several = input.pools.windows(2).any(|pair| pair[0].weight != pair[1].weight);
        let mut offerings = input.instance_types.iter().flat_map(|it| &it.offerings);
        let found = [
            (far(|kind| matches!(kind, Kind::Spread(_))), "spread over domains larger than a node"),
            (near, "pod affinity"),
            (far(|kind| kind == Kind::Apart), "anti-affinity over domains larger than a node"),
            (input.pods.iter().any(|pod| !pod.host_ports.is_empty()), "host ports"),
            (input.pools.iter().any(limited), "limits of node pools"),
            (
                offerings.any(|offering| offering.available.is_some()),
                "offerings of which there are only so many",
            ),
            (several, "weights of node pools"),
            (
                !input.node_groups.is_empty(),
                "sizes of node groups, and that they come before pools",
            ),
            (
                input.pools.iter().any(|pool| !pool.min_values.is_empty()),
                "minimum numbers of types to choose among",
            ),
            (!input.gangs.is_empty(), "gangs"),
        ];
        found.into_iter().filter(|(there, _)| *there).map(|(_, what)| what.into()).collect()
    }
}
