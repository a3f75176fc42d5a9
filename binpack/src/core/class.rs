//! What pods ask of a node besides room.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::domain::Domain;
use crate::error::Result;
use crate::model::{Effect, Pod, Requirement, Taint, Toleration, TolerationOperator};

/// Domains by key: all must allow the node's label.
pub(super) type Domains = BTreeMap<Arc<str>, Domain>;

pub(super) fn domains<'a>(
    requirements: impl IntoIterator<Item = &'a Requirement>,
) -> Result<Domains> {
    let mut all = Domains::new();
    for requirement in requirements {
        let domain = Domain::of(requirement)?;
        let both = all.get(&requirement.key).map(|earlier| earlier.intersect(&domain));
        all.insert(requirement.key.clone(), both.unwrap_or(domain));
    }
    Ok(all)
}

/// Conditions on a node that pods have in common.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) domains: Domains,
    /// Of each of these, one must hold: the alternatives of the node affinity, and the places from
    /// which each volume can be reached.
    pub(super) any_of: Vec<Vec<Domains>>,
    pub(super) tolerations: Vec<Toleration>,
    /// Whether taints that only ask pods to stay away keep them out.
    pub(super) shy: bool,
}

/// What tells classes apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    requirements: Vec<Requirement>,
    /// Sets of alternatives: the node affinity's, and one for each volume that can't be reached
    /// from everywhere.
    alternatives: Vec<Vec<Vec<Requirement>>>,
    tolerations: Vec<Toleration>,
    shy: bool,
}

impl ClassKey {
    /// What a pod requires of nodes itself: its volumes and preferences apart.
    pub(super) fn plain(pod: &Pod) -> Self {
        let alternatives = std::iter::once(&pod.node_affinity).filter(|terms| !terms.is_empty());
        Self {
            requirements: pod.requirements.clone(),
            alternatives: alternatives.cloned().collect(),
            tolerations: pod.tolerations.clone(),
            shy: false,
        }
    }

    /// `preferred` is the node affinity that is asked for as if it were required.
    pub(super) fn of(pod: &Pod, preferred: &[Requirement], shy: bool) -> Self {
        let volumes = pod.volumes.iter().map(|volume| &volume.topologies);
        let sets = std::iter::once(&pod.node_affinity).chain(volumes);
        Self {
            requirements: pod.requirements.iter().chain(preferred).cloned().collect(),
            alternatives: sets.filter(|terms| !terms.is_empty()).cloned().collect(),
            tolerations: pod.tolerations.clone(),
            shy,
        }
    }
}

impl Class {
    pub(super) fn new(key: &ClassKey) -> Result<Self> {
        let alternatives =
            |terms: &Vec<Vec<Requirement>>| terms.iter().map(domains).collect::<Result<Vec<_>>>();
        Ok(Self {
            domains: domains(&key.requirements)?,
            any_of: key.alternatives.iter().map(alternatives).collect::<Result<_>>()?,
            tolerations: key.tolerations.clone(),
            shy: key.shy,
        })
    }

    pub(super) fn allows<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        let all = |of: &Domains| of.iter().all(|(key, domain)| domain.allows(label(key)));
        all(&self.domains) && self.any_of.iter().all(|terms| terms.iter().any(all))
    }

    /// Whether no label is asked for.
    pub(super) fn asks_nothing(&self) -> bool {
        self.domains.is_empty() && self.any_of.is_empty()
    }

    /// Whether every taint that keeps pods out is tolerated.
    pub(super) fn may_enter(&self, taints: &[Taint]) -> bool {
        let keeps_out = |taint: &&Taint| self.shy || taint.effect != Effect::PreferNoSchedule;
        taints.iter().filter(keeps_out).all(|taint| self.tolerates(taint))
    }

    pub(super) fn tolerates(&self, taint: &Taint) -> bool {
        tolerates(&self.tolerations, taint)
    }
}

pub(crate) fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| {
        let same_value = match &toleration.operator {
            TolerationOperator::Exists => true,
            TolerationOperator::Equal(value) => *value == taint.value,
        };
        same_value
            && toleration.key.as_ref().is_none_or(|key| *key == taint.key)
            && toleration.effect.is_none_or(|effect| effect == taint.effect)
    })
}
