//! Plans that are made by hand.

use binpack::{
    Binding, CapacityType, Input, InstanceType, LabelSelector, Launch, Node, NodePool, Offering,
    Plan, Pod, Reason, ReasonKind, Resources, Rule, RunningPod, Target, Unplaced, breaches, key,
};

use crate::fixture::{GIB, answer, question};

/// A question and an answer to it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) input: Input,
    pub(crate) plan: Plan,
}

impl Case {
    /// Nodes that exist, and nothing to launch.
    pub(crate) fn on(nodes: impl IntoIterator<Item = Node>) -> Self {
        let input = Input { nodes: nodes.into_iter().collect(), ..Input::default() };
        Self { input, plan: Plan::default() }
    }

    /// No nodes, and a pool that may launch these.
    pub(crate) fn launching(types: impl IntoIterator<Item = InstanceType>) -> Self {
        let mut case = Self::on([]);
        case.input.pools.push(NodePool::new("p"));
        case.input.instance_types = types.into_iter().collect();
        case
    }

    /// With one more pod, which the plan binds to a node.
    pub(crate) fn bind(mut self, pod: Pod, node: &str) -> Self {
        self.plan.bindings.push(Binding::new(
            pod.name.clone(),
            Target::Existing(node.into()),
            vec![],
        ));
        self.input.pods.push(pod);
        self
    }

    /// With one more pod, which stays pending.
    pub(crate) fn leave(mut self, pod: Pod) -> Self {
        let reason = Reason::new(ReasonKind::Pods, "no place");
        self.plan.unplaced.push(Unplaced::new(pod.name.clone(), reason));
        self.input.pods.push(pod);
        self
    }

    /// With one more launch of the first pool, on demand, for these pods.
    pub(crate) fn launch(self, it: &str, zone: &str, pods: impl IntoIterator<Item = Pod>) -> Self {
        self.launch_paid(CapacityType::OnDemand, it, zone, pods)
    }

    pub(crate) fn launch_paid(
        mut self,
        capacity_type: CapacityType,
        it: &str,
        zone: &str,
        pods: impl IntoIterator<Item = Pod>,
    ) -> Self {
        let pool = &self.input.pools[0];
        let it = self.input.instance_types.iter().find(|of| &*of.name == it).unwrap();
        let sold = |o: &&Offering| &*o.zone == zone && o.capacity_type == capacity_type;
        let mut launch = any_launch();
        launch.pool = pool.name.clone();
        launch.instance_type = it.name.clone();
        launch.zone = zone.into();
        launch.capacity_type = capacity_type;
        launch.price_micros = it.offerings.iter().find(sold).unwrap().price_micros;
        launch.capacity = it.capacity.clone();
        launch.allocatable = it.allocatable.clone();
        launch.taints.clone_from(&pool.taints);
        launch.alternatives = Vec::new();
        launch.labels = it.labels.clone();
        launch.labels.extend(pool.labels.clone());
        launch.labels.extend(binpack::labels([
            (key::ZONE, zone),
            (key::CAPACITY_TYPE, capacity_type.as_str()),
            (key::INSTANCE_TYPE, &it.name),
            (key::NODE_POOL, &pool.name),
        ]));
        launch.daemon_overhead = pool.daemon_overhead.clone();
        launch.requested = launch.daemon_overhead.clone();
        for pod in pods {
            let target = Target::Launch(self.plan.launches.len());
            self.plan.bindings.push(Binding::new(pod.name.clone(), target, vec![]));
            let one = pod.requests.clone().with_pods(1);
            launch.requested = launch.requested.checked_add(&one).unwrap();
            self.input.pods.push(pod);
        }
        self.plan.cost_per_hour_micros += launch.price_micros;
        self.plan.launches.push(launch);
        self
    }

    /// With a daemon on one of the launches.
    pub(crate) fn overhead(mut self, launch: usize, daemon: &Resources) -> Self {
        let launch = &mut self.plan.launches[launch];
        let one = daemon.clone().with_pods(1);
        launch.daemon_overhead = launch.daemon_overhead.checked_add(&one).unwrap();
        launch.requested = launch.requested.checked_add(&one).unwrap();
        self
    }

    /// The same, changed.
    pub(crate) fn but(mut self, change: impl FnOnce(&mut Input, &mut Plan)) -> Self {
        change(&mut self.input, &mut self.plan);
        self
    }

    #[track_caller]
    pub(crate) fn keeps_all(&self) {
        self.input.check().unwrap();
        assert_eq!(breaches(&self.input, &self.plan), vec![]);
    }

    /// Breaks this rule, once, and no other.
    #[track_caller]
    pub(crate) fn breaks(&self, rule: Rule) {
        self.input.check().unwrap();
        let found = breaches(&self.input, &self.plan);
        let rules: Vec<Rule> = found.iter().map(|breach| breach.rule).collect();
        assert_eq!(rules, [rule], "{found:#?}");
    }
}

/// A launch to be overwritten: only a plan has one.
fn any_launch() -> Launch {
    let pod = Pod::new("any", Resources::new(1, 1));
    answer(&question(vec![pod], vec![])).launches.remove(0)
}

pub(crate) fn pod(name: &str) -> Pod {
    Pod::new(name, Resources::new(100, 1))
}

/// A pod of an application.
pub(crate) fn of(app: &str, name: &str) -> Pod {
    pod(name).with_label("app", app)
}

pub(crate) fn app(app: &str) -> LabelSelector {
    LabelSelector::labels([("app", app)])
}

/// A node without labels.
pub(crate) fn bare(name: &str) -> Node {
    Node::new(name, Resources::new(4_000, 8 * GIB).with_pods(20))
}

pub(crate) fn node(name: &str, zone: &str) -> Node {
    bare(name).with_label(key::ZONE, zone)
}

/// One node in each of three zones, of the zone's name.
pub(crate) fn three_zones() -> [Node; 3] {
    ["a", "b", "c"].map(|zone| node(zone, zone))
}

pub(crate) fn runs(pod: Pod) -> RunningPod {
    RunningPod::new(pod)
}

/// A type that is sold on demand in some zones.
pub(crate) fn sold(name: &str, cpu_milli: u64, price: u64, zones: &[&str]) -> InstanceType {
    let it = InstanceType::new(name, Resources::new(cpu_milli, 8 * GIB).with_pods(20));
    let offering = |zone: &&str| Offering::new(*zone, CapacityType::OnDemand, price);
    zones.iter().map(offering).fold(it, InstanceType::with_offering)
}
