//! Preferences, and the order in which they are given up.
//!
//! They are asked for as if they were required, and given up one by one where that leaves a pod
//! without a place: pods that it wanted near, pods that it wanted far, labels of its node, spreads,
//! and at last that it keeps off nodes which ask for that. The order is Karpenter's
//! (`preferences.go`), and within a kind the heaviest goes first as there.

use crate::model::{
    Pod, PodAffinityTerm, Relaxation, Requirement, TopologySpread, Weighted, WhenUnsatisfiable,
};

/// How far a pod has been relaxed: how many of its preferences were given up.
pub(super) type Level = u32;

/// How many levels a pod has, the first included. `shuns` is whether some node or pool has a taint
/// that asks pods to stay away.
pub(super) fn levels(pod: &Pod, shuns: bool) -> Level {
    let preferences = &pod.preferences;
    let terms = preferences.pod_affinity.len()
        + preferences.pod_anti_affinity.len()
        + preferences.node_affinity.len()
        + optional(pod).count()
        + usize::from(shuns);
    u32::try_from(terms).unwrap_or(u32::MAX).saturating_add(1)
}

/// A pod's constraints at a level.
pub(super) struct Asked<'a> {
    pub(super) preferred: &'a [Requirement],
    pub(super) spreads: Vec<&'a TopologySpread>,
    pub(super) near: Vec<&'a PodAffinityTerm>,
    pub(super) apart: Vec<&'a PodAffinityTerm>,
    /// Those that it would like to be away from.
    pub(super) avoid: Vec<&'a PodAffinityTerm>,
    /// Whether it keeps off nodes that ask for that.
    pub(super) shy: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn at(pod: &'a Pod, level: Level, shuns: bool) -> Self {
        let mut dropped = Dropped(usize::try_from(level).unwrap_or(usize::MAX));
        let preferences = &pod.preferences;
        let near = dropped.of(&preferences.pod_affinity);
        let apart = dropped.of(&preferences.pod_anti_affinity);
        let labels = dropped.of(&preferences.node_affinity);
        let optional: Vec<&TopologySpread> = optional(pod).collect();
        let optional = dropped.rest(optional);
        let required = pod.topology_spread.iter();
        let required =
            required.filter(|s| s.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule);
        Self {
            // Only the heaviest is asked for: they may contradict each other.
            preferred: labels.first().map_or(&[], |term| term.preference.as_slice()),
            spreads: required.chain(optional).collect(),
            near: pod.pod_affinity.iter().chain(near.iter().map(|t| &t.preference)).collect(),
            apart: pod.pod_anti_affinity.iter().collect(),
            avoid: apart.iter().map(|term| &term.preference).collect(),
            shy: shuns && dropped.0 == 0,
        }
    }
}

/// How many are still to be dropped.
struct Dropped(usize);

impl Dropped {
    /// The heaviest first, without those that were dropped.
    fn of<'a, T>(&mut self, terms: &'a [Weighted<T>]) -> Vec<&'a Weighted<T>> {
        let mut sorted: Vec<&Weighted<T>> = terms.iter().collect();
        sorted.sort_by_key(|term| std::cmp::Reverse(term.weight));
        self.rest(sorted)
    }

    fn rest<T>(&mut self, terms: Vec<T>) -> Vec<T> {
        let gone = self.0.min(terms.len());
        self.0 -= gone;
        terms.into_iter().skip(gone).collect()
    }
}

fn optional(pod: &Pod) -> impl Iterator<Item = &TopologySpread> {
    let spreads = pod.topology_spread.iter();
    spreads.filter(|spread| spread.when_unsatisfiable == WhenUnsatisfiable::ScheduleAnyway)
}

/// What was given up at a level, in order.
pub(super) fn relaxations(pod: &Pod, level: Level) -> Vec<Relaxation> {
    let preferences = &pod.preferences;
    let counts = [
        (Relaxation::PodAffinity, preferences.pod_affinity.len()),
        (Relaxation::PodAntiAffinity, preferences.pod_anti_affinity.len()),
        (Relaxation::NodeAffinity, preferences.node_affinity.len()),
        (Relaxation::ScheduleAnyway, optional(pod).count()),
        (Relaxation::PreferNoSchedule, 1),
    ];
    let all = counts.into_iter().flat_map(|(what, n)| std::iter::repeat_n(what, n));
    all.take(usize::try_from(level).unwrap_or(usize::MAX)).collect()
}
