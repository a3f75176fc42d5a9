//! Karpenter's own benchmark of its scheduler, by the numbers and rules of
//! `scheduling_benchmark_test.go` and `fake/instancetype.go` of kubernetes-sigs/karpenter.
//!
//! Go's generator can't be had here, so which pod draws what differs: the draws come in the same
//! order, from the same lists and with the same seed, out of another sequence.

use std::sync::Arc;

use binpack::{
    CapacityType, Input, InstanceType, LabelSelector, NodePool, Offering, Pod, PodAffinityTerm,
    PoolLimits, Requirement, Resources, TopologySpread, Weighted, key,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::SEED;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const TYPES: u64 = 400;
/// Where a type is sold, and how: at one price everywhere.
const OFFERINGS: [(&str, CapacityType); 5] = [
    ("test-zone-1", CapacityType::Spot),
    ("test-zone-2", CapacityType::Spot),
    ("test-zone-1", CapacityType::OnDemand),
    ("test-zone-2", CapacityType::OnDemand),
    ("test-zone-3", CapacityType::OnDemand),
];

pub(super) const CPU_MILLI: [u64; 5] = [100, 250, 500, 1_000, 1_500];
pub(super) const MEMORY_MIB: [u64; 6] = [100, 256, 512, 1_024, 2_048, 4_096];
const LABELS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
const LABEL: &str = "my-label";
const AFFINITY_LABEL: &str = "my-affinity";

/// Five equal kinds of pods, and generic ones where the number leaves a rest: generic; spread over
/// zones; spread over hostnames; near their like by zone; alone among their like by hostname.
#[must_use]
pub fn diverse(pods: usize) -> Input {
    let mut draw = Draw::new();
    let fifth = pods / 5;
    let mut all = Vec::with_capacity(pods);
    let kinds = [
        (fifth, Kind::Generic),
        (fifth, Kind::Spread(key::ZONE)),
        (fifth, Kind::Spread(key::HOSTNAME)),
        (fifth, Kind::Near),
        (fifth, Kind::Apart),
        (pods - 5 * fifth, Kind::Generic),
    ];
    for (number, kind) in kinds {
        for _ in 0..number {
            all.push(draw.pod(format!("pod-{}", all.len()), kind));
        }
    }
    input(all)
}

/// Pods that are all alike and would like three things, of which the second can't be had by all:
/// the first zone; no like in the same zone, ten times as much as no like on the same node.
#[must_use]
pub fn preferring(pods: usize) -> Input {
    let mut draw = Draw::new();
    let nginx = LabelSelector::labels([("app", "nginx")]);
    let mut like_all = Pod::new("", draw.requests()).with_label("app", "nginx");
    let first_zone = vec![Requirement::is_in(key::ZONE, ["test-zone-1"])];
    like_all.preferences.node_affinity.push(Weighted::new(1, first_zone));
    for (weight, topology_key) in [(10, key::ZONE), (1, key::HOSTNAME)] {
        let term = PodAffinityTerm::new(topology_key, nginx.clone());
        like_all.preferences.pod_anti_affinity.push(Weighted::new(weight, term));
    }
    let named = |i: usize| {
        let mut pod = like_all.clone();
        pod.name = format!("pod-{i}").into();
        pod
    };
    input((0..pods).map(named).collect())
}

fn input(pods: Vec<Pod>) -> Input {
    let mut limits = PoolLimits::default();
    limits.cpu_milli = Some(10_000_000 * 1_000);
    limits.memory_bytes = Some(10_000_000 * GIB);
    let pools = vec![NodePool::new("default").with_limits(limits)];
    Input { pods, pools, instance_types: types(), ..Input::default() }
}

/// Type `i` of 400 has `i` cores, `2i` GiB and room for `10i` pods.
#[must_use]
pub fn types() -> Arc<[InstanceType]> {
    (1..=TYPES).map(instance_type).collect()
}

fn instance_type(cores: u64) -> InstanceType {
    let memory = 2 * cores * GIB;
    let capacity = Resources::new(cores * 1_000, memory).with_pods(10 * cores);
    let left = Resources::new(cores * 1_000 - 100, memory - 10 * MIB).with_pods(10 * cores);
    // A tenth of a dollar for a core and for 10^9 bytes, in millionths.
    let price = cores * 100_000 + memory / 10_000;
    let plain = InstanceType::new(format!("fake-it-{}", cores - 1), capacity)
        .with_allocatable(left)
        .with_label(key::OS, "linux")
        .with_label(key::ARCH, "amd64");
    OFFERINGS.into_iter().fold(plain, |it, (zone, capacity_type)| {
        it.with_offering(Offering::new(zone, capacity_type, price))
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Generic,
    Spread(&'static str),
    Near,
    Apart,
}

struct Draw(StdRng);

impl Draw {
    fn new() -> Self {
        Self(StdRng::seed_from_u64(SEED))
    }

    fn pod(&mut self, name: String, kind: Kind) -> Pod {
        let bare = Pod::new(name, Resources::default());
        let mut pod = match kind {
            Kind::Generic => bare.with_label(LABEL, self.label()),
            // The pods that are counted need not be like the one that is spread.
            Kind::Spread(topology_key) => {
                let bare = bare.with_label(LABEL, self.label());
                let counted = LabelSelector::labels([(LABEL, self.label())]);
                bare.spread(TopologySpread::new(topology_key, counted, 1))
            }
            Kind::Near => {
                let label = self.label();
                let alike = LabelSelector::labels([(AFFINITY_LABEL, label)]);
                bare.with_label(AFFINITY_LABEL, label).near(PodAffinityTerm::new(key::ZONE, alike))
            }
            Kind::Apart => {
                let alike = LabelSelector::labels([("app", "nginx")]);
                bare.with_label("app", "nginx").alone_among(alike)
            }
        };
        pod.requests = self.requests();
        pod
    }

    fn requests(&mut self) -> Resources {
        let cpu = self.of(&CPU_MILLI);
        Resources::new(cpu, self.of(&MEMORY_MIB) * MIB)
    }

    fn label(&mut self) -> &'static str {
        self.of(&LABELS)
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.0.random_range(0..list.len())]
    }
}
