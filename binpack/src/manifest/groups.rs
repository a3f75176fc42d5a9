//! Node groups, which are no objects of Kubernetes: clouds keep them, and Cluster Autoscaler is
//! told of them by flags.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::decode::{List, Strings};
use super::object::Origin;
use super::pod_spec::TaintSpec;
use super::pods::taints;
use super::source::{self, Document};
use crate::error::Result;
use crate::model::{CapacityType, Node, NodeGroup};

/// Labels by which managed Kubernetes says to which group a node belongs: those of Amazon's, of
/// Google's and of Microsoft's documentation.
const MEMBERSHIP: [&str; 3] = [
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupSpec {
    name: String,
    instance_type: String,
    zone: String,
    capacity_type: Option<CapacityTypeName>,
    min_size: Option<u32>,
    max_size: u32,
    priority: Option<i32>,
    #[serde(default)]
    labels: Strings,
    #[serde(default)]
    taints: List<TaintSpec>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum CapacityTypeName {
    OnDemand,
    Spot,
    Reserved,
}

impl From<CapacityTypeName> for CapacityType {
    fn from(name: CapacityTypeName) -> Self {
        match name {
            CapacityTypeName::OnDemand => Self::OnDemand,
            CapacityTypeName::Spot => Self::Spot,
            CapacityTypeName::Reserved => Self::Reserved,
        }
    }
}

/// Reads node groups: a list in YAML or JSON whose elements have a `name`, an `instanceType`, a
/// `zone` and a `maxSize`, and may have a `capacityType` (`on-demand` if not given, `spot`,
/// `reserved`), a `minSize` and a `priority` (0 if not given), `labels` and `taints`.
///
/// ```
/// let yaml = "
/// - {name: workers, instanceType: m7i.xlarge, zone: us-east-1a, minSize: 1, maxSize: 10}
/// - name: spot
///   instanceType: m7i.xlarge
///   zone: us-east-1a
///   capacityType: spot
///   maxSize: 20
///   priority: 10
///   taints: [{key: spot, value: 'true', effect: NoSchedule}]
/// ";
/// let groups = binpack::read_node_groups(yaml.as_bytes())?;
/// assert_eq!((groups[0].min_size, groups[1].max_size), (1, 20));
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) that names the group and the field: text that
/// is no YAML or JSON, a field that is missing, unknown or of another type.
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if `input` fails. Whether the types
/// and zones are there and the sizes agree, [`plan`](crate::plan) says.
pub fn read_node_groups(input: impl Read) -> Result<Vec<NodeGroup>> {
    groups(source::read(input, None)?)
}

/// The same from a file, or from those of a folder that end in `.yaml`, `.yml` or `.json`.
///
/// # Errors
///
/// As [`read_node_groups`], with the path; [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if
/// there is none.
pub fn open_node_groups(path: impl AsRef<Path>) -> Result<Vec<NodeGroup>> {
    groups(source::open(path.as_ref())?)
}

fn groups(documents: Vec<Document>) -> Result<Vec<NodeGroup>> {
    let mut all = Vec::new();
    for Document { at, value } in documents {
        match value {
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    all.push(group(format!("{at} item {}", index + 1), element)?);
                }
            }
            value => all.push(group(at, &value)?),
        }
    }
    Ok(all)
}

fn group(at: String, value: &Value) -> Result<NodeGroup> {
    let name = value.get("name").and_then(Value::as_str).unwrap_or("without a name");
    let origin = Origin::new(at, "node group", name);
    let spec: GroupSpec = origin.decode(value)?;
    let mut group = NodeGroup::new(spec.name, spec.instance_type, spec.zone)
        .with_sizes(spec.min_size.unwrap_or(0), spec.max_size)
        .with_priority(spec.priority.unwrap_or(0));
    group.capacity_type = spec.capacity_type.map_or(group.capacity_type, CapacityType::from);
    group.labels = spec.labels.labels();
    group.taints = taints(&spec.taints, &origin, "taints")?;
    Ok(group)
}

/// Lets nodes belong to those of these groups that their labels name.
pub(super) fn join(nodes: &mut [Node], groups: &[NodeGroup]) {
    for node in nodes.iter_mut().filter(|node| node.group.is_none()) {
        let named = MEMBERSHIP.iter().filter_map(|label| node.labels.get(*label));
        let mut known = named.filter(|name| groups.iter().any(|group| group.name == **name));
        node.group = known.next().cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::{Effect, Resources, Taint};

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "- name: g\n  instanceType: m\n  zone: a\n  capacityType: spot\n  minSize: 1\n  maxSize: 3\n  priority: -2\n  labels: {team: x}\n  taints: [{key: k, effect: NoExecute}]\n";
        let json = r#"[{"name": "g", "instanceType": "m", "zone": "a", "capacityType": "spot",
            "minSize": 1, "maxSize": 3, "priority": -2, "labels": {"team": "x"},
            "taints": [{"key": "k", "effect": "NoExecute"}]}]"#;
        let expected = NodeGroup::new("g", "m", "a")
            .with_capacity_type(CapacityType::Spot)
            .with_sizes(1, 3)
            .with_priority(-2)
            .with_label("team", "x")
            .with_taint(Taint::new("k", "", Effect::NoExecute));
        for text in [yaml, json, &json[1..json.len() - 1]] {
            let read = read_node_groups(text.as_bytes()).expect("well formed");
            assert_eq!(read, std::slice::from_ref(&expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_by_group_and_field() {
        let cases = [
            (
                "[{instanceType: m, zone: a, maxSize: 1}]",
                "node group without a name: has no `name`",
            ),
            ("[{name: g, instanceType: m, zone: a}]", "node group g: has no `maxSize`: write it"),
            ("[{name: g, maxSize: -1}]", "node group g: maxSize has an invalid value"),
            ("[{name: g, maxNodes: 1}]", "node group g: maxNodes unknown field `maxNodes`"),
            ("[{name: g, capacityType: free}]", "node group g: capacityType is `free`"),
            ("[{name: g, taints: [{key: k}]}]", "node group g: taints[0] has no `effect`"),
        ];
        for (text, expected) in cases {
            let error = read_node_groups(text.as_bytes()).expect_err("malformed");
            let said = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(said.contains(expected) && said.starts_with("document 1"), "{said}");
        }
        let error = open_node_groups("no/such/file.yaml").expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn nodes_join_the_groups_that_their_labels_name() {
        let groups = [NodeGroup::new("a", "m", "z"), NodeGroup::new("b", "m", "z")];
        let node = |label: &str, value: &str| {
            Node::new(value, Resources::default()).with_label(label, value)
        };
        let mut nodes = [
            node("eks.amazonaws.com/nodegroup", "b"),
            node("cloud.google.com/gke-nodepool", "a"),
            node("kubernetes.azure.com/agentpool", "other"),
            node("team", "a"),
        ];
        join(&mut nodes, &groups);
        let joined = nodes.each_ref().map(|node| node.group.as_deref());
        assert_eq!(joined, [Some("b"), Some("a"), None, None]);
    }
}
