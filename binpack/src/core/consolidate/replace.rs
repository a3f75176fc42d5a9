//! Nodes that are dearer than what their pods cost on new machines.

use super::sweep::{Sweep, Trials};
use crate::core::control::Control;
use crate::model::DisruptionReason;

/// How many sets of nodes are tried in a round.
const ATTEMPTS: usize = 32;

/// Sets of at most so many nodes are tried in all their parts.
const SMALL: usize = 16;

impl Sweep<'_> {
    /// Replaces those nodes that cost more than their pods would on machines that they filled:
    /// all together, and where that does not pay, in ever smaller parts.
    pub(super) fn replace_overpriced(&mut self, order: &[usize], control: &mut Control<'_>) {
        let reason = DisruptionReason::Underutilized;
        if self.world.offers.all.is_empty() {
            return;
        }
        let mut worth: Vec<Option<u64>> = vec![None; self.world.shapes.len()];
        let mut overpriced: Vec<(u64, usize)> = Vec::new();
        for site in order {
            let of = &self.world.sites[*site];
            let Some(price) = of.price.filter(|_| of.live && !of.pods.is_empty()) else { continue };
            if self.barred(*site).is_some() || self.cut {
                continue;
            }
            let pods = of.pods.iter().map(|pod| self.world.pods[*pod].shape);
            let nanos = pods.map(|shape| self.worth(shape, &mut worth));
            let ideal = nanos.fold(0, u64::saturating_add).div_ceil(1_000);
            if ideal < price && self.pays(&[*site], ideal) {
                let gain = u128::from(price - ideal) * 1_000_000 / u128::from(price.max(1));
                overpriced.push((u64::try_from(gain).unwrap_or(u64::MAX), *site));
            }
        }
        Self::by_gain(&mut overpriced);
        let mut sites = Vec::new();
        for (_, site) in overpriced {
            match self.rights.claim(&self.world, site, reason) {
                Ok(()) => sites.push(site),
                Err(why) => self.why[site] = Some(why),
            }
        }
        let mut trials = Trials { left: ATTEMPTS, small: SMALL, steps: self.steps() };
        self.empty_in_parts(&sites, reason, &mut trials, control);
    }

    /// What a pod of a shape costs on the cheapest machine that pods like it fill, in thousandths
    /// of a millionth of a dollar per hour.
    fn worth(&self, shape: usize, known: &mut [Option<u64>]) -> u64 {
        if let Some(worth) = known[shape] {
            return worth;
        }
        let of = &self.world.shapes[shape];
        let takes = self.world.offers.takes(of.class);
        let offers = self.world.offers.all.iter().enumerate();
        let prices = offers.filter(|(at, _)| takes.has(*at)).filter_map(|(_, offer)| {
            let count = offer.room.count(&of.demand);
            offer.price.saturating_mul(1_000).checked_div(count)
        });
        let worth = prices.min().unwrap_or(u64::MAX);
        known[shape] = Some(worth);
        worth
    }
}
