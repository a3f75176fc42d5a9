//! Whatever comes and goes, a scheduler does what one would that is made of the state at hand.

use std::collections::{BTreeMap, BTreeSet};

use binpack::{
    Binding, CapacityType, Config, Effect, Fit, GPU_MILLI, Input, InstanceType, LabelSelector,
    Launch, Node, NodePool, Offering, Plan, Pod, PodAffinityTerm, Preemption, Requirement,
    Resources, RunningPod, Scheduled, Scheduler, Taint, Target, TopologySpread, breaches, key,
    plan,
};
use proptest::prelude::*;
use proptest::sample::select;

/// Kinds of pods: those of one kind have to do with one another alone, but for the ones that follow
/// the second kind.
const KINDS: usize = 8;

fn web() -> LabelSelector {
    LabelSelector::labels([("app", "web")])
}

fn pod(name: String, kind: usize, cpu: u64) -> Pod {
    let requests = Resources::new(cpu * 500, 1 << 30);
    let mut plain = Pod::new(name, requests).with_priority(i32::try_from(cpu % 3).unwrap());
    match kind {
        0 => plain,
        1 => plain.with_label("app", "web").spread(TopologySpread::new(key::ZONE, web(), 1)),
        2 => plain.with_label("app", "near").near(PodAffinityTerm::new(key::ZONE, web())),
        3 => {
            let own = LabelSelector::labels([("app", "db")]);
            plain.with_label("app", "db").alone_among(own)
        }
        4 => plain.require(Requirement::is_in(key::ZONE, ["b"])),
        5 => {
            plain.requests.gpu_milli = 600;
            plain
        }
        6 => {
            plain.requests.extended.insert("x/w".into(), 1);
            plain
        }
        _ => plain.with_host_port(binpack::HostPort::tcp(80)),
    }
}

fn node(name: &str, zone: &str, cpu: u64, flavour: usize) -> Node {
    let gpus = u64::from(flavour == 1) * 2;
    let room = Resources::new(cpu * 1_000, 16 << 30).with_pods(6).with_gpu_milli(gpus * GPU_MILLI);
    let node = Node::new(name, room.with_extended("x/w", 2)).with_label(key::ZONE, zone);
    match flavour {
        2 => node.with_taint(Taint::new("soft", "", Effect::PreferNoSchedule)),
        3 => {
            let lonely = pod(format!("runs-{name}"), 3, 1);
            node.with_pod(RunningPod::new(lonely))
        }
        4 => node.with_label(key::NODE_POOL, "p"),
        _ => node,
    }
}

#[derive(Debug, Clone)]
enum Change {
    Pods(usize, u64, usize),
    Remove(usize),
    Retry,
    Node(&'static str, u64, usize),
    RemoveNode(usize),
    Cordon(usize, bool),
    Register(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..KINDS, 1..6u64, 1..4usize).prop_map(|(k, cpu, n)| Change::Pods(k, cpu, n)),
        2 => (0..30usize).prop_map(Change::Remove),
        2 => Just(Change::Retry),
        3 => (select(vec!["a", "b", "c"]), 1..5u64, 0..5usize)
            .prop_map(|(zone, cpu, flavour)| Change::Node(zone, cpu, flavour)),
        2 => (0..8usize).prop_map(Change::RemoveNode),
        1 => (0..8usize, any::<bool>()).prop_map(|(nth, open)| Change::Cordon(nth, open)),
        1 => (0..4usize).prop_map(Change::Register),
    ]
}

/// What is there, by the words of the scheduler alone.
struct Model {
    base: Input,
    nodes: BTreeMap<String, Node>,
    cordoned: BTreeSet<String>,
    /// Launches that are under way, as nodes, by number.
    launches: BTreeMap<usize, (Launch, Node)>,
    pods: BTreeMap<String, Pod>,
    placed: BTreeMap<String, Binding>,
}

impl Model {
    fn name(launch: usize) -> String {
        format!("launch-{launch}")
    }

    /// The nodes with all pods that have their place there, launches included.
    fn whole(&self) -> Vec<Node> {
        let own = |name: &str, target: &Target, node: &Node| {
            let mut node = node.clone();
            node.disrupting = self.cordoned.contains(name);
            for (pod, binding) in self.placed.iter().filter(|(_, b)| b.target == *target) {
                let pod = self.pods[pod].clone();
                assert!(node.take(&pod.requests, &binding.gpus), "{} is over", node.name);
                let mut running = RunningPod::new(pod);
                running.gpus.clone_from(&binding.gpus);
                node.pods.push(running);
            }
            node
        };
        let nodes = self.nodes.iter();
        let nodes =
            nodes.map(|(name, node)| own(name, &Target::Existing(name.as_str().into()), node));
        let launched = self.launches.iter();
        let launched =
            launched.map(|(at, (_, node))| own(&Self::name(*at), &Target::Launch(*at), node));
        nodes.chain(launched).collect()
    }

    /// What a change did keeps every rule beside all that was there.
    fn judge(&mut self, names: &[String], done: &Scheduled) -> Result<(), TestCaseError> {
        let pods = names.iter().map(|name| self.pods[name].clone()).collect();
        let input = Input { pods, nodes: self.whole(), ..self.base.clone() };
        let mut it: Plan = plan(&Input::default(), &Config::default()).unwrap();
        it.certificate = None;
        let numbers: Vec<usize> = done.launches.iter().map(|(at, _)| *at).collect();
        it.launches = done.launches.iter().map(|(_, launch)| launch.clone()).collect();
        it.cost_per_hour_micros = it.launches.iter().map(|launch| launch.price_micros).sum();
        it.bindings.clone_from(&done.bindings);
        for binding in &mut it.bindings {
            let Target::Launch(at) = binding.target else { continue };
            binding.target = match numbers.iter().position(|known| *known == at) {
                Some(new) => Target::Launch(new),
                None => Target::Existing(Self::name(at).into()),
            };
        }
        (it.unplaced, it.relaxed) = (done.unplaced.clone(), done.relaxed.clone());
        it.evictions.clone_from(&done.evictions);
        prop_assert_eq!(breaches(&input, &it), vec![]);
        for (at, launch) in &done.launches {
            let node = launch.node(Self::name(*at));
            self.launches.insert(*at, (launch.clone(), node));
        }
        for eviction in &done.evictions {
            let name = eviction.pod.to_string();
            if self.pods.contains_key(&name) {
                prop_assert!(self.placed.remove(&name).is_some());
            } else {
                let node = self.nodes.get_mut(&*eviction.node).unwrap();
                let at = node.pods.iter().position(|of| of.pod.name == eviction.pod).unwrap();
                let gone = node.pods.remove(at);
                node.release(&gone.pod.requests, &gone.gpus);
            }
        }
        self.placed.extend(done.bindings.iter().map(|b| (b.pod.to_string(), b.clone())));
        Ok(())
    }

    fn waiting(&self) -> Vec<String> {
        self.pods.keys().filter(|name| !self.placed.contains_key(*name)).cloned().collect()
    }

    /// A scheduler that is made of the same state has a place for a pod if this one has.
    fn compare(&self, scheduler: &mut Scheduler, fit: Fit) -> Result<(), TestCaseError> {
        let input = Input { nodes: self.whole(), ..self.base.clone() };
        let mut anew = Scheduler::new(input, config(fit, Preemption::Never)).unwrap();
        for kind in 0..KINDS {
            for cpu in [1, 3] {
                let probe = pod(format!("probe-{kind}-{cpu}"), kind, cpu);
                let placed = |of: &mut Scheduler| {
                    let done = of.schedule(vec![probe.clone()]).unwrap();
                    assert_eq!(of.remove([&*probe.name]), 1);
                    done.bindings.len()
                };
                prop_assert_eq!(placed(scheduler), placed(&mut anew), "{:?}", probe);
            }
        }
        Ok(())
    }
}

fn config(fit: Fit, preemption: Preemption) -> Config {
    let mut config = Config::default();
    (config.fit, config.iterations, config.preemption) = (fit, 0, preemption);
    config
}

fn base(pools: bool) -> Input {
    let it = InstanceType::new("t", Resources::new(2_000, 16 << 30).with_pods(4))
        .with_offering(Offering::new("a", CapacityType::OnDemand, 100_000))
        .with_offering(Offering::new("b", CapacityType::OnDemand, 110_000));
    let mut pool = NodePool::new("p");
    pool.limits.nodes = Some(3);
    let pools = if pools { vec![pool] } else { Vec::new() };
    Input { pools, instance_types: [it].into(), ..Input::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_scheduler_does_what_one_made_anew_would(
        fit in select(vec![Fit::First, Fit::Best]),
        pools in any::<bool>(),
        preemption in select(vec![Preemption::Never, Preemption::Lower]),
        changes in prop::collection::vec(change(), 1..60),
    ) {
        let base = base(pools);
        let mut scheduler = Scheduler::new(base.clone(), config(fit, preemption)).unwrap();
        let mut model = Model {
            base,
            nodes: BTreeMap::new(),
            cordoned: BTreeSet::new(),
            launches: BTreeMap::new(),
            pods: BTreeMap::new(),
            placed: BTreeMap::new(),
        };
        for (i, change) in changes.into_iter().enumerate() {
            match change {
                Change::Pods(kind, cpu, n) => {
                    let pods: Vec<Pod> =
                        (0..n).map(|k| pod(format!("p{i:03}-{k}"), kind, cpu)).collect();
                    let names: Vec<String> = pods.iter().map(|pod| pod.name.to_string()).collect();
                    let named = pods.iter().map(|pod| (pod.name.to_string(), pod.clone()));
                    model.pods.extend(named);
                    let done = scheduler.schedule(pods).unwrap();
                    model.judge(&names, &done)?;
                }
                Change::Remove(nth) => {
                    if let Some(name) = model.pods.keys().nth(nth).cloned() {
                        prop_assert_eq!(scheduler.remove([&*name]), 1);
                        model.pods.remove(&name);
                        model.placed.remove(&name);
                    }
                }
                Change::Retry => {
                    let done = scheduler.reschedule().unwrap();
                    model.judge(&model.waiting(), &done)?;
                }
                Change::Node(zone, cpu, flavour) => {
                    let name = format!("n{i}");
                    let new = node(&name, zone, cpu, flavour);
                    scheduler.add_nodes(vec![new.clone()]).unwrap();
                    model.nodes.insert(name, new);
                }
                Change::RemoveNode(nth) => {
                    if let Some(name) = model.nodes.keys().nth(nth).cloned() {
                        let lost = scheduler.remove_nodes([&*name]).unwrap();
                        let there = Target::Existing(name.as_str().into());
                        let own = model.placed.iter().filter(|(_, b)| b.target == there);
                        let own: BTreeSet<String> = own.map(|(pod, _)| pod.clone()).collect();
                        prop_assert_eq!(lost.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), own.clone());
                        model.placed.retain(|pod, _| !own.contains(pod));
                        model.nodes.remove(&name);
                        model.cordoned.remove(&name);
                    }
                }
                Change::Cordon(nth, open) => {
                    if let Some(name) = model.nodes.keys().nth(nth).cloned() {
                        if open {
                            scheduler.uncordon([&*name]).unwrap();
                            model.cordoned.remove(&name);
                        } else {
                            scheduler.cordon([&*name]).unwrap();
                            model.cordoned.insert(name);
                        }
                    }
                }
                Change::Register(nth) => {
                    if let Some(at) = model.launches.keys().nth(nth).copied() {
                        let (launch, _) = model.launches.remove(&at).unwrap();
                        let name = format!("m{i}");
                        let node = launch.node(&*name);
                        prop_assert_eq!(scheduler.registered(at, node.clone()).unwrap().len(), 0);
                        for binding in model.placed.values_mut() {
                            if binding.target == Target::Launch(at) {
                                binding.target = Target::Existing(name.as_str().into());
                            }
                        }
                        model.nodes.insert(name, node);
                    }
                }
            }
            prop_assert_eq!(model.waiting().len(), scheduler.waiting());
        }
        // With preemption who comes to see whether there is room would make some.
        if !pools && preemption == Preemption::Never {
            model.compare(&mut scheduler, fit)?;
        }
    }
}
