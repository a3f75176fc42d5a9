//! Karpenter's rules of packing, re-implemented as a rival in cost. It is not Karpenter.
//!
//! What is kept of `provisioning/scheduling` of kubernetes-sigs/karpenter: pods by CPU and then
//! memory, descending; for each pod the claims that are open, those with the fewest pods first;
//! else a new claim of the first pool by weight that takes it. A claim keeps every type that still
//! holds its pods, and grows as long as one does, whatever that costs; zones are pinned by the first
//! pod that needs one. Pods without a place are tried again as long as that helps. In the end each
//! claim is the cheapest that it can be: one shot, before any consolidation.
//!
//! Where Karpenter leaves a tie open (creation times and identifiers of pods, the order of Go's
//! maps, a sort that is not stable) pods go in the order of the input, zones by name, and claims as
//! they were. A share of a GPU counts as a whole one, because Kubernetes knows no shares.

mod claim;
mod market;
mod topology;

use std::cmp::Reverse;
use std::collections::VecDeque;

use binpack::{Input, NodePool, Pod, PoolLimits};

use self::claim::Claim;
use self::market::{Amounts, Market};
use self::topology::Topology;
use crate::kv_journal::Outcome;

/// What the rules come to.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    /// The machines.
    pub machines: Vec<PackedMachine>,
    /// How many pods have no place.
    pub unplaced: usize,
}

/// A machine and its pods.
#[derive(Debug, Clone)]
pub struct PackedMachine {
    /// The index of its instance type in the input.
    pub instance_type: usize,
    /// The index of its offering among the type's.
    pub offering: usize,
    /// Its price in millionths of a dollar per hour.
    pub price_micros: u64,
    /// The indices of its pods in the input.
    pub pods: Vec<usize>,
}

impl Packed {
    /// What all machines cost together, in millionths of a dollar per hour.
    #[must_use]
    pub fn cost_micros(&self) -> u64 {
        self.machines.iter().map(|machine| machine.price_micros).sum()
    }
}

/// Packs all pods on new machines by Karpenter's rules.
///
/// # Errors
/// If the input has something of which the rules are not re-implemented here.
pub fn pack(input: &Input) -> Outcome<Packed> {
    refuse_unknown(input)?;
    let market = Market::of(input)?;
    let mut packer = Packer {
        needs: input.pods.iter().map(market::needs).collect(),
        topology: Topology::of(&input.pods, &market.zones)?,
        left: market.templates.iter().map(|template| template.limits).collect(),
        claims: Vec::new(),
        order: Vec::new(),
        market: &market,
    };
    let unplaced = packer.pack();
    let machines = packer.claims.iter().filter_map(|claim| claim.cheapest(&market)).collect();
    Ok(Packed { machines, unplaced })
}

fn refuse_unknown(input: &Input) -> Outcome<()> {
    let known_pod = |pod: &&Pod| {
        let asks = pod.requirements.len() + pod.node_affinity.len() + pod.host_ports.len();
        let preferences = &pod.preferences;
        let prefers = preferences.node_affinity.len()
            + preferences.pod_affinity.len()
            + preferences.pod_anti_affinity.len();
        asks + prefers + pod.volumes.len() + pod.requests.extended.len() == 0 && pod.gang.is_none()
    };
    if let Some(pod) = input.pods.iter().find(|pod| !known_pod(pod)) {
        return Err(format!("the rules are not known for what pod {} asks", pod.name).into());
    }
    let known_pool = |pool: &&NodePool| {
        let mut limits = PoolLimits::default();
        limits.cpu_milli = pool.limits.cpu_milli;
        limits.memory_bytes = pool.limits.memory_bytes;
        pool.taints.is_empty() && pool.min_values.is_empty() && pool.limits == limits
    };
    if let Some(pool) = input.pools.iter().find(|pool| !known_pool(pool)) {
        return Err(format!("the rules are not known for what pool {} says", pool.name).into());
    }
    if input.nodes.is_empty() && input.daemons.is_empty() {
        Ok(())
    } else {
        Err("the rules are known for new machines without daemons only".into())
    }
}

struct Packer<'m> {
    market: &'m Market,
    /// By pod.
    needs: Vec<Amounts>,
    topology: Topology,
    /// By template: CPU and memory that its pool may still launch.
    left: Vec<[u64; 2]>,
    claims: Vec<Claim>,
    /// The claims as they were last sorted.
    order: Vec<usize>,
}

impl Packer<'_> {
    /// Returns how many pods have no place.
    fn pack(&mut self) -> usize {
        let mut pods: Vec<usize> = (0..self.needs.len()).collect();
        pods.sort_by_key(|pod| Reverse((self.needs[*pod][0], self.needs[*pod][1])));
        let mut queue = VecDeque::from(pods);
        // How long the queue was when a pod was last put back: if it is no shorter when its turn
        // comes, nothing has helped.
        let mut length = vec![0; self.needs.len()];
        while let Some(pod) = queue.pop_front() {
            if length[pod] == queue.len() + 1 {
                return queue.len() + 1;
            }
            if !self.place(pod) {
                queue.push_back(pod);
                length[pod] = queue.len();
            }
        }
        0
    }

    fn place(&mut self, pod: usize) -> bool {
        self.order.sort_by_key(|claim| self.claims[*claim].pods.len());
        let needs = self.needs[pod];
        let open = self.order.iter().find_map(|at| {
            let claim = &self.claims[*at];
            let room = claim.has_room(&needs);
            let zones = room.then(|| self.topology.zones(pod, claim.zones, *at)).flatten()?;
            claim.takes(self.market, &needs, zones).then_some((*at, zones))
        });
        let Some((at, zones)) = open.or_else(|| self.open(pod)) else {
            return false;
        };
        self.claims[at].add(self.market, pod, &needs, zones);
        self.topology.record(pod, zones, at);
        if self.claims[at].pods.len() == 1 {
            let claim = &self.claims[at];
            let largest = claim.largest(self.market);
            let left = &mut self.left[claim.template];
            left.iter_mut().zip(largest).for_each(|(left, most)| *left = left.saturating_sub(most));
        }
        true
    }

    /// A new claim that takes the pod.
    fn open(&mut self, pod: usize) -> Option<(usize, u64)> {
        let at = self.claims.len();
        let zones = self.topology.zones(pod, self.market.all_zones(), at)?;
        let new = (0..self.market.templates.len()).find_map(|template| {
            let claim = Claim::new(self.market, template, self.left[template]);
            claim.takes(self.market, &self.needs[pod], zones).then_some(claim)
        })?;
        self.claims.push(new);
        self.order.push(at);
        Some((at, zones))
    }
}

#[cfg(test)]
mod tests;
