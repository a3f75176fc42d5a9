//! How long a sweep takes, for people who ask.

use std::time::Instant;

use binpack::{
    BuiltinCatalogue, Config, Input, LabelSelector, Node, Pod, Resources, RunningPod,
    TopologySpread, consolidate, key, validate_consolidation,
};

use crate::world::{GIB, pool};

/// Nodes of 16 cores, 60 % full, with 12 pods of 30 shapes each.
fn cluster(nodes: usize, spread: bool) -> Input {
    let mut random = 1u64;
    let mut next = |most: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % most
    };
    let shapes: Vec<(u64, u64)> =
        (0..30).map(|_| (200 + 100 * next(13), GIB / 2 * (1 + next(11)))).collect();
    let nodes = (0..nodes).map(|at| {
        let mut node = Node::new(format!("n{at}"), Resources::new(16_000, 64 * GIB).with_pods(110))
            .with_label(key::NODE_POOL, "pool")
            .with_label(key::ZONE, ["zone-a", "zone-b", "zone-c"][at % 3])
            .with_price_micros(768_000 + next(1_000));
        for n in 0..12 {
            let shape = usize::try_from(next(30)).expect("small");
            let (cpu, memory) = shapes[shape];
            let app = format!("app-{shape}");
            let mut pod = Pod::new(format!("p{at}-{n}"), Resources::new(cpu, memory))
                .with_label("app", app.clone());
            if spread && shape % 2 == 0 {
                let like = LabelSelector::labels([("app", app)]);
                pod = pod.spread(TopologySpread::new(key::ZONE, like, 5));
            }
            node = node.with_pod(RunningPod::new(pod));
        }
        node
    });
    let nodes = nodes.collect();
    let types = BuiltinCatalogue::new().types();
    Input { nodes, pools: vec![pool()], instance_types: types, ..Input::default() }
}

#[test]
#[ignore = "it measures: run it with --release --ignored --nocapture"]
#[expect(clippy::disallowed_methods, reason = "it measures time, and asserts nothing of it")]
fn a_sweep_of_ten_thousand_nodes() {
    let size = std::env::var("NODES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let both = [false, true];
    let wanted = std::env::var("SPREAD").ok().map(|wanted| wanted == "1");
    for spread in both.into_iter().filter(|spread| wanted.is_none_or(|wanted| wanted == *spread)) {
        let input = cluster(size, spread);
        let start = Instant::now();
        let answer = consolidate(&input, &Config::default()).expect("the input is well formed");
        let took = start.elapsed();
        println!(
            "spread {spread}: {took:?}, {} of {} nodes go, {} launched, {} pods move, {} % saved, {} steps",
            answer.removed.len(),
            input.nodes.len(),
            answer.launches.len(),
            answer.moves.len(),
            100 * answer.saved_micros() / answer.cost_before_micros,
            answer.iterations,
        );
        let start = Instant::now();
        validate_consolidation(&input, &answer).expect("it is valid");
        println!("validated in {:?}", start.elapsed());
    }
}
