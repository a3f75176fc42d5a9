//! Any course of events: pods come and go, machines start or fail, and requests get lost.

use std::collections::{BTreeMap, BTreeSet};

use binpack::{Cluster, Resources};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::faults::{Faulty, Patient};
use super::objects::{
    CLAIMS, NODE_LIST, POD_LIST, POOLS, claims, initialize, node, pod, pool, register, round,
};
use super::server::{Server, cluster};

#[derive(Debug, Clone)]
enum Event {
    /// Pods of so many thousandths of a core come.
    Pods(Vec<u64>),
    /// The pod at this place goes, and perhaps comes back under the same name.
    Gone(usize, bool),
    /// A machine starts, or its node begins to take pods. It may be smaller than promised.
    Step(usize, u64),
    /// A claim fails.
    Fails(usize),
    /// A provisioner's round.
    Round,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => prop::collection::vec(100..3_500_u64, 1..6).prop_map(Event::Pods),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, again)| Event::Gone(at, again)),
        3 => (any::<usize>(), 2..5_u64).prop_map(|(at, cores)| Event::Step(at, cores)),
        1 => any::<usize>().prop_map(Event::Fails),
        3 => Just(Event::Round),
    ];
    prop::collection::vec(event, 1..16)
}

/// The server, and what has happened to it.
struct World {
    server: Server,
    pods: usize,
}

impl World {
    fn new() -> Self {
        let server = Server::default();
        server.put(POOLS, pool("default"));
        let machine = json!({"cpu": "2", "memory": "8Gi", "pods": "5"});
        server.put(NODE_LIST, node("n0", &machine));
        Self { server, pods: 0 }
    }

    fn pod(&self, name: &str, cpu: u64) {
        let pod = pod(name, &json!({"cpu": format!("{cpu}m"), "memory": "64Mi"}));
        self.server.put(POD_LIST, pod);
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Pods(all) => {
                for cpu in all {
                    self.pod(&format!("p{}", self.pods), *cpu);
                    self.pods += 1;
                }
            }
            Event::Gone(at, again) if self.pods > 0 => {
                let name = format!("p{}", at % self.pods);
                if self.server.find(POD_LIST, &name).is_some() {
                    self.server.delete(POD_LIST, &name);
                    if *again {
                        self.pod(&name, 1_000);
                    }
                }
            }
            Event::Step(at, cores) => {
                if let Some(claim) = self.some_claim(*at) {
                    self.step(&claim, Some(*cores));
                }
            }
            Event::Fails(at) => {
                if let Some(claim) = self.some_claim(*at) {
                    let started = self.server.find(NODE_LIST, &format!("of-{claim}")).is_some();
                    if !started {
                        self.server.delete(CLAIMS, &claim);
                    }
                }
            }
            Event::Gone(..) | Event::Round => {}
        }
    }

    fn some_claim(&self, at: usize) -> Option<String> {
        let mut all = claims(&self.server);
        if all.is_empty() { None } else { Some(all.swap_remove(at % all.len())) }
    }

    /// Without a number of cores the machine is what was promised.
    fn step(&self, claim: &str, cores: Option<u64>) {
        let name = format!("of-{claim}");
        if self.server.find(NODE_LIST, &name).is_some() {
            initialize(&self.server, claim, &name);
        } else {
            let cores = cores.unwrap_or_else(|| promised_cores(&self.server, claim));
            let machine = json!({"cpu": cores.to_string(), "memory": "16Gi", "pods": "20"});
            register(&self.server, claim, &name, &machine);
        }
    }

    /// By node, what the pods that are bound there request, in thousandths of a core.
    fn bound(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for pod in self.server.all(POD_LIST) {
            if let Some(node) = pod["spec"]["nodeName"].as_str() {
                *all.entry(node.to_owned()).or_default() += cpu(&pod);
            }
        }
        all
    }

    fn cores(&self, node: &str) -> u64 {
        let node =
            self.server.find(NODE_LIST, node).expect("a pod is bound to a node that is there");
        node["status"]["allocatable"]["cpu"].as_str().unwrap().parse().unwrap()
    }
}

fn promised_cores(server: &Server, claim: &str) -> u64 {
    let annotations = &server.find(CLAIMS, claim).unwrap()["metadata"]["annotations"];
    let node = annotations["binpack.trestle/node"].as_str().unwrap();
    let node: Value = serde_json::from_str(node).unwrap();
    node["allocatable"]["cpu_milli"].as_u64().unwrap() / 1_000
}

fn cpu(pod: &Value) -> u64 {
    let cpu = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str().unwrap();
    cpu.strip_suffix('m').unwrap().parse().unwrap()
}

/// No node is too full, and each pod that is there is pending or counted on one node.
async fn check(world: &World, cluster: &impl Cluster) -> Result<(), TestCaseError> {
    for (node, cpu) in world.bound() {
        prop_assert!(cpu <= world.cores(&node) * 1_000, "{node} has {cpu}m");
    }
    let state = cluster.state().await.unwrap();
    let pods = world.server.all(POD_LIST);
    let names: BTreeSet<String> = pods
        .iter()
        .map(|pod| format!("default/{}", pod["metadata"]["name"].as_str().unwrap()))
        .collect();
    let pending = state.pending.iter().map(|pod| pod.name.to_string());
    let running = state.nodes.iter().flat_map(|node| &node.pods);
    let seen: Vec<String> = pending.chain(running.map(|it| it.pod.name.to_string())).collect();
    prop_assert_eq!(seen.len(), names.len());
    prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
    for node in &state.nodes {
        let sum: u64 = node.pods.iter().map(|it| it.pod.requests.cpu_milli).sum();
        prop_assert_eq!(node.used.cpu_milli, sum);
        let fits = Resources::new(sum, 0).fits_within(&node.allocatable);
        prop_assert!(fits, "{} is too full", node.name);
    }
    prop_assert_eq!(cluster.state().await.unwrap(), state);
    Ok(())
}

async fn course(events: Vec<Event>, seed: u64) -> Result<(), TestCaseError> {
    let mut world = World::new();
    let cluster = Patient(cluster(Faulty::new(world.server.clone(), seed, 60)));
    for event in &events {
        world.happens(event);
        if matches!(event, Event::Round) {
            round(&cluster).await;
        }
        check(&world, &cluster).await?;
    }
    // In the end every machine starts, and no pod waits: those of machines that were too small get
    // another one.
    for _ in 0..3 {
        round(&cluster).await;
        for claim in claims(&world.server) {
            world.step(&claim, None);
            world.step(&claim, None);
        }
    }
    round(&cluster).await;
    check(&world, &cluster).await?;
    let waits = |pod: &Value| pod["spec"]["nodeName"].is_null();
    let waiting: Vec<_> = world.server.all(POD_LIST).into_iter().filter(waits).collect();
    prop_assert!(waiting.is_empty(), "{:?}", waiting);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_course_of_events_ends_well(events in events(), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(course(events, seed))?;
    }
}
