//! Rounds over all nodes, until one changes nothing.

use std::cmp::Reverse;

use super::places::{Enters, Places};
use super::rights::Rights;
use super::why::Why;
use super::world::World;
use crate::core::control::Control;
use crate::model::{ConsolidationPolicy, DisruptionReason};

pub(super) struct Sweep<'a> {
    pub(super) world: World<'a>,
    pub(super) rights: Rights,
    pub(super) places: Places,
    pub(super) enters: Enters,
    /// By group: the classes of what the shapes that carry it require of nodes.
    pub(super) carriers: Vec<Vec<usize>>,
    /// By site: what kept it in this round.
    pub(super) why: Vec<Option<Why>>,
    /// By source: price and disruption cost of its nodes together, as the round began.
    totals: Vec<(u64, u64)>,
    /// Nodes that exist and go.
    pub(super) removed: Vec<(usize, DisruptionReason)>,
    /// How many times what is to be launched is packed quickly.
    pub(super) packings: u32,
    pub(super) cut: bool,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(world: World<'a>) -> Self {
        let mut carriers = vec![Vec::new(); world.board.groups.len()];
        for shape in &world.shapes {
            for (group, _) in &shape.ties.carries {
                let classes: &mut Vec<usize> = &mut carriers[*group];
                if !classes.contains(&shape.plain) {
                    classes.push(shape.plain);
                }
            }
        }
        Self {
            rights: Rights::new(&world),
            places: Places::new(&world, &[]),
            enters: Enters::default(),
            carriers,
            why: Vec::new(),
            totals: Vec::new(),
            removed: Vec::new(),
            packings: 1,
            cut: false,
            world,
        }
    }

    pub(super) fn run(&mut self, control: &mut Control<'_>) {
        while self.round(control) {}
    }

    /// Whether anything changed, and there is time to go on.
    fn round(&mut self, control: &mut Control<'_>) -> bool {
        let order = self.begin();
        let before = self.world.sites.iter().filter(|site| site.live).count();
        let launched = self.world.sites.len();
        for reason in
            [DisruptionReason::Interrupted, DisruptionReason::Expired, DisruptionReason::Drifted]
        {
            self.replace_forced(reason, control);
        }
        self.remove_empty(&order);
        self.empty_onto_others(&order, true, control);
        self.replace_overpriced(&order, control);
        self.empty_onto_others(&order, false, control);
        let after = self.world.sites.iter().filter(|site| site.live).count();
        let changed = (before, launched) != (after, self.world.sites.len());
        changed && !self.cut
    }

    /// The candidates, the first to go first.
    fn begin(&mut self) -> Vec<usize> {
        let world = &mut self.world;
        let gone = world.gone();
        world.board.forget(gone);
        self.rights.refresh(world);
        let mut order: Vec<(usize, u64, u64)> = (0..world.sites.len())
            .filter(|site| world.sites[*site].live)
            .map(|site| {
                let price = world.sites[site].price.unwrap_or(0);
                (site, price, 1_000 + world.eviction_cost(site))
            })
            .collect();
        // Karpenter's order: by price per disruption cost, the highest first.
        order.sort_by(|(a, price_a, cost_a), (b, price_b, cost_b)| {
            let value = |price: u64, other: u64| u128::from(price) * u128::from(other);
            let stays = |site: usize| world.sites[site].fixed.is_some();
            let by_value = value(*price_b, *cost_a).cmp(&value(*price_a, *cost_b));
            stays(*a).cmp(&stays(*b)).then(by_value).then(a.cmp(b))
        });
        self.totals = vec![(0, 0); world.offers.sources.len()];
        for (site, price, cost) in &order {
            let of = &world.sites[*site];
            if let Some(pool) = of.pool.filter(|_| of.price.is_some()) {
                let (sum, costs) = &mut self.totals[pool];
                (*sum, *costs) = (sum.saturating_add(*price), costs.saturating_add(*cost));
            }
        }
        let order: Vec<usize> = order.into_iter().map(|(site, ..)| site).collect();
        self.places = Places::new(world, &order);
        self.why = world.sites.iter().map(|site| site.fixed).collect();
        order
    }

    /// How many steps the packer makes for a set of nodes that is tried as a whole.
    pub(super) fn steps(&self) -> u32 {
        self.world.config.iterations.min(STEPS)
    }

    /// What the live nodes cost together.
    pub(super) fn cost(&self) -> u64 {
        let live = self.world.sites.iter().filter(|site| site.live);
        live.filter_map(|site| site.price).fold(0, u64::saturating_add)
    }

    pub(super) fn is_over(&mut self, control: &mut Control<'_>) -> bool {
        self.cut = self.cut || control.stops(self.cost());
        self.cut
    }

    /// Nodes that have to go. Those that can't go together are tried in halves.
    fn replace_forced(&mut self, reason: DisruptionReason, control: &mut Control<'_>) {
        let nodes = self.world.input.nodes.len();
        let mut sites = Vec::new();
        for site in 0..nodes {
            let of = &self.world.sites[site];
            if !of.live || of.fixed.is_some() || self.world.forced_site(site) != Some(reason) {
                continue;
            }
            match self.rights.claim(&self.world, site, reason) {
                Ok(()) => sites.push(site),
                Err(why) => self.why[site] = Some(why),
            }
        }
        let mut trials = Trials { left: usize::MAX, small: usize::MAX, steps: self.steps() };
        self.empty_in_parts(&sites, reason, &mut trials, control);
    }

    /// Empties what can be emptied of these sites, for which rights were claimed. Returns whether
    /// that is all of them.
    pub(super) fn empty_in_parts(
        &mut self,
        sites: &[usize],
        reason: DisruptionReason,
        trials: &mut Trials,
        control: &mut Control<'_>,
    ) -> bool {
        if sites.is_empty() {
            return true;
        }
        // What is forced is done even when time is up: a quick plan will do.
        let over = !reason.is_forced() && self.is_over(control);
        let tried = if over {
            Err(Why::CutShort)
        } else if trials.left == 0 {
            Err(Why::TooLittle)
        } else {
            trials.left -= 1;
            let steps = std::mem::take(&mut trials.steps);
            self.packings = if steps > 0 { self.world.config.packing_rounds } else { 1 };
            control.limit(steps);
            self.empty(sites, 0, reason, Some(control))
        };
        let Err(why) = tried else { return true };
        let (first, second) = sites.split_at(sites.len() / 2);
        if first.is_empty() || over || trials.left == 0 {
            self.keep(sites, why);
            return false;
        }
        if self.empty_in_parts(first, reason, trials, control) || sites.len() <= trials.small {
            self.empty_in_parts(second, reason, trials, control);
        } else {
            self.keep(second, why);
        }
        false
    }

    /// These stay, and their rights are given back.
    fn keep(&mut self, sites: &[usize], why: Why) {
        for site in sites {
            self.rights.give_back(&self.world, *site);
            self.why[*site] = Some(why);
        }
    }

    fn remove_empty(&mut self, order: &[usize]) {
        for site in order {
            let of = &self.world.sites[*site];
            if !of.live || of.fixed.is_some() || !of.pods.is_empty() {
                continue;
            }
            if self.world.policy(*site) == ConsolidationPolicy::Never {
                self.why[*site] = Some(Why::Policy);
                continue;
            }
            let reason = DisruptionReason::Empty;
            let done = self.rights.claim(&self.world, *site, reason).and_then(|()| {
                self.empty(&[*site], 0, reason, None)
                    .inspect_err(|_| self.rights.give_back(&self.world, *site))
            });
            self.why[*site] = done.err();
        }
    }

    /// What keeps a site from being emptied to save money, before its pods are looked at.
    pub(super) fn barred(&self, site: usize) -> Option<Why> {
        let of = &self.world.sites[site];
        let policy = self.world.policy(site);
        let bars = matches!(policy, ConsolidationPolicy::Never | ConsolidationPolicy::WhenEmpty);
        let forced = self.world.forced_site(site).and(self.why[site]);
        let unpriced = of.price.is_none().then_some(Why::Unpriced);
        of.fixed.or(forced).or(bars.then_some(Why::Policy)).or(unpriced)
    }

    /// With `upwards` only onto nodes that are more worth keeping: others may be replaced by what
    /// costs less, and pods would move twice.
    fn empty_onto_others(&mut self, order: &[usize], upwards: bool, control: &mut Control<'_>) {
        let reason = DisruptionReason::Underutilized;
        for (n, site) in order.iter().enumerate() {
            if n.is_multiple_of(LOOK_AT_THE_CLOCK) {
                self.is_over(control);
            }
            let of = &self.world.sites[*site];
            if !of.live || of.pods.is_empty() {
                continue;
            }
            if let Some(why) = self.barred(*site) {
                self.why[*site] = Some(why);
                continue;
            }
            let rank = if upwards { self.places.rank(*site) } else { 0 };
            let hopeless = |pod: &usize| self.places.is_hopeless(self.world.pods[*pod].shape);
            let hopeless = of.pods.iter().copied().find(hopeless);
            let done = if self.cut {
                Err(Why::CutShort)
            } else if let Some(pod) = hopeless {
                Err(Why::NoPlace(pod))
            } else if !self.pays(&[*site], 0) {
                Err(Why::TooLittle)
            } else {
                self.rights.claim(&self.world, *site, reason).and_then(|()| {
                    self.empty(&[*site], rank, reason, None)
                        .inspect_err(|_| self.rights.give_back(&self.world, *site))
                })
            };
            // What was said when it was to be replaced says more.
            if upwards || done.is_ok() {
                self.why[*site] = done.err();
            }
        }
    }

    /// Whether it is worth it to empty these sites and to spend so much on others.
    pub(super) fn pays(&self, sites: &[usize], spent: u64) -> bool {
        let prices = sites.iter().filter_map(|site| self.world.sites[*site].price);
        let price = prices.fold(0, u64::saturating_add);
        let saved = u128::from(price.saturating_sub(spent));
        let config = self.world.config;
        let cost: u64 = sites.iter().map(|site| self.world.eviction_cost(*site)).sum();
        saved > 0
            && saved * 1_000 >= u128::from(config.disruption_cost_micros) * u128::from(cost)
            && saved * 100 >= u128::from(price) * u128::from(config.min_saving_percent)
            && self.is_balanced(sites, saved, price)
    }

    /// Karpenter's rule for pools of that policy: the part of the pool's price that is saved, over
    /// the part of its disruption cost, is at least one half. Of what several pools save together
    /// each has a share by its price.
    fn is_balanced(&self, sites: &[usize], saved: u128, price: u64) -> bool {
        let balanced = |site: &&usize| self.world.policy(**site) == ConsolidationPolicy::Balanced;
        let mut pools: Vec<usize> =
            sites.iter().filter(balanced).filter_map(|site| self.world.sites[*site].pool).collect();
        pools.sort_unstable();
        pools.dedup();
        pools.into_iter().all(|pool| {
            let mine = sites.iter().filter(|site| self.world.sites[**site].pool == Some(pool));
            let (mut own_price, mut own_cost) = (0u128, 0u128);
            for site in mine {
                own_price += u128::from(self.world.sites[*site].price.unwrap_or(0));
                own_cost += u128::from(1_000 + self.world.eviction_cost(*site));
            }
            let (prices, costs) = self.totals[pool];
            // saved · own_price / price / prices ≥ own_cost / costs / 2
            let share = saved.saturating_mul(own_price).saturating_mul(2 * u128::from(costs));
            let most = own_cost.saturating_mul(u128::from(prices)).saturating_mul(price.into());
            share >= most
        })
    }

    /// Sorted: the one with the most to gain first.
    pub(super) fn by_gain(sites: &mut [(u64, usize)]) {
        sites.sort_by_key(|(gain, site)| (Reverse(*gain), *site));
    }
}

/// How many sets of nodes may still be tried.
pub(super) struct Trials {
    pub(super) left: usize,
    /// Of larger sets the second half is only tried where the first went: all halves of a large set
    /// together would take as long as the whole, again and again.
    pub(super) small: usize,
    /// Steps of the packer for the next one. Only the first gets any: in parts there are many to
    /// try, and a quick plan will do.
    pub(super) steps: u32,
}

/// Steps of the packer for a set of nodes.
const STEPS: u32 = 24;

/// How many nodes are looked at between two questions whether to go on.
const LOOK_AT_THE_CLOCK: usize = 64;
