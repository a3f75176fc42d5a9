//! Why a node stays.

use super::world::World;
use crate::model::{DisruptionReason, KeptKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    NoPool,
    Disrupting,
    TakesPending,
    Protected,
    Policy,
    Unlisted,
    Unpriced,
    /// This pod must not be evicted.
    PodProtected(usize),
    Gang(usize),
    /// This budget of pods, for this pod.
    PodBudget(usize, usize),
    Budget(DisruptionReason),
    MinSize,
    NoPlace(usize),
    Neighbours,
    TooLittle,
    CutShort,
}

impl Why {
    pub(super) fn kind(self) -> KeptKind {
        match self {
            Self::NoPool => KeptKind::NoPool,
            Self::Disrupting => KeptKind::Disrupting,
            Self::TakesPending => KeptKind::TakesPending,
            Self::Protected => KeptKind::DoNotDisrupt,
            Self::Policy => KeptKind::Policy,
            Self::Unlisted => KeptKind::Unlisted,
            Self::Unpriced => KeptKind::Unpriced,
            Self::PodProtected(_) => KeptKind::Pod,
            Self::Gang(_) => KeptKind::Gang,
            Self::PodBudget(..) => KeptKind::PodDisruptionBudget,
            Self::Budget(_) => KeptKind::Budget,
            Self::MinSize => KeptKind::MinSize,
            Self::NoPlace(_) => KeptKind::NoPlace,
            Self::Neighbours => KeptKind::Neighbours,
            Self::TooLittle => KeptKind::TooLittle,
            Self::CutShort => KeptKind::CutShort,
        }
    }

    pub(super) fn words(self, world: &World<'_>) -> String {
        let name = |pod: usize| &world.pods[pod].pod.name;
        match self {
            Self::NoPool => {
                "it belongs to no node pool and no group: only nodes of those are taken away".into()
            }
            Self::Disrupting => "it is on its way out already".into(),
            Self::TakesPending => "it takes a pod that waited".into(),
            Self::Protected => "do_not_disrupt is set on the node".into(),
            Self::Policy => "its pool's policy keeps it: change disruption.policy".into(),
            Self::Unlisted => {
                "more is used there than its listed pods request: list all of them".into()
            }
            Self::Unpriced => "its price is not known: set price_micros".into(),
            Self::PodProtected(pod) => format!("do_not_disrupt is set on pod {}", name(pod)),
            Self::Gang(pod) => {
                format!("pod {} belongs to a gang, which would be torn", name(pod))
            }
            Self::PodBudget(budget, pod) => format!(
                "pod disruption budget {} allows no further eviction, of pod {}",
                world.input.disruption_budgets[budget].name,
                name(pod)
            ),
            Self::Budget(reason) => {
                format!("its pool's disruption budget allows no further node that is {reason}")
            }
            Self::MinSize => "its node group would fall below its min_size: lower that".into(),
            Self::NoPlace(pod) => {
                format!("pod {} has no place on other nodes or on cheaper new ones", name(pod))
            }
            Self::Neighbours => {
                "pods that stay would lose a neighbour, or be spread less evenly".into()
            }
            Self::TooLittle => {
                "nothing that is cheaper by more than the moves cost takes its pods".into()
            }
            Self::CutShort => "the run was stopped before it was looked at".into(),
        }
    }
}
