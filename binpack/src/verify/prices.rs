//! Upper bounds on what fits, from prices of the resources.

use super::knapsack::Item;
use super::simplex;

/// Bounds are counted in 2^-56 nano-dollars, so that prices per byte keep their digits.
///
/// Everything saturates. A bound that does is far above every price, and a need whose price does
/// is above every value, so neither proves what is not so.
pub(super) const FINE: u128 = 1 << 56;

/// A price for each resource, and what the pods are worth beyond the prices of their needs.
///
/// Any prices bound the worth of what fits: it is at most the price of all the room, plus that
/// `beyond`, if every pod that is worth more than it needs is taken.
#[derive(Debug, Clone)]
pub(super) struct Prices {
    per: Box<[u128]>,
    beyond: u128,
}

impl Prices {
    fn new(per: Box<[u128]>, items: &[Item]) -> Self {
        let mut prices = Self { per, beyond: 0 };
        let beyond = items.iter().map(|item| {
            let gain = fine(item.value).saturating_sub(prices.cost(&item.need));
            gain.saturating_mul(u128::from(item.most))
        });
        prices.beyond = beyond.fold(0, u128::saturating_add);
        prices
    }

    /// The shadow prices of the linear relaxation: about the lowest bound for this room.
    pub(super) fn shadow(items: &[Item], room: &[u64]) -> Self {
        let per = simplex::shadow_prices(items, room).into_iter();
        let per = per.map(|per| rounded(per * float(FINE)));
        Self::new(per.collect(), items)
    }

    /// The same proportions, so high that no item is worth more than it needs.
    pub(super) fn covering(&self, items: &[Item]) -> Self {
        let ratio = |item: &Item| float(fine(item.value)) / float(self.cost(&item.need)).max(1.0);
        let ratio = items.iter().map(ratio).fold(0.0, f64::max) * (1.0 + 1e-12);
        Self::new(self.per.iter().map(|per| rounded(float(*per) * ratio)).collect(), items)
    }

    /// As [`covering`](Self::covering), with a price for this dimension alone; `None` if some item
    /// needs nothing of it.
    pub(super) fn of_one(dim: usize, items: &[Item], dims: usize) -> Option<Self> {
        if items.iter().any(|item| item.need[dim] == 0) {
            return None;
        }
        let dearest = items.iter().map(|item| fine(item.value).div_ceil(item.need[dim].into()));
        let mut per = vec![0; dims];
        per[dim] = dearest.max()?;
        Some(Self { per: per.into(), beyond: 0 })
    }

    /// The price of the last dimension.
    pub(super) fn last(&self) -> u128 {
        self.per.last().copied().unwrap_or_default()
    }

    /// The same with another price for the last dimension, for other items.
    pub(super) fn ending(&self, last: u128, items: &[Item]) -> Self {
        let mut per = self.per.clone();
        if let Some(price) = per.last_mut() {
            *price = last;
        }
        Self::new(per, items)
    }

    /// For other items.
    pub(super) fn again(&self, items: &[Item]) -> Self {
        Self::new(self.per.clone(), items)
    }

    /// What these needs cost, or this room.
    pub(super) fn cost(&self, amounts: &[u64]) -> u128 {
        let costs = self.per.iter().zip(amounts).filter(|(per, _)| **per > 0);
        costs.fold(0, |sum, (per, amount)| sum.saturating_add(per.saturating_mul((*amount).into())))
    }

    /// The most that items in this room can be worth.
    pub(super) fn bound(&self, room: &[u64]) -> u128 {
        self.cost(room).saturating_add(self.beyond)
    }
}

/// Nano-dollars in the units of bounds.
pub(super) fn fine(nanos: u64) -> u128 {
    u128::from(nanos).saturating_mul(FINE)
}

/// A bound in nano-dollars, of which what fits is worth a whole number. One that saturated stays so.
pub(super) fn nanos(bound: u128) -> u128 {
    if bound == u128::MAX { bound } else { bound / FINE }
}

#[expect(clippy::cast_precision_loss, reason = "any prices give a bound, near ones a good one")]
fn float(amount: u128) -> f64 {
    amount as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and any prices give a bound"
)]
fn rounded(price: f64) -> u128 {
    price.round() as u128
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::knapsack::tests::{any_items, most};
    use super::*;

    proptest! {
        #[test]
        fn any_prices_bound_what_fits_and_shadow_prices_do_it_best(
            items in any_items(),
            room in prop::collection::vec(0..40u64, 3),
            per in prop::collection::vec(prop_oneof![Just(0u128), 0..20 * FINE, any::<u128>()], 3),
        ) {
            let fits = |item: &Item| item.need.iter().zip(&room).all(|(need, room)| need <= room);
            let items: Vec<Item> = items.into_iter().filter(fits).collect();
            let worth = u128::from(most(&items, &room));
            let any = Prices::new(per.into(), &items);
            let shadow = Prices::shadow(&items, &room);
            prop_assert!(shadow.bound(&room) <= any.bound(&room).saturating_add(FINE / 1_000_000));
            let mut all = vec![any.again(&items), shadow.covering(&items), any.covering(&items)];
            all.extend((0..3).filter_map(|dim| Prices::of_one(dim, &items, 3)));
            all.extend([any, shadow]);
            for prices in all {
                prop_assert!(nanos(prices.bound(&room)) >= worth, "{:?} is below {}", prices, worth);
            }
        }
    }

    #[test]
    fn a_bound_that_saturates_is_above_everything() {
        let items = [Item { value: u64::MAX, most: u64::MAX, need: [1].into() }];
        let prices = Prices::new([0].into(), &items);
        assert_eq!(nanos(prices.bound(&[u64::MAX])), u128::MAX);
        assert_eq!(nanos(fine(u64::MAX)), u64::MAX.into());
    }
}
