//! Pods as selectors see them.

use std::collections::{BTreeSet, HashMap};

use super::labels::selects;
use super::state::{Placed, State};
use crate::model::{LabelSelector, Labels, Namespaces, Pod, PodAffinityTerm};

/// Pods that no selector of the state tells apart.
struct Kind<'s, 'a> {
    namespace: &'a str,
    labels: &'a Labels,
    pods: Vec<&'s Placed<'a>>,
}

/// All pods that have a node, by kinds: a selector is asked once for each kind.
pub(super) struct Crowd<'s, 'a> {
    kinds: Vec<Kind<'s, 'a>>,
}

impl<'s, 'a> Crowd<'s, 'a> {
    pub(super) fn of(state: &'s State<'a>) -> Self {
        let asked: BTreeSet<&str> =
            state.placed().flat_map(|placed| selectors(placed.pod)).flat_map(keys).collect();
        let mut index = HashMap::new();
        let mut kinds: Vec<Kind<'s, 'a>> = Vec::new();
        for placed in state.placed() {
            let pod = placed.pod;
            let values: Vec<Option<&str>> =
                asked.iter().map(|key| pod.labels.get(*key).map(|value| &**value)).collect();
            let next = kinds.len();
            let kind = *index.entry((&*pod.namespace, values)).or_insert(next);
            match kinds.get_mut(kind) {
                Some(kind) => kind.pods.push(placed),
                None => kinds.push(Kind {
                    namespace: &pod.namespace,
                    labels: &pod.labels,
                    pods: vec![placed],
                }),
            }
        }
        Self { kinds }
    }

    /// The pods that a selector means in one namespace.
    pub(super) fn selected(
        &self,
        selector: &LabelSelector,
        namespace: &str,
    ) -> impl Iterator<Item = &'s Placed<'a>> {
        let meant = move |kind: &&Kind<'s, 'a>| {
            kind.namespace == namespace && selects(selector, kind.labels)
        };
        self.kinds.iter().filter(meant).flat_map(|kind| kind.pods.iter().copied())
    }

    /// The pods that a term means.
    pub(super) fn meant(&self, term: Term<'_>) -> impl Iterator<Item = &'s Placed<'a>> {
        let kinds = self.kinds.iter().filter(move |k| term.means(k.namespace, k.labels));
        kinds.flat_map(|kind| kind.pods.iter().copied())
    }
}

/// A term with the namespace of the pods that have it, where that matters: equal ones mean the
/// same pods.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term<'a> {
    pub(super) term: &'a PodAffinityTerm,
    own: Option<&'a str>,
}

impl<'a> Term<'a> {
    pub(super) fn new(term: &'a PodAffinityTerm, pod: &'a Pod) -> Self {
        let own = (term.namespaces == Namespaces::Own).then_some(&*pod.namespace);
        Self { term, own }
    }

    /// Whether it means a pod of this namespace with these labels.
    pub(super) fn means(self, namespace: &str, labels: &Labels) -> bool {
        let looked_for = match &self.term.namespaces {
            Namespaces::Own => self.own == Some(namespace),
            Namespaces::Listed(listed) => listed.iter().any(|listed| &**listed == namespace),
            Namespaces::All => true,
        };
        looked_for && selects(&self.term.selector, labels)
    }
}

fn selectors(pod: &Pod) -> impl Iterator<Item = &LabelSelector> {
    let terms = pod.pod_affinity.iter().chain(&pod.pod_anti_affinity).map(|term| &term.selector);
    terms.chain(pod.topology_spread.iter().map(|spread| &spread.selector))
}

fn keys(selector: &LabelSelector) -> impl Iterator<Item = &str> {
    selector.requirements.iter().map(|requirement| &*requirement.key)
}
