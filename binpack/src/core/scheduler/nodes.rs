//! Nodes that come and go under a scheduler.

use std::collections::HashSet;
use std::sync::Arc;

use super::Scheduler;
use crate::core::nodes::nobody;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Node, check_node, check_pod};

/// Places for nodes that are made at least when none is free.
const LEAST_PLACES: usize = 16;

impl Scheduler {
    /// Takes in nodes that have come. Pods that wait get a place there by
    /// [`reschedule`](Self::reschedule).
    ///
    /// It takes time that goes with these nodes and the logarithm of all. Only where a pod that runs
    /// there has an anti-affinity of a new kind is everything counted once. Under
    /// [`Fit::First`](crate::Fit::First) a node takes the place of one that has gone, if any has.
    ///
    /// A node whose labels, taints or allocatable change is removed and added anew: pods of this
    /// scheduler then wait, for they may not fit there any more. Those that ran there before are
    /// given anew with it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if one is malformed, or it or one of its pods is called as another is;
    /// nothing has changed then.
    pub fn add_nodes(&mut self, nodes: Vec<Node>) -> Result<()> {
        self.check_new(&nodes)?;
        self.enter(nodes).map(drop)
    }

    /// Takes nodes out that are gone, by name. Pods that this scheduler had placed there wait again,
    /// in the order in which they came: their names are returned. Those that ran there before are
    /// gone with it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if one is not known or is named twice; nothing has changed then.
    pub fn remove_nodes<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Vec<Arc<str>>> {
        let sites = self.sites(names)?;
        let lost = self.lend(|run| Ok(run.leave(&sites)))?;
        for site in sites {
            let node = std::mem::replace(&mut self.input.nodes[site], nobody());
            self.nodes.remove(&node.name);
            for running in &node.pods {
                self.names.remove(&running.pod.name);
            }
            self.free.insert(site);
        }
        Ok(self.wait(lost))
    }

    /// From now on these nodes take no new pods, whatever those tolerate. Those that are there stay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if one is not known or is named twice; nothing has changed then.
    pub fn cordon<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        let sites = self.sites(names)?;
        self.lend(|run| {
            run.cordon(&sites, false);
            Ok(())
        })
    }

    /// From now on these nodes take pods again.
    ///
    /// # Errors
    ///
    /// As [`cordon`](Self::cordon).
    pub fn uncordon<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        let sites = self.sites(names)?;
        self.lend(|run| {
            run.cordon(&sites, true);
            Ok(())
        })
    }

    /// Takes in the node that a launch has become: the launch's pods have their place there from now
    /// on, with the same GPUs, and the number of the launch is used no more.
    ///
    /// `node` is as [`Launch::node`](crate::Launch::node) makes it: its `used` counts its daemons
    /// and none of those pods. Where it is less than the launch promised, pods for which it has no
    /// room, or whose labels or taints it does not keep, wait again: their names are returned.
    ///
    /// # Errors
    ///
    /// As [`add_nodes`](Self::add_nodes), and [`ErrorKind::Invalid`] if there is no such launch, or
    /// it has become a node already.
    pub fn registered(&mut self, launch: usize, node: Node) -> Result<Vec<Arc<str>>> {
        if !self.run.as_ref().is_some_and(|run| run.is_launched(launch)) {
            let problem = "is no launch that is under way: give the number of Scheduled::launches";
            return Err(Error::new(ErrorKind::Invalid, format!("launch {launch}: {problem}")));
        }
        self.check_new(std::slice::from_ref(&node))?;
        let sites = self.enter(vec![node])?;
        let lost = self.lend(|run| {
            Ok(sites.iter().flat_map(|site| run.arrive(launch, *site)).collect::<Vec<_>>())
        })?;
        Ok(self.wait(lost))
    }

    /// Gives nodes, which were checked, their places.
    fn enter(&mut self, nodes: Vec<Node>) -> Result<Vec<usize>> {
        let missing = nodes.len().saturating_sub(self.free.len());
        if missing > 0 {
            let before = self.input.nodes.len();
            let by = missing.max(before / 2).max(LEAST_PLACES);
            self.input.nodes.extend(std::iter::repeat_with(nobody).take(by));
            self.free.extend(before..before + by);
            self.lend(|run| {
                run.widen(before, by);
                Ok(())
            })?;
        }
        let mut sites = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Some(site) = self.free.pop_first() else { break };
            self.nodes.insert(node.name.clone(), site);
            let running = node.pods.iter().map(|running| running.pod.name.clone());
            self.names.extend(running.map(|name| (name, usize::MAX)));
            self.input.nodes[site] = node;
            sites.push(site);
        }
        self.lend(|run| {
            run.enter(&sites);
            Ok(())
        })?;
        Ok(sites)
    }

    /// The places of nodes that must be known, each once.
    fn sites<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Vec<usize>> {
        let mut sites = Vec::new();
        let mut seen = HashSet::new();
        for name in names {
            let Some(site) = self.nodes.get(name).copied() else {
                return Err(refused("node", name, "is not known: add it first"));
            };
            if !seen.insert(site) {
                return Err(refused("node", name, "is named twice: name it once"));
            }
            sites.push(site);
        }
        Ok(sites)
    }

    fn check_new(&self, nodes: &[Node]) -> Result<()> {
        let (mut new, mut pods) = (HashSet::new(), HashSet::new());
        for node in nodes {
            if node.name.is_empty() {
                return Err(refused("node", "", "name is empty: give it one"));
            }
            if self.nodes.contains_key(&node.name) || !new.insert(&node.name) {
                return Err(refused("node", &node.name, "name is given twice: rename one"));
            }
            check_node(node)?;
            for pod in node.pods.iter().map(|running| &running.pod) {
                check_pod(pod)?;
                if pod.name.is_empty() {
                    return Err(refused("node", &node.name, "has a pod without a name: name it"));
                }
                if self.names.contains_key(&pod.name) || !pods.insert(&pod.name) {
                    return Err(refused("pod", &pod.name, "name is given twice: rename one"));
                }
            }
        }
        Ok(())
    }
}

fn refused(what: &str, name: &str, problem: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} {name}: {problem}"))
}
