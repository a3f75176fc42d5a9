//! Every pod by itself: that it is named once, and that its node takes it.

use std::collections::{HashMap, HashSet};

use super::labels::{alternative_left, repelled, satisfied};
use super::state::{Placed, Site, State};
use super::usage::Usage;
use super::{Breach, Rule};

/// A name that two objects share names neither: what a plan says of it can't be judged.
pub(super) fn names(state: &State<'_>) -> Vec<Breach> {
    let input = state.input;
    let running = input.nodes.iter().flat_map(|node| &node.pods).map(|running| &running.pod);
    let pods = twice(input.pods.iter().chain(running).map(|pod| &*pod.name));
    let nodes = twice(input.nodes.iter().map(|node| &*node.name));
    let groups = input.node_groups.iter().map(|group| &*group.name);
    let pools = twice(input.pools.iter().map(|pool| &*pool.name).chain(groups));
    let types = twice(input.instance_types.iter().map(|it| &*it.name));
    let gangs = twice(input.gangs.iter().map(|gang| &*gang.name));
    let found = [
        (Rule::EveryPodOnce, "pod", pods),
        (Rule::TargetExists, "node", nodes),
        (Rule::Launch, "pool or group", pools),
        (Rule::Launch, "instance type", types),
        (Rule::Gang, "gang", gangs),
    ];
    let found = found.into_iter().filter_map(|(rule, what, name)| Some((rule, what, name?)));
    let breach =
        |(rule, what, name)| Breach::new(rule, format!("the input has {what} {name} twice"));
    found.map(breach).collect()
}

pub(super) fn every_pod_once(state: &State<'_>) -> Vec<Breach> {
    let bound = state.plan.bindings.iter().map(|binding| &*binding.pod);
    let unplaced = state.plan.unplaced.iter().map(|unplaced| &*unplaced.pod);
    let mut times: HashMap<&str, u32> = HashMap::new();
    let mut found = Vec::new();
    let mut breach = |message| found.push(Breach::new(Rule::EveryPodOnce, message));
    for pod in bound.chain(unplaced) {
        *times.entry(pod).or_default() += 1;
        if !state.pods.contains_key(pod) {
            breach(format!("pod {pod} is not in the input"));
        }
    }
    for pod in &state.input.pods {
        match times.get(&*pod.name) {
            Some(1) => {}
            Some(n) => breach(format!("pod {} is named {n} times", pod.name)),
            None => breach(format!("pod {} is forgotten", pod.name)),
        }
    }
    found
}

pub(super) fn targets(state: &State<'_>) -> Vec<Breach> {
    let bindings = state.plan.bindings.iter();
    let known = bindings.filter(|binding| state.pods.contains_key(&*binding.pod));
    let wrong = known.filter_map(|binding| {
        let (pod, target) = (&binding.pod, &binding.target);
        let problem = match state.site(target).map(|site| state.input.nodes.get(site)) {
            None => "does not exist",
            Some(Some(node)) if node.is_leaving() => "is on its way out",
            Some(_) => return None,
        };
        Some(Breach::new(Rule::TargetExists, format!("pod {pod}: {target:?} {problem}")))
    });
    wrong.collect()
}

/// Labels, taints, amounts and devices.
pub(super) fn nodes(state: &State<'_>) -> Vec<Breach> {
    let nodes = state.input.nodes.iter().map(|node| Usage::of_node(node, state.evicted(node)));
    let launches = state.plan.launches.iter().map(Usage::of_launch);
    let mut found = Vec::new();
    for (site, mut usage) in state.sites.iter().zip(nodes.chain(launches)) {
        for placed in site.bound() {
            let problems = unwelcome(placed, site, &mut usage);
            found.extend(problems.into_iter().map(|(rule, problem)| {
                Breach::new(rule, format!("pod {} on {}: {problem}", placed.pod.name, site.id))
            }));
        }
        let over = usage.over().into_iter();
        found.extend(
            over.map(|problem| Breach::new(Rule::Capacity, format!("{}: {problem}", site.id))),
        );
    }
    found
}

/// Why a node does not take a pod, which is counted there all the same.
fn unwelcome<'a>(
    placed: &Placed<'a>,
    site: &Site<'a>,
    usage: &mut Usage<'a>,
) -> Vec<(Rule, String)> {
    let pod = placed.pod;
    let mut found = Vec::new();
    if let Some(unmet) = pod.requirements.iter().find(|r| !satisfied(r, site.labels)) {
        found.push((Rule::Requirements, format!("{unmet} is not met")));
    } else if !alternative_left(&pod.node_affinity, site.labels) {
        found.push((Rule::Requirements, "none of node_affinity is met".into()));
    }
    if let Some(taint) = repelled(site.taints, &pod.tolerations) {
        found.push((Rule::Taints, format!("{taint} is not tolerated")));
    }
    let gpus = placed.binding.map(|binding| &*binding.gpus).unwrap_or_default();
    if let Some(problem) = usage.take_gpus(pod.requests.gpu_milli, gpus) {
        found.push((Rule::Gpus, problem));
    }
    usage.add(&pod.requests);
    found
}

/// The first name that was there before.
fn twice<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}
