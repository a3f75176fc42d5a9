//! What pods on nodes that exist could be worth.

use super::WORK;
use super::kinds::Kinds;
use super::knapsack::Item;
use super::machines::{Machine, nodes};
use super::prices::{Prices, nanos};
use crate::model::Input;

/// How many entries the linear programmes of nodes may have together, so that many nodes that are
/// all different don't take forever.
pub(super) const ENTRIES: usize = 4_000_000;

/// How many nodes lend their prices to those that have no linear programme of their own.
const LENDERS: usize = 16;

/// A bound on what all existing nodes could carry together, in nano-dollars: for each node alone,
/// that of its linear relaxations, or once these have had so many `entries`, the lowest for the
/// prices of a few.
pub(super) fn carried(input: &Input, kinds: &Kinds<'_>, mut entries: usize) -> u128 {
    let nodes = nodes(input, kinds);
    let loans = loans(&nodes, &kinds.items());
    let (mut sum, mut work) = (0u128, WORK);
    for (node, number) in &nodes {
        let left = entries.checked_sub(node.knapsack(kinds).entries());
        entries = left.unwrap_or(entries);
        let own = left.map(|_| node.relaxed(kinds, &mut work));
        let worth = own.or_else(|| loans.iter().map(|prices| prices.bound(node.room())).min());
        sum = sum.saturating_add(worth.map_or(u128::MAX, nanos).saturating_mul((*number).into()));
    }
    sum
}

/// The shadow prices of some nodes, high enough for every pod.
fn loans(nodes: &[(Machine, u64)], items: &[Item]) -> Vec<Prices> {
    let every = nodes.len().div_ceil(LENDERS).max(1);
    let lenders = nodes.iter().step_by(every);
    lenders.map(|(node, _)| Prices::shadow(items, node.room()).covering(items)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Node, Pod, Resources};

    #[test]
    fn prices_of_other_nodes_bound_no_less() {
        let pods = (0..60u64).map(|i| {
            let requests = Resources::new(100 + 70 * (i % 7), 200 + 90 * (i % 11));
            Pod::new(format!("p{i}"), requests)
        });
        let node = |i: u64| {
            Node::new(format!("n{i}"), Resources::new(500 + 130 * i, 4_000 - 90 * i).with_pods(9))
        };
        let input =
            Input { pods: pods.collect(), nodes: (0..40).map(node).collect(), ..Input::default() };
        let values: Vec<u64> = (0..60).map(|i| 1_000 + 170 * (i % 13)).collect();
        let kinds = Kinds::new(&input, &values);
        let bounds = [0, 2_000, ENTRIES].map(|entries| carried(&input, &kinds, entries));
        assert!(bounds.is_sorted_by(|a, b| a > b), "{bounds:?}");
        assert!(bounds[0] < 2 * bounds[2], "and not much more: {bounds:?}");
    }

    #[test]
    fn what_nothing_holds_is_not_carried_and_absurd_values_are_not_forgotten() {
        let pod = |i: u32| Pod::new(format!("p{i}"), Resources::new(1_000, 0));
        let node = |cpu| Node::new("n", Resources::new(cpu, 0).with_pods(1_000));
        let of = |cpu, pods: u32| {
            let pods: Vec<Pod> = (0..pods).map(pod).collect();
            let values = vec![u64::MAX; pods.len()];
            let input = Input { pods, nodes: vec![node(cpu)], ..Input::default() };
            [0, ENTRIES].map(|entries| carried(&input, &Kinds::new(&input, &values), entries))
        };
        assert_eq!(of(999, 3), [0, 0]);
        assert_eq!(of(1_000, 1)[1], u128::from(u64::MAX));
        assert!(of(1 << 30, 500).iter().all(|bound| *bound >= 500 * u128::from(u64::MAX)));
    }
}
