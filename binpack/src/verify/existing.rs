//! What pods on nodes that exist could be worth.

use super::kinds::Kinds;
use super::machines::nodes;
use crate::model::Input;

/// A bound on what all existing nodes could carry together, in nano-dollars.
///
/// It is the linear relaxation's for each node alone.
pub(super) fn carried(input: &Input, kinds: &Kinds<'_>) -> u128 {
    let each = nodes(input, kinds).into_iter().map(|(node, number)| {
        let (worth, _) = node.knapsack(kinds).relaxed();
        worth.saturating_mul(number.into())
    });
    each.fold(0, u128::saturating_add)
}
