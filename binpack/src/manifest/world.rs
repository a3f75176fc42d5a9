//! What pods refer to: namespaces, priorities, gangs, volumes, nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gangs::Gangs;
use super::priorities::Priorities;
use super::storage::Storage;
use crate::model::{LabelSelector, Labels, key};

/// The label that every namespace has with its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Everything that was read beside what is planned.
#[derive(Default)]
pub(super) struct World {
    namespaces: BTreeMap<Arc<str>, Labels>,
    hostnames: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) priorities: Priorities,
    pub(super) gangs: Gangs,
    pub(super) storage: Storage,
    disregarded: BTreeSet<String>,
}

impl World {
    pub(super) fn add_namespace(&mut self, name: Arc<str>, mut labels: Labels) {
        labels.insert(NAMESPACE_NAME.into(), name.clone());
        self.namespaces.insert(name, labels);
    }

    pub(super) fn namespaces_matching(&self, selector: &LabelSelector) -> Vec<Arc<str>> {
        let meant = self.namespaces.iter().filter(|(_, labels)| selector.matches(labels));
        meant.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn add_node(&mut self, name: Arc<str>, labels: &Labels) {
        let hostname = labels.get(key::HOSTNAME).unwrap_or(&name).clone();
        self.hostnames.insert(name, hostname);
    }

    /// The label [`key::HOSTNAME`] of a node, which is its name unless the node says otherwise.
    pub(super) fn hostname(&self, node: &str) -> String {
        self.hostnames.get(node).map_or(node, |hostname| &**hostname).to_owned()
    }

    /// Notes what is read past.
    pub(super) fn say(&mut self, disregarded: impl Into<String>) {
        self.disregarded.insert(disregarded.into());
    }

    /// What was read past, each once and in order.
    pub(super) fn into_disregarded(self) -> Vec<String> {
        self.disregarded.into_iter().collect()
    }
}
