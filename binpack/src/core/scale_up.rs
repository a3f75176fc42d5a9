//! Which groups grow for the pods that wait, before pools are asked, and how far.
//!
//! A group is estimated by first fit decreasing over copies of its template: how many more of its
//! nodes would hold which pods. An expander chooses one, which grows by as much, and then all are
//! asked again, until none would hold any pod. So does Kubernetes' Cluster Autoscaler
//! (kubernetes/autoscaler, `cluster-autoscaler/estimator` and `cluster-autoscaler/expander`).

use std::collections::{BTreeSet, VecDeque};

use super::board::Board;
use super::budget::Budgets;
use super::existing::Where;
use super::launching::Launcher;
use super::lots::Market;
use super::offers::{Offer, Offers};
use super::problem::Shape;
use crate::config::Expander;
use crate::model::Input;

/// The whole of which waste is a part.
const WHOLE: u128 = 1_000_000_000;

/// What a group would grow by.
#[derive(Debug, Default)]
struct Growth {
    offer: usize,
    nodes: u128,
    pods: u128,
    /// What the pods request together: CPU in thousandths of a core.
    cpu_milli: u128,
    /// Memory in bytes.
    memory_bytes: u128,
}

impl<'a> Launcher<'_, 'a> {
    /// Lets groups grow as far as that helps pods that wait.
    pub(super) fn scale_up(
        &self,
        market: &mut Market<'_, 'a>,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
    ) {
        loop {
            let before: Vec<VecDeque<usize>> = shapes.iter().map(|s| s.pods.clone()).collect();
            let mut growths = Vec::new();
            for offer in self.offers.of_groups() {
                let first = board.rooms.len();
                self.grow(offer, market, board, shapes, &mut budgets.clone());
                let growth = Growth::new(offer, board.rooms.len() - first, &before, shapes);
                take_back(first, &before, board, shapes);
                growths.extend((growth.pods > 0).then_some(growth));
            }
            let rank = |growth: &Growth| {
                let by = self.expanders.iter();
                let of = &self.offers.all[growth.offer];
                let ranks: Vec<u128> = by.map(|by| growth.rank(*by, of, board.input)).collect();
                (ranks, &of.source.pool.name)
            };
            let Some(best) = growths.iter().min_by_key(|growth| rank(growth)) else { return };
            self.grow(best.offer, market, board, shapes, budgets);
            // Pods that are spread or kept near others may go to what is there by now.
            if shapes.iter().any(|shape| shape.left() > 0 && !shape.ties.is_empty()) {
                let sites = Where::Range(self.from, board.rooms.len());
                self.placer.place(board, shapes, sites);
            }
        }
    }

    /// Launches nodes of one offer as long as pods go there, one node after the other: pods come
    /// the hardest first, so that is first fit decreasing.
    fn grow(
        &self,
        offer: usize,
        market: &mut Market<'_, 'a>,
        board: &mut Board<'a>,
        shapes: &mut [Shape<'a>],
        budgets: &mut Budgets,
    ) {
        market.open_only(offer);
        self.bundle(market, board, shapes, budgets);
        let draws = budgets.draws(&self.offers.all[offer], board.input);
        let left = |shapes: &[Shape<'_>]| shapes.iter().map(Shape::left).sum::<u64>();
        let mut before = left(shapes);
        while before > 0 && budgets.allow(&draws) {
            let site = board.open(self.offers, offer);
            self.placer.place(board, shapes, Where::These(&[site]));
            let after = left(shapes);
            if after == before {
                board.close_last();
                return;
            }
            budgets.take(&draws, 1);
            before = after;
        }
    }
}

/// Takes pods off again which were put on launches from a site on, and these launches back.
fn take_back(
    first: usize,
    before: &[VecDeque<usize>],
    board: &mut Board<'_>,
    shapes: &mut [Shape<'_>],
) {
    for (shape, before) in shapes.iter_mut().zip(before) {
        let placed = before.len() - shape.pods.len();
        for pod in before.range(..placed).rev() {
            board.take_off(*pod, &shape.demand, shape.ports);
            shape.pods.push_front(*pod);
        }
    }
    while board.rooms.len() > first {
        board.close_last();
    }
}

impl Growth {
    /// By so many nodes for the pods that have left the queues of their shapes.
    fn new(offer: usize, nodes: usize, before: &[VecDeque<usize>], shapes: &[Shape<'_>]) -> Self {
        let mut growth = Self { offer, nodes: nodes as u128, ..Self::default() };
        for (shape, before) in shapes.iter().zip(before) {
            let pods = (before.len() - shape.pods.len()) as u128;
            growth.pods += pods;
            growth.cpu_milli += pods * u128::from(shape.demand.cpu_milli());
            growth.memory_bytes += pods * u128::from(shape.demand.memory_bytes());
        }
        growth
    }

    /// What an expander goes by: the least is chosen.
    fn rank(&self, by: Expander, of: &Offer, input: &Input) -> u128 {
        match by {
            Expander::LeastWaste => {
                let capacity = &input.instance_types[of.instance_type].capacity;
                self.unused(capacity.cpu_milli, self.cpu_milli)
                    + self.unused(capacity.memory_bytes, self.memory_bytes)
            }
            Expander::MostPods => u128::MAX - self.pods,
            Expander::Price => u128::from(of.price) * self.nodes * WHOLE / self.pods.max(1),
            Expander::Priority => {
                let priority = of.source.group.map(|group| input.node_groups[group].priority);
                u128::from(priority.unwrap_or(i32::MIN).abs_diff(i32::MAX))
            }
        }
    }

    /// What is left of a resource of all nodes, in parts of [`WHOLE`]; nothing of what they don't
    /// have.
    fn unused(&self, capacity: u64, requested: u128) -> u128 {
        let all = u128::from(capacity) * self.nodes;
        (all.saturating_sub(requested) * WHOLE).checked_div(all).unwrap_or(0)
    }
}

/// Launches what groups lack of their least sizes, as far as what is sold suffices.
pub(super) fn enforce_min_sizes(board: &mut Board<'_>, offers: &Offers, budgets: &mut Budgets) {
    let input = board.input;
    for offer in offers.of_groups() {
        let of = &offers.all[offer];
        let Some(group) = of.source.group.map(|group| &input.node_groups[group]) else { continue };
        let own =
            board.open_launches().filter(|site| board.opened[*site - input.nodes.len()] == offer);
        let has = group.size(input) + own.count() as u64;
        let draws = budgets.draws(of, input);
        for _ in has..u64::from(group.min_size) {
            if budgets.allow(&draws) {
                budgets.take(&draws, 1);
                board.open(offers, offer);
            }
        }
    }
}

/// The launches without pods that groups need for their least sizes, by site.
pub(super) fn idle_launches(board: &Board<'_>, offers: &Offers) -> BTreeSet<usize> {
    let (input, mut kept) = (board.input, BTreeSet::new());
    if input.node_groups.is_empty() {
        return kept;
    }
    let used: BTreeSet<usize> = board.places.iter().flatten().map(|place| place.site).collect();
    for offer in offers.of_groups() {
        let of = &offers.all[offer];
        let Some(group) = of.source.group.map(|group| &input.node_groups[group]) else { continue };
        let own = board.open_launches();
        let own = own.filter(|site| board.opened[*site - input.nodes.len()] == offer);
        let (busy, idle): (Vec<usize>, Vec<usize>) = own.partition(|site| used.contains(site));
        let has = group.size(input) + busy.len() as u64;
        let lacks = u64::from(group.min_size).saturating_sub(has);
        kept.extend(idle.into_iter().take(usize::try_from(lacks).unwrap_or(usize::MAX)));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::core::plan;
    use crate::model::{CapacityType, InstanceType, NodeGroup, Offering, Pod, Resources};

    const GIB: u64 = 1 << 30;

    fn it(name: &str, cores: u64, gib: u64, price: u64) -> InstanceType {
        InstanceType::new(name, Resources::new(cores * 1_000, gib * GIB).with_pods(110))
            .with_offering(Offering::new("a", CapacityType::OnDemand, price))
    }

    /// Groups `tall` (4 cores and 32 GiB for 300), `wide` (16 and 32 for 800) and `small` (2 and 8
    /// for 130), which have priorities 1, 3 and 2.
    fn input(pods: u64, cpu: u64, gib: u64) -> Input {
        let pod = |i| Pod::new(format!("p{i}"), Resources::new(cpu, gib * GIB));
        let group = |name: &str, priority| {
            NodeGroup::new(name, name, "a").with_priority(priority).with_sizes(0, 20)
        };
        Input {
            pods: (0..pods).map(pod).collect(),
            node_groups: vec![group("tall", 1), group("wide", 3), group("small", 2)],
            instance_types: [
                it("tall", 4, 32, 300),
                it("wide", 16, 32, 800),
                it("small", 2, 8, 130),
            ]
            .into(),
            ..Input::default()
        }
    }

    /// By how much each group grows.
    fn grown(input: &Input, expanders: &[Expander]) -> Vec<(String, u64)> {
        let config = Config { expanders: expanders.to_vec(), ..Config::default() };
        let plan = plan(input, &config).expect("well formed");
        let ups = plan.scale_ups(input);
        ups.into_iter().map(|up| (up.group.to_string(), up.to - up.from)).collect()
    }

    fn only(name: &str, nodes: u64) -> Vec<(String, u64)> {
        vec![(name.to_owned(), nodes)]
    }

    #[test]
    fn the_least_waste_is_the_mean_of_what_is_left_of_cpu_and_memory() {
        // 7 pods of 1 core and 4 GiB. tall holds 4 on a node: 2 nodes, 7 of 8 cores and 28 of 64
        // GiB, so 1/8 and 9/16 are left: 11/32 in the mean. wide holds 7: 9/16 and 1/8, the same
        // mean. small holds 2: 4 nodes, 7 of 8 cores and 28 of 32 GiB: 1/8 in the mean.
        assert_eq!(grown(&input(7, 1_000, 4), &[Expander::LeastWaste]), only("small", 4));
        // Without small the two are equal, and the name decides.
        let mut equal = input(7, 1_000, 4);
        equal.node_groups.truncate(2);
        assert_eq!(grown(&equal, &[Expander::LeastWaste]), only("tall", 2));
        // One pod of 2 cores and 16 GiB: 1/2 and 1/2 of tall, 7/8 and 1/2 of wide, none of small.
        assert_eq!(grown(&input(1, 2_000, 16), &[Expander::LeastWaste]), only("tall", 1));
    }

    #[test]
    fn the_most_pods_count_within_what_a_group_may_still_grow() {
        let mut input = input(7, 1_000, 4);
        input.node_groups[0].max_size = 1;
        input.node_groups[2].max_size = 2;
        // tall takes 4 of them, small 4, wide all.
        assert_eq!(grown(&input, &[Expander::MostPods]), only("wide", 1));
        input.node_groups[1].max_size = 0;
        let both = vec![("tall".to_owned(), 1), ("small".to_owned(), 2)];
        assert_eq!(grown(&input, &[Expander::MostPods]), both, "small first, by name, then tall");
    }

    #[test]
    fn the_price_is_that_of_each_pod() {
        // tall: 2 nodes for 600, wide: 1 for 800, small: 4 for 520.
        assert_eq!(grown(&input(7, 1_000, 4), &[Expander::Price]), only("small", 4));
        // 16 pods of 1 core and 2 GiB: tall 4 for 1,200, wide 1 for 800, small 8 for 1,040.
        assert_eq!(grown(&input(16, 1_000, 2), &[Expander::Price]), only("wide", 1));
    }

    #[test]
    fn priorities_decide_and_the_next_expander_between_equal_ones() {
        assert_eq!(grown(&input(7, 1_000, 4), &[Expander::Priority]), only("wide", 1));
        let mut equal = input(7, 1_000, 4);
        equal.node_groups.iter_mut().for_each(|group| group.priority = -5);
        equal.node_groups[0].priority = i32::MIN;
        let chain = [Expander::Priority, Expander::MostPods, Expander::LeastWaste];
        assert_eq!(grown(&equal, &chain), only("small", 4));
        assert_eq!(grown(&equal, &[]), only("small", 4), "the first name");
    }

    #[test]
    fn what_a_machine_does_not_have_is_not_wasted() {
        let growth = Growth { nodes: 3, pods: 1, cpu_milli: 1_500, ..Growth::default() };
        assert_eq!((growth.unused(0, 0), growth.unused(1_000, 1_500)), (0, WHOLE / 2));
        assert_eq!(growth.unused(u64::MAX, 0), WHOLE);
    }
}
