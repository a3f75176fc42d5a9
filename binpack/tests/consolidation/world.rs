//! Small clusters, and what carries a consolidation out.

use std::collections::HashMap;

use binpack::{
    CapacityType, Config, Consolidation, ConsolidationPolicy, Disruption, Input, InstanceType,
    Node, NodePool, Offering, Pod, Resources, RunningPod, Target, consolidate, key,
    validate_consolidation,
};

pub(crate) const GIB: u64 = 1 << 30;

/// Machines of 2 to 16 cores with 4 GiB for each, sold in two zones at 40,000 a core.
pub(crate) fn types() -> Vec<InstanceType> {
    [2u64, 4, 8, 16]
        .into_iter()
        .map(|cores| {
            let capacity = Resources::new(cores * 1_000, cores * 4 * GIB).with_pods(100);
            ["zone-a", "zone-b"].into_iter().fold(
                InstanceType::new(format!("c{cores}"), capacity),
                |it, zone| {
                    let price = cores * 40_000;
                    it.with_offering(Offering::new(zone, CapacityType::OnDemand, price))
                },
            )
        })
        .collect()
}

pub(crate) fn pool() -> NodePool {
    NodePool::new("pool").with_disruption(Disruption::unlimited(ConsolidationPolicy::default()))
}

pub(crate) fn input(nodes: Vec<Node>) -> Input {
    Input { nodes, pools: vec![pool()], instance_types: types().into(), ..Input::default() }
}

/// A node of the pool in zone a, at 40,000 a core.
pub(crate) fn node(name: &str, cores: u64) -> Node {
    Node::new(name, Resources::new(cores * 1_000, cores * 4 * GIB).with_pods(100))
        .with_label(key::NODE_POOL, "pool")
        .with_label(key::ZONE, "zone-a")
        .with_price_micros(cores * 40_000)
}

pub(crate) fn pod(name: &str, milli: u64) -> Pod {
    Pod::new(name, Resources::new(milli, milli * GIB / 500))
}

pub(crate) fn running(pod: Pod) -> RunningPod {
    RunningPod::new(pod)
}

/// With ordinary pods of these sizes, named after the node.
pub(crate) fn with(mut node: Node, sizes: &[u64]) -> Node {
    for (at, milli) in sizes.iter().enumerate() {
        let name = format!("{}-{at}", node.name);
        node = node.with_pod(running(pod(&name, *milli)));
    }
    node
}

/// What is decided, and found to be valid.
pub(crate) fn decided(input: &Input) -> Consolidation {
    decided_by(input, &Config::default())
}

pub(crate) fn decided_by(input: &Input, config: &Config) -> Consolidation {
    let answer = consolidate(input, config).expect("the input is well formed");
    validate_consolidation(input, &answer).unwrap_or_else(|error| panic!("{error}\n{answer:#?}"));
    answer
}

pub(crate) fn removed(answer: &Consolidation) -> Vec<&str> {
    answer.removed.iter().map(|removal| &*removal.node).collect()
}

pub(crate) fn launched(answer: &Consolidation) -> Vec<&str> {
    let mut types: Vec<&str> = answer.launches.iter().map(|l| &*l.instance_type).collect();
    types.sort_unstable();
    types
}

/// The cluster once it is carried out: what waited is bound, what moves has moved, evictions and
/// offerings are used up.
pub(crate) fn carried_out(input: &Input, answer: &Consolidation) -> Input {
    let mut after = input.clone();
    let mut pods: HashMap<&str, &Pod> = input.pods.iter().map(|p| (&*p.name, p)).collect();
    for running in input.nodes.iter().flat_map(|node| &node.pods) {
        pods.insert(&running.pod.name, &running.pod);
    }
    after.nodes.retain(|node| !answer.removed.iter().any(|removal| removal.node == node.name));
    let left = after.nodes.len();
    let launches = answer.plan.launches.iter().chain(&answer.launches);
    for (at, launch) in launches.clone().enumerate() {
        after.nodes.push(launch.node(format!("new-{at}")));
    }
    let mut types = input.instance_types.to_vec();
    for launch in launches {
        let it = types.iter_mut().find(|it| it.name == launch.instance_type).expect("validated");
        let sold = it.offerings.iter_mut();
        let mut sold =
            sold.filter(|o| (&o.zone, o.capacity_type) == (&launch.zone, launch.capacity_type));
        let available = &mut sold.next().expect("validated").available;
        *available = available.map(|available| available - 1);
    }
    after.instance_types = types.into();
    let by_name: HashMap<_, usize> =
        after.nodes.iter().enumerate().map(|(at, node)| (node.name.clone(), at)).collect();
    let plans = answer.plan.bindings.iter().map(|b| (&b.pod, &b.target, &b.gpus, 0));
    let skipped = answer.plan.launches.len();
    let moves = answer.moves.iter().map(|m| (&m.pod, &m.to, &m.gpus, skipped));
    for (name, target, gpus, first) in plans.chain(moves) {
        let at = match target {
            Target::Existing(node) => by_name[node],
            Target::Launch(launch) => left + first + launch,
        };
        let mut running = RunningPod::new(pods[&**name].clone());
        running.gpus.clone_from(gpus);
        let before = after.nodes[at].pods.len();
        after.nodes[at] = after.nodes[at].clone().with_pod(running);
        assert_eq!(after.nodes[at].pods.len(), before + 1, "validated");
    }
    after.pods.retain(|pod| !answer.plan.bindings.iter().any(|b| b.pod == pod.name));
    for budget in &mut after.disruption_budgets {
        let evicted = answer.moves.iter().map(|m| &m.pod);
        let evicted = evicted.chain(answer.unplaced.iter().map(|unplaced| &unplaced.pod));
        let evicted = evicted.filter(|pod| budget.covers(pods[&***pod])).count();
        let evicted = u32::try_from(evicted).expect("few");
        budget.disruptions_allowed = budget.disruptions_allowed.saturating_sub(evicted);
    }
    after
}
