//! Small clusters at random, against the same rules asked of every pair of pods.

use std::collections::BTreeSet;

use binpack::{
    HostPort, LabelSelector, Namespaces, Node, Pod, PodAffinityTerm, Rule, TopologySpread,
    breaches, key,
};
use proptest::prelude::*;

use crate::case::{Case, app, bare, node, pod, runs};

fn any_selector() -> impl Strategy<Value = LabelSelector> {
    prop_oneof![Just(app("a")), Just(app("b")), Just(LabelSelector::default())]
}

fn any_term() -> impl Strategy<Value = PodAffinityTerm> {
    let key = prop_oneof![Just(key::ZONE), Just(key::HOSTNAME)];
    let listed = Namespaces::Listed(vec!["x".into()]);
    let namespaces = prop_oneof![Just(Namespaces::Own), Just(Namespaces::All), Just(listed)];
    (key, any_selector(), namespaces).prop_map(|(key, selector, namespaces)| PodAffinityTerm {
        namespaces,
        ..PodAffinityTerm::new(key, selector)
    })
}

fn any_spread() -> impl Strategy<Value = TopologySpread> {
    let key = prop_oneof![Just(key::ZONE), Just(key::HOSTNAME)];
    (key, any_selector(), 1..3u32)
        .prop_map(|(key, selector, skew)| TopologySpread::new(key, selector, skew))
}

fn any_port() -> impl Strategy<Value = HostPort> {
    let ip = prop_oneof![Just(""), Just("10.0.0.1"), Just("10.0.0.2")];
    (ip, 1..3u16).prop_map(|(ip, port)| HostPort { ip: ip.into(), ..HostPort::tcp(port) })
}

/// A pod, the index of its node, and whether it is bound rather than running.
fn any_pod() -> impl Strategy<Value = (Pod, usize, bool)> {
    let some = |number| prop::sample::select(number);
    let asks = (
        prop::option::weighted(0.3, any_spread()),
        prop::option::weighted(0.3, any_term()),
        prop::option::weighted(0.3, any_term()),
        prop::option::weighted(0.3, any_port()),
    );
    (some(vec!["x", "y"]), some(vec!["a", "b"]), asks, 0..4usize, any::<bool>()).prop_map(
        |(namespace, app, (spread, near, apart, port), at, bound)| {
            let mut pod = pod("").in_namespace(namespace).with_label("app", app);
            pod.topology_spread.extend(spread);
            pod.pod_affinity.extend(near);
            pod.pod_anti_affinity.extend(apart);
            pod.host_ports.extend(port);
            (pod, at, bound)
        },
    )
}

/// Two nodes in one zone, one in another, one in none.
fn nodes() -> [Node; 4] {
    [node("n0", "a"), node("n1", "a"), node("n2", "b"), bare("n3")]
}

fn zone(at: usize) -> Option<&'static str> {
    ["a", "a", "b"].get(at).copied()
}

fn same_domain(key: &str, one: usize, other: usize) -> bool {
    if key == key::HOSTNAME {
        return one == other;
    }
    zone(one).is_some() && zone(one) == zone(other)
}

fn has_domain(key: &str, at: usize) -> bool {
    key == key::HOSTNAME || zone(at).is_some()
}

fn means(term: &PodAffinityTerm, of: &Pod, pod: &Pod) -> bool {
    let namespace = match &term.namespaces {
        Namespaces::Own => of.namespace == pod.namespace,
        Namespaces::All => true,
        Namespaces::Listed(listed) => listed.contains(&pod.namespace),
    };
    namespace && term.selector.matches(&pod.labels)
}

/// The rules that a pod breaks together with any other.
fn broken(pods: &[(Pod, usize, bool)], me: usize) -> BTreeSet<Rule> {
    let (pod, at, bound) = &pods[me];
    let others = || pods.iter().enumerate().filter(|(other, _)| *other != me).map(|(_, of)| of);
    let mut rules = BTreeSet::new();
    for (other, there, other_bound) in others() {
        let plans_doing = *bound || *other_bound;
        let clash = |term: &PodAffinityTerm| {
            same_domain(&term.topology_key, *at, *there) && means(term, pod, other)
        };
        if plans_doing && pod.pod_anti_affinity.iter().any(clash) {
            rules.insert(Rule::PodAntiAffinity);
        }
        let shared =
            |port: &HostPort| at == there && other.host_ports.iter().any(|o| o.conflicts(port));
        if plans_doing && pod.host_ports.iter().any(shared) {
            rules.insert(Rule::HostPorts);
        }
    }
    let near = |term: &PodAffinityTerm| {
        let key = &term.topology_key;
        let meant = || others().filter(|(other, ..)| means(term, pod, other));
        let runs = meant().any(|(_, there, bound)| !bound && has_domain(key, *there));
        let like = |(other, _, bound): &&(Pod, usize, bool)| {
            let own = term.namespaces != Namespaces::Own || other.namespace == pod.namespace;
            *bound && own && other.pod_affinity.contains(term) && means(term, other, other)
        };
        let elsewhere = others().filter(like).any(|(_, there, _)| !same_domain(key, *at, *there));
        let first = means(term, pod, pod) && !runs && !elsewhere;
        has_domain(key, *at)
            && (first || meant().any(|(_, there, _)| same_domain(key, *at, *there)))
    };
    if *bound && !pod.pod_affinity.iter().all(near) {
        rules.insert(Rule::PodAffinity);
    }
    if *bound && !pod.topology_spread.iter().all(|spread| even(pods, me, spread)) {
        rules.insert(Rule::Spread);
    }
    rules
}

fn even(pods: &[(Pod, usize, bool)], me: usize, spread: &TopologySpread) -> bool {
    let (pod, at, _) = &pods[me];
    let key = &spread.topology_key;
    let like = |(other, _, bound): &&(Pod, usize, bool)| {
        other.namespace == pod.namespace
            && spread.selector.matches(&other.labels)
            && (!bound || other.topology_spread.contains(spread))
    };
    let count = |place: usize| {
        pods.iter().filter(like).filter(|(_, there, _)| same_domain(key, place, *there)).count()
    };
    let fewest = if **key == *key::HOSTNAME { 0 } else { count(0).min(count(2)) };
    has_domain(key, *at) && count(*at) <= fewest + spread.max_skew as usize
}

proptest! {
    #[test]
    fn pods_are_judged_as_pair_by_pair(mut pods in prop::collection::vec(any_pod(), 0..9)) {
        let mut nodes = nodes();
        for (i, (pod, at, bound)) in pods.iter_mut().enumerate() {
            pod.name = format!("p{i}").into();
            if !*bound {
                nodes[*at] = nodes[*at].clone().with_pod(runs(pod.clone()));
            }
        }
        let mut case = Case::on(nodes);
        for (pod, at, _) in pods.iter().filter(|(_, _, bound)| *bound) {
            case = case.bind(pod.clone(), &format!("n{at}"));
        }
        let found = breaches(&case.input, &case.plan);
        let expected: BTreeSet<Rule> = (0..pods.len()).flat_map(|me| broken(&pods, me)).collect();
        let rules: BTreeSet<Rule> = found.iter().map(|breach| breach.rule).collect();
        prop_assert_eq!(rules, expected, "{:#?}", found);
    }
}
