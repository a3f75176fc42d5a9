//! Whether a pod that a plan leaves waiting could simply have been placed.

use binpack::{Binding, Config, GPU_MILLI, Input, Launch, Node, Plan, Pod, Target, breaches, plan};

/// A plan that is carried out, and where a pod could still go.
pub(crate) struct Left<'a> {
    input: &'a Input,
    plan: &'a Plan,
    /// The nodes that exist, then the launches, with their pods.
    after: Vec<Node>,
}

impl<'a> Left<'a> {
    pub(crate) fn of(input: &'a Input, plan: &'a Plan) -> Self {
        Self { input, plan, after: after(input, plan) }
    }

    /// Where the pod could go by the validator's word, if anywhere: to a node that exists, to a
    /// launch, or to one launch more.
    pub(crate) fn place(&self, pod: &Pod) -> Option<String> {
        for (at, node) in self.after.iter().enumerate() {
            let target = match self.input.nodes.get(at) {
                Some(node) => Target::Existing(node.name.clone()),
                None => Target::Launch(at - self.input.nodes.len()),
            };
            if self.keeps_rules(self.with(pod, target, gpus(pod, node))) {
                return Some(format!("{} has room", node.name));
            }
        }
        let launch = self.launch(pod)?;
        let mut plan = self.without(pod);
        plan.bindings.push(Binding::new(
            pod.name.clone(),
            Target::Launch(plan.launches.len()),
            launch.1,
        ));
        plan.cost_per_hour_micros += launch.0.price_micros;
        let name = format!("{} in {} can be launched", launch.0.instance_type, launch.0.zone);
        plan.launches.push(launch.0);
        self.keeps_rules(Some(plan)).then_some(name)
    }

    fn keeps_rules(&self, plan: Option<Plan>) -> bool {
        plan.is_some_and(|plan| breaches(self.input, &plan).is_empty())
    }

    fn without(&self, pod: &Pod) -> Plan {
        let mut plan = self.plan.clone();
        plan.unplaced.retain(|unplaced| unplaced.pod != pod.name);
        plan
    }

    /// The plan with one binding more.
    fn with(&self, pod: &Pod, target: Target, gpus: Vec<u32>) -> Option<Plan> {
        let mut plan = self.without(pod);
        if let Target::Launch(index) = target {
            let launch = &mut plan.launches[index];
            let choosy =
                |pool: &binpack::NodePool| pool.name == launch.pool && !pool.min_values.is_empty();
            // What could take its place would have to be found again.
            if self.input.pools.iter().any(choosy) {
                return None;
            }
            launch.alternatives.clear();
            launch.requested = launch.requested.checked_add(&pod.requests.clone().with_pods(1))?;
        }
        plan.bindings.push(Binding::new(pod.name.clone(), target, gpus));
        Some(plan)
    }

    /// What would be launched for the pod alone, and its GPUs there.
    fn launch(&self, pod: &Pod) -> Option<(Launch, Vec<u32>)> {
        let mut alone = Input { pods: vec![pod.clone()], nodes: Vec::new(), ..self.input.clone() };
        for group in &mut alone.node_groups {
            let has = self.after.iter().filter(|node| node.group.as_ref() == Some(&group.name));
            let has = u32::try_from(has.count()).expect("few");
            (group.min_size, group.max_size) = (0, group.max_size.saturating_sub(has));
        }
        let mut plan = plan(&alone, &Config::default()).ok()?;
        Some((plan.launches.pop()?, plan.bindings.pop()?.gpus))
    }
}

/// The nodes as they are once the plan is carried out, the launches as nodes at the end.
pub(crate) fn after(input: &Input, plan: &Plan) -> Vec<Node> {
    let mut nodes = input.nodes.clone();
    let launches = plan.launches.iter().enumerate();
    nodes.extend(launches.map(|(i, launch)| launch.node(format!("new{i}"))));
    for binding in &plan.bindings {
        let at = match &binding.target {
            Target::Existing(name) => nodes.iter().position(|node| node.name == *name),
            Target::Launch(index) => Some(input.nodes.len() + index),
        };
        let pod = input.pods.iter().find(|pod| pod.name == binding.pod).expect("validated");
        assert!(nodes[at.expect("validated")].take(&pod.requests, &binding.gpus), "validated");
    }
    nodes
}

/// The devices of a node that suit a pod best: the fullest that has room for a share.
fn gpus(pod: &Pod, node: &Node) -> Vec<u32> {
    let milli = pod.requests.gpu_milli;
    let used = |gpu: &u32| node.gpu_used_milli.get(*gpu as usize).copied().unwrap_or(0);
    let devices = u32::try_from(node.allocatable.gpu_milli / GPU_MILLI).expect("few");
    let each = milli.min(GPU_MILLI);
    let mut free: Vec<u32> = (0..devices).filter(|gpu| used(gpu) + each <= GPU_MILLI).collect();
    free.truncate(usize::try_from(milli.div_ceil(GPU_MILLI)).expect("few"));
    free
}
