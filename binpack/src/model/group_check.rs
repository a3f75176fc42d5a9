//! Whether groups are well formed: with their templates, with pools and with nodes.

use std::collections::HashSet;
use std::sync::Arc;

use super::input::{check_budgets, invalid, named};
use super::{Input, Labels, Node, NodeGroup, key};
use crate::error::Result;

/// Whether all groups of an input are well formed, and what nodes say of them. The names of its
/// pools are given.
pub(super) fn check_groups(input: &Input, pools: &HashSet<&str>) -> Result<()> {
    let mut groups: HashSet<&str> = HashSet::new();
    for group in &input.node_groups {
        named("node group", &group.name)?;
        let bad = |problem: &str| Err(invalid("node group", &group.name, "name", problem));
        if pools.contains(&*group.name) {
            return bad("is that of a pool: rename one");
        }
        if !groups.insert(&group.name) {
            return bad("is given twice: rename one");
        }
        check_group(group, input)?;
    }
    input.nodes.iter().try_for_each(|node| check_member(node, &groups, pools))
}

fn check_group(group: &NodeGroup, input: &Input) -> Result<()> {
    let bad =
        |field: &str, problem: String| Err(invalid("node group", &group.name, field, problem));
    let (min, max, zone) = (group.min_size, group.max_size, &group.zone);
    if min > max {
        return bad("min_size", format!("is {min}, above the max_size of {max}: lower it"));
    }
    if max > NodeGroup::MAX_SIZE {
        return bad("max_size", format!("is {max}: set it to 0..={}", NodeGroup::MAX_SIZE));
    }
    let name = &group.instance_type;
    let Some(it) = input.instance_types.iter().find(|it| it.name == *name) else {
        return bad("instance_type", format!("is {name}, which is not given: add the type"));
    };
    if group.template(&input.instance_types).is_none() {
        let how = group.capacity_type;
        let problem = format!("is {zone}, where {name} is not sold as {how}: add the offering");
        return bad("zone", problem);
    }
    if let Some((key, value, own)) = contradiction(group, &it.labels) {
        return bad("labels", format!("has {key}={value}, and its machines have {own}: remove it"));
    }
    check_budgets("node group", &group.name, &group.disruption)
}

/// A label of a group that says what its machines are not: its key, its value, and what is true.
fn contradiction<'g>(
    group: &'g NodeGroup,
    machine: &'g Labels,
) -> Option<(&'g Arc<str>, &'g Arc<str>, &'g str)> {
    group.labels.iter().find_map(|(key, value)| {
        let own = match &**key {
            key::ZONE => Some(&*group.zone),
            key::CAPACITY_TYPE => Some(group.capacity_type.as_str()),
            key::INSTANCE_TYPE => Some(&*group.instance_type),
            key::NODE_POOL => Some("no pool"),
            _ => machine.get(key).map(|own| &**own),
        };
        own.filter(|own| **own != **value).map(|own| (key, value, own))
    })
}

/// Whether a node's group is given, and it belongs to no pool besides.
fn check_member(node: &Node, groups: &HashSet<&str>, pools: &HashSet<&str>) -> Result<()> {
    let Some(group) = &node.group else { return Ok(()) };
    let bad = |problem: String| Err(invalid("node", &node.name, "group", problem));
    if !groups.contains(&**group) {
        return bad(format!("is {group}, which is not given: add it to node_groups"));
    }
    match node.labels.get(key::NODE_POOL).filter(|pool| pools.contains(&***pool)) {
        Some(pool) => {
            let label = key::NODE_POOL;
            bad(format!("is {group}, and its label {label} names pool {pool}: leave one out"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::{
        Budget, CapacityType, Disruption, InstanceType, NodeCount, NodePool, Offering, Resources,
    };

    fn input(group: NodeGroup) -> Input {
        let it = InstanceType::new("m", Resources::new(4_000, 1 << 34).with_pods(10))
            .with_label("disk", "ssd")
            .with_offering(Offering::new("a", CapacityType::OnDemand, 100));
        Input {
            node_groups: vec![group],
            pools: vec![NodePool::new("pool")],
            instance_types: [it].into(),
            ..Input::default()
        }
    }

    fn refused(input: &Input) -> String {
        let error = input.check().expect_err("the input is wrong");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    }

    #[test]
    fn groups_are_refused_by_name_and_field() {
        let group = || NodeGroup::new("g", "m", "a");
        let spot = group().with_capacity_type(CapacityType::Spot);
        let budget = Budget::new(NodeCount::Percent(101));
        let budgets = Disruption { budgets: vec![budget], ..Disruption::default() };
        let cases = [
            (NodeGroup::new("", "m", "a"), "a node group has an empty name"),
            (NodeGroup::new("pool", "m", "a"), "node group pool: name is that of a pool"),
            (group().with_sizes(3, 2), "node group g: min_size is 3, above the max_size of 2"),
            (group().with_sizes(0, 30_001), "node group g: max_size is 30001: set it to 0..=30000"),
            (NodeGroup::new("g", "x", "a"), "node group g: instance_type is x, which is not given"),
            (NodeGroup::new("g", "m", "b"), "node group g: zone is b, where m is not sold"),
            (spot, "node group g: zone is a, where m is not sold as spot"),
            (group().with_label("disk", "hdd"), "node group g: labels has disk=hdd, and"),
            (group().with_label(key::ZONE, "b"), "node group g: labels has topology"),
            (group().with_label(key::NODE_POOL, "p"), "node group g: labels has karpenter.sh"),
            (group().with_disruption(budgets), "node group g: disruption.budgets has 101 %"),
        ];
        for (group, expected) in cases {
            let said = refused(&input(group));
            assert!(said.starts_with(expected), "{said}");
        }
        let mut twice = input(group());
        twice.node_groups.push(group());
        assert!(refused(&twice).starts_with("node group g: name is given twice"));
        assert!(input(group().with_label("disk", "ssd")).check().is_ok());
    }

    #[test]
    fn nodes_belong_to_one_group_that_is_given() {
        let mut input = input(NodeGroup::new("g", "m", "a").with_sizes(0, 1));
        let node = |name: &str| Node::new(name, Resources::default()).with_group("g");
        input.nodes = vec![node("n"), node("o")];
        assert!(input.check().is_ok(), "it is above its greatest size, which is left as it is");
        input.nodes[0] = node("n").with_label(key::NODE_POOL, "pool");
        assert!(refused(&input).starts_with("node n: group is g, and its label karpenter.sh"));
        input.nodes[0] = node("n").with_group("h");
        assert!(refused(&input).starts_with("node n: group is h, which is not given"));
    }
}
