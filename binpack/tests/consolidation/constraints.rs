//! Pods keep their constraints, those that stay as well.

use binpack::{
    HostPort, Input, KeptKind, LabelSelector, Node, Pod, PodAffinityTerm, Resources, RunningPod,
    TopologySpread, key,
};

use crate::world::{GIB, decided, input, launched, node, pod, removed, running, with};

fn web() -> LabelSelector {
    LabelSelector::labels([("app", "web")])
}

fn in_zone(mut node: Node, zone: &str) -> Node {
    node.labels.insert(key::ZONE.into(), zone.into());
    node
}

/// Without anything to launch.
fn closed(nodes: Vec<Node>) -> Input {
    Input { instance_types: Vec::new().into(), ..input(nodes) }
}

#[test]
fn pods_stay_spread_over_zones() {
    let spread = |name: &str| {
        let spread = TopologySpread::new(key::ZONE, web(), 1);
        running(pod(name, 500).with_label("app", "web").spread(spread))
    };
    let nodes = vec![
        in_zone(node("a", 4), "zone-a").with_pod(spread("web-1")),
        in_zone(node("b", 4), "zone-b").with_pod(spread("web-2")),
    ];
    // Both in one zone would be 2 to 0 where zone b could have a node.
    let mut open = input(nodes.clone());
    let cheaper = decided(&open);
    assert_eq!(launched(&cheaper), ["c2", "c2"], "each in its zone: {cheaper}");
    open.instance_types =
        crate::world::types().into_iter().filter(|it| &*it.name == "c4").collect();
    let answer = decided(&open);
    assert!(answer.is_empty(), "{answer}");
    // With a third pod in each zone a node may go within a zone.
    let mut third = nodes;
    third.push(in_zone(node("c", 4), "zone-b").with_pod(spread("web-3")));
    let answer = decided(&Input { nodes: third, ..open });
    assert_eq!(answer.moves.len(), 1);
    assert!(removed(&answer) == ["b"] || removed(&answer) == ["c"]);
}

#[test]
fn pods_that_stay_are_spread_no_worse() {
    // The pod of zone a carries no constraint, but is counted by those of zone b.
    let spread = TopologySpread::new(key::ZONE, web(), 1);
    let carries = pod("web-1", 3_500).with_label("app", "web").spread(spread);
    let counted = pod("web-2", 400).with_label("app", "web");
    let nodes = vec![
        in_zone(node("a", 4), "zone-a").with_pod(running(counted)),
        in_zone(node("b", 4), "zone-b").with_pod(running(carries)),
        in_zone(with(node("c", 4), &[4_000]), "zone-a"),
    ];
    let answer = decided(&closed(nodes));
    assert!(answer.is_empty(), "{answer}");
    assert_eq!(answer.kept[0].kind, KeptKind::Neighbours);
}

#[test]
fn pods_apart_stay_apart() {
    let alone = |name: &str| running(pod(name, 500).with_label("app", "web").alone_among(web()));
    let nodes = vec![node("a", 2).with_pod(alone("web-1")), node("b", 2).with_pod(alone("web-2"))];
    let answer = decided(&closed(nodes.clone()));
    assert!(answer.is_empty(), "{answer}");
    assert_eq!(answer.kept[0].kind, KeptKind::NoPlace);
    // On nodes that are too large each gets one of its own.
    let large = vec![node("a", 8).with_pod(alone("web-1")), node("b", 8).with_pod(alone("web-2"))];
    assert_eq!(launched(&decided(&input(large))), ["c2", "c2"]);
}

#[test]
fn a_pod_that_stays_keeps_its_neighbour() {
    let near = PodAffinityTerm::new(key::ZONE, web());
    let nodes = vec![
        in_zone(node("a", 4), "zone-a").with_pod(running(pod("web", 500).with_label("app", "web"))),
        in_zone(node("b", 4), "zone-a").with_pod(running(pod("client", 3_900).near(near))),
        in_zone(with(node("c", 4), &[2_000]), "zone-b"),
    ];
    let mut input = closed(nodes);
    input.nodes[2].do_not_disrupt = true;
    let answer = decided(&input);
    assert!(answer.is_empty(), "{answer}");
    assert_eq!(answer.kept[0].kind, KeptKind::Neighbours);
    // What follows moves along.
    input.nodes[1].pods[0].pod.requests = Resources::new(100, GIB);
    input.nodes[1].used = Resources::new(100, GIB).with_pods(1);
    let answer = decided(&input);
    assert_eq!(removed(&answer), ["a", "b"], "first to one node, then to the other zone");
}

#[test]
fn ports_are_taken_once() {
    let with_port = |name: &str| running(pod(name, 500).with_host_port(HostPort::tcp(80)));
    let nodes = vec![node("a", 2).with_pod(with_port("x")), node("b", 2).with_pod(with_port("y"))];
    assert!(decided(&closed(nodes)).is_empty());
}

#[test]
fn pods_keep_whole_and_shared_devices() {
    let gpu = |name: &str, devices: u64, used: &[(&str, u64, u32)]| {
        let all = Resources::new(32_000, 128 * GIB).with_pods(50).with_gpu_milli(devices * 1_000);
        let mut node = Node::new(name, all)
            .with_label(key::NODE_POOL, "pool")
            .with_price_micros(devices * 500_000);
        for (name, milli, device) in used {
            let requests = Resources::new(500, GIB).with_gpu_milli(*milli);
            let mut running = RunningPod::new(Pod::new(*name, requests));
            running.gpus = vec![*device];
            node = node.with_pod(running);
        }
        assert_eq!(node.pods.len(), used.len());
        node
    };
    // 600 thousandths fit beside 400 on one device, and not beside 500.
    let fits = vec![gpu("a", 2, &[("x", 600, 1)]), gpu("b", 1, &[("y", 400, 0)])];
    let answer = decided(&closed(fits));
    assert_eq!((removed(&answer), &answer.moves[0].gpus), (vec!["a"], &vec![0]));
    let full = vec![gpu("a", 2, &[("x", 600, 1)]), gpu("b", 1, &[("y", 500, 0)])];
    let answer = decided(&closed(full));
    assert_eq!(removed(&answer), ["b"], "but the other way round there is a device: {answer}");
    assert_eq!(answer.moves[0].gpus, [0]);
    let whole = vec![gpu("a", 1, &[("x", 1_000, 0)]), gpu("b", 1, &[("y", 100, 0)])];
    assert!(decided(&closed(whole)).is_empty());
}

#[test]
fn labels_and_taints_hold() {
    let tainted = node("b", 4)
        .with_taint(binpack::Taint::new("team", "x", binpack::Effect::NoSchedule))
        .with_pod(running(pod("own", 3_000).tolerate(binpack::Toleration::exists("team"))));
    let mut input = closed(vec![with(node("a", 4), &[500]), tainted]);
    input.nodes[1].do_not_disrupt = true;
    assert_eq!(decided(&input).kept[0].kind, KeptKind::NoPlace);
    input.nodes[1].taints.clear();
    assert_eq!(removed(&decided(&input)), ["a"]);
}
