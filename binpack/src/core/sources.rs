//! Where nodes come from: pools, and groups, each of which is a pool of one machine with a limit.

use std::sync::Arc;

use crate::model::{Input, Node, NodeGroup, NodePool, Requirement, key};

/// What launches nodes.
#[derive(Debug)]
pub(super) struct Source {
    /// The pool, or the group as one.
    pub(super) pool: NodePool,
    /// The group, by index.
    pub(super) group: Option<usize>,
}

impl Source {
    /// Those of an input: its pools, then its groups.
    pub(super) fn all(input: &Input) -> Vec<Arc<Self>> {
        let pools = input.pools.iter().map(|pool| Self { pool: pool.clone(), group: None });
        let groups = input.node_groups.iter().enumerate();
        let groups = groups.map(|(at, group)| Self { pool: as_pool(group), group: Some(at) });
        pools.chain(groups).map(Arc::new).collect()
    }

    /// Whether a node that exists came from it.
    pub(super) fn owns(&self, node: &Node) -> bool {
        match (&node.group, self.group) {
            (Some(group), Some(_)) => *group == self.pool.name,
            (None, None) => node.labels.get(key::NODE_POOL) == Some(&self.pool.name),
            _ => false,
        }
    }
}

/// A pool of the group's machines alone, which has as many nodes at most.
fn as_pool(group: &NodeGroup) -> NodePool {
    let mut pool = NodePool::new(group.name.clone())
        .require(Requirement::is_in(key::INSTANCE_TYPE, [group.instance_type.clone()]))
        .require(Requirement::is_in(key::ZONE, [group.zone.clone()]))
        .require(Requirement::is_in(key::CAPACITY_TYPE, [group.capacity_type.as_str()]))
        .with_disruption(group.disruption.clone());
    pool.labels.clone_from(&group.labels);
    pool.taints.clone_from(&group.taints);
    pool.limits.nodes = Some(u64::from(group.max_size));
    pool
}
