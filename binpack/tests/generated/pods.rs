//! Pods from small universes, so that they have to do with one another.

use binpack::{
    GPU_MILLI, HostPort, LabelSelector, Namespaces, NodeInclusion, Pod, PodAffinityTerm, Protocol,
    Requirement, Resources, Toleration, TopologySpread, Volume, Weighted, WhenUnsatisfiable, key,
};
use proptest::prelude::*;
use proptest::sample::select;

const GIB: u64 = 1 << 30;

/// A condition on the labels of nodes.
pub(crate) fn any_requirement() -> impl Strategy<Value = Requirement> {
    let zone = || select(vec!["a", "b", "c"]);
    prop_oneof![
        zone().prop_map(|zone| Requirement::is_in(key::ZONE, [zone])),
        zone().prop_map(|zone| Requirement::not_in(key::ZONE, [zone])),
        Just(Requirement::is_in(key::ZONE, ["a", "b"])),
        Just(Requirement::is_in("disk", ["ssd"])),
        Just(Requirement::exists("disk")),
        Just(Requirement::does_not_exist("disk")),
        (0..4i64).prop_map(|n| Requirement::greater_than("generation", n)),
        (1..5i64).prop_map(|n| Requirement::less_than("generation", n)),
        select(vec!["spot", "on-demand"])
            .prop_map(|how| Requirement::is_in(key::CAPACITY_TYPE, [how])),
    ]
}

fn any_toleration() -> impl Strategy<Value = Toleration> {
    prop_oneof![
        Just(Toleration::everything()),
        select(vec!["team", "soft"]).prop_map(Toleration::exists),
        Just(Toleration::equal("team", "x")),
        Just(Toleration::everything().for_effect(binpack::Effect::NoSchedule)),
    ]
}

/// What a pod needs.
pub(crate) fn any_requests() -> impl Strategy<Value = Resources> {
    let gpu = prop_oneof![8 => Just(0), 2 => select(vec![300, 500, 600]), 1 => select(vec![GPU_MILLI, 2 * GPU_MILLI])];
    let widgets = prop_oneof![6 => Just(0u64), 1 => Just(1)];
    let best_effort = prop::bool::weighted(0.1);
    (select(vec![0, 500, 1_000, 2_000, 3_000]), 0..4u64, gpu, widgets, best_effort).prop_map(
        |(cpu, gib, gpu, widgets, best_effort)| {
            let requests = Resources::new(cpu, gib * GIB);
            let requests = if best_effort { requests.best_effort() } else { requests };
            requests.with_gpu_milli(gpu).with_extended("x/widget", widgets)
        },
    )
}

fn any_selector() -> impl Strategy<Value = LabelSelector> {
    prop_oneof![
        4 => select(vec!["x", "y"]).prop_map(|app| LabelSelector::labels([("app", app)])),
        1 => Just(LabelSelector::default()),
        1 => Just(LabelSelector { requirements: vec![Requirement::not_in("app", ["x"])] }),
        1 => Just(LabelSelector { requirements: vec![Requirement::exists("app")] }),
    ]
}

fn any_topology() -> impl Strategy<Value = &'static str> {
    select(vec![key::HOSTNAME, key::ZONE, "disk", key::CAPACITY_TYPE])
}

fn any_term() -> impl Strategy<Value = PodAffinityTerm> {
    let namespaces = prop_oneof![
        4 => Just(Namespaces::Own),
        1 => Just(Namespaces::All),
        1 => Just(Namespaces::Listed(vec!["other".into()])),
    ];
    (any_topology(), any_selector(), namespaces).prop_map(|(key, selector, namespaces)| {
        PodAffinityTerm { namespaces, ..PodAffinityTerm::new(key, selector) }
    })
}

fn any_spread() -> impl Strategy<Value = TopologySpread> {
    let least = prop_oneof![3 => Just(None), 1 => (1..4u32).prop_map(Some)];
    (any_topology(), any_selector(), 1..3u32, least, any::<[bool; 3]>()).prop_map(
        |(key, selector, skew, least, [anyway, any_affinity, honor_taints])| {
            let mut spread = TopologySpread::new(key, selector, skew);
            spread.min_domains = least;
            if anyway {
                spread.when_unsatisfiable = WhenUnsatisfiable::ScheduleAnyway;
            }
            if any_affinity {
                spread.node_affinity_policy = NodeInclusion::Ignore;
            }
            if honor_taints {
                spread.node_taints_policy = NodeInclusion::Honor;
            }
            spread
        },
    )
}

fn any_port() -> impl Strategy<Value = HostPort> {
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp]);
    (select(vec![80, 81]), select(vec!["", "10.0.0.1"]), protocol)
        .prop_map(|(port, ip, protocol)| HostPort { ip: ip.into(), port, protocol })
}

fn any_volume() -> impl Strategy<Value = Volume> {
    let places = prop::collection::vec(select(vec!["a", "b"]), 0..2);
    (select(vec!["d1", "d2"]), select(vec!["v1", "v2", "own"]), places).prop_map(
        |(driver, handle, places)| {
            let at = |zone| vec![Requirement::is_in(key::ZONE, [zone])];
            places.into_iter().map(at).fold(Volume::new(driver, handle), Volume::reached_where)
        },
    )
}

/// One thing that a pod asks of nodes or other pods.
#[derive(Debug, Clone)]
enum Wish {
    Require(Requirement),
    Either(Vec<Vec<Requirement>>),
    Tolerate(Toleration),
    Priority(i32),
    Port(HostPort),
    Volume(Volume),
    Prefer(u32, Requirement),
    Spread(TopologySpread),
    Near(PodAffinityTerm),
    Apart(PodAffinityTerm),
    PreferNear(u32, PodAffinityTerm),
    PreferApart(u32, PodAffinityTerm),
}

impl Wish {
    fn grant(self, pod: &mut Pod) {
        let wants = &mut pod.preferences;
        match self {
            Self::Require(of) => pod.requirements.push(of),
            Self::Either(of) => pod.node_affinity = of,
            Self::Tolerate(of) => pod.tolerations.push(of),
            Self::Priority(of) => pod.priority = of,
            Self::Port(of) => pod.host_ports = vec![of],
            Self::Volume(of) => pod.volumes.push(of),
            Self::Prefer(weight, of) => wants.node_affinity.push(Weighted::new(weight, vec![of])),
            Self::Spread(of) => pod.topology_spread.push(of),
            Self::Near(of) => pod.pod_affinity.push(of),
            Self::Apart(of) => pod.pod_anti_affinity.push(of),
            Self::PreferNear(weight, of) => wants.pod_affinity.push(Weighted::new(weight, of)),
            Self::PreferApart(weight, of) => {
                wants.pod_anti_affinity.push(Weighted::new(weight, of));
            }
        }
    }
}

fn any_wish_of_nodes() -> impl Strategy<Value = Wish> {
    let terms = prop::collection::vec(prop::collection::vec(any_requirement(), 1..3), 1..3);
    prop_oneof![
        3 => any_requirement().prop_map(Wish::Require),
        1 => terms.prop_map(Wish::Either),
        2 => any_toleration().prop_map(Wish::Tolerate),
        1 => (-1..3i32).prop_map(Wish::Priority),
        1 => (1..4u32, any_requirement()).prop_map(|(weight, of)| Wish::Prefer(weight, of)),
    ]
}

fn any_wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        6 => any_wish_of_nodes(),
        1 => any_port().prop_map(Wish::Port),
        1 => any_volume().prop_map(Wish::Volume),
        3 => any_spread().prop_map(Wish::Spread),
        2 => any_term().prop_map(Wish::Near),
        2 => any_term().prop_map(Wish::Apart),
        1 => (1..4u32, any_term()).prop_map(|(weight, of)| Wish::PreferNear(weight, of)),
        1 => (1..4u32, any_term()).prop_map(|(weight, of)| Wish::PreferApart(weight, of)),
    ]
}

fn any_member(wish: impl Strategy<Value = Wish>, most: usize) -> impl Strategy<Value = Pod> {
    let app = prop_oneof![2 => Just(Some("x")), 2 => Just(Some("y")), 1 => Just(None)];
    let namespace = prop_oneof![5 => Just("default"), 1 => Just("other")];
    (any_requests(), app, namespace, prop::collection::vec(wish, 0..=most)).prop_map(
        |(requests, app, namespace, wishes)| {
            let mut pod = Pod::new("", requests).in_namespace(namespace);
            if let Some(app) = app {
                pod = pod.with_label("app", app);
            }
            for wish in wishes {
                wish.grant(&mut pod);
            }
            pod
        },
    )
}

/// A pod that runs: it may keep others away.
pub(crate) fn any_running() -> impl Strategy<Value = Pod> {
    let wish = prop_oneof![
        2 => any_term().prop_map(Wish::Apart),
        1 => any_port().prop_map(Wish::Port),
        1 => any_volume().prop_map(Wish::Volume),
        1 => any_spread().prop_map(Wish::Spread),
    ];
    any_member(wish, 1)
}

fn named(deployments: Vec<(Pod, usize)>) -> Vec<Pod> {
    let mut pods = Vec::new();
    for (d, (pod, replicas)) in deployments.into_iter().enumerate() {
        for r in 0..replicas {
            let mut pod = pod.clone();
            pod.name = format!("p{d}-{r}").into();
            for volume in pod.volumes.iter_mut().filter(|volume| &*volume.handle == "own") {
                volume.handle = pod.name.clone();
            }
            pods.push(pod);
        }
    }
    pods
}

/// Deployments of pods with every kind of constraint.
pub(crate) fn any_pods() -> impl Strategy<Value = Vec<Pod>> {
    prop::collection::vec((any_member(any_wish(), 3), 1..4usize), 0..6).prop_map(named)
}

/// Pods that ask nothing of one another.
pub(crate) fn any_loners() -> impl Strategy<Value = Vec<Pod>> {
    prop::collection::vec((any_member(any_wish_of_nodes(), 3), 1..8usize), 0..6).prop_map(named)
}
